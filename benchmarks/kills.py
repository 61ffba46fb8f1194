"""Kill a small study at random moments, resume it by the same command, and compare its bytes with an untouched run's.

    python benchmarks/kills.py [--kills 50] [--seed 0]

A killed process leaves what it had written: whatever the moment, the command that started it goes on from there and
ends with the same files. A study that is done before all kills are used is begun again in a new folder.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.append(str(Path(__file__).parents[1]))

from table import markdown_table
from tests.studies.toy import STUDY, build_base

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


def kill_until_done(command: Sequence[str], out: Path, kills: int, draw: random.Random) -> Iterator[str]:
    """Run a command, kill it up to ``kills`` times, and let it finish; yield what each kill interrupted.

    Raises RuntimeError if the command ends with anything but 0 by itself.
    """
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            before = _written(out)
            # Kills fall inside work, not inside imports.
            while process.poll() is None and _written(out) == before:
                time.sleep(0.01)
            time.sleep(draw.uniform(0.0, LONGEST_WAIT))
            if process.poll() == 0:
                break
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended with {process.returncode} before it was killed")
            process.send_signal(signal.SIGKILL)
        yield _interrupted(out)
    last = subprocess.run(command, capture_output=True, text=True, check=False)
    if last.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with {last.returncode}: {last.stderr[-2000:]}")


def compare_units(untouched: Path, killed: Path) -> tuple[int, int, list[str]]:
    """Return how many units and files a killed run has, and the files that are not those of an untouched one."""
    differing = []
    names = _file_names(untouched) | _file_names(killed)
    for name in sorted(names):
        one, two = untouched / name, killed / name
        if not one.is_file() or not two.is_file() or one.read_bytes() != two.read_bytes():
            differing.append(name)
    return len(list(killed.glob("units/*/*/DONE"))), len(names), differing


def kill_and_compare(command: Sequence[str], untouched: Path, out: Path, kills: int, draw: random.Random) -> Killed:
    """Kill a study in ``out`` up to ``kills`` times until it is done, and compare it with an untouched run."""
    moments = tuple(kill_until_done([*command, "--out", str(out)], out, kills, draw))
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
    options = parser.parse_args(arguments)
    draw = random.Random(options.seed)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # other numbers of threads round otherwise
    runs: list[Killed] = []
    with TemporaryDirectory(prefix="headscope-kills-") as scratch:
        folder = Path(scratch)
        build_base(folder / "base")
        study = folder / "toy.yaml"
        study.write_text(STUDY.format(base=folder / "base"))
        command = [sys.executable, "-m", "headscope", "run", str(study)]
        subprocess.run([*command, "--out", str(folder / "untouched")], check=True, capture_output=True)
        left = options.kills
        while left > 0:
            out = folder / f"killed-{len(runs)}"
            runs.append(kill_and_compare(command, folder / "untouched", out, left, draw))
            left -= len(runs[-1].moments)
    moments = Counter(moment for run in runs for moment in run.moments)
    print(markdown_table(("interrupted", "kills"), [(kind, str(count)) for kind, count in moments.most_common()]))
    rows = []
    for number, run in enumerate(runs, start=1):
        counts = (number, len(run.moments), run.units, run.files)
        rows.append((*map(str, counts), ", ".join(run.differing) or "none"))
    print(markdown_table(("run", "kills", "units", "files compared", "differing"), rows))
    return 0 if not any(run.differing for run in runs) else 1


if __name__ == "__main__":
    sys.exit(main())
