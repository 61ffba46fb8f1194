"""A synthetic run directory: results written by their own ``save``, in the layout a study leaves behind."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from headscope.heads import HeadSet
from headscope.pairs import Pairs
from headscope.results.comparison import Comparison
from headscope.results.counts import Counts, HeadEstimates
from headscope.results.coupling import Coupling
from headscope.results.dynamics import Dynamics, Event
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence, Status, status_grid
from headscope.results.estimate import Estimate
from headscope.results.faithfulness import FaithfulnessEstimates
from headscope.results.graph import Graph
from headscope.results.head_revert import HeadRevert
from headscope.results.head_scaling import HeadScaling
from headscope.results.measures import McNemar, Measures
from headscope.results.not_run import NotRun
from headscope.results.samples import Samples
from headscope.results.traces import STEP_COLUMNS, Traces
from headscope.results.training_effects import HeadContrast, TrainingEffects
from headscope.results.verdict import AblationVerdict
from headscope.runs import RunDirectory
from headscope.runs.records import Finished
from headscope.storage import Result
from headscope.traces.summary import summarise
from headscope.traces.transitions import compare_answers

R = TypeVar("R", bound=Result)

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
            "variants": [{"name": variant} for variant in variants],
            "discover": {"fraction": 0.01},
        }
        self.rows: list[dict[str, Any]] = []

    def planned(self, kind: str, **labels: Any) -> Path:
        """Add a unit of the plan that is not done; return the folder it would have."""
        digest = f"{len(self.rows):016x}"
        self.rows.append({"kind": kind, "digest": digest, "labels": labels})
        return self.path / "units" / kind / digest

    def unit(self, kind: str, **labels: Any) -> Path:
        """Add a finished unit; return its empty folder."""
        folder = self.planned(kind, **labels)
        folder.mkdir(parents=True)
        (folder / "DONE").touch()
        return folder

    def failed(self, kind: str, reason: str, **labels: Any) -> None:
        """Add a unit that failed."""
        folder = self.planned(kind, **labels)
        folder.parent.mkdir(parents=True, exist_ok=True)
        record = {"kind": kind, "labels": labels, "reason": reason, "bad_input": False}
        folder.with_name(f"{folder.name}.failed.json").write_text(json.dumps(record))

    def save(self, result: Result, unit_kind: str | None = None, **labels: Any) -> None:
        """Write a finished unit with its result."""
        result.save(self.unit(unit_kind or result.kind, **labels))

    def json(self, kind: str, name: str, content: Any, **labels: Any) -> None:
        """Write a finished unit whose one JSON file is not today's."""
        (self.unit(kind, **labels) / name).write_text(json.dumps(content), encoding="utf-8")

    def close(self) -> RunDirectory:
        """Write the lock and return the run directory."""
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


def seeded_run(path: Path, levels: dict[str, float]) -> RunWriter:
    """A run of one recipe on two seeds and its null twin, of which each model has a pass@1 on T1."""
    run = RunWriter(path, ("sft", "sft.seed1", "sft.lr0"))
    recipe: dict[str, object] = {"method": "sft", "learning_rate": 1e-3}
    trainings = {"sft": recipe, "sft.seed1": recipe | {"seed": 1}, "sft.lr0": recipe | {"learning_rate": 0.0}}
    run.study["variants"] = [
        {"name": name, "train": train, "twin_of": None if name == "sft" else "sft"} for name, train in trainings.items()
    ]
    for model in ("base", *trainings):
        run.save(measures(levels[model], is_base=model == "base"), variant=model, task="T1", step=0)
    return run


def finished(folder: Path, result: R, **labels: Any) -> Finished[R]:
    """Return a finished unit that holds ``result``, saved in ``folder``."""
    result.save(folder)
    (folder / "DONE").touch()
    return Finished(folder, labels, type(result))


def estimate(value: float, spread: float, n: int = 64, method: str = "pair bootstrap 95%") -> Estimate:
    """Return ``value`` ± ``spread``."""
    return Estimate(value, value - spread, value + spread, n, method, 0)


def emergence(base: np.ndarray, post: np.ndarray, null: float = 1.5, **changes: Any) -> Emergence:
    """Return the emergence of two frequency grids with a made-up null."""
    status = status_grid(base, post)
    names = {"kept": Status.KEPT, "new": Status.NEW, "lost": Status.LOST, "contingent": Status.CONTINGENT}
    numbers = {name: float((status == code).sum()) for name, code in names.items()}
    counts = Counts(**{name: estimate(value, 2.0) for name, value in numbers.items()})
    retest = {"kept": 13.0, "new": null, "lost": null, "contingent": 5.0}
    nulls = Counts(**{name: estimate(value, 1.0) for name, value in retest.items()})
    excess = Counts(**{name: estimate(value - retest[name], 2.5) for name, value in numbers.items()})
    change = HeadEstimates(post - base, post - base - 0.1, post - base + 0.1)
    settings = {
        "pairs": 64,
        "null_pairs": 64,
        "null_source": "fresh pairs",
        "fraction": 0.01,
        "resamples": 200,
        "seed": 0,
    }
    return Emergence(base, post, counts, nulls, excess, change, **{**settings, **changes})


def series(seed: int, births: int, steps: tuple[int, ...] = STEPS) -> list[Emergence]:
    """Return checkpoints at which more and more heads are new, some of which leave again."""
    rng = np.random.default_rng(seed)
    base = rng.choice([0.0, 0.05, 0.5, 1.0], size=(LAYERS, HEADS), p=[0.5, 0.1, 0.1, 0.3])
    post = base.copy()
    checkpoints = []
    for _ in steps:
        absent = np.argwhere(base < 0.1)
        for layer, head in absent[rng.choice(len(absent), births, replace=False)]:
            post[layer, head] = rng.choice([0.0, 0.97])
        core = np.argwhere(base >= 0.9)
        layer, head = core[rng.integers(len(core))]
        post[layer, head] = rng.choice([0.0, 1.0])
        checkpoints.append(emergence(base, post.copy()))
    return checkpoints


def dynamics(checkpoints: list[Emergence], steps: tuple[int, ...]) -> Dynamics:
    """Return what the checkpoints add up to; every first emergence counts as a birth."""
    status = np.stack([checkpoint.status for checkpoint in checkpoints])
    emergent = status == Status.NEW
    first = np.where(emergent.any(axis=0), emergent.argmax(axis=0), -1)
    births = tuple(Event(steps[first[tuple(at)]], f"L{at[0]}H{at[1]}", "birth") for at in np.argwhere(first >= 0))
    return Dynamics(
        steps=np.array(steps, dtype=np.int64),
        emergent=emergent,
        retained=status == Status.KEPT,
        base=checkpoints[0].base_active,
        first=first.astype(np.int64),
        hold=2,
        events=births,
    )


def comparison(variant: str, checkpoints: list[Emergence], steps: tuple[int, ...] = STEPS) -> Comparison:
    """Return the comparison that the checkpoints add up to."""
    paper = [
        emergence(np.round(checkpoint.base_frequency), np.round(checkpoint.post_frequency), method="paper")
        for checkpoint in checkpoints
    ]
    return Comparison(variant, steps, tuple(checkpoints), tuple(paper), dynamics(checkpoints, steps))


def add_comparison(run: RunWriter, variant: str, checkpoints: list[Emergence]) -> None:
    """Add a comparison unit."""
    run.save(comparison(variant, checkpoints), variant=variant)


def add_training(run: RunWriter, variant: str, *, rewarded: bool, steps: int = 60) -> None:
    """Add a training unit with its log."""
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
    """Return one sample per problem; ``responses`` by problem id."""
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


def read(answers: Samples) -> Traces:
    """Return traces by a toy's rules: steps end with a full stop, ``Ans`` states an answer, ``=8`` is a slip, and the
    thought ends at ``</think>``.
    """
    rows, steps = [], []
    for row in answers.table.to_dict("records"):
        text, verdict, of_answer = row["response"], row["verdict"], []
        for number, match in enumerate(re.finditer(r"[^.]+\.?", text)):
            piece, stated = match[0].lstrip(), "Ans" in match[0]
            start, end = match.end() - len(piece), match.end()
            step = dict.fromkeys(STEP_COLUMNS, "") | {"problem": row["problem"], "sample": row["sample"]}
            step |= {"step": number, "start": start, "end": end, "first_token": start, "last_token": end}
            step |= {"part": "thinking" if end <= text.find("</think>") else "answer", "role": "sentence"}
            step |= {"slip": "calculation" if "=8" in piece else "", "repaired": "=7" in text, "recheck": False}
            step |= {"marks": "verification" if "Wait" in piece else "", "answers": stated, "right": "Ans 6" in piece}
            of_answer.append(step)
        solved = next((step["step"] for step in of_answer if step["right"]), -1)
        failure = "" if verdict == "correct" else "over-thinking" if solved >= 0 else "other"
        rows.append(
            {"problem": row["problem"], "group": row["group"], "sample": row["sample"], "verdict": verdict}
            | {"failure": failure, "tokens": len(text), "steps": len(of_answer), "slips": 0, "slip": ""}
            | {"rechecks": sum("verification" in step["marks"] for step in of_answer), "solved_at": solved}
            | {"lost": failure == "over-thinking", "tokens_to_right": of_answer[solved]["end"] if solved >= 0 else -1}
            | {"right_to_wrong": 0, "wrong_to_right": 0, "abandoned_tokens": 0, "loop": "loop" in text}
            | {"loop_start": text.find("loop"), "loop_period": 5, "checked": 1, "unchecked": 0}
        )
        steps += of_answer
    steps_table = pd.DataFrame(steps, columns=list(STEP_COLUMNS))
    return Traces(pd.DataFrame(rows), steps_table, answers.model, answers.task, "text")


def add_read(run: RunWriter, answers: dict[str, Samples], steps: dict[str, int], task: str) -> None:
    """Add the traces of every model's answers, and the transitions from the base's."""
    traces = {variant: read(samples) for variant, samples in answers.items()}
    for variant, result in traces.items():
        folder = run.unit("traces", variant=variant, step=steps[variant], task=task)
        result.save(folder)
        summarise(result).save(folder)
    for variant in [variant for variant in answers if variant != "base"]:
        changes = compare_answers(answers["base"], answers[variant], traces["base"], traces[variant])
        run.save(changes, variant=variant, step=steps[variant], task=task)


def measures(level: float, *, is_base: bool) -> Measures:
    """Return measures of about ``level``."""
    curve = {k: estimate(1 - (1 - level) ** k, 0.04, 500, "problem bootstrap 95%") for k in (1, 2, 4, 8, 16)}
    return Measures(
        problems=500,
        samples=16,
        pass_at_k=curve,
        success_at_k=curve,
        majority_at_k=curve,
        rates={"correct": level, "wrong": 0.9 - level, "unparsed": 0.02, "unfinished": 0.08, "timeout": 0.0},
        mean_tokens=estimate(20 + 30 * level, 1.5, 500, "problem bootstrap 95%"),
        change=None if is_base else estimate(level - 0.3, 0.05, 500, "paired problem bootstrap 95%"),
        flips=None if is_base else McNemar(40, 3, 500, 1.3e-9),
    )


def contrast(value: np.ndarray, spread: float, sets: dict[str, float]) -> HeadContrast:
    """Return a contrast of these values ± ``spread``; those beyond it have a q of 0.001, the others of 1."""
    heads = HeadEstimates(value, value - spread, value + spread, np.where(abs(value) > spread, 1e-4, 1.0))
    q_value = np.where(abs(value) > spread, 1e-3, 1.0)
    return HeadContrast(heads, q_value, {name: estimate(mean, spread, 40) for name, mean in sets.items()}, 40)


def training_effects(variant: str, new: float, twins: tuple[str, ...] = (), **changes: Any) -> TrainingEffects:
    """Return training effects in which head L2H3 changed by ``new`` and L4H1 by −0.3, both less beyond a twin."""
    value = np.zeros((LAYERS, HEADS))
    value[2, 3], value[4, 1] = new, -0.3
    nothing = HeadEstimates(np.abs(value), np.abs(value) - 0.1, np.abs(value) + 0.1, np.ones_like(value))
    above = {twin: contrast(value / 2, 0.2, {"new": new / 2, "all": new / 96}) for twin in twins}
    training = contrast(value, 0.2, {"new": new, "all": new / 48})
    settings = {"recipe": variant, "null": ""} | changes
    counted = {"new": HeadSet.of(["L2H3"])}
    models = {"metric": "kl", "base": nothing, "post": nothing, "corruption": (4.0, 5.0)}
    sizes = {"pairs": 40, "problems": 40, "ranks": estimate(0.9, 0.05, 48)}
    return TrainingEffects(
        variant, 60, training=training, above_twin=above, counted=counted, **settings, **models, **sizes
    )


def head_scaling() -> HeadScaling:
    """Return the scaling of all heads but L0H0: L1H1 is needed, and a stronger one helps."""
    value = np.zeros((LAYERS, HEADS))
    value[0, 0], value[1, 1] = np.nan, 0.5
    change = HeadEstimates(value, value - 0.1, value + 0.1, np.where(value > 0, 1e-4, 1.0))
    slope = HeadEstimates(-value, -value - 0.1, -value + 0.1, change.p_value)
    q_value = np.where(np.isnan(value), np.nan, np.where(value > 0, 1e-3, 1.0))
    return HeadScaling("T1", "47 of 48 heads", (0.5, 1.5), 0.2, change, slope, q_value, q_value, 30, 80)


def head_revert() -> HeadRevert:
    """Return the reverting of all heads but L0H0: training L2H3 helped."""
    value = np.zeros((LAYERS, HEADS))
    value[0, 0], value[2, 3] = np.nan, 0.3
    change = HeadEstimates(value, value - 0.1, value + 0.1, np.where(value > 0, 1e-4, 1.0))
    q_value = np.where(np.isnan(value), np.nan, np.where(value > 0, 1e-3, 1.0))
    return HeadRevert("T1", "47 of 48 heads", "all", 0.2, change, q_value, 30, 80)


def coupling(correlation: float, points: int) -> Coupling:
    """Return a correlation that is the same at every lag from −1 to 1."""
    row = np.full(3, correlation)
    p_value = np.full(3, 0.02 if correlation > 0 else 0.7)
    return Coupling(np.arange(-1, 2), row, row - 0.2, row + 0.2, p_value, np.full(3, points), 0.4, 1, 100, 0)


def add_samples(run: RunWriter, variant: str, step: int, task: str, answers: Samples, level: float) -> None:
    """Add a samples unit and its measures of about ``level``."""
    labels = {"variant": variant, "step": step, "task": task}
    run.save(answers, **labels)
    run.save(measures(level, is_base=variant == "base"), **labels)


def pairs(count: int) -> Pairs:
    """Return so many pairs of two tokens."""
    tokens = np.arange(2 * count).reshape(count, 2)
    corrupt = tokens + np.array([0, 1])
    return replace(Pairs.from_tokens(tokens, corrupt), dropped={"short clean opening": 3})


def faithfulness(level: float) -> FaithfulnessEstimates:
    """Return a curve that rises to ``level``."""
    fractions = (0.001, 0.01, 0.1)
    curve = tuple(estimate(level * share, 0.02) for share in (0.3, 0.8, 1.0))
    return FaithfulnessEstimates("kl", fractions, (2, 20, 200), curve, estimate(0.9, 0.01), estimate(0.1, 0.01))


def edge_scores(graph: Graph, seed: int = 0, training: float = 0.0) -> EdgeScores:
    """Return scores with a few strong nodes, input and logits among them, as real ones have.

    training: spread of the logarithm of the factor by which it changes every edge.
    """
    rng = np.random.default_rng(seed)
    shape = graph.real.shape
    writes, reads = rng.lognormal(0, 1.2, (shape[0], 1)), rng.lognormal(0, 1.2, (1, shape[1]))
    writes[0], reads[:, -1] = 100, 100
    factor = np.exp(training * np.random.default_rng(seed + 1).normal(size=shape))
    edges = writes * reads * rng.normal(0.3, 1, shape) * factor
    edges = np.where(graph.real, edges, 0).astype(np.float32)
    heads = np.abs(graph.head_grid(edges.sum(axis=1)))[None]
    return EdgeScores(graph, edges, np.abs(edges), heads, None, 0.01, float("nan"))


def add_circuits(run: RunWriter, variant: str, step: int, graph: Graph) -> None:
    """Add the edge scores of the base and of a variant's last checkpoint."""
    run.save(edge_scores(graph), variant=variant, model="base", step=0, pairs="main")
    run.save(edge_scores(graph, training=0.7), variant=variant, model=variant, step=step, pairs="main")


def verdict(effect: float, reading: str, task: str = "T1", controls: int = 20) -> AblationVerdict:
    """Return a verdict with random sets around −0.02."""
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
        rank=round(p * (1 + controls)),
        direction="lower",
        margin=0.05,
        samples=1,
        seed=0,
    )


def t1_answers(variant: str) -> Samples:
    """Return answers in running text; of twelve problems SFT loses four and gains four, and GRPO gains four."""
    verdicts = {"base": ("correct", "wrong", "unfinished"), "sft": ("wrong", "correct", "unfinished")}
    of_variant = verdicts.get(variant, ("correct", "correct", "unfinished"))
    responses = {}
    for number in range(12):
        ending = "Ans 6." if of_variant[number % 3] == "correct" else "Ans 6. Wait. Ans 5. loop. loop. loop."
        responses[f"T1-{number}"] = f"<think>😀 {number}\u200b+4=8. Wait, 3+4=7.</think> {variant} \x1b[1mso. {ending}"
    return samples("T1", responses, of_variant)


def whole_run(path: Path) -> RunDirectory:
    """Write all that a lab study leaves: SFT and GRPO, six checkpoints, two tasks, ablations.

    Two head sets are empty; one says so as headscope did before results owned their files.
    """
    run = RunWriter(path)
    add_training(run, "sft", rewarded=False)
    add_training(run, "grpo", rewarded=True)
    for variant in ("base", "sft", "grpo"):
        for pair_set in ("main", "fresh"):
            run.save(pairs(64), variant=variant, pairs=pair_set)
    add_comparison(run, "sft", series(3, births=4))
    add_comparison(run, "grpo", series(3, births=2))
    for variant in ("sft", "grpo"):
        for model, step in (("base", 0), (variant, 60)):
            run.save(faithfulness(0.9), variant=variant, model=model, step=step, pairs="main")
        add_circuits(run, variant, 60, Graph(LAYERS, HEADS))
    levels = {"base": 0.3, "sft": 0.55, "grpo": 0.7}
    answers: dict[str, Samples] = {}
    for task, lower in (("T1", 0.0), ("T2", 0.2)):
        responses = {
            f"{task}-{i}": f"<think> j=c*4; c={i}; j={i}*4={4 * i}; </think> <ans> {4 * i % 10}" for i in range(12)
        }
        for variant, level in levels.items():
            step = 0 if variant == "base" else 60
            answers[variant] = samples(task, responses)
            if task == "T1":
                answers[variant] = t1_answers(variant)
            add_samples(run, variant, step, task, answers[variant], level - lower)
        if task == "T1":
            add_read(run, answers, {"base": 0, "sft": 60, "grpo": 60}, task)
    for task, effect, reading in (("T1", -0.14, "supported"), ("T2", -0.03, "undecided")):
        run.save(verdict(effect, reading, task), variant="sft", heads="emergent", operator="zero", task=task)
        kept_heads = verdict(-0.02, "not supported", task)
        run.save(kept_heads, variant="grpo", heads="kept", operator="zero", task=task)
    for variant, new in (("sft", 0.8), ("grpo", 0.1)):
        run.save(training_effects(variant, new), variant=variant)
        run.save(head_scaling(), variant=variant, task="T1")
        run.save(head_revert(), variant=variant, task="T1")
    nothing = NotRun("no head of grpo is emergent at step 60")
    run.save(nothing, "verdict", variant="grpo", heads="emergent", operator="zero", task="T2")
    old = {"schema_version": 1, "empty": True, "reason": nothing.reason}
    run.json("verdict", "verdict.json", old, variant="grpo", heads="emergent", operator="zero", task="T1")
    return run.close()
