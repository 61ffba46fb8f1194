"""Evaluation measured: ``benchmarks/sampling.py [--problems 1000] [--samples 16] [--size S] [--threads 2]``.

Problems of the lab's tiers in equal parts, sampled and checked as ``headscope eval`` does it. The base model mostly
answers at once; *thinking* puts the first words of a trace into its mouth, so that every answer is one: what a
post-trained model's evaluation takes.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Any

import torch

from headscope.evaluation import Problem, Sampling, Task, check_answers, evaluate, prompt_ids, sample
from headscope.lab import builtin_data
from headscope.models import Subject, load_model

TIERS = ("lab-t1", "lab-t2", "lab-t3", "lab-t4")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--size", default="S", choices=["S", "M"])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    subject = load_model(f"lab-{options.size.lower()}")
    problems = [
        Problem(f"{tier}/{index}", item.prompt, str(item.answer), "exact", tier)
        for tier in TIERS
        for index, item in enumerate(builtin_data.task_items(tier)[: -(-options.problems // len(TIERS))])
    ][: options.problems]
    task = Task("mixed", tuple(problems))
    sampling = Sampling(options.samples, max_new_tokens=144, temperature=1.0, top_p=1.0)
    print(f"lab-{options.size.lower()}, {len(task)} problems × {options.samples}, {options.threads} threads:")
    for name, work in (("as it answers", _as_it_answers), ("thinking", _thinking)):
        wall, processor = time.perf_counter(), time.process_time()
        tokens, correct = work(subject, task, sampling)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        cost = f"{wall:.1f} s, processor {processor:.1f} s"
        print(f"{name}: {cost}; {tokens:.0f} tokens on average, {correct:.1%} correct", flush=True)
    return 0


def _as_it_answers(subject: Subject, task: Task, sampling: Sampling) -> tuple[float, float]:
    """Tokens per answer, share correct."""
    samples = evaluate(subject.model, subject.tokenizer, task, sampling)
    return float(samples.lengths.mean()), float(samples.correct.mean())


def _thinking(subject: Subject, task: Task, sampling: Sampling) -> tuple[float, float]:
    tokenizer: Any = subject.tokenizer
    openings = [f"<think> {problem.question.rsplit('?', 1)[1].strip()} =" for problem in task.problems]
    prompts = [
        prompt_ids(tokenizer, problem.prompt) + tokenizer(opening, add_special_tokens=False)["input_ids"]
        for problem, opening in zip(task.problems, openings, strict=True)
    ]
    found = sample(subject.model, tokenizer, prompts, sampling)
    golds = [task.problems[each.prompt].answer for each in found]
    finished = [each.finish == "stop" for each in found]
    verdicts = check_answers([each.text for each in found], golds, "exact", finished)
    return sum(len(each.tokens) for each in found) / len(found), sum(v.correct for v in verdicts) / len(found)


if __name__ == "__main__":
    sys.exit(main())
