"""A real pretrained model through the whole tool: SmolLM2-135M discovered, ablated, trained, tracked, reported.

    make real        (or .venv/bin/python benchmarks/real.py [--out runs/real])

Every step prints what it measured and what it demands; the exit status is 1 if a demand fails. One thread, 6 GB, seven
minutes (21 on a busy machine); 540 MB are written to the user's cache the first time.

1. Copying: the heads that matter most on repeated random tokens are removed, and as many random ones of their layers.
2. Weights without those heads give the same logits as the hooks.
3. A study: SFT on sums told in words, circuits, ablations, answers, and the page.
4. TRL's SFT with LoRA and its defaults, tracked.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import trl
import yaml
from datasets import Dataset
from peft import LoraConfig

from headscope.circuits import attribute
from headscope.cli.main import main as headscope
from headscope.comparison.layer_matched import layer_matched_sets
from headscope.heads import HeadSet
from headscope.interventions import edit_weights, zero
from headscope.models import Subject, load_model
from headscope.pairs import Pairs
from headscope.runs import RunDirectory
from headscope.tracking import HeadTracker

MODEL = "smollm2-135m"
REMOVED, RANDOM_SETS = 6, 5
NAMES, THINGS = ("Tom", "Anna", "Paul", "Lisa"), ("apples", "books", "coins", "shells", "stamps")


class Demands:
    """What was demanded, and whether it held."""

    def __init__(self) -> None:
        self.failed = 0

    def check(self, holds: bool, sentence: str) -> None:
        """Print one line; remember a failure."""
        self.failed += not holds
        print(f"{'ok    ' if holds else 'FAILED'} {sentence}", flush=True)


def repeated_tokens(seed: int, rows: int, length: int = 20) -> np.ndarray:
    """Random tokens, then the same again without the last: [row, 2 · length − 1]."""
    first = np.random.default_rng(seed).integers(1000, 40000, (rows, length))
    return np.concatenate([first, first[:, :-1]], axis=1)


def copying_pairs(seed: int, rows: int) -> Pairs:
    """Repetitions, and the same with another token before the one to be copied: nothing tells where to copy from."""
    tokens = repeated_tokens(seed, rows)
    broken = tokens.copy()
    broken[:, 18] = repeated_tokens(seed + 1, rows)[:, 18]
    return Pairs.from_tokens(tokens.tolist(), broken.tolist())


@torch.no_grad()
def copied(subject: Subject, tokens: np.ndarray) -> float:
    """Share of texts whose next token, which came before, is predicted."""
    length = (tokens.shape[1] + 1) // 2
    logits = subject.model(torch.as_tensor(tokens), logits_to_keep=1).logits[:, -1]
    return float((logits.argmax(-1) == torch.as_tensor(tokens[:, length - 1])).float().mean())


def check_copying(subject: Subject, demands: Demands) -> list[str]:
    """The heads found on pairs that break the repetition carry the copying. Returns their names."""
    scores = attribute(subject, copying_pairs(0, 8), nodes=8)
    heads = scores.top_heads(REMOVED)
    texts = repeated_tokens(2, 64)
    whole = copied(subject, texts)
    with zero(subject, heads):
        without = copied(subject, texts)
    others = []
    config = subject.model.config
    size = config.num_hidden_layers, config.num_attention_heads
    for control in layer_matched_sets(HeadSet.of(heads), *size, RANDOM_SETS, 0):
        with zero(subject, list(control)):
            others.append(copied(subject, texts))
    print(f"copying: {whole:.2f} whole, {without:.2f} without {' '.join(map(str, heads))},", end=" ")
    print(f"{min(others):.2f}-{max(others):.2f} without random sets")
    demands.check(whole > 0.5 and without < 0.2, "the heads found carry the copying")
    demands.check(min(others) > 0.5 * whole, "random heads of the same layers do not")
    return [str(head) for head in heads]


@torch.no_grad()
def check_edit(subject: Subject, heads: list[str], demands: Demands) -> None:
    """Hooks and edited weights agree."""
    ids = torch.as_tensor(repeated_tokens(3, 2))
    with zero(subject, heads):
        hooked = subject.model(ids).logits
    edited = edit_weights(subject, dict.fromkeys(heads, 0.0)).model(ids).logits
    difference = float((hooked - edited).abs().max() / hooked.abs().max())
    demands.check(difference < 1e-5, f"edited weights and hooks differ by {difference:.0e} of the largest logit")


def sums(count: int, seed: int) -> list[dict[str, Any]]:
    """Sums told in words."""
    draw = np.random.default_rng(seed)
    problems = []
    for _ in range(count):
        first, second = (int(number) for number in draw.integers(2, 50, 2))
        name, thing = NAMES[draw.integers(len(NAMES))], THINGS[draw.integers(len(THINGS))]
        question = f"{name} has {first} {thing} and gets {second} more. How many {thing} does {name} have now?"
        answer = first + second
        solution = f"{name} has {first} + {second} = {answer} {thing}. The answer is \\boxed{{{answer}}}."
        problems.append({"question": question, "answer": str(answer), "solution": solution})
    return problems


def messages(problem: dict[str, Any]) -> dict[str, Any]:
    """A problem and its solution as TRL trains on them."""
    return {
        "prompt": [{"role": "user", "content": problem["question"]}],
        "completion": [{"role": "assistant", "content": problem["solution"]}],
    }


def write_lines(path: Path, rows: list[dict[str, Any]]) -> str:
    """Write rows as JSONL; the file's path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def write_study(folder: Path, quick: bool) -> Path:
    """The study file and its data."""
    training = [messages(problem) for problem in sums(64, seed=1)]
    study = {
        "name": "real",
        "base": {"model": MODEL},
        "variants": [
            {
                "name": "sft",
                "train": {
                    "method": "sft",
                    "dataset": write_lines(folder / "sft.jsonl", training),
                    "max_steps": 2 if quick else 8,
                    "save_every": 4,
                    "batch_size": 8,
                    "learning_rate": 1e-4,
                },
            }
        ],
        "tasks": [{"file": write_lines(folder / "sums.jsonl", sums(20, seed=2))}],
        "discover": {"pairs": 4, "opening_tokens": 8, "nodes": 8, "resamples": 50, "sizes": [0.01, 0.05, 0.2]},
        "ablate": {
            "heads": ["kept"],
            "at_most": 5,
            "problems": 10,
            "operators": ["zero", "mean"],
            "controls": 10,
            "texts": 5,
            "scales": [0.5],
            "generated_controls": 2,
        },
        "eval": {"problems": 10, "samples": 2, "k": [1, 2], "max_new_tokens": 48},
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    return path


def check_study(out: Path, quick: bool, demands: Demands) -> None:
    """Run a whole study from the command line."""
    out.mkdir(parents=True, exist_ok=True)
    status = headscope(["run", str(write_study(out, quick)), "--out", str(out / "study")])
    run = RunDirectory.open(out / "study")
    demands.check(status == 0, "the study ran to its end")
    kinds = ("scores", "comparison", "verdict", "evidence", "measures")
    counts = {kind: len(run.find(kind)) for kind in kinds}
    demands.check(all(counts.values()), f"every part has results: {counts}")
    page = (out / "study" / "report" / "report.html").read_text(encoding="utf-8")
    demands.check("SmolLM2-135M" in page, f"the page names the model ({len(page) / 1e6:.1f} MB)")


def check_tracking(subject: Subject, folder: Path, demands: Demands) -> None:
    """TRL's SFT with LoRA, its defaults as they are, and a tracker that logs counts."""
    args = trl.SFTConfig(str(folder / "lora"), max_steps=2, use_cpu=True, report_to="none", save_strategy="no")
    trainer = trl.SFTTrainer(
        subject.model,
        args,
        train_dataset=Dataset.from_list([messages(problem) for problem in sums(16, seed=3)]),
        processing_class=subject.tokenizer,
        peft_config=LoraConfig(target_modules="all-linear"),
    )
    trainer.add_callback(HeadTracker(copying_pairs(4, 4), every=1, out=folder / "tracked", resamples=50, nodes=4))
    trainer.train()
    steps = [record.labels["step"] for record in RunDirectory.open(folder / "tracked").find("scores", pairs="main")]
    demands.check(steps == [0, 1, 2], f"heads of a LoRA training under bfloat16 were scored at steps {steps}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything. Returns 1 if a demand failed."""
    parser = argparse.ArgumentParser(description="SmolLM2-135M through the whole tool.")
    parser.add_argument("--out", type=Path, default=Path("runs/real"))
    parser.add_argument("--quick", action="store_true", help="two steps of training")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    started, demands = time.perf_counter(), Demands()
    subject = load_model(MODEL)
    print(subject)
    heads = check_copying(subject, demands)
    check_edit(subject, heads, demands)
    check_study(options.out, options.quick, demands)
    with tempfile.TemporaryDirectory() as folder:
        check_tracking(subject, Path(folder), demands)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{time.perf_counter() - started:.0f} s, {memory:.1f} GiB at most, {demands.failed} demands failed")
    return 1 if demands.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
