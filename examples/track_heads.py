"""Heads tracked in a training of your own: plain transformers, a small built-in model, a minute on one core."""

import sys

import transformers as hf

from headscope.lab.builtin_data import traces
from headscope.lab.pairs import lab_pairs
from headscope.models import load_model
from headscope.tracking import HeadTracker

out, steps = (*sys.argv[1:], *("runs/tracked", "60")[len(sys.argv) - 1 :])
subject = load_model("lab-s")
model, tokenizer = subject.model, subject.tokenizer
rows = [tokenizer.apply_chat_template(row["prompt"] + row["completion"]) for row in traces()]
collate = hf.DataCollatorForLanguageModeling(tokenizer, mlm=False)
args = hf.TrainingArguments(f"{out}-weights", learning_rate=1e-3, max_steps=int(steps), per_device_train_batch_size=32)
trainer = hf.Trainer(model, args, collate, train_dataset=rows)
trainer.add_callback(HeadTracker(lab_pairs(tokenizer, 32), every=20, out=out, fraction=0.05))
trainer.train()
