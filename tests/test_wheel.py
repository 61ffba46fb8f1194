"""The wheel works from an empty folder: everything that the commands read comes with it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.report.runs import whole_run

ROOT = Path(__file__).parents[1]
PROGRAM = "from headscope.cli.main import console; console()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's files and nothing else of ours."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    # A copy: setuptools writes next to what it builds from, and would pack what an older build left there.
    ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(ROOT / "src", tree / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder / "dist"), str(tree)]
    subprocess.run([*pip, *build], check=True)
    (wheel,) = (folder / "dist").glob("headscope-*.whl")
    install = ["install", "--no-deps", "--no-index", "--target", str(folder / "site"), str(wheel)]
    subprocess.run([*pip, *install], check=True)
    return folder / "site"


@pytest.fixture
def headscope(installed: Path, tmp_path: Path):
    empty = tmp_path / "empty"
    empty.mkdir()

    def call(*words: str, program: str = PROGRAM) -> str:
        # Before everything else, so that it wins over an editable install.
        path = os.pathsep.join([str(installed), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=empty,
            env=os.environ | {"PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_it_is_the_wheel_that_runs(headscope, installed: Path) -> None:
    place = headscope(program="import headscope; print(headscope.__file__)").strip()
    assert Path(place).is_relative_to(installed)
    assert (installed / "headscope" / "py.typed").is_file()
    scripts = next(installed.glob("headscope-*.dist-info")) / "entry_points.txt"
    assert "headscope = headscope.cli.main:console" in scripts.read_text()


def test_every_file_of_the_package_is_in_it(installed: Path) -> None:
    source = ROOT / "src"
    files = {
        path.relative_to(source) for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }
    lacking = [path for path in files if path.parts[0] == "headscope" and not (installed / path).is_file()]
    assert lacking == []


def test_commands_find_their_data(headscope) -> None:
    assert "--budget" in headscope("run", "--help")
    assert json.loads(headscope("schema"))["$schema"].endswith("2020-12/schema")
    assert "study lab is valid: base lab-m" in headscope("validate", "lab")
    assert "lab-full" in headscope("ls", "studies")
    assert headscope("cite", "qwen2.5-math").count("@") > 10


def test_a_saved_run_is_reported(headscope, tmp_path: Path) -> None:
    run = whole_run(tmp_path / "run")
    page = Path(headscope("report", str(run.path)).splitlines()[-1])
    assert page == run.report
    assert page.stat().st_size > 1_000_000  # with its scripts
