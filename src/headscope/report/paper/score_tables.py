"""Tables 1 to 5: accuracy with heads removed or scaled, with thinking on and off, and the list of new heads."""

from collections.abc import Callable, Sequence

import numpy as np

from headscope.heads import HeadId, HeadSet
from headscope.operator_names import ABLATION_OPERATORS
from headscope.report.paper import subjects
from headscope.report.paper.ablations import Ablations, choose_ablations
from headscope.report.paper.captions import counting_sentences, seeds_sentence
from headscope.report.paper.exhibit import Exhibit, lacking
from headscope.report.run_results import Labels, RunResults, edited_model
from headscope.report.tables.accuracy import pass_at_k_data
from headscope.report.tables.verdicts import verdict_data
from headscope.results.comparison import Comparison
from headscope.results.estimate import Estimate
from headscope.results.head_sets import THINK_OFF_ONLY
from headscope.results.not_run import NotRun
from headscope.results.numbers import format_estimate
from headscope.results.table import Cell, Row, Table, Value, count_cell
from headscope.results.verdict import SUPPORTED, AblationVerdict
from headscope.runs.recipes import missing_signal, variants_by_name

_REASONING = ("emergent", "paper-emergent")
_BASE_ONLY = ("lost", "paper-lost")
_RECALL = ("recall",)
_THINK_OFF_ONLY = (THINK_OFF_ONLY,)
_NEEDED = (
    (_REASONING, "new heads are not removed (ablate.heads: [emergent])"),
    (_BASE_ONLY, "heads of the base's circuit alone are not removed (ablate.heads: [lost])"),
    (_RECALL, "heads of a recall circuit are not removed (ablate.heads: [recall], with ablate.guard)"),
)
_NAMED_HEADS = 12
"""Heads that the cell of a list names; the CSV has all."""
_MARK = "†"


def ablation_in_variants(results: RunResults) -> Exhibit:
    """Return table 1: pass@1 of post-trained models without new, base-only and recall heads."""
    ablations = _removals(results, on=None)
    if not ablations:
        return lacking("no heads are removed while a post-trained model answers (ablate.heads, ablate.generated)")
    lacks = [*_missing_groups(ablations), *_not_run(results, on=None)]
    distilled = subjects.variants_trained_by(results, subjects.DISTILL)
    if not any(unit.labels["variant"] in distilled for unit, _ in ablations):
        lacks.append(f"{subjects.absent(distilled, subjects.DISTILL)}; the rows are of the run's own variants")
    return _ablation_exhibit(results, "ablation", ablations, lacks)


def ablation_in_base(results: RunResults) -> Exhibit:
    """Return table 4: the same heads removed from the base."""
    ablations = _removals(results, on="base")
    if not ablations:
        return lacking("no heads are removed from the base while it answers (ablate.on: [post, base])")
    lacks = [*_missing_groups(ablations), *_not_run(results, on="base")]
    return _ablation_exhibit(results, "ablation-base", ablations, lacks)


def interventions_in_base(results: RunResults) -> Exhibit:
    """Return table 5: the base with the new heads of SFT and GRPO removed and scaled."""
    scaled = _new_heads(results, lambda operator: operator.startswith("x"), on="base")
    lacks = []
    on: str | None = "base"
    if not scaled:
        on = None
        scaled = _new_heads(results, lambda operator: operator.startswith("x"), on=None)
        lacks.append(
            "no heads are scaled in the base (ablate.on: [post, base]); the rows are of the variants themselves"
        )
    if not scaled:
        return lacking("no new heads are scaled while a model answers (ablate.generated_scales: [0.5, 1.3])")
    removed = _new_heads(results, lambda operator: operator in ABLATION_OPERATORS, on=on)
    for method in (subjects.SFT, subjects.GRPO):
        names = subjects.variants_trained_by(results, method)
        if not any(unit.labels["variant"] in names for unit, _ in scaled):
            lacks.append(f"no heads of {subjects.METHODS[method]} are scaled ({', '.join(names) or 'no such variant'})")
    return _ablation_exhibit(results, "interventions", [*removed, *scaled], lacks)


def _removals(results: RunResults, *, on: str | None) -> Ablations:
    """Return the ablations that remove heads of the last checkpoint in a variant itself or ``on`` the base."""

    def is_removal(labels: Labels) -> bool:
        is_of_last = labels.get("on") == on and labels.get("step") is None
        return is_of_last and labels["operator"] in ABLATION_OPERATORS and labels["heads"] not in _THINK_OFF_ONLY

    return choose_ablations(results, is_removal)


def _not_run(results: RunResults, *, on: str | None) -> list[str]:
    """Return why removals that the study asks for have no result, each reason once."""
    units = [unit for unit in results.verdicts if isinstance(unit.result, NotRun) and unit.labels.get("on") == on]
    removals = [unit for unit in units if unit.labels["operator"] in ABLATION_OPERATORS]
    return list(
        dict.fromkeys(f"{edited_model(unit.labels)}, {unit.labels['heads']}: {unit.result.reason}" for unit in removals)
    )


def _new_heads(results: RunResults, is_operator: Callable[[str], bool], *, on: str | None) -> Ablations:
    """Return the ablations of new heads of SFT and GRPO by some operators, in a variant itself or ``on`` the base."""
    variants = [
        *subjects.variants_trained_by(results, subjects.SFT),
        *subjects.variants_trained_by(results, subjects.GRPO),
    ]

    def is_chosen(labels: Labels) -> bool:
        is_of_new_heads = labels["variant"] in variants and labels["heads"] in _REASONING
        return is_of_new_heads and labels.get("on") == on and is_operator(str(labels["operator"]))

    return choose_ablations(results, is_chosen)


def _missing_groups(ablations: Ablations) -> list[str]:
    groups = {unit.labels["heads"] for unit, _ in ablations}
    return [sentence for needed, sentence in _NEEDED if not groups & set(needed)]


def _ablation_exhibit(results: RunResults, name: str, ablations: Ablations, lacks: Sequence[str]) -> Exhibit:
    tasks = list(dict.fromkeys(verdict.task for _, verdict in ablations))
    cells: dict[tuple[str, str], Row] = {}
    for unit, verdict in ablations:
        model = edited_model(unit.labels)
        unablated = cells.setdefault((model, "no ablation"), dict.fromkeys(tasks))
        unablated[verdict.task] = _score(verdict.baseline)
    for unit, verdict in ablations:
        method = f"{len(verdict.heads)} {unit.labels['heads']} heads, {unit.labels['operator']}"
        row = cells.setdefault((edited_model(unit.labels), method), dict.fromkeys(tasks))
        row[verdict.task] = _score(verdict.ablated, is_marked=verdict.reading == SUPPORTED)
    models = list(dict.fromkeys(model for model, _ in cells))
    rows: list[Row] = []
    for (model, method), scores in sorted(cells.items(), key=lambda cell: models.index(cell[0][0])):
        place: Row = {"model": model, "heads": method}
        rows.append(place | scores)
    caption = _ablation_caption(results, ablations)
    units = [unit for unit, _ in ablations]
    return Exhibit((Table(name, tuple(rows), caption), verdict_data(units)), caption, tuple(lacks))


def _score(estimate: Estimate, *, is_marked: bool = False) -> Cell:
    return Cell(format_estimate(estimate, 1, scale=100.0) + (_MARK if is_marked else ""), estimate)


def _ablation_caption(results: RunResults, ablations: Ablations) -> str:
    sizes = dict.fromkeys(f"{verdict.task} {verdict.problems} × {verdict.samples}" for _, verdict in ablations)
    controls = sorted({verdict.controls for _, verdict in ablations})
    number = f"{controls[0]}" if len(controls) == 1 else f"{controls[0]} to {controls[-1]}"
    return (
        "pass@1 in per cent with heads removed or scaled while the model answers, 95 % intervals over problems. n "
        f"(problems × samples): {'; '.join(sizes)}. {_MARK}: the change is supported, beyond that of {number} random "
        "sets matched in number of heads per layer (the null). " + seeds_sentence(results, ablations[0][1].effect)
    )


def think_scores(results: RunResults) -> Exhibit:
    """Return table 2: pass@1 with thinking on, off, and off with the heads that only think-off has edited."""
    if not results.thinking:
        return lacking(
            "no variant is the think-off mode of another (variants: the same model twice, with chat: {enable_thinking: "
            "true} and false; headscope run qwen3-think or lab-think)"
        )
    labels = results.thinking[0].labels
    modes = {"think on": str(labels["think_on"]), "think off": str(labels["variant"])}
    units = [unit for unit in results.last_evaluations if unit.labels["variant"] in modes.values()]
    rows: list[Row] = []
    for mode, variant in modes.items():
        scores: Row = dict.fromkeys(results.tasks)
        for task in results.tasks:
            measures = results.last_measures(variant, task)
            scores[task] = None if measures is None else _score(measures.pass_at_k[1])
        of_mode: Row = {"method": mode}
        rows.append(of_mode | scores)
    edited = choose_ablations(
        results, lambda labels: labels["variant"] == modes["think off"] and labels["heads"] in _THINK_OFF_ONLY
    )
    for operator in dict.fromkeys(str(unit.labels["operator"]) for unit, _ in edited):
        of_operator = {verdict.task: verdict for unit, verdict in edited if unit.labels["operator"] == operator}
        count = len(next(iter(of_operator.values())).heads)
        place: Row = {"method": f"think off, {count} heads, {operator}"}
        cells: Row = {task: _edited_score(of_operator.get(task)) for task in results.tasks}
        rows.append(place | cells)
    lacks = _think_lacks([str(unit.labels["operator"]) for unit, _ in edited])
    sizes = "; ".join(dict.fromkeys(f"{unit.labels['task']} {unit.whole.size}" for unit in units))
    caption = (
        f"pass@1 in per cent of one model ({modes['think on']}, {modes['think off']}) with thinking on and off, and "
        "off with heads that only think-off has removed or scaled; 95 % intervals over problems. n (problems × "
        f"samples): {sizes}. {_MARK}: supported beyond matched random sets (the null). " + seeds_sentence(results)
    )
    tables = [Table("think-scores", tuple(rows), caption), pass_at_k_data(units)]
    if edited:
        tables.append(verdict_data([unit for unit, _ in edited]))
    return Exhibit(tuple(tables), caption, tuple(lacks))


def _edited_score(verdict: AblationVerdict | None) -> Value:
    return None if verdict is None else _score(verdict.ablated, is_marked=verdict.reading == SUPPORTED)


def _think_lacks(operators: Sequence[str]) -> list[str]:
    lacks = []
    if not any(operator in ABLATION_OPERATORS for operator in operators):
        lacks.append("the heads that only think-off has are not removed (ablate.heads: [think-off-only])")
    if not any(operator.startswith("x") for operator in operators):
        lacks.append("they are not scaled down (ablate.generated_scales: [0.5])")
    return lacks


def head_lists(results: RunResults) -> Exhibit:
    """Return table 3: the heads of the base's circuit, and those that are new under each variant."""
    if not results.comparisons:
        return lacking("no comparison is finished")
    variants = variants_by_name(results.study)
    first = results.comparisons[0].final
    rows = [_list_row("base (all core heads)", HeadSet.from_grid(first.base_active), first.base_importance, None)]
    for comparison in results.comparisons:
        signal = missing_signal(variants[comparison.variant])
        name = f"{comparison.variant} ({'null twin: ' + signal if signal else _method_name(results, comparison)})"
        change = comparison.final.importance_change.value
        rows.append(_list_row(name, comparison.final.new, change, comparison))
    lacks = []
    for method in (subjects.DISTILL, subjects.SFT, subjects.GRPO):
        names = subjects.variants_trained_by(results, method)
        if not subjects.comparisons_of(results, names):
            lacks.append(subjects.absent(names, method))
    caption = (
        f"Heads that are new in each variant's last circuit, those whose importance grew most first, up to "
        f"{_NAMED_HEADS} of them. Number and null with 95 % intervals over problems. {counting_sentences(first)} "
        + seeds_sentence(results, first.counts.new)
    )
    return Exhibit((Table("new-heads", tuple(rows), caption),), caption, tuple(lacks))


def _method_name(results: RunResults, comparison: Comparison) -> str:
    for method, name in subjects.METHODS.items():
        if comparison.variant in subjects.variants_trained_by(results, method):
            return name
    return "trained elsewhere"


def _list_row(name: str, heads: HeadSet, order: np.ndarray | None, comparison: Comparison | None) -> Row:
    ordered: list[HeadId] = list(heads)
    if order is not None:
        ordered.sort(key=lambda head: -float(order[head.layer, head.head]))
    names = [str(head) for head in ordered]
    listing = ", ".join(names[:_NAMED_HEADS]) + (" …" if len(names) > _NAMED_HEADS else "")
    counts = None if comparison is None else comparison.final.counts.new
    return {
        "post-training": name,
        "number": len(names) if counts is None else count_cell(counts),
        "null": None if comparison is None else count_cell(comparison.final.null.new),
        "heads": Cell(listing or "none", names),
    }
