"""A full comparison on synthetic results: seconds and peak memory of one process.

    .venv/bin/python benchmarks/comparison.py lab     3 variants x 10 checkpoints x 64 pairs, 6 layers x 8 heads
    .venv/bin/python benchmarks/comparison.py qwen    25 checkpoints x 64 pairs, 28 layers x 12 heads (Qwen2.5-1.5B)

Scores are written to a temporary folder first and read back one checkpoint at a time, as a study does; only the
comparison is timed and only its memory counted.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headscope.comparison import Resampling
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph
from headscope.studies.circuits.compare import ScoreFolders, compare
from headscope.studies.study_file.discover import DiscoverConfig

# name: graph, variants, checkpoints, share of the edges in a circuit.
SIZES = {
    "lab": (Graph(6, 8), 3, 10, 0.05),
    "qwen": (Graph(28, 12), 1, 25, 0.01),
    "quick": (Graph(2, 3), 1, 2, 0.1),
}
PAIRS = 64


def synthetic(graph: Graph, checkpoint: int, sample: int) -> EdgeScores:
    """Log-normal edge sizes that drift with the checkpoint, with log-normal noise between pairs."""
    sizes = np.random.default_rng(0).normal(size=graph.real.shape).astype(np.float32)
    drift = np.random.default_rng(1).normal(size=graph.real.shape).astype(np.float32)
    scale = np.exp(sizes + 0.1 * checkpoint * drift) * graph.real
    noise = np.random.default_rng([2, sample]).normal(size=(PAIRS, *graph.real.shape)).astype(np.float32)
    pair_edges = np.exp(noise, out=noise)
    pair_edges *= scale
    mean = pair_edges.mean(axis=0)
    heads = graph.head_grid(pair_edges.sum(axis=2))
    return EdgeScores(graph, mean, mean, heads, pair_edges, 0.0, 0.0, {"pairs": str(min(sample, 1))})


def write(folder: Path, graph: Graph, checkpoints: int) -> None:
    """``base``, ``fresh`` and the checkpoints of one variant. All but ``fresh`` are on the same pairs."""
    synthetic(graph, 0, 0).save(folder / "base")
    synthetic(graph, 0, 1).save(folder / "fresh")
    for checkpoint in range(1, checkpoints + 1):
        synthetic(graph, checkpoint, 0).save(folder / str(checkpoint))


def run_comparison(folder: Path, checkpoints: int, fraction: float) -> int:
    """A study's comparison of one variant, file and all; the number of new heads at the end."""
    steps = {checkpoint: folder / str(checkpoint) for checkpoint in range(1, checkpoints + 1)}
    sizes = DiscoverConfig().sizes
    rewards = [(step, np.sin(step)) for step in steps]
    record = compare(
        "variant", ScoreFolders(folder / "base", folder / "fresh", steps), Resampling(fraction), sizes, rewards
    )
    record.save(folder)
    return int(record.final.counts.new.value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the scores in a process of its own, compare, print one line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--write", type=Path, help="only write the scores of one variant into this folder")
    options = parser.parse_args(arguments)
    graph, variants, checkpoints, fraction = SIZES[options.size]
    if options.write is not None:
        write(options.write, graph, checkpoints)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, __file__, options.size, "--write", folder], check=True)
        started, worked = time.perf_counter(), time.process_time()
        new = [run_comparison(Path(folder), checkpoints, fraction) for _ in range(variants)]
        seconds, busy = time.perf_counter() - started, time.process_time() - worked
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    edges = int(graph.real.sum())
    print(
        f"{options.size}: {variants} x {checkpoints} checkpoints x {PAIRS} pairs, {graph.layers * graph.heads} heads, "
        f"{edges} edges: {seconds:.1f} s ({busy:.1f} s of CPU), peak memory of the process {memory:.2f} GiB, "
        f"new heads {new}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
