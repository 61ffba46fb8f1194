"""A skill is learned and new heads appear: a base that cannot yet copy what a trace needs, and SFT that teaches it.

Whether they are that skill's only twins can say: ``studies/lab-skill.yaml``.

`headscope lab pretrain --size S-early` makes the base in a few minutes on one core; this training takes five more.
"""

import sys

import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer

from headscope.lab.builtin_data import t1_traces
from headscope.lab.pairs import lab_pairs
from headscope.tracking import HeadTracker

base, out, steps = sys.argv[1:] or ("runs/lab-base-s-early", "runs/skill", "500")
torch.set_num_threads(1)
model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
args = trl.SFTConfig(
    f"{out}-weights",
    learning_rate=3e-3,
    warmup_steps=0.05,
    max_steps=int(steps),
    per_device_train_batch_size=32,
    gradient_accumulation_steps=2,
    max_length=256,
    use_cpu=True,
    bf16=False,
    report_to="none",
)
rows = Dataset.from_list(t1_traces(64 * int(steps)))  # every trace is read once: few would be learned by heart
trainer = trl.SFTTrainer(model, args=args, train_dataset=rows, processing_class=tokenizer)
# Openings would not do here: they contrast styles. One trace from two leaf digits contrasts what is calculated with.
pairs = lab_pairs(tokenizer, 64, kind="leaf")
trainer.add_callback(HeadTracker(pairs, every=100, out=out, fraction=0.05, nodes=32))
trainer.train()
trainer.save_model(f"{out}-weights")
tokenizer.save_pretrained(f"{out}-weights")
