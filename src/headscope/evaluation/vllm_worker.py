"""The process that holds one vLLM engine: one JSON line in, one JSON line out. Run as a script; it imports nothing of
headscope.

    in:   {"requests": [{"tokens": [ids], "seed": int}, …], "sampling": {…}}
    out:  [{"tokens": [ids], "finish": "stop" | "length"} or null, …]

The process ends with its standard input, so it never outlives its parent.
"""

import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm import LLM


def generate(
    engine: "LLM", requests: list[dict[str, Any]], sampling: dict[str, Any], adapter: str | None = None
) -> list[dict[str, Any] | None]:
    """Complete the requests in one engine call (vLLM batches by itself); None for those it returned nothing to.

    adapter: folder of the LoRA that is served on the engine's model.
    """
    import vllm

    # The lowest bias vLLM takes: a token whose logit is 40 above all others keeps a chance of e to the power of -60.
    hidden = dict.fromkeys(sampling["hidden_tokens"], -100.0)
    limits = {name: sampling[name] for name in ("top_k", "min_p") if name in sampling}
    prompts = [vllm.TokensPrompt(prompt_token_ids=request["tokens"]) for request in requests]
    parameters = [
        vllm.SamplingParams(
            max_tokens=sampling["max_new_tokens"],
            temperature=sampling["temperature"],
            top_p=sampling["top_p"],
            **limits,
            seed=request["seed"],
            stop_token_ids=sampling["stop_token_ids"],
            logit_bias=hidden or None,
            skip_special_tokens=False,
            detokenize=False,
        )
        for request in requests
    ]
    if sampling["hidden_sequences"]:
        for own in parameters:
            # ``bad_words`` takes texts, and leaves out a spelling that takes more tokens with a space before it. Here
            # are the ids it makes of them; the responses are checked, should a vLLM not read them.
            own._bad_words_token_ids = sampling["hidden_sequences"]
    lora = {}
    if adapter is not None:
        from vllm.lora.request import LoRARequest

        lora = {"lora_request": LoRARequest(lora_name=adapter, lora_int_id=1, lora_path=adapter)}
    outputs = engine.generate(prompts, parameters, use_tqdm=False, **lora)
    firsts = [output.outputs[0] if output.outputs else None for output in outputs]
    return [first and {"tokens": list(first.token_ids), "finish": first.finish_reason} for first in firsts]


def main(settings: dict[str, Any]) -> None:
    """Serve until standard input ends. settings: of ``vllm_settings.start_settings``."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not break the protocol
    import vllm

    adapter = settings.pop("adapter")
    engine = vllm.LLM(**settings)
    for line in sys.stdin:
        print(json.dumps(generate(engine, **json.loads(line), adapter=adapter)), file=replies, flush=True)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
