"""Findings: what happened in a study, in at most six sentences made from its results by rule and hedged as they are.

1. *Answers*: per variant the clearest change of pass@1 over its tasks.
2. *Heads*: how many are new and lost, next to the base against itself and to the null twins.
3. *Effects*: what the model came to rely on: the training effect of its new heads, or how many heads changed.
4. *Roles*: which heads took up or gave up reading something in the answers.
5. *Removal*: what removing its heads does to the answers, next to random sets; without answers, to the loss.
6. *Failures*: how newly wrong answers fail, or what right answers were lost to.

Spoken of are variants that are neither null twins nor further seeds of another, of more than ``SPOKEN`` the first. A
sentence whose results are not there is left out.
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

from headscope.errors import count_noun
from headscope.report.blocks import Finding
from headscope.report.effect_sentences import effect_sentence
from headscope.report.run_results import RunResults, edited_model, with_result
from headscope.report.sentences import answer_readings, join_words
from headscope.report.tables.evidence import STANDS
from headscope.report.tables.summary import decisiveness
from headscope.results.comparison import Comparison
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.evidence import Evidence
from headscope.results.head_roles import HeadRoles
from headscope.results.head_sets import role_of_group
from headscope.results.measures import Measures
from headscope.results.numbers import ALPHA, format_count, format_estimate, state_p
from headscope.results.verdict import NOT_SUPPORTED, SUPPORTED, AblationVerdict
from headscope.runs.recipes import missing_signal, recipe, variants_by_name
from headscope.runs.records import Finished
from headscope.storage import Result

R = TypeVar("R", bound=Result)

SPOKEN = 3
"""Variants that sentences name."""
NAMED_HEADS = 4
"""Heads that a sentence names; more are counted."""
NAMED_ROLES = 4
"""Roles taken up or given up that a sentence names per variant, those on most tasks first; more are counted."""


def findings(results: RunResults) -> tuple[Finding, ...]:
    """Return the sentences of a run, each with the page its evidence is on; none before anything is measured."""
    spoken = spoken_variants(results)
    rules = (_find_answers, _find_heads, _find_effects, _find_roles, _find_removal, _find_failures)
    return tuple(finding for rule in rules if (finding := rule(results, spoken)) is not None)


def spoken_variants(results: RunResults) -> tuple[str, ...]:
    """Return the first variants that are the source of their recipe and no null twin."""
    by_name = variants_by_name(results.study)
    recipes = [name for name in results.variants if not missing_signal(by_name[name]) and recipe(name, by_name) == name]
    return tuple(recipes[:SPOKEN])


def _only(variants: Sequence[str]) -> str:
    """Return the variant that a sentence is about, to be chosen on its page; empty if it is about several."""
    return variants[0] if len(variants) == 1 else ""


def _find_answers(results: RunResults, spoken: Sequence[str]) -> Finding | None:
    clear, unclear, evaluated = [], [], []
    for variant in spoken:
        changes = {
            str(unit.labels["task"]): unit.whole
            for unit in results.last_evaluations
            if unit.labels["variant"] == variant and unit.whole.change is not None
        }
        if changes:
            evaluated.append(variant)
        clear_tasks = [task for task, measures in changes.items() if _is_clear(measures, len(changes))]
        if clear_tasks:
            task = max(clear_tasks, key=lambda task: abs(_change(changes[task]).value))
            clear.append(f"{variant}'s pass@1 {_change_part(task, changes[task], len(changes))}")
        elif changes:
            unclear.append(variant)
    if clear:
        rest = f"; what changed in {join_words(unclear)} could be chance" if unclear else ""
        text = f"Training changed the answers (pass@1: the share that is right): {'; '.join(clear)}{rest}."
    elif unclear:
        text = f"Whether training changed the answers of {join_words(unclear)} cannot be told from chance."
    else:
        return None
    return Finding("Answers", text, "performance", "Performance", _only(evaluated))


def _change(measures: Measures) -> Estimate:
    assert measures.change is not None
    return measures.change


def _is_clear(measures: Measures, tasks: int) -> bool:
    """Return whether the change excludes 0 and, of several tasks, the flips' p-value times their number allows it."""
    change = _change(measures)
    excludes = not change.low <= 0 <= change.high
    return excludes and (measures.flips is None or tasks * measures.flips.p_value <= ALPHA)


def _change_part(task: str, measures: Measures, tasks: int) -> str:
    change, now = _change(measures), measures.pass_at_k[1].value
    verb = "rises" if change.value > 0 else "falls"
    of_several = f"; the largest clear change on {tasks} tasks" if tasks > 1 else ""
    difference = format_estimate(change, sign=True)
    return f"{verb} from {now - change.value:.2f} to {now:.2f} on {task} ({difference}{of_several})"


def _find_heads(results: RunResults, spoken: Sequence[str]) -> Finding | None:
    final_of = {comparison.variant: comparison for comparison in results.comparisons}
    compared = [variant for variant in spoken if variant in final_of]
    if not compared:
        return None
    parts = []
    for variant in compared:
        twins = {name: final_of[name].final for name in results.null_twins(variant) if name in final_of}
        parts.append(_count_part(variant, final_of[variant], twins))
    heads = final_of[compared[0]].final.status.size
    text = f"Of {heads} heads, {'; '.join(parts)}."
    return Finding("Heads", text, "emergence-map", "Emergence map", _only(compared))


def _count_part(variant: str, comparison: Comparison, twins: dict[str, Emergence]) -> str:
    final = comparison.final
    faulty = comparison.circuit is not None and not comparison.circuit.faithful
    circuit = f"{variant}'s circuit{', which is not faithful,' if faulty else ''}"
    if final.crowded:
        room = f"only {final.room}" if final.room else "none"
        return f"{circuit} could gain {room}: all {'other ' if final.room else ''}heads are in the base's"
    gained = _compare_with_controls(final, "new", twins)
    lost = _compare_with_controls(final, "lost", twins)
    return f"{circuit} gains {gained}{',' if final.new else ''} and loses {lost}"


def _compare_with_controls(final: Emergence, status: Literal["new", "lost"], twins: dict[str, Emergence]) -> str:
    """Return how many heads are new or lost, next to the base against itself and the null twins."""
    count = len(getattr(final, status))
    if not count:
        return "none"
    chance = f"{format_count(getattr(final.null, status).value)} in the base against itself"
    if getattr(final.excess, status).low <= 0:
        return f"{count}, which could be chance ({chance})"
    of_twins = {name: len(getattr(twin, status)) for name, twin in twins.items()}
    as_many = [f"{name} ({number})" for name, number in of_twins.items() if number >= count]
    if as_many:
        return f"{count}, no more than its twin {join_words(as_many)}"
    fewer = "".join(f" and than its twin {name} ({number})" for name, number in of_twins.items())
    return f"{count}, more than chance gives ({chance}){fewer}"


def _find_effects(results: RunResults, spoken: Sequence[str]) -> Finding | None:
    sentences = {variant: sentence for variant in spoken if (sentence := effect_sentence(results, variant))}
    text = " ".join(sentences.values())
    return Finding("Effects", text, "effects", "Effects", _only(list(sentences))) if sentences else None


def _find_roles(results: RunResults, spoken: Sequence[str]) -> Finding | None:
    parts = {variant: part for variant in spoken if (part := _role_part(results, variant))}
    if not parts:
        return None
    text = "; ".join(f"in {variant}{part}" for variant, part in parts.items())
    return Finding("Roles", f"What heads read in the answers: {text}.", "head", "Head", _only(list(parts)))


def _role_part(results: RunResults, variant: str) -> str:
    """Return which heads took up or gave up a role, by task, next to their number in null twins; empty if untested."""
    tested = _tested_roles(results, variant)
    if not tested:
        return ""
    tasks_by_change: dict[str, list[str]] = {}
    for result in tested:
        for change in _role_changes(result):
            tasks_by_change.setdefault(change, []).append(result.task)
    if not tasks_by_change:
        return ", no head took up or gave up a role"
    named = sorted(tasks_by_change, key=lambda change: -len(tasks_by_change[change]))[:NAMED_ROLES]
    changes_by_tasks: dict[str, list[str]] = {}
    for change in named:
        changes_by_tasks.setdefault(join_words(tasks_by_change[change]), []).append(change)
    listing = "; ".join(f"on {tasks}, {join_words(changes)}" for tasks, changes in changes_by_tasks.items())
    twins = {twin: of_twin for twin in results.null_twins(variant) if (of_twin := _tested_roles(results, twin))}
    is_cut = len(named) < len(tasks_by_change)
    if not twins and not is_cut:
        return f" {listing}"
    total = count_noun(sum(map(_count_role_changes, tested)), "such change")
    phrases = [f"{total} in all" if is_cut else total]
    phrases += [f"{sum(map(_count_role_changes, of_twin))} in its twin {twin}" for twin, of_twin in twins.items()]
    return f" {listing} ({', '.join(phrases)})"


def _tested_roles(results: RunResults, variant: str) -> list[HeadRoles]:
    measured = [result for _, result in with_result(results.in_order(HeadRoles, variant=variant))]
    return [result for result in measured if result.post.tested.any()]


def _role_changes(result: HeadRoles) -> list[str]:
    """Return which heads took up and gave up each role."""
    changes = []
    for role in result.roles:
        labels = [label for label in result.labels if label.role == role]
        taken_up = [str(label.head) for label in labels if label.change == "gained"]
        taken_up += [f"{label.head} (from {label.origin})" for label in labels if label.change == "moved"]
        given_up = [str(label.head) for label in labels if label.change == "lost"]
        for heads, verb in ((taken_up, "took up"), (given_up, "gave up")):
            if heads:
                changes.append(f'{_name_heads(heads)} {verb} "{role}"')
    return changes


def _name_heads(names: Sequence[str]) -> str:
    return join_words(names) if len(names) <= NAMED_HEADS else f"{len(names)} heads"


def _count_role_changes(result: HeadRoles) -> int:
    """Return the number of roles that heads took up or gave up; a role that moved counts once."""
    changed = sum(label.change in ("gained", "moved", "lost") for label in result.labels)
    return changed - sum(label.change == "moved" for label in result.labels)


def _find_removal(results: RunResults, spoken: Sequence[str]) -> Finding | None:
    removals = {variant: parts for variant in spoken if (parts := _removals(results, variant))}
    if not removals:
        return None
    text = "; ".join(part for parts in removals.values() for part in parts)
    return Finding("Removal", f"{text[0].upper()}{text[1:]}.", "ablation", "Ablation", _only(list(removals)))


def _removals(results: RunResults, variant: str) -> list[str]:
    """Return what the deciding verdict on each head set says, or else its evidence."""
    parts = []
    for heads, verdicts in _by_heads(with_result(results.verdicts), variant).items():
        unit, verdict = min(verdicts, key=lambda pair: decisiveness(pair[1]))
        removed = _describe_removal(variant, heads, len(verdict.heads))
        parts.append(f"{removed} {_verdict_part(str(unit.labels['task']), verdict, len(verdicts))}")
    if parts:
        return parts
    for heads, evidences in _by_heads(with_result(results.evidence), variant).items():
        forced, evidence = evidences[0]
        removed = _describe_removal(variant, heads, len(evidence.heads))
        parts.append(f"{removed} {_evidence_part(str(forced.labels['task']), evidence)}")
    return parts


def _describe_removal(variant: str, heads: str, count: int) -> str:
    role = role_of_group(heads)
    if role is not None:
        return f"removing {variant}'s {count_noun(count, 'head')} that took up the role {role}"
    name = "new" if heads == "emergent" else heads  # as the other sentences call them
    return f"removing {variant}'s {count_noun(count, f'{name} head')}"


def _by_heads(units: Sequence[tuple[Finished[R], R]], variant: str) -> dict[str, list[tuple[Finished[R], R]]]:
    """Return the units that edit the variant's last checkpoint, by the name of their head set."""
    grouped: dict[str, list[tuple[Finished[R], R]]] = {}
    for unit, result in units:
        if edited_model(unit.labels) == variant:
            grouped.setdefault(str(unit.labels["heads"]), []).append((unit, result))
    return grouped


def _verdict_part(task: str, verdict: AblationVerdict, tests: int) -> str:
    of_several = f", the clearest of {tests} tests" if tests > 1 else ""
    effect = f"{format_estimate(verdict.effect, sign=True)} ({verdict.operator} ablation{of_several})"
    rank = f"rank {verdict.rank} of {verdict.controls + 1}, {state_p(verdict.p_value)}"
    if verdict.reading == SUPPORTED:
        meaning = "more than random sets do"
    elif verdict.reading == NOT_SUPPORTED:
        # Not supported is also what random sets do less of, and is too small to be called an effect.
        meaning = "no more than random sets do" if verdict.p_value > ALPHA else "too little to be called an effect"
    else:
        meaning = "which decides nothing"
    return f"changes pass@1 on {task} by {effect}, {meaning} ({rank})"


def _evidence_part(task: str, evidence: Evidence) -> str:
    first = evidence.operators[0]
    effect = format_estimate(first.effect, 3, sign=True)
    voting = f"{evidence.agreeing} of {len(evidence.voting)} operators"
    verdict = f"{voting} that remove heads: {STANDS[evidence.stands]}"
    return f"changes the loss of its right answers on {task} by {effect} nats per token ({verdict})"


def _find_failures(results: RunResults, spoken: Sequence[str]) -> Finding | None:
    readings = [reading for reading in answer_readings(results) if reading.model in spoken]
    readings = [reading for reading in readings if reading.failures or reading.lost]
    if not readings:
        return None
    parts = [f"{reading.model}, {reading.failures or reading.lost}" for reading in readings]
    variant = _only([reading.model for reading in readings])
    return Finding("Failures", f"How answers fail: {'; '.join(parts)}.", "transitions", "Transitions", variant)
