"""Measure how the source reads: sizes, comments, comprehensions, `Any`, and names that say nothing.

    python benchmarks/language.py [FOLDER ...]

Prints one Markdown column per folder (default ``src``), so that two states, or two projects, can be held side by side.
Code lines are lines with a token of code on them: no blank lines, comments or docstrings.
"""

import argparse
import ast
import io
import re
import statistics
import tokenize
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

VAGUE = frozenset(
    ["about", "alike", "beside", "both", "done", "each", "every", "found", "given", "how", "known", "kept", "made", "meant", "much", "one", "ones", "other", "others", "own", "said", "seen", "shown", "some", "such", "taken", "thing", "things", "told", "two", "used", "wanted", "what", "where", "which"]
)
"""Words that name a variable's grammar and not its thing."""
FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
COMPREHENSIONS = ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
UNPACKED = re.compile(r"^\s*\w+(, \w+)+ = \(.* for ")


@dataclass
class Measured:
    """Counts over a tree of Python files."""

    modules: int = 0
    lines: int = 0
    code_lines: int = 0
    comment_lines: int = 0
    characters: int = 0
    anys: int = 0
    comprehensions: int = 0
    unpacked_generators: int = 0
    functions: int = 0
    participles: int = 0
    longest_function: int = 0
    most_arguments: int = 0
    undocumented: int = 0
    module_lines: list[int] = field(default_factory=list)
    vague: Counter[str] = field(default_factory=Counter)
    bindings: int = 0
    participle_names: list[str] = field(default_factory=list)


def measure(folder: Path) -> Measured:
    """Count over all Python files below ``folder``."""
    total = Measured()
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        _count_lines(text, tree, total)
        _count_nodes(tree, total)
    return total


def _count_lines(text: str, tree: ast.Module, total: Measured) -> None:
    documented = {line for span in _docstrings(tree) for line in span}
    code: set[int] = set()
    comments: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            if not token.string.startswith(("# noqa", "# type:")):
                comments.add(token.start[0])
        elif token.string.strip() and token.type != tokenize.ENDMARKER:
            code |= {line for line in range(token.start[0], token.end[0] + 1) if line not in documented}
    lines = text.splitlines()
    total.modules += 1
    total.lines += len(lines)
    total.module_lines.append(len(lines))
    total.code_lines += len(code)
    total.comment_lines += len(comments)
    total.characters += sum(len(lines[line - 1].strip()) for line in code)
    total.unpacked_generators += sum(bool(UNPACKED.match(line)) for line in lines)


def _docstrings(tree: ast.Module) -> Iterator[range]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _count_nodes(tree: ast.Module, total: Measured) -> None:
    total.undocumented += ast.get_docstring(tree) is None
    for node in ast.walk(tree):
        if isinstance(node, COMPREHENSIONS):
            total.comprehensions += 1
        elif isinstance(node, ast.Name) and node.id == "Any" and isinstance(node.ctx, ast.Load):
            total.anys += 1
        if isinstance(node, FUNCTIONS):
            _count_function(node, total)
        for name in _bound(node):
            total.bindings += 1
            if name in VAGUE:
                total.vague[name] += 1


def _count_function(node: ast.FunctionDef | ast.AsyncFunctionDef, total: Measured) -> None:
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    names = [argument.arg for argument in arguments if argument.arg not in ("self", "cls")]
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    total.functions += 1
    total.longest_function = max(total.longest_function, length)
    total.most_arguments = max(total.most_arguments, len(names))
    is_property = any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
    if re.fullmatch(r"_?[a-z]+(ed|en|ing)", node.name) and not is_property:
        total.participles += 1
        total.participle_names.append(node.name)


def _bound(node: ast.AST) -> Iterator[str]:
    """Names a node binds: assigned variables, loop variables, arguments."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        yield node.id
    elif isinstance(node, ast.arg) and node.arg not in ("self", "cls"):
        yield node.arg


def rows(total: Measured) -> dict[str, str]:
    """The figures of one tree, formatted."""
    thousand = total.lines / 1000
    vague = sum(total.vague.values())
    return {
        "modules": f"{total.modules}",
        "lines": f"{total.lines:,}",
        "code lines": f"{total.code_lines:,}",
        "median module, lines": f"{statistics.median(total.module_lines):.0f}",
        "longest module, lines": f"{max(total.module_lines)}",
        "longest function, lines": f"{total.longest_function}",
        "most arguments": f"{total.most_arguments}",
        "modules without a docstring": f"{total.undocumented}",
        "comment lines": f"{total.comment_lines / total.lines:.1%}",
        "characters per code line": f"{total.characters / total.code_lines:.1f}",
        "comprehensions per 1,000 lines": f"{total.comprehensions / thousand:.1f}",
        "generators unpacked into names": f"{total.unpacked_generators}",
        "`Any` per 1,000 lines": f"{total.anys / thousand:.1f}",
        "vague variable names": f"{vague / total.bindings:.1%} ({', '.join(w for w, _ in total.vague.most_common(6))})",
        "functions named by a participle": f"{total.participles / total.functions:.1%}",
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("src")])
    parser.add_argument("--names", action="store_true", help="also list what is counted as vague or a participle")
    arguments = parser.parse_args()
    totals = {str(folder): measure(folder) for folder in arguments.folders}
    columns = {name: rows(total) for name, total in totals.items()}
    print(f"| | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    for label in next(iter(columns.values())):
        print(f"| {label} | {' | '.join(column[label] for column in columns.values())} |")
    if arguments.names:
        for name, total in totals.items():
            print(f"\n{name}: {dict(total.vague.most_common())}\n{sorted(set(total.participle_names))}")


if __name__ == "__main__":
    main()
