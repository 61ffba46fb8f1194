"""Head access: weights and splits against the modules themselves, and adapters that lie are found out."""

from typing import Any

import pytest
import torch
from tests.precision import EXACT

from headscope.models import ARCHITECTURES, head_access, validate

pytestmark = pytest.mark.usefixtures("float64")

ALL = sorted(ARCHITECTURES)


@pytest.mark.parametrize("architecture", ALL)
def test_sizes_and_validation(tiny_model: Any, architecture: str) -> None:
    model = tiny_model(architecture)
    access = head_access(model)
    validate(model, access)
    kv_heads = 4 if architecture in ("gpt2", "gpt_neox") else 2
    assert (len(access.layers), access.heads, access.kv_heads, access.d_head, access.d_model) == (
        2,
        4,
        kv_heads,
        8,
        32,
    )


@pytest.mark.parametrize("architecture", ALL)
def test_norms_are_what_the_formula_says(tiny_model: Any, architecture: str) -> None:
    access = head_access(tiny_model(architecture))
    x = torch.randn(5, 32) + 1
    layer = access.layers[0]
    for norm in (layer.attention_norm, layer.mlp_norm, layer.attention_post_norm, access.final_norm):
        if norm is not None:
            assert torch.allclose(norm.formula(x), norm.module(x), rtol=0, atol=EXACT)


@pytest.mark.parametrize("architecture", ALL)
def test_heads_read_their_own_streams(tiny_model: Any, architecture: str) -> None:
    model = tiny_model(architecture)
    access = head_access(model)
    streams = torch.randn(12, 5, 32)
    with torch.no_grad():
        heads_read = access.read_heads(0, streams)
        for port_head in (0, 5, 11):
            alone = access.read_heads(0, streams[port_head].expand(12, 5, 32))
            assert torch.allclose(heads_read[:, port_head], alone[:, port_head], rtol=0, atol=EXACT)


@pytest.mark.parametrize("architecture", ALL)
def test_split_and_join_are_inverse(tiny_model: Any, architecture: str) -> None:
    for projection in head_access(tiny_model(architecture)).layers[0].projections:
        output = torch.arange(3.0 * 8 * sum(projection.heads.values())).view(3, -1)
        assert torch.equal(projection.join(projection.split(output)), output)
        repeated = projection.split(projection.repeat(output, 4))
        for port, heads in projection.split(output).items():
            assert torch.equal(repeated[port], heads.repeat_interleave(4 // heads.shape[1], dim=1))
