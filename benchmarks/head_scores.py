"""How head scores made from edge scores rank heads, against replacing every head for real (exact patching).

    .venv/bin/python benchmarks/head_scores.py [MODEL …] [--pairs 16] [--sets names copies …]

Of each pair of texts a head's outgoing edges make one number: *net*, the size of their sum, or *flow*, the sum of their
sizes, which the paper takes. *mean net* is the size of the mean over pairs of the signed sums. Exact: the size of what
replacing the head's output by its corrupt one does to the metric, mean over pairs. Printed are Spearman's and Pearson's
correlation over heads, and how many of exact's twenty largest are among the score's. An hour on one core for SmolLM2.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np
from pair_sets import PAIR_SETS
from scipy.stats import pearsonr, spearmanr
from table import markdown_table

from headscope.circuits import attribute, exact_heads
from headscope.lab.pairs import lab_pairs
from headscope.models import Subject, load_model
from headscope.pairs import Pairs

MODELS = ("lab-s", "lab-m", "smollm2-135m")
LAB_SETS = {"openings": "opening", "leaf digits": "leaf"}
LARGEST = 20
HEADER = ("model", "pairs", "score", "Spearman", "Pearson", f"of exact's {LARGEST} largest", "heads")


def pair_sets(name: str, subject: Subject, count: int, chosen: Sequence[str] | None) -> Iterator[tuple[str, Pairs]]:
    """Each set of pairs of a model, with its name."""
    if name.startswith("lab"):
        for label, kind in LAB_SETS.items():
            if chosen is None or label in chosen:
                yield label, lab_pairs(subject.tokenizer, count, kind=kind)  # type: ignore[arg-type]
        return
    for label, make in PAIR_SETS.items():
        if chosen is None or label in chosen:
            yield label, make(subject.tokenizer, count)


def rows(name: str, subject: Subject, label: str, pairs: Pairs) -> Iterator[tuple[str, ...]]:
    """One line per head score."""
    scores, effects = attribute(subject, pairs), exact_heads(subject, pairs)
    assert scores.pair_net is not None
    exact = np.abs(effects.pair_heads).mean(axis=0).ravel()
    candidates = {
        "net": scores.pair_importance("net").mean(axis=0),
        "flow (paper)": scores.pair_importance("flow").mean(axis=0),
        "mean net": np.abs(scores.pair_net.mean(axis=0)),
    }
    for title, grid in candidates.items():
        values = grid.ravel()
        rank, linear = float(spearmanr(values, exact)[0]), float(pearsonr(values, exact)[0])
        shared = len(set(np.argsort(-values)[:LARGEST]) & set(np.argsort(-exact)[:LARGEST]))
        yield name, f"{len(pairs)} {label}", title, f"{rank:.2f}", f"{linear:.2f}", str(shared), str(len(values))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--sets", nargs="*")
    options = parser.parse_args(arguments)
    table = []
    for name in options.models:
        subject = load_model(name)
        for label, pairs in pair_sets(name, subject, options.pairs, options.sets):
            print(f"{name}: {label}", file=sys.stderr, flush=True)
            table += list(rows(name, subject, label, pairs))
    print(markdown_table(HEADER, table), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
