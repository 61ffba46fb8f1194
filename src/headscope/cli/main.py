"""``headscope``: the app, and the one place where errors become a sentence and an exit code.

Exit codes: 0 ok, 1 failed units, 2 bad input, 130 interrupted. The last line is the path to open.
"""

import sys
from collections.abc import Sequence

import typer

from headscope import __version__
from headscope.cli import audit, env, export, lab, listing, plan, recompute, report, run, score, status, validate
from headscope.errors import InputError, MachineError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Which attention heads did a training run create, keep or prune, and do they matter?",
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"headscope {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """What every verb has in common."""


for module in (run, plan, status, validate, report, recompute, score, audit, export, env, listing, lab):
    module.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        code = app(args=None if arguments is None else list(arguments), standalone_mode=False)
        return int(code or 0)
    except (InputError, MachineError, typer.TyperException) as error:
        print(f"headscope: {error}", file=sys.stderr)
        return 1 if isinstance(error, MachineError) else 2
    except (KeyboardInterrupt, typer.Abort):
        verb = (sys.argv[1:] if arguments is None else arguments)[0]
        advice = "; the same command resumes" if verb in run.VERBS else ""
        print(f"headscope: interrupted{advice}", file=sys.stderr)
        return 130


def console() -> None:
    """Run the command line as the console script."""
    sys.exit(main())
