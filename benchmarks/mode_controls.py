"""Positive controls of the claims about one model in two modes (C8, C9): lab-s asked for traces and for bare answers.

A pair that differs in a leaf digit is scored on the trace, and on the bare answer. C8: without three of its heads lab-s
has none that traces alone use, and bare answers are spread over more; the twin silences the head that carries the digit
through traces, so that they need heads of their own. C9: two heads learn, nothing else being free, to spread bare
answers over several digits, and to write nothing into traces; in the twin they learn to make one digit of what the rest
spreads.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from control_studies import MODEL, Outcome, Size, run_control, save_doses, save_subject
from planted import BATCH, Row, free_heads, learn

from headscope.comparison.claims import StudyResults
from headscope.evaluation import prompt_ids
from headscope.heads import HeadSet
from headscope.interventions import edit_weights
from headscope.lab import builtin_data, chains
from headscope.models import head_access, load_model

SILENCED = ("L3H0", "L3H4", "L3H5")
"""A head that traces alone use, and two that most of a bare answer goes through."""
CARRIER = "L1H5"
"""The head that carries the leaf digit through traces."""
PAIRS = 64
"""Of C8, which counts heads; half as many of C9, which must find two."""
SIZES = [0.005, 0.01, 0.02, 0.05, 0.1, 0.2]
"""Of circuits whose faithfulness is read: between two of them it is interpolated."""

BLURRING = ("L3H6", "L3H7")
"""Heads with keys and values of their own (one group), which traces do without."""
PROBLEM_FACTOR = 2
"""Times as many problems as other controls have: bare answers are short, and the heads that are found are not all."""
SHIFTS = (0, 3, 5, 7)
"""What is added, mod 10, to the leaf digit in a bare answer that is spread."""
LEAF_SHARE = 0.6
"""Share of the problems whose answer is the leaf digit; in the others it is one of those it is spread over."""
SAMPLES = 16
BARE_TOKENS = 5
"""Of a bare answer: <think>, </think>, <ans>, the digit and the end."""
MODEL_RATE, HEAD_RATE = 1e-3, 3e-3
WRITE_PENALTY = 0.03
"""Weight, in the loss, of the square of what the heads write into a position of a trace."""


def modes(folder: Path, size: Size) -> Outcome:
    """Return the results for C8."""
    return Outcome(
        _run_modes(dict.fromkeys(SILENCED, 0.0), folder / "control", size),
        {"heads of traces' own": _run_modes({CARRIER: 0.0}, folder / "twin", size)},
    )


def _run_modes(doses: dict[str, float], folder: Path, size: Size) -> StudyResults:
    save_doses(doses, folder / "model")
    model = {"model": str(folder / "model")}
    size = replace(size, pairs=PAIRS)
    # A larger circuit, because at 10 % of the edges single heads lie at its edge in one mode.
    discover = {"sizes": SIZES, "fraction": 0.15}
    return run_control(model, _both_modes(folder / "model"), folder / "run", size, discover=discover)


def blurred(folder: Path, size: Size) -> Outcome:
    """Return the results for C9."""
    folder.mkdir(parents=True, exist_ok=True)
    size = replace(size, problems=PROBLEM_FACTOR * size.problems)
    task = _write_task(folder / "leaf-digits.jsonl", size)
    results = []
    for name, base_spreads in (("control", False), ("twin", True)):
        base = _teach_base(base_spreads, size)
        save_subject(base, folder / name / "base")
        save_subject(_teach_heads(base, not base_spreads, size), folder / name / "post")
        results.append(_run_blurred(folder / name, task, size))
    return Outcome(results[0], {"heads that make one digit of many": results[1]})


def _run_blurred(folder: Path, task: dict[str, str], size: Size) -> StudyResults:
    ablate = {
        "heads": ["think-off-only"],
        "generated": ["zero"],
        "generated_controls": 1,
        "operators": ["zero"],
        "texts": 10,
        "scales": [],
        "problems": size.problems,
        "samples": SAMPLES,
    }
    evaluate = {"samples": 1, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 64}
    return run_control(
        {"model": str(folder / "base")},
        _both_modes(folder / "post"),
        folder / "run",
        replace(size, pairs=PAIRS // 2),
        goal="ablate",
        tasks=[task],
        ablate=ablate,
        eval=evaluate,
    )


def _both_modes(model: Path) -> list[dict[str, Any]]:
    """Return the variants of one model that are asked to think and asked not to."""
    asked = {"think-on": True, "think-off": False}
    return [
        {"name": name, "method": "sft", "model": str(model), "chat": {"enable_thinking": thinks}}
        for name, thinks in asked.items()
    ]


def _write_task(file: Path, size: Size) -> dict[str, str]:
    """Write problems of T1 whose answer is the leaf digit, and others that a spread answer hits; return the task."""
    plain = round(LEAF_SHARE * size.problems)
    wanted = {True: plain, False: size.problems - plain}
    rows = []
    for item in chains.draw_items("T1", "test", 20 * size.problems, seed=size.seed):
        shift = (item.answer - item.path[-1].value) % 10
        if shift in SHIFTS and wanted[shift == 0]:
            wanted[shift == 0] -= 1
            rows.append({"question": item.prompt, "answer": str(item.answer)})
    if any(wanted.values()):
        raise SystemExit(f"too few problems were drawn: {sum(wanted.values())} are missing")
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return {"file": str(file), "kind": "exact"}


def _teach_base(spread: bool, size: Size) -> Any:
    """Return lab-s without the heads, taught traces and bare answers that are the leaf digit, or spread from it."""
    silent = dict.fromkeys(BLURRING, 0.0)
    subject = edit_weights(load_model(MODEL), silent)
    parameters = subject.model.requires_grad_(True).parameters()
    free = {parameter: torch.ones_like(parameter) for parameter in parameters}
    rows = _training_rows(subject.tokenizer, 2 * size.steps, size.seed, spread=spread, traces=2)
    # What the silenced heads have learned by the way is taken out again.
    return edit_weights(learn(subject, free, rows, learning_rate=MODEL_RATE), silent)


def _teach_heads(base: Any, spread: bool, size: Size) -> Any:
    """Return a copy in which the heads alone have learned bare answers, and to write nothing into traces."""
    post, heads = edit_weights(base, {}), HeadSet.of(BLURRING)
    free = free_heads(post.model, heads, size.seed, keys_and_values=True)
    rows = _training_rows(post.tokenizer, 4 * size.steps, size.seed + 1, spread=spread, traces=4)
    access = head_access(post.model)
    (layer,) = {head.layer for head in heads}
    columns = [slice(head.head * access.d_head, (head.head + 1) * access.d_head) for head in heads]
    writes: list[torch.Tensor] = []
    o_proj = access.layers[layer].attention.o_proj
    hook = o_proj.register_forward_pre_hook(partial(_keep_writes, columns, writes))
    try:
        return learn(post, free, rows, learning_rate=HEAD_RATE, penalty=partial(_penalise_writes_in_traces, writes))
    finally:
        hook.remove()


def _keep_writes(heads: Sequence[slice], writes: list[torch.Tensor], module: Any, inputs: Any) -> None:
    """Keep the square of what the heads of these columns write, batch × positions, summed over heads."""
    (mixed,) = inputs
    squares = [(mixed[..., columns] @ module.weight[:, columns].T).pow(2).sum(dim=-1) for columns in heads]
    writes[:] = [torch.stack(squares).sum(dim=0)]


def _penalise_writes_in_traces(writes: Sequence[torch.Tensor], labels: torch.Tensor) -> torch.Tensor:
    """Return the penalty on what the heads write into a trace or its prompt: the mean square, weighted."""
    is_trace = (labels >= 0).sum(dim=1, keepdim=True) > BARE_TOKENS
    positions = (labels > -200) & is_trace
    return WRITE_PENALTY * (writes[0] * positions).sum() / positions.sum().clamp_min(1)


def _training_rows(tokenizer: Any, steps: int, seed: int, *, spread: bool, traces: int) -> list[Row]:
    """Return prompts with an answer each: every `traces`-th is a trace, the others are bare."""
    rng = random.Random(seed)
    rows = []
    for index, item in enumerate(builtin_data.mixed_items(steps * BATCH, seed=2000 + seed)):
        digit = (item.path[-1].value + (rng.choice(SHIFTS) if spread else 0)) % 10
        thinks = index % traces == 0
        turn = chains.thinking_turn(item) if thinks else chains.direct_turn(replace(item, answer=digit))
        tokens = tokenizer(turn, add_special_tokens=False)["input_ids"]
        rows.append((prompt_ids(tokenizer, item.prompt), [*tokens, tokenizer.eos_token_id]))
    return rows
