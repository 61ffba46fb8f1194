"""Teacher-forced sweeps measured: one head set of four heads, 200 matched controls, T2 problems, one thread.

``python benchmarks/interventions.py M 200`` (the lab's base model) or ``S 200`` (its smaller shape, random weights).
Prints wall and processor seconds, and what 200 problems take at that rate.
"""

import sys
import time
from typing import Any

import numpy as np
import torch
from transformers import Qwen3ForCausalLM

from headscope.comparison import matched_random_sets
from headscope.evaluation import prompt_ids
from headscope.heads import HeadSet
from headscope.interventions import Text, teacher_forced
from headscope.lab import base, chains
from headscope.lab.pretrain import architecture
from headscope.lab.recipes import Size
from headscope.models import load_model

CONTROLS, PROBLEMS = 200, 200
HEADS = HeadSet.of(["L1H0", "L2H3", "L3H1", "L3H2"])


def main(size: str = "M", problems: str = "200") -> None:
    """Measure ``problems`` problems on a model of ``size``."""
    torch.set_num_threads(1)
    subject = load_model(base.model_folder("lab-m"))
    model: Any = subject.model
    if size == "S":
        shape = Size(layers=4, width=64, heads=8, groups=4)
        model = Qwen3ForCausalLM(architecture(shape, len(subject.tokenizer))).eval()
    layers = model.config.num_hidden_layers
    sets = [HeadSet(()), HEADS, *matched_random_sets(HEADS, layers, 8, CONTROLS, 0)]
    factors = np.stack([1 - each.grid(layers, 8) for each in sets]).astype(np.float32)
    texts = [_text(subject.tokenizer, item) for item in base.task_items("lab-t2")[: int(problems)]]
    teacher_forced(model, texts[:1], factors[:2])
    wall, processor = time.perf_counter(), time.process_time()
    teacher_forced(model, texts, factors)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    scaled = PROBLEMS / len(texts)
    length = np.mean([len(each.tokens) for each in texts])
    print(f"{size}: {len(texts)} problems of {length:.0f} tokens, {len(sets)} edits:")
    print(f"wall {wall:.1f} s, processor {processor:.1f} s; at {PROBLEMS} problems {processor * scaled:.0f} s")


def _text(tokenizer: Any, item: chains.Item) -> Text:
    response = tokenizer(chains.thinking(item), add_special_tokens=False)["input_ids"]
    return Text(tuple(prompt_ids(tokenizer, item.prompt)), (*response, tokenizer.eos_token_id))


if __name__ == "__main__":
    main(*sys.argv[1:])
