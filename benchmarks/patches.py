"""Scores against reality: how attribution on the lab's base model ranks edges and heads, and what patching them does.

    .venv/bin/python benchmarks/patches.py [--quick]

Prints a Markdown table of rank correlations. Two kinds of pairs:

- *openings* (the study's own kind, KL): the answer begun with a trace, ``<think> j = c``, or without, ``<think></think>
  <ans> 6``;
- *folds* (logit difference of the two results): the operand before the next result is another digit, ``j=4*4=`` or
  ``j=7*4=``.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from headscope.circuits import attribute
from headscope.circuits.exact_patching import exact_edges, exact_heads
from headscope.lab import builtin_data, chains
from headscope.models import load_model
from headscope.pairs import Pairs

PAIRS, OPENING, SEED = 16, 4, 0
# The strongest edges by measured effect, where a ranking matters most.
TOP = 0.05
METHODS: dict[str, dict[str, Any]] = {
    "eap": {"method": "eap"},
    "eap-ig, 8 Gauss nodes": {"nodes": 8},
    "eap-ig, 64 Gauss nodes": {"nodes": 64},
    "eap-ig, adaptive": {"nodes": "adaptive"},
}


@dataclass(frozen=True)
class Correlation:
    """One method on one kind of pairs: Spearman's rank correlation of predicted and measured changes.

    edges: signed means over pairs, all edges. sizes: means of the absolute values, by which circuits are selected.
    top: as ``sizes``, of the ``TOP`` share of edges with the largest measured one. heads: signed, a head's outgoing
    edges added up against its whole output replaced. seconds: of the prediction; measured: of the exact edges.
    """

    on: str
    pairs: int
    method: str
    edges: float
    sizes: float
    top: float
    heads: float
    seconds: float
    measured: float

    def cells(self) -> tuple[str, ...]:
        """The row's text, in the order of ``HEADER``."""
        figures = (f"{value:.2f}" for value in (self.edges, self.sizes, self.top, self.heads))
        return self.on, str(self.pairs), self.method, *figures, f"{self.seconds:.2g} s", f"{self.measured:.2g} s"


_FIGURES = ("edges, signed", "edges, size", f"size, top {TOP:.0%}", "heads, signed")
HEADER = ("pairs, metric", "n", "predicted by", *_FIGURES, "time", "exact edges")


def predicted_against_patched(quick: bool, seed: int = SEED) -> list[Correlation]:
    """Return rank correlations of every method with exact patching, on both kinds of pairs.

    quick: two pairs of each kind, on lab-s.
    """
    model, count = (load_model("lab-s"), 2) if quick else (load_model("lab-m"), PAIRS)
    rows = []
    for on, metric, pairs in (
        ("openings, kl", "kl", opening_pairs(model.tokenizer, count, seed)),
        ("folds, logit_diff", "logit_diff", fold_pairs(model.tokenizer, count, seed)),
    ):
        rows += list(_correlations(model, on, metric, pairs))
    return rows


def _correlations(model: Any, on: str, metric: str, pairs: Pairs) -> Iterator[Correlation]:
    edges, heads = exact_edges(model, pairs, metric), exact_heads(model, pairs, metric)
    real, sizes = edges.graph.real, edges.edges_abs[edges.graph.real]
    top = np.argsort(-sizes)[: round(TOP * len(sizes))]
    for method, settings in METHODS.items():
        if metric == "kl" and method == "eap":
            continue  # the gradient of KL is 0 at the clean text
        started = perf_counter()
        found = attribute(model, pairs, metric=metric, **settings)
        seconds = perf_counter() - started
        yield Correlation(
            on,
            len(pairs),
            method,
            edges=_rank(found.edges[real], edges.edges[real]),
            sizes=_rank(found.edges_abs[real], sizes),
            top=_rank(found.edges_abs[real][top], sizes[top]),
            heads=_rank(found.graph.head_grid(found.edges.sum(axis=1)), heads.mean),
            seconds=seconds,
            measured=edges.seconds,
        )


def _rank(one: Any, other: Any) -> float:
    return float(spearmanr(np.ravel(one), np.ravel(other)).statistic)


def opening_pairs(tokenizer: Any, count: int, seed: int) -> Pairs:
    """The same problem, answered with a trace and at once."""
    items = builtin_data.mixed_items(count, seed)
    traces, answers = ([tokenizer(text(item))["input_ids"] for item in items] for text in _STYLES)
    return Pairs.from_openings([_prompt(tokenizer, item) for item in items], traces, answers, OPENING)


_STYLES = (chains.thinking_turn, chains.direct_turn)


def fold_pairs(tokenizer: Any, count: int, seed: int) -> Pairs:
    """A trace up to its first result, and the same with another operand; labelled with the two results."""
    rng = random.Random(seed)
    clean, corrupt, labels = [], [], []
    for item in builtin_data.mixed_items(4 * count, seed):
        operation, leaf = item.path[-2:] if len(item.path) > 1 else (None, None)
        if operation is None or leaf is None or len(clean) == count:
            continue
        operands = leaf.value, (leaf.value + rng.randint(1, 9)) % 10
        results = [chains.apply(operation.operator, operand, operation.digit) for operand in operands]
        if results[0] == results[1]:
            continue
        unwound = "<think> " + " ".join(step.definition() for step in item.path)
        for texts, operand in zip((clean, corrupt), operands, strict=True):
            fold = f"{unwound} {operation.target}={operand}{operation.operator}{operation.digit}="
            texts.append(_prompt(tokenizer, item) + tokenizer(fold)["input_ids"])
        labels.append(tokenizer.convert_tokens_to_ids([str(result) for result in results]))
    return Pairs.from_tokens(clean, corrupt, labels=labels)


def _prompt(tokenizer: Any, item: chains.Item) -> list[int]:
    messages = [{"role": "user", "content": item.prompt}]
    ids: list[int] = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    return ids


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Compare attribution with exact patching on the lab's base model.")
    parser.add_argument("--quick", action="store_true", help="two pairs of each kind, on lab-s")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = [row.cells() for row in predicted_against_patched(options.quick, options.seed)]
    lines = [HEADER, tuple("---" for _ in HEADER), *rows]
    print("".join(f"| {' | '.join(cells)} |\n" for cells in lines), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
