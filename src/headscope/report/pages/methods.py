"""Methods: definitions, settings, versions, limits, citation."""

from collections.abc import Iterator
from typing import Any

from headscope.report.blocks import Page, Prose, Table
from headscope.report.findings import Findings

_DEFINITIONS = Prose(
    "Definitions",
    (
        "Edge score: what one component's output contributes, through one later component's input, to the "
        "divergence between the model's "
        "next-token distributions on the clean and the corrupt prompt of a pair (edge attribution with "
        "integrated gradients, EAP-IG).",
        "Circuit: the top fraction of edges by mean |score| over pairs, pruned until every head in it reads "
        "from and writes to the circuit.",
        "Core head: in the pruned circuit in at least 90 % of bootstrap resamples of the pairs; contingent: "
        "in 10 to 90 %.",
        "Kept: core in base and variant. New (emergent): core in the variant and not even contingent in the "
        "base. Lost: the reverse.",
        "Null: the same counts for the base model against itself, the mean over random halves of all its pairs. Above "
        "null: observed minus null, with an interval; p: the share of the halves with at least as many new heads.",
        "pass@k: the chance that k answers to a problem hold a correct one, unbiased estimate (Chen et al. "
        "2021), averaged over problems.",
        "Ablation verdict: supported where the effect on pass@1 and its excess over matched random head sets "
        "both exclude 0 and at most 5 % of "
        "the random sets do as much; not supported where an effect of the margin's size is excluded or "
        "random sets do as much; else undecided.",
    ),
)
_LIMITS = Prose(
    "Limits",
    (
        "Head sets come from pairs of prompts: another choice of pairs, openings or positions can give other "
        "heads. Intervals cover the draw of "
        "pairs or problems, not the draw of training seeds.",
        "Attribution is a linear estimate along a path. It finds heads; the ablation is what shows that they matter.",
        "Changes of heads are corrected over heads and checkpoints (q, Benjamini-Hochberg), claims C6 and C7 over "
        "tasks and scales (Holm). All other intervals stand side by side uncorrected: read one alone with care.",
    ),
)
_CITATION = Prose(
    "Citation",
    (
        "Park, Jeong, Kang: “Thinking Sparks!: Emergent Attention Heads in Reasoning Models During Post "
        "Training”, arXiv 2509.25758 v2.",
        "Hanna, Pezzelle, Belinkov: “Have Faith in Faithfulness: Going Beyond Circuit Overlap When Finding "
        "Model Mechanisms” (EAP-IG), "
        "arXiv 2403.17806.",
        "Chen et al.: “Evaluating Large Language Models Trained on Code” (pass@k), arXiv 2107.03374.",
    ),
)


def methods(findings: Findings) -> Page:
    """How the numbers were made."""
    tables = (_settings(findings), _pairs(findings), _provenance(findings))
    return Page("methods", "Methods", "How was this measured?", (_DEFINITIONS, _LIMITS, *tables, _CITATION))


def _settings(findings: Findings) -> Table:
    rows = tuple(_flat(findings.study))
    return Table(("setting", "value"), rows, "The resolved study: every setting, defaults included.", "settings")


def _provenance(findings: Findings) -> Table:
    rows = tuple(_flat(findings.provenance))
    return Table(("what", "value"), rows, "Versions, commit and machine of the run.", "provenance")


def _pairs(findings: Findings) -> Table:
    rows = []
    for each in findings.pair_sets:
        dropped = ", ".join(f"{count} × {reason}" for reason, count in each.dropped.items()) or "none"
        rows.append((each.variant, each.pairs, each.count, dropped))
    return Table(
        ("variant", "set", "pairs", "dropped"),
        tuple(rows),
        "Pairs used, and candidates dropped with the reason.",
        "pairs",
    )


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as dotted paths; an empty value is printed as JSON."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{index}]")
    else:
        yield path, _written(value)


def _written(value: Any) -> str:
    if isinstance(value, list) and value:
        return ", ".join(map(_written, value))
    if isinstance(value, str):
        return value
    return "–" if value is None else str(value)
