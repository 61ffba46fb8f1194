"""Muon with AdamW: two optimisers in one, whose state is saved and loaded as that of any other."""

import copy
from typing import Any

import pytest
import torch

from headscope.models.muon import MuonWithAdamW


def steps(model: Any, optimizer: torch.optim.Optimizer, count: int) -> list[float]:
    """Losses of so many steps on the same tokens."""
    ids = torch.arange(12).view(2, 6)
    losses = []
    for _ in range(count):
        loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    return losses


def test_matrices_are_muons_and_the_rest_is_adamws(tiny_model: Any) -> None:
    model, separate = tiny_model("qwen3").requires_grad_(True), tiny_model("qwen3").requires_grad_(True)
    named = dict(separate.named_parameters())
    inside = [
        name for name, value in named.items() if value.ndim == 2 and "embed" not in name and "lm_head" not in name
    ]
    assert any("o_proj" in name for name in inside)
    muon = torch.optim.Muon([named[name] for name in inside], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    others = [value for name, value in named.items() if name not in inside]
    adamw = torch.optim.AdamW(others, lr=0.01, betas=(0.9, 0.98), weight_decay=0.0)

    class Both:
        def step(self) -> None:
            muon.step()
            adamw.step()

        def zero_grad(self) -> None:
            separate.zero_grad()

    ours = steps(model, MuonWithAdamW(model, lr=0.01, weight_decay=0.1), 3)
    theirs = steps(separate, Both(), 3)  # type: ignore[arg-type]
    assert ours == theirs
    for mine, other in zip(model.parameters(), separate.parameters(), strict=True):
        assert torch.equal(mine, other)


@pytest.mark.parametrize("architecture", ["gpt2", "llama", "gemma2"])
def test_embeddings_and_logits_are_never_muons(tiny_model: Any, architecture: str) -> None:
    model = tiny_model(architecture).requires_grad_(True)
    optimizer = MuonWithAdamW(model, lr=0.01)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    of_muon, of_adamw = ({names[id(each)] for each in group["params"]} for group in optimizer.param_groups)
    assert {name.split(".")[-2] for name in of_muon} & {"wte", "wpe", "embed_tokens", "lm_head"} == set()
    assert all(".layers." in name or ".h." in name for name in of_muon)
    assert len(of_muon) + len(of_adamw) == len(names)


def test_an_adapter_has_matrices_alone(tiny_model: Any) -> None:
    from peft import LoraConfig, get_peft_model

    adapted = get_peft_model(tiny_model("qwen3"), LoraConfig(target_modules=["q_proj"]))
    optimizer = MuonWithAdamW(adapted, lr=0.01)
    assert len(optimizer.param_groups) == 1
    first, *later = steps(adapted, optimizer, 3)
    assert later != [first] * 2


def test_a_loaded_state_goes_on_as_the_saved_one(tiny_model: Any) -> None:
    model = tiny_model("qwen3").requires_grad_(True)
    optimizer = MuonWithAdamW(model, lr=0.01)
    steps(model, optimizer, 2)
    other = copy.deepcopy(model)
    loaded = MuonWithAdamW(other, lr=0.5)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert [group["lr"] for group in loaded.param_groups] == [0.01, 0.01]
    assert steps(model, optimizer, 2) == steps(other, loaded, 2)
    fresh = MuonWithAdamW(copy.deepcopy(model), lr=0.01)
    assert not fresh.state_dict()["state"]


def test_a_schedule_sets_both_rates_and_frozen_weights_stay(tiny_model: Any) -> None:
    model = tiny_model("qwen3").requires_grad_(True)
    frozen = model.model.layers[0].self_attn.q_proj.weight.requires_grad_(False)
    before = frozen.clone()
    optimizer = MuonWithAdamW(model, lr=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    steps(model, optimizer, 1)
    schedule.step()
    moved = copy.deepcopy(model.state_dict())
    steps(model, optimizer, 1)
    assert all(torch.equal(value, moved[name]) for name, value in model.state_dict().items())
    assert torch.equal(frozen, before)
