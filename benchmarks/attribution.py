"""Attribution measured: against the passes it cannot avoid, against the slow reference, and on the lab's shape."""

import runpy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bare import bare_passes, work_of
from measuring import Comparison, clocked, compare
from table import Row
from transformers import PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from headscope.circuits import attribute
from headscope.lab import builtin_data
from headscope.measures.quadrature import quadrature
from headscope.models import load_model
from headscope.pairs import Pairs

NODES = 8
_REFERENCE = Path(__file__).parents[1] / "tests" / "circuits" / "slow_reference.py"
LAB_PAIRS, LAB_OPENING = 64, 4  # the lab study's own


@dataclass(frozen=True)
class Shape:
    """A Qwen2 model with random weights, and pairs of random tokens.

    shared, differing: tokens of each pair. prefixes: distinct shared beginnings among the pairs.
    feed_forward: width of the MLP, 8/3 of the residual stream's unless given.
    """

    layers: int
    heads: int
    kv_heads: int
    width: int
    vocabulary: int
    shared: int
    differing: int = 16
    pairs: int = 2
    prefixes: int = 2
    feed_forward: int = 0

    def __str__(self) -> str:
        begun = "" if self.prefixes == self.pairs else f" ({self.prefixes} beginning in all)"
        model = f"{self.layers} × {self.heads} heads ({self.kv_heads} KV), d {self.width}, vocabulary {self.vocabulary}"
        pairs = "1 pair" if self.pairs == 1 else f"{self.pairs} pairs"
        return f"{model}; {pairs} of {self.shared} + {self.differing} tokens{begun}"

    def model(self) -> PreTrainedModel:
        """The model, in evaluation mode, frozen, so that neither side pays for gradients of parameters."""
        torch.manual_seed(0)
        config = Qwen2Config(**self.sizes(), tie_word_embeddings=True)
        return Qwen2ForCausalLM(config).eval().requires_grad_(False)

    def sizes(self) -> dict[str, int]:
        """As Qwen's configs name them."""
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.width,
            "intermediate_size": self.feed_forward or 8 * self.width // 3,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
        }

    def draw(self) -> Pairs:
        """The pairs; every token of the endings differs."""
        draw = np.random.default_rng(0)
        beginnings = draw.integers(0, self.vocabulary, (self.prefixes, self.shared))
        return drawn_pairs([beginnings[index % self.prefixes] for index in range(self.pairs)], self.differing, draw)


# GPT-2 small's size with Qwen2's grouped heads: the overhead is to stay below 1.1 × here.
FULL = Shape(layers=12, heads=12, kv_heads=2, width=768, vocabulary=32_000, shared=200)
LONG = Shape(layers=12, heads=12, kv_heads=2, width=768, vocabulary=32_000, shared=800)
COMMON = Shape(layers=12, heads=12, kv_heads=2, width=768, vocabulary=32_000, shared=200, prefixes=1)
SMALL = Shape(layers=6, heads=8, kv_heads=4, width=256, vocabulary=1000, shared=100, pairs=1, prefixes=1)
TINY = Shape(layers=2, heads=4, kv_heads=2, width=32, vocabulary=50, shared=8, differing=4)


def against_bare_passes(quick: bool) -> list[Row]:
    """The engine's overhead over the passes it cannot avoid, at a fixed number of nodes and adaptively."""
    rows = []
    for shape in (TINY,) if quick else (FULL, COMMON, LONG):
        model, pairs = shape.model(), shape.draw()
        found = beside_bare_passes(model, pairs, NODES, _rounds(quick))
        rows.append(Row("bare", str(shape), "bare passes", found, f"{NODES} Gauss nodes"))
    return [*rows, *_adaptive(TINY if quick else FULL, quick)]


def _adaptive(shape: Shape, quick: bool) -> list[Row]:
    model, pairs = shape.model(), shape.draw()
    nodes = attribute(model, pairs).settings["nodes_mean"]
    found = beside_bare_passes(model, pairs, "adaptive", _rounds(quick))
    return [Row("bare", str(shape), "bare passes", found, f"adaptive, {nodes:.3g} nodes per pair")]


def against_slow_reference(quick: bool) -> list[Row]:
    """Time and largest difference of the scores, against one residual stream per head."""
    shape = TINY if quick else SMALL
    model, pairs = shape.model(), shape.draw()
    rule = quadrature("gauss", NODES)
    slow: Callable[..., Any] = runpy.run_path(str(_REFERENCE))["slow_scores"]
    scores: dict[str, Any] = {}

    def ours() -> None:
        scores["ours"] = attribute(model, pairs, nodes=NODES, keep_pairs=True).pair_edges

    def theirs() -> None:
        scores["theirs"] = slow(model, pairs, rule.alphas, rule.weights)

    found = compare(clocked(ours), clocked(theirs), _rounds(quick))
    error = np.abs(scores["ours"] - scores["theirs"]).max() / np.abs(scores["theirs"]).max()
    note = f"largest difference {error:.0e} of the largest score"
    return [Row("reference", str(shape), "slow reference (tests/circuits)", found, note)]


def lab_checkpoint(quick: bool) -> list[Row]:
    """One checkpoint of the lab study: its base model, its ragged prompts, its opening length."""
    name, count = ("lab-s", 2) if quick else ("lab-m", LAB_PAIRS)
    subject = load_model(name)
    model = subject.model.requires_grad_(False)
    pairs = drawn_pairs(lab_prompts(subject.tokenizer, count), LAB_OPENING, np.random.default_rng(0))
    lengths = [len(row) for row in pairs.clean]
    shape = f"{name}, {count} ragged pairs of {min(lengths)}–{max(lengths)} tokens, {LAB_OPENING} differing"
    rows = []
    for nodes in (NODES, "adaptive"):
        found = beside_bare_passes(model, pairs, nodes, _rounds(quick))
        about = attribute(model, pairs, nodes=nodes).settings
        how = f"{nodes} Gauss nodes" if nodes == NODES else f"adaptive, {about['nodes_mean']:.3g} nodes per pair"
        rows.append(Row("lab", shape, "bare passes", found, f"{how}; {1000 * found.ours / count:.3g} ms per pair"))
    return rows


def _rounds(quick: bool) -> int:
    return 2 if quick else 5


def beside_bare_passes(model: PreTrainedModel, pairs: Pairs, nodes: int | str, rounds: int) -> Comparison:
    """Attribution against the bare passes of the same batches and nodes."""
    work = work_of(lambda: attribute(model, pairs, nodes=nodes))
    return compare(
        clocked(lambda: attribute(model, pairs, nodes=nodes)),
        lambda: sum(bare_passes(model, one).seconds for one in work),
        rounds,
    )


def drawn_pairs(beginnings: list[Any], differing: int, draw: np.random.Generator) -> Pairs:
    """Pairs with these beginnings and random endings; ids stay below 50, which every vocabulary here holds."""
    one = draw.integers(0, 50, (len(beginnings), differing))
    other = (one + draw.integers(1, 50, one.shape)) % 50
    return Pairs.from_tokens(
        *([[*begun, *ending] for begun, ending in zip(beginnings, endings, strict=True)] for endings in (one, other))
    )


def lab_prompts(tokenizer: Any, count: int) -> list[list[int]]:
    """Token ids of the lab's training problems, rendered."""
    return [
        tokenizer.apply_chat_template([{"role": "user", "content": item.prompt}], add_generation_prompt=True)[
            "input_ids"
        ]
        for item in builtin_data.mixed_items(count, seed=1)
    ]
