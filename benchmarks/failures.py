"""Is there a head whose removal raises one kind of failure, and does it again in another training?

1. A model of the lab is trained on the teacher's traces (``lab-sft``), once per seed, and answers problems of one tier
   that no two seeds share.
2. It answers them again without each of its heads, one at a time, and every answer is read (``studies.traces``).
3. On one half of the problems, the head that raises a kind of failure most is chosen, for each kind. On the other half
   its change is measured, and ranked among those of all other heads: the choice and the test share no problem. p is
   its rank over the number of heads, adjusted over kinds (Benjamini and Hochberg). A single head has only seven others
   in its layer; its place among these is given too.
4. A head is *found* for a kind in one training if q ≤ 0.05, the change's interval over problems lies above 0, and so
   does the excess over the other heads' mean. Nine kinds and 48 heads reach q ≤ 0.05 only if four kinds are at rank 1.
5. It is *found in all trainings* if every seed chooses the same head, change and excess lie above 0 with each, and the
   combined p of its ranks (Fisher), adjusted over kinds, is ≤ 0.05. A kind with different heads has p = 1.

    .venv/bin/python benchmarks/failures.py [--model lab-m] [--seeds 3] [--problems 80] [--tier T2] [--steps 80]

A quarter of an hour on one core with lab-m.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.stats import combine_pvalues
from table import markdown_table

from headscope.comparison.failures import failure_shares
from headscope.evaluation import Problem, Sampling, Task, evaluate
from headscope.heads import HeadId
from headscope.interventions import zero
from headscope.lab import builtin_data, chains
from headscope.measures.intervals import paired_difference
from headscope.measures.multiplicity import q_values
from headscope.measures.permutation import permutation_p_value, permutation_rank
from headscope.model_files.named_models import LAB_FOLDERS, named_model
from headscope.models import Subject, head_access, load_model
from headscope.results.estimate import Estimate
from headscope.results.numbers import ALPHA, format_estimate, format_p
from headscope.results.traces import Traces
from headscope.studies.answers.traces import trace_samples
from headscope.training.presets import PRESETS
from headscope.training.sft import SftConfig, run_sft

FIRST_PROBLEMS = 500
"""Seed of the first training's problems; the others' follow it."""
LONGEST = {"T1": 64, "T2": 96, "T3": 144, "T4": 200}
"""Tokens after which an answer counts as unfinished."""


@dataclass(frozen=True)
class Finding:
    """The head that raises a kind most on one half of the problems, measured on the other half.

    rank: among all heads; layer_rank: among those of its layer. excess: over the mean of all other heads.
    """

    kind: str
    head: HeadId
    change: Estimate
    excess: Estimate
    rank: int
    layer_rank: int
    p_value: float
    q_value: float

    @property
    def is_found(self) -> bool:
        """Return whether the head raises the kind by the rule above."""
        return self.q_value <= ALPHA and self.change.low > 0 and self.excess.low > 0


def train(model: str, seed: int, steps: int, out: Path) -> Subject:
    """Return the model after SFT on the teacher's traces."""
    settings = {name: value for name, value in PRESETS["lab-sft"].items() if name != "method"}
    config = SftConfig(**settings | {"max_steps": steps, "save_every": steps, "seed": seed})  # type: ignore[arg-type]
    run_sft(str(named_model(model)), builtin_data.traces(), config, out)
    return load_model(out / f"checkpoint-{steps}")


def problems(tier: str, count: int, seed: int) -> Task:
    """Return new problems of a tier."""
    items = chains.draw_items(tier, "test", count, seed)
    return Task(tier, tuple(Problem(item.id, item.prompt, str(item.answer), "exact", item.tier) for item in items))


def read_answers(subject: Subject, task: Task) -> tuple[list[HeadId], list[Traces]]:
    """Return the heads, and the answers read: of the whole model, then without each head."""
    access = head_access(subject.model)
    heads = [HeadId(*place) for place in np.ndindex(len(access.layers), access.heads)]
    prompts = {problem.id: problem.prompt for problem in task.problems}
    sampling = Sampling(samples=1, max_new_tokens=LONGEST[task.name], temperature=0.0)
    read = [trace_samples(evaluate(subject.model, subject.tokenizer, task, sampling), prompts)]
    for head in heads:
        with zero(subject, [head]):
            samples = evaluate(subject.model, subject.tokenizer, task, sampling)
        read.append(trace_samples(samples, prompts))
    return heads, read


def find(heads: Sequence[HeadId], names: Sequence[str], shares: Float[np.ndarray, "set kind problem"]) -> list[Finding]:
    """Choose a head for every kind on the even problems, and measure it on the odd ones."""
    changes = shares[1:] - shares[0]  # [head, kind, problem]
    choosing, testing = changes[:, :, ::2], changes[:, :, 1::2]
    chosen = choosing.mean(axis=2).argmax(axis=0)
    effects = testing.mean(axis=2)
    p_values = []
    for kind, head in enumerate(chosen):
        p_values.append(permutation_p_value(effects[head, kind], np.delete(effects[:, kind], head)))
    findings = []
    for kind, (head, q_value) in enumerate(zip(chosen, q_values(np.array(p_values)), strict=True)):
        others = np.delete(np.arange(len(heads)), head)
        layer = [other for other in others if heads[other].layer == heads[head].layer]
        null = testing[others, kind].mean(axis=0)
        findings.append(
            Finding(
                kind=names[kind],
                head=heads[head],
                change=paired_difference(testing[head, kind], np.zeros(testing.shape[2])),
                excess=paired_difference(testing[head, kind], null, bound=2.0),
                rank=permutation_rank(effects[head, kind], effects[others, kind]),
                layer_rank=permutation_rank(effects[head, kind], effects[layer, kind]),
                p_value=p_values[kind],
                q_value=float(q_value),
            )
        )
    return findings


def combine(by_seed: Sequence[Sequence[Finding]]) -> list[tuple[str, HeadId, float]]:
    """Return the kinds whose head is found in all trainings, with the head and its q."""
    tables = [{finding.kind: finding for finding in findings} for findings in by_seed]
    kinds = sorted(set.union(*map(set, tables)))
    p_values = []
    for kind in kinds:
        findings = [table[kind] for table in tables if kind in table]
        is_same = len(findings) == len(tables) and len({finding.head for finding in findings}) == 1
        combined = combine_pvalues([finding.p_value for finding in findings]).pvalue
        p_values.append(float(combined) if is_same else 1.0)
    found = []
    for kind, q_value in zip(kinds, q_values(np.array(p_values)), strict=True):
        findings = [table[kind] for table in tables if kind in table]
        if q_value <= ALPHA and all(finding.change.low > 0 and finding.excess.low > 0 for finding in findings):
            found.append((kind, findings[0].head, float(q_value)))
    return found


def profile(head: int, names: Sequence[str], shares: Float[np.ndarray, "set kind problem"]) -> str:
    """Return a head's change of every kind on the odd problems, the largest first; those below 0.01 left out."""
    effects = (shares[1 + head, :, 1::2] - shares[0, :, 1::2]).mean(axis=1)
    order = [kind for kind in np.argsort(-abs(effects)) if abs(effects[kind]) >= 0.01]
    return ", ".join(f"{names[kind].removesuffix(' failures')} {effects[kind]:+.2f}" for kind in order)


def rows(heads: int, findings: Sequence[Finding]) -> Iterator[list[str]]:
    """Return a table row per kind."""
    for finding in sorted(findings, key=lambda each: (each.q_value, -each.change.value)):
        yield [
            finding.kind,
            str(finding.head),
            format_estimate(finding.change, sign=True),
            format_estimate(finding.excess, sign=True),
            f"{finding.rank} of {heads}",
            str(finding.layer_rank),
            format_p(finding.q_value),
            "found" if finding.is_found else "",
        ]


HEADER = ("kind", "head", "change", "excess over other heads", "rank", "in its layer", "q", "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, ask, read and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lab-m", choices=list(LAB_FOLDERS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--problems", type=int, default=80)
    parser.add_argument("--tier", default="T2", choices=list(LONGEST))
    parser.add_argument("--steps", type=int, default=80)
    options = parser.parse_args(arguments)
    by_seed: list[list[Finding]] = []
    measured = []
    for seed in range(options.seeds):
        started = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            subject = train(options.model, seed, options.steps, Path(folder) / "sft")
            trained = time.perf_counter()
            heads, read = read_answers(subject, problems(options.tier, options.problems, FIRST_PROBLEMS + seed))
        names, is_trait, shares = failure_shares(read)
        failures = [index for index, trait in enumerate(is_trait) if not trait]
        names, shares = [names[index] for index in failures], shares[:, failures]
        findings = find(heads, names, shares)
        by_seed.append(findings)
        measured.append((names, shares))
        right = float((read[0].answers["failure"] == "").mean())
        print(
            f"seed {seed}: pass@1 {right:.2f} on {options.problems} problems of {options.tier}; training "
            f"{trained - started:.0f} s, answers {time.perf_counter() - trained:.0f} s\n\n"
            f"{markdown_table(HEADER, list(rows(len(heads), findings)))}",
            flush=True,
        )
    found = combine(by_seed)
    listed = "; ".join(f"{head} for {kind} (q = {format_p(q)})" for kind, head, q in found) or "none"
    print(f"Found in all {options.seeds} trainings, on {options.problems // 2} problems each: {listed}.")
    for head in sorted({head for _, head, _ in found}):
        for seed, (names, shares) in enumerate(measured):
            print(f"{head}, seed {seed}: {profile(heads.index(head), names, shares)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
