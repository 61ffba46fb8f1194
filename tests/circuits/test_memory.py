"""The memory budget is obeyed, changes no score, and running out of memory costs nothing but time."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.precision import EXACT, HALF_THE_BITS, relative

from headscope.circuits import attribute, cross_patch, exact_edges, exact_heads, faithfulness, faithfulness_curve
from headscope.circuits.budget import Budget
from headscope.circuits.footprint import attribution_bound, attribution_footprint
from headscope.circuits.gradient_means import GradientMeans
from headscope.circuits.integration import Integrand
from headscope.circuits.options import AttributionOptions
from headscope.errors import InputError, is_out_of_memory
from headscope.models import ARCHITECTURES, Hook, attach_hooks, head_access, memory
from headscope.models.memory import bytes_allowed, free_memory, pass_budget
from headscope.module_process import MEMORY_SHARE
from headscope.pairs import Pairs
from headscope.results.circuit import Circuit

MIB = 2**20
# Each method runs in a fork of its own, so that the peak is that method's; warmed up at a small size, tighter budget
# first. One process imports torch for all of them.
PEAK = """
import ctypes, gc, json, os, sys
from pathlib import Path
from tests.circuits.test_memory import RUNS, long_pairs
from tests.tiny_models import tiny_model

def resident(name):
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024

def measure(name, tokens, budgets):
    model = tiny_model("qwen3", max_position_embeddings=2048)
    RUNS[name](model, long_pairs(8))
    for memory in budgets:
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = resident("VmRSS")
        scores, _ = RUNS[name](model, long_pairs(tokens), memory=memory)
        print(json.dumps({"peak": resident("VmHWM") - before, "scores": scores.tolist()}), flush=True)

for job in json.loads(sys.argv[1]):
    child = os.fork()
    if child == 0:
        measure(*job)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, job
"""
# Tokens that differ in each of the two pairs, and two budgets in MiB.
LONG = {
    "attribute": (1000, (48, 256)),
    "exact heads": (1000, (48, 256)),
    "faithfulness curve": (1000, (64, 256)),
    "cross-patching": (1000, (48, 256)),
    "exact edges": (200, (24, 256)),
}
QUICK = ("attribute", "faithfulness curve")


def _half(model: Any) -> Circuit:
    graph = head_access(model).graph
    return Circuit(graph, graph.real & (np.random.default_rng(0).random(graph.real.shape) < 0.5))


def _run_attribution(model: Any, pairs: Pairs, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
    result = attribute(model, pairs, nodes=3, **options)
    return result.edges, result.settings


def _run_exact_edges(model: Any, pairs: Pairs, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
    result = attribute(model, pairs, metric="nll", method="exact", **options)
    return result.edges, result.settings


def _run_exact_heads(model: Any, pairs: Pairs, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
    result = exact_heads(model, pairs, "nll", **options)
    return result.pair_heads, result.settings


def _run_faithfulness(model: Any, pairs: Pairs, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
    result = faithfulness(model, pairs, _half(model), "nll", **options)
    return np.stack([result.full, result.empty, result.circuit]), result.settings


def _run_curve(model: Any, pairs: Pairs, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
    result = faithfulness_curve(model, pairs, attribute(model, pairs[[0]], nodes=1), "nll", patch="mean", **options)
    return result.circuits, result.settings


def _run_cross_patching(model: Any, pairs: Pairs, **options: Any) -> tuple[np.ndarray, dict[str, Any]]:
    rescaled = copy.deepcopy(model)
    with torch.no_grad():
        head_access(rescaled).layers[0].output.weight.mul_(1.5)
    result = cross_patch(model, rescaled, pairs, **options)
    return result.closed, result.settings


# Everything that takes a budget: its numbers and its settings.
RUNS: dict[str, Any] = {
    "attribute": _run_attribution,
    "exact edges": _run_exact_edges,
    "exact heads": _run_exact_heads,
    "faithfulness": _run_faithfulness,
    "faithfulness curve": _run_curve,
    "cross-patching": _run_cross_patching,
}


def long_pairs(differing: int) -> Pairs:
    """Two pairs that differ from their first token on."""
    draw = np.random.default_rng(0)
    clean = draw.integers(0, 40, (2, differing))
    return Pairs.from_tokens(clean, (clean + draw.integers(1, 40, clean.shape)) % 40)


def close(scores: np.ndarray, expected: np.ndarray) -> bool:
    return relative(scores, expected) < EXACT


@pytest.fixture(scope="module")
def measured(request: pytest.FixtureRequest) -> dict[str, tuple[dict[str, Any], ...]]:
    """Peak and scores of every method of ``LONG`` that is tested, in the order of its budgets."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the system does not tell a process's peak memory")
    tested = LONG if request.config.getoption("--slow") else {name: LONG[name] for name in QUICK}
    jobs = [[method, tokens, [budget * MIB for budget in budgets]] for method, (tokens, budgets) in tested.items()]
    process = subprocess.run(
        [sys.executable, "-c", PEAK, json.dumps(jobs)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    lines = [json.loads(line) for line in process.stdout.splitlines()]
    return dict(zip(tested, zip(lines[::2], lines[1::2], strict=True), strict=True))


@pytest.mark.xdist_group("peak-memory")  # one worker makes what its tests share
@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in LONG]
)
def test_the_budget_is_obeyed_where_pairs_differ_over_a_thousand_positions(
    measured: dict[str, tuple[dict[str, Any], ...]], method: str
) -> None:
    _, budgets = LONG[method]
    tight, wide = measured[method]
    assert MIB < tight["peak"] < budgets[0] * MIB
    assert wide["peak"] < budgets[1] * MIB
    assert relative(np.array(tight["scores"]), np.array(wide["scores"])) < HALF_THE_BITS


@pytest.mark.parametrize("method", RUNS)
def test_a_pair_that_cannot_fit_is_refused_with_the_bytes_it_needs(tiny_model: Any, method: str) -> None:
    with pytest.raises(InputError, match=r"pair of 1000 tokens, 1000 .* needs [\d,]+ bytes .* allows 1,048,576"):
        RUNS[method](tiny_model("qwen3", max_position_embeddings=2048), long_pairs(1000), memory=MIB)
    with pytest.raises(InputError, match=r"found memory=0; give a number of bytes"):
        RUNS[method](tiny_model("qwen3"), long_pairs(8), memory=0)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("nodes", [6, "adaptive"])
def test_a_tight_budget_changes_no_score(tiny_model: Any, ragged_pairs: Any, nodes: Any) -> None:
    model, pairs = tiny_model("gpt2"), ragged_pairs(count=3)
    wide, tight = (attribute(model, pairs, nodes=nodes, memory=memory * 1024) for memory in (10**6, 900))
    assert close(tight.edges, wide.edges)
    assert close(tight.pair_heads, wide.pair_heads)


class Shortage:
    """A device on which no pass of more than ``most`` rows fits; of those with a gradient, or of all."""

    def __init__(
        self, model: Any, most: int, error: type[RuntimeError], words: str, *, differentiated: bool = True
    ) -> None:
        self.layers = model.base_model.h if hasattr(model.base_model, "h") else model.base_model.layers
        self.most, self.error, self.words, self.differentiated = most, error, words, differentiated
        self.rows: list[int] = []

    def refuse(self, states: torch.Tensor) -> None:
        if states.requires_grad or not self.differentiated:
            self.rows.append(len(states))
            if len(states) > self.most:
                raise self.error(self.words)

    def __enter__(self) -> "Shortage":
        self._hooks = attach_hooks([Hook(self.layers[1].mlp, "input", self.refuse)])
        self._hooks.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)


SHORT = [(torch.OutOfMemoryError, "CUDA out of memory"), (RuntimeError, "DefaultCPUAllocator: can't allocate memory")]


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


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("error", "words"), SHORT)
@pytest.mark.parametrize("nodes", [6, "adaptive"])
def test_running_out_of_memory_halves_the_rows_and_goes_on(
    tiny_model: Any, ragged_pairs: Any, error: type[RuntimeError], words: str, nodes: Any
) -> None:
    model, pairs, notes = tiny_model("gpt2"), ragged_pairs(count=3), Notes()
    expected = attribute(model, pairs, nodes=nodes, batch=2)
    with Shortage(model, 3, error, words) as shortage:
        result = attribute(model, pairs, nodes=nodes, batch=2, progress=notes)
    assert close(result.edges, expected.edges)
    assert close(result.pair_heads, expected.pair_heads)
    assert result.settings["rows_after_out_of_memory"] <= 3
    assert (notes.steps, notes.notes) == (3, ["out of memory: fewer runs at a time"])
    # After the first batch has found out, no other one tries more.
    assert sum(rows > 3 for rows in shortage.rows) <= 4


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("error", "words"), SHORT)
@pytest.mark.parametrize("method", RUNS)
@pytest.mark.parametrize("most", [3, pytest.param(2, marks=pytest.mark.slow)])
def test_running_out_of_memory_changes_no_score_of_any_method(
    tiny_model: Any, ragged_pairs: Any, method: str, most: int, error: type[RuntimeError], words: str
) -> None:
    model, pairs = tiny_model("gpt2"), ragged_pairs(count=4)
    expected, _ = RUNS[method](model, pairs)
    with Shortage(model, most, error, words, differentiated=False) as shortage:
        scores, settings = RUNS[method](model, pairs)
    assert close(scores, expected)
    shrunk = {name: value for name, value in settings.items() if name.endswith("_after_out_of_memory")}
    assert shrunk
    assert max(shrunk.values()) <= most
    # Halving finds out soon, and what was found out holds for the rest.
    assert sum(rows > most for rows in shortage.rows) <= 8


@pytest.mark.parametrize("method", RUNS)
def test_what_fits_in_no_way_is_refused_by_every_method(tiny_model: Any, ragged_pairs: Any, method: str) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=2)
    with (
        Shortage(model, 1, torch.OutOfMemoryError, "CUDA out of memory", differentiated=False),
        pytest.raises(InputError, match=r"pair \d of \d+ tokens does not fit .* one run at a time; use shorter"),
    ):
        RUNS[method](model, pairs)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_the_bar_takes_back_what_a_failed_batch_had_counted(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs, notes = tiny_model("gpt2"), ragged_pairs(count=4), Notes()
    with Shortage(model, 2, torch.OutOfMemoryError, "CUDA out of memory", differentiated=False):
        result = exact_edges(model, pairs, options=AttributionOptions(progress=notes))
    assert notes.steps == len(pairs) * result.graph.real.sum()
    assert {"out of memory: fewer pairs at a time", "out of memory: fewer runs at a time"} == set(notes.notes)


@pytest.mark.usefixtures("float64")
def test_a_batch_that_does_not_fit_is_halved(tiny_model: Any, ragged_pairs: Any, monkeypatch: Any) -> None:
    model, pairs, notes = tiny_model("qwen3"), ragged_pairs(), Notes()
    expected = attribute(model, pairs, nodes=3)
    whole = torch.nn.Embedding.forward

    def refuse(self: torch.nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
        if len(ids) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return whole(self, ids)

    monkeypatch.setattr(torch.nn.Embedding, "forward", refuse)
    result = attribute(model, pairs, nodes=3, progress=notes)
    assert close(result.edges, expected.edges)
    assert notes.steps == len(pairs)
    assert set(notes.notes) == {"out of memory: fewer pairs at a time"}


def test_what_fits_in_no_way_is_refused_and_other_errors_are_kept(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=2)
    lengths = "|".join(str(len(pair.clean)) for pair in pairs)
    with (
        Shortage(model, 0, torch.OutOfMemoryError, "CUDA out of memory") as shortage,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr("headscope.circuits.footprint._measure_probe", lambda *_model: 1000)
        with pytest.raises(InputError, match=rf"pair \d of ({lengths}) tokens does not fit .* shorter texts"):
            attribute(model, pairs, nodes=3)
        assert shortage.rows[-1] == 1
    with Shortage(model, 0, RuntimeError, "shapes differ"), pytest.raises(RuntimeError, match="shapes differ"):
        attribute(model, pairs, nodes=3)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_which_errors_mean_that_memory_ran_out() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_the_default_budget_is_a_part_of_what_is_free() -> None:
    cpu = torch.device("cpu")
    assert 2**20 < free_memory(cpu) < 2**45
    assert 2**20 < bytes_allowed(None, cpu) < 0.6 * free_memory(cpu)


def test_what_ran_out_of_memory_is_allowed_less(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(memory, "free_memory", lambda device: 2**30)
    assert (bytes_allowed(None, cpu), pass_budget(cpu, 100, 0.1)) == (2**29, 100)
    monkeypatch.setenv(MEMORY_SHARE, "0.5")
    assert (bytes_allowed(None, cpu), pass_budget(cpu, 100, 0.1)) == (2**28, 50)
    assert bytes_allowed(7, cpu) == 7


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_the_bound_is_above_what_is_measured(tiny_model: Any, architecture: str) -> None:
    model = tiny_model(architecture)
    access = head_access(model)
    assert attribution_footprint(model, access).token <= attribution_bound(model, access).token


@pytest.mark.parametrize("architecture", ["gemma2", "qwen3"])
def test_measuring_again_gives_the_same_bytes(tiny_model: Any, architecture: str) -> None:
    """Freed storages whose addresses came back made the sizes of passes, and so the last bits of scores, vary."""
    model = tiny_model(architecture)
    access = head_access(model)
    assert len({attribution_footprint(model, access).token for _ in range(20)}) == 1


@pytest.mark.usefixtures("float64")
def test_a_model_is_measured_only_where_memory_may_be_short(
    tiny_model: Any, ragged_pairs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs, measured = tiny_model("qwen3"), ragged_pairs(count=3), []
    monkeypatch.setattr("headscope.circuits.footprint._measure_probe", lambda *_model: measured.append(1) or 10_000)
    roomy = attribute(model, pairs, nodes=3, memory=2**32)
    assert not measured
    tight = attribute(model, pairs, nodes=3, memory=MIB // 2)
    assert measured == [1]
    assert close(tight.edges, roomy.edges)


def test_pairs_that_fit_alone_are_not_refused_together(tiny_model: Any) -> None:
    draw = np.random.default_rng(0)
    clean, corrupt = [], []
    for shared, differing in ((1000, 4), (4, 120)):
        prefix, ending = draw.integers(0, 40, shared), draw.integers(0, 40, differing)
        clean.append(np.concatenate([prefix, ending]))
        corrupt.append(np.concatenate([prefix, (ending + 1) % 40]))
    model = tiny_model("qwen3", max_position_embeddings=2048)
    scores = attribute(model, Pairs.from_tokens(clean, corrupt), nodes=2, memory=8 * MIB)
    assert scores.settings["n_pairs"] == 2


def test_the_callers_inference_mode_does_not_reach_inside(tiny_model: Any, ragged_pairs: Any) -> None:
    model, pairs = tiny_model("qwen3"), ragged_pairs(count=2)
    expected = attribute(model, pairs, nodes=2).edges
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(attribute(model, pairs, nodes=2).edges, expected)


@pytest.mark.usefixtures("float64")
def test_nodes_of_many_passes_are_contract_together(
    tiny_model: Any, ragged_pairs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, pairs = tiny_model("olmo2"), ragged_pairs(count=1)  # two norms in the way
    expected = attribute(model, pairs, nodes=6).edges
    passes, contractions = [], []
    run_pass, contract = Integrand._pass, Integrand.contract

    def counting_pass(integrand: Integrand, rows: list[int], alphas: np.ndarray) -> Any:
        passes.append(len(rows))
        return run_pass(integrand, rows, alphas)

    def counting_contraction(integrand: Integrand, means: GradientMeans, pairs: list[int]) -> Any:
        contractions.append(means.nodes)
        return contract(integrand, means, pairs)

    monkeypatch.setattr(Integrand, "_pass", counting_pass)
    monkeypatch.setattr(Integrand, "contract", counting_contraction)
    monkeypatch.setattr(Budget, "rows", lambda *_: 1)
    edges = attribute(model, pairs, nodes=6).edges
    assert (passes, contractions) == ([1] * 6, [6])
    assert np.abs(edges - expected).max() <= EXACT * np.abs(expected).max()
    monkeypatch.setattr(Budget, "nodes", lambda *_: 4)
    edges = attribute(model, pairs, nodes=6).edges
    assert contractions == [6, 4, 2]
    assert np.abs(edges - expected).max() <= EXACT * np.abs(expected).max()
