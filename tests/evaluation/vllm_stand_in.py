"""What headscope uses of vLLM 0.31.0, with its names and defaults; tests install it as ``vllm``.

Responses depend on the second token of a prompt; those to 30 name the devices, the number of prompts, the process, and
the adapter.
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace

TokensPrompt = dict


class SamplingParams(dict):
    _bad_words_token_ids = None


@dataclass(frozen=True)
class LoRARequest:
    lora_name: str
    lora_int_id: int
    lora_path: str = ""


# ``from vllm.lora.request import LoRARequest``
__path__ = []
for name in ("vllm.lora", "vllm.lora.request"):
    sys.modules[name] = ModuleType(name)
sys.modules["vllm.lora.request"].LoRARequest = LoRARequest


class LLM:
    def __init__(
        self,
        model="",
        *,
        tokenizer=None,
        trust_remote_code=False,
        tensor_parallel_size=1,
        dtype="auto",
        revision=None,
        seed=0,
        **kwargs,
    ):
        assert kwargs.keys() <= {"enable_prefix_caching", "enable_lora", "max_lora_rank"}
        print("a library that prints")
        self.model, self.split, self.lora = model, tensor_parallel_size, kwargs.get("enable_lora", False)

    def generate(self, prompts, sampling_params=None, *, use_tqdm=True, lora_request=None):
        assert lora_request is None or self.lora
        self.parameters = sampling_params
        stop = SimpleNamespace(token_ids=[20, 21, 2], finish_reason="stop")
        cut = SimpleNamespace(token_ids=[20] * 12, finish_reason="length")
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        assert self.split == len(visible)
        facts = [30 + int(visible[0] or 0), len(prompts), 3 + os.getpid() % 94]
        if lora_request is not None:
            facts += [40 + len([*Path(lora_request.lora_path).iterdir()]), 50 + len([*Path(self.model).iterdir()])]
        traced = SimpleNamespace(token_ids=[*facts, 2], finish_reason="stop")
        chosen = {20: stop, 30: traced, 40: cut}
        outputs = [chosen.get(prompt["prompt_token_ids"][1]) for prompt in prompts]
        return [SimpleNamespace(outputs=[output] if output else []) for output in outputs]
