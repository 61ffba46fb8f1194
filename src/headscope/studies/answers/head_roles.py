"""Roles of heads: what each head of base and last checkpoint reads in the checkpoint's own answers, a unit per variant.

Attention alone: what an answer needs of a head is asked by ablation, role by role (``studies.ablation.role_losses``).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from headscope.comparison.head_roles import TextShares, label_roles, role_shares, share_changes
from headscope.errors import InputError
from headscope.evaluation import Chat, prompt_ids
from headscope.lab.labels import symbols
from headscope.lab.statements import judge
from headscope.lab.token_roles import carried_values
from headscope.measures.attention_received import StepSpans
from headscope.measures.attention_shares import CONTROLS, Targets, attention_sums, most_attended_sums
from headscope.measures.intervals import PROBLEM_T
from headscope.progress import Progress
from headscope.results.head_roles import HeadRoles, RoleShares
from headscope.results.not_run import NotRun
from headscope.results.samples import Samples
from headscope.results.traces import Reader
from headscope.runs import Inputs, Unit, Work
from headscope.studies.answers.texts import ModelOnTask, texts_of_rows
from headscope.studies.answers.traces import decoder, reader_of, statements_of
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import ModelSource, Stage
from headscope.studies.study_file.config import Config
from headscope.traces.attention_targets import (
    ATTENTION_ROLES,
    BY_MOST_ATTENDED,
    RECEIVER,
    attention_targets,
    step_spans,
)
from headscope.traces.carried_numbers import carried_numbers
from headscope.traces.reading import read_text
from headscope.traces.spans import TokenEnds, TokenTexts, place_carried, place_steps
from headscope.traces.text_steps import CLOSE

if TYPE_CHECKING:
    from headscope.interventions import Text
    from headscope.models import Subject

TEXTS, TOKENS = 32, 1024
"""Answers per variant at most, and tokens of each with its prompt."""
_SUMS = 1 + 2 * len(CONTROLS)

Weights = Float[np.ndarray, "matrix query key"]
AttentionSums = Float[np.ndarray, "matrix role layer head"]
"""Of one model in one text: the sums of ``Targets.weights`` by role; NaN for a role without targets."""


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
    subjects = [load(stage) for stage in stages]
    access = [head_access(subject.model) for subject in subjects]
    window = _Window(
        min(config.tokens, *(model.longest or config.tokens for model in access)),
        min(model.vocabulary for model in access),
    )
    reader, answers = _choose_answers(config, ModelOnTask(stages[1], config.task.task()), inputs, window)
    if not answers:
        return NotRun(
            f"{config.post.name} gave no answer to {config.task.name} that both models can read: its prompt must have "
            f"fewer than {window.tokens} tokens, all its tokens must be in both vocabularies and decode piece by piece"
        )
    rows: dict[str, list[int]] = {role: [] for role in ATTENTION_ROLES}  # with targets, of each text that has some
    sums: list[list[AttentionSums]] = [[], []]  # of the base, then of the post-trained model
    with progress.bar("roles of heads", len(answers)) as bar:
        for answer in answers:
            asked = find_targets(answer, reader, window.tokens)
            for role, count in asked.rows.items():
                rows[role].append(count)
            try:
                for subject, of_model in zip(subjects, sums, strict=True):
                    of_model.append(sums_in_text(subject, asked))
            except InputError as error:  # an architecture whose attention returns no rows
                return NotRun(str(error))
            bar.advance()
    roles = [role for role in ATTENTION_ROLES if rows[role]]
    before, after = text_shares(sums[0], roles), text_shares(sums[1], roles)
    base, post, changes = role_shares(before), role_shares(after), share_changes(before, after)
    return HeadRoles(
        variant=config.post.name,
        step=config.post.step,
        task=config.task.name,
        reader=reader,
        roles=tuple(roles),
        texts=np.array([len(rows[role]) for role in roles]),
        tokens=np.array([sum(rows[role]) for role in roles]),
        base=base,
        post=post,
        change=changes.value,
        change_low=changes.low,
        change_high=changes.high,
        change_q=changes.q_value,
        labels=label_roles(roles, base, post, changes),
        answers=len(answers),
        cut=sum(len(answer.text.tokens) > window.tokens for answer in answers),
        method=PROBLEM_T,
    )


HEAD_ROLES = Work("head_roles", HeadRolesConfig, compute_head_roles, version=3)


def head_roles_unit(base: Stage, final: Stage, samples: Unit) -> Unit:
    """Return the unit of what the heads of base and final checkpoint read in ``samples``, the final checkpoint's."""
    sampled: Any = samples.config
    config = HeadRolesConfig(base=base.source, post=final.source, task=sampled.task, texts=TEXTS, tokens=TOKENS)
    labels = {"variant": final.variant, "task": sampled.task.name}
    return HEAD_ROLES.unit(config, labels, {"samples": samples} | base.inputs | final.inputs)


@dataclass(frozen=True)
class _Window:
    """Part of a text that both models can read: so many tokens of a text, with ids below ``vocabulary``."""

    tokens: int
    vocabulary: int


@dataclass(frozen=True, eq=False)
class Answer:
    """One answer: its text and problem, its tokens with the prompt's, where they end in the text, and its kind."""

    response: str
    problem: str
    text: "Text"
    ends: TokenEnds
    kind: str


def _choose_answers(
    config: HeadRolesConfig, respondent: ModelOnTask, inputs: Inputs, window: _Window
) -> tuple[Reader, list[Answer]]:
    """Return the first answers that both models can read, right ones before wrong ones, one per problem."""
    from headscope.studies.models.subjects import load

    table = inputs.load("samples", Samples).table
    in_order = table.assign(wrong=table["verdict"] != "correct").sort_values("wrong", kind="stable")
    rows: list[dict[Any, Any]] = in_order.drop_duplicates("problem").to_dict("records")
    problems = config.task.prompts()
    reader = reader_of(problems[row["problem"]] for row in rows)
    token_texts = TokenTexts(decoder(load(respondent.stage).tokenizer))
    answers: list[Answer] = []
    for row, text in texts_of_rows(respondent, rows):
        ends = token_texts.ends(row["token_ids"], row["response"])
        is_symbols = reader == "text" or len(symbols(row["response"])) == len(row["token_ids"])
        fits = 1 < len(text.prompt) < window.tokens and max(text.tokens) < window.vocabulary
        if ends is not None and len(ends) and is_symbols and fits:
            answers.append(Answer(row["response"], problems[row["problem"]], text, ends, row["kind"] or "math"))
        if len(answers) == config.texts:
            break
    return reader, answers


def roles_in_answers(
    subject: "Subject", questions: Sequence[str], responses: Sequence[str], *, chat: Chat | None = None
) -> RoleShares:
    """Return what each head reads in answers of your own, as units ``head_roles`` do of sampled ones.

    Args:
        subject: the model, with its tokenizer.
        questions: one per answer, of different problems; a role is tested if ten of the answers ask for it.
        responses: the answers, whoever wrote them; two models are compared on the same ones.
        chat: settings of the chat template; None for its defaults.

    Returns:
        Shares by role, in the order of ``ATTENTION_ROLES``; ``labelled`` says which heads play which role.

    Raises:
        InputError: if the numbers differ or are 0, an answer has no tokens that decode piece by piece to its text, its
            prompt leaves no room in the ``TOKENS`` that are read, or the model's attention returns no rows.
    """
    from headscope.interventions import Text

    if not len(questions) == len(responses) > 0:
        raise InputError(f"{len(questions)} questions and {len(responses)} responses; give one of each, at least one")
    reader, texts = reader_of(questions), TokenTexts(decoder(subject.tokenizer))
    sums = []
    for question, response in zip(questions, responses, strict=True):
        prompt = tuple(prompt_ids(subject.tokenizer, question, chat))
        ids = tuple(subject.tokenizer(response, add_special_tokens=False)["input_ids"])
        ends = texts.ends(ids, response)
        if ends is None or not len(ends) or len(prompt) >= TOKENS:
            raise InputError(f"the answer {response[:40]!r} has no tokens that can be placed in it and read")
        asked = find_targets(Answer(response, question, Text(prompt, ids), ends, "math"), reader, TOKENS)
        sums.append(sums_in_text(subject, asked))
    return role_shares(text_shares(sums))


@dataclass(frozen=True, eq=False)
class AnswerTargets:
    """Targets that heads may read in a prompt with its answer.

    tokens: of both. targets: of each role whose targets the text decides. steps: None if they are too few to ask who
    receives.
    """

    tokens: tuple[int, ...]
    targets: Mapping[str, Targets]
    steps: StepSpans | None

    @property
    def rows(self) -> dict[str, int]:
        """Return the number of rows that ask for each role."""
        rows = {role: of_role.rows for role, of_role in self.targets.items()}
        return rows if self.steps is None else rows | {RECEIVER: self.steps.reading_rows}


def find_targets(answer: Answer, reader: Reader, longest: int) -> AnswerTargets:
    """Return what heads may read in an answer of which ``longest`` tokens are read with its prompt.

    reader: what reads its steps.
    """
    prompt = len(answer.text.prompt)
    tokens = longest - prompt
    if reader == "lab":
        all_steps = judge(answer.problem, answer.response)
        carried = carried_values(answer.problem, answer.response)
    else:
        in_text = read_text(answer.response, statements_of(answer.kind))
        all_steps = place_steps(in_text, answer.ends)
        carried = place_carried(carried_numbers(answer.response, in_text, answer.problem), answer.ends)
    steps = [step for step in all_steps if step.last_token <= tokens]
    place = answer.response.find(CLOSE)
    closing = int(np.searchsorted(answer.ends, place + len(CLOSE))) if place >= 0 else tokens
    targets = attention_targets(
        answer.text.tokens[:longest],
        prompt,
        steps,
        [span for span in carried if span.end <= tokens],
        closing if closing < tokens else None,
    )
    return AnswerTargets(answer.text.tokens[:longest], targets, step_spans(prompt, steps))


def sums_in_text(subject: "Subject", answer: AnswerTargets) -> AttentionSums:
    """Return the share of attention and the controls of each role and head, NaN for roles that are not asked for.

    Raises InputError if the model's attention returns no rows.
    """
    from headscope.circuits import visit_attention_rows
    from headscope.models import head_access

    access = head_access(subject.model)
    sums = np.full((_SUMS, len(ATTENTION_ROLES), len(access.layers), access.heads), np.nan)
    weights = {role: of_role.weights() for role, of_role in answer.targets.items()}
    shared = [role for role in weights if role not in BY_MOST_ATTENDED]
    stacked = np.concatenate([weights[role] for role in shared])  # previous tokens at least

    def visit(layer: int, rows: "Float[np.ndarray, 'head query key']") -> None:
        of_roles = attention_sums(rows, stacked).reshape(len(shared), _SUMS, -1)
        for role, of_role in zip(shared, of_roles, strict=True):
            sums[:, ATTENTION_ROLES.index(role), layer] = of_role
        for role in BY_MOST_ATTENDED & weights.keys():
            sums[:, ATTENTION_ROLES.index(role), layer] = most_attended_sums(rows, weights[role])
        if (
            answer.steps is not None
        ):  # share, moved and elsewhere; a receiver reads its steps all the time, asked or not
            received = answer.steps.received(rows)
            sums[: len(received), ATTENTION_ROLES.index(RECEIVER), layer] = received

    visit_attention_rows(subject, np.array(answer.tokens, dtype=np.int64), visit)
    return sums


def text_shares(sums: Sequence[AttentionSums], roles: Sequence[str] = ATTENTION_ROLES) -> TextShares:
    """Return the sums of one model's texts by what they are, for some of the roles."""
    chosen = np.stack(sums, axis=1)[:, :, [ATTENTION_ROLES.index(role) for role in roles]]
    return TextShares(chosen[0], chosen[1::2], chosen[2::2])
