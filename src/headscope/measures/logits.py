"""Measures of next-token distributions. Natural logarithms; computed in float32 for every model dtype."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def kl(clean: Float[Tensor, "*batch vocab"], patched: Float[Tensor, "*batch vocab"]) -> Float[Tensor, "*batch"]:
    """Return KL(clean ‖ patched) in nats between the softmax distributions of two logits."""
    log_clean = torch.log_softmax(clean.float(), dim=-1)
    log_patched = torch.log_softmax(patched.float(), dim=-1)
    return (log_clean.exp() * (log_clean - log_patched)).sum(-1)


def logit_diff(
    logits: Float[Tensor, "*batch vocab"], right: Int[Tensor, "*batch"], wrong: Int[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """Return logit[right] − logit[wrong]: positive if the right token is preferred."""
    picked = logits.float().gather(-1, torch.stack([right, wrong], dim=-1))
    return picked[..., 0] - picked[..., 1]


def nll(logits: Float[Tensor, "*batch vocab"], target: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Return the negative log-likelihood of ``target`` in nats."""
    return -torch.log_softmax(logits.float(), dim=-1).gather(-1, target[..., None])[..., 0]
