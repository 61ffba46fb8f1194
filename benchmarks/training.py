"""What our training costs beside plain TRL with the same settings, and what HeadTracker adds at the paper's spacing.

    .venv/bin/python benchmarks/training.py [--quick] [--sft-steps 12] [--grpo-steps 35]

CPU seconds of this process per step, without the first, lab-m, one thread; two tables, some twelve minutes. GRPO is
run four times, with and without each of the two things that are ours: the sampler and the micro-batches.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import trl
from table import figures, markdown_table
from transformers import TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import PrinterCallback

from headscope.evaluation import Chat
from headscope.lab import builtin_data as lab
from headscope.lab.pairs import lab_pairs
from headscope.models import load_model
from headscope.studies.data import sources
from headscope.studies.training.rewards import correctness
from headscope.tracking import HeadTracker
from headscope.training import GrpoConfig, SftConfig, grpo, preset, run_grpo, run_sft, sft
from headscope.training.dataset import as_dataset
from headscope.training.trainers import DurableGrpo

EVERY = 100  # the paper scores a checkpoint every 100 steps
PAIRS = 64


@dataclass(frozen=True)
class Cost:
    """CPU seconds per step, and mean tokens per answer where answers are sampled."""

    seconds: float
    tokens: float | None = None


class Steps:
    """A Progress and its bar that note the CPU time at the end of every step."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def bar(self, label: str, total: int, start: int = 0) -> Any:
        """Itself."""
        return nullcontext(self)

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Note the time."""
        self.ends.append(time.process_time())

    @property
    def mean(self) -> float:
        """Seconds per step, without the first."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


class Clock(TrainerCallback):  # type: ignore[misc]
    """The same for a trainer of TRL's."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Note the time."""
        self._steps.advance()


def prompts() -> list[dict[str, Any]]:
    """What the lab's GRPO trains on."""
    return sources.training_prompts(lab.TRAIN, Chat(), None)


def our_sft(model: str, config: SftConfig, out: Path) -> Cost:
    """``run_sft``, its log and checks included."""
    steps = Steps()
    run_sft(model, lab.traces(), config, out, progress=steps)
    return Cost(steps.mean)


def our_grpo(model: str, config: GrpoConfig, out: Path) -> Cost:
    """``run_grpo``, its log and checks included."""
    steps = Steps()
    run = run_grpo(model, prompts(), [correctness], config, out, progress=steps)
    return Cost(steps.mean, _mean([entry.completion_length or 0.0 for entry in run.log]))


def plain_sft(model: str, config: SftConfig, out: Path) -> Cost:
    """``trl.SFTTrainer`` as TRL ships it."""
    rows = as_dataset(lab.traces(), ("prompt", "completion"))
    steps, _ = _plain(trl.SFTTrainer, model, args=sft.trl_config(config, out), train_dataset=rows)
    return Cost(steps.mean)


def plain_grpo(model: str, config: GrpoConfig, out: Path) -> Cost:
    """``trl.GRPOTrainer`` as TRL ships it."""
    rows = as_dataset(prompts(), ("prompt",))
    args = grpo.trl_config(config, out)
    steps, logged = _plain(trl.GRPOTrainer, model, args=args, train_dataset=rows, reward_funcs=[correctness])
    return Cost(steps.mean, _mean([each["completions/mean_length"] for each in logged if "loss" in each]))


def _plain(kind: Any, model: str, **settings: Any) -> tuple[Steps, list[dict[str, Any]]]:
    subject, steps = load_model(model), Steps()
    trainer = kind(model=subject.model, processing_class=subject.tokenizer, **settings)
    trainer.add_callback(Clock(steps))
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return steps, trainer.state.log_history


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@contextmanager
def trls(*methods: str) -> Iterator[None]:
    """Our GRPO trainer with TRL's own version of ``methods``."""
    own = {name: getattr(trl.GRPOTrainer, name) for name in methods}
    with patch.multiple(DurableGrpo, **own) if own else nullcontext():
        yield


SAMPLER, BATCHES = "_generate_single_turn", "_prepare_inputs"


def scoring(model: str, pairs: int, out: Path) -> float:
    """CPU seconds of one scoring of a model in training: attribution, comparison, files."""
    subject = load_model(model)
    tracker = HeadTracker(lab_pairs(subject.tokenizer, 2 * pairs), every=1, out=out, fraction=0.05)
    state, control = TrainerState(is_world_process_zero=True), TrainerControl()
    state.max_steps = 10
    tracker.on_train_begin(None, state, control, model=subject.model)
    started = time.process_time()
    state.global_step = 1
    tracker.on_step_end(None, state, control, model=subject.model)
    return time.process_time() - started


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print. Returns the exit status."""
    parser = argparse.ArgumentParser(description="Compare our training with plain TRL, and price HeadTracker.")
    parser.add_argument("--quick", action="store_true", help="lab-s, two short steps, two pairs")
    parser.add_argument("--sft-steps", type=int, default=12)
    parser.add_argument("--grpo-steps", type=int, default=35)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    quick = options.quick
    model, pairs = ("lab-s", 2) if quick else ("lab-m", PAIRS)
    small: dict[str, Any] = {"max_completion_length": 4, "prompts_per_step": 2, "samples": 2} if quick else {}
    sft_config = preset("lab-sft", max_steps=2 if quick else options.sft_steps, save_every=1000)
    grpo_config = preset("lab-grpo", max_steps=2 if quick else options.grpo_steps, save_every=1000, **small)
    assert isinstance(sft_config, SftConfig)
    assert isinstance(grpo_config, GrpoConfig)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        costs: list[tuple[str, str, Cost]] = []

        def measure(method: str, what: str, cost: Callable[[Path], Cost]) -> None:
            costs.append((method, what, cost(out / str(len(costs)))))

        measure("SFT", "plain TRL", lambda to: plain_sft(model, sft_config, to))
        measure("SFT", "ours", lambda to: our_sft(model, sft_config, to))
        measure("GRPO", "plain TRL", lambda to: plain_grpo(model, grpo_config, to))
        for what, methods in (("ours", ()), ("ours, TRL's sampler", (SAMPLER,)), ("ours, TRL's batches", (BATCHES,))):
            with trls(*methods):
                measure("GRPO", what, lambda to: our_grpo(model, grpo_config, to))
        seconds = scoring(model, pairs, out / "heads")
    print(_table(costs))
    share = 100 * seconds / (EVERY * costs[1][2].seconds)
    header = ("pairs", "one scoring", f"share of SFT scored every {EVERY} steps")
    print(markdown_table(header, [(str(pairs), f"{figures(seconds)} s", f"{figures(share)} %")]))
    return 0


def _table(costs: Sequence[tuple[str, str, Cost]]) -> str:
    plain = {method: cost.seconds for method, what, cost in costs if what == "plain TRL"}
    rows = [
        (
            method,
            what,
            f"{figures(cost.seconds)} s",
            f"{figures(cost.seconds / plain[method])} ×",
            "–" if cost.tokens is None else figures(cost.tokens),
        )
        for method, what, cost in costs
    ]
    return markdown_table(("method", "trainer", "CPU per step", "against plain TRL", "tokens per answer"), rows)


if __name__ == "__main__":
    raise SystemExit(main())
