"""``recompute``: compute finished units again, each from its record alone, and compare the bytes."""

import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from headscope.cli.options import Json, RunPath, print_json

if TYPE_CHECKING:
    from headscope.studies.recompute import Recomputed

Kinds = Annotated[list[str] | None, typer.Option("--kind", help="Only units of this kind. Repeatable.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("recompute")(recompute_command)


def recompute_command(path: RunPath, kind: Kinds = None, json: Json = False) -> int:
    """Compute finished units again from their records and compare the bytes; 1 if any differ."""
    from headscope.cli.progress import for_terminal
    from headscope.runs import RunDirectory
    from headscope.studies.recompute import recompute

    run = RunDirectory.open(path)
    units = list(recompute(run, kind or (), progress=for_terminal()))
    if json:
        rows = [
            {"kind": unit.kind, "labels": unit.labels, "differing": unit.differing, "reason": unit.reason}
            for unit in units
        ]
        print_json({"run": str(run.path), "units": rows, "open": str(run.path)})
    else:
        _print(units)
        print(run.path)
    return 0 if all(unit.is_same for unit in units) else 1


def _print(units: "Sequence[Recomputed]") -> None:
    """One line per kind, and one for every unit that is not the same."""
    total = Counter(unit.kind for unit in units)
    same = Counter(unit.kind for unit in units if unit.is_same)
    for kind, count in total.items():
        seconds = sum(unit.seconds for unit in units if unit.kind == kind)
        print(f"{kind:<12} {same[kind]} of {count} the same, {seconds:.0f} s")
    for unit in units:
        if not unit.is_same:
            name = " ".join([unit.kind, *(str(label) for label in unit.labels.values() if label is not None)])
            print(f"{name}: {unit.reason or 'other bytes in ' + ', '.join(unit.differing)}", file=sys.stderr)
    print(f"{same.total()} of {total.total()} units the same, byte for byte")
