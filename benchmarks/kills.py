"""Kill a small study at random moments, resume it by the same command, and compare its bytes with an untouched run's.

    python benchmarks/kills.py [--kills 50] [--seed 0]

A killed process leaves what it had written: whatever the moment, the command that started it goes on from there and
ends with the same files. A study that is done before all kills are used is begun again in a new folder. This process
imports everything and only forks, so that a kill costs the work it interrupts and not the imports.
"""

import argparse
import importlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")  # another number of threads rounds otherwise, and does not survive a fork
sys.path.append(str(Path(__file__).parents[1]))

from table import markdown_table
from tests.studies.toy import STUDY, build_base

from headscope.cli.main import main as headscope

LONGEST_WAIT = 4.0  # seconds after the process has begun to write
TIMES_AND_PLACES = ("unit.json", "DONE", "log.jsonl", "training_args.json")  # files that hold them


@dataclass(frozen=True)
class Killed:
    """A run that was killed until it was done.

    moments: what each kill interrupted: a kind of unit, or ``between units``. units, files: compared with the untouched
        run's. differing: files with other bytes, or that only one of both has.
    """

    moments: tuple[str, ...]
    units: int
    files: int
    differing: tuple[str, ...]


def kill_until_done(study: Path, out: Path, kills: int, draw: random.Random) -> Iterator[str]:
    """Run a study, kill it up to ``kills`` times, and let it finish; yield what each kill interrupted.

    Raises RuntimeError, with what the command printed, if it ends with anything but 0 by itself.
    """
    for _ in range(kills):
        before = _written(out)
        process = Process(study, out)
        while process.is_alive() and _written(out) == before:
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, LONGEST_WAIT))
        if not process.is_alive():
            break
        process.kill()
        yield _interrupted(out)
    process = Process(study, out)
    while process.is_alive():
        time.sleep(0.05)


class Process:
    """``headscope run`` in a fork of this process, its output in a file."""

    def __init__(self, study: Path, out: Path) -> None:
        self._output = out.with_suffix(".txt")
        self._has_ended = False
        self._id = os.fork()
        if self._id == 0:
            _run_and_exit(["run", str(study), "--out", str(out)], self._output)

    def is_alive(self) -> bool:
        """Return whether it still runs. Raises RuntimeError if it has ended with anything but 0."""
        if self._has_ended:
            return False
        process, status = os.waitpid(self._id, os.WNOHANG)
        self._has_ended = process != 0
        if status:
            raise RuntimeError(f"headscope run ended with {status}: {self._output.read_text()[-2000:]}")
        return not self._has_ended

    def kill(self) -> None:
        """Kill it, and wait until it is gone."""
        os.kill(self._id, signal.SIGKILL)
        os.waitpid(self._id, 0)


def _run_and_exit(arguments: list[str], output: Path) -> None:
    code = 1
    try:
        with output.open("w") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            code = headscope(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def compare_units(untouched: Path, killed: Path) -> tuple[int, int, list[str]]:
    """Return how many units and files a killed run has, and the files that are not those of an untouched one."""
    differing = []
    names = _file_names(untouched) | _file_names(killed)
    for name in sorted(names):
        one, two = untouched / name, killed / name
        if not one.is_file() or not two.is_file() or one.read_bytes() != two.read_bytes():
            differing.append(name)
    return len(list(killed.glob("units/*/*/DONE"))), len(names), differing


def kill_and_compare(study: Path, untouched: Path, out: Path, kills: int, draw: random.Random) -> Killed:
    """Kill a study in ``out`` up to ``kills`` times until it is done, and compare it with an untouched run."""
    moments = tuple(kill_until_done(study, out, kills, draw))
    units, files, differing = compare_units(untouched, out)
    leftovers = [str(path.relative_to(out)) for path in out.glob("units/*/.*")]
    return Killed(moments, units, files, (*differing, *leftovers))


def _written(out: Path) -> int:
    return len(list((out / "units").rglob("*")))


def _interrupted(out: Path) -> str:
    unfinished = [path.parent.name for path in out.glob("units/*/.*.partial")]
    folders = [path for path in out.glob("units/*/[!.]*") if path.is_dir()]
    unfinished += [folder.parent.name for folder in folders if not (folder / "DONE").exists()]
    return unfinished[0] if unfinished else "between units"


def _file_names(run: Path) -> set[str]:
    files = {path.relative_to(run) for path in run.glob("units/*/*/**/*") if path.is_file()}
    return {str(path) for path in files if path.name not in TIMES_AND_PLACES}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; 0 if no byte differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--study", type=Path, help="another study than the toy, with --untouched")
    parser.add_argument("--untouched", type=Path, help="its run directory")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    for module in ("models", "report", "studies.run", "studies.claims", "training.reporter", "training.trainers"):
        importlib.import_module(f"headscope.{module}")
    draw = random.Random(options.seed)
    runs: list[Killed] = []
    with TemporaryDirectory(prefix="headscope-kills-") as scratch:
        folder = Path(scratch)
        study, untouched = options.study, options.untouched
        if study is None:
            study, untouched = _make_study(folder), folder / "untouched"
            list(kill_until_done(study, untouched, 0, draw))
        left = options.kills
        while left > 0:
            runs.append(kill_and_compare(study, untouched, folder / f"killed-{len(runs)}", left, draw))
            left -= len(runs[-1].moments)
    print(json.dumps([asdict(run) for run in runs]) if options.json else _tables(runs))
    return 0 if not any(run.differing for run in runs) else 1


def _make_study(folder: Path) -> Path:
    build_base(folder / "base")
    study = folder / "toy.yaml"
    study.write_text(STUDY.format(base=folder / "base"))
    return study


def _tables(runs: Sequence[Killed]) -> str:
    moments = Counter(moment for run in runs for moment in run.moments)
    by_moment = markdown_table(("interrupted", "kills"), [(kind, str(count)) for kind, count in moments.most_common()])
    rows = []
    for number, run in enumerate(runs, start=1):
        counts = (number, len(run.moments), run.units, run.files)
        rows.append((*map(str, counts), ", ".join(run.differing) or "none"))
    return f"{by_moment}\n{markdown_table(('run', 'kills', 'units', 'files compared', 'differing'), rows)}"


if __name__ == "__main__":
    sys.exit(main())
