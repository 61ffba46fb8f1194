"""LaTeX of tables and captions, for booktabs: whatever a name holds is printed as text."""

import unicodedata

from headscope.plain_text import plain_line
from headscope.results.table import Table, display_text

_COMMANDS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    # A row that begins with a bracket would hand it to the \\ before it.
    "[": "{[}",
    "]": "{]}",
    "−": r"\ensuremath{-}",
    "–": "--",
    "×": r"\ensuremath{\times}",
    "±": r"\ensuremath{\pm}",
    "≤": r"\ensuremath{\le}",
    "≥": r"\ensuremath{\ge}",
    "α": r"\ensuremath{\alpha}",
    "Δ": r"\ensuremath{\Delta}",
    "→": r"\ensuremath{\rightarrow}",
    "∞": r"\ensuremath{\infty}",
    "…": r"\ldots{}",
    "†": r"\textdagger{}",
}


_WRAPPED = r">{\raggedright\arraybackslash}X"
_MOST_CHARACTERS = 80
"""Of all columns but the last, at \\small on a page with two columns; the last needs as much as a score."""


def escape_latex(text: str) -> str:
    r"""Return text as LaTeX prints it: one line, in which no character commands, comments or ends anything.

    >>> escape_latex("a_b%$\\input{/etc/passwd}")
    'a\\_b\\%\\$\\textbackslash{}input\\{/etc/passwd\\}'
    """
    # Characters that format text, such as those that turn its direction, are unknown to LaTeX.
    characters = [character for character in plain_line(text) if unicodedata.category(character) != "Cf"]
    return "".join(_COMMANDS.get(character, character) for character in characters)


def latex_table(table: Table, label: str) -> str:
    """Return a ``table*`` environment for booktabs; the last column wraps, as it may hold a list.

    If the others take most of the page's width, all columns wrap, and the text is smaller.
    """
    is_wide = _width(table) > _MOST_CHARACTERS
    columns = _WRAPPED * len(table.columns) if is_wide else "l" * (len(table.columns) - 1) + _WRAPPED
    size = r"\footnotesize\setlength{\tabcolsep}{3pt}" if is_wide else r"\small"
    lines = [" & ".join(escape_latex(column) for column in table.columns), r"\midrule"]
    lines[0] += r" \\"
    lines += [" & ".join(escape_latex(display_text(value)) for value in row.values()) + r" \\" for row in table.rows]
    body = "\n".join(lines)
    return (
        "% \\usepackage{booktabs,tabularx}\n"
        f"\\begin{{table*}}\n\\centering{size}\n"
        f"\\caption{{{escape_latex(table.caption)}}}\n\\label{{tab:{label}}}\n"
        f"\\begin{{tabularx}}{{\\textwidth}}{{{columns}}}\n\\toprule\n{body}\n\\bottomrule\n"
        "\\end{tabularx}\n\\end{table*}\n"
    )


def _width(table: Table) -> int:
    """Return the characters across a table whose last column wraps."""
    cells = [[column, *(display_text(row[column]) for row in table.rows)] for column in table.columns[:-1]]
    return sum(max(map(len, column)) + 3 for column in cells)


def latex_figure(stem: str, caption: str, *, wide: bool) -> str:
    """Return a figure environment that includes ``stem``.pdf, as wide as the page or one column."""
    environment, width = ("figure*", r"\textwidth") if wide else ("figure", r"\columnwidth")
    return (
        f"% \\usepackage{{graphicx}}\n\\begin{{{environment}}}\n\\centering\n"
        f"\\includegraphics[width={width}]{{{stem}.pdf}}\n"
        f"\\caption{{{escape_latex(caption)}}}\n\\label{{fig:{stem}}}\n\\end{{{environment}}}\n"
    )
