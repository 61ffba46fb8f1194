"""The crossed design: what training changed in a head, and what the prompt."""

from collections.abc import Mapping

import numpy as np

from headscope.heads import HeadId, HeadSet
from headscope.report.run_results import RunResults
from headscope.results.crossed import EFFECTS, ORIGINS, Crossed
from headscope.results.table import Cell, Row, Table, Value, count_cell, pairs_cell

_ORIGIN_NAMES = {
    "emergent": "new, each on its own prompt",
    "prompt": "the prompt's",
    "model": "the model's",
    "both": "need both",
    "undecided": "undecided",
}


def crossed(results: RunResults) -> Table:
    """Return what the heads called emergent take to be seen, and how many heads each effect changed."""
    rows: list[Row] = []
    for variant, design in results.crossed.items():
        for name, meaning in ORIGINS.items():
            origin = design.origins[name]
            rows.append(_row(variant, _ORIGIN_NAMES[name], meaning, count_cell(origin.count), origin.heads, design))
        for name, meaning in EFFECTS.items():
            changed = design.changed_heads(name)
            rows.append(_row(variant, f"changed by {name}", meaning, len(changed), changed, design))
    caption = (
        "What the paper calls emergent holds the base on its own prompt against the variant on its own, and what it "
        "takes to see such a head: the prompt alone, the model, or both; 95 % intervals over problems. Changed: heads "
        "with this effect on their share of all net score, of which 5 % are expected to be false (Benjamini-Hochberg)."
    )
    return Table("crossed", tuple(rows), caption)


def _row(variant: str, name: str, meaning: str, count: Value, heads: HeadSet, design: Crossed) -> Row:
    return {
        "variant": variant,
        "heads": name,
        "meaning": meaning,
        "number": count,
        "pairs": pairs_cell(design.size),
        "which": Cell(str(heads), heads),
    }


def crossed_data(designs: Mapping[str, Crossed]) -> Table:
    """Return the data of the figure of model against prompt."""
    rows: list[Row] = []
    for variant, design in designs.items():
        for place, (name, effect) in enumerate(design.effects.items()):
            for layer, head in np.ndindex(*effect.value.shape):
                row: Row = {
                    "variant": variant,
                    "head": str(HeadId(layer, head)),
                    "effect": name,
                    "change of share": float(effect.value[layer, head]),
                    "low": float(effect.low[layer, head]),
                    "high": float(effect.high[layer, head]),
                    "q": float(design.q_value[place, layer, head]),
                }
                rows.append(row)
    meanings = "; ".join(f"{name}: {meaning}" for name, meaning in EFFECTS.items())
    return Table("model-or-prompt", tuple(rows), f"One row per head and effect. {meanings}.")
