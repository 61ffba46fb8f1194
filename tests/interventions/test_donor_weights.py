"""Revert and graft: heads with another model's weights, the same in hooks, in sweeps, in edited weights and by hand."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests import tiny_models
from tests.precision import EXACT

from headscope.errors import InputError
from headscope.interventions import (
    DonorWeights,
    Markers,
    Replacement,
    Span,
    Text,
    graft,
    make_replacement,
    replace_heads,
    revert,
    revert_weights,
    teacher_force,
)
from headscope.interventions.head_edits import edit_heads
from headscope.models import ARCHITECTURES, Subject, head_access
from headscope.models.hooks import tells_rows_apart
from headscope.operator_names import SHARED_KV

pytestmark = pytest.mark.usefixtures("float64")

IDS = torch.arange(12)[None] % 7
TEXT = Text(tuple(IDS[0, :4].tolist()), tuple(IDS[0, 4:].tolist()))
GENERATION = {"attention_mask": torch.ones_like(IDS), "max_new_tokens": 5, "do_sample": False, "pad_token_id": 0}
D_HEAD = tiny_models.D_HEAD
ALL_HEADS = [(layer, head) for layer in range(tiny_models.LAYERS) for head in range(tiny_models.HEADS)]


@torch.no_grad()
def logits(model: Any, ids: torch.Tensor = IDS) -> torch.Tensor:
    return model(ids).logits


def block(head: int, start: int = 0) -> slice:
    return slice(start + head * D_HEAD, start + (head + 1) * D_HEAD)


def by_hand(post: Any, base: Any, layer: int, head: int, groups: list[int]) -> None:
    """Copy one head's weights, and the keys and values of ``groups``, from ``base`` into ``post``, tensor by tensor."""
    weights, donor = dict(post.named_parameters()), dict(base.named_parameters())

    def copy_part(name: str, *place: slice) -> None:
        for full in [full for full in weights if f".{layer}." in full and full.endswith(name)]:
            weights[full].data[place] = donor[full].data[place]

    everything, family = slice(None), post.config.model_type
    if family == "gpt2":  # Conv1D: [in, out]; q, k and v follow each other, 4 heads each
        for start in (0, 32, 64):
            copy_part("attn.c_attn.weight", everything, block(head, start))
            copy_part("attn.c_attn.bias", block(head, start))
        copy_part("attn.c_proj.weight", block(head))
    elif family == "gpt_neox":  # q, k and v of a head next to each other
        copy_part("query_key_value.weight", slice(3 * head * D_HEAD, 3 * (head + 1) * D_HEAD))
        copy_part("query_key_value.bias", slice(3 * head * D_HEAD, 3 * (head + 1) * D_HEAD))
        copy_part("attention.dense.weight", everything, block(head))
    elif family == "phi3":
        copy_part("qkv_proj.weight", block(head))
        for group in groups:
            copy_part("qkv_proj.weight", block(group, 32))
            copy_part("qkv_proj.weight", block(group, 48))
        copy_part("o_proj.weight", everything, block(head))
    else:
        for kind in ("weight", "bias"):
            copy_part(f"q_proj.{kind}", block(head))
            for group in groups:
                copy_part(f"k_proj.{kind}", block(group))
                copy_part(f"v_proj.{kind}", block(group))
        copy_part("o_proj.weight", everything, block(head))


def models(architecture: str) -> tuple[Any, Any]:
    return tiny_models.tiny_model(architecture, 0), tiny_models.tiny_model(architecture, 1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_hooks_edited_weights_and_weights_copied_by_hand_agree(architecture: str) -> None:
    """L0H3 alone of its group, L1H0 and L1H1 all of theirs; with a cache while generating, and without one."""
    post, base = models(architecture)
    heads = ["L0H3", "L1H0", "L1H1"]
    before = {name: value.clone() for name, value in post.state_dict().items()}
    seen = []
    for kv in SHARED_KV:
        expected = copy.deepcopy(post)
        by_hand(expected, base, 0, 3, [1] if kv == "any" else [])
        by_hand(expected, base, 1, 0, [0])
        by_hand(expected, base, 1, 1, [0])
        edited = revert_weights(post, heads, base, kv=kv)
        assert all(torch.equal(value, edited.state_dict()[name]) for name, value in expected.state_dict().items())
        with revert(post, heads, base, kv=kv):
            assert torch.allclose(logits(post), logits(edited), rtol=0, atol=EXACT)
            generated = post.generate(IDS, **GENERATION)
            without_cache = post.generate(IDS, use_cache=False, **GENERATION)
        assert torch.equal(generated, edited.generate(IDS, **GENERATION))
        assert torch.equal(without_cache, generated)
        seen.append(logits(edited))
        assert not torch.allclose(seen[-1], logits(post), atol=1e-2)
    has_groups = head_access(post).groups > 1
    assert torch.allclose(seen[0], seen[1], rtol=0, atol=1e-2) == (not has_groups)
    assert all(torch.equal(value, before[name]) for name, value in post.state_dict().items())


@pytest.mark.parametrize("kv", SHARED_KV)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_row_of_a_sweep_can_have_its_own_heads(architecture: str, kv: str) -> None:
    post, base = models(architecture)
    sets = [[], ["L0H3"], ["L1H2"], ["L0H0", "L0H1"], ["L0H0", "L0H1", "L1H3"]]
    factors = np.ones((len(sets), 2, 4), dtype=np.float32)
    for row, heads in enumerate(sets):
        for name in heads:
            factors[row, int(name[1]), int(name[3])] = 0
    donor = DonorWeights.of(post, base, kv)
    losses = teacher_force(post, [TEXT], factors, replacement=Replacement(donor), rows=4).nll[:, 0]
    target = torch.tensor(TEXT.response)
    expected = []
    for heads in sets:
        edited = logits(revert_weights(post, heads, base, kv=kv))[0, TEXT.predicting]
        expected.append(float(torch.nn.functional.cross_entropy(edited, target)))
    assert np.allclose(losses, expected, rtol=0, atol=EXACT)
    assert len(np.unique(losses.round(5))) == len(sets)
    rows = IDS.repeat(len(sets), 1)
    by_layer = {layer: factors[:, layer] for layer in range(2)}
    with edit_heads(post, by_layer, fill=donor):  # and of a batch in a plain pass
        together = logits(post, rows)
    for row, heads in enumerate(sets):
        with revert(post, heads, base, kv=kv):
            assert torch.allclose(together[row], logits(post)[0], rtol=0, atol=EXACT)


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2", "olmo2"])
def test_nothing_changes_without_heads_or_with_the_model_itself(architecture: str) -> None:
    """Bit by bit, in hooks, weights and sweeps."""
    post, base = models(architecture)
    before = logits(post)
    for heads, donor in (([], base), (ALL_HEADS, post), (ALL_HEADS, copy.deepcopy(post))):
        with revert(post, heads, donor, kv="any"):
            assert torch.equal(logits(post), before)
        assert torch.equal(logits(revert_weights(post, heads, donor, kv="any")), before)
    none = np.zeros((1, 2, 4), dtype=np.float32)
    itself = teacher_force(post, [TEXT], none, replacement=Replacement(DonorWeights.of(post, post))).nll
    assert itself == teacher_force(post, [TEXT], none + 1).nll


@pytest.mark.parametrize("kv", SHARED_KV)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_heads_reverted_are_the_bases_attention_weights(architecture: str, kv: str) -> None:
    post, base = models(architecture)
    expected = copy.deepcopy(post)
    donor = dict(base.named_parameters())
    projections = ("q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj", "c_attn", "attn.c_proj")
    projections += ("query_key_value", "attention.dense")
    outputs = ("o_proj.bias", "c_proj.bias", "dense.bias")
    for name, parameter in expected.named_parameters():
        if name.rpartition(".")[0].endswith(projections) and not name.endswith(outputs):
            parameter.data = donor[name].data.clone()
    with revert(post, ALL_HEADS, base, kv=kv):
        assert torch.allclose(logits(post), logits(expected), rtol=0, atol=EXACT)
    assert not torch.allclose(logits(post), logits(expected), atol=1e-2)


def test_a_graft_is_a_revert_with_the_models_exchanged_and_order_does_not_matter() -> None:
    post, base = models("qwen3")
    with graft(base, ["L0H2", "L1H1"], post, kv="any"):
        grafted = logits(base)
    with revert(base, ["L1H1", "L0H2"], post, kv="any"):
        assert torch.equal(logits(base), grafted)
    assert torch.allclose(logits(revert_weights(base, ["L1H1", "L0H2"], post, kv="any")), grafted, rtol=0, atol=EXACT)
    # The other heads grafted, and these reverted: the same model but for what lies outside attention.
    rest = [head for head in ALL_HEADS if head not in ((0, 2), (1, 1))]
    whole = revert_weights(base, ALL_HEADS, post)
    assert torch.allclose(
        logits(revert_weights(whole, rest, base, kv="all")),
        logits(revert_weights(base, ["L0H2", "L1H1"], post, kv="any")),
        rtol=0,
        atol=EXACT,
    )


def test_a_factor_gives_the_weights_in_between() -> None:
    post, base = models("qwen2")
    half = copy.deepcopy(post)
    by_hand(half, base, 1, 2, [1])
    for name, parameter in half.named_parameters():
        parameter.data = (parameter.data + dict(post.named_parameters())[name].data) / 2
    factors = {1: np.array([[1, 1, 0.5, 1]], dtype=np.float32)}
    with edit_heads(post, factors, fill=DonorWeights.of(post, base, "any")):
        assert torch.allclose(logits(post), logits(half), rtol=0, atol=EXACT)


def test_a_layer_has_one_donor_at_a_time_and_another_layer_another() -> None:
    post, base = models("qwen3")
    third = tiny_models.tiny_model("qwen3", 2)
    taken = "heads of layer 0 have another model's weights already; name all heads of a layer in one revert or graft"
    with revert(post, ["L0H0"], base):
        once = logits(post)
        for donor in (base, third):
            with pytest.raises(InputError, match=taken), revert(post, ["L0H0", "L1H1"], donor):
                pass
        assert torch.equal(logits(post), once)
        with revert(post, ["L1H1"], third):
            both = logits(post)
    with revert(post, ["L1H1"], third), revert(post, ["L0H0"], base):
        assert torch.allclose(logits(post), both, rtol=0, atol=EXACT)
    with revert(post, ["L0H0"], third):
        assert not torch.allclose(logits(post), once)


def test_weights_for_another_models_heads_are_refused() -> None:
    post, base = models("qwen3")
    foreign = Replacement(DonorWeights.of(base, post))
    with pytest.raises(InputError, match=r"weights are for another model's heads; make them"):
        replace_heads(post, ["L0H0"], foreign).__enter__()
    with pytest.raises(InputError, match="weights are for another model's heads"):
        teacher_force(post, [TEXT], np.zeros((1, 2, 4), dtype=np.float32), replacement=foreign)


def test_the_hooks_are_gone_after_success_an_error_and_a_bad_head() -> None:
    post, base = models("qwen3")
    before = logits(post)
    with revert(post, ["L0H0"], base):
        assert not torch.equal(logits(post), before)
    with pytest.raises(RuntimeError, match="inside"), revert(post, ["L0H0"], base):
        raise RuntimeError("inside")
    handle = post.model.layers[1].mlp.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError), revert(post, ["L0H0"], base):
        logits(post)
    factors = np.zeros((1, 2, 4), dtype=np.float32)
    with pytest.raises(ZeroDivisionError):
        teacher_force(post, [TEXT], factors, replacement=Replacement(DonorWeights.of(post, base)))
    handle.remove()
    with pytest.raises(InputError, match="L0H4 does not exist: the model has layers 0-1 and heads 0-3"):
        revert(post, ["L0H4"], base).__enter__()
    with pytest.raises(InputError, match="L0H4 does not exist"):
        revert_weights(post, ["L0H4"], base)
    assert torch.equal(logits(post), before)
    for model in (post, base):
        assert all(not module._forward_pre_hooks and not module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("family", ["qwen3", "phi3", "gpt2"])
def test_the_rows_of_an_adapter_are_those_after_merging(family: str) -> None:
    post, base = models(family)
    settings = LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False)
    adapted = get_peft_model(copy.deepcopy(base), settings, autocast_adapter_dtype=False).eval()
    merged = copy.deepcopy(adapted).merge_and_unload().eval()
    with revert(merged, ["L0H1", "L1H2"], base):
        expected = logits(merged)
    assert not torch.allclose(expected, logits(merged), atol=1e-3)
    with revert(adapted, ["L0H1", "L1H2"], base):
        assert torch.allclose(logits(adapted), expected, rtol=0, atol=EXACT)
    assert torch.allclose(logits(revert_weights(adapted, ["L0H1", "L1H2"], base)), expected, rtol=0, atol=EXACT)
    with graft(post, ["L0H1"], merged):
        grafted = logits(post)
    with graft(post, ["L0H1"], adapted):
        assert torch.allclose(logits(post), grafted, rtol=0, atol=EXACT)


def test_a_span_and_one_set_for_all_rows() -> None:
    post, base = models("qwen3")
    with revert(post, ["L0H1"], base):
        assert not tells_rows_apart(post)
        whole = logits(post)
    thinking = Span("thinking", Markers(str, opening="3", closing="99"))  # from the token 3 on
    with revert(post, ["L0H1"], base, span=thinking):
        assert tells_rows_apart(post)
        late = logits(post)
    assert torch.equal(late[:, :3], logits(post)[:, :3])
    assert not torch.allclose(late[:, 3:], whole[:, 3:], atol=1e-6)  # keys before it were not reverted
    assert not torch.allclose(late[:, 3:], logits(post)[:, 3:], atol=1e-3)


def test_a_subject_gives_a_subject_and_the_operator_needs_a_donor() -> None:
    post, base = models("qwen3")
    subject = Subject(post, None, "post")
    assert isinstance(revert_weights(subject, ["L0H0"], base), Subject)
    with pytest.raises(InputError, match="operator revert needs the base's weights; give donor="):
        make_replacement(subject, "revert", [])
    by_name = make_replacement(subject, "revert", [], donor=DonorWeights.of(subject, base))
    with replace_heads(subject, ["L0H0"], by_name):
        reverted = logits(post)
    with revert(post, ["L0H0"], base):
        assert torch.equal(logits(post), reverted)


def test_models_of_other_shapes_are_refused() -> None:
    post = Subject(tiny_models.tiny_model("qwen3"), None, "post")
    for changes, difference in (
        ({"num_hidden_layers": 3}, "layers, 2 and 3"),
        ({"num_attention_heads": 8, "num_key_value_heads": 4}, "heads, 4 and 8"),
        ({"num_key_value_heads": 4}, "key/value heads, 2 and 4"),
        ({"head_dim": 16}, "width of a head, 8 and 16"),
        ({"hidden_size": 40}, "width of the residual stream, 32 and 40"),
    ):
        base = Subject(tiny_models.tiny_model("qwen3", **changes), None, "base")
        with pytest.raises(InputError, match=f"post and base differ in {difference}; heads take weights"):
            DonorWeights.of(post, base)
    with pytest.raises(InputError, match="post and base differ in architecture, qwen3 and llama"):
        revert(post, ["L0H0"], Subject(tiny_models.tiny_model("llama"), None, "base"))
    biased = Subject(tiny_models.tiny_model("qwen3", attention_bias=True), None, "biased")
    for model, donor in ((post, biased), (biased, post)):
        with pytest.raises(InputError, match="biased has biases on q of layer 0 and post has none"):
            DonorWeights.of(model, donor)
    with pytest.raises(InputError, match="kv 'every' does not exist"):
        DonorWeights.of(post, post, "every")


def test_quantised_and_shared_weights_are_refused() -> None:
    post, base = models("qwen3")
    base.model.layers[1].self_attn.k_proj.weight.data = base.model.layers[1].self_attn.k_proj.weight.data.to(
        torch.float8_e4m3fn
    )
    with pytest.raises(InputError, match=r"layer 1 of qwen3 holds a Linear of torch\.float8_e4m3fn"):
        DonorWeights.of(post, base)
    post.model.layers[1].self_attn.k_proj.weight = post.model.layers[0].self_attn.k_proj.weight
    with pytest.raises(InputError, match="layers 0 and 1 share one k_proj"):
        revert_weights(post, ["L0H0"], models("qwen3")[1])
