"""Answers of one model on one task, whole and with heads replaced: one unit per head set, operator and control, so that
a killed sweep resumes where it was.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING

from pydantic import Field

from headscope.comparison import ablation_verdict
from headscope.evaluation import evaluate, join_samples
from headscope.heads import HeadSet
from headscope.operator_names import SharedKv
from headscope.progress import Progress
from headscope.results.codec import Json
from headscope.results.head_constants import HeadConstants
from headscope.results.head_sets import ControlledHeads
from headscope.results.not_run import NotRun
from headscope.results.samples import Samples
from headscope.results.verdict import AblationVerdict
from headscope.runs import Inputs, Unit, Work
from headscope.studies.answers.evaluate import SamplingSettings, draw_settings, shard_inputs, share_out
from headscope.studies.answers.texts import ModelOnTask, answered_texts
from headscope.studies.data import sources
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import ModelSource, Stage
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.references import TaskRef
from headscope.studies.study_file.study import Study

if TYPE_CHECKING:
    from headscope.interventions import Replacement

REFERENCE_TEXTS = 32
"""Texts behind a mean, a donor or a fitted constant."""


class AblatedConfig(Config):
    """A model, the problems it answers, and what replaces its heads while it answers.

    operator: ``none`` for the whole model, one of ``operator_names.OPERATORS``, or a factor such as ``x1.3``.
    control: number of the random set that is taken instead of the group's heads.
    reference_texts: of the whole model's answers behind a mean or donor.
    donor, revert_kv: for ``revert``, whose weights the heads take, and when with the keys and values of their group.
    """

    model: ModelSource
    task: TaskSource
    sampling: SamplingSettings
    operator: str
    control: int | None
    reference_texts: int
    donor: ModelSource | None = Field(default=None, exclude_if=lambda donor: donor is None)
    revert_kv: SharedKv | None = Field(default=None, exclude_if=lambda rule: rule is None)


class AblatedShardConfig(AblatedConfig):
    """The settings of a unit of such answers, and which of its problems this unit asks, as in ``ShardConfig``."""

    first: int
    end: int


def compute_ablated(config: AblatedConfig, inputs: Inputs, progress: Progress) -> Samples | NotRun:
    """Return answers of the model, whole or with the heads of ``sets`` replaced; of shards, what these hold."""
    shards = shard_inputs(inputs.folders)
    if shards:
        return join_samples([inputs.load(shard, Samples) for shard in shards])
    return _answer(config, None, inputs, progress)


def compute_ablated_shard(config: AblatedShardConfig, inputs: Inputs, progress: Progress) -> Samples | NotRun:
    """Return the answers to some of the problems."""
    return _answer(config, range(config.first, config.end), inputs, progress)


def _answer(config: AblatedConfig, part: range | None, inputs: Inputs, progress: Progress) -> Samples | NotRun:
    heads = HeadSet(())
    if config.operator != "none":
        sets = inputs.load("sets", ControlledHeads)
        head_set = sets.head_set(config.control)
        if head_set is None:
            return NotRun(f"there is no random set {config.control}: only {len(sets.controls)} match these heads")
        heads = head_set
    from headscope.studies.models.subjects import load

    respondent = ModelOnTask(config.model.stage(inputs), config.task.task())
    subject = load(respondent.stage)
    with _remove_heads(respondent, config, heads, inputs):
        return evaluate(
            subject.model,
            subject.tokenizer,
            respondent.task,
            config.sampling,
            chat=respondent.stage.chat,
            name=respondent.stage.variant,
            part=part,
            progress=progress,
        )


ABLATED = Work("ablated", AblatedConfig, compute_ablated, version=2)
ABLATED_SHARD = Work("ablated_shard", AblatedShardConfig, compute_ablated_shard, version=2)


class ConstantsConfig(Config):
    """The model and task whose own answers the heads' constants are fitted on. texts: of these answers at most."""

    model: ModelSource
    task: TaskSource
    texts: int
    seed: int


def compute_constants(config: ConstantsConfig, inputs: Inputs, progress: Progress) -> HeadConstants:
    """Return optimal constants of every head, on the answers in the input ``whole``."""
    from headscope.interventions import fit_constants
    from headscope.studies.models.subjects import load

    respondent = ModelOnTask(config.model.stage(inputs), config.task.task())
    subject = load(respondent.stage)
    text_config = subject.model.config.get_text_config()
    grid = list(product(range(text_config.num_hidden_layers), range(text_config.num_attention_heads)))
    texts = answered_texts(respondent, inputs.load("whole", Samples), config.texts)
    return HeadConstants(fit_constants(subject, grid, texts, seed=config.seed, progress=progress))


CONSTANTS = Work("constants", ConstantsConfig, compute_constants, version=3)


class VerdictConfig(Config):
    """The verdict's task and operator, by name.

    controls: number of inputs with random sets. seed: recorded with the verdict. revert_kv: as of ``AblatedConfig``.
    """

    task: str
    operator: str
    controls: int
    seed: int
    revert_kv: SharedKv | None = Field(default=None, exclude_if=lambda rule: rule is None)


def compute_verdict(config: VerdictConfig, inputs: Inputs, progress: Progress) -> AblationVerdict:
    """Return the verdict on one group under one operator, from the answers of the inputs."""
    sets = inputs.load("sets", ControlledHeads)
    # Fewer matched sets may exist than were asked for.
    controls = [inputs.result(f"control {number}", Samples) for number in range(config.controls)]
    verdict = ablation_verdict(
        inputs.load("baseline", Samples).correct,
        inputs.load("ablated", Samples).correct,
        [samples.correct for samples in controls if isinstance(samples, Samples)],
        task=config.task,
        operator=config.operator,
        heads=sets.heads,
        seed=config.seed,
    )
    rule = None if config.revert_kv is None else describe_revert(config.revert_kv)
    notes = [note for note in (rule, sets.remarks(verdict.controls)) if note]
    return replace(verdict, reason="; ".join([verdict.reason, *notes]))


VERDICT = Work("verdict", VerdictConfig, compute_verdict, version=4)


@dataclass(frozen=True)
class Ablations:
    """Units of one model on one task.

    donor: the model whose weights its heads take under ``revert``: the base's revert a variant's, a variant's are
        grafted into the base. step: of a checkpoint before the last; None for the last and the base.
    """

    study: Study
    stage: Stage
    donor: Stage
    ref: TaskRef
    step: int | None = None

    @property
    def task(self) -> TaskSource:
        """Return where the problems come from."""
        return TaskSource.from_ref(self.ref, self.study.data_dir, self.study.ablate.problems)

    def whole_answers(self) -> Unit:
        """Return the unit of the whole model's answers."""
        step = {} if self.step is None else {"step": self.step}
        labels = {"variant": self.stage.variant, "heads": "none"} | step | {"operator": "none", "task": self.task.name}
        return self._answers_unit("none", None, labels, {})

    def answers_without(self, sets: Unit, operator: str, control: int | None = None) -> Unit:
        """Return the unit of the answers without the group's heads, or without its random set number ``control``."""
        inputs = {"sets": sets} | self.references(operator)
        return self._answers_unit(operator, control, self.labels(sets, operator), inputs)

    def references(self, operator: str) -> dict[str, Unit]:
        """Return the units that an operator's replacement is made from."""
        if operator in ("mean", "resample"):
            return {"reference": self.whole_answers()}
        return {"constants": self._constants_unit()} if operator == "optimal" else {}

    def verdict(self, sets: Unit, operator: str) -> Unit:
        """Return the unit of the verdict on one group under one operator."""
        count = self.study.ablate.generated_with_controls
        config = VerdictConfig(
            task=self.task.name,
            operator=operator,
            controls=count,
            seed=self.study.seed,
            revert_kv=self.study.ablate.revert_kv if operator == "revert" else None,
        )
        inputs = {"sets": sets, "baseline": self.whole_answers(), "ablated": self.answers_without(sets, operator)}
        inputs |= {f"control {number}": self.answers_without(sets, operator, number) for number in range(count)}
        return VERDICT.unit(config, self.labels(sets, operator), inputs)

    def labels(self, sets: Unit, operator: str | None = None) -> dict[str, Json]:
        """Return the labels of what is done with a head set: whose heads, which, under which operator, on which task.

        ``step`` is that of the comparison that names them, if it is not the last; ``on`` the edited model, if that is
        the base.
        """
        labels = dict(sets.labels) | ({} if operator is None else {"operator": operator}) | {"task": self.task.name}
        return labels | ({"on": self.stage.variant} if self.stage.variant != sets.labels["variant"] else {})

    def _answers_unit(
        self, operator: str, control: int | None, labels: dict[str, Json], inputs: Mapping[str, Unit]
    ) -> Unit:
        config = AblatedConfig(
            model=self.stage.source,
            task=self.task,
            sampling=draw_settings(self.study.eval, self.study.ablate.samples, self.study.seed),
            operator=operator,
            control=control,
            reference_texts=REFERENCE_TEXTS,
            donor=self.donor.source if operator == "revert" else None,
            revert_kv=self.study.ablate.revert_kv if operator == "revert" else None,
        )
        models = self.stage.inputs | (self.donor.inputs if operator == "revert" else {})
        whole = ABLATED.unit(config, labels | {"control": control}, {**models, **inputs})
        size = self.study.ablate.shard_problems
        if size is None:
            return whole
        problems = len(sources.task(self.ref, self.study.data_dir).first(self.study.ablate.problems))
        return share_out(whole, ABLATED_SHARD, problems, size)

    def _constants_unit(self) -> Unit:
        config = ConstantsConfig(model=self.stage.source, task=self.task, texts=REFERENCE_TEXTS, seed=self.study.seed)
        labels = {"variant": self.stage.variant, "task": self.task.name}
        return CONSTANTS.unit(config, labels, {"whole": self.whole_answers()} | self.stage.inputs)


def replacement(
    respondent: ModelOnTask, inputs: Inputs, operator: str, count: int, seed: int, prefix: str = ""
) -> "Replacement":
    """Return what replaces the heads' writes under an operator, made from the inputs ``reference`` or ``constants``.

    prefix: of these inputs' names, of another model than the unit's own.
    """
    from headscope.interventions import make_replacement
    from headscope.studies.models.subjects import load

    subject = load(respondent.stage)
    if operator in ("mean", "resample"):
        samples = inputs.load(f"{prefix}reference", Samples)
        return make_replacement(subject, operator, answered_texts(respondent, samples, count), seed=seed)
    constants = inputs.load(f"{prefix}constants", HeadConstants).values if operator == "optimal" else None
    return make_replacement(subject, operator, [], constants=constants)


def donor_replacement(stage: Stage, donor: Stage, rule: SharedKv) -> "Replacement":
    """Return what gives a model's heads the weights of another: the base's revert them, a variant's are grafted."""
    from headscope.interventions import DonorWeights, Replacement
    from headscope.studies.models.subjects import load

    return Replacement(DonorWeights.of(load(stage), load(donor), rule))


def describe_revert(rule: SharedKv) -> str:
    """Return a sentence on the keys and values that heads share."""
    which = "all heads of its group were" if rule == "all" else "any head of its group was"
    return f"keys and values were reverted if {which} (revert_kv: {rule})"


@contextmanager
def _remove_heads(respondent: ModelOnTask, config: AblatedConfig, heads: HeadSet, inputs: Inputs) -> Iterator[None]:
    from headscope.interventions import replace_heads, scale
    from headscope.studies.models.subjects import load

    subject, operator = load(respondent.stage), config.operator
    if not heads:
        yield
    elif operator.startswith("x"):
        with scale(subject, heads, float(operator[1:])):
            yield
    elif config.donor is not None and config.revert_kv is not None:
        weights = donor_replacement(respondent.stage, config.donor.stage(inputs), config.revert_kv)
        with replace_heads(subject, heads, weights):
            yield
    else:
        fill = replacement(respondent, inputs, operator, config.reference_texts, config.sampling.seed)
        with replace_heads(subject, heads, fill):
            yield
