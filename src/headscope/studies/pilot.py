"""The measured pass behind ``studies.cost``: small units of every kind a study has, run once and timed.

1. ``shrink`` makes the study small in numbers (problems, pairs, texts, steps), not in shape: the same models, prompts,
   limits, circuit sizes and training steps.
2. Its units are run in a temporary folder, at two sizes. Whatever decides only results is filled in, so that a small
   sample does not end early: every answer counts as correct for the readers, and heads are drawn if none changed.
3. Seconds, memory and bytes of the units are fitted by what they worked through, none below 0.

The outcome is kept in the user's cache (``HEADSCOPE_CACHE``), by the digests of the pilot's units (model, dtype,
shapes, versions of the work), the packages and the machine.
"""

import ctypes
import math
import os
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from headscope.errors import InputError
from headscope.evaluation import prompt_ids
from headscope.heads import HeadId, HeadSet
from headscope.pairs import Pairs
from headscope.progress import SILENT, Progress
from headscope.results.edges import EdgeScores
from headscope.results.head_constants import HeadConstants
from headscope.results.head_sets import ControlledHeads
from headscope.results.not_run import NotRun, load_result
from headscope.results.samples import Samples
from headscope.runs import Inputs, RunDirectory, Unit, provenance
from headscope.runs.digests import digest
from headscope.storage import read_object, user_cache, write_json
from headscope.studies.ablated import ModelOnTask, answered_texts
from headscope.studies.cost import GENERATED, Facts, Load, Number, Rates, constants_load, unit_load
from headscope.studies.headsets import sample_matched_sets
from headscope.studies.plan import plan
from headscope.studies.stages import checkpoint_stages
from headscope.studies.study import CompletionData, HubCheckpoints, Study, VariantConfig
from headscope.studies.train import training_rows
from headscope.training import read_log
from headscope.training.run_record import LOG

STEPS = 3
"""Of a training; the first, which warms up, is not counted."""
LONGEST_ANSWER = 256
"""Tokens after which the pilot's answers are cut; an answer that is cut counts as long as the study allows."""
SAMPLED_PROMPTS = 32
"""Prompts, or records, whose tokens are counted for a mean."""
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Size:
    """Numbers of one pilot: problems of a task, answers to each, pairs, texts forced and random sets."""

    problems: int
    samples: int
    pairs: int
    texts: int
    controls: int


SMALL_MODEL_SIZES = (Size(6, 1, 4, 3, 8), Size(20, 4, 12, 12, 20))
LARGE_MODEL_SIZES = (Size(3, 1, 2, 1, 2), Size(8, 1, 4, 2, 4))
"""Two sizes each, whose difference parts what a unit costs at all from what it costs per answer, pair or text."""


def cached_rates(study: Study) -> Rates | None:
    """Return the rates that were measured for a study like this on this machine; None if there are none. No torch."""
    path = _cache_file(study)
    if not path.is_file():
        return None
    try:
        return Rates.from_dict(read_object(path)["rates"], str(path))
    except (InputError, KeyError):  # of another version, or damaged: measured again
        return None


def measure_rates(study: Study, progress: Progress = SILENT, clock: Callable[[], float] = time.perf_counter) -> Rates:
    """Return the rates of a study's models on this machine, and keep them in the user's cache.

    clock: seconds; that of the process alone if others keep the machine busy.
    """
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="headscope-plan-") as folder:
        rates = _Pilot(study, Path(folder), progress, clock).run()
    rates = replace(rates, measured_in=time.perf_counter() - started)
    path = _cache_file(study)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {"schema_version": SCHEMA_VERSION, "rates": rates.as_dict()})
    return rates


def _cache_file(study: Study) -> Path:
    nowhere = RunDirectory(Path(os.devnull))
    # The largest size decides: both are cut from the same study.
    units = plan(shrink(study, LARGE_MODEL_SIZES[-1], nowhere), nowhere)
    machine = {key: value for key, value in provenance.hardware().items() if key != "accelerators"}
    settings = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
    versions = [SCHEMA_VERSION, provenance.versions(), machine, settings]
    key = digest([[unit.address for unit in units], study.eval.max_new_tokens, versions])
    return user_cache() / "costs" / f"{key}.json"


def shrink(study: Study, size: Size, run: RunDirectory) -> Study:
    """Return the study with these numbers, twins left out, and of every variant the last checkpoint alone."""
    evaluation, ablate, discover = study.eval, study.ablate, study.discover
    limit = min(evaluation.max_new_tokens, LONGEST_ANSWER)
    small_eval = {"problems": size.problems, "samples": min(evaluation.samples, size.samples), "k": (1,)}
    small_ablate = {
        "heads": tuple(group for group in ("kept",) if ablate.heads),
        "problems": size.problems,
        "samples": 1,
        "texts": size.texts,
        "controls": min(ablate.controls, size.controls),
        "generated": ablate.generated[:1],
        "generated_scales": (),
        "generated_controls": 1,
    }
    variants = [_shrink_variant(study, variant, run) for variant in study.variants if variant.twin_of is None]
    return study.model_copy(
        update={
            "variants": tuple(variants),
            "eval": evaluation.model_copy(update=small_eval | {"max_new_tokens": limit}),
            "ablate": ablate.model_copy(update=small_ablate),
            "discover": discover.model_copy(update={"pairs": min(discover.pairs, size.pairs)}),
        }
    )


def _shrink_variant(study: Study, variant: VariantConfig, run: RunDirectory) -> VariantConfig:
    if variant.train is not None:
        settings = {"max_steps": STEPS, "save_every": STEPS}
        return variant.model_copy(update={"train": variant.train.model_copy(update=settings)})
    if variant.checkpoints is None:
        return variant
    last = checkpoint_stages(study, variant, run, None)[-1]
    is_hub = isinstance(variant.checkpoints, HubCheckpoints)
    changes = {"checkpoints": None, "model": last.config.model, "revision": last.config.revision if is_hub else None}
    return variant.model_copy(update=changes | {"reward_log": None})


@dataclass(frozen=True)
class _Timing:
    """One pilot unit: seconds by the pilot's clock and by the wall's, bytes held before it and at most, and written."""

    unit: Unit
    seconds: float
    wall: float
    held: float
    peak: float
    disk: float


class _Pilot:
    """The pilot of one study, in a folder of its own."""

    def __init__(self, study: Study, folder: Path, progress: Progress, clock: Callable[[], float]) -> None:
        self.study, self.folder, self.progress, self.clock = study, folder, progress, clock
        self.run_directory = RunDirectory(folder / "run")
        self.folders: dict[str, Path] = {}
        self.timings: list[_Timing] = []
        self.samples: dict[str, list[Samples]] = defaultdict(list)

    def run(self) -> Rates:
        """Run all sizes and return the rates."""
        from headscope.studies.stages import base_stage

        base = base_stage(self.study)  # before the clock: a named model may have to be fetched first
        started = self.clock()
        import torch

        from headscope.models import load_model
        from headscope.models.threads import is_small
        from headscope.studies.subjects import load

        subject = load(base)
        first = self.clock() - started
        # Again, to part the libraries' share from the model's.
        started = self.clock()
        load_model(
            base.folder, dtype=base.config.dtype, device=str(subject.model.device), revision=base.config.revision
        )
        again = self.clock() - started
        sizes = SMALL_MODEL_SIZES if is_small(subject.model) else LARGE_MODEL_SIZES
        plans = [plan(shrink(self.study, size, self.run_directory), self.run_directory) for size in sizes]
        with self.progress.bar("measuring", sum(map(len, plans))) as bar:
            for units in plans:
                for unit in units:
                    self._time(unit)
                    bar.advance(note=unit.name)
        config = subject.model.config.get_text_config()
        heads = config.num_hidden_layers * config.num_attention_heads
        weights = float(sum(tensor.numel() * tensor.element_size() for tensor in subject.model.parameters()))
        facts = self._facts(torch.get_num_threads() if is_small(subject.model) else 1, heads, weights)
        loads = {timing.unit.address: self._load(timing.unit, facts) for timing in self.timings}
        seconds = _fit_kinds(self.timings, lambda unit: loads[unit.address].drivers, lambda timing: timing.seconds)
        widths = _fit_kinds(
            self.timings, lambda unit: {"width": loads[unit.address].width}, lambda timing: timing.peak - timing.held
        )
        disk = _fit_kinds(self.timings, lambda unit: {"size": loads[unit.address].size}, lambda timing: timing.disk)
        constants = next((timing.unit for timing in self.timings if timing.unit.kind == "constants"), None)
        if constants is not None:
            seconds["constants"] = self._constants_rates(constants, facts)
        seconds["train"] = self._training_rates(subject)
        start = max(0.0, first - again)
        return Rates(facts, start, again, seconds=seconds, memory=widths, disk=disk, measured_in=0.0)

    def _time(self, unit: Unit) -> None:
        """Run one unit, unless a smaller pilot has, and fill in what its readers need."""
        if unit.address in self.folders:
            return
        folder = self.folder / unit.kind / unit.digest
        folder.mkdir(parents=True)
        self.folders[unit.address] = folder
        inputs = Inputs({role: self.folders[needed.address] for role, needed in unit.inputs.items()}, folder)
        held = _reset_peak()
        started, wall = self.clock(), time.perf_counter()
        if unit.kind == "constants":  # the dearest unit of all is measured in part (``_constants_rates``)
            self._write_constants(unit, inputs)
        else:
            unit.work.run(unit.config, inputs, SILENT)
        seconds, wall = self.clock() - started, time.perf_counter() - wall
        disk = float(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))
        self.timings.append(_Timing(unit, seconds, wall, held, max(held, _peak()), disk))
        self._fill_in(unit, folder)

    def _fill_in(self, unit: Unit, folder: Path) -> None:
        if unit.kind in ("samples", "ablated"):
            samples = load_result(Samples, folder)
            if isinstance(samples, NotRun):
                return
            config: Any = unit.config
            if unit.labels.get("control") is None and unit.labels.get("operator", "none") == "none":
                self.samples[f"{config.model.name} {samples.task}"].append(samples)
            replace(samples, table=samples.table.assign(verdict="correct")).save(folder)
        elif unit.kind == "headsets":
            self._fill_in_heads(unit, folder)

    def _fill_in_heads(self, unit: Unit, folder: Path) -> None:
        """Replace the heads that three steps of training changed by as many as the study removes, drawn at random."""
        config: Any = unit.config
        layers, width = EdgeScores.load(self.folders[unit.inputs["base"].address]).head_importance.shape
        everything = [HeadId(layer, head) for layer in range(layers) for head in range(width)]
        count = min(config.at_most or 10, len(everything) // 2)
        heads = HeadSet.of(random.Random(0).sample(everything, count))
        controls = tuple(sample_matched_sets(heads, HeadSet(()), (layers, width), config.controls, 0))
        for file in folder.iterdir():
            file.unlink()
        ControlledHeads(heads, controls, controls, (layers, width)).save(folder)

    def _write_constants(self, unit: Unit, inputs: Inputs) -> None:
        from headscope.studies.subjects import load

        config: Any = unit.config
        shape = load(config.model.stage(inputs)).model.config.get_text_config()
        size = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
        grid = (shape.num_hidden_layers, shape.num_attention_heads, size)
        HeadConstants(np.zeros(grid, dtype=np.float32)).save(inputs.scratch)

    def _constants_rates(self, unit: Unit, facts: Facts) -> dict[str, float]:
        """Fit the constants of every eighth head for two numbers of steps on one text."""
        from headscope.interventions import fit_constants
        from headscope.studies.subjects import load

        config: Any = unit.config
        inputs = Inputs({role: self.folders[needed.address] for role, needed in unit.inputs.items()}, self.folder)
        respondent = ModelOnTask(config.model.stage(inputs), config.task.task())
        subject = load(respondent.stage)
        texts = answered_texts(respondent, inputs.load("whole", Samples), 1)
        if not texts:
            return {}
        shape = subject.model.config.get_text_config()
        places = [
            (index // shape.num_attention_heads, index % shape.num_attention_heads) for index in range(facts.heads)
        ]
        points = []
        for steps in (1, 1, 3):  # the first warms up
            started = self.clock()
            fit_constants(subject, places[::8], texts, steps=steps)
            load_of = constants_load(len(places[::8]), 1, len(texts[0].tokens), steps)
            points.append((load_of.drivers, self.clock() - started))
        return _fit(points[1:], once=False)

    def _training_rates(self, subject: Any) -> dict[str, float]:
        """Return seconds per step of each method from the log, per checkpoint, and for the rest of a training."""
        rates: dict[str, float] = {}
        rests = []
        for timing in self.timings:
            if timing.unit.kind == "train":
                config: Any = timing.unit.config
                steps = [entry.seconds for entry in read_log(self.folders[timing.unit.address] / LOG)]
                # The log's clock is the wall's; another one runs as much slower in a step as in the whole training.
                share = timing.seconds / timing.wall
                rates[f"{config.training['method']} steps"] = share * float(np.mean(steps[1:]))
                rests.append(timing.seconds - share * sum(steps))
        if not rests:
            return rates
        started = self.clock()
        subject.model.save_pretrained(self.folder / "saved")
        # The weights, and a state to resume from: weights again and two moments of Adam.
        rates["checkpoints"] = 4 * (self.clock() - started)
        rates["once"] = max(0.0, float(np.mean(rests)) - 2 * rates["checkpoints"])
        return rates

    def _load(self, unit: Unit, facts: Facts) -> Load:
        """Return what a pilot unit worked through: as planned, but for the answers, whose tokens are known."""
        load = unit_load(unit, replace(facts, correct=dict.fromkeys(facts.correct, 1.0)))
        if unit.kind not in ("samples", "ablated"):
            return load
        samples = load_result(Samples, self.folders[unit.address])
        if isinstance(samples, NotRun):
            return Load({})
        steps = {"decoding steps": float(samples.lengths.max()), GENERATED: float(samples.lengths.sum())}
        return replace(load, drivers={**load.drivers, **steps}, size=float(samples.lengths.sum()))

    def _facts(self, threads: int, heads: int, weight_bytes: float) -> Facts:
        from headscope.evaluation.transformers_engine import rows_that_fit
        from headscope.models.memory import free_memory
        from headscope.studies.stages import base_stage
        from headscope.studies.subjects import load

        subject = load(base_stage(self.study))
        answers = {name: _Answers.of(parts, self.study) for name, parts in self.samples.items()}
        prompts = self._prompt_tokens(subject.tokenizer)
        answer_tokens = {name: answer.mean for name, answer in answers.items()}
        steps, step_tokens = self._training_facts(subject.tokenizer, answer_tokens)
        pair_tokens, nodes = self._pair_facts()
        width = int(max(prompts.values(), default=1.0)) + self.study.eval.max_new_tokens
        return Facts(
            prompt_tokens=prompts,
            answer_tokens=answer_tokens,
            longest_answer={name: answer.longest for name, answer in answers.items()},
            correct={name: answer.correct for name, answer in answers.items()},
            pair_tokens=pair_tokens,
            nodes=nodes,
            batch_rows=rows_that_fit(subject.model, width),
            threads=threads,
            steps=steps,
            step_tokens=step_tokens,
            heads=heads,
            weight_bytes=weight_bytes,
            resident_bytes=max(timing.held for timing in self.timings),
            free_bytes=float(free_memory(subject.model.device)),
        )

    def _prompt_tokens(self, tokenizer: Any) -> dict[str, float]:
        tasks = {}
        for timing in self.timings:
            config: Any = timing.unit.config
            if timing.unit.kind in ("samples", "ablated"):
                tasks[config.task.name] = config.task.task().problems
            elif timing.unit.kind == "pairs" and hasattr(config.source, "tasks"):
                tasks[config.source.tasks[0].name] = config.source.problems()
        chat, means = self.study.base.chat, {}
        for name, problems in tasks.items():
            lengths = [len(prompt_ids(tokenizer, problem.prompt, chat)) for problem in problems[:SAMPLED_PROMPTS]]
            means[name] = float(np.mean(lengths))
        return means

    def _pair_facts(self) -> tuple[float, float]:
        """Return the mean length of a pair's texts, and how many nodes it took."""
        lengths, nodes = [1.0], [1.0]
        for timing in self.timings:
            folder = self.folders[timing.unit.address]
            if timing.unit.kind == "pairs" and not isinstance(pairs := load_result(Pairs, folder), NotRun):
                lengths.append(float(np.mean([len(text) for text in pairs.clean])))
            elif timing.unit.kind == "scores" and not isinstance(scores := load_result(EdgeScores, folder), NotRun):
                settings = scores.settings
                nodes.append(float(settings.get("nodes_mean", settings.get("nodes", 1))))
        return max(lengths), float(np.mean(nodes[1:] or nodes))

    def _training_facts(
        self, tokenizer: Any, answer_tokens: dict[str, float]
    ) -> tuple[dict[str, int], dict[str, float]]:
        """Return steps and tokens per step by variant; what SFT learns is as long as it will answer."""
        steps, step_tokens = {}, {}
        for timing in self.timings:
            if timing.unit.kind != "train":
                continue
            config: Any = timing.unit.config
            name, settings = str(timing.unit.labels["variant"]), config.settings()
            rows = training_rows(settings, config.chat, config.place.data_dir)
            few = [rows[index] for index in range(min(SAMPLED_PROMPTS, len(rows)))]
            prompt = float(np.mean([_message_tokens(tokenizer, row["prompt"]) for row in few]))
            if isinstance(settings, CompletionData):
                answer = float(np.mean([_message_tokens(tokenizer, row["completion"]) for row in few]))
                for key in [key for key in answer_tokens if key.startswith(f"{name} ")]:
                    answer_tokens[key] = answer
            else:
                entries = read_log(self.folders[timing.unit.address] / LOG)
                answer = float(np.mean([entry.completion_length or 0.0 for entry in entries]))
            plain: Any = settings
            per_step = plain.prompts_per_step if hasattr(plain, "prompts_per_step") else plain.batch_size
            sequences = per_step * (plain.samples if hasattr(plain, "samples") else 1)
            variant = next(variant for variant in self.study.variants if variant.name == name)
            assert variant.train is not None
            steps[name] = math.ceil(len(rows) / per_step * variant.train.epochs)
            step_tokens[name] = sequences * (prompt + answer)
        return steps, step_tokens


@dataclass(frozen=True)
class _Answers:
    """Answers of one variant to one task. mean, longest: tokens. correct: probability, half an answer on each side."""

    mean: float
    longest: float
    correct: float

    @classmethod
    def of(cls, parts: Sequence[Samples], study: Study) -> "_Answers":
        """Return them of the samples of all sizes."""
        lengths = np.concatenate([part.lengths.ravel() for part in parts]).astype(float)
        is_cut = np.concatenate([(part.table["finish"] == "length").to_numpy() for part in parts])
        lengths[is_cut] = study.eval.max_new_tokens
        correct = np.concatenate([part.correct.ravel() for part in parts])
        return cls(float(lengths.mean()), float(lengths.max()), float((correct.sum() + 0.5) / (len(correct) + 1)))


def _message_tokens(tokenizer: Any, messages: Any) -> int:
    texts = [messages] if isinstance(messages, str) else [str(message.get("content")) for message in messages]
    return sum(len(tokenizer(text)["input_ids"]) for text in texts)


def _fit_kinds(
    timings: Sequence[_Timing],
    drivers_of: Callable[[Unit], Mapping[str, Number]],
    cost_of: Callable[[_Timing], float],
) -> dict[str, dict[str, float]]:
    """Return for each kind what its units cost once and per driver."""
    points = defaultdict(list)
    for timing in timings:
        points[timing.unit.kind].append((drivers_of(timing.unit), cost_of(timing)))
    return {kind: _fit(of_kind) for kind, of_kind in points.items()}


def _fit(points: Sequence[tuple[Mapping[str, Number], float]], *, once: bool = True) -> dict[str, float]:
    """Return least squares of relative errors, no number below 0: a unit twice as large takes no less."""
    names = list(dict.fromkeys(name for drivers, _ in points for name in drivers))
    columns = [[1.0, *(drivers.get(name, 0.0) for name in names)] for drivers, _ in points]
    if not once or (names and all(row == columns[0] for row in columns)):
        # Of units all alike nothing tells what is paid once: then everything grows with the drivers.
        columns = [[0.0, *row[1:]] for row in columns]
    costs = np.array([cost for _, cost in points])
    # What took no time to speak of would weigh more than all the rest.
    weights = 1 / np.maximum(costs, max(1e-3, 0.05 * costs.max()))
    matrix = np.array(columns) * weights[:, None]
    scales = np.maximum(matrix.max(axis=0), 1e-12)
    solution = nnls(matrix / scales, costs * weights)[0] / scales
    return dict(zip(["once", *names], map(float, solution), strict=True))


def _reset_peak() -> float:
    """Forget the most memory held so far, and return what is held now: a GPU's in use, else resident; in bytes."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return float(torch.cuda.memory_allocated())
    with suppress(OSError, AttributeError):  # only Linux forgets
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _resident("VmRSS")


def _peak() -> float:
    import torch

    return float(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else _resident("VmHWM")


def _resident(name: str) -> float:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024.0
    return provenance.peak_memory_gib() * 2**30
