"""A trial of chat templates, which may not come to an end: in a process with limits on processor and memory.

The sandbox that transformers renders in bounds a single ``range``, not loops within loops, powers or growing texts.
Processor time is counted and not the clock, so that a busy machine changes nothing. The process needs neither torch nor
transformers: it knows what they add to Jinja's language. Whatever else is wrong, the real rendering tells.
"""

import json
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from headscope.errors import InputError, MachineError, count_noun
from headscope.module_process import module_process

if TYPE_CHECKING:
    from jinja2.nodes import Node
    from jinja2.parser import Parser

SECONDS = 3
"""Of processor time, start included; templates of published models take a thousandth."""
_MOST_BYTES = 2**30
_OUT_OF_MEMORY = 3
_ended: set[str] = set()
"""Templates that came to an end once."""


def check_ends(
    template: str, name: str, messages: Sequence[Mapping[str, object]], settings: Mapping[str, object]
) -> None:
    """Raise InputError if rendering takes more time or memory than any conversation is worth.

    Raises MachineError if the machine ends the trial, which says nothing about the template.

    Args:
        template: its text; one that ended once is not tried again.
        name: what errors call it.
        messages: the conversation.
        settings: what else the template is told.
    """
    if template in _ended:
        return
    task = json.dumps([SECONDS, [template, list(messages), dict(settings)]], default=str)
    command, environment = module_process("headscope.model_files.template_probe")
    probe = subprocess.run(
        command, input=task, text=True, encoding="utf-8", capture_output=True, check=False, env=environment
    )
    limits = {
        _OUT_OF_MEMORY: f"{_MOST_BYTES >> 30} GiB of memory",
        -signal.SIGXCPU: f"{SECONDS} s of processor time",
    }
    limit = limits.get(probe.returncode)
    if probe.returncode and limit is None:
        reason = f"its process ended with {probe.returncode} {probe.stderr[-200:]}"
        raise MachineError(f"{name} could not be tried: {reason.strip()}")
    if limit is not None:
        raise InputError(
            f"{name} is not done with a conversation of {count_noun(len(messages), 'message')} after {limit}; correct "
            "its loops, or give another (chat_template:)"
        )
    _ended.add(template)


class _Generation(Extension):
    """The tag by which templates mark what an assistant wrote; transformers' own."""

    tags = {"generation"}  # noqa: RUF012 - as jinja2 declares it

    def parse(self, parser: "Parser") -> "list[Node]":
        """Return what stands between the tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)


def render(template: str, messages: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    """Render a conversation to its end and keep nothing."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = lambda value, **_: json.dumps(value)
    environment.globals |= {"raise_exception": _refuse, "strftime_now": str}
    for _ in environment.from_string(template).generate(messages=messages, **settings):
        pass


def main() -> None:
    """Render what standard input holds, within the limits."""
    seconds, conversation = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # At the first limit the system sends SIGXCPU, at the second SIGKILL, which could be anyone's.
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_BYTES, _MOST_BYTES))
    try:
        render(*conversation)
    except MemoryError:
        sys.exit(_OUT_OF_MEMORY)
    except Exception:  # Jinja's errors, and whatever the expressions of a template raise: it came to an end
        return


if __name__ == "__main__":
    main()
