"""Planted heads: does the detector find heads that are known to have changed, and only those?

Two ways of planting, on the lab's base model M:

- *removed*: the base is M with a set of heads silenced (``edit_weights``), the post-trained model is M itself.
- *trained*: the base is that silenced model; the post-trained one is trained from it on the lab's traces with nothing
  free but those heads' rows of q_proj and columns of o_proj.

Truth for a head: it was planted, and putting it from post into base (``cross_patch``) closes some of the gap between
the two, the 95 % interval over pairs being above 0. Heads that were not planted have the same weights in both models.

    .venv/bin/python benchmarks/planted.py [--quick] [--sizes 1 2] [--seeds 0] [--pairs 16] [--fractions 0.05]

A minute or more per model on one core.
"""

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from table import figures, markdown_table

from headscope.circuits import attribute, cross_patch
from headscope.comparison import emergence
from headscope.heads import HeadId, HeadSet
from headscope.interventions import edit_weights
from headscope.lab import base, chains
from headscope.lab.pairs import lab_pairs, prompt_tokens
from headscope.measures.intervals import bootstrap
from headscope.models import head_access, load_model
from headscope.pairs import Pairs
from headscope.results.edges import EdgeScores

LEARNING_RATE, BATCH = 2e-3, 32


@dataclass(frozen=True)
class Plan:
    """model: of the lab. sizes: planted heads per model. seeds: of the sets. pairs: of the detector.

    fractions: circuit sizes. steps: of training.
    """

    sizes: tuple[int, ...] = (1, 2, 4)
    seeds: tuple[int, ...] = (0, 1, 2)
    pairs: tuple[int, ...] = (16, 64)
    fractions: tuple[float, ...] = (0.02, 0.05, 0.1)
    steps: int = 150
    model: str = "lab-m"


QUICK = Plan(sizes=(1,), seeds=(0,), pairs=(4,), fractions=(0.05,), steps=2, model="lab-s")


@dataclass(frozen=True, eq=False)
class Planted:
    """One pair of models and the heads in which their weights differ."""

    kind: str
    base: Any
    post: Any
    heads: HeadSet


def planted(subject: Any, plan: Plan) -> Iterator[Planted]:
    """Every size, seed and kind."""
    access = head_access(subject.model)
    everything = [HeadId(layer, head) for layer in range(len(access.layers)) for head in range(access.heads)]
    for size in plan.sizes:
        for seed in plan.seeds:
            heads = HeadSet.of(random.Random(seed * 100 + size).sample(everything, size))
            silenced = edit_weights(subject, {str(head): 0.0 for head in heads})
            yield Planted("removed", silenced, subject, heads)
            yield Planted("trained", silenced, _trained(silenced, heads, plan.steps, seed), heads)


def _trained(silenced: Any, heads: HeadSet, steps: int, seed: int) -> Any:
    """A copy of ``silenced`` in which only ``heads`` have learned, from the lab's traces."""
    post = edit_weights(silenced, {})
    model, tokenizer = post.model, post.tokenizer
    free = _free(model, heads, seed)
    optimizer = torch.optim.Adam(list(free), lr=LEARNING_RATE)
    rows = _rows(tokenizer, steps * BATCH, seed)
    for step in range(steps):
        ids, labels = _padded(rows[step * BATCH : (step + 1) * BATCH], model.config.pad_token_id or 0)
        loss = model(input_ids=ids, attention_mask=(labels > -200).long(), labels=labels.clamp_min(-100)).loss
        optimizer.zero_grad()
        loss.backward()
        for parameter, mask in free.items():
            assert parameter.grad is not None
            parameter.grad *= mask
        optimizer.step()
    return replace(post, model=model.requires_grad_(False))


def _free(model: Any, heads: HeadSet, seed: int) -> dict[torch.nn.Parameter, torch.Tensor]:
    """The parameters with something to learn, and which of their numbers may; silenced columns start from noise."""
    torch.manual_seed(seed)
    access = head_access(model)
    model.requires_grad_(False)
    masks: dict[torch.nn.Parameter, torch.Tensor] = {}
    for head in heads:
        rows = slice(head.head * access.d_head, (head.head + 1) * access.d_head)
        attention: Any = access.layers[head.layer].attention
        for parameter, part in ((attention.q_proj.weight, (rows,)), (attention.o_proj.weight, (slice(None), rows))):
            masks.setdefault(parameter.requires_grad_(True), torch.zeros_like(parameter))[part] = 1
        with torch.no_grad():
            attention.o_proj.weight[:, rows] = 0.02 * torch.randn(access.d_model, access.d_head)
    return masks


def _rows(tokenizer: Any, count: int, seed: int) -> list[tuple[list[int], list[int]]]:
    """Prompt and trace as token ids."""
    return [
        (prompt_tokens(tokenizer, item), tokenizer(chains.thinking(item), add_special_tokens=False)["input_ids"])
        for item in base.mixed_items(count, seed=1000 + seed)
    ]


def _padded(rows: Sequence[tuple[list[int], list[int]]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and labels; −100 where a token is not learned, below −200 where there is none."""
    longest = max(len(prompt) + len(answer) for prompt, answer in rows)
    ids, labels = torch.full((len(rows), longest), pad), torch.full((len(rows), longest), -300)
    for row, (prompt, answer) in enumerate(rows):
        ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
        labels[row, : len(prompt) + len(answer)] = torch.tensor([-100] * len(prompt) + answer)
    return ids, labels


@dataclass
class Score:
    """Counts over models: causal planted heads found and missed, found heads that were not planted."""

    found: int = 0
    missed: int = 0
    false: int = 0

    def add(self, found: HeadSet, truth: HeadSet, planted: HeadSet) -> None:
        """One model's."""
        self.found += len(set(found) & set(truth))
        self.missed += len(set(truth) - set(found))
        self.false += len(set(found) - set(planted))

    def cells(self) -> tuple[str, str]:
        """Recall and false-discovery rate."""
        causal, claimed = self.found + self.missed, self.found + self.false
        recall = "–" if not causal else f"{figures(self.found / causal)} ({self.found} of {causal})"
        return recall, "–" if not claimed else f"{figures(self.false / claimed)} ({self.false} of {claimed})"


def causal(model: Planted, pairs: Pairs, seed: int = 0) -> HeadSet:
    """Planted heads that close some of the gap, the 95 % interval over pairs above 0."""
    patched = cross_patch(model.base, model.post, pairs)

    def closes(head: HeadId) -> bool:
        closed = patched.closed[:, head.layer, head.head].astype(float)
        return bootstrap(lambda weights: float(weights @ closed), len(closed), unit="pair", seed=seed).low > 0

    return HeadSet.of([head for head in model.heads if closes(head)])


def measure(plan: Plan) -> str:
    """Recall and false discoveries of the detector and of the paper's rule, as a Markdown table."""
    subject = load_model(base.model_folder(plan.model))
    fresh = 10_000
    scores: dict[tuple[str, int, float, str], Score] = {}
    for model in planted(subject, plan):
        for count in plan.pairs:
            pairs, again = (lab_pairs(subject.tokenizer, count, kind="leaf", seed=seed) for seed in (fresh, fresh + 1))
            truth = causal(model, pairs)
            before, after, null = (
                attribute(which, texts, keep_pairs=True)
                for which, texts in ((model.base, pairs), (model.post, pairs), (model.base, again))
            )
            for fraction in plan.fractions:
                for method in ("bootstrap", "paper"):
                    score = scores.setdefault((model.kind, count, fraction, method), Score())
                    score.add(_new(before, after, null, fraction, method), truth, model.heads)
    rows = [(kind, str(count), f"{fraction:.0%}", method, *score.cells())
            for (kind, count, fraction, method), score in sorted(scores.items())]  # fmt: skip
    return markdown_table(("planted", "pairs", "edges", "rule", "recall", "false discoveries"), rows)


def _new(before: EdgeScores, after: EdgeScores, null: EdgeScores, fraction: float, method: Any) -> HeadSet:
    return emergence(before, after, base_again=null, fraction=fraction, method=method).new


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description="Recall and false discoveries on models whose changed heads are known."
    )
    parser.add_argument("--quick", action="store_true", help="one tiny model: checks that it works")
    for name, kind in (("sizes", int), ("seeds", int), ("pairs", int), ("fractions", float)):
        parser.add_argument(f"--{name}", type=kind, nargs="+", help=f"(default: {getattr(Plan, name)})")
    options = vars(parser.parse_args(arguments))
    plan = QUICK if options.pop("quick") else Plan()
    given = {name: tuple(values) for name, values in options.items() if values is not None}
    torch.set_num_threads(1)
    print(measure(replace(plan, **given)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
