"""How large the page of a run is, and how long a browser takes to open it.

``python benchmarks/report_page.py RUN``; without a run, one with drawn results of as many models, tasks and problems as
``lab-full`` has is made: 11 variants of 6 × 8 heads, 6 tasks of 100 problems, circuits, effects, attention, ablations.

Opened from file:// in the system's Chromium, five times in fresh tabs; the median. The clock runs from navigation to
the moment the page can be used (``html.ready``). On a machine with other work it says little; the processor time of the
page's main thread, which is printed next to it, does.
"""

import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' builders of runs
from tests.report import runs as builders
from tests.report.head_runs import PIECES, attention, failures

from headscope.heads import HeadId, HeadSet
from headscope.report import render
from headscope.results.graph import Graph
from headscope.results.samples import Samples
from headscope.runs import RunDirectory

WATCH = """new MutationObserver((_, watcher) => {
  if (!document.documentElement?.classList.contains("ready")) return;
  watcher.disconnect();
  window.openedAfter = performance.now();
}).observe(document, { attributes: true, subtree: true, attributeFilter: ["class"] })"""
"""Note when the page is ready. Waiting for a selector would ask all of its elements at every frame."""


def open_page(browser: Any, path: Path) -> tuple[float, float]:
    """Return the seconds by the clock and of the main thread until the page can be used."""
    page = browser.new_page()
    page.add_init_script(WATCH)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(path.as_uri(), wait_until="load")
    metrics = {metric["name"]: metric["value"] for metric in session.send("Performance.getMetrics")["metrics"]}
    clock = page.evaluate("window.openedAfter / 1000")
    page.close()
    return clock, metrics["TaskDuration"]


def draw_run(path: Path) -> RunDirectory:
    """Write a run of lab-full's size with drawn results."""
    variants = tuple(f"variant {number}" for number in range(11))
    run, graph = builders.RunWriter(path, variants, "lab-full"), Graph(builders.LAYERS, builders.HEADS)
    heads = [HeadId(*place) for place in np.ndindex(builders.LAYERS, builders.HEADS)]
    for number, variant in enumerate(variants):
        builders.add_training(run, variant, rewarded=True)
        builders.add_comparison(run, variant, builders.series(number, births=3))
        builders.add_circuits(run, variant, 60, graph)
        for model, step in (("base", 0), (variant, 60)):
            run.save(builders.faithfulness(0.9), variant=variant, model=model, step=step, pairs="main")
        run.save(builders.training_effects(variant, 0.3), variant=variant)
        run.save(builders.head_scaling(), variant=variant, task="T1")
        run.save(attention(variant, heads, [PIECES * 3] * 4, number), variant=variant)
        for group in ("emergent", "kept"):
            place = {"variant": variant, "heads": group, "operator": "zero", "task": "T2"}
            run.save(builders.verdict(-0.1, "supported", "T2", 200), **place)
            run.save(failures(HeadSet.of(["L2H3", "L4H1"])), **place)
    for task in ("T1", "T2", "T3", "T4", "K", "KR"):
        answers = {model: _draw_answers(task, number) for number, model in enumerate(("base", *variants))}
        steps = {model: 0 if model == "base" else 60 for model in answers}
        for model, result in answers.items():
            builders.add_samples(run, model, steps[model], task, result, 0.5)
        builders.add_read(run, answers, steps, task)
    return run.close()


def _draw_answers(task: str, seed: int) -> Samples:
    rng = np.random.default_rng(seed)
    steps = " ".join(f"x{number}={number}*4={number * 4 % 10};" for number in range(12))
    responses = {f"{task}-{number}": f"<think> {steps} </think> Ans {rng.integers(10)}." for number in range(100)}
    verdicts = tuple(rng.choice(["correct", "wrong", "unfinished"], size=100, p=[0.6, 0.3, 0.1]).tolist())
    return builders.samples(task, responses, verdicts)


def main(run: str | None) -> None:
    """Print one line."""
    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        directory = RunDirectory.open(Path(run)) if run else draw_run(Path(folder) / "run")
        path = render(directory, Path(folder) / "report.html")
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        times = [open_page(browser, path) for _ in range(5)]
        clock, processor = (statistics.median(column) for column in zip(*times, strict=True))
        units = len(directory.lock()["units"])
        size = path.stat().st_size / 1e6
        print(f"{units} units: {size:.2f} MB, open after {clock:.2f} s, {processor:.2f} s of the main thread")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
