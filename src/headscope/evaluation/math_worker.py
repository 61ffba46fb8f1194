"""The process that runs math-verify: one JSON line in, one JSON line out. Run as a script; it imports nothing
of headscope.

An answer of ten characters can make SymPy compute for ever or fill the memory, at times inside C code that no signal
interrupts. So it runs here, under an address-space limit and an alarm, and the parent kills it when even that fails.

    in:   {"gold": LaTeX, "answer": LaTeX}
    out:  {"equal": bool, "parsed": bool, "gold_parsed": bool}   or   {"exhausted": true}

The first line written is {"ready": true}. The process ends with its standard input, so it never outlives its parent.
"""

import json
import logging
import resource
import signal
import sys
from cmath import isfinite
from collections.abc import Sequence
from functools import lru_cache
from itertools import product
from types import FrameType
from zlib import crc32

from math_verify import parse, verify
from sympy import Expr  # type: ignore[import-untyped]


class _Exhausted(BaseException):
    """The time is over. Not an Exception: SymPy and math-verify swallow those."""


def _on_alarm(signum: int, frame: FrameType | None) -> None:
    raise _Exhausted


@lru_cache(maxsize=4096)
def _parse(latex: str) -> tuple[object, ...]:
    """Return math-verify's readings of an answer: SymPy objects, and texts for what it could not read."""
    # No timeout of math-verify's own: it would take over the alarm.
    return tuple(parse(f"${latex}$", parsing_timeout=None))


def _clearly_differ(golds: Sequence[object], answers: Sequence[object]) -> bool:
    """Whether every reading of one side is far from every reading of the other at a fixed point.

    math-verify would simplify the difference first, which takes ten times as long. Whatever is no plain expression
    (equations, sets, intervals, matrices) or has no finite value there is left to it.
    """
    gold_values = _values(golds)
    answer_values = _values(answers)
    if not gold_values or not answer_values:
        return False
    # One percent: far beyond what rounding of either side could explain.
    return all(
        abs(gold - answer) > 1e-2 * max(abs(gold), abs(answer)) for gold, answer in product(gold_values, answer_values)
    )


def _values(readings: Sequence[object]) -> list[complex]:
    """Evaluate all expressions among the readings; an empty list if one is no plain expression or not finite."""
    values: list[complex] = []
    for reading in readings:
        if isinstance(reading, str):
            continue
        value = _value(reading) if isinstance(reading, Expr) else None
        if value is None:
            return []
        values.append(value)
    return values


def _value(expression: Expr) -> complex | None:
    """Evaluate at a point without special relations, the same for a symbol wherever it occurs."""
    # A symbol's coordinate comes from its name alone, so that both expressions are evaluated at the same point.
    point = {symbol: 0.3 + (crc32(symbol.name.encode()) % 997) / 1409 for symbol in expression.free_symbols}
    try:
        value = complex(expression.evalf(15, subs=point))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError, AttributeError):
        return None
    return value if isfinite(value) else None


def compare(gold: str, answer: str) -> dict[str, bool]:
    """Return whether math-verify holds the two expressions equal. An expression it cannot read compares as wrong."""
    try:
        golds = _parse(gold)
        answers = _parse(answer)
        comparable = bool(golds and answers) and not _clearly_differ(golds, answers)
        equal = comparable and bool(verify(list(golds), list(answers), timeout_seconds=None))
    except MemoryError:
        return {"exhausted": True}
    except Exception:  # any failure inside SymPy on model text means: not shown equal
        return {"equal": False, "parsed": False, "gold_parsed": True}
    return {"equal": equal, "parsed": bool(answers), "gold_parsed": bool(golds)}


def _reply(line: str, seconds: float) -> dict[str, bool]:
    pair = json.loads(line)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return compare(pair["gold"], pair["answer"])
    except (_Exhausted, MemoryError, RecursionError):
        return {"exhausted": True}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main(seconds: float, memory: int) -> None:
    """Answer lines until standard input ends; ``seconds`` and ``memory`` (bytes of address space) per pair."""
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    signal.signal(signal.SIGALRM, _on_alarm)
    replies = sys.stdout
    sys.stdout = sys.stderr  # a library that prints must not break the protocol
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(_reply(line, seconds)), file=replies, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
