"""What our training costs beside plain TRL, and what HeadTracker adds at the paper's spacing.

``python benchmarks/training.py`` prints one JSON object; CPU seconds of this process, lab-m, one thread.
"""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import PrinterCallback

from headscope.lab import base as lab
from headscope.models import load_model
from headscope.pairs import Pairs
from headscope.tracking import HeadTracker
from headscope.training import SftConfig, launch, preset, run_sft

STEPS = 12
EVERY = 100  # the paper scores a checkpoint every 100 steps
PAIRS = 64


def pairs(tokenizer: Any) -> Pairs:
    """Openings of two styles, ``<think> okay`` against ``<think> to``, each four tokens long."""
    prompts = [
        tokenizer.apply_chat_template([{"role": "user", "content": item.prompt}], add_generation_prompt=True)[
            "input_ids"
        ]
        for item in lab.mixed_items(PAIRS, seed=9)
    ]
    paths = [item.path for item in lab.mixed_items(PAIRS, seed=9)]
    clean, corrupt = (
        [tokenizer(f"<think> {opener} {path[0].definition()[:2]}")["input_ids"] for path in paths]
        for opener in ("okay", "to")
    )
    return Pairs.from_openings(prompts, clean, corrupt, 4)


class Clock(TrainerCallback):  # type: ignore[misc]
    """CPU time at the end of every step."""

    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.marks.append(time.process_time())

    @property
    def per_step(self) -> float:
        """Median of the steps but the first."""
        steps = sorted(after - before for before, after in zip(self.marks, self.marks[1:], strict=False))
        return steps[len(steps) // 2]


def plain_trl(config: SftConfig, out: Path) -> float:
    """CPU seconds per step of ``trl.SFTTrainer`` with the same settings."""
    import trl

    subject = load_model(lab.model_folder("lab-m"))
    args = trl.SFTConfig(
        **launch.arguments(config, out, config.batch_size), max_length=config.max_length, completion_only_loss=True
    )
    rows = launch.as_dataset(lab.traces(), ("prompt", "completion"))
    trainer = trl.SFTTrainer(model=subject.model, args=args, train_dataset=rows, processing_class=subject.tokenizer)
    clock = Clock()
    trainer.add_callback(clock)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return clock.per_step


def ours(config: SftConfig, out: Path) -> float:
    """CPU seconds per step of ``run_sft``, its log and checks included."""
    marks: list[float] = []

    class Progress:
        def bar(self, label: str, total: int) -> Any:
            from contextlib import nullcontext

            return nullcontext(self)

        def advance(self, steps: int = 1, note: str = "") -> None:
            marks.append(time.process_time())

    run_sft(lab.model_folder("lab-m"), lab.traces(), config, out, progress=Progress())
    clock = Clock()
    clock.marks = marks
    return clock.per_step


def scoring(out: Path) -> float:
    """CPU seconds of one scoring of a model in training: attribution, comparison, files."""
    subject = load_model(lab.model_folder("lab-m"))
    tracker = HeadTracker(pairs(subject.tokenizer), every=1, out=out, fraction=0.05)
    state, control = TrainerState(is_world_process_zero=True), TrainerControl()
    state.max_steps = 10
    tracker.on_train_begin(None, state, control, model=subject.model)
    started = time.process_time()
    state.global_step = 1
    tracker.on_step_end(None, state, control, model=subject.model)
    return time.process_time() - started


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    config = preset("lab-sft", max_steps=STEPS, save_every=1000)
    assert isinstance(config, SftConfig)
    with tempfile.TemporaryDirectory() as folder:
        plain = plain_trl(config, Path(folder) / "plain")
        own = ours(config, Path(folder) / "own")
        scored = scoring(Path(folder) / "heads")
    print(
        json.dumps(
            {
                "trl_seconds_per_step": plain,
                "our_seconds_per_step": own,
                "our_overhead": own / plain - 1,
                "seconds_per_scoring": scored,
                "pairs": PAIRS,
                "tracker_share_at_every_100": scored / (EVERY * own),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
