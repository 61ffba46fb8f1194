"""Benchmarks, as ratios measured in one run: ``make bench``, or ``benchmarks/run.py [--quick] [names]``.

Prints a Markdown table; ``--write`` puts it into docs/benchmarks.md with the machine and the command.
"""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from platform import machine, system

import torch
import transformers
from attribution import against_bare_passes, against_slow_reference, lab_checkpoint
from large import gpu, positions, qwen
from nodes import against_converged
from table import AnyRow, markdown

from headscope.errors import suggestion

# name: function of "quick?" to rows.
BENCHMARKS: dict[str, Callable[[bool], Sequence[AnyRow]]] = {
    "bare": against_bare_passes,
    "reference": against_slow_reference,
    "lab": lab_checkpoint,
    "nodes": against_converged,
    "positions": positions,
    "qwen": qwen,
    "gpu": gpu,
}
DOCUMENT = Path(__file__).parents[1] / "docs" / "benchmarks.md"
TEMPLATE = """\
# Benchmarks

Measured on {day} by

    {command}

on {machine}; {threads} thread(s), float32, torch {torch}, transformers {transformers}.
`make bench` prints the tables anew.

{table}
- *ratio*: headscope's time over the other side's, both run in turn, in alternating order, in one process: the median
  of the rounds, and their *range*. Times are medians of the rounds.
- *peak memory*: ratio of the largest resident memory above what the process held before, so that weights, the same
  on both sides, are not counted.
- *bare passes* are what attribution cannot avoid, in plain transformers and without hooks: one forward of the shared
  tokens, one of both endings over that cache, one forward and backward to the embeddings of all quadrature nodes over
  that cache ([benchmarks/bare.py](../benchmarks/bare.py)). A ratio below 1 is possible: the engine stops its backward
  pass at the first layer's q, k and v, and repeats keys and values for query heads while it joins them to the cache.
- *nodes*: relative error (Frobenius norm) of mean |score|, mean score and mean head scores over the pairs, and of the
  worst pair, against 512 equal steps, where every rule has converged; "by 64 Gauss" is the error of mean |score| if 64
  Gauss nodes were the truth. *adaptive* is the default, *adaptive, 1 %* at
  that tolerance: nodes per pair are means.
- *weights and peak memory* are together; *peak memory* is beside the weights.
- *slow reference*: one residual stream per head and port, autograd, one pair and one node at a time
  ([tests/circuits/slow_reference.py](../tests/circuits/slow_reference.py)).
"""
GPU_HEADING = "## On a GPU"
ON_GPU = (
    GPU_HEADING
    + """

Measured on {day} by

    {command}

on {machine}; torch {torch}, transformers {transformers}. Random weights; memory is the GPU's.

{table}"""
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the named benchmarks (default: all), print the table, write it where asked. Returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    for name in options.names:
        if name not in BENCHMARKS:
            parser.error(f"benchmark {name!r} is unknown{suggestion(name, BENCHMARKS)}")
    if options.write and (options.quick or options.names not in ([], ["gpu"])):
        parser.error("--write takes all benchmarks, or gpu, at full size; leave --quick and other names out")
    torch.set_num_threads(options.threads)
    chosen = options.names or [name for name in BENCHMARKS if name != "gpu"]
    table = markdown([row for name in chosen for row in BENCHMARKS[name](options.quick)])
    print(table, end="")
    if options.write:
        given = sys.argv[1:] if arguments is None else arguments
        DOCUMENT.write_text(_document(table, options, given, DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"\n{DOCUMENT}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Measure headscope against what it cannot avoid.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of: {', '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: checks that the benchmarks work")
    parser.add_argument("--threads", type=int, default=1, help="threads torch may use (default: 1)")
    parser.add_argument("--write", action="store_true", help=f"write docs/{DOCUMENT.name}")
    parser.add_argument("--machine", default=f"{system()} {machine()}, {cpu_count()} cores", help="named in it")
    return parser


def _document(table: str, options: argparse.Namespace, arguments: Sequence[str], before: str) -> str:
    """The document with one of its two parts new."""
    on_gpu = options.names == ["gpu"]
    part = (ON_GPU if on_gpu else TEMPLATE).format(
        day=datetime.now(UTC).date().isoformat(),
        command=shlex.join([".venv/bin/python", "benchmarks/run.py", *arguments]),
        machine=options.machine,
        threads=options.threads,
        torch=torch.__version__,
        transformers=transformers.__version__,
        table=table,
    )
    main, heading, gpu_part = before.partition(GPU_HEADING)
    return main.rstrip() + "\n\n" + part if on_gpu else part + ("\n" + heading + gpu_part if heading else "")


if __name__ == "__main__":
    sys.exit(main())
