"""The state of a model in which scores are well defined, for the length of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from headscope.models.adapters import clear_merged_layers
from headscope.models.rotary import own_text_lengths
from headscope.models.threads import operation_threads
from headscope.models.wrappers import own_forward


@contextmanager
def frozen_model(model: PreTrainedModel) -> Iterator[None]:
    """Put the model in a state in which scores are well defined, and restore all settings afterwards.

    In the block no parameter requires a gradient, inference mode and autocast are off (the caller's and the model's
    own), every text has the rotary frequencies of its own length, and a small model's operations use one thread.
    """
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:
        for parameter in trainable:
            parameter.requires_grad_(False)
        precision = torch.autocast(model.device.type, enabled=False)
        threads, lengths = operation_threads(model), own_text_lengths(model)
        with own_forward(model), torch.inference_mode(False), precision, threads, lengths:
            yield
    finally:
        clear_merged_layers()  # weights with an adapter merged in, which are as large as the layers they stand for
        for parameter in trainable:
            parameter.requires_grad_(True)
