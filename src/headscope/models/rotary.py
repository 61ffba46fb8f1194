"""Choose rotary frequencies that depend on a text's length (longrope, dynamic NTK) for each row by its own length.

``transformers`` chooses them by the largest position of a whole pass, and dynamic NTK keeps its choice for later
passes. A text's numbers would then depend on its batch, on what ran before, and on whether its beginning was run alone.

1. A rotary module depends on length if a far last position changes the rotation of earlier positions. This is tested
   and not looked up, so that new types of ``transformers`` are recognised too.
2. While ``own_text_lengths`` is open, such a module rotates every row as a new module would rotate that row's text
   alone. Its own state is neither read nor written, so threads may run texts of several lengths.
3. A row's text ends at its largest position, or at that of ``full_text_lengths`` if the pass holds only a part
   of it.

Models without such a module are not changed.
"""

import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from headscope.errors import InputError

_FAR = 2**20
"""A position beyond every length at which a model changes its frequencies."""

_TEXT_LENGTHS: ContextVar[Tensor | None] = ContextVar("text_lengths", default=None)
_OPENING = Lock()


@contextmanager
def own_text_lengths(model: nn.Module) -> Iterator[None]:
    """Rotate every row of the passes inside the block by the frequencies of its own text's length.

    It may be open several times at once, in one or several threads; a model's modules are restored when the last one
    closes.
    """
    opened: list[_RowwiseRotary] = []
    try:
        with _OPENING:
            for module in list(model.modules()):
                rotary = _active_rotary(module) or _RowwiseRotary.of(module)
                if rotary is not None:
                    rotary.open()
                    opened.append(rotary)
        yield
    finally:
        with _OPENING:
            for rotary in opened:
                rotary.close()


@contextmanager
def full_text_lengths(lengths: Int[Tensor, " row"]) -> Iterator[None]:
    """Set the lengths of the entire texts, one per row, of which the passes inside the block hold a part."""
    token = _TEXT_LENGTHS.set(lengths)
    try:
        yield
    finally:
        _TEXT_LENGTHS.reset(token)


@contextmanager
def positions_from_mask(model: PreTrainedModel) -> Iterator[None]:
    """Open ``own_text_lengths`` for passes that mark each row's text by a mask alone, as in training."""
    if not depends_on_length(model):
        yield
        return
    # Not a ``Hook``: those receive one argument, and the mask is needed.
    handle = model.base_model.register_forward_pre_hook(_count_positions, with_kwargs=True)
    try:
        with own_text_lengths(model):
            yield
    finally:
        handle.remove()


def _count_positions(
    _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    """Give a pass positions that count each row's own tokens, unless it has positions."""
    mask = kwargs.get("attention_mask")
    if kwargs.get("position_ids") is not None or not isinstance(mask, Tensor) or mask.ndim != 2:
        return None
    ids = kwargs.get("input_ids")
    tokens = ids if ids is not None else kwargs["inputs_embeds"]
    positions = (mask.long().cumsum(-1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
    return args, kwargs | {"position_ids": positions}


_count_positions.by_row = False  # type: ignore[attr-defined]  # what it does to a row does not depend on its place


def length_dependent_types(config: PreTrainedConfig) -> list[str]:
    """Return the rope types of a config whose frequencies ``transformers`` changes with a text's length."""
    parameters = getattr(config.get_text_config(), "rope_parameters", None) or {}
    # One set of parameters, or one per layer type.
    sets = [parameters, *(values for values in parameters.values() if isinstance(values, dict))]
    types = {str(values.get("rope_type")) for values in sets}
    return sorted(name for name in types if name == "longrope" or "dynamic" in name)


def frequency_regimes(model: nn.Module, lengths: Int[Tensor, " row"]) -> list[tuple[bytes, ...]]:
    """Return one key per text length: equal keys mean equal frequencies; ``()`` for ordinary models.

    ``own_text_lengths`` must be open.
    """
    active = [_active_rotary(module) for module in model.modules()]
    rotaries = [rotary for rotary in active if rotary is not None]
    if not rotaries:
        return [()] * len(lengths)
    return [tuple(rotary.regime(length) for rotary in rotaries) for length in lengths.tolist()]


def depends_on_length(model: nn.Module) -> bool:
    """Return whether a rotary module of ``model`` depends on the text's length."""
    return any(_active_rotary(module) or _RowwiseRotary.of(module) for module in model.modules())


class _RowwiseRotary:
    """Replacement of a rotary module's ``forward`` that rotates each row by its own text's length."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._users = 0
        self._former_forward = vars(module).get("forward")
        self._keys: dict[bytes, bytes] = {}  # one object per distinct key, so that comparing them is cheap
        self._regimes: dict[int, bytes] = {}

    @classmethod
    def of(cls, module: nn.Module) -> "_RowwiseRotary | None":
        """Return one for a rotary module of ``transformers`` that depends on length, else None."""
        if not hasattr(module, "rope_type") or "position_ids" not in inspect.signature(type(module).forward).parameters:
            return None
        rotary = cls(module)
        try:
            return rotary if rotary.regime(2) != rotary.regime(_FAR) else None
        except (IndexError, RuntimeError, TypeError, ValueError):
            return None  # positions of another shape, as for images: the proof on load tries the whole model

    def open(self) -> None:
        """Replace the module's ``forward`` if this is the first one opened."""
        self._users += 1
        vars(self._module)["forward"] = self

    def close(self) -> None:
        """Restore the module's ``forward`` if this is the last one closed."""
        self._users -= 1
        if self._users == 0:
            vars(self._module).pop("forward")
            if self._former_forward is not None:
                vars(self._module)["forward"] = self._former_forward

    def regime(self, length: int) -> bytes:
        """Return the rotation of position 1 in a text of ``length`` tokens, in all layer types.

        It is equal for two lengths if their frequencies are.
        """
        if length not in self._regimes:
            device = next((buffer.device for buffer in self._module.buffers()), torch.device("cpu"))
            first = torch.ones(1, 1, dtype=torch.long, device=device)
            types = self._module.rope_type
            calls: list[tuple[str, ...]] = [(name,) for name in types] if isinstance(types, dict) else [()]
            key = b""
            for call in calls:
                for part in self._rotate(length, first.float(), first, *call):
                    key += part.cpu().numpy().tobytes()
            self._regimes[length] = self._keys.setdefault(key, key)
        return self._regimes[length]

    def __call__(
        self, x: Tensor, position_ids: Int[Tensor, "row token"], *args: object, **kwargs: object
    ) -> tuple[Tensor, ...]:
        """Return the module's output, each row's by its own length."""
        if position_ids.ndim != 2:
            kind, axes = type(self._module).__name__, position_ids.ndim
            raise InputError(
                f"{kind} turns a text by its length and by positions of {axes} axes, which are not read here; "
                "give a model whose positions are [row, token]"
            )
        stated = _TEXT_LENGTHS.get()
        lengths: list[int] = (position_ids.amax(-1) + 1 if stated is None else stated).tolist()
        rows_by_regime: dict[bytes, list[int]] = {}
        for row, length in enumerate(lengths):
            rows_by_regime.setdefault(self.regime(length), []).append(row)
        if len(rows_by_regime) == 1:
            return self._rotate(lengths[0], x, position_ids, *args, **kwargs)
        positions = position_ids.expand(len(lengths), -1)
        rotated: list[tuple[Tensor, ...]] = []
        order: list[int] = []
        for rows in rows_by_regime.values():
            rotated.append(self._rotate(lengths[rows[0]], x, positions[rows], *args, **kwargs))
            order += rows
        place = torch.tensor(order, device=position_ids.device).argsort()
        return tuple(torch.cat(parts)[place] for parts in zip(*rotated, strict=True))

    def _rotate(
        self, length: int, x: Tensor, position_ids: Int[Tensor, "row token"], *args: object, **kwargs: object
    ) -> tuple[Tensor, ...]:
        """Return the output of a new module for parts of texts of ``length`` tokens."""
        # The module looks at the largest position, so the text's last one is appended to each row, and its own output
        # dropped.
        last = position_ids.new_full((len(position_ids), 1), length - 1)
        forward: Any = type(self._module).forward
        rotated = forward(_fresh_copy(self._module), x, torch.cat([position_ids, last], dim=-1), *args, **kwargs)
        return tuple(part[:, :-1] for part in rotated)


def _active_rotary(module: nn.Module) -> _RowwiseRotary | None:
    forward = vars(module).get("forward")
    return forward if isinstance(forward, _RowwiseRotary) else None


def _fresh_copy(module: nn.Module) -> nn.Module:
    """Return a copy of a rotary module without the state that earlier passes left in it."""
    fresh = copy.copy(module)
    # Copies of the tensors too: transformers 5.24 writes the frequencies of a text over those of the text before.
    fresh._buffers = {name: None if buffer is None else buffer.clone() for name, buffer in module._buffers.items()}
    for name in [*vars(module), *module._buffers]:
        if name.endswith("original_inv_freq"):
            setattr(fresh, name.replace("original_inv_freq", "inv_freq"), getattr(module, name).clone())
        elif name.endswith("max_seq_len_cached"):
            setattr(fresh, name, module.original_max_seq_len)
        elif name.endswith("long_inv_freq"):
            delattr(fresh, name)
    return fresh
