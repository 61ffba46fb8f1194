"""``status``: how far a run directory is."""

from typing import TYPE_CHECKING

import typer

from headscope.cli.options import Json, RunPath, print_json

if TYPE_CHECKING:
    from headscope.runs.coverage import KindCoverage


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status")(status_command)


def status_command(path: RunPath, json: Json = False) -> int:
    """Done, failed and missing units of a run directory, by kind."""
    from headscope.runs import RunDirectory
    from headscope.runs.coverage import coverage

    run = RunDirectory.open(path)
    kinds = coverage(run).kinds
    if json:
        units = {each.kind: _counts(each) | {"reasons": [reason for _, reason in each.failures]} for each in kinds}
        print_json({"run": str(run.path), "units": units})
        return 0
    for each in kinds:
        print(f"{each.kind:<12} " + ", ".join(f"{count} {name}" for name, count in _counts(each).items() if count))
        for name, reason in each.failures:
            print(f"             {name} failed: {reason}")
    print(run.path)
    return 0


def _counts(each: "KindCoverage") -> dict[str, int]:
    return {"done": each.done, "failed": each.failed, "missing": each.missing}
