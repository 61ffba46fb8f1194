"""Answer checking against cases with a known verdict, beside other tools' rules, and its speed.

``benchmarks/answers.py [--cases ../shared/cases] [--data ../shared/data] [--judgements FILE] [--others PYTHON]…
[--before SRC]`` prints a table in Markdown and one line per measurement. What needs an absent folder is left out.

- cases: ``answers.jsonl`` and ``part_of_gold.jsonl``, rows {kind, response, gold, right}.
- judgements: GSM8K's published solutions with ``is_correct`` (``example_model_solutions.jsonl`` of
  openai/grade-school-math), the first 200 problems by four models.
- others: interpreters with lighteval or lm-eval, which cannot share an environment with math-verify 0.9 (or with each
  other); may be given several times.
- before: the ``src`` folder of another version, whose speed is measured in turns with this one's.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from headscope.evaluation import Problem, check_answers, unreadable_golds

SHARED = Path(__file__).parents[2] / "shared"
MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
OTHERS = (
    "lighteval, extractive match",
    "lm-eval, minerva_math",
    "lm-eval, hendrycks_math",
    "lm-eval, gsm8k flexible",
)
Case = dict[str, object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path, default=SHARED / "cases")
    parser.add_argument("--data", type=Path, default=SHARED / "data")
    parser.add_argument("--judgements", type=Path)
    parser.add_argument("--others", action="append", default=[])
    parser.add_argument("--before", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(arguments)
    if options.cases.is_dir():
        print("\n".join(table(options.cases, options.others)), flush=True)
    if options.judgements:
        print(agreement(options.judgements), flush=True)
    if options.data.is_dir():
        print("\n".join(golds(options.data)), flush=True)
        print("\n".join(speed(options.data, options.before, options.rounds)), flush=True)
    return 0


def table(folder: Path, others: Sequence[str]) -> Iterator[str]:
    """Yield the rows of the table: wrong verdicts on the cases, per tool."""
    odd = _read(folder / "answers.jsonl")
    parts = _read(folder / "part_of_gold.jsonl")
    math = [case for case in odd if case["kind"] == "math"]
    verdicts = _headscope(odd)
    wrong = [case for case, verdict in zip(odd, verdicts, strict=True) if verdict != case["right"]]
    kinds = Counter(str(case["kind"]) for case in wrong)
    sizes = Counter(str(case["kind"]) for case in odd)
    yield "headscope, wrong by kind: " + ", ".join(f"{kind} {kinds[kind]} of {size}" for kind, size in sizes.items())
    yield f"\n| rule | wrong of {len(math)} | right refused | wrong accepted | parts of {len(parts)} golds accepted |"
    yield "| --- | --- | --- | --- | --- |"
    rules = {"headscope": _headscope(math + parts)} | _judge_elsewhere(math + parts, sys.executable, "math-verify")
    for python in others:
        rules |= _judge_elsewhere(math + parts, python, *OTHERS)
    for name, judged in rules.items():
        refused = sum(case["right"] is True and not ok for case, ok in zip(math, judged, strict=False))
        accepted = sum(case["right"] is False and ok for case, ok in zip(math, judged, strict=False))
        share = (refused + accepted) / len(math)
        yield f"| {name} | {share:.1%} | {refused} | {accepted} | {sum(judged[len(math) :])} |"


def agreement(path: Path) -> str:
    """Return the share of published judgements of GSM8K solutions that the checker makes too."""
    responses, gold, judged = [], [], []
    for row in _read(path)[:200]:
        for model in MODELS:
            solution = row[model]
            assert isinstance(solution, dict)
            # These models end with ``A: 18``.
            before, _, answer = str(solution["solution"]).rpartition("A:")
            responses.append(f"{before}The answer is {answer.strip()}")
            gold.append(str(row["ground_truth"]).rpartition("A:")[2].strip())
            judged.append(solution["is_correct"])
    verdicts = check_answers(responses, gold)
    same = sum(verdict.correct == right for verdict, right in zip(verdicts, judged, strict=True))
    return f"\nagreement with {len(judged)} published judgements: {same / len(judged):.4f}"


def golds(folder: Path) -> Iterator[str]:
    """Yield how many gold answers are read, and equal themselves."""
    for name, answers in (("MATH-500", _math(folder)), ("GSM8K", _gsm8k(folder))):
        unreadable = unreadable_golds([Problem(str(index), "", gold) for index, gold in enumerate(answers)])
        verdicts = check_answers([rf"so \boxed{{{gold}}}" for gold in answers], answers)
        right = sum(verdict.correct for verdict in verdicts)
        yield f"{name}: {len(answers) - len(unreadable)} of {len(answers)} golds read, {right} equal themselves"


def speed(folder: Path, before: Path | None, rounds: int) -> Iterator[str]:
    """Yield answers per second, in turns with another version's."""
    now = Path(__file__).parents[1] / "src"
    sources = [now] if before is None else [now, before]
    rates: dict[Path, list[tuple[float, float]]] = {source: [] for source in sources}
    for _ in range(rounds):
        for source in sources:
            environment = {**os.environ, "PYTHONPATH": str(source)}
            command = [sys.executable, "-c", _RATES, str(Path(__file__).parent), str(folder)]
            lines = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            math, gsm8k = (float(rate) for rate in lines.split())
            rates[source].append((math, gsm8k))
    medians = {}
    for source, pairs in rates.items():
        medians[source] = [statistics.median(column) for column in zip(*pairs, strict=True)]
        yield f"{source}: {medians[source][0]:.0f} MATH-500 and {medians[source][1]:.0f} GSM8K answers per second"
    if before is not None:
        ratios = [new / old for new, old in zip(medians[now], medians[before], strict=True)]
        yield f"now over before, median of {rounds}: {ratios[0]:.2f} x on MATH-500, {ratios[1]:.2f} x on GSM8K"


_RATES = r"""
import json, random, sys, time
from pathlib import Path
from headscope.evaluation import check_answers
folder = Path(sys.argv[2])
read = lambda name: [json.loads(line)["answer"] for line in (folder / name).read_text().split("\n") if line]
math = read("math500.jsonl")
gsm8k = [answer.rsplit("####", 1)[1].strip() for answer in read("gsm8k_test.jsonl")]
rng = random.Random(0)
pairs = []
for gold in math[:250]:
    wrong = rng.sample(math, 4)
    pairs += [(gold if rng.random() < 0.6 else rng.choice(wrong), gold) for _ in range(16)]
check_answers([r"\boxed{\pi}"], ["3"])
for mix in (pairs, [(rng.choice(gsm8k), gold) for gold in gsm8k * 10]):
    start = time.perf_counter()
    check_answers([rf"so \boxed{{{answer}}}" for answer, _ in mix], [gold for _, gold in mix])
    print(len(mix) / (time.perf_counter() - start))
"""


def _headscope(cases: Sequence[Case]) -> list[bool]:
    verdicts: dict[int, bool] = {}
    for kind in dict.fromkeys(str(case["kind"]) for case in cases):
        rows = [index for index, case in enumerate(cases) if case["kind"] == kind]
        responses = [str(cases[row]["response"]) for row in rows]
        gold = [str(cases[row]["gold"]) for row in rows]
        verdicts.update(zip(rows, [verdict.correct for verdict in check_answers(responses, gold, kind)], strict=True))
    return [verdicts[index] for index in range(len(cases))]


def _judge_elsewhere(cases: Sequence[Case], python: str, *rules: str) -> dict[str, list[bool]]:
    """Return the verdicts of the rules that an interpreter can import."""
    rows = json.dumps([{"response": case["response"], "gold": case["gold"]} for case in cases])
    command = [python, str(Path(__file__).with_name("answer_rules.py")), *rules]
    result = subprocess.run(command, input=rows, stdout=subprocess.PIPE, text=True, check=True)
    verdicts: dict[str, list[bool]] = json.loads(result.stdout.splitlines()[-1])
    return verdicts


def _math(folder: Path) -> list[str]:
    return [str(row["answer"]) for row in _read(folder / "math500.jsonl")]


def _gsm8k(folder: Path) -> list[str]:
    return [str(row["answer"]).rsplit("####", 1)[1].strip() for row in _read(folder / "gsm8k_test.jsonl")]


def _read(path: Path) -> list[Case]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


if __name__ == "__main__":
    sys.exit(main())
