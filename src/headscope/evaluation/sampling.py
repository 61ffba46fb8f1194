"""Sampling behind one function: transformers by default, vLLM as an extra.

Every response has its own stream of random numbers, seeded by (seed, prompt tokens, sample index). So a
response does not depend on the batch it ran in, on the other problems of the task or on what was sampled
before a resume (up to float rounding), and two models asked the same thing with the same seed share their
random numbers, which sharpens paired comparisons such as base against ablated.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from headscope.errors import InputError, suggestion
from headscope.progress import SILENT, Progress

ENGINES = ("transformers", "vllm")


@dataclass(frozen=True, slots=True)
class Sampling:
    """How responses are drawn; the defaults are the paper's.

    samples: responses per prompt. temperature: 0 is greedy. top_p: nucleus mass in (0, 1].
    Raises InputError for a value out of range.
    """

    samples: int = 16
    max_new_tokens: int = 4096
    temperature: float | int = 0.6
    top_p: float | int = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("samples", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise InputError(f"sampling {name} is {getattr(self, name)}; allowed: 1 or more")
        if not self.temperature >= 0:
            raise InputError(f"sampling temperature is {self.temperature}; allowed: 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise InputError(f"sampling top_p is {self.top_p}; allowed: above 0, up to 1")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON-able fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Completion:
    """One response.

    prompt: index into the prompts; sample: 0 … samples − 1; seed: of its stream.
    tokens: generated ids, stop token excluded; text: their text, with the special tokens that carry meaning.
    finish: "stop" (the model ended it) or "length" (cut at max_new_tokens). end: the stop token, None for "length".
    """

    prompt: int
    sample: int
    seed: int
    tokens: tuple[int, ...]
    text: str
    finish: str
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One response to be drawn; what an engine is handed."""

    prompt: int
    sample: int
    seed: int
    tokens: Sequence[int]


def sample(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    sampling: Sampling,
    *,
    batch_size: int | None = None,
    engine: str = "transformers",
    progress: Progress = SILENT,
) -> list[Completion]:
    """Draw ``sampling.samples`` responses to each prompt (token ids), in problem-major order.

    model: a Hugging Face causal model, hooks on it included; for ``engine="vllm"`` a checkpoint's path, a
        ``vllm_engine.Checkpoint`` or a ``vllm.LLM``.
    batch_size: rows per forward pass; None derives it from the memory budget of ``generation.rows_that_fit``.
    Raises InputError for no prompts, an empty prompt, prompts that leave no room in the context, logits that
    are not finite, an unknown engine, vLLM where it is not installed, or an engine that returned fewer responses
    than it was asked for: a lost response must never read as a zero.
    """
    if engine not in ENGINES:
        raise InputError(f"sampling engine {engine!r} does not exist{suggestion(engine, ENGINES)}")
    empty = [index for index, prompt in enumerate(prompts) if len(prompt) == 0]
    if not prompts or empty:
        raise InputError(f"prompt {empty[0]} has no tokens" if empty else "there is no prompt to sample from")
    requests = _requests(prompts, sampling)
    if engine == "vllm":
        from headscope.evaluation.vllm_engine import complete

        completions = complete(model, tokenizer, requests, sampling, progress=progress)
    else:
        from headscope.evaluation.generation import generate

        completions = generate(model, tokenizer, requests, sampling, batch_size=batch_size, progress=progress)
    _require_all(requests, completions, engine)
    return sorted(completions, key=lambda completion: (completion.prompt, completion.sample))


def _require_all(requests: Sequence[Request], completions: Sequence[Completion], engine: str) -> None:
    found = Counter((completion.prompt, completion.sample) for completion in completions)
    missing = [request for request in requests if found[request.prompt, request.sample] != 1]
    if missing:
        raise InputError(
            f"sampling engine {engine!r} returned {len(completions)} of {len(requests)} responses; the first missing "
            f"is sample {missing[0].sample} of prompt {missing[0].prompt}, and every one is needed"
        )


def check_room(prompt: int, new: int, context: int | None) -> None:
    """Raise InputError if a prompt and its answer, in tokens, are longer than a model's context; None is unknown."""
    if context is not None and prompt + new > context:
        raise InputError(
            f"a prompt of {prompt} tokens and {new} new ones exceed "
            f"the model's context of {context}; lower max_new_tokens to {context - prompt}"
        )


def completion_of(
    request: Request, tokens: Sequence[int], stops: frozenset[int], pad: int | None, tokenizer: Any
) -> Completion:
    """Cut raw generated ids at the first stop token and decode them.

    Special tokens stay in the text (``<think>``, ``<ans>`` carry meaning); only the stop token and padding
    are left out.
    """
    length = next((index for index, token in enumerate(tokens) if token in stops), None)
    end = None if length is None else int(tokens[length])
    kept = tuple(int(token) for token in tokens[:length])
    shown = [token for token in kept if token != pad]
    text = tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    finish = "length" if end is None else "stop"
    return Completion(request.prompt, request.sample, request.seed, kept, text, finish, end)


def _requests(prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Request]:
    """One request per response; a prompt that occurs twice gets other random numbers the second time."""
    seen: Counter[bytes] = Counter()
    requests = []
    for index, prompt in enumerate(prompts):
        key = ",".join(str(int(token)) for token in prompt).encode()
        for number in range(sampling.samples):
            seed = _stream_seed(sampling.seed, seen[key], number, key)
            requests.append(Request(index, number, seed, prompt))
        seen[key] += 1
    return requests


def _stream_seed(seed: int, occurrence: int, number: int, key: bytes) -> int:
    """63 bits, so that it fits an int64 column and vLLM's seed."""
    digest = hashlib.blake2b(f"{seed}/{occurrence}/{number}/".encode() + key, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
