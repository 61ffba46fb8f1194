"""Roles of heads: what each head of base and last checkpoint reads in the checkpoint's own answers, a unit per variant.

Attention alone: what an answer needs of a head is asked by ablation, role by role (``studies.ablation.role_losses``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from headscope.comparison.head_roles import METHOD, TextShares, label_roles, role_shares, share_changes
from headscope.errors import InputError
from headscope.lab.labels import symbols
from headscope.lab.statements import judge
from headscope.lab.token_roles import carried_values
from headscope.measures.attention_shares import CONTROLS, Targets, attention_sums, most_attended_sums
from headscope.progress import Progress
from headscope.results.head_roles import HeadRoles
from headscope.results.not_run import NotRun
from headscope.results.samples import Samples
from headscope.results.traces import Reader
from headscope.runs import Inputs, Unit, Work
from headscope.studies.answers.texts import ModelOnTask, answers_with_texts
from headscope.studies.answers.traces import decoder, reader_of, statements_of
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import ModelSource, Stage
from headscope.studies.study_file.config import Config
from headscope.traces.attention_targets import BY_MOST_ATTENDED, ROLES, attention_targets
from headscope.traces.carried_numbers import carried_numbers
from headscope.traces.reading import read_text
from headscope.traces.spans import TokenEnds, TokenTexts, token_spans
from headscope.traces.steps import Step
from headscope.traces.text_steps import CLOSE

if TYPE_CHECKING:
    from headscope.interventions import Text
    from headscope.models import Subject

TEXTS, TOKENS = 32, 1024
"""Answers per variant at most, and tokens of each with its prompt."""
_SUMS = 1 + 2 * len(CONTROLS)


class HeadRolesConfig(Config):
    """The two models, the task whose answers they read, and how many answers and tokens are read at most."""

    base: ModelSource
    post: ModelSource
    task: TaskSource
    texts: int
    tokens: int


def compute_head_roles(config: HeadRolesConfig, inputs: Inputs, progress: Progress) -> HeadRoles | NotRun:
    """Return the roles of both models' heads on the answers in the input ``samples``, right ones as far as they go."""
    from headscope.models import head_access
    from headscope.studies.models.subjects import load

    stages = [source.stage(inputs) for source in (config.base, config.post)]
    access = [head_access(load(stage).model) for stage in stages]
    longest = min(config.tokens, *(model.longest or config.tokens for model in access))
    vocabulary = min(model.vocabulary for model in access)
    samples = inputs.load("samples", Samples)
    answers = _read_answers(config, ModelOnTask(stages[1], config.task.task()), samples, longest, vocabulary)
    if not answers.targets:
        return NotRun(
            f"{config.post.name} gave no answer to {config.task.name} that both models can read: its prompt must have "
            f"fewer than {longest} tokens, and its tokens decode piece by piece"
        )
    roles = [role for role in ROLES if any(role in targets for targets in answers.targets)]
    models: list[TextShares] = []
    with progress.bar("roles of heads", 2 * len(answers.targets)) as bar:
        for stage in stages:
            subject = load(stage)
            sums = []
            for tokens, targets in zip(answers.tokens, answers.targets, strict=True):
                try:
                    sums.append(shares_in_text(subject, tokens, targets))
                except InputError as error:  # an architecture that keeps its rows to itself
                    return NotRun(str(error))
                bar.advance()
            models.append(text_shares(np.stack(sums), roles))
    base, post, changes = role_shares(models[0]), role_shares(models[1]), share_changes(*models)
    rows = [[targets[role].rows for targets in answers.targets if role in targets] for role in roles]
    return HeadRoles(
        variant=config.post.name,
        step=config.post.step,
        task=config.task.name,
        reader=answers.reader,
        roles=tuple(roles),
        texts=np.array([len(of_role) for of_role in rows]),
        tokens=np.array([sum(of_role) for of_role in rows]),
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


def _read_answers(
    config: HeadRolesConfig, respondent: ModelOnTask, samples: Samples, longest: int, vocabulary: int
) -> _Answers:
    """Return the first answers that both models can read, right ones before wrong ones, one per problem."""
    from headscope.studies.models.subjects import load

    answers = answers_with_texts(respondent, samples, len(samples.table), correct=True)
    solved = {row["problem"] for row, _ in answers}
    first_answers = answers_with_texts(respondent, samples, len(samples.table))
    answers += [(row, text) for row, text in first_answers if row["problem"] not in solved]
    prompts = config.task.prompts()
    reader = reader_of(prompts[row["problem"]] for row, _ in answers)
    texts = TokenTexts(decoder(load(respondent.stage).tokenizer))
    tokens: list[tuple[int, ...]] = []
    targets: list[Mapping[str, Targets]] = []
    cut = 0
    for row, text in answers:
        if len(targets) == config.texts:
            break
        whole = text.tokens
        ends = texts.ends(row["token_ids"], row["response"])
        is_symbols = reader == "text" or len(symbols(row["response"])) == len(row["token_ids"])
        if ends is None or not is_symbols or len(text.prompt) >= longest or max(whole) >= vocabulary:
            continue
        cut += len(whole) > longest
        tokens.append(whole[:longest])
        targets.append(answer_targets(row, text, prompts[row["problem"]], ends, reader, longest))
    return _Answers(reader, tokens, targets, cut)


def answer_targets(
    row: Mapping[Any, Any], text: "Text", prompt: str, ends: TokenEnds, reader: Reader, longest: int
) -> Mapping[str, Targets]:
    """Return the targets of an answer of which ``longest`` tokens are read with its prompt.

    Args:
        row: of the samples: ``response``, ``token_ids`` and ``kind``.
        text: the tokens of its prompt and of the answer.
        prompt: the problem.
        ends: ends of the answer's tokens in its text.
        reader: what reads its steps.
        longest: number of tokens that are read.
    """
    response, tokens = row["response"], longest - len(text.prompt)
    if reader == "lab":
        steps, carried = judge(prompt, response), carried_values(prompt, response)
    else:
        steps, carried = _text_steps(response, prompt, row["kind"] or "math", ends)
    place = response.find(CLOSE)
    closing = int(np.searchsorted(ends, place + len(CLOSE))) if place >= 0 else tokens
    return attention_targets(
        text.tokens[:longest],
        len(text.prompt),
        [step for step in steps if step.last_token <= tokens],
        [number for number in carried if number[0] < tokens],
        closing if closing < tokens else None,
    )


def _text_steps(
    response: str, prompt: str, kind: str, ends: TokenEnds
) -> tuple[tuple[Step, ...], list[tuple[int, int, int]]]:
    """Return steps and carried numbers of a running text, as tokens."""
    steps = read_text(response, statements_of(kind))
    firsts, lasts = token_spans(ends, [step.start for step in steps], [step.end for step in steps])
    placed = tuple(
        replace(step, first_token=int(first), last_token=int(last))
        for step, first, last in zip(steps, firsts, lasts, strict=True)
    )
    numbers = carried_numbers(response, steps, prompt)
    first, _ = token_spans(ends, [number.start for number in numbers], [number.start + 1 for number in numbers])
    starts, stops = token_spans(
        ends, [number.source_start for number in numbers], [number.source_end for number in numbers]
    )
    return placed, list(zip(first.tolist(), starts.tolist(), stops.tolist(), strict=True))


def shares_in_text(
    subject: "Subject", tokens: tuple[int, ...], targets: Mapping[str, Targets]
) -> "Float[np.ndarray, 'sum role layer head']":
    """Return the sums of ``Targets.weights`` for each role, NaN for roles without targets.

    Raises InputError if the model's attention returns no rows.
    """
    from headscope.circuits import visit_attention_rows
    from headscope.models import head_access

    access = head_access(subject.model)
    shares = np.full((_SUMS, len(ROLES), len(access.layers), access.heads), np.nan)
    weights = {role: asked.weights() for role, asked in targets.items()}

    def visit(layer: int, rows: "Float[np.ndarray, 'head query key']") -> None:
        for role, matrices in weights.items():
            sums = most_attended_sums if role in BY_MOST_ATTENDED else attention_sums
            shares[:, ROLES.index(role), layer] = sums(rows, matrices)

    visit_attention_rows(subject, np.array(tokens, dtype=np.int64), visit)
    return shares


def text_shares(sums: "Float[np.ndarray, 'text sum role layer head']", roles: Sequence[str] = ROLES) -> TextShares:
    """Return the sums of ``shares_in_text`` by what they are, for some of the roles."""
    chosen = np.moveaxis(sums, 1, 0)[:, :, [ROLES.index(role) for role in roles]]
    return TextShares(chosen[0], chosen[1::2], chosen[2::2])
