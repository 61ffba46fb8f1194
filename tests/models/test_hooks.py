"""The attach-hooks primitive: replaces or reads, and always cleans up."""

from typing import NoReturn

import pytest
import torch
from torch import nn

from headscope.models import Hook, attach_hooks


def test_inputs_and_outputs_are_read_or_replaced() -> None:
    layer, recorded = nn.Linear(3, 3), []
    x = torch.randn(2, 3)
    expected = layer(2 * x) + 1
    with attach_hooks([Hook(layer, "input", lambda value: 2 * value), Hook(layer, "output", lambda value: value + 1)]):
        assert torch.equal(layer(x), expected)
    with attach_hooks([Hook(layer, "input", recorded.append), Hook(layer, "output", recorded.append)]):
        assert torch.equal(layer(x), recorded[1])
    assert torch.equal(recorded[0], x)


class _Closed(nn.Module):
    def register_forward_hook(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise RuntimeError("no hooks here")


def test_hooks_are_gone_after_success_a_raising_module_and_a_bad_target() -> None:
    layer = nn.Linear(3, 3)
    with attach_hooks([Hook(layer, "output", lambda value: value)]):
        pass
    with pytest.raises(RuntimeError), attach_hooks([Hook(layer, "input", lambda value: value)]):
        layer(torch.randn(2, 5))
    broken = [Hook(layer, "input", lambda value: value), Hook(_Closed(), "output", lambda value: value)]
    with pytest.raises(RuntimeError, match="no hooks here"), attach_hooks(broken):
        pass
    assert not layer._forward_hooks
    assert not layer._forward_pre_hooks
