"""EAP-IG written as plainly as can be: one residual stream per head and port, autograd, one pair and one node
at a time.

Nothing here is shared with the package except the order of nodes (``Graph``): each destination's input is the sum of
all earlier outputs plus a leaf of zeros, and the leaf's gradient is the gradient at that input. What differs between
architectures is written out family by family.
"""

import copy
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headscope.pairs import Pairs
from headscope.results.graph import Graph


def slow_scores(model: Any, pairs: Pairs, alphas: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Scores [pair, F, B] with KL at the evaluated positions, averaged over them, in the model's precision."""
    return np.stack([_pair_scores(model, pair, alphas, weights) for pair in pairs])


def _pair_scores(model: Any, pair: Any, alphas: np.ndarray, weights: np.ndarray) -> np.ndarray:
    plain = PlainModel(model)
    clean, corrupt = (model.get_input_embeddings()(torch.as_tensor(ids)).detach() for ids in (pair.clean, pair.corrupt))
    target, clean_outputs, _ = plain.forward(clean)
    _, corrupt_outputs, _ = plain.forward(corrupt)
    picked = torch.as_tensor(pair.positions)
    target = torch.log_softmax(target[picked], -1).detach()
    gradient: Any = 0
    for alpha, weight in zip(alphas, weights, strict=True):
        logits, _, leaves = plain.forward(corrupt + float(alpha) * (clean - corrupt))
        loss = (target.exp() * (target - torch.log_softmax(logits[picked], -1))).sum(-1).mean()
        gradient = gradient + float(weight) * torch.stack(torch.autograd.grad(loss, leaves))
    delta = torch.stack(corrupt_outputs) - torch.stack(clean_outputs)
    scores = torch.einsum("utd,vtd->uv", delta, gradient).detach().numpy()
    return np.where(plain.graph.real, scores, 0)


class PlainModel:
    """A model taken apart: every head reads and writes a residual stream of its own."""

    def __init__(self, model: Any) -> None:
        self.model, self.config, self.trunk = model, model.config, model.base_model
        self.family = model.config.model_type
        self.heads = self.config.num_attention_heads
        self.kv_heads = getattr(self.config, "num_key_value_heads", None) or self.heads
        self.width = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.heads
        self.layers = self.trunk.h if self.family == "gpt2" else self.trunk.layers
        self.parallel = self.family == "gpt_neox" and self.config.use_parallel_residual
        self.graph = Graph(len(self.layers), self.heads, self.parallel)

    def forward(
        self, embeddings: Tensor, move: Callable[[int, list[Tensor]], Any] = lambda _destination, _outputs: 0
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits [token, vocab], outputs of the F sources and leaves of the B destinations, each [token, d].

        move: of a destination's number and the outputs it reads: what to add to its input.
        """
        outputs, leaves = [embeddings], []
        constants = [torch.zeros_like(embeddings)]  # biases and learned positions, which belong to no node
        if self.family == "gpt2":
            constants.append(self.trunk.wpe.weight[: len(embeddings)])

        def stream(parts: int) -> Tensor:
            leaves.append(torch.zeros_like(embeddings, requires_grad=True))
            moved = move(len(leaves) - 1, outputs[:parts])
            return sum(outputs[1:parts], outputs[0]) + sum(constants) + leaves[-1] + moved

        for layer in self.layers:
            reads, first = len(outputs), self.norm_before_heads(layer)
            read = {port: [first(stream(reads)) for _ in range(self.heads)] for port in "qkv"}
            writes = [self.head(layer, read, index) for index in range(self.heads)]
            bias = self.attention_bias(layer)
            scale = self.after_heads(layer, sum(writes) + bias)
            outputs += [write * scale for write in writes]
            if not self.parallel:
                constants.append(bias * scale)
            outputs.append(self.mlp(layer, stream(reads if self.parallel else len(outputs))))
            if self.parallel:
                constants.append(bias * scale)
        final = {"gpt2": "ln_f", "gpt_neox": "final_layer_norm"}.get(self.family, "norm")
        logits = self.model.get_output_embeddings()(getattr(self.trunk, final)(stream(len(outputs))))
        cap = getattr(self.config, "final_logit_softcapping", None)
        return (logits if cap is None else torch.tanh(logits / cap) * cap), outputs, leaves

    def norm_before_heads(self, layer: Any) -> Any:
        """OLMo 2 has none."""
        return {"gpt2": lambda: layer.ln_1, "olmo2": lambda: lambda x: x}.get(
            self.family, lambda: layer.input_layernorm
        )()

    def after_heads(self, layer: Any, total: Tensor) -> Any:
        """What a post-norm multiplies the attention's output by, position by position; 1 without one."""
        if self.family not in ("gemma2", "gemma3_text", "olmo2"):
            return 1
        norm = layer.post_attention_layernorm
        plus = 0 if self.family == "olmo2" else 1
        return (norm.weight + plus) / (total.square().mean(-1, keepdim=True) + self.config.rms_norm_eps).sqrt()

    def mlp(self, layer: Any, value: Tensor) -> Tensor:
        """The MLP's write, its norms included."""
        if self.family == "olmo2":
            return layer.post_feedforward_layernorm(layer.mlp(value))
        if self.family in ("gemma2", "gemma3_text"):
            return layer.post_feedforward_layernorm(layer.mlp(layer.pre_feedforward_layernorm(value)))
        if self.family == "gpt2":
            return layer.mlp(layer.ln_2(value))
        normed = layer.post_attention_layernorm(value)
        if self.family == "gpt_oss":
            return layer.mlp(normed[None])[0][0]
        return layer.mlp(normed[None])[0]

    def attention(self, layer: Any) -> Any:
        """The attention module."""
        return getattr(layer, {"gpt2": "attn", "gpt_neox": "attention"}.get(self.family, "self_attn"))

    def output(self, layer: Any) -> tuple[Tensor, Any]:
        """Weight [d, heads x d_head] and bias of the output projection."""
        attention = self.attention(layer)
        if self.family == "gpt2":
            return attention.c_proj.weight.T, attention.c_proj.bias
        module = attention.dense if self.family == "gpt_neox" else attention.o_proj
        return module.weight, module.bias

    def attention_bias(self, layer: Any) -> Tensor:
        """Bias of the output projection, zero where there is none."""
        weight, bias = self.output(layer)
        return torch.zeros(len(weight)) if bias is None else bias

    def head(self, layer: Any, streams: dict[str, list[Tensor]], index: int) -> Tensor:
        """What one query head writes, reading q, k and v from its own residual streams."""
        attention = self.attention(layer)
        q, k, v = (self.port(attention, port, index, streams[port][index]) for port in "qkv")
        if self.family in ("qwen3", "qwen3_moe", "gemma3_text"):
            q, k = attention.q_norm(q), attention.k_norm(k)
        if self.family != "gpt2":
            rotate = importlib.import_module(type(attention).__module__).apply_rotary_pos_emb
            q, k = (part[0, 0] for part in rotate(q[None, None], k[None, None], *self.angles(attention, q)))
        columns = slice(index * self.width, (index + 1) * self.width)
        return self.pattern(attention, q, k, index) @ v @ self.output(layer)[0][:, columns].T

    def port(self, attention: Any, port: str, index: int, value: Tensor) -> Tensor:
        """q, k or v of one query head, with keys and values of its group."""
        group = index // (self.heads // self.kv_heads)
        row, place = (index if port == "q" else group), "qkv".index(port)
        if self.family == "gpt2":
            weight, bias = attention.c_attn.weight.T, attention.c_attn.bias
            row = place * self.heads + index
        elif self.family == "gpt_neox":
            weight, bias = attention.query_key_value.weight, attention.query_key_value.bias
            row = 3 * index + place
        elif self.family == "phi3":
            weight, bias = attention.qkv_proj.weight, None
            row += (0, self.heads, self.heads + self.kv_heads)[place]
        else:
            module = getattr(attention, f"{port}_proj")
            weight, bias = module.weight, module.bias
        rows = slice(row * self.width, (row + 1) * self.width)
        if self.family == "olmo2" and port in "qk":  # the norm spans all heads of this head's own stream
            return getattr(attention, f"{port}_norm")(value @ weight.T)[:, rows]
        return value @ weight[rows].T + (0 if bias is None else bias[rows])

    def angles(self, attention: Any, q: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines of the rotary embedding."""
        places = torch.arange(len(q))[None]
        rotary = copy.deepcopy(self.trunk.rotary_emb)  # a new one each time: some keep what they chose for other texts
        if self.family == "gemma3_text":
            return rotary(q[None], places, attention.layer_type)
        return rotary(q[None], places)

    def pattern(self, attention: Any, q: Tensor, k: Tensor, index: int) -> Tensor:
        """Attention probabilities [query token, key token]."""
        scale = self.width**-0.5 if self.family == "gpt2" else attention.scaling
        logits = q @ k.T * scale
        cap = getattr(attention, "attn_logit_softcapping", None)
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        behind = torch.arange(len(q))[:, None] - torch.arange(len(q))[None, :]
        has_window = hasattr(attention, "sliding_window")
        window = attention.sliding_window if has_window else getattr(self.config, "sliding_window", None)
        logits = logits.masked_fill((behind < 0) | (behind >= (window or len(q))), float("-inf"))
        if self.family != "gpt_oss":
            return torch.softmax(logits, -1)
        sink = attention.sinks[index].expand(len(q), 1)
        return torch.softmax(torch.cat([logits, sink], -1), -1)[:, :-1]
