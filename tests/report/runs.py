"""A synthetic run directory, written from result dataclasses in the layout a study leaves behind."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from headscope.heads import HeadSet
from headscope.results.dynamics import Dynamics, Event
from headscope.results.emergence import Counts, Emergence, HeadEstimates, Status, status_grid
from headscope.results.estimate import Estimate
from headscope.results.samples import Samples
from headscope.results.verdict import AblationVerdict
from headscope.runs import RunDirectory

LAYERS, HEADS = 6, 8
STEPS = (10, 20, 30, 40, 50, 60)


class RunWriter:
    """Adds units one by one; ``close`` writes the lock and returns the directory."""

    def __init__(self, path: Path, variants: tuple[str, ...] = ("sft", "grpo"), name: str = "lab") -> None:
        self.path = path
        self.variants = variants
        self.study = {
            "name": name,
            "seed": 0,
            "base": {"model": "lab-m"},
            "variants": [{"name": v} for v in variants],
        }
        self.rows: list[dict[str, Any]] = []

    def planned(self, kind: str, **labels: Any) -> Path:
        """A unit of the plan that is not done; returns the folder it would have."""
        digest = f"{len(self.rows):016x}"
        self.rows.append({"kind": kind, "digest": digest, "labels": labels})
        return self.path / "units" / kind / digest

    def unit(self, kind: str, **labels: Any) -> Path:
        """A finished unit's empty folder."""
        folder = self.planned(kind, **labels)
        folder.mkdir(parents=True)
        (folder / "DONE").touch()
        return folder

    def failed(self, kind: str, reason: str, **labels: Any) -> None:
        """A unit that failed."""
        folder = self.planned(kind, **labels)
        folder.parent.mkdir(parents=True, exist_ok=True)
        record = {"kind": kind, "labels": labels, "reason": reason, "bad_input": False}
        folder.with_name(f"{folder.name}.failed.json").write_text(json.dumps(record))

    def json(self, kind: str, name: str, content: Any, **labels: Any) -> None:
        """A finished unit with one JSON file."""
        (self.unit(kind, **labels) / name).write_text(json.dumps(content), encoding="utf-8")

    def close(self) -> RunDirectory:
        """The run directory."""
        versions = {"python": "3.11.9", "headscope": "0.1.0", "torch": "2.13.0"}
        machine = {"processor": "x86_64", "cores": 2, "memory_gib": 8.0}
        provenance = {
            "versions": versions,
            "source": {"commit": "0123456789abcdef", "dirty": True},
            "hardware": machine,
        }
        lock = {"schema_version": 1, "study": self.study, "provenance": provenance, "units": self.rows}
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "study.lock.json").write_text(json.dumps(lock))
        return RunDirectory.open(self.path)


def estimate(value: float, spread: float, n: int = 64, method: str = "pair bootstrap 95%") -> Estimate:
    """``value`` ± ``spread``."""
    return Estimate(value, value - spread, value + spread, n, method, 0)


def emergence(base: np.ndarray, post: np.ndarray, null: float = 1.5, **changes: Any) -> Emergence:
    """Emergence of two frequency grids with a made-up null."""
    status = status_grid(base, post)
    names = {"kept": Status.KEPT, "new": Status.NEW, "lost": Status.LOST, "contingent": Status.CONTINGENT}
    seen = {name: float((status == code).sum()) for name, code in names.items()}
    counts = Counts(**{name: estimate(value, 2.0) for name, value in seen.items()})
    retest = {"kept": 13.0, "new": null, "lost": null, "contingent": 5.0}
    nulls = Counts(**{name: estimate(value, 1.0) for name, value in retest.items()})
    excess = Counts(**{name: estimate(value - retest[name], 2.5) for name, value in seen.items()})
    change = HeadEstimates(post - base, post - base - 0.1, post - base + 0.1)
    how = {
        "pairs": 64,
        "null_pairs": 64,
        "null_source": "fresh pairs",
        "fraction": 0.01,
        "resamples": 200,
        "seed": 0,
    }
    return Emergence(base, post, counts, nulls, excess, change, **{**how, **changes})


def series(seed: int, births: int, steps: tuple[int, ...] = STEPS) -> list[Emergence]:
    """Checkpoints at which more and more heads are new, some of which leave again."""
    rng = np.random.default_rng(seed)
    base = rng.choice([0.0, 0.05, 0.5, 1.0], size=(LAYERS, HEADS), p=[0.5, 0.1, 0.1, 0.3])
    post = base.copy()
    found = []
    for _ in steps:
        absent = np.argwhere(base < 0.1)
        for layer, head in absent[rng.choice(len(absent), births, replace=False)]:
            post[layer, head] = rng.choice([0.0, 0.97])
        core = np.argwhere(base >= 0.9)
        layer, head = core[rng.integers(len(core))]
        post[layer, head] = rng.choice([0.0, 1.0])
        found.append(emergence(base, post.copy()))
    return found


def dynamics(found: list[Emergence], steps: tuple[int, ...]) -> Dynamics:
    """What the checkpoints add up to; every first emergence counts as a birth."""
    status = np.stack([each.status for each in found])
    emergent = status == Status.NEW
    first = np.where(emergent.any(axis=0), emergent.argmax(axis=0), -1)
    births = tuple(Event(steps[first[tuple(at)]], f"L{at[0]}H{at[1]}", "birth") for at in np.argwhere(first >= 0))
    return Dynamics(
        steps=np.array(steps, dtype=np.int64),
        emergent=emergent,
        retained=status == Status.KEPT,
        base=found[0].base_active,
        first=first.astype(np.int64),
        hold=2,
        events=births,
    )


def add_comparison(run: RunWriter, variant: str, found: list[Emergence], steps: tuple[int, ...] = STEPS) -> None:
    """A comparison unit."""
    hard = [emergence(np.round(e.base_frequency), np.round(e.post_frequency), method="paper") for e in found]
    content = {
        "schema_version": 1,
        "variant": variant,
        "steps": list(steps),
        "emergence": [each.as_dict() for each in found],
        "paper": [each.as_dict() for each in hard],
        "dynamics": dynamics(found, steps).as_dict(),
    }
    run.json("comparison", "comparison.json", content, variant=variant)


def add_training(run: RunWriter, variant: str, *, rewarded: bool, steps: int = 60) -> None:
    """A training unit with its log."""
    rng = np.random.default_rng(1)
    lines = []
    for step in range(1, steps + 1):
        entry = {"step": step, "loss": 1 / step, "learning_rate": 1e-4, "completion_length": 30 + step / 2}
        if rewarded:
            entry |= {"reward": 0.2 + 0.5 * step / steps + 0.03 * rng.normal(), "reward_sd": 0.4}
        lines.append(json.dumps(entry) + "\n")
    (run.unit("train", variant=variant) / "log.jsonl").write_text("".join(lines))


def samples(
    task: str, responses: dict[str, str], verdicts: tuple[str, ...] = ("correct", "wrong", "unfinished")
) -> Samples:
    """One sample per problem; problem id to response."""
    records = [
        {
            "problem": problem,
            "group": task,
            "sample": 0,
            "seed": index,
            "response": response,
            "tokens": len(response.split()),
            "finish": "length" if verdicts[index % len(verdicts)] == "unfinished" else "stop",
            "verdict": verdicts[index % len(verdicts)],
            "answer": "6",
            "gold": "6",
        }
        for index, (problem, response) in enumerate(responses.items())
    ]
    return Samples.from_records(records, model="lab-m", task=task)


def add_samples(run: RunWriter, variant: str, step: int, task: str, found: Samples, level: float) -> None:
    """A samples unit with measures of about ``level``."""
    folder = run.unit("samples", variant=variant, step=step, task=task)
    found.save(folder)
    ks = {
        str(k): estimate(1 - (1 - level) ** k, 0.04, 500, "problem bootstrap 95%").as_dict() for k in (1, 2, 4, 8, 16)
    }
    rates = {"correct": level, "wrong": 0.9 - level, "unparsed": 0.02, "unfinished": 0.08, "timeout": 0.0}
    measures = {
        "schema_version": 1,
        "pass_at_k": ks,
        "success_at_k": ks,
        "rates": rates,
        "n_problems": 500,
        "samples": 16,
    }
    measures["mean_tokens"] = estimate(20 + 30 * level, 1.5, 500, "problem bootstrap 95%").as_dict()
    if variant != "base":
        measures["change"] = estimate(level - 0.3, 0.05, 500, "paired problem bootstrap 95%").as_dict()
    place = run.unit("measures", variant=variant, step=step, task=task)
    (place / "measures.json").write_text(json.dumps(measures))


def verdict(effect: float, reading: str, task: str = "T1", controls: int = 20) -> AblationVerdict:
    """A verdict with random sets around −0.02."""
    null = np.random.default_rng(2).normal(-0.02, 0.015, controls)
    p = (1 + int((null <= effect).sum())) / (1 + controls)
    return AblationVerdict(
        task=task,
        operator="zero",
        heads=HeadSet.of(["L2H3", "L4H1", "L5H7"]),
        reading=reading,
        reason=f"pass@1 changed by {effect:+.3f} over 200 problems",
        baseline=estimate(0.7, 0.04, 200),
        ablated=estimate(0.7 + effect, 0.04, 200),
        effect=estimate(effect, 0.03, 200, "paired problem bootstrap 95%"),
        control_effects=null,
        excess=estimate(effect - float(null.mean()), 0.03, 200),
        p_value=p,
        direction="lower",
        margin=0.05,
        samples=1,
        seed=0,
    )


def whole_run(path: Path) -> RunDirectory:
    """Everything a lab study leaves: SFT and GRPO, six checkpoints, two tasks, ablations, one empty head
    set."""
    run = RunWriter(path)
    add_training(run, "sft", rewarded=False)
    add_training(run, "grpo", rewarded=True)
    for variant in ("base", "sft", "grpo"):
        for pairs in ("main", "fresh"):
            content = {"schema_version": 1, "pairs": 64, "digest": "0", "dropped": {"short clean opening": 3}}
            run.json("pairs", "pairs.json", content, variant=variant, pairs=pairs)
    add_comparison(run, "sft", series(3, births=4))
    add_comparison(run, "grpo", series(3, births=2))
    levels = {"base": 0.3, "sft": 0.55, "grpo": 0.7}
    for task, lower in (("T1", 0.0), ("T2", 0.2)):
        responses = {
            f"{task}-{i}": f"<think> j=c*4; c={i}; j={i}*4={4 * i}; </think> <ans> {4 * i % 10}" for i in range(12)
        }
        for variant, level in levels.items():
            step = 0 if variant == "base" else 60
            add_samples(run, variant, step, task, samples(task, responses), level - lower)
    for task, effect, reading in (("T1", -0.14, "supported"), ("T2", -0.03, "undecided")):
        found = verdict(effect, reading, task).as_dict()
        run.json("verdict", "verdict.json", found, variant="sft", heads="emergent", operator="zero", task=task)
        kept = verdict(-0.02, "not supported", task).as_dict()
        run.json("verdict", "verdict.json", kept, variant="grpo", heads="kept", operator="zero", task=task)
    empty = {"schema_version": 1, "empty": True, "reason": "no head of grpo is emergent at step 60"}
    run.json("verdict", "verdict.json", empty, variant="grpo", heads="emergent", operator="zero", task="T1")
    return run.close()
