"""The answer checker against golds, fuzzed and hostile answers, and its speed.

``benchmarks/checker.py [--fuzzed 100000] [--data ../shared/data]`` prints one line per measurement. What needs the real
problems is left out where the folder is absent.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from os import cpu_count
from pathlib import Path

from headscope.evaluation import check_answers
from headscope.evaluation.math_pool import SECONDS

PIECES = (
    *(
        r"\frac",
        r"\sqrt",
        r"\pi",
        r"\left(",
        r"\right)",
        r"\text{",
        r"\boxed{",
        r"\infty",
        r"\cup",
        r"\binom",
        r"\begin{",
    ),
    *(
        "{",
        "}",
        "[",
        "]",
        "(",
        ")",
        "^",
        "_",
        "$",
        "\\",
        " ",
        ",",
        ".",
        "+",
        "-",
        "*",
        "/",
        "=",
        "<",
        "|",
        "!",
        "%",
        "&",
    ),
    *("0", "1", "2", "9", "10", "3.5", "x", "y", "n", "i", "e", "sin", "mod", "é", "\u2028", "\x00", "\ud800", "𝟙"),
)
HOSTILE = {
    "tower of powers": "9^{9^{9^{9^9}}}",
    "200 kB of digits": "9" * 200_000,
    "20,000 braces": "{" * 20_000,
    "20,000 boxes": r"\boxed{" * 20_000,
    "lone surrogate": "\ud800",
    "factorial": "(10^{100})!",
    "sum": r"\sum_{i=1}^{10^{100}} i!",
    "integral": r"\int_0^1 x^{x^{x^x}}dx",
    "nested fractions": r"\frac{" * 3000,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fuzzed", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    options = parser.parse_args(arguments)
    check_answers([r"\boxed{\pi}"], ["3"])  # starts the workers
    if options.data.is_dir():
        print("\n".join(real(options.data)), flush=True)
    print("\n".join(hostile()), flush=True)
    print("\n".join(fuzzed(options.fuzzed, options.seed)), flush=True)
    return 0


def real(folder: Path) -> Iterator[str]:
    """Golds against themselves behind other boxes, and short answers per second."""
    math = [json.loads(line)["answer"] for line in (folder / "math500.jsonl").read_text().split("\n") if line]
    lines = (folder / "gsm8k_test.jsonl").read_text().split("\n")
    gsm8k = [json.loads(line)["answer"].rsplit("####", 1)[1].strip() for line in lines if line]
    for name, golds in (("MATH-500", math), ("GSM8K", gsm8k)):
        wrapped = [rf"<think>\boxed{{999}}</think> not \boxed{{7}} but $\boxed{{{gold}}}$." for gold in golds]
        right = sum(verdict.correct for verdict in check_answers(wrapped, golds))
        yield f"{name}: {right} of {len(golds)} golds equal themselves behind other boxes"
    rng = random.Random(0)
    yield _speed("GSM8K answers", [(rng.choice(gsm8k), gold) for gold in gsm8k * 10])
    # Sixteen answers to a problem, 60 % right, the rest from four other problems' golds.
    pairs = []
    for gold in math[:250]:
        wrong = rng.sample(math, 4)
        pairs += [(gold if rng.random() < 0.6 else rng.choice(wrong), gold) for _ in range(16)]
    yield _speed("MATH-500 answers", pairs)


def hostile() -> Iterator[str]:
    """What must be answered as not correct within the limit."""
    for name, text in HOSTILE.items():
        start = time.perf_counter()
        verdicts = check_answers([rf"\boxed{{{text}}}", f"The answer is {text}"], ["5", r"\frac{\pi}{2}"])
        assert not any(verdict.correct for verdict in verdicts), name
        seconds = time.perf_counter() - start
        yield f"hostile, {name}: {', '.join(verdict.status for verdict in verdicts)} in {seconds:.1f} s"


def fuzzed(count: int, seed: int, batch: int = 1000) -> Iterator[str]:
    """Random LaTeX against golds of several shapes: every answer gets a verdict, in bounded time."""
    rng = random.Random(seed)
    golds = ("5", r"\frac{1}{2}", "x^2+1", r"(1,\pi)", r"\{1,2\}")
    statuses: Counter[str] = Counter()
    slowest, start = 0.0, time.perf_counter()
    for first in range(0, count, batch):
        size = min(batch, count - first)
        answers = ["".join(rng.choices(PIECES, k=rng.randint(1, 14))) for _ in range(size)]
        begun = time.perf_counter()
        verdicts = check_answers([rf"\boxed{{{answer}}}" for answer in answers], rng.choices(golds, k=size))
        slowest = max(slowest, time.perf_counter() - begun)
        assert len(verdicts) == size
        statuses.update(verdict.status for verdict in verdicts)
        if sys.stderr.isatty() or first % (20 * batch) == 0:
            print(f"fuzzed {first + size}/{count}", file=sys.stderr, flush=True)
    shares = ", ".join(f"{number} {status}" for status, number in statuses.most_common())
    seconds = time.perf_counter() - start
    yield f"fuzzed: {statuses.total()} answers without a hang or crash ({shares}) in {seconds:.0f} s"
    yield f"slowest thousand {slowest:.1f} s; the limit is {SECONDS:g} s an answer"


def _speed(name: str, pairs: Sequence[tuple[str, str]]) -> str:
    start = time.perf_counter()
    check_answers([rf"so \boxed{{{answer}}}" for answer, _ in pairs], [gold for _, gold in pairs])
    rate = len(pairs) / (time.perf_counter() - start)
    return f"{name}: {rate:.0f} per second on {cpu_count()} cores"


if __name__ == "__main__":
    sys.exit(main())
