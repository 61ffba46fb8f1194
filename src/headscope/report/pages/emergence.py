"""Emergence map: the state of every head, and the counts by our method beside the paper's."""

from headscope.report.blocks import Block, Notice, Page, Table
from headscope.report.counted import edges, ladder, layers, methods, sets
from headscope.report.figures.crossed_effects import crossed_effects
from headscope.report.figures.effect_map import effect_map
from headscope.report.figures.emergence_map import emergence_map
from headscope.report.figures.faithfulness import faithfulness
from headscope.report.findings import Findings, OnOff
from headscope.report.numbers import UNKNOWN, count, count_with_interval, share_with_interval, with_interval
from headscope.results.crossed import ORIGINS
from headscope.results.overlap import EffectMap


def emergence(findings: Findings) -> Page:
    """Needs at least one comparison."""
    blocks: tuple[Block, ...] = (Notice("No comparison is done yet."),)
    if findings.comparisons:
        found = findings.comparisons
        counted = (table(found) for table in (methods, sets, ladder, edges, layers))
        blocks = (emergence_map(found), *_effects(findings), *(each for each in counted if each.rows))
    if findings.faithful:
        used = float(findings.study["discover"]["fraction"])
        blocks = (*blocks, faithfulness(findings.faithful, findings.variants, used))
    if findings.crossed:
        blocks = (*blocks, crossed_effects(findings.crossed), _origins(findings))
    if findings.modes:
        blocks = (*blocks, _modes(findings))
    return Page("emergence-map", "Emergence map", "Which heads are kept, new and lost, and where do they sit?", blocks)


def _effects(findings: Findings) -> tuple[Block, ...]:
    if findings.effects is None:
        return ()
    alike = (_overlaps(findings.effects),) if findings.effects.likeness else ()
    return (effect_map(findings.effects), *alike)


def _overlaps(found: EffectMap) -> Table:
    rows = tuple(
        (
            f"{each.first} / {each.second}",
            each.equal,
            " / ".join(f"{size:.1%}" for size in each.fractions),
            f"{each.overlap.shared} of {each.overlap.first} / {each.overlap.second}",
            each.overlap.jaccard,
            f"{each.overlap.chance:.2f} [{each.overlap.chance_low:.2f}, {each.overlap.chance_high:.2f}]",
            each.overlap.p_value,
            with_interval(each.ranks),
        )
        for each in found.likeness
    )
    columns = ("variants", "equal", "edges", "shared heads", "Jaccard", "by chance", "p", "rank correlation")
    caption = (
        "Core heads of two variants' last circuits, of as many edges each or each as large as a faithfulness of "
        f"{found.faithfulness:.0%} needs. By chance: random sets with as many heads in each layer, mean and 95 % of "
        "them; p: the share of these that overlap as much. Ranks: Spearman over the importance of all heads, the same "
        "in both rows, 95 % interval. Each variant is scored on pairs of its own."
    )
    return Table(columns, rows, caption, "overlaps")


def _origins(findings: Findings) -> Table:
    rows = tuple(
        (variant, name, meaning, count_with_interval(found.origins[name].count), str(found.origins[name].heads))
        for variant, found in findings.crossed.items()
        for name, meaning in ORIGINS.items()
    )
    pairs = ", ".join(dict.fromkeys(str(found.pairs) for found in findings.crossed.values()))
    caption = (
        "What the paper calls emergent holds the base on its own prompt against the variant on its own, and what it "
        f"takes to see such a head: the prompt alone, the model, or both. {pairs} pairs, 95 % pair bootstrap."
    )
    return Table(("variant", "origin", "meaning", "heads", "which"), rows, caption, "origins")


def _modes(findings: Findings) -> Table:
    rows = tuple(_mode_cells(each) for each in findings.modes)
    columns = (
        *("think on", "think off", "heads only on", "only off", "only on above null", "edges, on", "edges, off"),
        *("active heads, off − on", "tokens off / on", "pairs"),
    )
    caption = (
        "One model asked with thinking on and off, each on pairs of its own; edges: the share a circuit of equal "
        "faithfulness needs; tokens: of think-off answers over those of think-on answers to the same problems. "
        "95 % intervals over pairs, of tokens over problems; in brackets after the heads their null, think-off against "
        "itself."
    )
    return Table(columns, rows, caption, "think-modes")


def _mode_cells(modes: OnOff) -> tuple[str, ...]:
    found, change = modes.thinking, modes.thinking.change
    exclusive = [
        f"{count_with_interval(seen)} ({count(null.value)})"
        for seen, null in ((change.counts.new, change.null.new), (change.counts.lost, change.null.lost))
    ]
    sizes = [share_with_interval(size) for size in (found.on_fraction, found.off_fraction)]
    leak = "; ".join(f"{task} {with_interval(share)}" for task, share in found.leak.items()) or UNKNOWN
    excess, broader = (count_with_interval(each, sign=True) for each in (change.excess.new, found.broader))
    return (modes.on, modes.off, *exclusive, excess, *sizes, broader, leak, str(change.pairs))
