"""The process that runs math-verify: one JSON line in, one JSON line out. Run as a script; it imports nothing
of headscope.

SymPy can be made to compute for ever or to fill the memory by an answer of ten characters, at times inside C
code that no signal interrupts. So it runs here, under an address-space limit and an alarm, and the parent
kills it when even that fails.

    in:   {"gold": LaTeX, "answer": LaTeX}
    out:  {"equal": bool, "parsed": bool, "gold_parsed": bool}   or   {"exhausted": true}

The first line written is {"ready": true}. The process ends with its standard input, so it never outlives its
parent.
"""

import json
import logging
import resource
import signal
import sys
from cmath import isfinite
from collections.abc import Sequence
from functools import lru_cache
from types import FrameType
from typing import Any
from zlib import crc32

from math_verify import parse, verify
from sympy import Expr  # type: ignore[import-untyped]


class _Exhausted(BaseException):
    """Not an Exception: SymPy and math-verify swallow those."""


def _on_alarm(signum: int, frame: FrameType | None) -> None:
    raise _Exhausted


@lru_cache(maxsize=4096)
def _parsed(latex: str) -> tuple[Any, ...]:
    return tuple(parse(f"${latex}$", parsing_timeout=None))


def _clearly_differ(golds: Sequence[Any], answers: Sequence[Any]) -> bool:
    """Whether every reading of one side is far from every reading of the other at a fixed point.

    math-verify would simplify the difference first, which takes ten times as long. Whatever is no plain expression
    (equations, sets, intervals, matrices) or has no finite value there is left to it.
    """
    one, other = ([each for each in side if not isinstance(each, str)] for side in (golds, answers))
    if not one or not other or not all(isinstance(each, Expr) for each in one + other):
        return False
    left, right = ([_value(each) for each in side] for side in (one, other))
    return all(a is not None and b is not None and abs(a - b) > 1e-2 * max(abs(a), abs(b)) for a in left for b in right)


def _value(expression: Any) -> complex | None:
    """At a point without special relations, the same for a symbol wherever it occurs."""
    point = {symbol: 0.3 + (crc32(symbol.name.encode()) % 997) / 1409 for symbol in expression.free_symbols}
    try:
        found = complex(expression.evalf(15, subs=point))
    except (TypeError, ValueError, OverflowError, ZeroDivisionError, AttributeError):
        return None
    return found if isfinite(found) else None


def compare(gold: str, answer: str) -> dict[str, bool]:
    """Whether math-verify holds the two expressions equal. An expression it cannot read compares as wrong."""
    try:
        golds, answers = _parsed(gold), _parsed(answer)
        comparable = bool(golds and answers) and not _clearly_differ(golds, answers)
        equal = comparable and bool(verify(list(golds), list(answers), timeout_seconds=None))
    except MemoryError:
        return {"exhausted": True}
    except Exception:  # any failure inside SymPy on model text means: not shown equal
        return {"equal": False, "parsed": False, "gold_parsed": True}
    return {"equal": equal, "parsed": bool(answers), "gold_parsed": bool(golds)}


def _answer(line: str, seconds: float) -> dict[str, bool]:
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
        print(json.dumps(_answer(line, seconds)), file=replies, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
