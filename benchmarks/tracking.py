"""What HeadTracker costs inside TRL's own trainers with their defaults, and that it changes no weight.

    .venv/bin/python benchmarks/tracking.py [--model smollm2-135m] [--pairs 16] [--steps 3] [--quick]

Each training runs twice for a few steps, plain and tracked; the weights at the end must be equal bit for bit. CPU
seconds of this process, one thread: of a step (the first left out), of a scoring, and the share of a training that is
scored every 100 steps. SmolLM2-135M takes about a quarter of an hour. The lab's models read the lab's problems only.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import trl
from datasets import Dataset
from peft import LoraConfig
from table import figures, markdown_table
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from headscope.lab import builtin_data as lab
from headscope.lab.pairs import lab_pairs
from headscope.models import Subject, load_model
from headscope.pairs import Pairs
from headscope.tracking import HeadTracker

EVERY = 100
NAMES = ("Mary", "John", "Anna", "Tom", "Paul", "Kate", "Mark", "Lisa")
PLACES = ("store", "park", "school", "beach")


@dataclass(frozen=True)
class Setting:
    """One training: how TRL is called beside its defaults, and the dtype of the weights."""

    name: str
    trainer: type[Any]
    config: type[Any]
    dtype: str = "float32"
    lora: bool = False


SETTINGS = tuple(
    Setting(f"{method}, {'LoRA' if lora else 'full'}, {dtype}", trainer, config, dtype, lora)
    for method, trainer, config in (("SFT", trl.SFTTrainer, trl.SFTConfig), ("GRPO", trl.GRPOTrainer, trl.GRPOConfig))
    for lora in (False, True)
    for dtype in ("float32", "bfloat16")
)


def question(index: int) -> dict[str, str]:
    """An addition, asked."""
    return {"role": "user", "content": f"What is {17 + 3 * index} + {25 + index}? Think step by step."}


def rows(setting: Setting, count: int, model: str) -> Dataset:
    """Additions worked out in a few sentences, or only asked if the trainer samples the answers."""
    if model.startswith("lab-"):
        return Dataset.from_list(lab.traces(count))
    prompts = [[question(index)] for index in range(count)]
    if setting.trainer is trl.GRPOTrainer:
        return Dataset.from_list([{"prompt": prompt} for prompt in prompts])
    answers = [
        f"First add the tens, then the ones. {17 + 3 * index} + {25 + index} makes {42 + 4 * index}, so the answer is "
        f"{42 + 4 * index}."
        for index in range(count)
    ]
    turns = [[{"role": "assistant", "content": answer}] for answer in answers]
    return Dataset.from_dict({"prompt": prompts, "completion": turns})


def pairs_for(tokenizer: Any, count: int, model: str) -> Pairs:
    """Two names, and who gives: clean and corrupt differ in the second mention."""
    if model.startswith("lab-"):
        return lab_pairs(tokenizer, count)
    clean, corrupt = [], []
    for index in range(count):
        first, second = NAMES[index % 8], NAMES[(index + 1 + index // 8) % 8]
        beginning = f"When {first} and {second} went to the {PLACES[index % 4]}, "
        clean.append(tokenizer(f"{beginning}{second} gave a drink to")["input_ids"])
        corrupt.append(tokenizer(f"{beginning}{first} gave a drink to")["input_ids"])
    return Pairs.from_tokens(clean, corrupt)


def short_answers(completions: Sequence[Any], **_: Any) -> list[float]:
    """A reward that differs among completions: minus their length."""
    return [-float(len(completion[0]["content"])) for completion in completions]


class Clock(TrainerCallback):  # type: ignore[misc]
    """CPU time at the end of every step, what the callbacks before it took included."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.ends.append(time.process_time())


class TimedTracker(HeadTracker):
    """A tracker that adds up what its scorings of trained models take."""

    seconds, scorings = 0.0, 0

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Score and note the time."""
        started = time.process_time()
        super().on_step_end(*args, **kwargs)
        self.seconds += time.process_time() - started
        self.scorings += 1


def train(setting: Setting, subject: Subject, options: Any, tracker: HeadTracker | None) -> tuple[Any, Clock]:
    """Train for a few steps, tracked or not; the trainer and its clock."""
    clock, folder = Clock(), tempfile.mkdtemp(dir=options.folder)
    sampled = {"max_completion_length": options.completion} if setting.trainer is trl.GRPOTrainer else {}
    args = setting.config(folder, max_steps=options.steps, use_cpu=True, report_to="none", disable_tqdm=True,
                          save_strategy="no", **sampled)  # fmt: skip
    rewards = {"reward_funcs": short_answers} if setting.trainer is trl.GRPOTrainer else {}
    peft = LoraConfig(target_modules="all-linear") if setting.lora else None
    trainer = setting.trainer(
        model=subject.model,
        args=args,
        train_dataset=rows(setting, 8 * options.steps, options.model),
        processing_class=subject.tokenizer,
        peft_config=peft,
        **rewards,
    )
    trainer.add_callback(clock)
    trainer.remove_callback(PrinterCallback)
    if tracker is not None:
        trainer.add_callback(tracker)
    trainer.train()
    return trainer, clock


def measure(setting: Setting, options: Any) -> tuple[str, ...]:
    """One row of the table."""

    def load() -> Subject:
        return load_model(options.model, dtype=setting.dtype)

    plain, clock = train(setting, load(), options, None)
    subject = load()
    pairs = pairs_for(subject.tokenizer, 2 * options.pairs, options.model)
    tracker = TimedTracker(pairs, every=options.steps, out=Path(tempfile.mkdtemp(dir=options.folder)))
    tracked, _ = train(setting, subject, options, tracker)
    expected, weights = plain.model.state_dict(), tracked.model.state_dict()
    equal = all(torch.equal(expected[name], weights[name]) for name in expected)
    logged = any("heads/new" in logs for logs in tracked.state.log_history)
    step = (clock.ends[-1] - clock.ends[0]) / (len(clock.ends) - 1)
    scoring = tracker.seconds  # the steps before the last only ask whether it is their turn
    share = f"{figures(100 * scoring / (EVERY * step))} %"
    state = "equal" if equal else "DIFFER"
    return setting.name, f"{figures(step)} s", f"{figures(scoring)} s", share, state, "yes" if logged else "NO"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Returns 1 if a weight differs or no count was logged."""
    parser = argparse.ArgumentParser(description="Price HeadTracker in TRL's trainers as they come.")
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--pairs", type=int, default=16)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--completion", type=int, default=64, help="tokens per GRPO completion (TRL: 256)")
    parser.add_argument("--only", default="", help="settings whose name holds this")
    parser.add_argument("--quick", action="store_true", help="two pairs, two steps, eight tokens")
    options = parser.parse_args(arguments)
    if options.quick:
        options.pairs, options.steps, options.completion = 2, 2, 8
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        options.folder = folder
        table = [measure(setting, options) for setting in SETTINGS if options.only in setting.name]
    header = ("training", "one step", "one scoring", f"share at every = {EVERY}", "weights", "counts logged")
    print(markdown_table(header, table))
    return 0 if all(row[-2:] == ("equal", "yes") for row in table) else 1


if __name__ == "__main__":
    raise SystemExit(main())
