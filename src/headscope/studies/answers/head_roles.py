"""Roles of heads: what each head of base and last checkpoint reads in the checkpoint's own answers, a unit per variant.

Attention alone: what an answer needs of a head is asked by ablation, role by role (``studies.ablation.role_losses``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headscope.comparison.head_roles import METHOD, TextShares, label_roles, role_shares, share_changes
from headscope.errors import InputError
from headscope.lab.statements import is_lab_prompt, judge
from headscope.lab.token_roles import carried_values
from headscope.measures.attention_shares import Targets, attention_share, most_attended
from headscope.progress import Progress
from headscope.results.head_roles import HeadRoles
from headscope.results.not_run import NotRun
from headscope.results.samples import Samples
from headscope.results.traces import Reader
from headscope.runs import Inputs, Unit, Work
from headscope.studies.answers.texts import ModelOnTask, answers_with_texts
from headscope.studies.answers.traces import decoder, statements_of
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import ModelSource, Stage
from headscope.studies.study_file.config import Config
from headscope.traces.attention_targets import BY_MOST_ATTENDED, ROLES, attention_targets
from headscope.traces.carried_numbers import carried_numbers
from headscope.traces.reading import read_text, read_trace
from headscope.traces.spans import TokenEnds, TokenTexts, token_spans
from headscope.traces.steps import Step

if TYPE_CHECKING:
    from headscope.interventions import Text
    from headscope.models import Subject

TEXTS, TOKENS = 32, 1024
"""Answers per variant at most, and tokens of each with its prompt."""
_CLOSING = "</think>"


class HeadRolesConfig(Config):
    """The two models, the task whose answers they read, and how many answers and tokens are read at most."""

    base: ModelSource
    post: ModelSource
    task: TaskSource
    texts: int
    tokens: int


def compute_head_roles(config: HeadRolesConfig, inputs: Inputs, progress: Progress) -> HeadRoles | NotRun:
    """Return the roles of both models' heads on the answers in the input ``samples``, right ones as far as they go."""
    from headscope.studies.models.subjects import load

    stages = [source.stage(inputs) for source in (config.base, config.post)]
    answers = _read_answers(config, ModelOnTask(stages[1], config.task.task()), inputs)
    if not answers.targets:
        return NotRun(
            f"{config.post.name} gave no answer to {config.task.name} that could be read: its prompt must have fewer "
            f"than {config.tokens} tokens, and its tokens decode piece by piece"
        )
    models = []
    with progress.bar("roles of heads", 2 * len(answers.targets)) as bar:
        for stage in stages:
            subject = load(stage)
            shares = []
            for tokens, targets in zip(answers.tokens, answers.targets, strict=True):
                try:
                    shares.append(shares_in_text(subject, tokens, targets))
                except InputError as error:  # an architecture that keeps its rows to itself
                    return NotRun(str(error))
                bar.advance()
            models.append(np.stack(shares))
    asked = [place for place, role in enumerate(ROLES) if any(role in targets for targets in answers.targets)]
    before, after = (TextShares(*np.moveaxis(shares[:, asked], 2, 0)) for shares in models)
    roles = tuple(ROLES[place] for place in asked)
    base, post, changes = role_shares(before), role_shares(after), share_changes(before, after)
    return HeadRoles(
        variant=config.post.name,
        step=config.post.step,
        task=config.task.name,
        reader=answers.reader,
        roles=roles,
        texts=np.array([sum(role in targets for targets in answers.targets) for role in roles]),
        tokens=np.array([sum(targets[role].rows for targets in answers.targets if role in targets) for role in roles]),
        base=base,
        post=post,
        change=changes.value,
        change_low=changes.low,
        change_high=changes.high,
        change_q=changes.q_value,
        labels=label_roles(roles, base, post, changes),
        answers=len(answers.targets),
        cut=answers.cut,
        method=METHOD,
    )


HEAD_ROLES = Work("head_roles", HeadRolesConfig, compute_head_roles)


def head_roles_unit(base: Stage, final: Stage, samples: Unit) -> Unit:
    """Return the unit of what the heads of base and final checkpoint read in ``samples``, the final checkpoint's."""
    sampled: Any = samples.config
    config = HeadRolesConfig(base=base.source, post=final.source, task=sampled.task, texts=TEXTS, tokens=TOKENS)
    labels = {"variant": final.variant, "task": sampled.task.name}
    return HEAD_ROLES.unit(config, labels, {"samples": samples} | base.inputs | final.inputs)


@dataclass(frozen=True)
class _Answers:
    """Answers to read: their tokens with the prompt's, targets by role, and how many were cut."""

    reader: Reader
    tokens: list[tuple[int, ...]]
    targets: list[Mapping[str, Targets]]
    cut: int


def _read_answers(config: HeadRolesConfig, respondent: ModelOnTask, inputs: Inputs) -> _Answers:
    from headscope.studies.models.subjects import load

    samples = inputs.load("samples", Samples)
    read = answers_with_texts(respondent, samples, config.texts, correct=True)
    if len(read) < config.texts:  # wrong answers of other problems, as far as they are needed
        known = {row["problem"] for row, _ in read}
        others = answers_with_texts(respondent, samples, len(samples.table))
        read += [(row, text) for row, text in others if row["problem"] not in known][: config.texts - len(read)]
    prompts = config.task.prompts()
    reader: Reader = "lab" if all(is_lab_prompt(prompts[row["problem"]]) for row, _ in read) else "text"
    texts = TokenTexts(decoder(load(respondent.stage).tokenizer))
    tokens, targets, cut = [], [], 0
    for row, text in read:
        ends = texts.ends(row["token_ids"], row["response"])
        if ends is None or len(text.prompt) >= config.tokens:
            continue
        cut += len(text.tokens) > config.tokens
        tokens.append(text.tokens[: config.tokens])
        targets.append(answer_targets(row, text, prompts[row["problem"]], ends, reader, config.tokens))
    return _Answers(reader, tokens, targets, cut)


def answer_targets(
    row: Mapping[Any, Any], text: "Text", prompt: str, ends: TokenEnds, reader: Reader, most: int
) -> Mapping[str, Targets]:
    """Return the targets of an answer of which ``most`` tokens are read with its prompt."""
    response, kept = row["response"], most - len(text.prompt)
    steps, carried = _lab_steps(prompt, response) if reader == "lab" else _text_steps(row, ends)
    closing = response.find(_CLOSING)
    closed_at = int(np.searchsorted(ends, closing + len(_CLOSING))) if closing >= 0 else kept
    return attention_targets(
        text.tokens[:most],
        len(text.prompt),
        [step for step in steps if step.last_token <= kept],
        [place for place in carried if place[0] < kept],
        closed_at if closed_at < kept else None,
    )


def _lab_steps(prompt: str, response: str) -> tuple[Sequence[Step], list[tuple[int, int, int]]]:
    return judge(prompt, response), carried_values(prompt, response)


def _text_steps(row: Mapping[Any, Any], ends: TokenEnds) -> tuple[Sequence[Step], list[tuple[int, int, int]]]:
    """Return steps and carried numbers of a running text, as tokens."""
    response, ids = row["response"], row["token_ids"]
    steps = read_text(response, statements_of(row["kind"] or "math"))
    placed = read_trace(response, ids, steps, lambda value: False, count=len(ids), ends=ends).steps
    numbers = carried_numbers(response, steps)
    first, _ = token_spans(ends, [number.start for number in numbers], [number.start + 1 for number in numbers])
    starts, stops = token_spans(
        ends, [number.source_start for number in numbers], [number.source_end for number in numbers]
    )
    return placed, list(zip(first.tolist(), starts.tolist(), stops.tolist(), strict=True))


def shares_in_text(subject: "Subject", tokens: tuple[int, ...], targets: Mapping[str, Targets]) -> "np.ndarray":
    """Return [role, 3, layer, head]: share, share over moved targets, share over other rows; NaN where not asked."""
    from headscope.circuits import visit_attention_rows
    from headscope.models import head_access

    access = head_access(subject.model)
    shares = np.full((len(ROLES), 3, len(access.layers), access.heads), np.nan)
    weights = {
        role: (asked.share_weights(), asked.moved_weights(), asked.elsewhere_weights())
        for role, asked in targets.items()
    }

    def visit(layer: int, rows: "np.ndarray") -> None:
        for role, kinds in weights.items():
            read = most_attended(rows) if role in BY_MOST_ATTENDED else rows
            for kind, weight in enumerate(kinds):
                shares[ROLES.index(role), kind, layer] = attention_share(read, weight)

    visit_attention_rows(subject, np.array(tokens, dtype=np.int64), visit)
    return shares
