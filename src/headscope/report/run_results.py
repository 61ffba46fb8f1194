"""Results of a run for tables and pages: its study, the coverage of its plan, and its finished results in the study's
order.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from headscope.pairs import Pairs
from headscope.report.palette import BASE, Mark, lines
from headscope.results.circuit_rule import CircuitRule
from headscope.results.claim import Claim, Claims
from headscope.results.codec import Json
from headscope.results.comparison import CircuitSize, Comparison
from headscope.results.crossed import Crossed
from headscope.results.edges import EdgeScores
from headscope.results.estimate import Estimate
from headscope.results.evidence import Evidence
from headscope.results.faithfulness import FaithfulnessEstimates
from headscope.results.measures import Measures
from headscope.results.not_run import NotRun
from headscope.results.overlap import RelativeChanges
from headscope.results.parquet import Rows
from headscope.results.samples import Samples
from headscope.results.table import Row
from headscope.results.thinking import Thinking
from headscope.results.traces import Traces, TraceSummary
from headscope.results.transitions import Transitions
from headscope.results.verdict import AblationVerdict
from headscope.runs.circuit_rules import choose_circuit_rule
from headscope.runs.coverage import Coverage, coverage
from headscope.runs.directory import RunDirectory
from headscope.runs.frames import carries
from headscope.runs.recipes import first_alike, null_twins, variants_by_name
from headscope.runs.records import Finished, Record, check_unit
from headscope.storage import TRAINING_LOG, Result, check_keys, parse_object

R = TypeVar("R", bound=Result)

Labels = Mapping[str, Json]

Log = tuple[dict[str, Json], ...]
"""One entry per logged training step: ``step``, ``loss``, ``reward``, ``reward_sd`` … as far as they were logged."""


@dataclass(frozen=True, eq=False)
class RunResults:
    """The results of one run. Each kind is read when it is first asked for.

    Reading raises InputError for a result that is damaged or was written by a newer headscope.
    """

    run: RunDirectory

    @cached_property
    def lock(self) -> dict[str, Json]:
        """Return the content of ``study.lock.json``."""
        return self.run.lock()

    @property
    def study(self) -> dict[str, Json]:
        """Return the resolved study."""
        study: dict[str, Json] = self.lock["study"]
        check_keys(study, ("name", "variants", "discover"), f"the study in {self.run.lock_file}")
        return study

    @property
    def provenance(self) -> dict[str, Json]:
        """Return versions, commit and machine; empty for a run that recorded none."""
        provenance: dict[str, Json] = self.lock["provenance"]
        return provenance

    @cached_property
    def variants(self) -> tuple[str, ...]:
        """Return the variants in the study's order, without the base."""
        return tuple(variant["name"] for variant in self.study["variants"])

    @cached_property
    def marks(self) -> dict[str, Mark]:
        """Return the marks of the base and the variants; runs that differ in the seed alone share one."""
        firsts = first_alike(variants_by_name(self.study))
        marks = lines(firsts.values())
        return {"base": BASE} | {variant: marks[first] for variant, first in firsts.items()}

    def null_twins(self, variant: str) -> list[str]:
        """Return the null twins of a variant's recipe; none for a twin."""
        return null_twins(variant, variants_by_name(self.study))

    @cached_property
    def coverage(self) -> Coverage:
        """Return the done, failed and missing units of the plan."""
        return coverage(self.run)

    @cached_property
    def _units(self) -> dict[tuple[type[Result], Json], list[Finished[Json]]]:
        """Return the finished units read so far, by kind and variant; None for those of all variants."""
        return {}

    def units(self, kind: type[R], **labels: Json) -> list[Finished[R]]:
        """Return the finished units of one kind with these labels, in the plan's order.

        Whoever asks gets the same objects, so that no result is read twice.
        """
        if (kind, None) not in self._units:
            self._units[kind, None] = []
            for unit in self.run.results(kind):
                for variant in {None, unit.labels.get("variant")}:
                    self._units.setdefault((kind, variant), []).append(unit)
        of_variant = self._units.get((kind, labels.get("variant")), [])
        return [unit for unit in of_variant if carries(unit.labels, labels)]

    def in_order(self, kind: type[R], **labels: Json) -> list[Finished[R]]:
        """Return the finished units of one kind with these labels: the base's, then the variants' as in the study, by
        step.
        """
        places = {name: place for place, name in enumerate(self.variants)}
        units = self.units(kind, **labels)
        return sorted(units, key=lambda unit: (places.get(unit.labels["variant"], -1), unit.labels.get("step") or 0))

    @cached_property
    def comparisons(self) -> tuple[Comparison, ...]:
        """Return the comparisons, one per variant."""
        return tuple(unit.whole for unit in self.in_order(Comparison))

    @property
    def head_grid(self) -> tuple[int, int] | None:
        """Return layers and heads per layer of the study's models; None before the first comparison."""
        for comparison in self.comparisons:
            layers, heads = comparison.final.status.shape
            return layers, heads
        return None

    @cached_property
    def crossed(self) -> dict[str, Crossed]:
        """Return the crossed designs by variant."""
        return {unit.labels["variant"]: unit.whole for unit in self.in_order(Crossed)}

    @cached_property
    def thinking(self) -> list[Finished[Thinking]]:
        """Return the comparisons of modes, one per variant that is the think-off mode of another."""
        return self.in_order(Thinking)

    @cached_property
    def relative_changes(self) -> RelativeChanges | None:
        """Return all variants' relative changes of importance and the overlap of their circuits; None if missing."""
        units = self.units(RelativeChanges)
        return units[0].whole if units else None

    @cached_property
    def training_logs(self) -> dict[str, Log]:
        """Return training logs by variant; of variants trained elsewhere, the checkpoints' rewards."""
        logs = {record.labels["variant"]: _training_log(record) for record in self.run.find("train")}
        for comparison in self.comparisons:
            rewards = [count for count in comparison.reward if count.logged]
            if rewards and not logs.get(comparison.variant):
                logs[comparison.variant] = tuple(
                    {"step": count.step, "reward": count.reward, "reward_sd": count.reward_sd} for count in rewards
                )
        return {variant: logs[variant] for variant in self.variants if logs.get(variant)}

    @cached_property
    def evaluations(self) -> list[Finished[Measures]]:
        """Return the measures of every model, evaluated step and task, without those of answers with masked markers."""
        return self.in_order(Measures, forbid=None)

    @cached_property
    def masked_evaluations(self) -> list[Finished[Measures]]:
        """Return the measures of answers in which markers were masked, which the label ``forbid`` names."""
        return [unit for unit in self.in_order(Measures) if unit.labels.get("forbid") is not None]

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """Return the evaluated tasks, in the plan's order."""
        return tuple(dict.fromkeys(unit.labels["task"] for unit in self.units(Measures)))

    @cached_property
    def last_evaluations(self) -> list[Finished[Measures]]:
        """Return the measures of each model's last evaluated step, by task."""
        return last_steps(self.evaluations)

    @cached_property
    def trace_summaries(self) -> list[Finished[TraceSummary]]:
        """Return a summary of the answers of every model, evaluated step and task; none in runs of older versions."""
        return [unit for unit, _ in with_result(self.in_order(TraceSummary, forbid=None))]

    def trace_summary(self, labels: Labels) -> TraceSummary | None:
        """Return the summary of a model's answers at a step to a task; None if they were not read.

        labels: with ``forbid`` of answers in which markers were masked.
        """
        units = with_result(self.units(TraceSummary, **{"forbid": None, **labels}))
        return units[0][1] if units else None

    @cached_property
    def transitions(self) -> list[Finished[Transitions]]:
        """Return the transitions from the base's answers to those of every variant, evaluated step and task."""
        return [unit for unit, _ in with_result(self.in_order(Transitions, forbid=None))]

    def responses(self, labels: Labels, problems: Collection[str] | None = None) -> Rows | None:
        """Return a model's responses to some problems of a task, or the first to each; None if there are none.

        The dicts are those of ``Samples.load_responses``.
        """
        folder = self._answers_folder(Samples, labels)
        return None if folder is None else Samples.load_responses(folder, problems)

    def traces(self, labels: Labels, problems: Collection[str] | None = None) -> Traces | None:
        """Return the traces of a model's answers to a task, or to some of its problems; None if there are none."""
        folder = self._answers_folder(Traces, labels)
        return None if folder is None else Traces.load(folder, problems)

    def trace_rows(self, labels: Labels, problems: Collection[str]) -> tuple[Rows, Rows] | None:
        """Return the rows of a model's answers to some problems of a task and of their steps; None if there are none.

        The rows are those of ``Traces.load_rows``.
        """
        folder = self._answers_folder(Traces, labels)
        return None if folder is None else Traces.load_rows(folder, problems)

    def _answers_folder(self, kind: type[Result], labels: Labels) -> Path | None:
        return _result_folder(next(iter(self.units(kind, **{"forbid": None, **labels})), None))

    def last_measures(self, variant: str, task: str) -> Measures | None:
        """Return the measures of a model's last evaluated step on a task; None if it was not evaluated."""
        for unit in self.last_evaluations:
            if (unit.labels["variant"], unit.labels["task"]) == (variant, task):
                return unit.whole
        return None

    @cached_property
    def verdicts(self) -> list[Finished[AblationVerdict]]:
        """Return the verdicts, one per head set, operator and task."""
        return self.in_order(AblationVerdict)

    @cached_property
    def evidence(self) -> list[Finished[Evidence]]:
        """Return the evidence, one per head set and task."""
        return self.in_order(Evidence)

    @cached_property
    def pairs(self) -> list[Finished[Pairs]]:
        """Return the pair sets, in the plan's order."""
        return self.units(Pairs)

    @cached_property
    def faithfulness(self) -> list[Finished[FaithfulnessEstimates]]:
        """Return the curves of the base and of each variant's last checkpoint, on each variant's pairs."""
        return self.units(FaithfulnessEstimates)

    def mean_scores(self, variant: str, model: str) -> tuple[int, EdgeScores] | None:
        """Return the last step at which a model was scored on a variant's pairs, and the scores without their pairs.

        None if it was not scored, or could not be.
        """
        units = self.units(EdgeScores, variant=variant, model=model, pairs="main")
        unit = max(units, key=lambda unit: int(unit.labels["step"]), default=None)
        folder = _result_folder(unit)
        return (
            None
            if unit is None or folder is None
            else (int(unit.labels["step"]), EdgeScores.load(folder, pair_edges=False))
        )

    @cached_property
    def circuit_rules(self) -> dict[str, CircuitRule]:
        """Return how large the circuits of each variant's head counts are."""
        discover = self.study["discover"]
        return {
            variant: choose_circuit_rule(self.units(Comparison, variant=variant), discover) for variant in self.variants
        }

    def circuit_size(self, variant: str) -> float | None:
        """Return the share of edges in the circuits of a variant's head counts; None if it is not known yet."""
        return self.circuit_rules[variant].fraction

    def circuit(self, variant: str) -> CircuitSize | None:
        """Return the size of a variant's circuits and whether they are faithful; None if that was not measured."""
        sizes = [comparison.circuit for comparison in self.comparisons if comparison.variant == variant]
        return sizes[0] if sizes else None

    def circuit_faithfulness(self, variant: str, model: str, step: int) -> Estimate | None:
        """Return how faithful a model's circuit on a variant's pairs is, at the circuit size; None if not measured."""
        place = {"variant": variant, "model": model, "step": step}
        size = self.circuit_size(variant)
        for unit in self.faithfulness:
            if place.items() <= unit.labels.items() and size is not None:
                return unit.whole.at(size)
        return None

    @cached_property
    def claims(self) -> tuple[Claim, ...]:
        """Return the claims as they were judged last; none before that."""
        return Claims.load(self.run.path).claims if (self.run.path / Claims.file).is_file() else ()


def last_steps(units: Iterable[Finished[R]]) -> list[Finished[R]]:
    """Return the units of each model's last step on each task."""
    units = list(units)
    last: dict[tuple[str, str], Finished[R]] = {}
    for unit in sorted(units, key=lambda unit: int(unit.labels["step"])):
        last[unit.labels["variant"], unit.labels["task"]] = unit
    return [unit for unit in units if unit in last.values()]


def _result_folder(unit: Finished[R] | None) -> Path | None:
    """Return a unit's folder, its files checked; None if there is no unit or it has no result."""
    if unit is None or (unit.folder / NotRun.file).exists():
        return None
    check_unit(unit.folder, unit.name)
    return unit.folder


def with_result(units: Iterable[Finished[R]]) -> list[tuple[Finished[R], R]]:
    """Return the units that have a result, with it."""
    return [(unit, unit.whole) for unit in units if not isinstance(unit.result, NotRun)]


def model_name(labels: Labels) -> str:
    """Return what rows call a model: its variant, and the markers it was kept from writing."""
    marker = labels.get("forbid")
    return str(labels["variant"]) if marker is None else f'{labels["variant"]} without "{marker}"'


def edited_model(labels: Labels) -> str:
    """Return what rows call a model whose heads are removed: ``sft``, ``sft at step 8`` or ``base (heads of sft)``."""
    variant = str(labels["variant"])
    heads_of = variant if labels.get("step") is None else f"{variant} at step {labels['step']}"
    return heads_of if labels.get("on") is None else f"{labels['on']} (heads of {heads_of})"


def ablation_columns(unit: Record, *names: str) -> Row:
    """Return the columns that say which unit of an ablation a row is about; ``variant`` names the edited model."""
    return label_columns(unit, *names) | {"variant": edited_model(unit.labels)}


def label_columns(unit: Record, *names: str) -> Row:
    """Return the columns that say which unit a row is about."""
    return {name: unit.labels[name] for name in names}


def _training_log(record: Record) -> Log:
    path = record.file(TRAINING_LOG)
    lines = path.read_bytes().split(b"\n") if path.is_file() else []
    entries = []
    for number, line in enumerate(lines, start=1):
        if line:
            entries.append(parse_object(line, f"line {number} of {path}"))
            check_keys(entries[-1], ("step",), f"line {number} of {path}")
    return tuple(entries)
