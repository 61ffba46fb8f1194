"""A whole study at toy size: a random two-layer base with the lab's tokenizer, trained for a few steps."""

import os
from pathlib import Path

import pytest
import torch
from tests.studies import bench as benches
from tests.studies.toy import STUDY, build_base


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Send all tests that read the finished toy run to one worker: it takes a worker half a minute to make one."""
    for item in items:
        if "toy_run" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("toy-run"))


@pytest.fixture(scope="session")
def toy_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random base model: 2 layers x 4 heads, d 32."""
    folder = tmp_path_factory.mktemp("base")
    build_base(folder)
    return folder


@pytest.fixture(scope="session")
def toy_study(toy_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study file."""
    path = tmp_path_factory.mktemp("study") / "toy.yaml"
    path.write_text(STUDY.format(base=toy_base))
    return path


@pytest.fixture(scope="session")
def toy_run(toy_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its run directory, finished without interruption."""
    from headscope.studies.reading import read_study
    from headscope.studies.run import run_study

    # As many threads as a process of its own would have: another number rounds otherwise, and tests compare bytes.
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    out = tmp_path_factory.mktemp("run")
    _, outcome = run_study(read_study(str(toy_study)), out)
    assert outcome.failed == {}
    return out


@pytest.fixture
def bench(toy_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> benches.Bench:
    folder = tmp_path / "with space"
    folder.mkdir()
    made = benches.Bench(folder, toy_base, capsys)
    made.file("bad.yaml", benches.STUDY.format(base=toy_base))
    return made
