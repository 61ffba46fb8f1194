"""Answers next to each other in columns, or one after the other if the terminal is narrow."""

import shutil
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from rich.cells import cell_len, chop_cells

from headscope.plain_text import plain_text

NARROWEST = 36
"""Characters of a column with text."""
GAP = " │ "
GUTTER = 4
"""Characters before the text, for the icons of marks."""

Line = tuple[str, str, str]
"""Icons, text, and a note that follows it in brackets."""


def width_of_terminal() -> int:
    """Return the characters of a line; 100 if the output is no terminal."""
    return shutil.get_terminal_size((100, 24)).columns


def side_by_side(blocks: Sequence[tuple[str, Sequence[Line]]], width: int) -> str:
    """Return blocks of a title and lines as one text of at most ``width`` characters per line."""
    column = (width - len(GAP) * (len(blocks) - 1)) // max(1, len(blocks))
    if column < NARROWEST:
        return "\n\n".join("\n".join(_column(title, lines, width)) for title, lines in blocks)
    height = max(len(list(_wrap(title, column))) for title, _ in blocks)
    columns = [list(_column(title, lines, column, height)) for title, lines in blocks]
    rows = zip_longest(*columns, fillvalue="")
    return "\n".join(GAP.join(_pad(cell, column) for cell in row).rstrip() for row in rows)


def _column(title: str, lines: Sequence[Line], width: int, height: int = 1) -> Iterator[str]:
    """Yield the lines of one block; its title takes at least ``height``."""
    heading = list(_wrap(title, width))
    yield from heading + [""] * (height - len(heading))
    yield "─" * width
    for icons, text, note in lines:
        whole = f"{text} [{note}]" if note else text
        for number, line in enumerate(_wrap(whole.strip(), width - GUTTER)):
            gutter = icons if number == 0 else ""
            yield (_pad(gutter, GUTTER) + line).rstrip()


def _pad(text: str, width: int) -> str:
    return text + " " * (width - cell_len(text))


def _wrap(text: str, width: int) -> Iterator[str]:
    """Yield lines of at most ``width`` characters, broken at spaces if there are any."""
    width = max(8, width)
    for paragraph in plain_text(text).expandtabs(4).split("\n"):
        line = ""
        for word in paragraph.split(" "):
            joined = f"{line} {word}" if line else word
            if cell_len(joined) <= width:
                line = joined
                continue
            if line:
                yield line
            *whole, line = chop_cells(word, width) or [""]
            yield from whole
        yield line
