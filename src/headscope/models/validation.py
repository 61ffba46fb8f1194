"""Check head access on load against the model's own forward pass.

1. The hooks see a plain pass.
2. Norms compute their formula.
3. Per-head writes z_h W_O,h add up to the attention's output.
4. The writes of heads and MLPs add up to the residual stream.
5. q, k and v computed per head are the projections' outputs.
6. Query-head copies of keys and values do not change the logits, and changing one head's q, k and v changes only its z.
7. Zeroing heads changes the logits.
8. A prefix run alone, rotated for the length of its entire text, gives the logits it has in that text.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
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
# Assumed if a config does not say how long texts may be.
_CONTEXT = 2048
# Units of precision that rounding may cost: sums of up to 2^16 products err by some 2^8 in float32, and layers pass
# that on; numbers of 16 bits are summed in float32 and rounded when modules return them.
_SUMMED, _RETURNED = 2**10, 2**3
_PLAIN_ATTENTION = (None, "eager", "sdpa")
_Tap = Literal["stream", "mlp stream", "z", "attention", "write", "mlp", "ports"]
# In the order in which a missing one is named.
_TAPS: tuple[_Tap, ...] = ("stream", "mlp stream", "z", "attention", "write", "mlp", "ports")

# Models whose access was proved, and everything they computed with then.
_PROVEN: WeakKeyDictionary[PreTrainedModel, tuple[object, ...]] = WeakKeyDictionary()


def rounding_tolerance(dtype: torch.dtype) -> float:
    """Return the largest relative difference by which two correct ways to run a model may differ."""
    # Norms and softmax compute in float32 even if the model is in float64.
    return max(_SUMMED * torch.finfo(torch.float32).eps, _RETURNED * torch.finfo(dtype).eps)


def prove(model: PreTrainedModel, access: HeadAccess) -> None:
    """Run ``validate`` on a new model, and again after its weights, dtype, attention or modules have changed."""
    # Weights matter: a fresh LoRA adapter adds nothing, and an access that ignores it would pass until it has learned.
    state = _computation_state(model)
    if _PROVEN.get(model) != state:
        validate(model, access)
        _PROVEN[model] = state


def _computation_state(model: PreTrainedModel) -> tuple[object, ...]:
    """Return the state on which an access depends; hooks are left out, as interventions add and remove them."""
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
    """Raise InputError naming the layer if what it writes is not finite."""
    for source, written in (("heads give", heads), ("MLP gives", mlp)):
        if not written.isfinite().all():
            raise InputError(
                f"layer {layer} is the first whose {source} numbers that are not finite; check weights and dtype"
            )


@dataclass(eq=False)
class _Check:
    """One check of a model's access.

    ids: the probe.
    recorded: what hooks saw in a plain pass, by layer and tap.
    ports: output of each projection in that pass, by layer and projection.
    """

    model: PreTrainedModel
    access: HeadAccess
    ids: Int[Tensor, "batch token"]
    recorded: dict[tuple[int, _Tap], Tensor] = field(default_factory=dict)
    ports: dict[tuple[int, Projection], Tensor] = field(default_factory=dict)

    def run(self) -> None:
        with attach_hooks(self._recorders()):
            logits = self._first_logits()
        self._check_recorded(logits)
        self._check_norms()
        for layer in range(len(self.access.layers)):
            self._check_head_writes(layer)
            self._check_stream(layer)
            self._check_head_reads(layer)
        self._check_ungrouping(logits)
        self._check_edit(logits)
        if self.access.longest is None:  # learned positions do not depend on a text's length
            self._check_length(logits)

    @property
    def _name(self) -> str:
        return str(self.model.config.model_type)

    def _logits(self) -> Float[Tensor, "batch token vocab"]:
        logits: Tensor = self.model(input_ids=self.ids, use_cache=False).logits
        return logits

    def _first_logits(self) -> Float[Tensor, "batch token vocab"]:
        """Return the logits of a plain pass.

        Raises InputError if the chosen attention cannot be run or differentiated on this machine.
        """
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
            reason = str(error).strip().splitlines()[0]
            raise InputError(
                f"attn_implementation={chosen!r} does not run here ({reason}); load the model with 'sdpa' or 'eager'"
            ) from error

    def _differentiate(self) -> None:
        with torch.enable_grad():
            embeddings = self.access.embedding(self.ids).detach().requires_grad_()
            logits = self.model(inputs_embeds=embeddings, use_cache=False).logits
            torch.autograd.grad(logits.float().logsumexp(-1).sum(), embeddings)

    def _recorders(self) -> list[Hook]:
        def record(layer: int, tap: _Tap) -> Callable[[Tensor], None]:
            return partial(self.recorded.__setitem__, (layer, tap))

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
                Hook(layer.projections[-1].module, "output", record(index, "ports")),
            ]
            for projection in layer.projections:
                keep = partial(self.ports.__setitem__, (index, projection))
                hooks.append(Hook(projection.module, "output", keep))
        return hooks

    def _check_recorded(self, logits: Float[Tensor, "batch token vocab"]) -> None:
        for layer in range(len(self.access.layers)):
            for tap in _TAPS:
                if (layer, tap) not in self.recorded:
                    raise InputError(f"layer {layer} of {self._name} shows no {tap}: {HIDDEN_FROM_HOOKS}")
            check_finite(layer, self.recorded[layer, "write"], self.recorded[layer, "mlp"])
        if not logits.isfinite().all():
            raise InputError(f"the logits of {self._name} are not finite; check its weights and dtype")

    def _demand_equal(self, actual: Tensor, expected: Tensor, sentence: str) -> None:
        """Raise InputError with ``sentence`` if two tensors differ by more than rounding."""
        error = float((actual.float() - expected.float()).norm() / expected.float().norm().clamp_min(1e-30))
        allowed = rounding_tolerance(self.model.dtype)
        if not error <= allowed:  # so written that NaN fails
            raise InputError(f"{sentence} by {error:.1e} (allowed {allowed:.0e})")

    def _check_norms(self) -> None:
        allowed = rounding_tolerance(self.model.dtype)
        for index, layer in enumerate(self.access.layers):
            projection_norms = [projection.norm for projection in layer.projections]
            for norm in (layer.attention_norm, layer.attention_post_norm, layer.mlp_norm, *projection_norms):
                if norm is not None and not formula_error(norm, self.model.dtype) <= allowed:
                    kind = type(norm.module).__name__
                    raise InputError(f"layer {index} of {self._name}: {kind} is neither a LayerNorm nor an RMSNorm")

    def _check_head_writes(self, layer: int) -> None:
        access, output = self.access, self.access.layers[layer].output
        z = self.recorded[layer, "z"]
        if z.shape[-1] != access.heads * access.d_head:
            raise InputError(
                f"layer {layer} hands {z.shape[-1]} numbers to o_proj; {access.heads} x {access.d_head} expected"
            )
        weights = torch.unflatten(linear_weight(output).T, 0, (access.heads, access.d_head))
        total = torch.einsum("bthe,hed->btd", torch.unflatten(z, -1, weights.shape[:2]), weights)
        bias = linear_bias(output)
        total = total if bias is None else total + bias
        sentence = f"layer {layer} of {self._name}: per-head writes miss the attention output"
        self._demand_equal(total, self.recorded[layer, "attention"], sentence)

    def _check_stream(self, layer: int) -> None:
        stream, after = self.recorded[layer, "stream"], self.recorded[layer + 1, "stream"]
        write, mlp = self.recorded[layer, "write"], self.recorded[layer, "mlp"]
        sentence = f"layer {layer} of {self._name}: what heads and MLP write misses the residual stream"
        self._demand_equal(stream + write.to(stream.device) + mlp.to(stream.device), after.to(stream.device), sentence)
        middle = stream if self.access.parallel else stream + write
        sentence = f"layer {layer} of {self._name}: the MLP's input is missed"
        self._demand_equal(self.recorded[layer, "mlp stream"], middle, sentence)

    def _check_head_reads(self, layer: int) -> None:
        access = self.access
        stream = self.recorded[layer, "stream"]
        heads = access.read_heads(layer, stream.expand(3 * access.heads, *stream.shape))
        outputs = []
        for projection in access.layers[layer].projections:
            outputs.append(projection.repeat(self.ports[layer, projection], access.heads))
        ports = access.split(layer, outputs)
        expected = torch.cat([ports[port] for port in "qkv"], dim=-2)
        self._demand_equal(heads, expected, f"layer {layer} of {self._name}: q, k and v per head miss the projections")

    def _check_ungrouping(self, logits: Float[Tensor, "batch token vocab"]) -> None:
        with ungroup_kv(self.access), attach_hooks(self._query_head_copies(moved=False)):
            ungrouped_logits = self._logits()
        sentence = f"query-head copies of keys and values move the logits of {self._name}"
        self._demand_equal(ungrouped_logits, logits, sentence)
        moved_z: list[Tensor] = []
        output = Hook(self.access.layers[0].output, "input", moved_z.append)
        with ungroup_kv(self.access), attach_hooks([*self._query_head_copies(moved=True), output]):
            self._logits()
        before = torch.unflatten(self.recorded[0, "z"], -1, (self.access.heads, -1))
        after = torch.unflatten(moved_z[0], -1, (self.access.heads, -1))
        sentence = f"moving one head's q, k, v of {self._name} moves others"
        self._demand_equal(after[..., :-1, :], before[..., :-1, :], sentence)
        if torch.equal(after[..., -1, :], before[..., -1, :]):
            raise InputError(f"moving a head's q, k and v of {self._name} leaves its output: {HIDDEN_FROM_HOOKS}")

    def _query_head_copies(self, *, moved: bool) -> list[Hook]:
        """Return hooks that repeat keys and values; ``moved`` changes q, k and v of the last head of layer 0."""

        def repeat(projection: Projection, move: bool, output: Tensor) -> Tensor:
            repeated = projection.repeat(output, self.access.heads)
            if not move:
                return repeated
            ports = {port: heads.clone() for port, heads in projection.split(repeated).items()}
            for heads in ports.values():
                heads[..., -1, :] += heads[..., 0, :] + 1
            return projection.join(ports)

        hooks = []
        for index, layer in enumerate(self.access.layers):
            for projection in layer.projections:
                hooks.append(Hook(projection.module, "output", partial(repeat, projection, moved and index == 0)))
        return hooks

    def _check_edit(self, logits: Float[Tensor, "batch token vocab"]) -> None:
        with attach_hooks([Hook(layer.output, "input", torch.zeros_like) for layer in self.access.layers]):
            edited = self._logits()
        if torch.equal(edited, logits):
            raise InputError(f"zeroing every head of {self._name} leaves its logits: {HIDDEN_FROM_HOOKS}")

    def _check_length(self, logits: Float[Tensor, "batch token vocab"]) -> None:
        """Check that a far last position, which makes a long text, does not change the tokens before it."""
        context = getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or _CONTEXT
        # Tables of positions end with the context. Computed frequencies go on; dynamic NTK's change there.
        depends = depends_on_length(self.model)
        length = 2 * context if depends else context
        positions = torch.arange(_PROBE_TOKENS, device=self.access.device)[None]
        far = positions.where(positions < _PROBE_TOKENS - 1, length - 1)
        with full_text_lengths(torch.tensor([length])):
            alone = self._logits() if depends else logits
            text: Tensor = self.model(input_ids=self.ids, position_ids=far, use_cache=False).logits
        sentence = (
            f"the length of a text changes how {self._name} turns its first tokens, in a way that cannot be held fixed;"
            " give a model with another rope_type: a far token moves the logits before it"
        )
        self._demand_equal(text[:, :-1], alone[:, :-1], sentence)
