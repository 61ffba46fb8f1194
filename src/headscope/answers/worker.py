"""The process that compares readings with SymPy: one JSON line in, one JSON line out.

An answer of ten characters can make SymPy compute for ever or fill the memory, at times inside C code that no signal
handler interrupts. So it runs here under the system's limits on its own CPU seconds and address space,
which do not depend on how busy the machine is.

    in:   {"gold": text, "answer": text}
    out:  {"equal": bool, "parsed": bool, "gold_parsed": bool}   or   {"exhausted": true}

The first line written is {"ready": true}. The process ends with its standard input, so it never outlives its parent.
"""

import json
import logging
import resource
import signal
import sys
import time
from functools import lru_cache
from math import ceil
from types import FrameType

from headscope.answers.comparison import is_equal
from headscope.answers.expressions import SymPy, evaluate, parse, uses_case
from headscope.answers.reading import UnreadableError, formulas, read

LATE = 1.0
"""CPU seconds by which the worker's own alarm may be late before the system ends the process (SIGXCPU)."""


class _Exhausted(BaseException):
    """The time limit is reached. Not an Exception, because SymPy and math-verify swallow those."""


def _on_alarm(signum: int, frame: FrameType | None) -> None:
    raise _Exhausted


@lru_cache(maxsize=8192)
def _is_readable(text: str) -> bool:
    """Return whether a text and all its formulas can be read completely."""
    try:
        for latex in formulas(read(text)):
            parse(latex)
    except UnreadableError:
        return False
    return True


def compare(gold: str, answer: str) -> dict[str, bool]:
    """Return whether two texts are equal answers. A text that cannot be read completely equals none."""
    gold_parsed = _is_readable(gold)
    if gold == answer and gold_parsed:
        # A gold answer is checked against itself before it is used: no answer should be the first to meet 10^{10^{10}}.
        for latex in formulas(read(gold)):
            evaluate(latex)
    parsed = _is_readable(answer)
    equal = gold_parsed and parsed and _is_equal(gold, answer)
    return {"equal": equal, "parsed": parsed, "gold_parsed": gold_parsed}


def _is_equal(gold: str, answer: str) -> bool:
    try:
        readings = read(gold), read(answer)
        # Of the whole answers: each part of (R, r) and (r, R) alone would be the other's, written in another case.
        return is_equal(*readings, SymPy(keeps_case=any(map(uses_case, readings))))
    except MemoryError:
        raise
    except Exception:  # any failure inside SymPy on model text means: not shown equal
        return False


def _reply(line: str, seconds: float) -> dict[str, bool]:
    pair = json.loads(line)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(time.process_time() + seconds + LATE), hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        return compare(pair["gold"], pair["answer"])
    except (_Exhausted, MemoryError, RecursionError):
        return {"exhausted": True}
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def main(seconds: float, memory: int) -> None:
    """Answer input lines until standard input ends; ``seconds`` of CPU and ``memory`` bytes are the limits per pair."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGPROF, _on_alarm)
    # Ctrl-C is for the parent, which ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    replies = sys.stdout
    logging.disable(logging.CRITICAL)  # math-verify reports every text it cannot read
    sys.stdout = sys.stderr  # a library that prints must not break the protocol
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(_reply(line, seconds)), file=replies, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
