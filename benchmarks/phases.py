"""Where an attribution's time goes, every step timed by itself: ``benchmarks/phases.py [small | qwen3-8b]``.

``small`` is GPT-2 small's size with grouped heads, float32, on the CPU; ``qwen3-8b`` that model's, bfloat16, on a GPU.
A GPU is waited for at both ends of every step, which costs a few per cent of the whole.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
from attribution import FULL, NODES, TINY
from large import EIGHT, qwen3_on_gpu
from measuring import now
from table import figures, markdown_table

from headscope.circuits import attribute

# What each step's function is, where it is called from.
STEPS = {
    "footprint of a token": "headscope.circuits.budget.attribution_footprint",
    "prefix": "headscope.circuits.gradient_attribution.cache_prefix",
    "clean and corrupt": "headscope.circuits.gradient_attribution.record_writes",
    "forward and backward over nodes": "headscope.circuits.integration.read_gradients",
    "means over nodes": "headscope.circuits.integration.average_gradients",
    "differences of sources": "headscope.circuits.integration.source_deltas",
    "gradients of heads": "headscope.circuits.gradient_means._expand_heads",
    "products": "headscope.circuits.integration._add_products",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one table per choice of nodes. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shape", nargs="?", default="small", choices=["tiny", "small", "qwen3-8b"])
    shape = parser.parse_args(arguments).shape
    if shape == "qwen3-8b":
        model, pairs, on = qwen3_on_gpu(EIGHT), EIGHT.draw(), f"Qwen3-8B's {EIGHT}, {torch.cuda.get_device_name()}"
    else:
        chosen = TINY if shape == "tiny" else FULL
        model, pairs, on = chosen.model(), chosen.draw(), str(chosen)
    attribute(model, pairs, nodes=NODES)
    for nodes in (NODES, "adaptive"):
        if torch.cuda.is_initialized():
            torch.cuda.reset_peak_memory_stats()
        whole, spent = timed(lambda nodes=nodes: attribute(model, pairs, nodes=nodes))
        rows = [[step, str(calls), f"{figures(seconds)} s"] for step, (calls, seconds) in spent.items()]
        memory = f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most" if torch.cuda.is_initialized() else ""
        print(f"{on}; nodes {nodes}: {figures(whole)} s{memory}")
        print(markdown_table(["step", "calls", "time"], rows))
    return 0


def timed(work: Callable[[], object]) -> tuple[float, dict[str, tuple[int, float]]]:
    """Seconds of the whole, and calls and seconds of each step."""
    spent: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as patches:
        for step, where in STEPS.items():
            patches.enter_context(patch(where, _noting(where, spent[step])))
        started = now()
        work()
        return now() - started, {step: (len(each), sum(each)) for step, each in spent.items()}


def _noting(where: str, seconds: list[float]) -> Callable[..., Any]:
    module, name = where.rsplit(".", 1)
    own = getattr(sys.modules[module], name)

    def run(*arguments: Any, **options: Any) -> Any:
        started = now()
        result = own(*arguments, **options)
        seconds.append(now() - started)
        return result

    return run


if __name__ == "__main__":
    sys.exit(main())
