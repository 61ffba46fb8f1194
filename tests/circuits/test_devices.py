"""Low precision, models spread over devices, and GPUs where there are any."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import dispatch_model
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM

from headscope.circuits import attribute
from headscope.models import ARCHITECTURES
from headscope.pairs import Pairs

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is there")


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_bfloat16_keeps_the_scores_near_those_of_float32(tiny_model: Any, ragged_pairs: Any, architecture: str) -> None:
    pairs = ragged_pairs(count=4)
    exact, rounded = tiny_model(architecture), tiny_model(architecture).to(torch.bfloat16)
    exact.load_state_dict(rounded.state_dict())  # the same rounded weights, so that only the arithmetic differs
    expected = attribute(exact, pairs, nodes=8)
    scores = attribute(rounded, pairs, nodes=8)
    assert scores.edges.dtype == np.float32
    real = scores.graph.real
    error = np.linalg.norm((scores.edges - expected.edges)[real]) / np.linalg.norm(expected.edges[real])
    rank = spearmanr(scores.edges_abs[real], expected.edges_abs[real]).statistic
    assert error < 0.12
    assert rank > 0.98


@pytest.mark.parametrize("architecture", ["qwen3", "gemma2", "gpt2"])
def test_a_dispatched_model_gives_the_same_scores(tiny_model: Any, ragged_pairs: Any, architecture: str) -> None:
    pairs, expected = ragged_pairs(), attribute(tiny_model(architecture), ragged_pairs(), nodes=4)
    model = tiny_model(architecture)
    places = dict.fromkeys([name for name, module in model.named_modules() if not list(module.children())], "cpu")
    dispatched = dispatch_model(model, places, main_device="cpu", force_hooks=True)
    assert np.array_equal(attribute(dispatched, pairs, nodes=4).edges, expected.edges)


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_operands_of_16_bits_give_the_scores_of_float32(
    tiny_model: Any, ragged_pairs: Any, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = attribute(tiny_model(architecture), ragged_pairs(), nodes=4).edges
    monkeypatch.setattr("headscope.circuits.footprint.contraction_dtype", lambda *_: torch.bfloat16)
    monkeypatch.setattr("headscope.circuits.integration.product", lambda left, right: left.float() @ right.float().T)
    scores = attribute(tiny_model(architecture), ragged_pairs(), nodes=4).edges
    assert 0 < np.linalg.norm(scores - expected) < 0.01 * np.linalg.norm(expected)


@needs_gpu
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_a_gpu_gives_the_scores_of_the_cpu(tiny_model: Any, ragged_pairs: Any, architecture: str) -> None:
    expected = attribute(tiny_model(architecture), ragged_pairs(), nodes=4).edges
    scores = attribute(tiny_model(architecture).to("cuda"), ragged_pairs(), nodes=4).edges
    assert np.abs(scores - expected).max() < 1e-3 * np.abs(expected).max()


@needs_gpu
def test_layers_on_two_devices_give_the_scores_of_one(tiny_model: Any, ragged_pairs: Any) -> None:
    expected = attribute(tiny_model("qwen3"), ragged_pairs(), nodes=4).edges
    model = tiny_model("qwen3")
    places = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.layers.0": "cpu"}
    spread = dispatch_model(
        model, {**places, "model.layers.1": 0, "model.norm": 0, "lm_head": 0}, main_device="cpu", force_hooks=True
    )
    assert np.abs(attribute(spread, ragged_pairs(), nodes=4).edges - expected).max() < 1e-3 * np.abs(expected).max()


@needs_gpu
def test_bfloat16_products_on_a_gpu_are_those_of_float32(tiny_model: Any, ragged_pairs: Any) -> None:
    exact, rounded = tiny_model("qwen3"), tiny_model("qwen3").to("cuda", torch.bfloat16)
    exact.load_state_dict(rounded.state_dict())
    expected, scores = attribute(exact, ragged_pairs(), nodes=8), attribute(rounded, ragged_pairs(), nodes=8)
    real = scores.graph.real
    assert np.linalg.norm((scores.edges - expected.edges)[real]) < 0.12 * np.linalg.norm(expected.edges[real])
    assert spearmanr(scores.edges_abs[real], expected.edges_abs[real]).statistic > 0.98


@needs_gpu
def test_a_gpu_keeps_to_the_budget(tiny_model: Any) -> None:
    model = tiny_model("qwen3", max_position_embeddings=1024).to("cuda")
    draw = np.random.default_rng(0)
    pairs = Pairs.from_tokens(*draw.integers(0, 40, (2, 1, 600)).tolist())
    expected = attribute(model, pairs, nodes=16).edges
    budget = 48 * 2**20
    held = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    scores = attribute(model, pairs, nodes=16, memory=budget).edges
    assert torch.cuda.max_memory_allocated() - held < budget
    assert np.abs(scores - expected).max() < 1e-3 * np.abs(expected).max()


@needs_gpu
def test_fewer_rows_go_through_when_a_gpu_runs_out_of_memory(tiny_model: Any) -> None:
    model = tiny_model("qwen3", max_position_embeddings=1024).to("cuda")
    draw = np.random.default_rng(0)
    pairs = Pairs.from_tokens(*draw.integers(0, 40, (2, 4, 400)).tolist())
    expected = attribute(model, pairs, nodes=32)
    torch.cuda.empty_cache()
    device = torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 160 * 2**20) / device)
    try:
        scores = attribute(model, pairs, nodes=32, memory=2**40)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert any("after_out_of_memory" in key for key in scores.settings)
    assert np.abs(scores.edges - expected.edges).max() < 1e-3 * np.abs(expected.edges).max()


@needs_gpu
def test_a_model_placed_automatically_gives_the_scores_of_the_cpu(
    tiny_model: Any, ragged_pairs: Any, tmp_path: Path
) -> None:
    tiny_model("qwen3").save_pretrained(tmp_path)
    placed = AutoModelForCausalLM.from_pretrained(tmp_path, device_map="auto")
    assert placed.device.type == "cuda"
    expected = attribute(tiny_model("qwen3"), ragged_pairs(), nodes=4).edges
    assert np.abs(attribute(placed, ragged_pairs(), nodes=4).edges - expected).max() < 1e-3 * np.abs(expected).max()
