"""Judge every statement of a lab response by what it was given, so that one slip does not hide the next.

1. A response is cut into statements at its semicolons. Words that belong to none (``xyz`` in ``xyz j=4*4=6;``) are an
   error of form, and the statement after them is read all the same.
2. Every statement is one of four: a *definition* ``j=c*4;`` copied from the prompt, a *leaf* ``c=4;`` or ``c=E17R2;``,
   a *value* ``c=6;`` of a fact, a *fold* ``j=4*4=6;``. A fold after ``wait`` is a *re-check*. The *answer* comes last.
3. It is judged by a table of what was written before it: the definitions as they were copied and the last value of
   every variable. Whoever carries a wrong value on makes no second error.

Kinds of error, the first that applies:

- *form*: not one of these statements;
- *undefined variable*: about a variable that the prompt does not define;
- *plan*: a variable off the path from the query to its leaf, or out of order, or a step is missing before it;
- *retrieval*: a definition is not as in the prompt, or a fold's operator or digit is neither as copied nor as in the
  prompt;
- *recall*: a wrong value of a fact;
- *iteration*: a fold's operand is not the last value written for its source;
- *calculation*: a fold's result does not follow from its operands, mod 10;
- *answer copy*: the answer is not the last value written for the queried variable. An answer without a thought is none.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from headscope.lab import chains
from headscope.lab.labels import OPENERS, SYMBOL, WAIT, symbols
from headscope.traces.steps import Change, Part, Step

Slip = Literal[
    "", "form", "undefined variable", "plan", "retrieval", "recall", "iteration", "calculation", "answer copy"
]
Kind = Literal["definition", "leaf", "value", "fold", "answer", "end", "other"]

_SHAPES: tuple[tuple[Kind, str], ...] = (
    ("fold", "v=d#d=d"),
    ("definition", "v=v#d"),
    ("leaf", "v=ER"),
    ("leaf", "v=d"),
)
_LETTERS = re.compile(r"[a-p]"), re.compile(r"\d"), re.compile(r"E\d+"), re.compile(r"R\d+"), re.compile(r"[-+*]")


@dataclass(frozen=True, slots=True)
class _Token:
    """One symbol of the response: its index, which is its token's, and its characters."""

    index: int
    symbol: str
    start: int
    end: int


@dataclass
class _Problem:
    """Contents of a prompt: definitions by variable as symbols after the ``=``, and the path from query to leaf."""

    definitions: dict[str, tuple[str, ...]]
    path: list[str]

    @classmethod
    def read(cls, prompt: str) -> "_Problem":
        """Return the definitions and the path of a register chain."""
        definitions = {}
        for statement in " ".join(symbols(prompt)).split(";")[:-1]:
            target, _, *parts = statement.split()
            definitions[target] = tuple(parts)
        path = [symbols(prompt)[-1]]
        while len(definitions[path[-1]]) == 3:
            path.append(definitions[path[-1]][0])
        return cls(definitions, path)

    def source(self, variable: str) -> str:
        """Return the variable that another one is computed from; empty for a leaf."""
        definition = self.definitions[variable]
        return definition[0] if len(definition) == 3 else ""


@dataclass
class _State:
    """Values and lines that were written so far.

    copied: definitions as the response has them. values: the last value of every variable.
    folded: the last fold's variable. folding: whether the way back from the leaf has begun.
    place: index on the path of the variable that is due. unsure: the last statement may have been any, so that the one
        after the due one is accepted too.
    followed: per variable whether its last value followed from what it was given.
    """

    problem: _Problem
    copied: dict[str, tuple[str, ...]] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    followed: dict[str, bool] = field(default_factory=dict)
    folded: str = ""
    folding: bool = False
    place: int = 0
    unsure: bool = False
    last_value: str = ""


def judge(prompt: str, response: str) -> tuple[Step, ...]:
    """Return the statements of a response to a lab problem, judged, and its answer.

    Character and token positions count from the response's first. A response that ends before its answer has no answer
    step; what is missing is no error of it.
    """
    tokens = [
        _Token(index, match[0], match.start(), match.end()) for index, match in enumerate(SYMBOL.finditer(response))
    ]
    thought, answer, closed = _split_parts(tokens)
    if symbols(prompt)[-1] == "?":
        return tuple(_judge_fact(prompt, thought, answer))
    state = _State(_Problem.read(prompt))
    steps = []
    for statement in _statements(thought, closed):
        steps += _judge_statement(state, statement)
    if closed and thought and (missing := _missing_end(state, tokens[thought[-1].index + 1])):
        steps.append(missing)
    return (*_mark_repaired(steps, response), *_judge_answer(state, answer, thought_through=bool(thought)))


def is_lab_prompt(prompt: str) -> bool:
    """Return whether a prompt is a register chain or a fact, so that its answers can be judged."""
    names = symbols(prompt)
    if "".join(names) != "".join(prompt.split()) or len(names) < 3:
        return False
    if names[-1] == "?":
        return _is_fact(tuple(names[:-1])) and all(name[0] in "ER" for name in names[:-1])
    try:
        _Problem.read(prompt)
    except (KeyError, ValueError, IndexError):
        return False
    return names[-2] == "?"


def _mark_repaired(steps: list[Step], response: str) -> list[Step]:
    """Mark the slips that a later re-check of the same variable puts right."""
    marked = []
    put_right: set[str] = set()
    for step in reversed(steps):
        variable = response[step.start : step.end].removeprefix(WAIT).lstrip()[:1]
        if step.slip and variable in put_right:
            step = replace(step, repaired=True)
        if step.recheck and not step.slip:
            put_right.add(variable)
        marked.append(step)
    return marked[::-1]


def _split_parts(tokens: list[_Token]) -> tuple[list[_Token], list[_Token], bool]:
    """Return the tokens of the thought and of the answer, without markers, and whether the thought was closed."""
    names = [token.symbol for token in tokens]
    closed = "</think>" in names
    end = names.index("</think>") if closed else len(tokens)
    thought = [token for token in tokens[:end] if token.symbol != "<think>"]
    answer = [token for token in tokens[end + 1 :] if token.symbol != "<|im_end|>"]
    return thought, answer, closed


def _statements(thought: list[_Token], closed: bool) -> Iterator[list[_Token]]:
    """Cut at the semicolons; what an unclosed thought breaks off in is no statement."""
    statement: list[_Token] = []
    for token in thought:
        statement.append(token)
        if token.symbol == ";":
            yield statement
            statement = []
    if statement and closed:
        yield statement


def _judge_statement(state: _State, tokens: list[_Token]) -> list[Step]:
    """Return the statement's step, before it one for words that belong to none."""
    body = list(tokens)
    if body[0].symbol in OPENERS and not state.copied and not state.folding:
        body = body[1:]
    for start in range(len(body)):
        recheck = body[start].symbol == WAIT
        kind, shape = _kind(body[start + recheck :])
        if kind == "other":
            continue
        step = _step(body[start:], kind, recheck)
        statement = [token.symbol for token in body[start + recheck :]]
        if start:  # what stands before it may have been a statement of its own
            state.unsure = True
            slip, change = _judge_content(state, kind, statement, recheck)
            judged = _judged(state, step, "", change, statement, shape)
            return [replace(_step(body[:start], "other"), slip="form"), judged]
        slip, change = _judge_content(state, kind, statement, recheck)
        return [_judged(state, step, slip, change, statement, shape)]
    state.unsure = True
    return [replace(_step(tokens, "other"), slip="form")]


def _judged(state: _State, step: Step, slip: Slip, change: Change, statement: Sequence[str], shape: str) -> Step:
    value = statement[-2] if shape in ("v=d#d=d", "v=d") else ""
    answers = bool(value) and statement[0] == state.problem.path[0]
    return replace(step, slip=slip, change=change, value=value, answers=answers)


def _kind(tokens: Sequence[_Token]) -> tuple[Kind, str]:
    """Return what a statement is by its symbols, ``other`` if it is none."""
    written = "".join(_letter(token.symbol) for token in tokens)
    for kind, shape in _SHAPES:
        if written == shape + ";":
            return kind, shape
    return "other", ""


def _letter(symbol: str) -> str:
    """Return the letter that a symbol has in ``_SHAPES``."""
    for letter, pattern in zip("vdER#", _LETTERS, strict=True):
        if pattern.fullmatch(symbol):
            return letter
    return symbol if symbol in "=;" else "?"


def _judge_content(state: _State, kind: Kind, statement: list[str], recheck: bool) -> tuple[Slip, Change]:
    """Return the first kind of error that applies and a re-check's change, and note what was written."""
    target = statement[0]
    unsure, state.unsure = state.unsure, False
    if target not in state.problem.definitions:
        state.unsure = True
        if kind == "fold":
            state.last_value = statement[-2]
        return "undefined variable", ""
    if kind == "fold":
        return _judge_fold(state, statement, recheck, unsure)
    if recheck:
        return "form", ""
    return _judge_definition(state, statement, unsure), ""


def _judge_definition(state: _State, statement: list[str], unsure: bool) -> Slip:
    """Judge a definition, a leaf or a fact's value, on the way from the query to the leaf."""
    target, written = statement[0], tuple(statement[2:-1])
    definition = state.problem.definitions[target]
    if _is_fact(definition) and len(written) == 1 and (target in state.copied or unsure):
        state.values[target] = state.last_value = written[0]
        state.followed[target] = written[0] == str(chains.fact(*_fact(definition)))
        return "" if state.followed[target] else "recall"
    planned = _take_place(state, target, unsure)
    state.copied[target] = written
    if len(written) == 1:
        state.values[target] = state.last_value = written[0]
        state.followed[target] = True
    if not planned:
        return "plan"
    return "" if written == definition else "retrieval"


def _take_place(state: _State, target: str, unsure: bool) -> bool:
    """Return whether a definition is due, and move on to the one after it."""
    path, place = state.problem.path, state.place
    copied_source = [written[0] for written in list(state.copied.values())[-1:] if len(written) == 3]
    due = path[place : place + 1 + unsure] + copied_source
    if target in path[place:]:
        state.place = path.index(target, place) + 1
    elif target not in due:
        state.unsure = True  # it may stand for the one that was due
    else:
        state.place = place + 1  # a wrong source was copied, and is followed
    return not state.folding and target in due


def _judge_fold(state: _State, statement: list[str], recheck: bool, unsure: bool) -> tuple[Slip, Change]:
    """Judge a fold or the re-check of the last one."""
    target, _, left, operator, right, _, result, _ = statement  # ``j=4*4=6;``
    planned = _take_fold(state, target, recheck, unsure)
    followed = str(chains.apply(operator, int(left), int(right))) == result
    change: Change = ""
    if recheck:
        before = "right" if state.followed.get(target, True) else "wrong"
        change = f"{before}→{'right' if followed else 'wrong'}"  # type: ignore[assignment]
    slip: Slip = ""
    if not planned:
        slip = "plan"
    elif not _is_known(state, target, operator, right):
        slip = "retrieval"
    elif not _carries_value(state, target, left, unsure):
        slip = "iteration"
    elif not followed:
        slip = "calculation"
    state.values[target] = state.last_value = result
    state.followed[target] = followed
    state.folded = target
    return slip, change


def _take_fold(state: _State, target: str, recheck: bool, unsure: bool) -> bool:
    """Return whether a fold is due, and move on to the one after it."""
    path = state.problem.path
    if recheck:
        return target == state.folded or unsure
    complete = state.folding or unsure or state.place >= len(path)
    if not state.folding:
        state.folding, state.place = True, len(path) - 2
    place = min(state.place, len(path) - 1)  # a definition among the folds may have moved it beyond the leaf
    due = [path[place] for place in range(place, max(place - 1 - unsure, -1), -1)]
    planned = complete and (target in due or (unsure and target == state.folded))
    if target in path[: state.place + 1]:
        state.place = path.index(target) - 1
    elif target != state.folded:
        state.unsure = True  # it may stand for the one that was due
    return planned


def _is_known(state: _State, target: str, operator: str, digit: str) -> bool:
    """Return whether operator and digit are those of the definition, as copied or as in the prompt."""
    known = [state.problem.definitions[target], state.copied.get(target, ())]
    return any(definition[1:] == (operator, digit) for definition in known if len(definition) == 3)


def _carries_value(state: _State, target: str, operand: str, unsure: bool) -> bool:
    """Return whether the operand is the last value written for the source, as copied or as in the prompt."""
    sources = {state.problem.source(target)}
    if len(copied := state.copied.get(target, ())) == 3:
        sources.add(copied[0])
    values = {state.values[source] for source in sources if source in state.values}
    # No value was written for it if its statement was about another variable; that one's is carried on all the same.
    return operand in values or (not values and (unsure or operand == state.last_value))


def _missing_end(state: _State, marker: _Token) -> Step | None:
    """Return the error of closing the thought before the query's own fold; None if nothing is missing."""
    path = state.problem.path
    finished = path[0] in state.values if len(path) == 1 else state.folded == path[0]
    if finished or state.unsure:
        return None
    return replace(_step([marker], "end"), slip="plan")


def _judge_answer(state: _State, answer: list[_Token], *, thought_through: bool) -> list[Step]:
    names = [token.symbol for token in answer]
    if not names or names[0] != "<ans>" or len(names) < 2:
        return [replace(_step(answer, "answer", part="answer"), slip="form")] if names else []
    query = state.problem.path[0]
    # Answered at once, there was nothing to copy from, and no step that could be wrong.
    expected = state.values.get(query, state.last_value) if thought_through else names[1]
    slip = _answer_slip(names, expected, "answer copy")
    return [replace(_step(answer, "answer", part="answer"), slip=slip, value=names[1], answers=True)]


def _judge_fact(prompt: str, thought: list[_Token], answer: list[_Token]) -> Iterator[Step]:
    """Judge the answer to a fact, which is recalled without thinking."""
    if thought:
        yield replace(_step(thought, "other"), slip="form")
    names = [token.symbol for token in answer]
    if len(names) < 2 or names[0] != "<ans>":
        if names:
            yield replace(_step(answer, "answer", part="answer"), slip="form")
        return
    right = str(chains.fact(*_fact(tuple(symbols(prompt)[:2]))))
    slip = _answer_slip(names, right, "recall")
    yield replace(_step(answer, "answer", part="answer"), slip=slip, value=names[1], answers=True)


def _answer_slip(names: list[str], expected: str, slip: Slip) -> Slip:
    """Return the error of an answer's symbols, ``<ans>`` and a digit; ``slip`` if it is another than the expected."""
    if len(names) > 2 or not names[1].isdigit():
        return "form"
    return "" if names[1] == expected else slip


def _is_fact(definition: tuple[str, ...]) -> bool:
    return len(definition) == 2


def _fact(definition: tuple[str, ...]) -> tuple[int, int]:
    return int(definition[0][1:]), int(definition[1][1:])


def _step(tokens: Sequence[_Token], kind: Kind, recheck: bool = False, part: Part = "thinking") -> Step:
    first, last = tokens[0], tokens[-1]
    return Step(part, first.start, last.end, first.index, last.index + 1, kind, recheck)
