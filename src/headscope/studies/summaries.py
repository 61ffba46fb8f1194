"""What a verb prints at its end: one row per model, task or head set, from finished units."""

from collections.abc import Iterable, Mapping
from typing import Any

from headscope.pairs import Pairs
from headscope.results.crossed import EFFECTS, Crossed
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.results.evidence import DoseResponse, Evidence
from headscope.results.overlap import EffectMap
from headscope.results.thinking import Thinking
from headscope.results.verdict import AblationVerdict
from headscope.runs import RunDirectory
from headscope.storage import read_object
from headscope.studies import compare, crossed, effects, thinking

Row = dict[str, str]

NO_EVIDENCE: Row = dict.fromkeys(
    ("texts", "Δ nats", "rank", "like importance", "operators", "post - base", "off-task", "repaired", "doses"), "-"
)
NO_VERDICT: Row = dict.fromkeys(("n", "Δ pass@1", "matched random", "rank"), "-")


def accuracy(run: RunDirectory) -> list[Row]:
    """pass@1 and its change against the base, the largest pass@k and majority@k, unfinished and unparsed rates and
    length, per model and task.
    """
    return [
        _accuracy_row(record.labels, read_object(record.folder / "measures.json")) for record in run.find("measures")
    ]


def circuits(run: RunDirectory) -> list[Row]:
    """The heads that carry most of each checkpoint's score, with the pairs, quadrature nodes and residual behind
    them.
    """
    rows = []
    for record in run.find("scores", pairs="main"):
        scores = EdgeScores.load(record.folder)
        source = next(
            each for each in run.find("pairs", pairs="main") if each.labels["variant"] == record.labels["variant"]
        )
        pairs = Pairs.load(source.folder)
        dropped = ", ".join(f"{count} {reason}" for reason, count in pairs.dropped.items()) or "0"
        rows.append(
            {
                "pairs of": str(record.labels["variant"]),
                "model": str(record.labels["model"]),
                "step": str(record.labels["step"]),
                "pairs (dropped)": f"{len(pairs)} ({dropped})",
                "heads with most score": " ".join(map(str, scores.top_heads())),
                "nodes": _nodes(scores.settings),
                "residual": f"{scores.residual:.1e}",
                "faithfulness": _faithfulness(run, record.labels),
            }
        )
    return rows


def counts(run: RunDirectory) -> list[Row]:
    """Kept, new and lost heads of every checkpoint with the test-retest null beside them."""
    rows = []
    for record in run.find("comparison"):
        content = compare.read(record.folder)
        for step, data in zip(content["steps"], content["emergence"], strict=True):
            result = Emergence.from_dict(data)
            rows.append({"variant": content["variant"], "step": str(step)} | _count_cells(result))
    return rows


def heads(run: RunDirectory) -> list[Row]:
    """The last checkpoint of each variant: its counts with their null, and how faithful its circuit is."""
    rows = []
    for record in run.find("comparison"):
        content = compare.read(record.folder)
        result, step = Emergence.from_dict(content["emergence"][-1]), content["steps"][-1]
        labels = {"variant": content["variant"], "step": step, "model": content["variant"]}
        row = {"variant": content["variant"], "step": str(step)} | _count_cells(result)
        rows.append(row | {"faithfulness": _faithfulness(run, labels)})
    return rows


def prompts(run: RunDirectory) -> list[Row]:
    """The crossed design: how many heads each effect changed, and what the heads called emergent take to be seen."""
    rows = []
    for record in run.find("crossed"):
        found = Crossed.from_dict(read_object(record.folder / crossed.FILE))
        changed = {f"heads changed by {name}": str(len(found.changed(name))) for name in EFFECTS}
        origins = {_ORIGINS[name]: _count(origin.count) for name, origin in found.origins.items()}
        rows.append({"variant": str(record.labels["variant"])} | origins | changed | {"pairs": str(found.pairs)})
    return rows


def overlaps(run: RunDirectory) -> list[Row]:
    """Core heads that two variants' final circuits share, with the chance level, and how alike all heads rank."""
    return [
        {
            "variants": f"{each.first} / {each.second}",
            "equal": each.equal,
            "edges": " / ".join(f"{size:.1%}" for size in each.fractions),
            "shared heads": f"{each.overlap.shared} of {each.overlap.first} / {each.overlap.second}",
            "Jaccard": f"{each.overlap.jaccard:.2f}",
            "by chance": f"{each.overlap.chance:.2f} [{each.overlap.chance_low:.2f}, {each.overlap.chance_high:.2f}]",
            "p": f"{each.overlap.p_value:.3f}",
            "rank correlation": str(each.ranks),
        }
        for record in run.find("effects")
        for each in EffectMap.from_dict(read_object(record.folder / effects.FILE)).likeness
    ]


def modes(run: RunDirectory) -> list[Row]:
    """Think on and off: heads of one mode only, circuit sizes of equal faithfulness, and the reasoning that leaks."""
    rows = []
    for record in run.find("thinking"):
        found = Thinking.from_dict(read_object(record.folder / thinking.FILE))
        change, sizes = found.change, (found.on_fraction, found.off_fraction)
        leak = ", ".join(f"{task} {share}" for task, share in found.leak.items())
        rows.append(
            {
                "think-on / think-off": f"{record.labels['think_on']} / {record.labels['variant']}",
                "only on / only off": f"{_count(change.counts.new)} / {_count(change.counts.lost)}",
                "null": f"{change.null.new.value:.1f} / {change.null.lost.value:.1f}",
                "only on above null": _count(change.excess.new),
                f"edges for {found.faithfulness:.0%}, on / off": " / ".join(map(_percent, sizes)),
                "active heads, off - on": _count(found.broader),
                "tokens off / on": leak or "-",
                "pairs": str(change.pairs),
            }
        )
    return rows


def verdicts(run: RunDirectory) -> list[Row]:
    """Effect of each ablated head set beside its matched random sets."""
    rows = []
    for record in run.find("verdict"):
        data = read_object(record.folder / "verdict.json")
        row = {name: str(record.labels[name]) for name in ("variant", "heads", "operator", "task")}
        rows.append(row | ({**NO_VERDICT, "reading": data["reason"]} if data.get("empty") else _verdict_cells(data)))
    return rows


def evidence(run: RunDirectory) -> list[Row]:
    """What teacher forcing says of each head set: effect, rank, agreement, and what could explain it."""
    rows = []
    for record in run.find("evidence"):
        data = read_object(record.folder / "evidence.json")
        row = {name: str(record.labels[name]) for name in ("variant", "heads", "task")}
        rows.append(row | ({**NO_EVIDENCE, "reading": data["reason"]} if data.get("empty") else _evidence_cells(data)))
    return rows


def markdown(rows: Iterable[Mapping[str, str]]) -> str:
    """A Markdown table; empty text for no rows."""
    rows = list(rows)
    if not rows:
        return ""
    names = list(rows[0])
    lines = [
        names,
        ["---"] * len(names),
        *([row[name].replace("|", "\\|") for name in names] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _nodes(settings: Mapping[str, Any]) -> str:
    """Quadrature nodes used, and whether the adaptive rule gave up before the scores settled."""
    settled = settings.get("adaptive_converged", True)
    return f"{settings.get('nodes', 1)}{'' if settled else ' (not settled)'}"


def _faithfulness(run: RunDirectory, labels: Mapping[str, Any]) -> str:
    """At the study's circuit size, where it was measured: the base and each variant's last checkpoint."""
    fraction = run.lock()["study"]["discover"]["fraction"]
    for record in run.find("faithfulness", **labels):
        data = read_object(record.folder / "faithfulness.json")
        at = data["fractions"].index(fraction)
        return f"{Estimate(**data['normalised'][at])} at {fraction:.1%} of edges"
    return "-"


def _accuracy_row(labels: Mapping[str, Any], data: Mapping[str, Any]) -> Row:
    largest = max(data["pass_at_k"], key=int)
    return {
        "model": str(labels["variant"]),
        "task": str(labels["task"]),
        "problems × samples": f"{data['n_problems']} × {data['samples']}",
        "pass@1": str(Estimate(**data["pass_at_k"]["1"])),
        "Δ against base": _change(data),
        "pass@largest k": f"{Estimate(**data['pass_at_k'][largest])} (k = {largest})",
        "majority@k": str(Estimate(**data["majority_at_k"][largest])),
        "unfinished": f"{data['rates']['unfinished']:.1%}",
        "unparsed": f"{data['rates']['unparsed']:.1%}",
        "tokens": f"{data['mean_tokens']['value']:.0f}",
    }


def _change(data: Mapping[str, Any]) -> str:
    """With its interval, and the exact test of the problems whose first answer flipped."""
    if "change" not in data:
        return "-"
    change, flips = Estimate(**data["change"]), data["flips"]
    flipped = f"flips +{flips['gained']} -{flips['lost']}, p = {flips['p_value']:.2g}"
    return f"{change.value:+.2f} [{change.low:+.2f}, {change.high:+.2f}] ({flipped})"


def _count_cells(result: Emergence) -> Row:
    counts, null, excess = result.counts, result.null, result.excess
    return {
        "kept / new / lost": f"{counts.kept.value:.0f} / {counts.new.value:.0f} / {counts.lost.value:.0f}",
        "null: new / lost": f"{null.new.value:.1f} / {null.lost.value:.1f}",
        "new above null": f"{_count(excess.new)} (p = {result.new_p_value:.2g})",
        "doubled (null)": f"{len(result.doubled)} ({'-' if result.doubled_null is None else len(result.doubled_null)})",
        "pairs": str(result.pairs),
        "new heads": str(result.new),
    }


_ORIGINS = {
    "emergent": "new, each on its own prompt",
    "prompt": "the prompt's",
    "model": "the model's",
    "both": "need both",
    "undecided": "undecided",
}


def _count(estimate: Estimate) -> str:
    """A number of heads with its interval; what rounds to 0 has no sign."""
    value, low, high = (round(end, 1) + 0.0 for end in (estimate.value, estimate.low, estimate.high))
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"


def _verdict_cells(data: Mapping[str, Any]) -> Row:
    verdict = AblationVerdict.from_dict(data)
    effect = verdict.effect
    return {
        "n": f"{verdict.problems} × {verdict.samples}",
        "Δ pass@1": f"{effect.value:+.2f} [{effect.low:+.2f}, {effect.high:+.2f}]",
        "matched random": f"{verdict.control_mean:+.2f} ({verdict.controls} sets)"
        if verdict.controls
        else "none exist",
        "rank": f"{verdict.rank} of {1 + verdict.controls}",
        "reading": verdict.reading,
    }


def _evidence_cells(data: Mapping[str, Any]) -> Row:
    found = Evidence.from_dict(data)
    first = found.operators[0]
    alike = 1 + len(first.importance_effects)
    return {
        "texts": str(found.texts),
        "Δ nats": f"{_signed(first.effect)} ({first.operator})",
        "rank": f"{first.rank} of {1 + len(first.control_effects)}" if len(first.control_effects) else "-",
        "like importance": f"{first.importance_p_value * alike:.0f} of {alike}" if alike > 1 else "-",
        "operators": f"{found.agreeing} of {len(found.operators)}",
        "post - base": _signed(found.training),
        "off-task": _signed(found.guard.effect) if found.guard else "-",
        "repaired": _signed(found.repair.repaired) if found.repair else "-",
        "doses": _trends(found.dose),
        "reading": {True: "stands", False: "does not stand", None: "undecided"}[found.stands] + f": {found.reason}",
    }


def _trends(dose: DoseResponse | None) -> str:
    if dose is None:
        return "-"
    arms = {"down": dose.below, "up": dose.above}
    shown = [f"{name} p = {trend.p_value:.2g}" for name, trend in arms.items() if trend is not None]
    return ", ".join(shown) or "-"


def _signed(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{estimate.value:+.3f} [{estimate.low:+.3f}, {estimate.high:+.3f}]"
