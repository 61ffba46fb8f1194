"""What ``plan --cost`` says against what the run took, by kind of unit, on three studies.

    python benchmarks/plan_cost.py [lab evaluation smollm]

Each study is measured in one process and run in another. Seconds are those of the process's own work on a processor, so
that other work on the machine counts on neither side; on an idle machine with one thread they are the wall's.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

from headscope.results.numbers import format_bytes, format_duration
from headscope.results.table import Cell, Row, Table
from headscope.runs import RunDirectory
from headscope.studies.costs.estimate import UnitCost, estimate
from headscope.studies.costs.pilot import cached_rates, measure_rates
from headscope.studies.plan import plan
from headscope.studies.reading import read_study
from headscope.studies.run import run_study
from headscope.studies.study_file.study import Study

EVALUATION = """
name: evaluation
base: {model: lab-s}
tasks: [lab-t1, lab-t2, lab-t4, lab-k]
eval: {problems: 100, samples: 8, k: [1, 8], temperature: 1.0, top_p: 1.0, max_new_tokens: 144}
"""
SMOLLM = """
name: smollm
base: {model: smollm2-135m}
variants:
  - {name: system, model: smollm2-135m, chat: {system: "You are a careful calculator."}}
tasks: [{file: questions.jsonl}]
discover: {pairs: 8, opening_tokens: 4, nodes: 8, fraction: 0.01, resamples: 50, sizes: [0.01, 0.05]}
ablate: {heads: kept, at_most: 3, operators: [zero, mean], controls: 20, texts: 6, scales: [0.5], problems: 12,
         generated_controls: 2}
eval: {problems: 16, samples: 2, k: [1], temperature: 0.7, max_new_tokens: 48}
"""
SETTINGS = {
    "lab": [
        "variants.sft.train.max_steps=24",
        "variants.grpo.train.max_steps=10",
        "eval.problems=50",
        "ablate.problems=50",
    ]
}
SMALL = 2.0
"""Seconds below which a kind's ratio says nothing."""


def main() -> None:
    """Measure, run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["lab", "evaluation", "smollm"])
    parser.add_argument("--step", choices=["measure", "run"])
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="headscope-cost-"))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["HEADSCOPE_CACHE"] = str(folder / "cache")
    if options.step:
        return take_step(options.step, options.names[0], folder)
    rows: list[Row] = []
    for name in options.names:
        for step in ("measure", "run"):
            command = [sys.executable, __file__, name, "--step", step, "--folder", str(folder)]
            subprocess.run(command, check=True)
        rows += compare(name, folder)
    table = Table("plan-cost", tuple(rows))
    print(table.markdown())
    return None


def study_of(name: str, folder: Path) -> Study:
    """Return one of the three studies."""
    if name == "lab":
        return read_study("lab", SETTINGS["lab"])
    path = folder / f"{name}.yaml"
    path.write_text({"evaluation": EVALUATION, "smollm": SMOLLM}[name])
    questions = [{"question": f"What is {a} + {b}?", "answer": str(a + b)} for a in range(2, 9) for b in range(3, 8)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in questions))
    return read_study(str(path), [])


def take_step(step: str, name: str, folder: Path) -> None:
    """Measure the study's rates, or run it, in this process."""
    study = study_of(name, folder)
    started = time.process_time()
    if step == "measure":
        measure_rates(study, clock=time.process_time)
    else:
        _, outcome = run_study(study, folder / name)
        print(outcome.failed)
    print(f"{name}: {step} took {time.process_time() - started:.0f} s of a processor", flush=True)


def compare(name: str, folder: Path) -> list[Row]:
    """Return one row per kind and one of all."""
    study, run = study_of(name, folder), RunDirectory(folder / name)
    rates = cached_rates(study)
    assert rates is not None
    costs = estimate(plan(study, RunDirectory(folder / "nothing")), RunDirectory(folder / "nothing"), rates).units
    units = plan(study, run)
    records = {unit.address: json.loads((run.folder(unit) / "unit.json").read_text()) for unit in units}
    kinds: dict[str, list[UnitCost]] = defaultdict(list)
    for cost in costs:
        kinds[cost.unit.kind].append(cost)
    rows = []
    for kind in [*kinds, "all"]:
        estimated = list(costs) if kind == "all" else kinds[kind]
        taken = [unit for unit in units if kind in ("all", unit.kind)]
        seconds = sum(records[unit.address]["cpu_seconds"] for unit in taken)
        disk = sum(file.stat().st_size for unit in taken for file in run.folder(unit).rglob("*") if file.is_file())
        peak = max(records[unit.address]["peak_memory_gib"] for unit in taken) * 2**30
        rows.append(row(name, kind, estimated, seconds, peak, disk))
    return rows


def row(name: str, kind: str, costs: list[UnitCost], seconds: float, peak: float, disk: float) -> Row:
    """Return estimate, truth and their ratio: of times, 1 within the range that stops of controls allow."""
    least, most = sum(cost.least_seconds for cost in costs), sum(cost.seconds for cost in costs)
    ratio = most / seconds if most < seconds else least / seconds if least > seconds else 1.0
    memory = max(cost.memory for cost in costs)
    estimated_disk = sum(cost.disk for cost in costs)
    time_text = format_duration(most) if least == most else f"{format_duration(least)} to {format_duration(most)}"
    return {
        "study": name,
        "kind": kind,
        "units": len(costs),
        "estimated": Cell(time_text, most),
        "taken": format_duration(seconds),
        "ratio": Cell(f"{ratio:.2f}" if max(seconds, most) >= SMALL else "–", ratio),
        "memory": Cell(f"{format_bytes(memory)} / {format_bytes(peak)}", memory) if kind == "all" else None,
        "disk": Cell(f"{format_bytes(estimated_disk)} / {format_bytes(disk)}", estimated_disk),
    }


if __name__ == "__main__":
    main()
