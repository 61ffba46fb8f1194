"""Units that other processes can compute: they add up numbers, say that they ran, and get into trouble on request."""

import os
import signal
import time
from pathlib import Path
from typing import Literal

from pydantic import BaseModel
from tests.runs.toys import Toy

from headscope.errors import InputError
from headscope.module_process import memory_share
from headscope.progress import Progress
from headscope.runs import Inputs, Unit, Work


class JobConfig(BaseModel):
    """A number; how long it takes; what befalls the first ``times`` tries; and where it is written down that it ran.

    company: how many tries must have begun before it goes on.
    """

    number: int
    seconds: float = 0.0
    trouble: Literal["", "killed", "memory", "gpu", "failing", "slow", "full"] = ""
    times: int = 0
    model: str = ""
    place: str = ""
    devices: int = 1
    company: int = 0


def compute_job(config: JobConfig, inputs: Inputs, progress: Progress) -> Toy:
    log = Path(config.place) / "log"
    tries = tries_of(Path(config.place)).count(config.number)
    with log.open("a") as file:
        file.write(
            f"{config.number} {os.getpid()} {time.time()} {memory_share()} {os.environ.get('CUDA_VISIBLE_DEVICES')}\n"
        )
    gives_up = time.monotonic() + 120
    while len(lines(log)) < config.company and time.monotonic() < gives_up:
        time.sleep(0.02)
    if tries < config.times:
        if config.trouble == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if config.trouble == "full":
            Path("/dev/full").write_text("x")
        if config.trouble == "slow":
            time.sleep(60)
        if config.trouble == "gpu":
            raise RuntimeError("CUDA error: unspecified launch failure")
        raise MemoryError("no memory") if config.trouble == "memory" else InputError("it is bad")
    with progress.bar("sleeping", 10) as bar:
        for _ in range(10):
            time.sleep(config.seconds / 10)
            bar.advance()
    with (Path(config.place) / "ended").open("a") as file:
        file.write(f"{config.number}\n")
    return Toy(config.number, config.number + sum(inputs.load(name, Toy).total for name in inputs.folders))


JOB = Work("job", JobConfig, compute_job)


def job(number: int, place: Path, *inputs: Unit, **settings: object) -> Unit:
    config = JobConfig.model_validate({"number": number, "place": str(place), **settings})
    return JOB.unit(config, {"name": number}, {str(index): unit for index, unit in enumerate(inputs)})


def compute_variable(config: JobConfig, inputs: Inputs, progress: Progress) -> Toy:
    """Tell the number in a variable of the environment that ``place`` names."""
    return Toy(config.number, int(os.environ.get(config.place, "0")))


VARIABLE = Work("variable", JobConfig, compute_variable)


def compute_logged_steps(config: JobConfig, inputs: Inputs, progress: Progress) -> tuple[Toy, ...]:
    """Log the losses of three steps, as a training does."""
    for step in (1, 2, 3):
        with (inputs.scratch / "log.jsonl").open("a") as log:
            log.write(f'{{"step": {step}, "loss": {0.5 / step}}}\n')
        time.sleep(0.3)
    return ()


LOGGED_STEPS = Work("train", JobConfig, compute_logged_steps)


def logged_steps(place: Path) -> Unit:
    return LOGGED_STEPS.unit(JobConfig(number=1, place=str(place)), {"variant": "sft"})


STEPS_OF_ALL = 20


def compute_steps(config: JobConfig, inputs: Inputs, progress: Progress) -> Toy:
    """Go on from the last step that is on the disk, as a training does."""
    with progress.bar("steps", STEPS_OF_ALL) as bar:
        for step in range(steps_in(inputs.scratch), STEPS_OF_ALL):
            time.sleep(0.1)
            inputs.scratch.mkdir(exist_ok=True)
            (inputs.scratch / f"step-{step}").touch()
            with (Path(config.place) / "steps").open("a") as file:
                file.write(f"{step} {os.getpid()}\n")
            bar.advance()
    return Toy(1, 1)


def steps_in(folder: Path) -> int:
    """Return how many steps a folder holds."""
    return len(list(folder.glob("step-*")))


def steps_unit(place: Path) -> Unit:
    work = Work("steps", JobConfig, compute_steps, resumable=True, reached=steps_in)
    return work.unit(JobConfig(number=1, place=str(place)), {"name": "steps"})


def tries_of(place: Path) -> list[int]:
    """Return the numbers of the units that were begun, in order."""
    return [int(line.split()[0]) for line in lines(place / "log")]


def processes_of(place: Path) -> list[int]:
    """Return the process of each try."""
    return [int(line.split()[1]) for line in lines(place / "log")]


def memory_shares(place: Path, number: int) -> list[float]:
    """Return the share of memory that each try of one unit had."""
    return [float(line.split()[3]) for line in lines(place / "log") if int(line.split()[0]) == number]


def devices_seen(place: Path, number: int) -> list[set[str]]:
    """Return the devices that each try of one unit saw."""
    return [set(line.split()[4].split(",")) for line in lines(place / "log") if int(line.split()[0]) == number]


def start_of(place: Path, number: int) -> float:
    """Return when the last try of a unit began, in seconds since 1970."""
    return [float(line.split()[2]) for line in lines(place / "log") if int(line.split()[0]) == number][-1]


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def grid(place: Path, layers: int, width: int, **settings: object) -> list[Unit]:
    """Return layers of units, each of which reads two of the layer before."""
    units: list[Unit] = []
    above: list[Unit] = []
    for layer in range(layers):
        row = []
        for column in range(width):
            read = [above[column], above[(column + 1) % width]] if above else []
            row.append(job(layer * width + column, place, *read, **settings))
        units += row
        above = row
    return units
