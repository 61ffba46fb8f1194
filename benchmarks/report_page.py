"""How large the page of a run is, and how long a browser takes to open it.

``python benchmarks/report_page.py RUN``; without a run, one with drawn results of as many models, tasks and problems as
``lab-full`` has is made: 11 variants of 6 × 8 heads, 6 tasks of 100 problems, circuits, effects, attention, ablations.

``python benchmarks/report_page.py RUN --units 10000 [--controls 20]`` times the drawing of a page instead: of the run
multiplied to so many units, by the clock and of the processor; with more controls, more of them are of ablations.

Opened from file:// in the system's Chromium, five times in fresh tabs; the median. The clock runs from navigation to
the moment the page can be used (``html.ready``). On a machine with other work it says little; the processor time of the
page's main thread, which is printed next to it, does.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests' builders of runs
sys.path.insert(0, str(Path(__file__).parent))
from multiplied import multiply_run
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


def time_drawing(source: RunDirectory, folder: Path, units: int, controls: int) -> None:
    """Multiply a run, draw its page and print how long that took."""
    run = multiply_run(source, folder / "multiplied", units, controls)
    start, processor = time.perf_counter(), time.process_time()
    page = render(run, folder / "report.html")
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    lock = run.lock()
    size = f"{len(lock['units'])} units, {len(lock['study']['variants'])} variants"
    print(f"{size}: {page.stat().st_size / 1e6:.2f} MB, drawn in {seconds:.2f} s, {processor:.2f} s of a processor")


def time_opening(directory: RunDirectory, folder: Path) -> None:
    """Draw a run's page, open it and print how long a browser took."""
    from playwright.sync_api import sync_playwright  # drawing alone needs no browser

    executable = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    path = render(directory, folder / "report.html")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        times = [open_page(browser, path) for _ in range(5)]
        browser.close()
    clock, processor = (statistics.median(column) for column in zip(*times, strict=True))
    size = path.stat().st_size / 1e6
    units = len(directory.lock()["units"])
    print(f"{units} units: {size:.2f} MB, open after {clock:.2f} s, {processor:.2f} s of the main thread")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("--units", type=int, default=0)
    parser.add_argument("--controls", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        run = RunDirectory.open(options.run) if options.run else draw_run(folder / "run")
        if options.units:
            time_drawing(run, folder, options.units, options.controls)
        else:
            time_opening(run, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
