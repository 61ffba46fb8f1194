"""``recompute``: compute finished units again, each from its record alone, and compare the bytes."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from headscope.cli.options import Json, RunPath, print_json, print_tables
from headscope.cli.terminal import say

if TYPE_CHECKING:
    from headscope.results.table import Row
    from headscope.studies.recompute import Recomputed

Kinds = Annotated[list[str] | None, typer.Option("--kind", help="Only units of this kind. Repeatable.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("recompute")(recompute_command)


def recompute_command(path: RunPath, kind: Kinds = None, json: Json = False) -> int:
    """Compute finished units again from their records and compare the bytes; 1 if any differ."""
    from headscope.cli.progress import for_terminal
    from headscope.runs import RunDirectory
    from headscope.runs.remote import local_folder
    from headscope.studies.recompute import recompute

    run = RunDirectory.open(local_folder(path))
    units = list(recompute(run, kind or (), progress=for_terminal()))
    if json:
        rows = [
            {"kind": unit.kind, "labels": unit.labels, "differing": unit.differing, "reason": unit.reason}
            for unit in units
        ]
        print_json({"run": str(run.path), "units": rows, "open": str(run.path)})
    else:
        _print(units)
        say(run.path)
    return 0 if all(unit.is_same for unit in units) else 1


def _print(units: "Sequence[Recomputed]") -> None:
    """Print one row per kind, and a line for every unit that is not the same."""
    from headscope.results.table import Table

    rows: list[Row] = []
    for kind in dict.fromkeys(unit.kind for unit in units):
        of_kind = [unit for unit in units if unit.kind == kind]
        same = sum(unit.is_same for unit in of_kind)
        seconds = round(sum(unit.seconds for unit in of_kind))
        rows.append({"unit": kind, "computed": len(of_kind), "same": same, "seconds": seconds})
    print_tables([Table("recomputed", tuple(rows))])
    for unit in units:
        if not unit.is_same:
            name = " ".join([unit.kind, *(str(label) for label in unit.labels.values() if label is not None)])
            say(f"{name}: {unit.reason or 'other bytes in ' + ', '.join(unit.differing)}", error=True)
    say(f"{sum(unit.is_same for unit in units)} of {len(units)} units the same, byte for byte")
