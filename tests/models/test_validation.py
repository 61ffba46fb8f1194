"""Adapters that lie are found out, unknown architectures are tried, and what cannot be read is refused."""

import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, CohereConfig, DiffLlamaConfig, GemmaConfig, GraniteConfig

from headscope.circuits import attribute
from headscope.errors import InputError
from headscope.models import ARCHITECTURES, HeadAccess, Hook, as_model, attach_hooks, head_access, ungroup_kv, validate

_SIZES = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 8, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None,
}  # fmt: skip


def _first(access: HeadAccess, **changes: Any) -> HeadAccess:
    first, *rest = access.layers
    return replace(access, layers=(replace(first, **changes), *rest))


def _interleaved(access: HeadAccess) -> HeadAccess:
    (fused,) = access.layers[0].projections
    return _first(access, projections=(replace(fused, interleaved=not fused.interleaved),))


def _wrong_norm(access: HeadAccess) -> HeadAccess:
    norm = access.layers[0].mlp_norm
    assert norm is not None
    return _first(access, mlp_norm=replace(norm, weight=norm.weight + 0.1))


# Architecture, how its access lies, and the sentence that finds it out.
LIES: dict[str, tuple[str, Callable[[HeadAccess], HeadAccess], str]] = {
    "o_proj": (
        "llama",
        lambda a: _first(a, output=a.layers[1].mlp.down_proj),
        "hands 48 numbers to o_proj; 4 x 8 expected",
    ),
    "heads": ("llama", lambda a: replace(a, heads=8), "hands 32 numbers to o_proj; 8 x 8 expected"),
    "norm": ("llama", _wrong_norm, "LlamaRMSNorm is neither a LayerNorm nor an RMSNorm"),
    "post-norm": ("gemma2", lambda a: _first(a, attention_post_norm=None), "misses the residual stream by"),
    "mlp": ("olmo2", lambda a: _first(a, mlp_write=a.layers[0].mlp), "misses the residual stream by"),
    "parallel": ("gpt_neox", lambda a: replace(a, parallel=False), "the MLP's input is missed"),
    "interleaved": ("gpt_neox", _interleaved, "moving one head's q, k, v of gpt_neox moves others"),
    "side by side": ("gpt2", _interleaved, "moving one head's q, k, v of gpt2 moves others"),
}


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_a_right_adapter_is_accepted_in_every_precision(tiny_model: Any, architecture: str, dtype: torch.dtype) -> None:
    model = tiny_model(architecture).to(dtype)
    model.config._experts_implementation = "eager"  # grouped products know no float64
    assert head_access(model).heads == 4


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("lie", LIES)
def test_an_adapter_that_lies_is_found_out(tiny_model: Any, lie: str, dtype: torch.dtype) -> None:
    architecture, change, sentence = LIES[lie]
    model = tiny_model(architecture).to(dtype)
    with pytest.raises(InputError, match=sentence):
        validate(model, change(head_access(model)))


def _random(config: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter) * 0.25 + 0.5
    return model


def test_an_unknown_architecture_with_the_usual_names_works() -> None:
    access = head_access(_random(GemmaConfig(**_SIZES)))
    assert (len(access.layers), access.heads, access.kv_heads, access.parallel) == (2, 4, 2, False)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (GraniteConfig(**_SIZES, residual_multiplier=0.5), "what heads and MLP write misses the residual stream"),
        (DiffLlamaConfig(**_SIZES), "moving one head's q, k, v of diffllama moves others"),
        (CohereConfig(**_SIZES), "CohereDecoderLayer has no post_attention_layernorm"),
    ],
)
def test_an_unknown_architecture_that_differs_is_refused_with_what_failed(config: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"architecture '{config.model_type}' is unknown.*{sentence}"):
        head_access(_random(config))


# What else of transformers was tried, at its own class's tiny size.
ACCEPTED = "arcee ernie4_5 exaone4 gemma glm granite granitemoe helium hunyuan_v1_dense mixtral olmo3 phimoe seed_oss"
ACCEPTED += " smollm3 stablelm starcoder2"
REFUSED = (
    "apertus biogpt bloom codegen cohere cohere2 diffllama glm4 gpt_bigcode jetmoe lfm2 mamba minimax mpt nemotron"
)
REFUSED += " nemotron olmo persimmon phi"


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", ACCEPTED.split())
def test_others_that_are_accepted_get_scores_that_are_complete(ragged_pairs: Any, name: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **_SIZES)).eval()
    model.config._experts_implementation = "eager"  # grouped products know no float64
    # Where a router picks other experts on the way, the loss jumps, and no integral of its gradient sees that.
    assert attribute(model, ragged_pairs(), nodes=32).residual < (0.03 if "moe" in name or name == "mixtral" else 1e-4)


@pytest.mark.parametrize("name", REFUSED.split())
def test_others_that_are_refused_say_what_failed(name: str) -> None:
    with pytest.raises(InputError, match=f"'{name}' is unknown, and read like a usual one: .{{20,}}known: "):
        head_access(AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **_SIZES)).eval())


def test_a_model_proves_itself_once_and_again_when_it_computes_otherwise(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    proofs: list[int] = []
    monkeypatch.setattr("headscope.models.validation._Check.run", lambda _check: proofs.append(1))
    model = tiny_model("qwen3")
    for proven in (1, 1):
        head_access(model)
        assert len(proofs) == proven
    with attach_hooks([Hook(model.model.layers[0].mlp, "output", torch.zeros_like)]):
        head_access(model)
    assert len(proofs) == 1
    changes: list[Callable[[], object]] = [
        lambda: model.model.layers[0].mlp.down_proj.weight.data.mul_(2),
        lambda: model.set_attn_implementation("eager"),
        lambda: model.to(torch.bfloat16),
        lambda: setattr(model.model.layers[1], "mlp", torch.nn.Identity()),
        lambda: setattr(model.model.layers[1], "forward", model.model.layers[1].forward),
    ]
    for expected, change in enumerate(changes, start=2):
        change()
        head_access(model)
        assert len(proofs) == expected
    head_access(tiny_model("qwen3"))
    assert len(proofs) == expected + 1


def test_a_proof_that_failed_is_not_remembered(tiny_model: Any) -> None:
    model = tiny_model("llama")
    model.model.layers[1].mlp.down_proj.weight.data[0, 0] = float("nan")
    for _ in range(2):
        with pytest.raises(InputError, match="layer 1 is the first whose MLP gives numbers that are not finite"):
            head_access(model)
    model.model.layers[1].mlp.down_proj.weight.data[0, 0] = 0
    head_access(model)


def test_a_proven_model_can_be_collected(tiny_model: Any) -> None:
    model = tiny_model("gpt2")
    head_access(model)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_the_callers_autocast_does_not_reach_a_proof(tiny_model: Any) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        head_access(tiny_model("gemma2"))


def test_what_hooks_cannot_see_or_split_is_refused(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    model.model.layers[1].mlp.compile()
    with pytest.raises(InputError, match=r"module model\.layers\.1\.mlp is compiled: .*attn_implementation='sdpa'"):
        head_access(model)
    wrapped = tiny_model("qwen3")
    wrapped.model.layers[0].forward = torch.compile(wrapped.model.layers[0].forward)
    with pytest.raises(InputError, match=r"module model\.layers\.0 is compiled"):
        head_access(wrapped)
    fused = tiny_model("qwen3")
    fused.config._attn_implementation = "flash_attention_2"
    with pytest.raises(
        InputError, match=r"attn_implementation='flash_attention_2' does not run here \(.*'sdpa' or 'ea"
    ):
        head_access(fused)
    with pytest.raises(InputError, match=r"the model is compiled: .*torch\.compile"):
        as_model(torch.compile(tiny_model("qwen3")))
    packed = tiny_model("qwen3")
    packed.model.layers[1].self_attn.o_proj.weight = torch.nn.Parameter(
        torch.zeros(512, 1, dtype=torch.uint8), requires_grad=False
    )
    with pytest.raises(
        InputError, match=r"layer 1 of qwen3 holds a Linear of torch\.uint8 \(512, 1\); load it unquant"
    ):
        head_access(packed)
    offloaded = tiny_model("qwen3")
    offloaded.model.layers[1].mlp.to("meta")
    with pytest.raises(InputError, match=r"model\.layers\.1\.mlp\.gate_proj\.weight is offloaded"):
        head_access(offloaded)


def test_ungrouping_is_undone_whatever_happens(tiny_model: Any) -> None:
    model = tiny_model("phi3")
    attention = model.model.layers[1].self_attn
    with ungroup_kv(head_access(model)):
        assert (attention.num_key_value_groups, attention.num_key_value_heads) == (1, 4)
    with pytest.raises(IndexError), ungroup_kv(head_access(model)):
        model(torch.full((1, 3), 1000))
    assert (attention.num_key_value_groups, attention.num_key_value_heads) == (2, 2)
