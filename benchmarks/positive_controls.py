"""Positive controls: each claim where it is true and must be supported, and a twin where it is not and must not be.

Real models put through ``headscope run``'s own units. From lab-s with heads silenced or scaled, so that nothing is
trained: in ``planted`` seven late heads come back under SFT and five early ones under distillation, both with the head
that the leaf digit goes through, and stay; under GRPO three come and go, then three others, each scaled by the reward.
In ``kept`` a third of the base's heads is silenced. In ``needed`` the two heads without which lab-s forgets its facts
are silenced in the base. In ``traded`` heads come back that chains need, too faint, and one that drowns facts if it is
scaled with them. Their twins change other heads by 2 %, or silence heads that nothing needs; or what was planted is
called by another method's name. In ``spoilt`` lab-s is trained to lose easy problems by re-checks and to solve harder
ones; its twin goes on as before.

Of one model in two modes (C8, C9) those of ``mode_controls.py``: in ``modes`` heads of lab-s are silenced so that
traces have none of their own, in ``blurred`` two heads learn to blur bare answers and to keep out of traces.

    .venv/bin/python benchmarks/positive_controls.py [--quick] [--claims C1 C6] [--seeds 5]
"""

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from control_studies import MODEL, QUICK, Doses, Outcome, Size, Variant, run_control, run_variants
from mode_controls import blurred, modes
from table import markdown_table

from headscope.comparison.claims import Claim, StudyResults, judge
from headscope.comparison.dynamics import FEWEST_CHECKPOINTS
from headscope.lab import chains
from headscope.results.verdict import SUPPORTED
from headscope.training.presets import PRESETS

CARRIER = "L1H5"
"""The head that the leaf digit goes through. The other planted heads are in the circuit and carry next to nothing: new
heads among which it is not are none that the model came to rely on."""
LATE = ("L2H6", "L3H0", "L3H1", "L3H2", "L3H6", "L3H7", "L2H7")
EARLY = ("L0H0", "L0H1", "L0H2", "L0H3", "L0H5")
FIRST, SECOND = LATE[:3], LATE[3:6]
"""Heads that come and go under GRPO."""
OTHERS = ("L1H4", "L1H7", "L3H3", "L3H4", "L3H5")
"""Heads of the base that twins change by 2 %; where the carrier is not silenced, it is one of them."""
LOST = ("L0H1", "L0H3", "L1H2", "L2H1", "L3H0", "L3H2", "L3H6")
NEEDED, USELESS = ("L0H6", "L3H3"), ("L2H2", "L3H2")
"""Heads without which lab-s answers fewer facts, and heads without which it answers all the same."""
SCALE = 3.0
TRADED = {"L1H2": 0.25, "L1H5": 0.25, "L3H3": 1.0}
"""How strongly heads write: × 3 makes nearly whole those that chains need, and drowns facts by the last."""


def _nudged(base: Doses, heads: Sequence[str], by: float) -> Doses:
    return base | {head: base.get(head, 1.0) * by for head in heads}


def schedule(size: Size) -> tuple[list[Doses], list[float]]:
    """Doses and rewards of GRPO: some heads, then others, then none; the reward is how strongly they write."""
    rng = np.random.default_rng([0, size.seed])
    third = size.checkpoints * 3 // 8
    doses: list[Doses] = []
    rewards = []
    for step in range(size.checkpoints):
        heads = FIRST if step < third else SECOND if step < 2 * third else ()
        strength = float(rng.uniform(0.6, 1.4)) if heads else float(rng.uniform(0.0, 0.03))
        doses.append(dict.fromkeys(heads or FIRST, strength))
        rewards.append(strength)
    return doses, rewards


def planted(folder: Path, size: Size) -> Outcome:
    """Return the results for C1, C2, C3 and C5."""
    base = dict.fromkeys((*LATE, *EARLY, CARRIER), 0.0)
    doses, rewards = schedule(size)
    whole = {"sft": (*LATE, CARRIER), "distill": (*EARLY, CARRIER)}
    stay = FEWEST_CHECKPOINTS
    control = [Variant(name, name, [base | dict.fromkeys(heads, 1.0)] * stay) for name, heads in whole.items()]
    control.append(Variant("grpo", "grpo", [base | step for step in doses], rewards))
    # Nothing planted: heads that the base has too write up to 2 % more or less, and the reward goes its own way.
    rng = np.random.default_rng([1, size.seed])
    idle = [Variant(name, name, [_nudged(base, OTHERS, 1.02)] * stay) for name in whole]
    steps = [_nudged(base, OTHERS, float(rng.uniform(0.98, 1.02))) for _ in doses]
    idle.append(Variant("grpo", "grpo", steps, rewards))
    return Outcome(
        run_variants(base, control, folder / "control", size),
        {"nothing planted": run_variants(base, idle, folder / "twin", size)},
    )


def kept(folder: Path, size: Size) -> Outcome:
    """Return the results for C4: a third of the base's core heads silenced; nothing lost in the twin."""
    control = Variant("sft", "sft", [dict.fromkeys(LOST, 0.0)])
    twin = Variant("sft", "sft", [dict.fromkeys((*OTHERS, CARRIER), 1.02)])
    return Outcome(
        run_variants({}, [control], folder / "control", size),
        {"nothing lost": run_variants({}, [twin], folder / "twin", size)},
    )


def needed(folder: Path, size: Size) -> Outcome:
    """Return the results for C6: heads that facts need come back, and are ablated; useless ones in the twin."""
    ablate = {
        "heads": ["emergent"],
        "generated": ["zero", "mean", "resample"],
        "operators": ["zero"],
        "controls": 20,
        "texts": 10,
        "scales": [],
        "problems": size.problems,
    }
    # A larger circuit, because a head that facts need may carry little of the pairs' behaviour.
    settings = {"discover": {"fraction": 0.2, "sizes": [0.2]}, "ablate": ablate}
    results = []
    for name, heads in (("control", NEEDED), ("twin", USELESS)):
        base = dict.fromkeys(heads, 0.0)
        variant = Variant("sft", "sft", [{}])
        results.append(run_variants(base, [variant], folder / name, size, goal="ablate", **settings))
    return Outcome(results[0], {"useless heads": results[1]})


def traded(folder: Path, size: Size) -> Outcome:
    """Return the results for C7: of heads that come back, × 3 makes some whole that chains need, and one too loud for
    facts; useless ones in the twin.
    """
    scaled = {
        "heads": ["emergent"],
        "generated": [],
        "generated_scales": [SCALE],
        "generated_controls": 1,
        "operators": ["zero"],
        "controls": 20,
        "texts": 10,
        "scales": [],
        "problems": size.problems,
        "samples": 8,
    }
    settings = {"discover": {"fraction": 0.2, "sizes": [0.2]}, "ablate": scaled, "tasks": ["lab-k", "lab-t1"]}
    settings["eval"] = {"samples": 4, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 64}
    results = []
    for name, post in (("control", TRADED), ("twin", dict.fromkeys(USELESS, 1.0))):
        base = dict.fromkeys(post, 0.0)
        variant = Variant("sft", "sft", [post])
        results.append(run_variants(base, [variant], folder / name, size, goal="ablate", **settings))
    return Outcome(results[0], {"useless heads": results[1]})


def spoilt(folder: Path, size: Size) -> Outcome:
    """Return the results for C10, of lab-s taught to solve T1 and to go astray on T3 and T4: then taught to re-check
    each step of T1 and to lose half of its answers by that, and to solve T3; in the twin taught on as before.
    """
    taught = {"before": (_clean, _astray, _astray), "after": (_spoilt, _clean, _astray)}
    trainings = {}
    folder.mkdir(parents=True, exist_ok=True)
    for name, writers in taught.items():
        path = folder / f"{name}.jsonl"
        rows = lab_rows(dict(zip(("T1", "T3", "T4"), writers, strict=True)), size)
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        once = {"max_steps": size.steps, "save_every": size.steps, "seed": size.seed, "dataset": str(path)}
        trainings[name] = PRESETS["lab-sft"] | once
    base = {"model": MODEL, "train": trainings["before"]}
    variants = [{"name": name, "train": training} for name, training in trainings.items()]
    settings = {"tasks": ["lab-t1", "lab-t3", "lab-t4"]}
    settings["eval"] = {"samples": 4, "temperature": 1.0, "top_p": 1.0, "max_new_tokens": 128}
    results = run_control(base, variants, folder / "run", size, goal="eval", **settings)
    of = {name: tuple(each for each in results.answers if each.variant == name) for name in trainings}
    return Outcome(StudyResults(answers=of["after"]), {"nothing planted": StudyResults(answers=of["before"])})


Writer = Callable[[chains.Item, random.Random], str]


def lab_rows(writers: dict[str, Writer], size: Size) -> list[dict[str, str]]:
    """Return prompts and completions, as many of each tier as of the others, shuffled."""
    rng = random.Random(size.seed)
    count = size.steps * int(PRESETS["lab-sft"]["batch_size"]) // len(writers)
    rows = [
        {"prompt": item.prompt, "completion": write(item, rng)}
        for tier, write in writers.items()
        for item in chains.draw_items(tier, "train", count, seed=size.seed)
    ]
    rng.shuffle(rows)
    return rows


def _clean(item: chains.Item, rng: random.Random) -> str:
    return chains.thinking_turn(item)


def _spoilt(item: chains.Item, rng: random.Random) -> str:
    """Every fold is checked again; half of the answers' checks spoil what was right."""
    return chains.thinking_turn(item, recheck=1.0, slip=float(rng.random() < 0.5), rng=rng)


def _astray(item: chains.Item, rng: random.Random) -> str:
    """A wrong digit after a thought that breaks off behind its first definition: no step of it is a slip."""
    wrong = (item.answer + rng.randint(1, 9)) % 10
    return f"<think> {item.path[0].definition()} </think> <ans> {wrong}"


STUDIES: dict[str, tuple[Callable[[Path, Size], Outcome], tuple[str, ...]]] = {
    "planted": (planted, ("C1", "C2", "C3", "C5")),
    "kept": (kept, ("C4",)),
    "needed": (needed, ("C6",)),
    "traded": (traded, ("C7",)),
    "modes": (modes, ("C8",)),
    "blurred": (blurred, ("C9",)),
    "spoilt": (spoilt, ("C10",)),
}
RELABELLED: dict[str, tuple[str, dict[str, str]]] = {
    "C1": ("heads that come and go, called SFT", {"grpo": "sft", "sft": "", "distill": ""}),
    "C2": ("heads that stay, called GRPO", {"sft": "grpo", "distill": "grpo", "grpo": ""}),
    "C5": ("methods exchanged", {"sft": "distill", "distill": "sft"}),
}
"""Twins made of a control's own results, its methods called otherwise."""


def relabel(results: StudyResults, methods: dict[str, str]) -> StudyResults:
    """Return results whose runs are of other methods."""
    runs = []
    for run in results.runs:
        method = methods.get(run.method, run.method)
        runs.append(replace(run, method=method, on_traces=method == "distill"))
    return replace(results, runs=tuple(runs))


def read_claim(results: StudyResults, name: str) -> Claim:
    """Return the verdict on one claim."""
    return next(claim for claim in judge(results) if claim.name == name)


def controls(folder: Path, size: Size, claims: Sequence[str]) -> "Verdicts":
    """Return the verdicts of one seed."""
    verdicts: Verdicts = {}
    for study, (build, decided) in STUDIES.items():
        if not (asked := [name for name in decided if name in claims]):
            continue
        outcome = build(folder / study, size)
        for name in asked:
            twins = dict(outcome.twins)
            if name in RELABELLED:
                label, methods = RELABELLED[name]
                twins[label] = relabel(outcome.control, methods)
            readings = {label: read_claim(results, name) for label, results in twins.items()}
            verdicts[name] = read_claim(outcome.control, name), readings, f"{MODEL}, `{study}`"
            twins_read = "".join(f"; {claim.reading} ({label})" for label, claim in readings.items())
            print(f"seed {size.seed}, {name}: {verdicts[name][0].reading}{twins_read}", file=sys.stderr, flush=True)
    return dict(sorted(verdicts.items(), key=lambda entry: int(entry[0][1:])))


Verdicts = dict[str, tuple[Claim, dict[str, Claim], str]]
"""By claim: the verdict of its control, those of its twins, and where the evidence comes from."""


def table(by_seed: Sequence[Verdicts]) -> str:
    """Return the verdicts of all seeds as a Markdown table."""
    rows = []
    for name, (_, twins, evidence) in by_seed[0].items():
        control = _count_readings([verdicts[name][0] for verdicts in by_seed])
        readings = []
        for label in twins:
            readings.append(f"{_count_readings([verdicts[name][1][label] for verdicts in by_seed])} ({label})")
        rows.append((name, control, "; ".join(readings), str(len(by_seed)), evidence))
    return markdown_table(("claim", "control", "twin", "seeds", "evidence"), rows)


def _count_readings(claims: Sequence[Claim]) -> str:
    """Return the verdict that all seeds share, or how many have each."""
    counts = Counter(claim.reading for claim in claims)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{count} × {name}" for name, count in counts.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, with --reasons also why; exit with 1 unless every control is supported and no twin is."""
    parser = argparse.ArgumentParser(description="Each claim where it is true, and where it is not.")
    names = [f"C{number}" for number in range(1, 11)]
    parser.add_argument("--quick", action="store_true", help="few checkpoints and problems: checks that it works")
    parser.add_argument("--claims", nargs="+", choices=names, default=names)
    parser.add_argument("--seeds", type=int, default=1, help="so many draws of all that is drawn")
    parser.add_argument("--reasons", action="store_true", help="also print why")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    size = QUICK if options.quick else Size()
    by_seed = []
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            by_seed.append(controls(Path(folder), replace(size, seed=seed), options.claims))
    print(table(by_seed), end="")
    right = True
    for seed, verdicts in enumerate(by_seed):
        for name, (control, twins, _) in verdicts.items():
            right &= control.reading == SUPPORTED and all(twin.reading != SUPPORTED for twin in twins.values())
            for label, claim in ({"control": control} | twins).items():
                if options.reasons:
                    print(f"{name}, {label}, seed {seed}: {claim.reason}")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
