"""A study at toy size: a random two-layer base with the lab's tokenizer, trained for a few steps."""

from pathlib import Path

import torch
from transformers import Qwen3ForCausalLM

from headscope.lab.pretrain import architecture
from headscope.lab.recipes import Size
from headscope.lab.tokenizer import build_tokenizer

STUDY = """
name: toy
base: {{model: {base}}}
variants:
  - {{name: sft, train: {{preset: lab-sft, dataset: lab-traces-64, max_steps: 4, save_every: 2, batch_size: 16}}}}
  - name: grpo
    train:
      {{preset: lab-grpo, dataset: lab-train, max_steps: 2, save_every: 1, prompts_per_step: 4, samples: 4,
       max_completion_length: 12}}
tasks: [lab-t1, lab-k]
discover: {{tasks: [lab-train], pairs: 8, opening_tokens: 3, nodes: 4, resamples: 50}}
ablate: {{heads: [kept], tasks: [lab-t1], problems: 6, samples: 2, controls: 3}}
eval: {{problems: 10, samples: 4, k: [1, 2, 4], temperature: 1.0, top_p: 1.0, max_new_tokens: 12}}
"""


def build_base(folder: Path) -> None:
    """Save a random base model: 2 layers x 4 heads, d 32."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    model = Qwen3ForCausalLM(architecture(Size(layers=2, width=32, heads=4, groups=2), len(tokenizer)))
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(0.0, 0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
