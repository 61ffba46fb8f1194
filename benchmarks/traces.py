"""The reading of answers against what is known about them: planted slips, changed tokens, loops, GSM8K's annotations.

    .venv/bin/python benchmarks/traces.py [--mutations 10000] [--answers 10000] [--data ../shared/data]
    .venv/bin/python benchmarks/traces.py --run runs/lab

One line per measurement; what needs the real data says so where it is absent. About two minutes on two cores.
"""

import argparse
import json
import multiprocessing
import random
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from headscope.evaluation.extraction import explicit_answer
from headscope.lab import builtin_data, chains
from headscope.lab.labels import symbols
from headscope.lab.statements import judge
from headscope.measures.intervals import wilson
from headscope.results.samples import Samples
from headscope.runs import RunDirectory
from headscope.studies.answers.traces import read_saved, trace_samples
from headscope.traces import find_calculations, find_loop
from headscope.traces.reading import read_text
from headscope.traces.summary import summarise

LABELLED = Path(__file__).with_name("labelled_steps.jsonl")
SENTENCES = (
    "So there are {a} * {b} = {c} apples in all the boxes together.\n",
    "Wait, let me check that: {a} + {b} = {d}, which is what we wanted. ",
    "The problem says that each of the children has the same number of marbles to begin with. ",
    "First, we need to find how many of the {a} books were sold on the second day of the week. ",
    "If we write x for the price of a ticket, then {a}x + {b} is what the whole family pays for the evening.\n\n",
    "Hmm, I think that this is not yet the number that was asked for, so we go on from there. ",
)


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
    """One known token changed: is the first error at that step, and of that kind?"""
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


def labelled() -> Iterator[str]:
    """Steps of SmolLM2's answers to word problems that hold an equals sign, read by hand: which are wrong.

    Labels: ``right``, ``wrong``, ``letters`` (an equation with unknowns), ``unclear`` (no calculation one could check).
    """
    lines = LABELLED.read_text(encoding="utf-8").split("\n")
    rows = [json.loads(line) for line in lines if line]
    alarms = [any(each.right is False for each in find_calculations(row["step"])) for row in rows]
    labels = [row["label"] for row in rows]
    true = sum(alarm and label == "wrong" for alarm, label in zip(alarms, labels, strict=True))
    precision, recall = wilson(true, sum(alarms)), wilson(true, labels.count("wrong"))
    yield (
        f"{len(rows)} steps of a real model, read by hand, {labels.count('wrong')} of them wrong: "
        f"precision {precision} (n {precision.n}), recall {recall} (n {recall.n})"
    )
    for row, alarm in zip(rows, alarms, strict=True):
        if alarm != (row["label"] == "wrong"):
            yield f"  {'false alarm' if alarm else 'missed'}: {row['step']!r}"


def speed(seed: int) -> Iterator[str]:
    """10,000 lab answers; a text of a megabyte."""
    items = chains.draw_items("T4", "train", 1000, seed)
    answers = [(item.prompt, chains.thinking_turn(item)) for item in items] * 10
    started = time.perf_counter()
    for prompt, answer in answers:
        judge(prompt, answer)
    yield f"judging 10,000 lab answers: {time.perf_counter() - started:.1f} s"
    dense = "Then 12 apples * 3 = 36 apples, and so 36 + 4 = 40 of them are left. " * 14_500
    draw = random.Random(seed)
    varied = "".join(
        f"Then {a} apples * {b} = {a * b} apples, and so {a * b} + {c} = {a * b + c} of them are left. "
        for a, b, c in ((draw.randint(2, 99), draw.randint(2, 99), draw.randint(2, 99)) for _ in range(12_500))
    )
    plain = "Then we look at the number of apples that are left, and find that there are forty of them. " * 11_000
    for name, text in (
        ("with one step again and again", dense),
        ("full of calculations", varied),
        ("without any", plain),
        ("without a break", "a" * 10**6),
    ):
        started = time.process_time()
        steps = read_text(text, explicit_answer)
        seconds = time.process_time() - started
        yield f"an answer of {len(text) / 1e6:.1f} MB {name}: {len(steps):,} steps in {seconds:.2f} s"


def running_text(count: int, workers: int, seed: int) -> Iterator[str]:
    """Answers of about 1,000 tokens, each worker with its share: time and memory, of twice as many too."""
    context = multiprocessing.get_context("spawn")
    for answers in (count // 2, count):
        started = time.perf_counter()
        with context.Pool(workers) as pool:
            shares = [(answers // workers, seed + number) for number in range(workers)]
            peaks = pool.starmap(_read_answers, shares)
        seconds = time.perf_counter() - started
        yield (
            f"{answers:,} answers of 1,000 tokens, {workers} processes: {seconds:.1f} s, "
            f"peak memory {max(peaks) / 2**20:.2f} GiB each"
        )


def _read_answers(count: int, seed: int) -> int:
    """Read so many answers of GSM8K's kind, made here, and return the process's peak memory in KiB."""
    samples = Samples.from_records(_made_answers(count, seed), model="made", task="word sums")
    trace_samples(samples, decode=lambda tokens: bytes(tokens).decode("latin-1"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _made_answers(count: int, seed: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(seed)
    for index in range(count):
        text = ""
        while len(text) < 4000:  # a token is about four letters
            first, second = rng.randint(2, 99), rng.randint(2, 99)
            text += rng.choice(SENTENCES).format(a=first, b=second, c=first * second, d=first + second)
        text += f"The answer is {rng.randint(1, 99)}."
        letters = np.frombuffer(text.encode("latin-1"), dtype=np.uint8)
        row = {"problem": f"p{index}", "group": "", "sample": 0, "seed": 0, "response": text, "tokens": len(letters)}
        row |= {"finish": "stop", "verdict": "wrong", "answer": "", "gold": "100", "kind": "math"}
        yield row | {"token_ids": letters}


def recheck_figures(run: Path) -> Iterator[str]:
    """What a run's answers with and without a re-check are worth, and which right values were lost."""
    directory = RunDirectory.open(run)
    for samples in directory.results(Samples):
        summary = summarise(read_saved(directory, samples))
        splits = ", ".join(
            f"{split.right_with} of {split.answers_with} with a re-check, "
            f"{split.right_without} of {split.answers_without} without"
            for split in summary.rechecks
        )
        lost = round(summary.lost.value * summary.answers)
        yield f"{samples.name}: right {splits}; {lost} of {summary.wrong} wrong answers had the right value"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutations", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--answers", type=int, default=10_000, help="of running text")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--run", type=Path, help="a run directory of the lab: only what its answers show")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args(arguments)
    if options.run is not None:
        for line in recheck_figures(options.run):
            print(line, flush=True)
        return 0
    print(teacher_slips(), flush=True)
    print(mutated(options.mutations, options.seed), flush=True)
    parts = (
        loops(options.seed),
        gsm8k(options.data, options.seed),
        labelled(),
        speed(options.seed),
        running_text(options.answers, options.workers, options.seed),
    )
    for line in chain.from_iterable(parts):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
