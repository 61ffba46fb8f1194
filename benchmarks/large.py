"""Sizes of real models: Qwen2.5-1.5B's on a CPU, a thousand differing positions in a budget, Qwen3-8B's on a GPU."""

from dataclasses import replace

import torch
from attribution import NODES, SMALL, TINY, Shape, beside_bare_passes
from measuring import peak
from table import AnyRow, Measurement, Row
from transformers import AutoModelForCausalLM, PreTrainedModel, Qwen3Config

from headscope.circuits import attribute

QWEN = Shape(
    layers=28, heads=12, kv_heads=2, width=1536, vocabulary=151_936, shared=200, pairs=2, prefixes=2, feed_forward=8960
)
LONG = replace(SMALL, shared=16, differing=1000)
EIGHT = Shape(
    layers=36, heads=32, kv_heads=8, width=4096, vocabulary=151_936, shared=200, differing=2000, pairs=1, prefixes=1,
    feed_forward=12_288,
)  # fmt: skip
OPENINGS = replace(EIGHT, differing=16, pairs=16, prefixes=16)
_GIB = 2**30
BUDGET = 384 * 2**20


def qwen(quick: bool) -> list[AnyRow]:
    """Qwen2.5-1.5B's shape, float32: against the bare passes, seconds per pair after loading, peak memory with weights.

    What the bare passes take per pair is the machine's part of the seconds: no engine can be below them.
    """
    shape = TINY if quick else QWEN
    model, pairs = shape.model(), shape.draw()
    weights = sum(parameter.nbytes for parameter in model.parameters())
    found = beside_bare_passes(model, pairs, NODES, 2 if quick else 3)
    held = weights + found.peak
    ours, bare = (seconds / len(pairs) for seconds in (found.ours, found.theirs))
    name = f"{shape}, float32, {NODES} Gauss nodes"
    return [
        Row("qwen", name, "bare passes", found, f"{ours:.1f} s per pair, of which {bare:.1f} s bare"),
        Measurement("qwen", name, "time per pair", ours, 12, "s"),
        Measurement("qwen", name, "bare passes per pair", bare, 12, "s"),
        Measurement("qwen", name, "weights and peak memory", held / _GIB, 12, "GiB"),
    ]


def positions(quick: bool) -> list[Measurement]:
    """Pairs that differ over a thousand positions, within a stated budget."""
    shape = replace(LONG, differing=100) if quick else LONG
    model, pairs = shape.model(), shape.draw()

    def run() -> float:
        return attribute(model, pairs, nodes=2, memory=BUDGET).seconds

    return [
        Measurement("positions", f"{shape}, 2 Gauss nodes", "peak memory", peak(run) / 2**20, BUDGET / 2**20, "MiB")
    ]


def gpu(quick: bool) -> list[AnyRow]:
    """Qwen3-8B's shape in bfloat16 on a GPU, two thousand differing tokens and a study's openings: against the bare
    passes, and peak memory with weights."""
    model = qwen3_on_gpu(TINY if quick else EIGHT)
    weights, rows = torch.cuda.memory_allocated(), []
    for shape in (TINY,) if quick else (EIGHT, OPENINGS):
        pairs, name = shape.draw(), f"Qwen3-8B's {shape}, bfloat16, {torch.cuda.get_device_name()}"
        for nodes in (NODES, "adaptive"):
            about = f"{attribute(model, pairs, nodes=nodes).settings['nodes']} nodes of {nodes}"
            found = beside_bare_passes(model, pairs, nodes, 3)
            rows.append(Row("gpu", name, "bare passes", found, about))
            held = (weights + found.peak) / _GIB
            rows.append(Measurement("gpu", name, f"weights and peak memory, {about}", held, 80, "GiB"))
    return rows


def qwen3_on_gpu(shape: Shape) -> PreTrainedModel:
    """A Qwen3 model with random weights, in bfloat16. Exits with a sentence where there is no GPU."""
    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a CUDA device, and torch sees none here; leave it out")
    config = Qwen3Config(**shape.sizes(), head_dim=min(128, shape.width))
    with torch.device("cuda"):
        return AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).eval().requires_grad_(False)
