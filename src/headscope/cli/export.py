"""``export``: write something headscope made in a form that other programs read."""

from pathlib import Path
from typing import Annotated

import typer

from headscope.cli.options import Json, print_json
from headscope.cli.terminal import say

Edited = Annotated[str, typer.Option("--edited", help="Export an edited copy of this model: folder, hub id, built-in.")]
Heads = Annotated[str, typer.Option(help="Heads to edit: 'L3H5 L4H1', or with commas.")]
Into = Annotated[Path, typer.Option("--out", help="Folder to write; it must be new or empty.")]
OperatorOption = Annotated[
    str, typer.Option("--operator", help="What a head does instead: zero, mean, optimal, revert.")
]
Alpha = Annotated[float | None, typer.Option(help="Multiply what the heads write by this instead.")]
Reference = Annotated[Path | None, typer.Option(help="For mean and optimal: a text file, one text per line.")]
Base = Annotated[str | None, typer.Option(help="For revert: the model whose weights the heads take.")]
Kv = Annotated[
    str, typer.Option(help="For revert: keys and values that a group shares go along if all or any of it does.")
]
DtypeOption = Annotated[str, typer.Option("--dtype", help="float32, bfloat16 or float16.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export_command)


def export_command(
    edited: Edited,
    heads: Heads,
    out: Into,
    operator: OperatorOption = "zero",
    alpha: Alpha = None,
    reference: Reference = None,
    base: Base = None,
    kv: Kv = "all",
    dtype: DtypeOption = "float32",
    json: Json = False,
) -> int:
    """Write a model with heads removed, scaled, replaced by constants or reverted, as a checkpoint that any engine can
    serve."""
    from headscope.studies.export import export_edited

    names = heads.replace(",", " ").split()
    export = export_edited(
        edited, names, out, operator=operator, alpha=alpha, reference=reference, base=base, kv=kv, dtype=dtype
    )
    if json:
        print_json(export)
    else:
        say(f"{export['operator']} on {' '.join(export['heads'])}, saved as {export['architecture']}")
        if "kv" in export:
            say(_describe_kv(export["kv"], export["shared"]))
        say(f"loaded again: logits differ from the hooks' by {export['difference']:.1e} of the largest")
        say(export["open"])
    return 0


def _describe_kv(rule: str, shared: list[str]) -> str:
    """Return a sentence on the keys and values that heads share."""
    if rule == "all":
        return "keys and values that heads share: reverted if all of a group is, else left (--kv all)"
    others = f"; {' '.join(shared)} read them too" if shared else ""
    return f"keys and values that heads share: reverted with any of a group (--kv any){others}"
