"""Planted heads: does the detector find heads that are known to have changed, and only those?

Four ways of planting, in one of the lab's base models. In *base* a set of heads is silenced, and *post* is

- *removed*: the lab's model as it is;
- *set*: with those heads set by hand: they attend to all positions alike and write the mean value in random directions,
  as strongly as their layer's heads do on average;
- *trained*: with those heads learned anew from the lab's traces, nothing else being free (q_proj rows, o_proj columns).

And *weakened*: in base the heads write a tenth, a quarter or half of what they write in post, the lab's model.

Truth for a head: it was planted, and putting it from post into base (``cross_patch``) closes some of the gap between
the two, the 95 % interval over pairs being above 0. Heads that were not planted have the same weights in both models.

    .venv/bin/python benchmarks/planted.py [--quick] [--model lab-m] [--sizes 1] [--seeds 0] [--pairs 16] [--kinds set]

About a quarter of an hour on one core with lab-s, more than an hour with lab-m.
"""

import argparse
import itertools
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from table import figures, markdown_table

from headscope.circuits import attribute, cross_patch
from headscope.comparison import Resampling, doubled_heads, emergence_by_method, gap_closure
from headscope.evaluation import prompt_ids
from headscope.heads import HeadId, HeadSet
from headscope.interventions import edit_weights
from headscope.lab import builtin_data, chains
from headscope.lab.pairs import lab_pairs
from headscope.model_files.named_models import LAB_FOLDERS
from headscope.models import head_access, load_model
from headscope.results.cross_patch import CrossPatch
from headscope.results.edges import EdgeScores

LEARNING_RATE, BATCH = 2e-3, 32
KINDS = ("removed", "set", "trained", "weakened")
DOSES = (0.1, 0.25, 0.5)
FRESH = 10_000
"""Seed of the pairs' problems."""


@dataclass(frozen=True)
class Plan:
    """model: of the lab. sizes: planted heads per model. seeds: of the sets. pairs: of the detector.

    fractions: circuit sizes. kinds: ways of planting. steps: of training.
    """

    model: str = "lab-s"
    sizes: tuple[int, ...] = (1, 2, 4)
    seeds: tuple[int, ...] = (0, 1, 2)
    pairs: tuple[int, ...] = (16, 64)
    fractions: tuple[float, ...] = (0.05, 0.1, 0.2)
    kinds: tuple[str, ...] = KINDS
    steps: int = 100


QUICK = Plan(sizes=(1,), seeds=(1,), pairs=(4,), fractions=(0.05,), steps=2)


@dataclass(frozen=True, eq=False)
class Planted:
    """One pair of models, the heads in which their weights differ, and which of them are causal on so many pairs."""

    kind: str
    base: EdgeScores
    post: EdgeScores
    patched: CrossPatch
    heads: HeadSet

    def causal(self, pairs: int) -> HeadSet:
        """Planted heads that close some of the gap."""
        sure = gap_closure(self.patched, pairs=pairs).low > 0
        return HeadSet.of([head for head in self.heads if sure[head.layer, head.head]])


def planted(plan: Plan) -> Iterator[Planted]:
    """Every size, seed and kind, scored on the largest number of pairs."""
    subject = load_model(plan.model)
    pairs = lab_pairs(subject.tokenizer, max(plan.pairs), kind="leaf", seed=FRESH)
    access = head_access(subject.model)
    everything = [HeadId(layer, head) for layer in range(len(access.layers)) for head in range(access.heads)]
    whole = attribute(subject, pairs, keep_pairs=True)
    for size, seed in itertools.product(plan.sizes, plan.seeds):
        heads = HeadSet.of(random.Random(seed * 100 + size).sample(everything, size))
        for kind, before, after in _models(plan, subject, heads, seed):
            scores = whole if after is subject else attribute(after, pairs, keep_pairs=True)
            yield Planted(
                kind, attribute(before, pairs, keep_pairs=True), scores, cross_patch(before, after, pairs), heads
            )


def _models(plan: Plan, subject: Any, heads: HeadSet, seed: int) -> Iterator[tuple[str, Any, Any]]:
    """Each way of planting these heads: its name, base and post."""
    silenced = edit_weights(subject, dict.fromkeys(map(str, heads), 0.0))
    if "removed" in plan.kinds:
        yield "removed", silenced, subject
    if "set" in plan.kinds:
        yield "set", silenced, set_by_hand(silenced, subject, heads, seed)
    if "trained" in plan.kinds:
        yield "trained", silenced, trained(silenced, heads, plan.steps, seed)
    for dose in DOSES if "weakened" in plan.kinds else ():
        yield f"weakened to {dose:.0%}", edit_weights(subject, dict.fromkeys(map(str, heads), dose)), subject


def set_by_hand(silenced: Any, subject: Any, heads: HeadSet, seed: int) -> Any:
    """A copy of ``silenced`` whose ``heads`` attend evenly and write in random directions of the usual size."""
    post = edit_weights(silenced, {})
    access = head_access(post.model)
    generator = torch.Generator().manual_seed(seed)
    for head in heads:
        rows = slice(head.head * access.d_head, (head.head + 1) * access.d_head)
        attention: Any = access.layers[head.layer].attention
        usual: Any = head_access(subject.model).layers[head.layer].attention
        with torch.no_grad():
            directions = torch.randn(access.d_model, access.d_head, generator=generator)
            size = usual.o_proj.weight.norm() / access.heads**0.5
            attention.o_proj.weight[:, rows] = directions / directions.norm() * size
            attention.q_proj.weight[rows] = 0
    return post


def trained(silenced: Any, heads: HeadSet, steps: int, seed: int, *, keys_and_values: bool = False) -> Any:
    """A copy of ``silenced`` in which only ``heads`` have learned, from the lab's traces.

    keys_and_values: whether their groups' rows of k_proj and v_proj have too.
    """
    post = edit_weights(silenced, {})
    free = free_heads(post.model, heads, seed, keys_and_values=keys_and_values)
    return learn(post, free, trace_rows(post.tokenizer, steps * BATCH, seed))


Row = tuple[list[int], list[int]]
"""Token ids of a prompt, and of the answer that is learned."""
Penalty = Callable[[torch.Tensor], torch.Tensor]
"""What is added to the loss of a batch, by its labels, after its forward pass."""


def learn(
    subject: Any,
    free: dict[torch.nn.Parameter, torch.Tensor],
    rows: Sequence[Row],
    *,
    learning_rate: float = LEARNING_RATE,
    penalty: Penalty | None = None,
) -> Any:
    """Train each parameter where its mask is 1, on every whole batch of rows once; return the model frozen."""
    model = subject.model
    optimizer = torch.optim.Adam(list(free), lr=learning_rate)
    for start in range(0, len(rows) - BATCH + 1, BATCH):
        ids, labels = padded(rows[start : start + BATCH], model.config.pad_token_id or 0)
        loss = model(input_ids=ids, attention_mask=(labels > -200).long(), labels=labels.clamp_min(-100)).loss
        if penalty is not None:
            loss = loss + penalty(labels)
        optimizer.zero_grad()
        loss.backward()
        for parameter, mask in free.items():
            assert parameter.grad is not None
            parameter.grad *= mask
        optimizer.step()
    return replace(subject, model=model.requires_grad_(False))


def free_heads(
    model: Any, heads: HeadSet, seed: int, *, keys_and_values: bool
) -> dict[torch.nn.Parameter, torch.Tensor]:
    """The parameters with something to learn, and which of their numbers may; silenced columns start from noise."""
    torch.manual_seed(seed)
    access = head_access(model)
    model.requires_grad_(False)
    masks: dict[torch.nn.Parameter, torch.Tensor] = {}
    for head in heads:
        rows = slice(head.head * access.d_head, (head.head + 1) * access.d_head)
        attention: Any = access.layers[head.layer].attention
        parts = [(attention.q_proj.weight, (rows,)), (attention.o_proj.weight, (slice(None), rows))]
        if keys_and_values:
            group = head.head // access.groups
            shared = (slice(group * access.d_head, (group + 1) * access.d_head),)
            parts += [(attention.k_proj.weight, shared), (attention.v_proj.weight, shared)]
        for parameter, part in parts:
            masks.setdefault(parameter.requires_grad_(True), torch.zeros_like(parameter))[part] = 1
        with torch.no_grad():
            attention.o_proj.weight[:, rows] = 0.02 * torch.randn(access.d_model, access.d_head)
    return masks


def trace_rows(tokenizer: Any, count: int, seed: int) -> list[Row]:
    """Prompt and trace as token ids."""
    return [
        (
            prompt_ids(tokenizer, item.prompt),
            tokenizer(chains.thinking_turn(item), add_special_tokens=False)["input_ids"],
        )
        for item in builtin_data.mixed_items(count, seed=1000 + seed)
    ]


def padded(rows: Sequence[Row], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
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


def measure(plan: Plan) -> str:
    """Recall and false discoveries of each rule, as a Markdown table."""
    scores: dict[tuple[str, int, str, str], Score] = {}
    for model in planted(plan):
        for count in plan.pairs:
            truth = model.causal(count)
            for rule, edges, found in _detected(_first(model.base, count), _first(model.post, count), plan.fractions):
                scores.setdefault((model.kind, count, rule, edges), Score()).add(found, truth, model.heads)
    rows = [(kind, str(count), rule, edges, *score.cells()) for (kind, count, rule, edges), score in scores.items()]
    return markdown_table(("planted", "pairs", "rule", "edges", "recall", "false discoveries"), sorted(rows))


def _detected(before: EdgeScores, after: EdgeScores, fractions: Sequence[float]) -> Iterator[tuple[str, str, HeadSet]]:
    """Rule, circuit size, and the heads called new."""
    yield "doubled", "–", doubled_heads(before, after)
    yield "doubled, by net score", "–", doubled_heads(before, after, score="net")
    for fraction in fractions:
        how = Resampling(fraction)
        found = emergence_by_method(before, [after], {"bootstrap": how, "paper": how})
        yield from ((rule, f"{fraction:.0%}", results[0].new) for rule, results in found.items())


def _first(scores: EdgeScores, count: int) -> EdgeScores:
    """On the first so many pairs."""
    assert scores.pair_edges is not None
    kept = scores.pair_edges[:count]
    return replace(
        scores,
        edges=kept.mean(axis=0),
        edges_abs=np.abs(kept).mean(axis=0),
        pair_heads=scores.pair_heads[:count],
        pair_edges=kept,
        pair_net=None,  # follows from the edges
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description="Recall and false discoveries on models whose changed heads are known."
    )
    parser.add_argument("--quick", action="store_true", help="one set of one head, a few pairs: checks that it works")
    parser.add_argument("--model", choices=LAB_FOLDERS, help=f"(default: {Plan.model})")
    parser.add_argument("--kinds", choices=KINDS, nargs="+", help="(default: all)")
    for name, kind in (("sizes", int), ("seeds", int), ("pairs", int), ("fractions", float)):
        parser.add_argument(f"--{name}", type=kind, nargs="+", help=f"(default: {getattr(Plan, name)})")
    options = vars(parser.parse_args(arguments))
    plan = QUICK if options.pop("quick") else Plan()
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items() if value}
    torch.set_num_threads(1)
    print(measure(replace(plan, **given)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
