"""``lab``: make the built-in base models again, from nothing."""

from pathlib import Path
from typing import Annotated

import typer

from headscope.cli.options import Json, RunPath, print_json, print_tables, tables_json
from headscope.cli.terminal import say, say_text
from headscope.errors import InputError, suggestion


def register(app: typer.Typer) -> None:
    """Add the command group."""
    group = typer.Typer(help="The built-in study's own models.")
    group.command("pretrain")(pretrain_command)
    group.command("curves")(curves_command)
    app.add_typer(group, name="lab")


def pretrain_command(
    out: Annotated[Path | None, typer.Option(help="Folder for weights, tokenizer, recipe, log and card.")] = None,
    size: Annotated[str, typer.Option(help="Which base model: S, S-plain, S-early, S16-early or M.")] = "M",
    after: Annotated[Path | None, typer.Option(help="What the phases before the fresh one have made.")] = None,
    json: Json = False,
) -> int:
    """Train a base model by its recipe, and write its log and accuracy next to it."""
    from headscope.cli.progress import for_terminal
    from headscope.lab.recipes import RECIPES

    if size not in RECIPES:
        raise InputError(f"size {size!r} does not exist{suggestion(size, RECIPES)}")
    from headscope.studies.pretrain import pretrain_and_measure

    out = out or Path(f"runs/lab-base-{size.lower()}")
    card = pretrain_and_measure(RECIPES[size], out, after=after, progress=for_terminal())
    if json:
        print_json(card)
    else:
        say_text((out / "card.md").read_text())
        say(out)
    return 0


def curves_command(
    path: RunPath,
    out: Annotated[Path, typer.Option(help="The picture: SVG or PNG.")] = Path("docs/lab-curves.svg"),
    json: Json = False,
) -> int:
    """Draw a run's training curves and final accuracies, as docs/lab.md shows them."""
    from headscope.report import RunResults
    from headscope.report.curves import curves_figure
    from headscope.report.tables.accuracy import accuracy
    from headscope.runs import RunDirectory

    run = RunDirectory.open(path)
    curves_figure(run).savefig(out)
    table = accuracy(RunResults(run))
    if json:
        print_json({"open": str(out)} | tables_json([table]))
    else:
        print_tables([table])
        if not table.rows:
            say("no accuracy yet: headscope eval")
        say(out)
    return 0
