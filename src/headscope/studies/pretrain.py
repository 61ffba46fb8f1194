"""Make a lab base model and measure it: weights, recipe, log, and a card with its accuracy per tier."""

import json
from pathlib import Path
from typing import Any

from headscope.evaluation import Chat, Sampling, evaluate, pass_at_k
from headscope.evaluation import Task as Tier
from headscope.lab import builtin_data as lab
from headscope.lab.pretrain import pretrain
from headscope.lab.recipes import Recipe
from headscope.measures.intervals import wilson
from headscope.models import load_model
from headscope.progress import SILENT, Progress
from headscope.results.samples import Samples
from headscope.results.table import Table
from headscope.storage import TRAINING_LOG, write_json, write_text
from headscope.studies.data import sources

PROBLEMS, SAMPLES = 200, 16
LONGEST, SHORTEST = 100, 8  # tokens of an answer, with and without thinking


def pretrain_and_measure(
    recipe: Recipe, out: Path, *, after: Path | None = None, progress: Progress = SILENT
) -> dict[str, Any]:
    """Train by ``recipe`` into ``out`` and write ``card.json`` and ``card.md`` there, and return the card."""
    pretrain(recipe, out, after=after, progress=progress)
    return measure(out, progress=progress)


def measure(folder: Path, *, progress: Progress = SILENT) -> dict[str, Any]:
    """Return a base model's card, also written next to it: accuracy per tier, sampled and greedy.

    As the model likes, if it thinks, and with thinking switched off.
    """
    subject = load_model(folder)
    rows = []
    for name in lab.TASKS:
        task: Tier = sources.task(name).first(PROBLEMS)

        def answer(sampling: Sampling, chat: Chat, task: Tier = task) -> Samples:
            return evaluate(subject.model, subject.tokenizer, task, sampling, chat=chat, progress=progress)

        free, off = Chat(), Chat(enable_thinking=False)
        rows.append(
            _row(
                name,
                sampled=answer(Sampling(SAMPLES, LONGEST, 1.0, 1.0, seed=0), free),
                greedy=answer(Sampling(1, LONGEST, 0.0, 1.0, seed=0), free),
                sampled_off=answer(Sampling(SAMPLES, SHORTEST, 1.0, 1.0, seed=0), off),
                greedy_off=answer(Sampling(1, SHORTEST, 0.0, 1.0, seed=0), off),
            )
        )
    log = [json.loads(line) for line in (folder / TRAINING_LOG).read_text().split("\n") if line]
    card = {
        "schema_version": 1,
        "recipe": json.loads((folder / "recipe.json").read_text()),
        "training": log[-1],
        "accuracy": rows,
    }
    write_json(folder / "card.json", card)
    write_text(folder / "card.md", _markdown(card))
    return card


def _row(name: str, sampled: Samples, greedy: Samples, sampled_off: Samples, greedy_off: Samples) -> dict[str, str]:
    # A model that skips thinking closes the block at once.
    thinks = (~sampled.table["response"].str.replace(" ", "").str.startswith("<think></think>")).to_numpy()
    right = (sampled.table["verdict"] == "correct").to_numpy()
    return {
        "task": name,
        "problems × samples": f"{len(sampled.problems)} × {sampled.correct.shape[1]}",
        "pass@1": str(pass_at_k(sampled.correct, 1)),
        f"pass@{SAMPLES}": str(pass_at_k(sampled.correct, SAMPLES)),
        "greedy": str(pass_at_k(greedy.correct, 1)),
        "share that thinks": f"{thinks.mean():.2f}",
        "correct when it thinks": str(wilson(int(right[thinks].sum()), int(thinks.sum()))) if thinks.any() else "-",
        "thinking off, pass@1": str(pass_at_k(sampled_off.correct, 1)),
        f"thinking off, pass@{SAMPLES}": str(pass_at_k(sampled_off.correct, SAMPLES)),
        "thinking off, greedy": str(pass_at_k(greedy_off.correct, 1)),
    }


def _markdown(card: dict[str, Any]) -> str:
    last, recipe = card["training"], card["recipe"]
    head = (
        f"Base model {recipe['size']}: {last['step']} steps, {last['tokens'] / 1e6:.1f} M tokens, "
        f"{last['seconds'] / 60:.0f} minutes on {recipe['threads']} thread, seed {recipe['seed']}. Sampled at "
        "temperature 1; intervals over problems (over responses for the share correct when it thinks).\n\n"
    )
    return head + Table("accuracy", tuple(card["accuracy"])).markdown() + "\n"
