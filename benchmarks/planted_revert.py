"""Planted heads under ``revert``: which single heads did training change, seen by giving each the base's weights?

The models are those of ``planted.py``, with two populations more: heads that grew by less, and heads whose keys and
values were trained too. Heads that were not planted have the same weights in both models (drift 0), or both models have
been trained on for a while, each on other traces, so that every head has moved (``DRIFTS``).

1. Revert each head alone in *post*; per problem, the divergence KL(post ‖ reverted) and the rise of the loss, nats per
   token of the lab's traces.
2. *kl*: the mean of the divergence's logarithm over problems, less the median of all heads, in units of their spread
   (MAD) and of its own standard error: Student's t; if most heads diverge nowhere, a sign test of how many problems
   this one does in. *loss*: the mean rise, in units of the heads' spread around 0 and its own standard error. All
   one-sided, Benjamini-Hochberg over heads, q ≤ 0.05.
3. *All* planted heads are to be found, and of them *those with an effect*: without drift, reverting one alone moves
   the predictions on other problems by ``EFFECT`` or more, in divergence. A found head that was not planted is false.

    .venv/bin/python benchmarks/planted_revert.py [--quick] [--sizes 1] [--seeds 0] [--drifts 0] [--kinds trained]

Six minutes of one core.
"""

import argparse
import itertools
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from planted import FRESH, Score, padded, trace_rows, trained
from scipy import stats
from table import markdown_table

from headscope.heads import HeadId, HeadSet
from headscope.interventions import DonorWeights, Replacement, edit_weights, replace_heads
from headscope.measures.multiplicity import q_values
from headscope.models import head_access, load_model
from headscope.results.numbers import ALPHA

GROWTHS = (4.0, 2.0, 1.5, 1.25, 1.1)
KINDS = ("removed", "trained", "trained with k, v", *(f"grown × {growth:g}" for growth in GROWTHS))
KV_ANY = ", kv any"
EFFECT = 1e-3
"""Nats per token."""

LONGEST = 90
"""Tokens of a prompt and its trace."""

MAD_TO_SD = 1.4826
"""Of a normal distribution."""

SMALLEST = 1e-12
"""Nats below which a divergence is the rounding of the logits."""

Problems = Float[np.ndarray, "head problem"]


@dataclass(frozen=True)
class Plan:
    """sizes: planted heads per model. seeds: of the sets. problems: on whose traces heads are reverted.

    drifts: Adam's learning rates of the training both models have behind them; drift_steps: its steps. steps: of
    planting by training. kinds: ways of planting.
    """

    sizes: tuple[int, ...] = (4,)
    seeds: tuple[int, ...] = (0, 1, 2)
    problems: int = 24
    drifts: tuple[float, ...] = (0.0, 1e-4, 5e-4)
    drift_steps: int = 40
    steps: int = 100
    kinds: tuple[str, ...] = KINDS


QUICK = Plan(sizes=(2,), seeds=(1,), problems=16, drifts=(0.0, 1e-4), drift_steps=2, steps=2)


@dataclass(frozen=True, eq=False)
class Planted:
    """Base and post without drift, and the heads in which their weights differ."""

    kind: str
    base: Any
    post: Any
    heads: HeadSet


def planted(plan: Plan, subject: Any) -> Iterator[Planted]:
    """Yield every size, seed and kind."""
    access = head_access(subject.model)
    everything = [HeadId(layer, head) for layer in range(len(access.layers)) for head in range(access.heads)]
    for size, seed in itertools.product(plan.sizes, plan.seeds):
        heads = HeadSet.of(random.Random(seed * 100 + size).sample(everything, size))
        for kind in plan.kinds:
            base, post = models(plan, subject, heads, kind, seed)
            yield Planted(kind, base, post, heads)


def models(plan: Plan, subject: Any, heads: HeadSet, kind: str, seed: int) -> tuple[Any, Any]:
    """Return base and post of one way of planting ``heads``."""
    if kind.startswith("grown"):
        share = 1 / float(kind.split()[-1])
        return edit_weights(subject, dict.fromkeys(map(str, heads), share)), subject
    silenced = edit_weights(subject, dict.fromkeys(map(str, heads), 0.0))
    if kind == "removed":
        return silenced, subject
    return silenced, trained(silenced, heads, plan.steps, seed, keys_and_values=kind == "trained with k, v")


Weights = Mapping[str, torch.Tensor]


def drift(subject: Any, rate: float, steps: int, seed: int) -> dict[str, torch.Tensor]:
    """Return how far each weight moves in ``steps`` of training on traces of a seed."""
    moved = edit_weights(subject, {}).model.requires_grad_(True)
    optimizer = torch.optim.Adam(moved.parameters(), lr=rate)
    rows = trace_rows(subject.tokenizer, steps * 32, seed)
    for step in range(steps if rate else 0):
        ids, labels = padded(rows[step * 32 : (step + 1) * 32], moved.config.pad_token_id or 0)
        loss = moved(input_ids=ids, attention_mask=(labels > -200).long(), labels=labels.clamp_min(-100)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    before = subject.model.state_dict()
    return {name: weight.detach() - before[name] for name, weight in moved.state_dict().items()}


@torch.no_grad()
def drifted(subject: Any, moves: Weights) -> Any:
    """Return a copy of ``subject`` whose weights have moved."""
    copy = edit_weights(subject, {})
    tied = copy.model.get_input_embeddings().weight is copy.model.get_output_embeddings().weight
    for name, parameter in copy.model.named_parameters():
        if not (tied and name == "lm_head.weight"):
            parameter += moves[name]
    return copy


@torch.inference_mode()
def revert_each(post: Any, base: Any, ids: torch.Tensor, labels: torch.Tensor, kv: str) -> tuple[Problems, Problems]:
    """Return divergence and rise of the loss, nats per token of the traces, of reverting each head alone."""
    access = head_access(post.model)
    donor = Replacement(DonorWeights.of(post, base, kv))
    is_trace = labels[:, 1:] >= 0
    lengths = is_trace.sum(1)

    inputs: dict[int, tuple[torch.Tensor, dict[str, Any]]] = {}

    def record(layer: int, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs.setdefault(layer, (args[0], kwargs))

    def log_probabilities(first: int) -> torch.Tensor:
        """Return those of the model from layer ``first`` on: below a reverted head nothing changes."""
        stream, _ = inputs[first]
        for layer in range(first, len(access.layers)):
            stream = access.layers[layer].block(stream, **inputs[layer][1])
        logits = post.model.lm_head(access.final_norm.module(stream))[:, :-1]
        return logits.double().log_softmax(-1)

    def mean_over_trace(values: torch.Tensor) -> np.ndarray:
        return ((values * is_trace).sum(1) / lengths).numpy()

    handles = []
    for layer, layer_access in enumerate(access.layers):
        handles.append(layer_access.block.register_forward_pre_hook(partial(record, layer), with_kwargs=True))
    post.model(input_ids=ids, use_cache=False)  # padding comes last, where no token of a trace looks
    for handle in handles:
        handle.remove()
    whole = log_probabilities(0)
    target = labels[:, 1:].clamp_min(0)[..., None]
    divergences, rises = [], []
    changed = changed_heads(post, base)
    for layer, head in itertools.product(range(len(access.layers)), range(access.heads)):
        reverted = whole
        if changed[layer, head]:  # else nothing changes, bit by bit (tests/interventions/test_donor_weights.py)
            with replace_heads(post, [(layer, head)], donor):
                reverted = log_probabilities(layer)
        divergences.append(mean_over_trace((whole.exp() * (whole - reverted)).sum(-1).clamp_min(0)))
        rises.append(mean_over_trace((whole - reverted).gather(-1, target)[..., 0]))
    return np.array(divergences), np.array(rises)


def changed_heads(post: Any, base: Any) -> np.ndarray:
    """Return on the [layer, head] grid which heads' weights differ, the keys and values of their group included."""
    access, other = head_access(post.model), head_access(base.model)
    changed = np.zeros((len(access.layers), access.heads), dtype=bool)
    for layer, (own, donor) in enumerate(zip(access.layers, other.layers, strict=True)):
        columns: Any = own.output.weight != donor.output.weight
        changed[layer] = columns.any(0).reshape(access.heads, -1).any(1).numpy()
        for projection, donor_projection in zip(own.projections, donor.projections, strict=True):
            rows: Any = (projection.linear.weight != donor_projection.linear.weight).any(1)
            heads = rows.reshape(-1, access.d_head).any(1).numpy()
            changed[layer] |= np.repeat(heads, access.heads // len(heads))
    return changed


def divergence_p_values(divergence: Problems) -> Float[np.ndarray, " head"]:
    """Return one-sided p-values that a head diverges more than heads do."""
    problems = divergence.shape[1]
    diverges = divergence > 0
    if np.median(diverges.sum(axis=1)) == 0:  # most heads have the same weights in both models
        return np.where(diverges.any(axis=1), 0.5 ** diverges.sum(axis=1), 1.0)
    logs = np.log(divergence.clip(SMALLEST))
    mean, error = logs.mean(axis=1), logs.std(axis=1, ddof=1) / problems**0.5
    distance = mean - np.median(mean)
    p_values: Float[np.ndarray, " head"] = stats.t.sf(
        distance / np.hypot(error, MAD_TO_SD * np.median(abs(distance))), problems - 1
    )
    return p_values


def rise_p_values(rise: Problems) -> Float[np.ndarray, " head"]:
    """Return one-sided p-values that reverting a head raises the loss more than it does for heads as they come."""
    problems = rise.shape[1]
    mean = rise.mean(axis=1)
    spread = np.hypot(rise.std(axis=1, ddof=1) / problems**0.5, MAD_TO_SD * np.median(abs(mean)))
    p_values = np.ones(len(mean))
    moved = spread > 0
    p_values[moved] = stats.t.sf(mean[moved] / spread[moved], problems - 1)
    return p_values


def found(p_values: Float[np.ndarray, " head"], width: int) -> HeadSet:
    """Return the heads with q ≤ 0.05."""
    return HeadSet.from_grid(q_values(p_values).reshape(-1, width) <= ALPHA)


def measure(plan: Plan) -> str:
    """Return recall and false discoveries of each rule, as a Markdown table."""
    subject = load_model("lab-s")
    width = head_access(subject.model).heads
    # Of the shorter traces: a pass costs the longest one.
    rows = [row for row in trace_rows(subject.tokenizer, 8 * plan.problems, FRESH) if sum(map(len, row)) <= LONGEST]
    pad = subject.model.config.pad_token_id or 0
    measured, others = padded(rows[: plan.problems], pad), padded(rows[plan.problems : 2 * plan.problems], pad)
    # The two trainings see other traces; planting and measuring see others again.
    moves = {rate: [drift(subject, rate, plan.drift_steps, seed) for seed in (501, 502)] for rate in plan.drifts}
    scores: dict[tuple[str, ...], tuple[Score, Score]] = {}
    sizes = {rate: head_drift(subject, *pair) for rate, pair in moves.items()}
    for model in planted(plan, subject):
        effect = revert_each(model.post, model.base, *others, "any")[0].mean(axis=1).reshape(-1, width)
        effective = HeadSet.of([head for head in model.heads if effect[head.layer, head.head] >= EFFECT])
        rules = ("all", "any") if "k, v" in model.kind else ("all",)
        for (rate, (before, after)), kv in itertools.product(moves.items(), rules):
            base, post = drifted(model.base, before), drifted(model.post, after)
            divergence, rise = revert_each(post, base, *measured, kv)
            for rule, p_values in (("kl", divergence_p_values(divergence)), ("loss", rise_p_values(rise))):
                name = model.kind if kv == "all" else f"{model.kind}{KV_ANY}"
                key = (f"{sizes[rate]:.1%}", name, rule)
                for score, truth in zip(
                    scores.setdefault(key, (Score(), Score())), (effective, model.heads), strict=True
                ):
                    score.add(found(p_values, width), truth, model.heads)
        effects = ", ".join(f"{head} {effect[head.layer, head.head]:.1e}" for head in model.heads)
        print(f"{model.kind}: {effects}", file=sys.stderr)
    cells = [(*key, of_effect.cells()[0], *of_all.cells()) for key, (of_effect, of_all) in scores.items()]
    order = {name: place for place, name in enumerate(plan.kinds)}
    cells.sort(key=lambda row: (float(row[0].rstrip("%")), row[2], order[row[1].removesuffix(KV_ANY)], row[1]))
    columns = ("drift", "planted", "rule", "recall of those with an effect", "of all", "false discoveries")
    return markdown_table(columns, cells)


def head_drift(subject: Any, before: Weights, after: Weights) -> float:
    """Return by how much two trainings part a head's q and o weights, as a share of them: the median over heads."""
    access = head_access(subject.model)
    ratios = []
    for layer, head in itertools.product(range(len(access.layers)), range(access.heads)):
        rows = slice(head * access.d_head, (head + 1) * access.d_head)
        weights: Any = subject.model.state_dict()
        name = f"model.layers.{layer}.self_attn"
        parted = [(after[f"{name}.{part}.weight"] - before[f"{name}.{part}.weight"]) for part in ("q_proj", "o_proj")]
        own = [weights[f"{name}.{part}.weight"] for part in ("q_proj", "o_proj")]
        size = torch.cat([parted[0][rows].flatten(), parted[1][:, rows].flatten()]).norm()
        ratios.append(float(size / torch.cat([own[0][rows].flatten(), own[1][:, rows].flatten()]).norm()))
    return float(np.median(ratios))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Planted heads found by reverting each head alone.")
    parser.add_argument("--quick", action="store_true", help="one set of two heads, few problems: checks that it works")
    parser.add_argument("--kinds", choices=KINDS, nargs="+", help="(default: all)")
    for name, kind in (("sizes", int), ("seeds", int), ("drifts", float)):
        parser.add_argument(f"--{name}", type=kind, nargs="+", help=f"(default: {getattr(Plan, name)})")
    for name in ("problems", "steps"):
        parser.add_argument(f"--{name}", type=int, help=f"(default: {getattr(Plan, name)})")
    options = vars(parser.parse_args(arguments))
    plan = QUICK if options.pop("quick") else Plan()
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items() if value}
    torch.set_num_threads(1)
    print(measure(replace(plan, **given)), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
