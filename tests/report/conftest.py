"""A whole synthetic run, and Chromium to open its report in."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headscope.report import render
from headscope.runs import RunDirectory

from .runs import whole_run


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """SFT and GRPO, six checkpoints, two tasks, ablations. Not to be changed by a test."""
    return whole_run(tmp_path_factory.mktemp("run") / "lab")


@pytest.fixture(scope="session")
def report(run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of that run; rendering takes four seconds of a processor, so there is one for all tests."""
    return render(run, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """The system's Chromium, headless; one for all tests."""
    executable = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if executable is None:
        pytest.skip("no Chromium on this machine to open the report in")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
