"""Sampling behind one function: transformers by default, vLLM as an extra.

Every response has its own stream of random numbers, seeded by (seed, prompt tokens, sample index). So a response does
not depend on the batch it ran in, on the other problems of the task or on what was sampled before a resume (up to float
rounding), and two models asked the same thing with the same seed share their random numbers, which sharpens paired
comparisons such as base against ablated.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from os import PathLike
from typing import TYPE_CHECKING

from headscope.errors import InputError, suggestion
from headscope.evaluation.completions import Completion, Request, Sampling
from headscope.pairs.tokens import TokenRows, token_rows
from headscope.progress import SILENT, Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from vllm import LLM

    from headscope.evaluation.vllm_settings import Checkpoint
    from headscope.models import Subject

ENGINES = ("transformers", "vllm")


def sample(
    model: "Subject | PreTrainedModel | LLM | Checkpoint | PathLike[str] | str",
    tokenizer: "PreTrainedTokenizerBase | None",
    prompts: TokenRows,
    sampling: Sampling,
    *,
    part: range | None = None,
    batch_size: int | None = None,
    engine: str = "transformers",
    progress: Progress = SILENT,
) -> list[Completion]:
    """Draw ``sampling.samples`` responses to each prompt, in problem-major order.

    Args:
        model: a ``Subject`` or a Hugging Face causal model, hooks on it included, or what ``load_model`` opens; for
            ``engine="vllm"`` a checkpoint's path, a ``vllm_settings.Checkpoint`` or a ``vllm.LLM``.
        tokenizer: decodes the responses; None takes that of the folder, ``Subject`` or engine.
        prompts: token ids, a list of rows or an array of rows of one length, without padding.
        sampling: how responses are drawn.
        part: places of the prompts that are answered, None for all. The random numbers are those of the whole.
        batch_size: rows per forward pass; None derives it from the memory budget (``rows_that_fit``).
        engine: one of ``ENGINES``.
        progress: counts responses.

    Raises:
        InputError: for no prompts, an empty prompt, anything else than token ids, prompts that leave no room in the
            context, adapters that add tokens (prompt tuning), logits that are not finite, an unknown engine, vLLM if it
            is not installed, or an engine that returned fewer responses than it was asked for: a lost response must
            never read as a zero.
    """
    if engine not in ENGINES:
        raise InputError(f"sampling engine {engine!r} does not exist{suggestion(engine, ENGINES)}")
    rows = _prompt_rows(prompts)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size is {batch_size}; allowed: whole numbers from 1 on, or None")
    requests = _requests(rows, sampling)
    if part is not None:
        requests = [request for request in requests if request.prompt in part]
        if not requests:
            raise InputError(f"part is {part}, which holds none of the {len(rows)} prompts; they count from 0")
    if engine == "vllm":
        from headscope.evaluation.vllm_engine import complete

        completions = complete(model, tokenizer, requests, sampling, progress=progress)
    else:
        from headscope.evaluation.transformers_engine import generate
        from headscope.models import Subject, load_model
        from headscope.models.subject import plain_model

        if isinstance(model, str | PathLike):
            model = load_model(str(model))
        if isinstance(model, Subject):
            tokenizer = tokenizer or model.tokenizer
        if tokenizer is None:
            raise InputError("there is no tokenizer, so responses have no texts; give that of the model")
        completions = generate(
            plain_model(model), tokenizer, requests, sampling, batch_size=batch_size, progress=progress
        )
    _require_all(requests, completions, engine)
    return sorted(completions, key=lambda completion: (completion.prompt, completion.sample))


def _prompt_rows(prompts: TokenRows) -> list[list[int]]:
    """Return the prompts as lists of ids. Raises InputError if there is none, or one is empty or no token ids."""
    rows = [row.tolist() for row in token_rows(prompts)]
    empty = [index for index, row in enumerate(rows) if not row]
    if not rows or empty:
        raise InputError(f"prompt {empty[0]} has no tokens" if empty else "there is no prompt to sample from")
    return rows


def _require_all(requests: Sequence[Request], completions: Sequence[Completion], engine: str) -> None:
    counts = Counter((completion.prompt, completion.sample) for completion in completions)
    missing = [request for request in requests if counts[request.prompt, request.sample] != 1]
    if missing:
        raise InputError(
            f"sampling engine {engine!r} returned {len(completions)} of {len(requests)} responses; the first missing "
            f"is sample {missing[0].sample} of prompt {missing[0].prompt}, and every one is needed"
        )


def _requests(prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Request]:
    """Return one request per response; a prompt that occurs twice gets other random numbers the second time."""
    occurrences: Counter[bytes] = Counter()
    requests = []
    for index, prompt in enumerate(prompts):
        key = ",".join(str(token) for token in prompt).encode()
        for number in range(sampling.samples):
            seed = _stream_seed(sampling.seed, occurrences[key], number, key)
            requests.append(Request(index, number, seed, prompt))
        occurrences[key] += 1
    return requests


def _stream_seed(seed: int, occurrence: int, number: int, key: bytes) -> int:
    """Return the seed of one response's stream: 63 bits, so that it fits an int64 column and vLLM's seed."""
    digest = hashlib.blake2b(f"{seed}/{occurrence}/{number}/".encode() + key, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
