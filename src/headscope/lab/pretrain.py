"""The lab's base models, from nothing, by one repeatable command: ``headscope lab pretrain --size M``.

Phases on prompts of the train split, the loss on the assistant's turn only: first mostly with traces, until thinking is
accurate; then a short one with traces in fewer items, so that the skill is there and rarely used.
"""

import json
import random
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

from headscope.errors import InputError
from headscope.lab import chains
from headscope.lab.recipes import SIZES, Phase, Recipe, Size
from headscope.lab.tokenizer import build_tokenizer
from headscope.models.muon import MuonWithAdamW
from headscope.progress import SILENT, Progress
from headscope.storage import TRAINING_LOG

IGNORED = -100  # the label torch's cross entropy leaves out
Conversation = tuple[list[int], int]
"""A conversation's token ids and the length of its prompt, which is not learned."""


def architecture(size: Size, vocabulary: int) -> Qwen3Config:
    """Return the real config class at the lab's size: tied embeddings, context 256."""
    return Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=size.width,
        intermediate_size=3 * size.width,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.groups,
        head_dim=size.head_width,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=2,
        bos_token_id=None,
    )


def pretrain(
    recipe: Recipe, out: Path, *, after: Path | None = None, progress: Progress = SILENT
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Train a base model and save it with its tokenizer, recipe and log under ``out``.

    after: folder with the weights and log that the phases before the recipe's first fresh one have made; None trains
        those too. The weights are the same either way, bit for bit.
    Raises InputError if ``after`` is given and no phase is fresh.
    """
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer()
    first = 0 if after is None else _first_fresh(recipe)
    if after is None:
        model = Qwen3ForCausalLM(architecture(SIZES[recipe.size], len(tokenizer)))
    else:
        model = Qwen3ForCausalLM.from_pretrained(after, dtype=torch.float32)
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1))
    earlier_log = "" if after is None else (after / TRAINING_LOG).read_text()
    with (out / TRAINING_LOG).open("w") as file:
        file.write(earlier_log)
        _train(model.train(), tokenizer, recipe, first, _Log(file, earlier_log), progress)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return model, tokenizer


class _Log:
    """A line of ``log.jsonl`` every fiftieth step; counts steps, tokens and seconds on from the lines before."""

    def __init__(self, file: TextIO, before: str) -> None:
        last = json.loads(before.splitlines()[-1]) if before else {"step": 0, "tokens": 0, "seconds": 0.0}
        self._step = int(last["step"])
        self._tokens = int(last["tokens"])
        self._started = time.perf_counter() - last["seconds"]
        self._file = file

    def add(self, phase: int, loss: float, tokens: int) -> None:
        """Count a step, and write every fiftieth."""
        self._step += 1
        self._tokens += tokens
        if self._step % 50 == 0:
            record = {"step": self._step, "phase": phase, "loss": round(loss, 4), "tokens": self._tokens}
            seconds = round(time.perf_counter() - self._started, 1)
            self._file.write(json.dumps(record | {"seconds": seconds}) + "\n")
            self._file.flush()


def _train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    recipe: Recipe,
    first: int,
    log: _Log,
    progress: Progress,
) -> None:
    optimizer = _optimizer(model, recipe)
    rng = random.Random(recipe.seed)
    phases = list(enumerate(recipe.phases))[first:]
    with progress.bar("pretrain", sum(phase.steps for _, phase in phases)) as bar:
        for number, phase in phases:
            if phase.fresh:
                optimizer = _optimizer(model, recipe)
                rng = random.Random(f"{recipe.seed} {number}")
            stream = batches(tokenizer, phase, recipe.tokens_per_batch, rng)
            for index in range(phase.steps):
                # Longer for new weights than for the weights of the phase before.
                _set_learning_rate(optimizer, _schedule(phase, index, warmup=100 if number == 0 else 20))
                ids, labels = next(stream)
                loss = _update(model, optimizer, ids, labels)
                log.add(number, loss, ids.numel())
                bar.advance(note=f"loss {loss:.3f}")


def _first_fresh(recipe: Recipe) -> int:
    """Return the number of the first fresh phase."""
    for number, phase in enumerate(recipe.phases):
        if phase.fresh:
            return number
    raise InputError("this recipe has no fresh phase to begin with; it is trained from nothing")


def batches(
    tokenizer: PreTrainedTokenizerFast, phase: Phase, tokens: int, rng: random.Random, pool: int = 2048
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield (ids, labels) [batch, position] without end, right-padded, of items of like length: about ``tokens``."""
    while True:
        rows = sorted(_conversations(tokenizer, phase, rng, pool), key=lambda row: len(row[0]))
        packed: list[list[Conversation]] = [[]]
        for row in rows:  # ascending, so that a batch's last row is its longest
            if (len(packed[-1]) + 1) * len(row[0]) > tokens:
                packed.append([])
            packed[-1].append(row)
        rng.shuffle(packed)  # or every pool would begin with its shortest items
        for batch in packed:
            yield _pad(batch, tokenizer.pad_token_id)


def _conversations(
    tokenizer: PreTrainedTokenizerFast, phase: Phase, rng: random.Random, count: int
) -> list[Conversation]:
    """Draw ``count`` conversations."""
    prompts: list[str] = []
    answers: list[str] = []
    for tier in rng.choices(list(phase.tiers), list(phase.tiers.values()), k=count):
        item = chains.draw_item(tier, "train", rng)
        thinks = item.path and rng.random() < phase.thinking
        opener = "to" if rng.random() < 0.7 else "okay"
        answers.append(chains.thinking_turn(item, opener=opener) if thinks else chains.direct_turn(item))
        prompts.append(f"<|im_start|>user {item.prompt}<|im_end|><|im_start|>assistant")
    heads = tokenizer(prompts)["input_ids"]
    tails = tokenizer([f"{answer}<|im_end|>" for answer in answers])["input_ids"]
    return [(head + tail, len(head)) for head, tail in zip(heads, tails, strict=True)]


def _pad(rows: list[Conversation], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), pad)
    labels = torch.full((len(rows), width), IGNORED)
    for row, (tokens, prompt) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        labels[row, prompt : len(tokens)] = ids[row, prompt : len(tokens)]
    return ids, labels


def _optimizer(model: PreTrainedModel, recipe: Recipe) -> torch.optim.Optimizer:
    # Its learning rate is set before every step (``_schedule``).
    return MuonWithAdamW(model, lr=1.0, weight_decay=recipe.weight_decay)


def _schedule(phase: Phase, index: int, warmup: int) -> float:
    """Return the step's learning rate: linear from the phase's first to its last, after a short warm-up."""
    rate = phase.learning_rate + (phase.final_learning_rate - phase.learning_rate) * index / phase.steps
    return rate * min(1.0, (index + 1) / warmup)


def _set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _update(model: PreTrainedModel, optimizer: torch.optim.Optimizer, ids: torch.Tensor, labels: torch.Tensor) -> float:
    """Take one step and return the loss before it."""
    loss = model(input_ids=ids, labels=labels, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return float(loss.detach())
