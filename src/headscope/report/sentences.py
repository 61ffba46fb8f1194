"""Sentences first: what reading the answers found, in one to four sentences per variant, by rule and hedged.

Per variant:

1. *Change*: problems that became right and wrong. p-values are multiplied by the number of tasks (Bonferroni); tasks
   above 0.05 are named as what could be chance.
2. *Lost*: of the task with most lost answers, how many wrong answers had stated the right one; and how many answers
   with and without a re-check are right, if the difference within tiers excludes 0.
3. *Masked*: on which tasks the model gains or loses when it can never write a marker, by intervals that exclude 0.
4. *Failures*: what newly wrong answers fail by most, next to those that neither model gets right; or the most frequent
   failure of all wrong answers, if few are newly wrong.

What rests on fewer than ``FEWEST`` answers is not said. A lost answer need not have given the right one up: it may have
gone on until it was cut off.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headscope.report.run_results import RunResults
from headscope.report.tables.traces import Placed, total_split
from headscope.results.codec import Json
from headscope.results.measures import Measures
from headscope.results.numbers import ALPHA, format_estimate, state_p
from headscope.results.traces import TraceSummary
from headscope.results.transitions import Transitions

FEWEST = 10
"""Answers (of change: flipped problems have their own test)."""
LEAST_LOST = 0.05
"""Of the wrong answers; fewer are not worth a sentence."""

Compared = tuple[Mapping[str, Json], Transitions]


def answer_sentences(results: RunResults) -> tuple[str, ...]:
    """Return the sentences of a run; none before its answers are read."""
    return _sentences(answer_readings(results))


def make_sentences(
    summaries: Sequence[Placed],
    compared: Sequence[Compared] = (),
    masked: Sequence[tuple[Mapping[str, Json], Measures]] = (),
) -> tuple[str, ...]:
    """Return one to four sentences per variant, or on the base if there is no variant.

    Args:
        summaries: by model, task and step; of several steps the last counts. Those of masked answers count for nothing.
        compared: from the base's answers to a variant's, likewise.
        masked: of answers without a marker, compared with the same model's own.
    """
    return _sentences(make_readings(summaries, compared, masked))


def _sentences(readings: Sequence["Reading"]) -> tuple[str, ...]:
    return tuple(f"{reading.model}: {part}." for reading in readings for part in reading.parts)


@dataclass(frozen=True, slots=True)
class Reading:
    """Findings from one model's answers: parts of sentences, empty if nothing is to be said."""

    model: str
    change: str
    lost: str
    masked: str
    failures: str

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the parts that say something, in this order."""
        return tuple(part for part in (self.change, self.lost, self.masked, self.failures) if part)


def answer_readings(results: RunResults) -> tuple[Reading, ...]:
    """Return what reading a run's answers found, by variant; none before they are read."""
    summaries = [(unit.labels, unit.whole) for unit in results.trace_summaries]
    compared = [(unit.labels, unit.whole) for unit in results.transitions]
    masked = [(unit.labels, unit.whole) for unit in results.masked_evaluations]
    return make_readings(summaries, compared, masked)


def make_readings(
    summaries: Sequence[Placed],
    compared: Sequence[Compared] = (),
    masked: Sequence[tuple[Mapping[str, Json], Measures]] = (),
) -> tuple[Reading, ...]:
    """Return one reading per variant, or the base's if there is no variant; arguments as of ``make_sentences``."""
    summaries = [placed for placed in summaries if placed[0].get("forbid") is None]
    models = list(dict.fromkeys(str(labels["variant"]) for labels, _ in summaries))
    summaries, compared = sorted(summaries, key=_step), sorted(compared, key=_step)
    readings = []
    for model in [model for model in models if model != "base"] or models:
        of_model = {str(labels["task"]): summary for labels, summary in summaries if labels["variant"] == model}
        changes = {str(labels["task"]): result for labels, result in compared if labels["variant"] == model}
        without = [(labels, measures) for labels, measures in masked if labels["variant"] == model]
        readings.append(
            Reading(
                model,
                change=_describe_change(changes),
                lost=_describe_lost(of_model),
                masked=_describe_masking(without),
                failures=_describe_failures(changes, of_model),
            )
        )
    return tuple(readings)


def _step(placed: tuple[Mapping[str, Json], TraceSummary | Transitions]) -> int:
    return int(placed[0].get("step", 0))


def _describe_change(changes: Mapping[str, Transitions]) -> str:
    if not changes:
        return ""
    clear, unclear = [], []
    for task, result in changes.items():
        p_value = min(1.0, result.flips.p_value * len(changes))
        if p_value <= ALPHA:
            clear.append(f"+{result.flips.gained} −{result.flips.lost} of {task} ({state_p(p_value)})")
        else:
            unclear.append(task)
    adjusted = f"; p adjusted for {len(changes)} tasks" if len(changes) > 1 else ""
    if not clear:
        return f"what changed against the base could be chance on {join_words(unclear)} (first answers{adjusted})"
    rest = f"; what changed on {join_words(unclear)} could be chance" if unclear else ""
    flips = join_words(clear)
    return f"against the base, problems became right (+) and wrong (−): {flips}{rest} (first answers{adjusted})"


def _describe_lost(summaries: Mapping[str, TraceSummary]) -> str:
    """Return how many wrong answers had stated the right one, on the task with most of them; else only re-checks."""
    said_of = {task: summary for task, summary in summaries.items() if summary.wrong >= FEWEST}
    lost = {task: round(summary.lost.value * summary.answers) for task, summary in said_of.items()}
    task = max(lost, key=lambda task: lost[task], default="")
    if not task or not lost[task] or lost[task] < LEAST_LOST * summaries[task].wrong:
        return _describe_rechecks(summaries)
    summary = summaries[task]
    sentence = f"{lost[task]} of its {summary.wrong} wrong answers on {task} had stated the right one"
    rechecks = _recheck_part(summary)
    return f"{sentence}; {rechecks}" if rechecks else sentence


def _describe_rechecks(summaries: Mapping[str, TraceSummary]) -> str:
    """Return the first task on which answers with a re-check differ."""
    for task, summary in summaries.items():
        if part := _recheck_part(summary):
            return f"on {task}, {part}"
    return ""


def _recheck_part(summary: TraceSummary) -> str:
    difference = summary.recheck_difference
    (right_with, having), (right_without, lacking) = total_split(summary.rechecks)
    if difference is None or min(having, lacking) < FEWEST:
        return ""
    if not (difference.low > 0 or difference.high < 0):  # an interval that is not known tells nothing either
        return ""
    change = format_estimate(difference, sign=True)
    return (
        f"answers with a re-check are right in {right_with} of {having}, those without in {right_without} of {lacking} "
        f"({change} within tiers; an association)"
    )


def _describe_masking(measured: Sequence[tuple[Mapping[str, Json], Measures]]) -> str:
    """Return on which tasks masking changed the accuracy, and what that says of the marker."""
    marker, changes = "", []
    for labels, measures in measured:
        change = measures.change
        if change is not None and (change.low > 0 or change.high < 0):
            marker = str(labels["forbid"])
            changes.append((change.value, f"{format_estimate(change, sign=True)} on {labels['task']}"))
    if not changes:
        return ""
    gains = [value > 0 for value, _ in changes]
    # What was measured is the ban, after which everything that follows differs, and not what the marker does.
    verb = "raises it here and lowers it there"
    if len(set(gains)) == 1:
        verb = "raises it" if gains[0] else "lowers it"
    listing = join_words([text for _, text in changes])
    sentence = f'kept from writing "{marker}", its pass@1 changes by {listing}, same problems and seeds'
    return f"{sentence}: the ban {verb}"


def _describe_failures(changes: Mapping[str, Transitions], summaries: Mapping[str, TraceSummary]) -> str:
    newly = _sum_counts(result.newly_wrong for result in changes.values())
    both = _sum_counts(result.wrong_in_both for result in changes.values())
    if newly.total() >= FEWEST:
        kind, count = newly.most_common(1)[0]
        others = f"; {both[kind]} of {both.total()} on problems that neither answers" if both.total() >= FEWEST else ""
        return (
            "on problems that the base answers right more often its wrong answers fail most often by "
            f"{_phrase_failure(kind)} ({count} of {newly.total()}{others})"
        )
    failures = _sum_counts(summary.failures for summary in summaries.values())
    if failures.total() < FEWEST:
        return ""
    kind, count = failures.most_common(1)[0]
    return f"its wrong answers fail most often by {_phrase_failure(kind)} ({count} of {failures.total()})"


_REASONS = {
    "loop": "looping",
    "unfinished": "being cut off",
    "over-thinking": "giving up the right answer",
    "guess": "guessing without a step",
    "no answer": "stating no answer",
    "form": "writing what is no step",
    "plan": "taking a wrong step",
    "undefined variable": "using a variable that is not defined",
    "other": "something that is not read",
}


def _phrase_failure(kind: str) -> str:
    """Return a kind of failure as a phrase; what is not named here is a kind of slip."""
    return _REASONS.get(kind, f"a slip of {kind}")


def _sum_counts(counts: Iterable[Mapping[str, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for of_task in counts:
        total.update(of_task)
    return total


def join_words(words: Sequence[str]) -> str:
    """Return ``a``, ``a and b`` or ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
