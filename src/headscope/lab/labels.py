"""Exact step labels: what every token of a response should have been, and which tokens of the context determine it.

A response to a register chain follows one course: unwind from the query to the leaf, fold back, answer. ``label`` walks
a response, the teacher's or a model's, along it. A wrong result is carried on, as the model carries it on; a token
that leaves the course (another variable, a missing sign) is the last one labelled.
"""

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import Literal

from headscope.lab import chains

Slot = Literal["marker", "opener", "wait", "target", "operand", "operator", "digit", "fact", "sign", "result", "answer"]

OPENERS, WAIT = ("okay", "to"), "wait"
PROMPT_AT = 2  # the lab's chat template puts two tokens before the prompt and three between prompt and response
BETWEEN = 3
SYMBOL = re.compile(r"<\|im_start\|>|<\|im_end\|>|</?think>|<ans>|user|assistant|okay|wait|to|[ER]\d+|\S")
# A symbol of these slots may be wrong and the course still be followed.
_CARRIED = ("operand", "operator", "digit", "fact", "result", "answer")


@dataclass(frozen=True, slots=True)
class TokenLabel:
    """One token of a response. All positions count tokens of the rendered conversation, from 0.

    position: of the token.
    symbol: what the response has there.
    expected: what a flawless reasoner writes here after everything written so far.
    slot: what the token is in its statement.
    definition: position at which the prompt defines the variable this statement is about; None outside statements.
    operands: positions of what determines the token: the one it copies, or the three a result is computed from.
    previous: position of the result of the step before, which a fold starts from; None outside folds.
    """

    position: int
    symbol: str
    expected: str
    slot: Slot
    definition: int | None = None
    operands: tuple[int, ...] = ()
    previous: int | None = None

    @property
    def right(self) -> bool:
        """Return whether the token is the expected one."""
        return self.symbol == self.expected


@dataclass(frozen=True, slots=True)
class _Expected:
    """Statement that the course expects next, with the fields of the label.

    also: symbols that are allowed here too, and no mistake.
    """

    symbol: str
    slot: Slot
    definition: int | None = None
    operands: tuple[int, ...] = ()
    previous: int | None = None
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Definition:
    """A definition as tokens of the prompt, without its semicolon. at: position of the first one."""

    at: int
    symbols: tuple[str, ...]

    @property
    def operand(self) -> str:
        """Return the variable it is computed from; empty for a leaf."""
        return self.symbols[2] if len(self.symbols) == 5 else ""


# A course is a coroutine: it yields what it expects and is sent the position and symbol that were written instead, so
# that it can go on from a wrong result. A part of a course returns the last token that carries its result.
_Written = tuple[int, str]
_Course = Generator[_Expected, _Written, None]
_Part = Generator[_Expected, _Written, _Written]


def symbols(text: str) -> list[str]:
    """Cut a text as the lab's tokenizer does, one symbol per token."""
    return SYMBOL.findall(text)


def label(prompt: str, response: str) -> tuple[TokenLabel, ...]:
    """Label a response's tokens, up to the first that leaves the course."""
    problem = symbols(prompt)
    course = _expect_fact(problem) if problem[-1] == "?" else _expect_reasoning(*_read_problem(problem))
    labels: list[TokenLabel] = []
    expected = next(course)
    for position, symbol in enumerate(symbols(response), PROMPT_AT + len(problem) + BETWEEN):
        labels.append(_label_token(position, symbol, expected))
        if not labels[-1].right and expected.slot not in _CARRIED:
            break  # what comes after such a token cannot be told right from wrong
        try:
            expected = course.send((position, symbol))
        except StopIteration:
            break
    return tuple(labels)


def path_length(prompt: str) -> int:
    """Count the definitions from the queried variable to its leaf; 1 for a fact."""
    problem = symbols(prompt)
    return 1 if problem[-1] == "?" else len(_read_problem(problem)[0])


def _label_token(position: int, symbol: str, expected: _Expected) -> TokenLabel:
    if symbol in expected.also:
        slot: Slot = "marker"
        if symbol in OPENERS:
            slot = "opener"
        elif symbol == WAIT:
            slot = "wait"
        return TokenLabel(position, symbol, symbol, slot)
    return TokenLabel(
        position, symbol, expected.symbol, expected.slot, expected.definition, expected.operands, expected.previous
    )


def _read_problem(problem: list[str]) -> tuple[list[_Definition], int]:
    """Return the definitions on the path, from the queried variable to the leaf, and the answer."""
    definitions: dict[str, _Definition] = {}
    start = 0
    for index, symbol in enumerate(problem):
        if symbol == ";":
            definitions[problem[start]] = _Definition(PROMPT_AT + start, tuple(problem[start:index]))
            start = index + 1
    path = [definitions[problem[-1]]]
    while path[-1].operand:
        path.append(definitions[path[-1].operand])
    value = _leaf_value(path[-1])
    for step in reversed(path[:-1]):
        value = chains.apply(step.symbols[3], value, int(step.symbols[4]))
    return path, value


def _leaf_value(leaf: _Definition) -> int:
    source = leaf.symbols[2:]
    return int(source[0]) if len(source) == 1 else chains.fact(int(source[0][1:]), int(source[1][1:]))


def _expect_fact(problem: list[str]) -> _Course:
    """Expect a fact, which is answered without thinking."""
    value = chains.fact(int(problem[0][1:]), int(problem[1][1:]))
    yield _Expected("<think>", "marker")
    yield _Expected("</think>", "marker")
    yield from _expect_answer(str(value), (PROMPT_AT, PROMPT_AT + 1))


def _expect_reasoning(path: list[_Definition], answer: int) -> _Course:
    """Expect a register chain, thought about or answered at once."""
    yield _Expected("<think>", "marker")
    first = path[0]
    _, symbol = yield _Expected(first.symbols[0], "target", first.at, (first.at,), also=(*OPENERS, "</think>"))
    if symbol == "</think>":
        yield from _expect_answer(str(answer), tuple(step.at for step in path))
        return
    if symbol in OPENERS:
        _, symbol = yield _Expected(first.symbols[0], "target", first.at, (first.at,))
    written = yield from _expect_definition(first)
    for step in path[1:]:
        yield _Expected(step.symbols[0], "target", step.at, (step.at,))
        written = yield from _expect_definition(step)
    if len(path[-1].symbols) == 4:
        yield _Expected(path[-1].symbols[0], "target", path[-1].at, (path[-1].at,))
        written = yield from _expect_fact_value(path[-1])
    yield from _expect_folds(path, written)


def _expect_folds(path: list[_Definition], previous: _Written) -> _Course:
    """Expect the folds from the leaf's value back to the query's, each perhaps checked again, and the answer."""
    folded: _Definition | None = None
    before = previous  # what the last fold started from, and what a re-check of it starts from again
    for step in [*reversed(path[:-1]), None]:
        closing = "</think>" if step is None else step.symbols[0]
        while True:
            also = () if folded is None else (WAIT,)
            expected = _Expected(closing, "marker", also=also)
            if step is not None:
                expected = _Expected(closing, "target", step.at, (step.at,), previous[0], also)
            _, symbol = yield expected
            if folded is None or symbol != WAIT:
                break
            yield _Expected(folded.symbols[0], "target", folded.at, (folded.at,), before[0])
            previous = yield from _expect_fold(folded, before)
        if step is None:
            break
        folded = step
        before = previous
        previous = yield from _expect_fold(step, before)
    yield from _expect_answer(previous[1], (previous[0],))


def _expect_definition(step: _Definition) -> _Part:
    """Expect the rest of a definition as the prompt has it; return its last token before the semicolon."""
    slots: tuple[Slot, ...] = ("target", "sign", "operand", "operator", "digit")
    if len(step.symbols) < 5:
        slots = ("target", "sign", "digit") if len(step.symbols) == 3 else ("target", "sign", "fact", "fact")
    written: _Written = (step.at, step.symbols[0])
    for index in range(1, len(step.symbols)):
        written = yield _Expected(step.symbols[index], slots[index], step.at, (step.at + index,))
    yield _Expected(";", "sign", step.at)
    return written


def _expect_fact_value(leaf: _Definition) -> _Part:
    """Expect the rest of ``a=6;``, the value of a fact; return the value's token."""
    yield _Expected("=", "sign", leaf.at)
    value = str(_leaf_value(leaf))
    written = yield _Expected(value, "result", leaf.at, (leaf.at + 2, leaf.at + 3))
    yield _Expected(";", "sign", leaf.at)
    return written


def _expect_fold(step: _Definition, before: _Written) -> _Part:
    """Expect the rest of ``j=4*4=6;``; return the result's token.

    The result is computed from what was written, right or wrong.
    """
    yield _Expected("=", "sign", step.at, previous=before[0])
    left = yield _Expected(before[1], "operand", step.at, (before[0],), before[0])
    operator = yield _Expected(step.symbols[3], "operator", step.at, (step.at + 3,), before[0])
    right = yield _Expected(step.symbols[4], "digit", step.at, (step.at + 4,), before[0])
    yield _Expected("=", "sign", step.at, previous=before[0])
    operands = (left[0], operator[0], right[0])
    result = _compute(left[1], operator[1], right[1])
    written = yield _Expected(result, "result", step.at, operands, before[0])
    yield _Expected(";", "sign", step.at, previous=before[0])
    return written


def _compute(left: str, operator: str, right: str) -> str:
    """Return the result mod 10; "", which no symbol equals, if these are no digits around an operator."""
    if left.isdigit() and right.isdigit() and operator in chains.ARITHMETIC:
        return str(chains.apply(operator, int(left), int(right)))
    return ""


def _expect_answer(value: str, operands: tuple[int, ...]) -> _Course:
    yield _Expected("<ans>", "marker")
    yield _Expected(value, "answer", operands=operands)
    yield _Expected("<|im_end|>", "marker")
