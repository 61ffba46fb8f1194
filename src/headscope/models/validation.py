"""An adapter proves itself on load: what it says is checked against the model's own forward pass.

1. The hooks see a plain pass.
2. Norms compute their formula.
3. Per-head writes z_h W_O,h add up to the attention's output.
4. What heads and MLPs write adds up to the residual stream.
5. q, k and v worked out per head are the projections' outputs.
6. Query-head copies of keys and values leave the logits as they are, and moving one head's q, k and v moves its z
   alone.
7. Zeroing heads moves the logits.
8. A prefix run alone, turned for the length of its whole text, is as in that text.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from headscope.errors import InputError
from headscope.models.access import HeadAccess, ungroup_kv
from headscope.models.adapters import weight_checksums
from headscope.models.hooks import HIDDEN_FROM_HOOKS, Hook, attach_hooks
from headscope.models.norms import formula_error
from headscope.models.projections import Projection, linear_bias, linear_weight
from headscope.models.rotary import depends_on_length, full_text_lengths, own_text_lengths
from headscope.models.wrappers import own_forward

_PROBE_TOKENS = 8
# Assumed where a config does not say how long texts may be.
_CONTEXT = 2048
# Units of precision that rounding may cost: sums of up to 2^16 products err by some 2^8 in float32, and layers pass
# that on; numbers of 16 bits are summed in float32 and rounded where modules hand them on.
_SUMMED, _HANDED_ON = 2**10, 2**3
_PLAIN_ATTENTION = (None, "eager", "sdpa")


# Models that were found to be what their access says, and what they computed with then.
_PROVEN: WeakKeyDictionary[PreTrainedModel, tuple[object, ...]] = WeakKeyDictionary()


def rounding_tolerance(dtype: torch.dtype) -> float:
    """Return the largest difference, relative to the numbers, by which two right ways to run a model may differ.

    Norms and softmax compute in float32 even where the model is in float64.
    """
    return max(_SUMMED * torch.finfo(torch.float32).eps, _HANDED_ON * torch.finfo(dtype).eps)


def prove(model: PreTrainedModel, access: HeadAccess) -> None:
    """``validate`` a model when it is first seen and whenever its weights, dtype, attention or modules have changed.

    Weights matter: a fresh LoRA adapter adds nothing, and an access that ignores it would pass until it has learned.
    """
    computes_with = _computes_with(model)
    if _PROVEN.get(model) != computes_with:
        validate(model, access)
        _PROVEN[model] = computes_with


def _computes_with(model: PreTrainedModel) -> tuple[object, ...]:
    """Everything whose change may make an access wrong; hooks are left out, for interventions come and go."""
    # The identity of a forward put in from outside, not the function, which would keep the model alive.
    modules = ((path, type(module), id(vars(module).get("forward"))) for path, module in model.named_modules())
    attention = getattr(model.config, "_attn_implementation", None)
    return model.dtype, attention, weight_checksums(model), *modules


@torch.no_grad()
def validate(model: PreTrainedModel, access: HeadAccess) -> None:
    """Check ``access`` on a short probe. Raises InputError naming the layer and what failed."""
    probe = torch.arange(_PROBE_TOKENS, device=access.device)[None] % model.config.vocab_size
    with own_forward(model), torch.autocast(access.device.type, enabled=False), own_text_lengths(model):
        _Check(model, access, probe).run()


def check_finite(layer: int, heads: Tensor, mlp: Tensor) -> None:
    """Raises InputError where what a layer writes is not all numbers; asked in order, it names the first one."""
    for what, written in (("heads give", heads), ("MLP gives", mlp)):
        if not written.isfinite().all():
            raise InputError(
                f"layer {layer} is the first whose {what} numbers that are not finite; check weights and dtype"
            )


@dataclass(eq=False)
class _Check:
    model: PreTrainedModel
    access: HeadAccess
    ids: Int[Tensor, "batch token"]
    seen: dict[tuple[int, str], Tensor] = field(default_factory=dict)

    def run(self) -> None:
        with attach_hooks(self._recorders()):
            logits = self._first_logits()
        for layer in range(len(self.access.layers)):
            for what in ("stream", "mlp stream", "z", "attention", "write", "mlp", "ports"):
                if (layer, what) not in self.seen:
                    raise InputError(f"layer {layer} of {self._name} shows no {what}: {HIDDEN_FROM_HOOKS}")
            check_finite(layer, self.seen[layer, "write"], self.seen[layer, "mlp"])
        if not logits.isfinite().all():
            raise InputError(f"the logits of {self._name} are not finite; check its weights and dtype")
        self._norms()
        for layer in range(len(self.access.layers)):
            self._writes(layer)
            self._stream(layer)
            self._reads(layer)
        self._ungrouping(logits)
        self._edit(logits)
        if self.access.longest is None:  # learned positions are each its own
            self._length(logits)

    @property
    def _name(self) -> str:
        return str(self.model.config.model_type)

    def _logits(self) -> Float[Tensor, "batch token vocab"]:
        logits: Tensor = self.model(input_ids=self.ids, use_cache=False).logits
        return logits

    def _first_logits(self) -> Float[Tensor, "batch token vocab"]:
        """Of a plain pass; InputError where the chosen attention cannot be run or differentiated here at all."""
        chosen = getattr(self.model.config, "_attn_implementation", None)
        try:
            if chosen not in _PLAIN_ATTENTION:
                self._differentiate()
            return self._logits()
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a kernel's package, compiler or device is missing: each says so in its own type
            if chosen in _PLAIN_ATTENTION:
                raise
            said = str(error).strip().splitlines()[0]
            raise InputError(
                f"attn_implementation={chosen!r} does not run here ({said}); load the model with 'sdpa' or 'eager'"
            ) from error

    def _differentiate(self) -> None:
        with torch.enable_grad():
            embeddings = self.access.embedding(self.ids).detach().requires_grad_()
            logits = self.model(inputs_embeds=embeddings, use_cache=False).logits
            torch.autograd.grad(logits.float().logsumexp(-1).sum(), embeddings)

    def _recorders(self) -> list[Hook]:
        def record(layer: int, what: str) -> Any:
            return partial(self.seen.__setitem__, (layer, what))

        hooks = [Hook(self.access.final_norm.module, "input", record(len(self.access.layers), "stream"))]
        for index, layer in enumerate(self.access.layers):
            post = layer.output if layer.attention_post_norm is None else layer.attention_post_norm.module
            hooks += [
                Hook(layer.attention_input, "input", record(index, "stream")),
                Hook(layer.mlp_input, "input", record(index, "mlp stream")),
                Hook(layer.output, "input", record(index, "z")),
                Hook(layer.output, "output", record(index, "attention")),
                Hook(post, "output", record(index, "write")),
                Hook(layer.mlp_write, "output", record(index, "mlp")),
                *(Hook(each.module, "output", record(index, f"ports {each.heads}")) for each in layer.projections),
                Hook(layer.projections[-1].module, "output", record(index, "ports")),
            ]
        return hooks

    def _demand(self, found: Tensor, expected: Tensor, sentence: str) -> None:
        """Refuse with ``sentence`` where two tensors differ by more than rounding."""
        error = float((found.float() - expected.float()).norm() / expected.float().norm().clamp_min(1e-30))
        allowed = rounding_tolerance(self.model.dtype)
        if not error <= allowed:
            raise InputError(f"{sentence} by {error:.1e} (allowed {allowed:.0e})")

    def _norms(self) -> None:
        allowed = rounding_tolerance(self.model.dtype)
        for index, layer in enumerate(self.access.layers):
            wide = [projection.norm for projection in layer.projections]
            for norm in (layer.attention_norm, layer.attention_post_norm, layer.mlp_norm, *wide):
                if norm is not None and not formula_error(norm, self.model.dtype) <= allowed:
                    kind = type(norm.module).__name__
                    raise InputError(f"layer {index} of {self._name}: {kind} is neither a LayerNorm nor an RMSNorm")

    def _writes(self, layer: int) -> None:
        access, output = self.access, self.access.layers[layer].output
        z = self.seen[layer, "z"]
        if z.shape[-1] != access.heads * access.d_head:
            raise InputError(
                f"layer {layer} hands {z.shape[-1]} numbers to o_proj; {access.heads} x {access.d_head} expected"
            )
        weights = torch.unflatten(linear_weight(output).T, 0, (access.heads, access.d_head))
        total = torch.einsum("bthe,hed->btd", torch.unflatten(z, -1, weights.shape[:2]), weights)
        bias = linear_bias(output)
        total = total if bias is None else total + bias
        sentence = f"layer {layer} of {self._name}: per-head writes miss the attention output"
        self._demand(total, self.seen[layer, "attention"], sentence)

    def _stream(self, layer: int) -> None:
        stream, after, mlp_stream = self.seen[layer, "stream"], self.seen[layer + 1, "stream"], "mlp stream"
        write, mlp = self.seen[layer, "write"], self.seen[layer, "mlp"]
        sentence = f"layer {layer} of {self._name}: what heads and MLP write misses the residual stream"
        self._demand(stream + write.to(stream.device) + mlp.to(stream.device), after.to(stream.device), sentence)
        middle = stream if self.access.parallel else stream + write
        self._demand(self.seen[layer, mlp_stream], middle, f"layer {layer} of {self._name}: the MLP's input is missed")

    def _reads(self, layer: int) -> None:
        access = self.access
        stream = self.seen[layer, "stream"]
        found = access.read_heads(layer, stream.expand(3 * access.heads, *stream.shape))
        outputs = [
            each.repeat(self.seen[layer, f"ports {each.heads}"], access.heads)
            for each in access.layers[layer].projections
        ]
        ports = access.split(layer, outputs)
        expected = torch.cat([ports[port] for port in "qkv"], dim=-2)
        self._demand(found, expected, f"layer {layer} of {self._name}: q, k and v per head miss the projections")

    def _ungrouping(self, logits: Float[Tensor, "batch token vocab"]) -> None:
        with ungroup_kv(self.access), attach_hooks(self._copies(moved=False)):
            found = self._logits()
        self._demand(found, logits, f"query-head copies of keys and values move the logits of {self._name}")
        kept: list[Tensor] = []
        output = Hook(self.access.layers[0].output, "input", kept.append)
        with ungroup_kv(self.access), attach_hooks([*self._copies(moved=True), output]):
            self._logits()
        before, after = (torch.unflatten(z, -1, (self.access.heads, -1)) for z in (self.seen[0, "z"], kept[0]))
        self._demand(after[..., :-1, :], before[..., :-1, :], f"moving one head's q, k, v of {self._name} moves others")
        if torch.equal(after[..., -1, :], before[..., -1, :]):
            raise InputError(f"moving a head's q, k and v of {self._name} leaves its output: {HIDDEN_FROM_HOOKS}")

    def _copies(self, *, moved: bool) -> list[Hook]:
        """Hooks that repeat keys and values; where ``moved``, the last head of layer 0 gets another q, k and v."""

        def repeat(projection: Projection, move: bool, output: Tensor) -> Tensor:
            repeated = projection.repeat(output, self.access.heads)
            if not move:
                return repeated
            ports = {port: heads.clone() for port, heads in projection.split(repeated).items()}
            for heads in ports.values():
                heads[..., -1, :] += heads[..., 0, :] + 1
            return projection.join(ports)

        return [
            Hook(projection.module, "output", partial(repeat, projection, moved and layer == 0))
            for layer, blocks in enumerate(self.access.layers)
            for projection in blocks.projections
        ]

    def _edit(self, logits: Float[Tensor, "batch token vocab"]) -> None:
        with attach_hooks([Hook(layer.output, "input", torch.zeros_like) for layer in self.access.layers]):
            edited = self._logits()
        if torch.equal(edited, logits):
            raise InputError(f"zeroing every head of {self._name} leaves its logits: {HIDDEN_FROM_HOOKS}")

    def _length(self, logits: Float[Tensor, "batch token vocab"]) -> None:
        """The last token stands far away: that is a long text, whose first tokens do not know of it."""
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or _CONTEXT
        # Tables of positions end with the context. Frequencies that are worked out go on; dynamic NTK's change there.
        depends = depends_on_length(self.model)
        length = 2 * context if depends else context
        places = torch.arange(_PROBE_TOKENS, device=self.access.device)[None]
        far = places.where(places < _PROBE_TOKENS - 1, length - 1)
        with full_text_lengths(torch.tensor([length])):
            alone = self._logits() if depends else logits
            text: Tensor = self.model(input_ids=self.ids, position_ids=far, use_cache=False).logits
        sentence = (
            f"the length of a text changes how {self._name} turns its first tokens, in a way that cannot be held fixed;"
            " give a model with another rope_type: a far token moves the logits before it"
        )
        self._demand(text[:, :-1], alone[:, :-1], sentence)
