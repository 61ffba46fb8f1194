"""How far quadratures are from the converged scores, by the nodes they take: the trained lab model and random ones."""

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from attribution import LAB_OPENING, SMALL, TINY, drawn_pairs, lab_prompts
from table import Accuracy

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
    tiny = runpy.run_path(str(_TINY_MODELS))
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
    found = attribute(model, pairs, keep_pairs=True)
    about = found.settings
    judged = f"up to {about['nodes']} nodes; judged {100 * about['adaptive_error']:.2g} %"
    note = judged if about["adaptive_converged"] else f"{judged}, says it did not converge"
    yield _accuracy(name, "adaptive", about["nodes_mean"], found, converged, gauss, note)


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
