"""The settings, requests and completions of sampling, which all engines share.

``Sampling`` says how responses are drawn, a ``Request`` is one response to be drawn, a ``Completion`` the response. The
engines import only this module, so that ``sampling`` can import them.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from headscope.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings by which responses are drawn; the defaults are the paper's.

    samples: responses per prompt. temperature: 0 is greedy. top_p: nucleus mass in (0, 1].
    top_k: only so many likeliest tokens, 0 for all. min_p: only tokens at least this share as likely as the likeliest,
        in [0, 1].
    forbid: markers that are never generated (``evaluation.forbidden`` says which tokens write them).
    Raises InputError for a value out of range, and for one text as ``forbid``.
    """

    samples: int = 16
    max_new_tokens: int = 4096
    temperature: float | int = 0.6
    top_p: float | int = 0.95
    seed: int = 0
    forbid: Sequence[str] = ()
    top_k: int = 0
    min_p: float | int = 0.0

    def __post_init__(self) -> None:
        for name in ("samples", "max_new_tokens"):
            if getattr(self, name) < 1 or getattr(self, name) != int(getattr(self, name)):
                raise InputError(f"sampling {name} is {getattr(self, name)}; allowed: whole numbers from 1 on")
        # Asked the other way round, NaN would pass: every comparison with it is false.
        if not 0 <= self.temperature < math.inf:
            raise InputError(f"sampling temperature is {self.temperature}; allowed: 0 (greedy) or more, not infinity")
        if not 0 < self.top_p <= 1:
            raise InputError(f"sampling top_p is {self.top_p}; allowed: above 0, up to 1")
        if self.top_k < 0:
            raise InputError(f"sampling top_k is {self.top_k}; allowed: 0 (all tokens) or more")
        if not 0 <= self.min_p <= 1:
            raise InputError(f"sampling min_p is {self.min_p}; allowed: 0 to 1")
        if isinstance(self.forbid, str):
            raise InputError(f"sampling forbid is one text, {self.forbid!r:.40}; give a list of markers")
        object.__setattr__(self, "forbid", tuple(self.forbid))  # a list has no hash, and equals no tuple

    def as_dict(self) -> dict[str, float | int | list[str]]:
        """Return the fields as plain JSON values; ``forbid``, ``top_k`` and ``min_p`` only if they are used.

        The digests of units and the files of their results rest on this: what was sampled before these existed is the
        same as what is sampled without them today.
        """
        fields = asdict(self) | {"forbid": list(self.forbid)}
        later = ("forbid", "top_k", "min_p")
        return {name: value for name, value in fields.items() if value or name not in later}


@dataclass(frozen=True, slots=True)
class Request:
    """One response to be drawn; what an engine is handed.

    prompt: index into the prompts. sample: 0 … samples − 1. seed: of its random stream. tokens: ids of the prompt.
    """

    prompt: int
    sample: int
    seed: int
    tokens: Sequence[int]


@dataclass(frozen=True, slots=True)
class Completion:
    """One response.

    prompt: index into the prompts.
    sample: 0 … samples − 1.
    seed: of its random stream.
    tokens: generated ids, stop token excluded.
    text: their text, with the special tokens that carry meaning.
    finish: "stop" (the model ended it) or "length" (cut at max_new_tokens).
    end: the stop token, None for "length".
    """

    prompt: int
    sample: int
    seed: int
    tokens: tuple[int, ...]
    text: str
    finish: str
    end: int | None = None


def check_room(prompt: int, new: int, context: int | None, *, setting: str = "max_new_tokens") -> None:
    """Raise InputError if a prompt and its answer, in tokens, are longer than a model's context; None is unknown.

    setting: what the answer's length is called where it is set.
    """
    if context is None or prompt + new <= context:
        return
    if prompt >= context:
        raise InputError(
            f"a prompt of {prompt} tokens leaves no room for an answer in the model's context of {context}; shorten it "
            "or leave it out"
        )
    raise InputError(
        f"a prompt of {prompt} tokens and {new} new ones exceed "
        f"the model's context of {context}; lower {setting} to {context - prompt}"
    )


def decode_completion(
    request: Request,
    tokens: Sequence[int],
    stops: frozenset[int],
    pad: int | None,
    tokenizer: "PreTrainedTokenizerBase",
) -> Completion:
    """Return the completion of ``request`` from raw generated ids, cut at the first stop token.

    Special tokens stay in the text (``<think>``, ``<ans>`` carry meaning); only the stop token and padding are left
    out.
    """
    length = next((index for index, token in enumerate(tokens) if token in stops), None)
    end = None if length is None else int(tokens[length])
    response = tuple(int(token) for token in tokens[:length])
    printed = [token for token in response if token != pad]
    text = tokenizer.decode(printed, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    finish = "length" if end is None else "stop"
    return Completion(request.prompt, request.sample, request.seed, response, text, finish, end)
