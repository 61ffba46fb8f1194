"""``headscope``: the app, and the one place where errors become a sentence and an exit code.

Exit codes: 0 ok, 1 failed units, 2 bad input, 130 interrupted, 141 nobody reads its output on (``| head``). The
last line is the path to open.
"""

import errno
import os
import select
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import typer

from headscope import __version__
from headscope.cli import (
    audit,
    cite,
    env,
    export,
    lab,
    listing,
    plan,
    recompute,
    report,
    run,
    schema,
    score,
    status,
    traces,
    validate,
)
from headscope.cli.terminal import say, say_text
from headscope.errors import InputError, MachineError, ManyInputsError, is_disk_full

INTERRUPTED = 130
OUTPUT_CLOSED = 141  # as of a program that SIGPIPE ended
_REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)

app = typer.Typer(
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    help="Which attention heads did a training run create, keep or lose, and do they matter?",
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        say(f"headscope {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Print the help if no verb is given."""
    if context.invoked_subcommand is None:
        say_text(context.get_help())


for module in (
    run,
    plan,
    status,
    validate,
    report,
    traces,
    recompute,
    score,
    audit,
    export,
    schema,
    cite,
    env,
    listing,
    lab,
):
    module.register(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    with _copy_of_output() as output:
        return _run(arguments, output)


def _run(arguments: Sequence[str] | None, output: int | None) -> int:
    """Run the command line. output: a copy of the descriptor of standard output, None if there is none."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    advice = "; the same command resumes" if words and words[0] in run.VERBS else ""
    try:
        code = int(app(args=words, standalone_mode=False) or 0)
    except typer.TyperException as error:
        describe = getattr(error, "format_message", error.__str__)  # str alone names no option
        say(f"headscope: {describe().replace('Value error, ', '')}", error=True)  # pydantic's prefix
        return 2
    except (InputError, MachineError) as error:
        for sentence in error.sentences if isinstance(error, ManyInputsError) else (error,):
            say(f"headscope: {sentence}", error=True)
        return 1 if isinstance(error, MachineError) else 2
    except (KeyboardInterrupt, typer.Abort):
        code = INTERRUPTED
    except SystemExit as end:  # typer's own
        if isinstance(end.__context__, OSError) and end.__context__.errno == errno.EPIPE:
            if not _has_no_reader(output):  # a pipe to another process broke
                raise end.__context__ from None
            return OUTPUT_CLOSED
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except Exception as error:
        # Without a file's name it is no file of the user's, and the traceback is needed.
        if isinstance(error, OSError) and error.errno in _REFUSED and error.filename is not None:
            say(f"headscope: {error.filename} cannot be written or read ({error.strerror}){advice}", error=True)
            return 2
        if not is_disk_full(error):
            raise
        say(f"headscope: a disk is full ({error}); free some space{advice}", error=True)
        return 1
    if code == INTERRUPTED:  # typer makes an exit code of Ctrl-C
        say(f"headscope: interrupted{advice}", error=True)
    return code


@contextmanager
def _copy_of_output() -> Iterator[int | None]:
    """Yield a second descriptor of what standard output goes to; None if it is closed.

    Once a write has failed, rich points the first one to /dev/null, and nothing tells any more that its reader left.
    """
    try:
        copy = os.dup(sys.__stdout__.fileno() if sys.__stdout__ else -1)
    except (OSError, ValueError):
        yield None
        return
    try:
        yield copy
    finally:
        os.close(copy)


def _has_no_reader(output: int | None) -> bool:
    """Return whether whoever read what this descriptor writes has closed it."""
    if output is None:
        return True
    poll = select.poll()
    poll.register(output, select.POLLERR)
    return bool(poll.poll(0))


def console() -> None:
    """Run the command line as the console script."""
    code = main()
    try:
        sys.stdout.flush()  # at the end of the process it would be too late to answer for
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = code or OUTPUT_CLOSED
    sys.exit(code)
