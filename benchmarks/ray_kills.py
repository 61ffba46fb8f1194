"""A run on a Ray cluster of three nodes whose workers, nodes and command are killed: nothing lost, nothing twice.

    python benchmarks/ray_kills.py [--units 400] [--workers 20] [--nodes 5] [--drivers 2] [--seed 0]

The cluster is one of this machine, each node with its own daemon and processes. At random moments a worker's process is
killed (SIGKILL), or a node with all it runs, or the command itself, which is then given again. Units take 0.5 s
each and read two of the layer before. What must hold at the end: every unit is done, its bytes are those of one
process. It prints how many computations reached their end: more than units where a kill met one before its DONE.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.append(str(Path(__file__).parents[1]))

from tests.runs.jobs import grid, lines

from headscope.runs import Execution, RunDirectory, Unit, execute
from headscope.runs.coverage import coverage
from headscope.runs.pool import Pool
from headscope.runs.presence import live_workers
from headscope.runs.ray_workers import RayCluster
from headscope.storage import write_json

WIDTH = 20
NODES = 3


def make_units(folder: Path, count: int, seconds: float) -> list[Unit]:
    """Return layers of ``WIDTH`` units, each of which reads two of the layer before."""
    return grid(folder, -(-count // WIDTH), WIDTH, seconds=seconds)


def drive(address: str, folder: Path, count: int) -> int:
    """The command that is killed: bring all units to DONE on the cluster."""
    run = RunDirectory(folder / "run")
    with closing(RayCluster(address, workers=NODES, threads=1)) as cluster, Pool(run, cluster) as pool:
        outcome = execute(make_units(folder, count, 0.5), run, Execution(engine=pool))
    print(outcome.failed, flush=True)
    return outcome.exit_code


class Killer:
    """Kills what a kind names, and counts."""

    def __init__(self, cluster: Any, run: Path, draw: random.Random) -> None:
        self._cluster, self._run, self._draw = cluster, run, draw
        self._nodes = [cluster.add_node(num_cpus=1, num_gpus=0) for _ in range(NODES)]

    def kill(self, kind: str, command: "subprocess.Popen[bytes]") -> bool:
        """Kill one; return whether there was one."""
        if kind == "driver":
            command.kill()
            command.wait()
            return True
        if kind == "node":
            node = self._nodes.pop(self._draw.randrange(NODES))
            self._cluster.remove_node(node, allow_graceful=False)
            self._nodes.append(self._cluster.add_node(num_cpus=1, num_gpus=0))
            return True
        workers = [worker for worker in live_workers(self._run) if worker.leader and worker.note]
        if workers:
            os.kill(self._draw.choice(workers).process, signal.SIGKILL)
        return bool(workers)


def main(arguments: Sequence[str] | None = None) -> int:
    """Kill, resume, compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=400)
    parser.add_argument("--workers", type=int, default=20)
    parser.add_argument("--nodes", type=int, default=5)
    parser.add_argument("--drivers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--drive", nargs=2, metavar=("ADDRESS", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.drive:
        return drive(options.drive[0], Path(options.drive[1]), options.units)
    from ray.cluster_utils import Cluster

    draw = random.Random(options.seed)
    kinds = ["worker"] * options.workers + ["node"] * options.nodes + ["driver"] * options.drivers
    draw.shuffle(kinds)
    planned = len(kinds)
    with TemporaryDirectory(prefix="headscope-ray-") as scratch:
        folder = Path(scratch)
        run = RunDirectory(folder / "run")
        run.path.mkdir()
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0})
        try:
            killer, commands, start = Killer(cluster, run.path, draw), 1, time.perf_counter()
            given = [sys.executable, __file__, "--drive", cluster.address, scratch, "--units"]
            command = subprocess.Popen([*given, str(options.units)])
            while True:
                try:
                    code = command.wait(draw.uniform(1.0, 4.0))
                except subprocess.TimeoutExpired:
                    if kinds and killer.kill(kinds[-1], command):
                        kinds.pop()
                    if command.poll() is None:
                        continue
                    code = -signal.SIGKILL
                if code == 0 and not kinds:
                    break
                if code == 0:  # it was faster than the kills
                    options.units += 4 * WIDTH
                command, commands = subprocess.Popen([*given, str(options.units)]), commands + 1
            seconds = time.perf_counter() - start
        finally:
            cluster.shutdown()
        units = make_units(folder, options.units, 0.5)
        write_json(run.lock_file, {"schema_version": 1, "units": [unit.row for unit in units]})
        ended = [int(number) for number in lines(folder / "ended")]
        counts = coverage(run, check_files=True)
        local, at_once = RunDirectory(folder / "local"), make_units(folder, options.units, 0.0)
        execute(at_once, local)
        same = [contents(run, slow) == contents(local, fast) for slow, fast in zip(units, at_once, strict=True)]
        left = [*run.path.glob("units/*/.*"), *run.path.glob(".workers/*")]
    print(
        f"{planned - len(kinds)} of {planned} kills, {commands} commands, {seconds:.0f} s: {len(units)} units, "
        f"complete {counts.complete}, same bytes {sum(same)}, "
        f"computed to the end {len(ended)} times, left over {len(left)}"
    )
    return 0 if counts.complete and all(same) and not left and not kinds else 1


def contents(run: RunDirectory, unit: Unit) -> dict[str, bytes]:
    """Return a unit's files but for its record, which tells times."""
    files = [path for path in run.folder(unit).iterdir() if path.name not in ("unit.json", "DONE")]
    return {path.name: path.read_bytes() for path in files}


if __name__ == "__main__":
    sys.exit(main())
