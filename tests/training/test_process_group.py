"""Processes that train together: what they are told, what their bars show, and how they fail."""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headscope.contents import DamagedError
from headscope.errors import InputError, MachineError, OutOfMemoryError, is_disk_full, is_gpu_lost, is_out_of_memory
from headscope.progress import SILENT, Progress
from headscope.training.process_group import run_together
from headscope.training.processes import count, is_first, micro_batch, wait


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def work(folder: Path, trouble: str, progress: Progress) -> None:
    """Say where it ran, then get into trouble in the second process while the first one waits for it."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")
    words = " ".join(os.environ[name] for name in names)
    (folder / os.environ["RANK"]).write_text(f"{words} {count()} {is_first()} {micro_batch()} {os.getpid()}")
    with progress.bar("training", 3, 1) as bar:
        bar.advance(1, "loss 2.0")
        bar.advance(1, "loss 1.0")
    if not trouble:
        return
    if trouble.endswith("while the others wait for it"):
        wait()
        if is_first():
            wait()
            raise AssertionError("nobody came, and it went on")
        trouble = trouble.partition(" ")[0]
    if trouble == "waiting" or is_first():
        time.sleep(60)
    if trouble == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    raise {
        "input": InputError("batch_size 3 is bad"),
        "damaged": DamagedError("a file has other bytes"),
        "memory": OutOfMemoryError("it ran out of memory"),
        "torch memory": RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        "disk": OSError("No space left on device"),
        "network": OSError(errno.ETIMEDOUT, "Connection timed out"),
        "file server": caused(InputError("model m cannot be loaded"), OSError(errno.ESTALE, "Stale")),
        "gpu": RuntimeError("CUDA error: an illegal memory access was encountered"),
        "other": KeyError("name"),
    }[trouble]


class Bars:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> "Iterator[Bars]":
        self.calls.append((label, total, start))
        yield self

    def advance(self, steps: int = 1, note: str = "") -> None:
        if steps:
            self.calls.append((steps, note))


def test_each_knows_its_place_and_the_first_shows_its_bar(tmp_path: Path) -> None:
    bars = Bars()
    run_together(work, (tmp_path, ""), 3, bars, 4)
    for rank in range(3):
        words = (tmp_path / str(rank)).read_text().split()
        assert words[:7] == [str(rank), str(rank), "3", "127.0.0.1", "3", str(rank == 0), "4"]
    assert bars.calls == [("training", 3, 1), (1, "loss 2.0"), (1, "loss 1.0")]


@pytest.mark.parametrize(
    ("trouble", "kind", "words"),
    [
        ("input", InputError, "^batch_size 3 is bad$"),
        ("damaged", DamagedError, "^a file has other bytes$"),
        ("memory", OutOfMemoryError, "^it ran out of memory$"),
        ("torch memory", MemoryError, "can't allocate memory"),
        ("disk", OSError, "No space left on device"),
        ("network", MachineError, r"^TimeoutError: \[Errno \d+\] Connection timed out$"),
        ("file server", MachineError, "^model m cannot be loaded$"),
        ("gpu", MachineError, "^RuntimeError: CUDA error: an illegal memory access"),
        ("other", RuntimeError, "^KeyError: 'name'$"),
        ("killed", MachineError, "one of the processes that train together ended by SIGKILL"),
        # The others then fail too, and say that nobody answers.
        ("killed while the others wait for it", MachineError, "train together ended by SIGKILL"),
        ("other while the others wait for it", RuntimeError, "^KeyError: 'name'$"),
    ],
)
def test_the_first_failure_ends_all_and_is_raised_here(
    tmp_path: Path, trouble: str, kind: type[Exception], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headscope.training.process_group.LAST_SECONDS", 0.5)
    with pytest.raises(kind, match=words) as raised:
        run_together(work, (tmp_path, trouble), 2, SILENT, None)
    assert is_disk_full(raised.value) == (trouble == "disk")
    assert is_out_of_memory(raised.value) == ("memory" in trouble)
    assert not is_gpu_lost(raised.value)  # this process has not used it
    for rank in range(2):
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / str(rank)).read_text().split()[-1]), 0)


def test_a_bar_that_refuses_ends_them(tmp_path: Path) -> None:
    class Refuses(Bars):
        def advance(self, steps: int = 1, note: str = "") -> None:
            raise InterruptedError("the unit is another's")

    with pytest.raises(InterruptedError):
        run_together(work, (tmp_path, "waiting"), 2, Refuses(), None)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "0").read_text().split()[-1]), 0)


PARENT = """
import sys
from pathlib import Path
from headscope.progress import SILENT
from headscope.training.process_group import run_together
from tests.training.test_process_group import work
run_together(work, (Path(sys.argv[1]), "waiting"), 2, SILENT, None)
"""


def test_they_end_with_the_process_that_began_them(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], env=environment) as parent:
        while not all((tmp_path / str(rank)).exists() and (tmp_path / str(rank)).read_text() for rank in range(2)):
            assert parent.poll() is None
            time.sleep(0.05)
        parent.kill()
    gives_up = time.monotonic() + 20
    for rank in range(2):
        process = int((tmp_path / str(rank)).read_text().split()[-1])
        while time.monotonic() < gives_up:
            try:
                os.kill(process, 0)
            except ProcessLookupError:
                break
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                break
            time.sleep(0.05)
        else:
            pytest.fail("it lives")
