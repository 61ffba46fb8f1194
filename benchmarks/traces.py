"""The reading of answers against what is known about them: planted slips, changed tokens, loops, GSM8K's annotations.

    .venv/bin/python benchmarks/traces.py [--mutations 10000] [--data ../shared/data]

One line per measurement; what needs the real data says so where it is absent. About a minute on one core.
"""

import argparse
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from headscope.lab import builtin_data, chains
from headscope.lab.labels import symbols
from headscope.lab.statements import judge
from headscope.traces import find_calculations, find_loop


def teacher_slips() -> str:
    """The teacher's 2,000 traces: the slips that were planted and the ones found."""
    rechecks = 0
    slips: Counter[str] = Counter()
    for record in builtin_data.traces():
        (question,), (answer,) = record["prompt"], record["completion"]  # type: ignore[misc]
        for step in judge(question["content"], answer["content"]):
            rechecks += step.recheck
            if step.slip:
                slips[f"{step.slip} {step.change}"] += 1
    return f"teacher traces: {rechecks} re-checks; slips found: {dict(slips)} (planted: 115 of 661)"


def mutated(count: int, seed: int) -> str:
    """One token of known role changed: is the first error at that step, and of that kind?"""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.lab.test_statements import draw_mutations

    right = 0
    for prompt, response, index, kind in draw_mutations(count, seed):
        first = next((step for step in judge(prompt, response) if step.slip), None)
        right += first is not None and first.slip == kind and first.first_token <= index < first.last_token
    return f"one changed token: kind and step right in {right} of {count}"


def loops(seed: int) -> Iterator[str]:
    """Planted loops, and the teacher's traces, which have none."""
    draw = np.random.default_rng(seed)
    hits = 0
    for _ in range(1000):
        period = int(draw.integers(1, 513))
        repeats = max(3, -(-48 // period)) + int(draw.integers(0, 3))
        beginning, unit = draw.integers(0, 50_000, int(draw.integers(0, 400))), draw.integers(0, 50_000, period)
        loop = find_loop(np.concatenate([beginning, np.tile(unit, repeats)]))
        hits += loop is not None and (loop.start, loop.period) == (len(beginning), period)
    yield f"planted loops: {hits} of 1000 found at their beginning and with their period"
    vocabulary: dict[str, int] = {}
    alarms = 0
    for record in builtin_data.traces():
        (answer,) = record["completion"]  # type: ignore[misc]
        ids = [vocabulary.setdefault(symbol, len(vocabulary)) for symbol in symbols(answer["content"])]
        alarms += find_loop(ids) is not None
    yield f"loops in the teacher's traces: {alarms}"


def gsm8k(data: Path, seed: int) -> Iterator[str]:
    """False alarms on annotations that are right, and digits that were changed; alarms in the running text."""
    if not data.exists():
        yield f"GSM8K: {data} is absent"
        return
    answers = []
    for name in ("train", "test"):
        lines = (data / f"gsm8k_{name}.jsonl").read_text(encoding="utf-8").split("\n")
        answers += [json.loads(line)["answer"] for line in lines if line]
    annotations = [text for answer in answers for text in re.findall(r"<<(.*?)>>", answer)]
    verdicts = [[calculation.right for calculation in find_calculations(text)] for text in annotations]
    alarms = sum(False in verdict for verdict in verdicts)
    yield f"GSM8K annotations: {alarms} alarms in {len(annotations):,}"
    rng = random.Random(seed)
    checked = [text for text, verdict in zip(annotations, verdicts, strict=True) if True in verdict]
    caught = 0
    for text in checked:
        place = rng.choice([index for index, character in enumerate(text) if character.isdigit()])
        digit = rng.choice([digit for digit in "0123456789" if digit != text[place]])
        changed = text[:place] + digit + text[place + 1 :]
        caught += False in [calculation.right for calculation in find_calculations(changed)]
    yield f"one digit changed: {caught / len(checked):.4f} of {len(checked):,} noticed"
    running = [re.sub(r"<<.*?>>", "", answer) for answer in answers]
    judged = [calculation.right for text in running for calculation in find_calculations(text)]
    checkable = [right for right in judged if right is not None]
    yield f"GSM8K's running text: {checkable.count(False)} alarms in {len(checkable):,} of {len(judged):,} relations"


def speed(seed: int) -> Iterator[str]:
    """10,000 lab answers; a text of a megabyte."""
    items = chains.draw_items("T4", "train", 1000, seed)
    answers = [(item.prompt, chains.thinking_turn(item)) for item in items] * 10
    started = time.perf_counter()
    for prompt, answer in answers:
        judge(prompt, answer)
    yield f"judging 10,000 lab answers: {time.perf_counter() - started:.1f} s"
    text = "Then 12 apples * 3 = 36 apples, and so 36 + 4 = 40 of them are left. " * 14_500
    started = time.perf_counter()
    found = len(find_calculations(text))
    yield f"{found:,} calculations in {len(text) / 1e6:.1f} MB of text: {time.perf_counter() - started:.1f} s"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args(arguments)
    print(teacher_slips(), flush=True)
    print(mutated(options.mutations, options.seed), flush=True)
    for line in (*loops(options.seed), *gsm8k(options.data, options.seed), *speed(options.seed)):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
