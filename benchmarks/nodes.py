"""How far quadratures are from the converged scores, by the nodes they take: the trained lab model and random ones.

By itself, ``benchmarks/nodes.py [smollm2-135m | lab-m | lab-s]``: the adaptive nodes next to those for 1 % of each
pair, on sets of pairs (``pair_sets``), and what they cost beside their own bare passes and beside exact patching.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from runpy import run_path
from statistics import median
from typing import Any, ClassVar

import numpy as np
import torch
from attribution import LAB_OPENING, SMALL, TINY, drawn_pairs, lab_prompts
from bare import Work, bare_passes, forward_seconds, work_of
from measuring import now
from pair_sets import PAIR_SETS
from scipy.stats import spearmanr
from table import Accuracy, figures, markdown_table

from headscope.circuits import attribute
from headscope.models import load_model
from headscope.pairs import Pairs
from headscope.results.edges import EdgeScores

# Equal steps, finer than anything the scores do on the path: 1/512 is a tenth of the sharpest fall seen.
CONVERGED = {"rule": "midpoint", "nodes": 512}
_GAUSS = {"rule": "gauss", "nodes": 64}
_TINY_MODELS = Path(__file__).parents[1] / "tests" / "tiny_models.py"
_COUNTS = {"gauss": (8, 16, 32, 64), "midpoint": (8, 16, 32, 64), "left": (8, 64), "right": (8, 64)}
_LAB_PAIRS = 24


def against_converged(quick: bool) -> list[Accuracy]:
    """Every rule and the adaptive one, against ``CONVERGED`` and against 64 Gauss nodes."""
    return [row for case in _cases(quick) for row in _rows(*case, quick)]


def _cases(quick: bool) -> Iterator[tuple[str, Any, Pairs]]:
    """What it is run on: name, model, pairs."""
    if quick:
        yield "tiny", TINY.model(), TINY.draw()
        return
    subject = load_model("lab-m")
    prompts = lab_prompts(subject.tokenizer, _LAB_PAIRS)
    yield "lab-m, trained", subject.model, drawn_pairs(prompts, LAB_OPENING, np.random.default_rng(0))
    tiny = run_path(str(_TINY_MODELS))
    for family in ("qwen3", "mistral", "gpt2"):
        yield f"tiny {family}, large random weights", tiny["tiny_model"](family), tiny["ragged_pairs"](count=8)
    yield "random " + str(SMALL), SMALL.model(), SMALL.draw()


def _rows(name: str, model: Any, pairs: Pairs, quick: bool) -> Iterator[Accuracy]:
    counts: dict[str, tuple[int, ...]] = {"gauss": (2,)} if quick else _COUNTS
    converged, gauss = (attribute(model, pairs, keep_pairs=True, **settings) for settings in (CONVERGED, _GAUSS))
    for rule, sizes in counts.items():
        for nodes in sizes:
            found = attribute(model, pairs, rule=rule, nodes=nodes, keep_pairs=True)
            yield _accuracy(name, rule, nodes, found, converged, gauss)
    for rule, tolerance in (("adaptive, 1 %", 0.01), ("adaptive", None)):
        found = attribute(model, pairs, tolerance=tolerance, keep_pairs=True)
        about = found.settings
        judged = f"up to {about['nodes']} nodes; judged {100 * about['adaptive_error']:.2g} %"
        note = judged if about["adaptive_converged"] else f"{judged}, says it did not converge"
        yield _accuracy(name, rule, about["nodes_mean"], found, converged, gauss, note)


def _accuracy(
    name: str, rule: str, nodes: float, found: EdgeScores, converged: EdgeScores, gauss: EdgeScores, note: str = ""
) -> Accuracy:
    assert found.pair_edges is not None
    assert converged.pair_edges is not None
    norms = np.linalg.norm(converged.pair_edges, axis=(1, 2))
    missed = np.linalg.norm(found.pair_edges - converged.pair_edges, axis=(1, 2))
    counted = norms > 1e-3 * norms.max()  # a pair whose scores are rounding has no relative error
    return Accuracy(
        shape=name,
        rule=rule,
        nodes=nodes,
        edges=_relative(found.edges_abs, converged.edges_abs),
        signed=_relative(found.edges, converged.edges),
        heads=_relative(found.pair_heads.mean(0), converged.pair_heads.mean(0)),
        worst=float((missed[counted] / norms[counted]).max()),
        gauss=_relative(found.edges_abs, gauss.edges_abs),
        note=note,
    )


def _relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


@dataclass(frozen=True)
class Yardstick:
    """The adaptive nodes next to those for 1 % of each pair, which are taken for the truth.

    before, now: nodes per pair. rank: Spearman correlation of the head scores. top: how many of the first 20 agree.
    share, judged: integration error of the mean head scores over their standard error, in norms over heads; worst: of
        the one head where it is largest. bare: time over that of the bare passes. exact: over that of a forward of the
        ending per head. seconds: of all pairs.
    """

    HEADER: ClassVar = (
        *("on", "nodes at 1 %", "nodes", "most", "Spearman", "of top 20", "share, true", "judged", "worst head"),
        *("beside bare passes", "range", "beside exact patching", "time"),
    )
    on: str
    before: float
    now: float
    most: int
    rank: float
    top: int
    share: float
    judged: float
    worst: float
    bare: float
    low: float
    high: float
    exact: float
    seconds: float

    def cells(self) -> tuple[str, ...]:
        """The row's text, in the order of ``HEADER``."""
        shares = (figures(self.share), figures(self.judged), figures(self.worst))
        times = f"{figures(self.bare)} ×", f"{figures(self.low)}–{figures(self.high)}", f"{figures(self.exact)} ×"
        nodes = f"{self.before:.1f}", f"{self.now:.1f}", str(self.most)
        return self.on, *nodes, f"{self.rank:.4f}", str(self.top), *shares, *times, f"{figures(self.seconds)} s"


def against_one_percent(name: str, model: Any, pairs: Pairs, rounds: int) -> Yardstick:
    """One set of pairs, both ways."""
    before = attribute(model, pairs, tolerance=0.01)
    work: list[Work] = []
    ours, theirs = [], []
    for _ in range(rounds):
        results: list[EdgeScores] = []
        started = now()
        work = work_of(lambda results=results: results.append(attribute(model, pairs)))
        ours.append(now() - started)
        theirs.append(sum(bare_passes(model, one).seconds for one in work))
    after = results[0]
    error = after.head_importance - before.head_importance
    scatter = before.pair_heads.std(axis=0, ddof=1) / np.sqrt(len(pairs))
    ratios = np.divide(ours, theirs)
    exact = sum(error.size * len(one.batch.indices) * forward_seconds(model, one, 8) for one in work)
    return Yardstick(
        on=name,
        before=before.settings["nodes_mean"],
        now=after.settings["nodes_mean"],
        most=after.settings["nodes"],
        rank=float(spearmanr(after.head_importance.ravel(), before.head_importance.ravel())[0]),
        top=len(set(before.top_heads(20)) & set(after.top_heads(20))),
        share=float(np.linalg.norm(error) / np.linalg.norm(scatter)),
        judged=after.settings["adaptive_share"],
        worst=float((np.abs(error) / scatter).max()),
        bare=float(np.median(ratios)),
        low=float(ratios.min()),
        high=float(ratios.max()),
        exact=median(ours) / exact,
        seconds=median(ours),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one row per set of pairs. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m", choices=["smollm2-135m", "lab-m", "lab-s"])
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--sets", nargs="*", default=list(PAIR_SETS), choices=list(PAIR_SETS), help="of SmolLM2's pairs"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    subject = load_model(options.model)
    model = subject.model.requires_grad_(False)
    if options.model.startswith("lab"):
        prompts = lab_prompts(subject.tokenizer, options.pairs)
        sets = {"random endings": drawn_pairs(prompts, LAB_OPENING, np.random.default_rng(0))}
    else:
        sets = {name: PAIR_SETS[name](subject.tokenizer, options.pairs) for name in options.sets}
    rows = []
    for name, pairs in sets.items():
        shape = f"{options.model}, {len(pairs)} pairs, {name}"
        rows.append(against_one_percent(shape, model, pairs, options.rounds).cells())
        print(f"| {' | '.join(rows[-1])} |", file=sys.stderr, flush=True)
    print(markdown_table(Yardstick.HEADER, rows), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
