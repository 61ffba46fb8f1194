"""Roles of heads on a pretrained model, next to what repeated random tokens show of the same heads.

A text of random tokens that is repeated has no meaning: what a head reads of it is position or copying, which is the
usual way to find previous-token and induction heads. Labels come from worked answers to word problems, as a study reads
them.
``benchmarks/head_roles.py --data FOLDER`` (with ``gsm8k_train.jsonl``). ``--receivers`` asks of long solutions (with
``math500.jsonl``) how many heads read a few steps again and again, and how many do so more than their layer's others.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from table import markdown_table

from headscope.circuits import visit_attention_rows
from headscope.evaluation import prompt_ids
from headscope.heads import HeadSet
from headscope.interventions import Text
from headscope.models import Subject, head_access, load_model
from headscope.results.head_roles import LEAST_RATIO, LEAST_SHARE, RoleShares
from headscope.studies.answers.head_roles import (
    TOKENS,
    Answer,
    AnswerTargets,
    find_targets,
    roles_in_answers,
    sums_in_text,
    text_shares,
)
from headscope.studies.answers.traces import decoder
from headscope.traces.attention_targets import ATTENTION_ROLES, RECEIVER
from headscope.traces.spans import TokenTexts

HEADER = ("role", "heads labelled", "heads on repeated tokens", "in both", "Spearman over heads", "labelled heads")
NAMED = 20
"""Heads of a role that are named, at most."""
CLEAR = 0.4
"""Share of attention on repeated tokens at which a head is called one of a kind."""


def worked_answers(path: Path, count: int) -> list[tuple[str, str]]:
    """Return the first problems with their worked answers, without the annotations of calculations."""
    answers = []
    with path.open(encoding="utf-8") as lines:
        for line in list(lines)[:count]:
            row = json.loads(line)
            plain = "".join(part.split(">>")[-1] for part in row["answer"].split("<<"))
            answers.append((row["question"], plain))
    return answers


def long_solutions(path: Path, subject: Subject, count: int) -> list[AnswerTargets]:
    """Return what is asked about the longest solutions that fit and have steps enough to ask who receives."""
    with path.open(encoding="utf-8") as lines:
        rows = sorted(map(json.loads, lines), key=lambda row: -len(row["solution"]))
    texts = TokenTexts(decoder(subject.tokenizer))
    chosen = []
    for row in rows:
        prompt = tuple(prompt_ids(subject.tokenizer, row["problem"]))
        ids = tuple(subject.tokenizer(row["solution"], add_special_tokens=False)["input_ids"])
        ends = texts.ends(ids, row["solution"])
        if ends is None or len(prompt) + len(ids) > TOKENS:
            continue
        answer = find_targets(Answer(row["solution"], row["problem"], Text(prompt, ids), ends, "math"), "text", TOKENS)
        if answer.steps is not None:
            chosen.append(answer)
        if len(chosen) == count:
            break
    return chosen


def receivers(subject: Subject, answers: Sequence[AnswerTargets]) -> str:
    """Return how many heads read the same few steps, by how many controls are asked."""
    shares = text_shares([sums_in_text(subject, answer) for answer in answers], [RECEIVER])
    share = shares.share.mean(axis=0)[0]
    ratios = shares.compared.mean(axis=1)[:, 0] / shares.control.mean(axis=1)[:, 0]
    by_steps, by_all = ratios[:2].min(axis=0), ratios.min(axis=0)
    is_much = share >= LEAST_SHARE
    largest = f"{by_all[is_much].max():.1f}" if is_much.any() else "–"
    return (
        f"{len(answers)} solutions of {min(len(answer.steps.keys) for answer in answers)} steps or more: "
        f"{is_much.sum()} of {share.size} heads give {LEAST_SHARE} or more to a tenth of the steps; "
        f"{(is_much & (by_steps >= LEAST_RATIO)).sum()} twice what they give to other steps "
        f"(up to {by_steps[is_much].max(initial=0):.1f} times), "
        f"{(is_much & (by_all >= LEAST_RATIO)).sum()} also twice what the layer's other heads give "
        f"(up to {largest} times)"
    )


def on_repeated_tokens(subject: Subject, texts: int, length: int) -> dict[str, np.ndarray]:
    """Return the mean attention to the token before and to what followed a token's first copy, [layer, head]."""
    access = head_access(subject.model)
    draw = np.random.default_rng(0)
    read = {role: np.zeros((len(access.layers), access.heads)) for role in ("previous token", "induction")}
    for _ in range(texts):
        half = draw.integers(0, access.vocabulary, length)
        second = np.arange(length, 2 * length)

        def visit(layer: int, rows: np.ndarray, second: np.ndarray = second) -> None:
            read["previous token"][layer] += rows[:, second, second - 1].mean(axis=1) / texts
            read["induction"][layer] += rows[:, second, second - length + 1].mean(axis=1) / texts

        visit_attention_rows(subject, np.concatenate([half, half]), visit)
    return read


def rows(shares: RoleShares, repeated: dict[str, np.ndarray]) -> list[tuple[str, ...]]:
    """Return a line per role that some text asks for."""
    table = []
    for place, role in enumerate(ATTENTION_ROLES):
        labelled = shares.labelled[place]
        names = sorted(map(str, HeadSet.from_grid(labelled)), key=lambda name: int(name[1:].split("H")[0]))
        shown = " ".join(names[:NAMED]) + (" …" if len(names) > NAMED else "")
        beside = ("–", "–", "–")
        if role in repeated and not np.isnan(shares.share[place]).all():
            clear = repeated[role] >= CLEAR
            rank = float(spearmanr(shares.share[place].ravel(), repeated[role].ravel())[0])
            beside = (str(int(clear.sum())), str(int((clear & labelled).sum())), f"{rank:.2f}")
        table.append((role, str(int(labelled.sum())), *beside, shown or "none"))
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="smollm2-135m")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--texts", type=int, default=32)
    parser.add_argument("--length", type=int, default=48)
    parser.add_argument("--receivers", action="store_true")
    options = parser.parse_args(arguments)
    subject = load_model(options.model)
    if options.receivers:
        print(receivers(subject, long_solutions(options.data / "math500.jsonl", subject, options.texts)))
        return 0
    answers = worked_answers(options.data / "gsm8k_train.jsonl", options.texts)
    repeated = on_repeated_tokens(subject, 8, options.length)
    print(markdown_table(HEADER, rows(roles_in_answers(subject, *zip(*answers, strict=True)), repeated)), end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
