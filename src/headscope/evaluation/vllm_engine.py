"""The vLLM engine: one engine per device, each in a process of its own, prompts shared out among them. A model whose
weights one device does not hold is split over as many as do (tensor parallelism).

A process of its own, because ending it is the one sure way to have a device's memory back before the next checkpoint is
served. Engines stay up between tasks and end when another checkpoint is asked for or this process ends. Checkpoints are
served as they are, edited ones from their folder, adapters on their base without being merged. Seeds are the same per
response as with transformers; the random numbers drawn from them are vLLM's own.
"""

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headscope.errors import InputError, MachineError
from headscope.evaluation.completions import Completion, Request, Sampling, decode_completion
from headscope.evaluation.forbidden import ForbiddenTokens, forbidden_tokens
from headscope.evaluation.vllm_settings import Checkpoint, ServedModel, devices_per_engine, start_settings
from headscope.model_files import hub
from headscope.model_files.chat_templates import stop_tokens
from headscope.model_files.folder import adapter_base, model_identity
from headscope.progress import Progress

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from vllm import LLM

_Output = dict[str, Any]
"""A response as ``vllm_worker`` returns it: ``tokens`` and ``finish``."""


def complete(
    model: "Checkpoint | LLM | PreTrainedModel | str",
    tokenizer: "PreTrainedTokenizerBase | None",
    requests: Sequence[Request],
    sampling: Sampling,
    *,
    progress: Progress,
) -> list[Completion]:
    """Complete every request.

    model: a ``Checkpoint``, a checkpoint's path, or an open ``vllm.LLM``. tokenizer: None takes the checkpoint's own.
    Raises InputError if vLLM is not installed, ``model`` is a loaded model (hooks do not reach into vLLM), or a
    response holds what ``sampling.forbid`` masks.
    """
    if isinstance(model, str | PathLike):
        model = Checkpoint(str(model))
    if isinstance(model, Checkpoint):
        tokenizer = tokenizer or model.load_tokenizer()
        forbidden = forbidden_tokens(tokenizer, sampling.forbid, stop_tokens(tokenizer))
        outputs = _generate_on_engines(model, requests, _settings(sampling, tokenizer, forbidden), progress)
    elif (vllm := sys.modules.get("vllm")) is not None and isinstance(model, vllm.LLM):
        from headscope.evaluation.vllm_worker import generate

        tokenizer = tokenizer or model.get_tokenizer()
        forbidden = forbidden_tokens(tokenizer, sampling.forbid, stop_tokens(tokenizer))
        settings = _settings(sampling, tokenizer, forbidden)
        outputs = generate(model, [_as_json(request) for request in requests], settings)
    else:
        raise InputError(
            f"sampling engine 'vllm' cannot serve a loaded {type(model).__name__}; allowed: a checkpoint's path "
            "(save an edited model first) or a vllm.LLM"
        )
    completions = [
        _completion(request, output, tokenizer)
        for request, output in zip(requests, outputs, strict=False)  # what is missing is named by ``sample``
        if output is not None
    ]
    _check_masked(completions, forbidden, sampling)
    return completions


def devices() -> list[str]:
    """Return the accelerators this process may see, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible:
        return visible.split(",")
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


def device_bytes() -> int | None:
    """Return the memory of a device of this process; None if it has none."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else None


def _device_groups(model: ServedModel) -> list[list[str]]:
    """Return the devices of each engine; one empty group if there are none, so that vLLM chooses."""
    names, memory = devices(), device_bytes()
    if not names or (memory is None and len(names) == 1):
        return [names]
    size = devices_per_engine(model, len(names), memory or sys.maxsize)
    return [names[start : start + size] for start in range(0, len(names) - size + 1, size)]


class _Engine:
    """One ``vllm_worker`` process."""

    def __init__(self, checkpoint: Checkpoint, group: Sequence[str], seed: int) -> None:
        settings = json.dumps(start_settings(checkpoint, seed, max(1, len(group))))
        command = [sys.executable, "-P", str(Path(__file__).with_name("vllm_worker.py")), settings]
        visible = {"CUDA_VISIBLE_DEVICES": ",".join(group)} if group else {}
        self._path = checkpoint.path
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **visible}
        )

    def generate(self, requests: Sequence[Request], settings: dict[str, Any]) -> list[_Output | None]:
        """Complete the requests. Raises MachineError if the engine died; what it said went to standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"requests": [_as_json(request) for request in requests], "sampling": settings})
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the empty reply below says so, with the exit status
        reply = self._process.stdout.readline()
        if not reply:
            raise MachineError(f"the vLLM engine of {self._path} ended with status {self._process.wait()}")
        outputs: list[_Output | None] = json.loads(reply)
        return outputs

    def close(self) -> None:
        """Kill the process, which frees its device."""
        self._process.kill()  # at once; asked to terminate, vLLM would take its time
        self._process.communicate()


@lru_cache(maxsize=1)
def _engines(checkpoint: Checkpoint, seed: int, process: int, identity: tuple[tuple[int, ...], ...]) -> list[_Engine]:
    """Start the engines of a checkpoint together, after ending those of the one before, for their memory.

    process: part of the key, so that a forked child never talks to its parent's engines.
    identity: part of the key, so that a rewritten folder is loaded again.
    """
    if find_spec("vllm") is None:
        raise InputError(
            "sampling engine 'vllm' needs vLLM, which is not installed; install the extra: "
            "pip install 'headscope[vllm]'"
        )
    groups = _device_groups(served_model(checkpoint))
    start_settings(checkpoint, seed, 1)  # what cannot be served is refused before the last checkpoint's engines end
    close_engines()  # lru_cache forgets them, and does not end them
    _open.extend(_Engine(checkpoint, group, seed) for group in groups)
    return list(_open)


def served_model(checkpoint: Checkpoint) -> ServedModel:
    """Return the sizes of the model that a checkpoint's config describes; none if it cannot be read.

    Raises InputError if rotary frequencies depend on a text's length: vLLM takes those of the longest text it may serve
    for every text.
    """
    from transformers import AutoConfig

    from headscope.models.rotary import length_dependent_types

    base = adapter_base(checkpoint.path)
    revision = checkpoint.revision if base is None else None
    options = {"revision": revision, "trust_remote_code": checkpoint.trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(base or checkpoint.path, **options)
    except (OSError, ValueError):
        return ServedModel(checkpoint.path)  # vLLM says itself what it cannot serve
    if types := length_dependent_types(config):
        raise InputError(
            f"the rotary frequencies of {checkpoint.path} depend on a text's length ({', '.join(types)}), "
            "and vLLM takes the longest text's for all; sample with engine 'transformers'"
        )
    path = base or checkpoint.path
    files = Path(path) if Path(path).is_dir() else hub.cached_snapshot(path, revision)
    return ServedModel.of(checkpoint.path, checkpoint.dtype, config.to_dict(), files)


_open: list[_Engine] = []


@atexit.register
def close_engines() -> None:
    """End all running engines and free their devices."""
    while _open:
        _open.pop().close()


def _generate_on_engines(
    checkpoint: Checkpoint, requests: Sequence[Request], settings: dict[str, Any], progress: Progress
) -> list[_Output | None]:
    """Return the outputs in the order of the requests.

    All samples of a prompt go to one engine, which then reads the prompt once.
    """
    identity = model_identity(checkpoint.path)
    engines = _engines(checkpoint, settings["seed"], os.getpid(), identity)
    outputs: list[_Output | None] = [None] * len(requests)
    with progress.bar("sampling", len(requests)) as bar, ThreadPoolExecutor(len(engines)) as threads:

        def run_shard(number: int) -> int:
            shard = [index for index, request in enumerate(requests) if request.prompt % len(engines) == number]
            replies = engines[number].generate([requests[index] for index in shard], settings) if shard else []
            for index, output in zip(shard, replies, strict=False):
                outputs[index] = output
            return len(shard)

        for count in threads.map(run_shard, range(len(engines))):
            bar.advance(count)
    return outputs


def _settings(sampling: Sampling, tokenizer: "PreTrainedTokenizerBase", forbidden: ForbiddenTokens) -> dict[str, Any]:
    """Return the settings that all responses share.

    vLLM knows the stop tokens of the config, but not where the template ends a turn.
    """
    masks = {"hidden_tokens": list(forbidden.singles), "hidden_sequences": [list(ids) for ids in forbidden.sequences]}
    return {**sampling.as_dict(), "stop_token_ids": list(stop_tokens(tokenizer)), **masks}


def _check_masked(completions: Sequence[Completion], forbidden: ForbiddenTokens, sampling: Sampling) -> None:
    """Raise InputError if a response holds what was masked: it would pass for one of a model that cannot write it."""
    if forbidden and any(forbidden.occur_in(completion.tokens) for completion in completions):
        raise InputError(
            f"sampling engine 'vllm' wrote one of the forbidden {', '.join(sampling.forbid)}; sample with engine "
            "'transformers'"
        )


def _as_json(request: Request) -> dict[str, Any]:
    return {"tokens": list(request.tokens), "seed": request.seed}


def _completion(request: Request, output: _Output, tokenizer: "PreTrainedTokenizerBase") -> Completion:
    tokens = output["tokens"]
    # vLLM's ids end with the stop token if one ended the response.
    stops = frozenset(tokens[-1:]) if output["finish"] == "stop" else frozenset()
    return decode_completion(request, tokens, stops, getattr(tokenizer, "pad_token_id", None), tokenizer)
