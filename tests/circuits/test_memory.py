"""The memory budget is obeyed, changes no score, and running out of memory costs nothing but time."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headscope.circuits import attribute
from headscope.circuits.memory import bound, footprint, free_memory, out_of_memory
from headscope.errors import InputError
from headscope.models import ARCHITECTURES, Hook, attached, head_access
from headscope.pairs import Pairs

MIB = 2**20
# Runs in a process of its own, so that the peak is attribution's; warmed up at a small size, tighter budget first.
PEAK = """
import ctypes, gc, json, sys
from pathlib import Path
from headscope.circuits import attribute
from tests.circuits.test_memory import long_pairs
from tests.tiny_models import tiny_model

def resident(name):
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

model = tiny_model("qwen3", max_position_embeddings=2048)
attribute(model, long_pairs(8), nodes=2)
for memory in sys.argv[1:]:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident("VmRSS")
    scores = attribute(model, long_pairs(1000), nodes=3, memory=int(memory))
    print(json.dumps({"peak": resident("VmHWM") - before, "edges": scores.edges.tolist()}))
"""


def long_pairs(differing: int) -> Pairs:
    """Two pairs that differ from their first token on."""
    draw = np.random.default_rng(0)
    clean = draw.integers(0, 40, (2, differing))
    return Pairs.from_tokens(clean, (clean + draw.integers(1, 40, clean.shape)) % 40)


def close(found: np.ndarray, expected: np.ndarray) -> bool:
    return float(np.abs(found - expected).max()) < 1e-5 * float(np.abs(expected).max())


def test_the_budget_is_obeyed_where_pairs_differ_over_a_thousand_positions() -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the system does not tell a process's peak memory")
    budgets = 48 * MIB, 256 * MIB
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, budgets)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    tight, wide = (json.loads(line) for line in done.stdout.splitlines())
    assert 4 * MIB < tight["peak"] < budgets[0]
    assert wide["peak"] < budgets[1]
    assert close(np.array(tight["edges"]), np.array(wide["edges"]))


def test_a_pair_that_cannot_fit_is_refused_with_the_bytes_it_needs(tiny_model: Any) -> None:
    with pytest.raises(InputError, match=r"pair of 1000 tokens, 1000 .* needs [\d,]+ bytes .* allows 1,048,576"):
        attribute(tiny_model("qwen3", max_position_embeddings=2048), long_pairs(1000), memory=MIB)


@pytest.mark.parametrize("nodes", [6, "adaptive"])
def test_a_tight_budget_changes_no_score(tiny_model: Any, ragged_pairs: Any, nodes: Any) -> None:
    model, pairs = tiny_model("gpt2"), ragged_pairs(count=3)
    wide, tight = (attribute(model, pairs, nodes=nodes, memory=memory * 1024) for memory in (10**6, 900))
    assert close(tight.edges, wide.edges)
    assert close(tight.pair_heads, wide.pair_heads)


class Shortage:
    """A device on which no pass of more than ``most`` rows with a gradient fits."""

    def __init__(self, model: Any, most: int, error: type[RuntimeError], words: str) -> None:
        self.layers = model.base_model.h if hasattr(model.base_model, "h") else model.base_model.layers
        self.most, self.error, self.words = most, error, words
        self.rows: list[int] = []

    def refuse(self, states: torch.Tensor) -> None:
        if torch.is_grad_enabled() and states.requires_grad:
            self.rows.append(len(states))
            if len(states) > self.most:
                raise self.error(self.words)

    def __enter__(self) -> "Shortage":
        self._hooks = attached([Hook(self.layers[1].mlp, "input", self.refuse)])
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)


class Notes:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.steps, self.notes = 0, []

    def bar(self, _label: str, _total: int) -> "Notes":
        return self

    def __enter__(self) -> "Notes":
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.steps += steps
        self.notes += [note] if note else []


@pytest.mark.parametrize(
    ("error", "words"),
    [(torch.OutOfMemoryError, "CUDA out of memory"), (RuntimeError, "DefaultCPUAllocator: can't allocate memory")],
)
@pytest.mark.parametrize("nodes", [6, "adaptive"])
def test_running_out_of_memory_halves_the_rows_and_goes_on(
    tiny_model: Any, ragged_pairs: Any, error: type[RuntimeError], words: str, nodes: Any
) -> None:
    model, pairs, notes = tiny_model("gpt2"), ragged_pairs(count=3), Notes()
    expected = attribute(model, pairs, nodes=nodes, batch=2)
    with Shortage(model, 3, error, words) as shortage:
        found = attribute(model, pairs, nodes=nodes, batch=2, progress=notes)
    assert close(found.edges, expected.edges)
    assert close(found.pair_heads, expected.pair_heads)
    assert found.settings["rows_after_out_of_memory"] <= 3
    assert (notes.steps, notes.notes) == (3, ["out of memory: fewer nodes at a time"])
    # After the first batch has found out, no other one tries more.
    assert sum(rows > 3 for rows in shortage.rows) <= 4


def test_a_batch_that_does_not_fit_is_halved(tiny_model: Any, ragged_pairs: Any, monkeypatch: Any) -> None:
    model, pairs, notes = tiny_model("qwen3"), ragged_pairs(), Notes()
    expected = attribute(model, pairs, nodes=3)
    whole = torch.nn.Embedding.forward

    def refuse(self: torch.nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
        if len(ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, ids)

    monkeypatch.setattr(torch.nn.Embedding, "forward", refuse)
    found = attribute(model, pairs, nodes=3, progress=notes)
    assert close(found.edges, expected.edges)
    assert notes.steps == len(pairs)
    assert set(notes.notes) == {"out of memory: fewer pairs at a time"}


def test_what_fits_in_no_way_is_refused_and_other_errors_are_kept(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=2)
    lengths = "|".join(str(len(pair.clean)) for pair in pairs)
    with (
        Shortage(model, 0, torch.OutOfMemoryError, "CUDA out of memory") as shortage,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("headscope.circuits.memory._kept", lambda *_model: 1000)
        with pytest.raises(InputError, match=rf"pair \d of ({lengths}) tokens does not fit .* shorter texts"):
            attribute(model, pairs, nodes=3)
        assert shortage.rows[-1] == 1
    with Shortage(model, 0, RuntimeError, "shapes differ"), pytest.raises(RuntimeError, match="shapes differ"):
        attribute(model, pairs, nodes=3)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_which_errors_mean_that_memory_ran_out() -> None:
    assert out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert out_of_memory(RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"))
    assert not out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_the_default_budget_is_a_part_of_what_is_free() -> None:
    assert 2**20 < free_memory(torch.device("cpu")) < 2**45


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_bound_is_above_what_is_measured(tiny_model: Any, architecture: str) -> None:
    model = tiny_model(architecture)
    access = head_access(model)
    assert footprint(model, access).token <= bound(model, access).token


def test_a_model_is_measured_only_where_memory_may_be_short(
    tiny_model: Any, ragged_pairs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs, measured = tiny_model("qwen3"), ragged_pairs(count=3), []
    monkeypatch.setattr("headscope.circuits.memory._kept", lambda *_model: measured.append(1) or 10_000)
    roomy = attribute(model, pairs, nodes=3, memory=2**32)
    assert not measured
    tight = attribute(model, pairs, nodes=3, memory=MIB // 2)
    assert measured == [1]
    assert close(tight.edges, roomy.edges)


def test_pairs_that_fit_alone_are_not_refused_together(tiny_model: Any) -> None:
    draw = np.random.default_rng(0)
    clean, corrupt = [], []
    for shared, differing in ((1000, 4), (4, 120)):
        begun, one = draw.integers(0, 40, shared), draw.integers(0, 40, differing)
        clean.append(np.concatenate([begun, one]))
        corrupt.append(np.concatenate([begun, (one + 1) % 40]))
    model = tiny_model("qwen3", max_position_embeddings=2048)
    scores = attribute(model, Pairs.from_tokens(clean, corrupt), nodes=2, memory=8 * MIB)
    assert scores.settings["n_pairs"] == 2


def test_the_callers_inference_mode_does_not_reach_inside(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=2)
    expected = attribute(model, pairs, nodes=2).edges
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(attribute(model, pairs, nodes=2).edges, expected)
