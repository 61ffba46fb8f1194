"""Verdicts from teacher forcing, measured: ``benchmarks/interventions.py [--size S] [--problems 200] [--threads 2]``.

Four heads of the lab's base model against 200 controls of their layers and 200 of like importance, on T2 problems with
the teacher's traces, which are longer than the model's own answers. *sweep* is one operator on the set and 200
controls; *verdict* is all that ``headscope ablate`` computes for a set: four operators, the fit of the optimal
constants, doses, self-repair, the guard, the base model, and the arithmetic. As there, controls are run in turn while
the set's rank is open; ``--every-control`` runs all, which is what a set costs that none of its controls reaches.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from headscope.comparison import layer_matched_sets
from headscope.comparison.ablation_evidence import dose_response, guard, judge_operators, operator_effect, repair
from headscope.comparison.importance_matched import importance_matched_sets
from headscope.evaluation import prompt_ids
from headscope.heads import HeadSet
from headscope.interventions import Text, direct_loss, make_replacement, teacher_force
from headscope.lab import builtin_data, chains
from headscope.models import Subject, load_model
from headscope.operator_names import ABLATION_OPERATORS
from headscope.studies.ablation.forced import force_in_turn, force_parts

HEADS = HeadSet.of(["L1H0", "L2H3", "L3H1", "L3H2"])
REFERENCE, ALPHAS = 32, (0.0, 0.5, 0.8, 1.3, 1.5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="S", choices=["S", "M"])
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--controls", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=["sweep", "verdict"], help="one of the two")
    parser.add_argument("--every-control", action="store_true", help="also of sets whose rank is known sooner")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    subject = load_model(f"lab-{options.size.lower()}")
    texts = _texts(subject, "lab-t2", options.problems)
    teacher_force(subject, texts[:1], _grids(subject, [HEADS]))  # libraries start up
    what = f"lab-{options.size.lower()}, {len(texts)} problems of {np.mean([len(each.tokens) for each in texts]):.0f}"
    print(f"{what} tokens, {options.controls} controls, {options.threads} threads:")
    works: dict[str, Callable[[], str]] = {
        "sweep": lambda: sweep(subject, texts, options.controls),
        "verdict": lambda: verdict(subject, texts, options.controls, in_turn=not options.every_control),
    }
    for name in [options.only] if options.only else works:
        wall, processor = time.perf_counter(), time.process_time()
        found = works[name]()
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(f"{name}: {wall:.1f} s, processor {processor:.1f} s ({found})", flush=True)
    return 0


def sweep(subject: Subject, texts: Sequence[Text], controls: int) -> str:
    """Zero ablation of the set and its layer-matched controls."""
    sets = [HeadSet(()), HEADS, *_matched(subject, controls)]
    found = teacher_force(subject, texts, _grids(subject, sets))
    return f"{len(sets)} edits, {float((found.nll[1] - found.nll[0]).mean()):+.2f} nats"


def verdict(subject: Subject, texts: Sequence[Text], controls: int, *, in_turn: bool) -> str:
    """Return how many controls were run, and the sentence that says whether the set stands."""
    reference = texts[:REFERENCE]
    edits, doses = _grids(subject, [HeadSet(()), HEADS]), _doses(subject)
    importance = np.random.default_rng(0).lognormal(0, 2, _shape(subject))
    alike = _grids(subject, list(importance_matched_sets(HEADS, importance, controls, 0)))
    matched = _grids(subject, _matched(subject, controls))
    effects, run = [], 0
    for operator in ABLATION_OPERATORS:
        force = partial(teacher_force, subject, texts, replacement=make_replacement(subject, operator, reference))
        is_zero = operator == "zero"
        once = np.concatenate([edits, doses]) if is_zero else edits
        kinds = [matched, alike if is_zero else alike[:0]]
        if in_turn:
            losses, (layer_matched, importance_matched) = force_in_turn(force, once, kinds)
        else:
            losses, layer_matched, importance_matched = force_parts(force, [once, *kinds])
        nll, rise = losses.nll, losses.accuracy[1] - losses.accuracy[0]
        run += len(layer_matched.nll) + len(importance_matched.nll)
        effects.append(operator_effect(operator, nll[0], nll[1], layer_matched.nll, importance_matched.nll, rise))
        force(edits)  # stands for the base model
        if is_zero:
            dose_response(ALPHAS, nll[0], nll[2:])
            _beside(subject, texts, nll)
    return f"{run} controls run, {judge_operators(effects, len(texts))[1]}"


def _beside(subject: Subject, texts: Sequence[Text], nll: np.ndarray) -> None:
    """What only zero ablation is asked."""
    repair(nll[0], nll[1], direct_loss(subject, HEADS, texts))
    recalled = teacher_force(subject, _texts(subject, "lab-k", len(texts)), _grids(subject, [HeadSet(()), HEADS])).nll
    guard("lab-k", nll[1] - nll[0], recalled[0], recalled[1])


def _doses(subject: Subject) -> np.ndarray:
    grid = HEADS.grid(*_shape(subject))
    return np.stack([np.where(grid, alpha, 1.0) for alpha in ALPHAS]).astype(np.float32)


def _matched(subject: Subject, count: int) -> list[HeadSet]:
    return list(layer_matched_sets(HEADS, *_shape(subject), count, 0))


def _grids(subject: Subject, sets: Sequence[HeadSet]) -> np.ndarray:
    return np.stack([1 - each.grid(*_shape(subject)) for each in sets]).astype(np.float32)


def _shape(subject: Subject) -> tuple[int, int]:
    return subject.model.config.num_hidden_layers, subject.model.config.num_attention_heads


def _texts(subject: Subject, task: str, count: int) -> list[Text]:
    return [_text(subject.tokenizer, item) for item in builtin_data.task_items(task)[:count]]


def _text(tokenizer: Any, item: chains.Item) -> Text:
    response = tokenizer(chains.thinking_turn(item), add_special_tokens=False)["input_ids"]
    return Text(tuple(prompt_ids(tokenizer, item.prompt)), (*response, tokenizer.eos_token_id))


if __name__ == "__main__":
    sys.exit(main())
