"""What one thread per operation costs or saves: a training step, greedy answers and an attribution at 1 and 2 threads.

    python benchmarks/threads.py [MODEL …] [--repeats N]

Prints a Markdown table of medians; the numbers of threads take turns. ``models.threads.SMALL_MODEL`` is read off it:
below it an operation takes one thread. On a busy machine, run it next to what keeps the machine busy.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from unittest import mock

import torch

from headscope.circuits import attribute
from headscope.models import Subject, load_model, threads
from headscope.pairs import Pairs

MODELS = ("lab-s", "lab-m", "smollm2-135m")


def jobs(subject: Subject) -> dict[str, Callable[[], object]]:
    """Return what is timed, by its label."""
    model = subject.model
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.get_input_embeddings().num_embeddings
    ids = torch.randint(3, min(vocabulary, 200), (16, 96), generator=generator)
    corrupt = ids[:4].clone()
    corrupt[:, 40] = (corrupt[:, 40] + 1) % vocabulary
    pairs = Pairs.from_tokens(ids[:4], corrupt)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.0)

    def train() -> None:
        model.train()
        model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        model.eval()

    def generate() -> object:
        return model.generate(ids[:, :40], max_new_tokens=24, min_new_tokens=24, do_sample=False)

    return {
        "training step, 16 × 96 tokens": train,
        "24 new tokens in 16 rows": generate,
        "attribution of 4 pairs": lambda: attribute(subject, pairs, metric="logit_diff", method="eap"),
    }


def seconds(job: Callable[[], object], repeats: int) -> dict[int, float]:
    """Return the median seconds of a job by number of threads, which take turns."""
    times: dict[int, list[float]] = {1: [], 2: []}
    job()
    for _ in range(repeats):
        for count, measured in times.items():
            torch.set_num_threads(count)
            start = time.perf_counter()
            job()
            measured.append(time.perf_counter() - start)
    return {count: statistics.median(measured) for count, measured in times.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args(arguments)
    print("| model | parameters | work | 1 thread | 2 threads | 2 / 1 |\n| --- | --- | --- | --- | --- | --- |")
    for name in options.models:
        subject = load_model(name)
        for label, job in jobs(subject).items():
            with mock.patch.object(threads, "SMALL_MODEL", 0):  # every number of threads is the one asked for
                medians = seconds(job, options.repeats)
            size = f"{subject.model.num_parameters() / 1e6:.1f} M"
            row = f"| {name} | {size} | {label} | {medians[1]:.3f} s | {medians[2]:.3f} s |"
            print(f"{row} {medians[2] / medians[1]:.2f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
