"""The study file: what a user writes, with every default. Its sections are the other modules of this package."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from headscope.errors import InputError
from headscope.results.head_sets import THINK_OFF_ONLY
from headscope.studies.study_file.ablate import NO_MODES, AblateConfig
from headscope.studies.study_file.config import BootstrapConfig, Config
from headscope.studies.study_file.discover import DiscoverConfig
from headscope.studies.study_file.evaluate import EvalConfig
from headscope.studies.study_file.executor import ExecutorConfig, named_executor
from headscope.studies.study_file.models import BaseConfig, VariantConfig, check_step
from headscope.studies.study_file.references import TaskRef, resolve_paths, same_problems, same_task, task_name
from headscope.studies.study_file.training import TeacherData
from headscope.studies.study_file.twins import write_out_twins

TrackerName = Literal["none", "trackio", "wandb", "tensorboard"]


class Study(Config):
    """A base model, its post-trained variants, the tasks they are asked, and what is done with them.

    name: of the run directory, ``runs/NAME``.
    seed: of everything that is drawn; it also shifts those of the trainings.
    base: the model that training starts from and variants are compared with; it can be trained here first.
    variants: the post-trained models.
    tasks: benchmarks by name (``headscope ls tasks``), or files of problems.
    discover: how circuits are found and compared.
    ablate: which heads are removed, and how it is judged.
    eval: how answers are drawn and counted.
    data_dir: where files of named benchmarks are looked for before the hub is asked.
    report_to: the experiment tracker that numbers go to as units finish: losses of trainings, accuracy, head counts,
        effects of ablations. Its package has to be installed (``pip install trackio``); no result depends on it.
    executor: what computes the units: ``local``, ``processes``, ``ray``, or a mapping with more.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0)
    base: BaseConfig
    variants: tuple[VariantConfig, ...] = ()
    tasks: tuple[TaskRef, ...] = Field(min_length=1)
    discover: DiscoverConfig = DiscoverConfig()
    ablate: AblateConfig = AblateConfig()
    eval: EvalConfig = EvalConfig()
    data_dir: str | None = None
    report_to: TrackerName = "none"
    executor: Annotated[ExecutorConfig, BeforeValidator(named_executor)] = ExecutorConfig()

    @model_validator(mode="before")
    @classmethod
    def _twins_are_variants(cls, data: Any) -> Any:
        return write_out_twins(data)

    @model_validator(mode="after")
    def _teachers_come_first(self) -> "Study":
        names = [variant.name for variant in self.variants]
        if isinstance(self.base.train, TeacherData) and self.base.train.teacher in names:
            raise ValueError(f"variant {self.base.train.teacher} teaches the base it begins from; name another model")
        for index, variant in enumerate(self.variants):
            teacher = variant.train.teacher if isinstance(variant.train, TeacherData) else None
            if teacher in names[index:]:
                raise ValueError(f"variant {teacher} teaches {variant.name} and must be listed before it")
            if teacher in names and self.variants[names.index(teacher)].train is None:
                raise ValueError(f"variant {teacher} teaches {variant.name} and is not trained here; name its model")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> "Study":
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError(f"variant names repeat: {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _think_off_needs_both_modes(self) -> "Study":
        if THINK_OFF_ONLY in self.ablate.heads:
            asked = {variant.chat.enable_thinking for variant in self.variants}
            asked |= {self.base.chat.enable_thinking} if None in asked else set()
            if not {True, False} <= asked:
                raise ValueError(NO_MODES)
        return self

    @model_validator(mode="after")
    def _roles_are_read(self) -> "Study":
        if self.ablate.role_groups and not (self.discover.attention and self.tasks):
            lacking = "tasks" if self.discover.attention else "discover.attention: true"
            raise ValueError(
                f"ablate.heads holds {self.ablate.role_groups[0]}, which are found in answers to the study's tasks "
                f"with discover.attention; give it {lacking}, or leave the group out"
            )
        return self

    @model_validator(mode="after")
    def _step_is_saved(self) -> "Study":
        for variant in self.variants:
            if variant.train is not None and variant.train.max_steps is not None:
                check_step(self.ablate.step, variant.name, variant.saved_steps)
        return self

    @property
    def bootstrap(self) -> BootstrapConfig:
        """Return how pairs are resampled."""
        return BootstrapConfig(resamples=self.discover.resamples, seed=self.seed, tau=self.discover.tau)

    @property
    def circuit(self) -> dict[str, Any]:
        """Return what says how large a circuit is, as fields of a ``CircuitConfig``."""
        return self.discover.model_dump(include={"fraction", "edges", "faithfulness"})

    @property
    def discover_tasks(self) -> tuple[TaskRef, ...]:
        """Return the tasks whose problems the pairs come from."""
        return self.discover.tasks or self.tasks[:1]

    @property
    def checked_tasks(self) -> tuple[tuple[TaskRef, int | None], ...]:
        """Return every task whose answers are checked, and of how many problems; None for all."""
        guard = () if self.ablate.guard is None else (self.ablate.guard,)
        evaluated = [(ref, self.eval.problems) for ref in self.tasks]
        return (*evaluated, *((ref, self.ablate.problems) for ref in (*self.ablate_tasks, *guard)))

    @property
    def ablate_tasks(self) -> tuple[TaskRef, ...]:
        """Return the tasks that ablated models are asked."""
        return self.ablate.tasks or self.tasks

    @property
    def role_tasks(self) -> tuple[TaskRef, ...]:
        """Return the tasks in whose answers heads are given roles: those that ablated models are asked too, else the
        first.
        """
        ablated = {task_name(ref) for ref in self.ablate_tasks}
        return tuple(ref for ref in self.tasks if task_name(ref) in ablated) or self.tasks[:1]

    def check_tasks(self) -> None:
        """Raise InputError if results could not tell two tasks apart, because they have one name."""
        names = [task_name(ref) for ref in self.tasks]
        if repeated := [name for name in names if names.count(name) > 1]:
            raise InputError(f"task {repeated[0]} is listed twice, or two files have that name; give one a name: key")
        refs = dict(zip(names, self.tasks, strict=True))
        guard = () if self.ablate.guard is None else (self.ablate.guard,)
        for ref in (*self.ablate_tasks, *guard):
            if not same_task(refs.setdefault(task_name(ref), ref), ref):
                raise InputError(f"two tasks have the name {task_name(ref)}; give one a name: key")
        for ref in self.discover_tasks:  # of which only the problems are taken, told apart by the task's name
            if not same_problems(refs.setdefault(task_name(ref), ref), ref):
                raise InputError(f"two files have the name {task_name(ref)}; give one a name: key")

    def at(self, folder: Path) -> "Study":
        """Return the same study with file paths taken from ``folder``, in which the study file lies."""
        return Study.model_validate(resolve_paths(self.model_dump(mode="json", exclude_unset=True), folder))
