"""The vLLM engine: one engine per device, each in a process of its own, prompts shared out among them.

A process of its own, because ending it is the one sure way to have a device's memory back before the next checkpoint is
served. Engines stay up between tasks and end when another checkpoint is asked for or this process ends. Checkpoints are
served as they are, edited ones from their folder. Seeds are the same per response as with transformers; the random
numbers drawn from them are vLLM's own.
"""

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

from headscope.errors import InputError
from headscope.evaluation.chat import load_tokenizer
from headscope.evaluation.sampling import Completion, Request, Sampling, completion_of
from headscope.model_files.chat_templates import stop_tokens
from headscope.model_files.folder import adapter_base
from headscope.progress import Progress


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What an engine serves. path: a folder or hub id; tokenizer: of another folder or id, None for its own."""

    path: str
    dtype: str = "auto"
    revision: str | None = None
    tokenizer: str | None = None
    trust_remote_code: bool = False

    def load_tokenizer(self) -> Any:
        """Its tokenizer, without its weights. Raises InputError where there is none."""
        revision = self.revision if self.tokenizer is None else None
        return load_tokenizer(self.tokenizer or self.path, revision, self.trust_remote_code)


def complete(
    model: Any, tokenizer: Any, requests: Sequence[Request], sampling: Sampling, *, progress: Progress
) -> list[Completion]:
    """Complete every request.

    model: a ``Checkpoint``, a checkpoint's path, or an open ``vllm.LLM``. tokenizer: None takes the checkpoint's own.
    Raises InputError where vLLM is not installed or ``model`` is a loaded model: hooks do not reach into vLLM.
    """
    if isinstance(model, str | PathLike):
        model = Checkpoint(str(model))
    if isinstance(model, Checkpoint):
        tokenizer = tokenizer or model.load_tokenizer()
        outputs = _served(model, requests, _settings(sampling, tokenizer), progress)
    elif (vllm := sys.modules.get("vllm")) is not None and isinstance(model, vllm.LLM):
        from headscope.evaluation.vllm_worker import generate

        tokenizer = tokenizer or model.get_tokenizer()
        outputs = generate(model, [_wanted(request) for request in requests], _settings(sampling, tokenizer))
    else:
        raise InputError(
            f"sampling engine 'vllm' cannot serve a loaded {type(model).__name__}; allowed: a checkpoint's path "
            "(save an edited model first) or a vllm.LLM"
        )
    return [
        _completion(request, output, tokenizer)
        for request, output in zip(requests, outputs, strict=False)  # what is missing is named by ``sample``
        if output is not None
    ]


def devices() -> list[str | None]:
    """One entry per engine: the accelerators this process may see; a single None where vLLM is to choose."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible:
        return list(visible.split(","))
    import torch

    return [str(index) for index in range(torch.cuda.device_count())] or [None]


class _Engine:
    """One ``vllm_worker`` process."""

    def __init__(self, checkpoint: Checkpoint, device: str | None, seed: int) -> None:
        settings = json.dumps({"seed": seed, **asdict(checkpoint)})
        command = [sys.executable, "-P", str(Path(__file__).with_name("vllm_worker.py")), settings]
        chosen = {} if device is None else {"CUDA_VISIBLE_DEVICES": device}
        self._path = checkpoint.path
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, **chosen}
        )

    def generate(self, requests: Sequence[Request], settings: dict[str, Any]) -> list[dict[str, Any] | None]:
        """Raises RuntimeError where the engine died; what it said went to standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        line = json.dumps({"requests": [_wanted(request) for request in requests], "sampling": settings})
        try:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass
        reply = self._process.stdout.readline()
        if not reply:
            raise RuntimeError(f"the vLLM engine of {self._path} ended with status {self._process.wait()}")
        outputs: list[dict[str, Any] | None] = json.loads(reply)
        return outputs

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@lru_cache(maxsize=1)
def _engines(checkpoint: Checkpoint, seed: int, process: int) -> list[_Engine]:
    """Started together; those of the checkpoint before are ended first, for their memory. Keyed by process: a forked
    child never talks to its parent's engines.
    """
    if find_spec("vllm") is None:
        raise InputError(
            "sampling engine 'vllm' needs vLLM, which is not installed; install the extra: "
            "pip install 'headscope[vllm]'"
        )
    _check_servable(checkpoint)
    close_engines()
    _open.extend(_Engine(checkpoint, device, seed) for device in devices())
    return list(_open)


def _check_servable(checkpoint: Checkpoint) -> None:
    """Raise InputError for a folder with an adapter alone, and if rotary frequencies depend on a text's length: vLLM
    takes those of the longest text it may serve for every text.
    """
    if adapter_base(checkpoint.path) is not None:
        raise InputError(
            f"{checkpoint.path} is an adapter and vLLM is served whole models; sample with engine 'transformers', or "
            "save the model that merge_and_unload() of peft gives"
        )
    from transformers import AutoConfig

    from headscope.models.rotary import length_dependent_types

    options = {"revision": checkpoint.revision, "trust_remote_code": checkpoint.trust_remote_code}
    try:
        config = AutoConfig.from_pretrained(checkpoint.path, **options)
    except (OSError, ValueError):
        return  # vLLM says itself what it cannot serve
    if types := length_dependent_types(config):
        raise InputError(
            f"the rotary frequencies of {checkpoint.path} depend on a text's length ({', '.join(types)}), "
            "and vLLM takes the longest text's for all; sample with engine 'transformers'"
        )


_open: list[_Engine] = []


@atexit.register
def close_engines() -> None:
    """End the engines that are up, and free their devices."""
    while _open:
        _open.pop().close()


def _served(
    checkpoint: Checkpoint, requests: Sequence[Request], settings: dict[str, Any], progress: Progress
) -> list[dict[str, Any] | None]:
    """In the order of the requests. All samples of a prompt go to one engine, which then reads the prompt once."""
    engines = _engines(checkpoint, settings["seed"], os.getpid())
    outputs: list[dict[str, Any] | None] = [None] * len(requests)
    with progress.bar("sampling", len(requests)) as bar, ThreadPoolExecutor(len(engines)) as threads:

        def shard(number: int) -> None:
            mine = [index for index, request in enumerate(requests) if request.prompt % len(engines) == number]
            found = engines[number].generate([requests[index] for index in mine], settings) if mine else []
            for index, output in zip(mine, found, strict=False):
                outputs[index] = output

        for number, _ in enumerate(threads.map(shard, range(len(engines)))):
            bar.advance(sum(request.prompt % len(engines) == number for request in requests))
    return outputs


def _settings(sampling: Sampling, tokenizer: Any) -> dict[str, Any]:
    """What every response shares. vLLM knows the stop tokens of the config, but not where the template ends a turn."""
    return {**asdict(sampling), "stop_token_ids": list(stop_tokens(tokenizer))}


def _wanted(request: Request) -> dict[str, Any]:
    return {"tokens": list(request.tokens), "seed": request.seed}


def _completion(request: Request, output: dict[str, Any], tokenizer: Any) -> Completion:
    """The ids end with the stop token where one ended the response."""
    tokens = output["tokens"]
    stops = frozenset(tokens[-1:]) if output["finish"] == "stop" else frozenset()
    return completion_of(request, tokens, stops, getattr(tokenizer, "pad_token_id", None), tokenizer)
