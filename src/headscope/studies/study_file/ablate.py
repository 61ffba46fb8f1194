"""``ablate``: which heads are removed, and how the effect is judged."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from headscope.heads import HeadId
from headscope.operator_names import ABLATION_OPERATORS, Operator, SharedKv
from headscope.results.head_sets import THINK_OFF_ONLY, role_of_group
from headscope.studies.study_file.config import Config, OneOrMore, insert_preset
from headscope.studies.study_file.references import TaskRef

NAMED = "named"

HeadGroup = Literal[
    "emergent",
    "kept",
    "lost",
    "new-previous-token",
    "new-first-token",
    "new-induction",
    "new-retrieval",
    "new-iteration",
    "new-verification",
    "new-closer",
    "new-receiver",
    "paper-emergent",
    "paper-kept",
    "paper-lost",
    "recall",
    "think-off-only",
    "named",
]

EditedModel = Literal["post", "base"]

HeadName = Annotated[str, BeforeValidator(lambda name: str(HeadId.parse(name)))]

NO_MODES = (
    f"ablate.heads holds {THINK_OFF_ONLY}, and no two variants are one model asked with chat.enable_thinking true and "
    "false; add both modes, or leave the group out"
)

ABLATE_PRESETS: dict[str, dict[str, Any]] = {
    # arXiv 2509.25758, A.7 and A.9: 5-10 heads of three kinds, removed and scaled while the model generates.
    "paper": {
        "heads": ["paper-emergent", "paper-lost", "recall"],
        "at_most": 10,
        "generated_scales": [0.5, 1.3],
        "scales": [0, 0.5, 0.8, 1.3, 1.5],
        "guard": "triviaqa",
    }
}


class AblateConfig(Config):
    """Head sets removed, next to random sets: evidence from teacher forcing, verdicts on generated answers.

    preset: ``paper`` compares heads only the post-trained circuit has, heads only the base circuit has, and heads of
        the recall circuit (of ``guard``), removed and scaled; keys next to it win.
    heads: which sets of the final checkpoint's comparison; ``paper-…`` are those of the paper's method, the plain
        set difference of two circuits; ``new-induction`` and the like are the heads that took up that role in the
        answers to the first task (``discover.attention``), whether or not a circuit has them; ``recall`` needs a
        ``guard``; ``think-off-only`` are the heads that a model has with thinking off and lacks with thinking on,
        removed in its think-off variant; ``named`` are those of the key ``named``.
    named: heads by name, such as ``[L3H5, L4H1]``: what the report's page Circuit exports. They are removed as one set,
        all of them whatever ``at_most`` says.
    on: the models in which they are removed and scaled: ``post``, the trained one, and ``base``, next to its own whole
        answers.
    step: take the heads emergent, kept or lost at this checkpoint, and remove them in the model of this checkpoint;
        None takes the last. A variant that is one finished model has no other and is left out.
    null_twins: whether the heads of null twins are removed too; no claim asks about those.
    at_most: of a larger set only so many heads, those whose share of the score changed most, or of the attention (the
        paper removes 5-10).
    tasks: None takes the study's tasks. problems: of each task, None for all. samples: answers per problem.

    operators: of the evidence; a set stands when three of the four that remove heads agree. ``revert``, which gives
        heads the base's weights and asks whether training them mattered, has no vote; in the base it gives heads the
        variant's. revert_kv: it also reverts the keys and values that a group of heads shares if ``all`` of the group
        is reverted, or if ``any`` of it is, which changes the others too. controls: random sets per head set at most,
        of the same layer profile (if there are too few, also from the layers next to it), and as many of like
        importance; they are run twenty at a time, until ten of them do
        as much as the set, which can then no longer stand out. texts: correct answers forced, at most.
    scales: doses α of the evidence. guard: a recall task on which nothing should happen.
    generated: operators under which answers are generated. generated_scales: factors likewise. generated_controls:
        with so many of the controls. shard_problems: so many problems are one unit, as with ``eval.shard_problems``.
    """

    preset: Literal["paper"] | None = None
    heads: Annotated[tuple[HeadGroup, ...], OneOrMore()] = ("emergent", "kept")
    named: Annotated[tuple[HeadName, ...], OneOrMore()] = ()
    on: Annotated[tuple[EditedModel, ...], Field(min_length=1), OneOrMore()] = ("post",)
    step: int | None = Field(default=None, ge=1)
    null_twins: bool = False
    at_most: int | None = Field(default=10, ge=1)
    operators: Annotated[tuple[Operator, ...], Field(min_length=1), OneOrMore()] = ABLATION_OPERATORS
    revert_kv: SharedKv = "all"
    controls: int = Field(default=200, ge=1)
    texts: int = Field(default=200, ge=1)
    scales: tuple[Annotated[float, Field(ge=0)], ...] = (0, 0.5, 0.8, 1.3, 1.5)
    guard: TaskRef | None = None
    generated: Annotated[tuple[Operator, ...], OneOrMore()] = ("zero",)
    generated_scales: tuple[Annotated[float, Field(ge=0)], ...] = ()
    generated_controls: int = Field(default=20, ge=1)
    tasks: tuple[TaskRef, ...] | None = None
    problems: int | None = Field(default=None, ge=1)
    samples: int = Field(default=1, ge=1)
    shard_problems: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        return insert_preset(data, ABLATE_PRESETS)

    @model_validator(mode="after")
    def _recall_has_a_task(self) -> "AblateConfig":
        if "recall" in self.heads and self.guard is None:
            raise ValueError("heads holds recall, whose circuit is found on the task named by guard, and there is none")
        return self

    @model_validator(mode="after")
    def _named_heads_have_names(self) -> "AblateConfig":
        if NAMED in self.heads and not self.named:
            raise ValueError("heads holds named, and named lists no head; list heads there, such as named: [L3H5]")
        if self.named and NAMED not in self.heads:
            raise ValueError("named lists heads that nothing removes; add named to heads, as in heads: [named]")
        return self

    @model_validator(mode="after")
    def _roles_are_of_the_last_step(self) -> "AblateConfig":
        if self.step is not None and self.role_groups:
            raise ValueError(
                f"step is {self.step}, and heads holds {self.role_groups[0]}: roles are read in the last checkpoint "
                "alone; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _modes_are_of_the_last_step(self) -> "AblateConfig":
        if self.step is not None and THINK_OFF_ONLY in self.heads:
            raise ValueError(
                f"step is {self.step}, and heads holds {THINK_OFF_ONLY}: both modes are compared at the last "
                "checkpoint alone; leave one of them out"
            )
        return self

    @property
    def role_groups(self) -> tuple[str, ...]:
        """Return the groups of heads that took up a role."""
        return tuple(group for group in self.heads if role_of_group(group) is not None)

    @property
    def generated_with_controls(self) -> int:
        """Return with how many controls answers are generated."""
        return min(self.generated_controls, self.controls)
