"""Rotary frequencies that depend on a text's length (longrope, dynamic NTK), chosen for every row by its own text.

``transformers`` chooses them by the largest position of a whole pass, and dynamic NTK keeps its choice for later
passes. A text's numbers would then depend on its batch, on what ran before, and on whether its beginning was run alone.

1. A rotary module depends on length if a far last position turns what stands before it otherwise. That is tried and
   not looked up, so types that are not in ``transformers`` today are seen too.
2. While ``own_lengths`` is open, such a module turns every row as a new module would turn that row's text alone. Its
   own state is neither read nor written, so threads may pass texts of several lengths through it.
3. A row's text ends at its largest position, or, if the pass holds only a part of it, where ``part_of`` says.

Models without such a module are left alone.
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
from transformers import PreTrainedModel

from headscope.errors import InputError

_FAR = 2**20
"""A position beyond every length at which a model changes its frequencies."""

_TEXT_LENGTHS: ContextVar[Tensor | None] = ContextVar("text_lengths", default=None)
_OPENING = Lock()


@contextmanager
def own_text_lengths(model: nn.Module) -> Iterator[None]:
    """Turn every row of the passes inside the block by the frequencies of its own text's length.

    May be open several times at once, in one thread or in several; each model gets its own modules back at the last
    end.
    """
    opened: list[_OwnLengths] = []
    try:
        with _OPENING:
            for module in list(model.modules()):
                turning = _standing_in(module) or _OwnLengths.of(module)
                if turning is not None:
                    turning.open()
                    opened.append(turning)
        yield
    finally:
        with _OPENING:
            for turning in opened:
                turning.close()


@contextmanager
def full_text_lengths(lengths: Int[Tensor, " row"]) -> Iterator[None]:
    """Say how long the texts are of which the passes inside the block hold a part, one text a row."""
    token = _TEXT_LENGTHS.set(lengths)
    try:
        yield
    finally:
        _TEXT_LENGTHS.reset(token)


@contextmanager
def positions_from_mask(model: PreTrainedModel) -> Iterator[None]:
    """``own_lengths`` for passes that say by a mask alone which tokens of a row are its text, as in training."""
    if not depends_on_length(model):
        yield
        return
    # Not a ``Hook``: those see one argument, and the mask is needed.
    handle = model.base_model.register_forward_pre_hook(_count_positions, with_kwargs=True)
    try:
        with own_text_lengths(model):
            yield
    finally:
        handle.remove()


def _count_positions(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Give a pass positions that count each row's own tokens, unless it has positions."""
    mask = kwargs.get("attention_mask")
    if kwargs.get("position_ids") is not None or not isinstance(mask, Tensor) or mask.ndim != 2:
        return None
    given = next(value for name in ("input_ids", "inputs_embeds") if (value := kwargs.get(name)) is not None)
    positions = (mask.long().cumsum(-1) - 1).clamp(min=0)[:, -given.shape[1] :]
    return args, kwargs | {"position_ids": positions}


_count_positions.by_row = False  # type: ignore[attr-defined]  # what it does to a row does not depend on its place


def length_dependent_types(config: Any) -> list[str]:
    """Name the rope types of a model's config whose frequencies ``transformers`` changes with a text's length."""
    parameters = getattr(config.get_text_config(), "rope_parameters", None) or {}
    entries = [parameters, *(entry for entry in parameters.values() if isinstance(entry, dict))]
    types = {str(entry.get("rope_type")) for entry in entries}
    return sorted(name for name in types if name == "longrope" or "dynamic" in name)


def frequency_regimes(model: nn.Module, lengths: Int[Tensor, " row"]) -> list[tuple[bytes, ...]]:
    """Tell the frequencies of texts so long apart: equal values, equal frequencies; empty for ordinary models.

    ``own_lengths`` must be open.
    """
    turning = [each for each in map(_standing_in, model.modules()) if each is not None]
    if not turning:
        return [()] * len(lengths)
    return [tuple(each.regime(length) for each in turning) for length in lengths.tolist()]


def depends_on_length(model: nn.Module) -> bool:
    """Whether a rotary module of ``model`` turns a text by its length."""
    return any(_standing_in(module) or _OwnLengths.of(module) for module in model.modules())


class _OwnLengths:
    """Stands in for a rotary module's ``forward``."""

    def __init__(self, module: nn.Module) -> None:
        self._module, self._users = module, 0
        self._before = vars(module).get("forward")
        self._seen: dict[bytes, bytes] = {}
        self._regimes: dict[int, bytes] = {}

    @classmethod
    def of(cls, module: nn.Module) -> "_OwnLengths | None":
        """For a rotary module in the manner of ``transformers`` that depends on length; None for any other module."""
        if not hasattr(module, "rope_type") or "position_ids" not in inspect.signature(type(module).forward).parameters:
            return None
        turning = cls(module)
        try:
            return turning if turning.regime(2) != turning.regime(_FAR) else None
        except (IndexError, RuntimeError, TypeError, ValueError):
            return None  # positions of another shape, as for images: the proof on load tries the whole model

    def open(self) -> None:
        """Take the module's place, if this is the first to ask for it."""
        self._users += 1
        vars(self._module)["forward"] = self

    def close(self) -> None:
        """Give the module's place back, if this is the last to do so."""
        self._users -= 1
        if self._users == 0:
            vars(self._module).pop("forward")
            if self._before is not None:
                vars(self._module)["forward"] = self._before

    def regime(self, length: int) -> bytes:
        """What a text of ``length`` tokens has at position 1, in all layer types: equal if the frequencies are."""
        if length not in self._regimes:
            device = next((buffer.device for buffer in self._module.buffers()), torch.device("cpu"))
            first = torch.ones(1, 1, dtype=torch.long, device=device)
            types = self._module.rope_type
            calls: list[tuple[str, ...]] = [(name,) for name in types] if isinstance(types, dict) else [()]
            turned = [self._turn(length, first.float(), first, *call) for call in calls]
            key = b"".join(part.cpu().numpy().tobytes() for parts in turned for part in parts)
            self._regimes[length] = self._seen.setdefault(key, key)
        return self._regimes[length]

    def __call__(
        self, x: Tensor, position_ids: Int[Tensor, "row token"], *args: Any, **kwargs: Any
    ) -> tuple[Tensor, ...]:
        """The module's output, each row's by its own length."""
        if position_ids.ndim != 2:
            kind, axes = type(self._module).__name__, position_ids.ndim
            raise InputError(
                f"{kind} turns a text by its length and by positions of {axes} axes, which are not read here; "
                "give a model whose positions are [row, token]"
            )
        known = _TEXT_LENGTHS.get()
        lengths: list[int] = (position_ids.amax(-1) + 1 if known is None else known).tolist()
        rows: dict[bytes, list[int]] = {}
        for row, length in enumerate(lengths):
            rows.setdefault(self.regime(length), []).append(row)
        if len(rows) == 1:
            return self._turn(lengths[0], x, position_ids, *args, **kwargs)
        positions = position_ids.expand(len(lengths), -1)
        turned = [self._turn(lengths[some[0]], x, positions[some], *args, **kwargs) for some in rows.values()]
        place = torch.tensor([row for some in rows.values() for row in some], device=position_ids.device).argsort()
        return tuple(torch.cat(parts)[place] for parts in zip(*turned, strict=True))

    def _turn(
        self, length: int, x: Tensor, position_ids: Int[Tensor, "row token"], *args: Any, **kwargs: Any
    ) -> tuple[Tensor, ...]:
        """What a new module gives for parts of texts of ``length`` tokens: the text's last position stands at the end
        of each row, and its own output is dropped.
        """
        last = position_ids.new_full((len(position_ids), 1), length - 1)
        forward: Any = type(self._module).forward
        turned = forward(_as_new(self._module), x, torch.cat([position_ids, last], dim=-1), *args, **kwargs)
        return tuple(part[:, :-1] for part in turned)


def _standing_in(module: nn.Module) -> _OwnLengths | None:
    forward = vars(module).get("forward")
    return forward if isinstance(forward, _OwnLengths) else None


def _as_new(module: nn.Module) -> nn.Module:
    """Copy a rotary module without what earlier passes have left in it; what a pass leaves in the copy goes with it."""
    new = copy.copy(module)
    new._buffers = dict(module._buffers)
    for name in [*vars(module), *module._buffers]:
        if name.endswith("original_inv_freq"):
            setattr(new, name.replace("original_inv_freq", "inv_freq"), getattr(module, name))
        elif name.endswith("max_seq_len_cached"):
            setattr(new, name, module.original_max_seq_len)
        elif name.endswith("long_inv_freq"):
            delattr(new, name)
    return new
