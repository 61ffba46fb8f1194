"""Facts about a study's models and data from a pilot's results, which workloads are computed from."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headscope.evaluation import prompt_ids
from headscope.pairs import Pairs
from headscope.results.edges import EdgeScores
from headscope.results.not_run import NotRun, load_result
from headscope.results.samples import Samples
from headscope.runs import Unit
from headscope.storage import TRAINING_LOG
from headscope.studies.costs.pilot_record import PilotRecord
from headscope.studies.costs.workloads import Facts
from headscope.studies.study_file.study import Study
from headscope.studies.study_file.training import CompletionData
from headscope.studies.training.train import devices_of, training_rows
from headscope.training import read_log

if TYPE_CHECKING:
    from headscope.models import Subject

SAMPLED_PROMPTS = 32
"""Prompts, or records, whose tokens are counted for a mean."""


def gather_facts(study: Study, record: PilotRecord, subject: "Subject") -> Facts:
    """Return the facts that the pilot's results and the loaded base tell."""
    import torch

    from headscope.evaluation.transformers_engine import rows_that_fit
    from headscope.models.memory import free_memory
    from headscope.models.threads import is_small

    model = subject.model
    config = model.config.get_text_config()
    answers = {name: _Answers.pool(parts, study) for name, parts in record.samples.items()}
    prompts = _prompt_tokens(study, record, subject.tokenizer)
    answer_tokens = {name: answer.mean for name, answer in answers.items()}
    steps, step_tokens, taught_tokens = _training_facts(record, subject.tokenizer, answer_tokens)
    devices = {name: devices_of(unit) for name, unit in record.measured_trainings().items()}
    pair_tokens, nodes = _pair_facts(record)
    width = int(max(prompts.values(), default=1.0)) + study.eval.max_new_tokens
    return Facts(
        prompt_tokens=prompts,
        answer_tokens=answer_tokens | taught_tokens,
        longest_answer={name: answer.longest for name, answer in answers.items()},
        correct={name: answer.correct for name, answer in answers.items()},
        pair_tokens=pair_tokens,
        nodes=nodes,
        batch_rows=rows_that_fit(model, width),
        threads=torch.get_num_threads() if is_small(model) else 1,
        steps=steps,
        step_tokens=step_tokens,
        heads=config.num_hidden_layers * config.num_attention_heads,
        weight_bytes=float(sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())),
        resident_bytes=max((timing.before for timing in record.timings), default=0.0),
        free_bytes=float(free_memory(model.device)),
        devices={name: count for name, count in devices.items() if count > 1},
    )


def _prompt_tokens(study: Study, record: PilotRecord, tokenizer: Any) -> dict[str, float]:
    tasks = {}
    for timing in record.timings:
        config: Any = timing.unit.config
        if timing.unit.kind in ("samples", "ablated"):
            tasks[config.task.name] = config.task.task().problems
        elif timing.unit.kind == "pairs" and hasattr(config.source, "tasks"):
            tasks[config.source.tasks[0].name] = [problem for _, problem in config.source.problems()]
    chat, means = study.base.chat, {}
    for name, problems in tasks.items():
        lengths = [len(prompt_ids(tokenizer, problem.prompt, chat)) for problem in problems[:SAMPLED_PROMPTS]]
        means[name] = float(np.mean(lengths))
    return means


def _pair_facts(record: PilotRecord) -> tuple[float, float]:
    """Return the mean length of a pair's texts, of the longest set of pairs, and the mean number of nodes of a pair."""
    lengths, nodes = [1.0], [1.0]
    for timing in record.timings:
        folder = record.folders[timing.unit.address]
        if timing.unit.kind == "pairs" and not isinstance(pairs := load_result(Pairs, folder), NotRun):
            lengths.append(float(np.mean([len(text) for text in pairs.clean])))
        elif timing.unit.kind == "scores" and not isinstance(scores := load_result(EdgeScores, folder), NotRun):
            settings = scores.settings
            nodes.append(float(settings.get("nodes_mean", settings.get("nodes", 1))))
    return max(lengths), float(np.mean(nodes[1:] or nodes))


def _training_facts(
    record: PilotRecord, tokenizer: Any, asked: Collection[str]
) -> tuple[dict[str, int], dict[str, float], dict[str, float]]:
    """Return steps and tokens per step of each model that is trained here, and of those that SFT trains the tokens of
    an answer, which will be as long as what they learn.

    asked: models and tasks that are asked, as the keys of ``Facts.answer_tokens``.
    """
    steps, step_tokens, answer_tokens = {}, {}, {}
    sizes: dict[str, _TrainingSize] = {}
    for name, unit in record.measured_trainings().items():
        if unit.address not in sizes:
            sizes[unit.address] = _TrainingSize.of(unit, record, tokenizer)
        size = sizes[unit.address]
        steps[name], step_tokens[name] = size.steps, size.step_tokens
        if size.completion is not None:
            for task in {key.partition(" ")[2] for key in asked}:
                answer_tokens[f"{name} {task}"] = size.completion
    return steps, step_tokens, answer_tokens


@dataclass(frozen=True)
class _TrainingSize:
    """Size of a training whose data is read once through for each epoch.

    steps: of the optimiser. step_tokens: in each. completion: mean tokens of what SFT learns; None for other methods.
    """

    steps: int
    step_tokens: float
    completion: float | None

    @classmethod
    def of(cls, unit: Unit, record: PilotRecord, tokenizer: Any) -> "_TrainingSize":
        """Return that of a unit of the pilot."""
        config: Any = unit.config
        settings = config.settings()
        rows = training_rows(settings, config.chat, config.place.data_dir)
        few = [rows[index] for index in range(min(SAMPLED_PROMPTS, len(rows)))]
        prompt = float(np.mean([_message_tokens(tokenizer, row["prompt"]) for row in few]))
        completion = None
        if isinstance(settings, CompletionData):
            answer = completion = float(np.mean([_message_tokens(tokenizer, row["completion"]) for row in few]))
        else:
            entries = read_log(record.folders[unit.address] / TRAINING_LOG)
            answer = float(np.mean([entry.completion_length or 0.0 for entry in entries]))
        plain: Any = settings
        per_step = plain.prompts_per_step if hasattr(plain, "prompts_per_step") else plain.batch_size
        sequences = per_step * (plain.samples if hasattr(plain, "samples") else 1)
        return cls(math.ceil(len(rows) / per_step * settings.epochs), sequences * (prompt + answer), completion)


@dataclass(frozen=True)
class _Answers:
    """Answers of one variant to one task. mean, longest: tokens. correct: probability, half an answer on each side."""

    mean: float
    longest: float
    correct: float

    @classmethod
    def pool(cls, parts: Sequence[Samples], study: Study) -> "_Answers":
        """Return the means over the samples of all sizes."""
        lengths = np.concatenate([part.lengths.ravel() for part in parts]).astype(float)
        is_cut = np.concatenate([(part.table["finish"] == "length").to_numpy() for part in parts])
        lengths[is_cut] = study.eval.max_new_tokens
        correct = np.concatenate([part.correct.ravel() for part in parts])
        return cls(float(lengths.mean()), float(lengths.max()), float((correct.sum() + 0.5) / (len(correct) + 1)))


def _message_tokens(tokenizer: Any, messages: Any) -> int:
    texts = [messages] if isinstance(messages, str) else [str(message.get("content")) for message in messages]
    return sum(len(tokenizer(text)["input_ids"]) for text in texts)
