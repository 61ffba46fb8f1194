"""The one way to the terminal: whatever a model, a file or a study called itself, it cannot control it."""

import sys

from headscope.plain_text import escape_controls, plain_line


def say(line: object = "", *, error: bool = False) -> None:
    """Print one line, on standard error if ``error``."""
    print(plain_line(str(line)), file=sys.stderr if error else sys.stdout, flush=error)


def say_text(text: str) -> None:
    """Print a text of several lines."""
    for line in text.split("\n"):
        say(line)


def say_json(text: str) -> None:
    """Print JSON, whose values stay the same."""
    print(escape_controls(text))
