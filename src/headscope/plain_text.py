"""Text that people get to see: nothing in it can control a terminal, end a line or fail to be encoded."""

import re

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def plain_text(text: str) -> str:
    """Return the text without terminal control characters (tab and line feed stay); a lone surrogate becomes U+FFFD.

    CR LF becomes LF first, so Windows line ends survive. Of an ANSI sequence only the escape character goes:
    what a model wrote after it stays readable.
    """
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", text.replace("\r\n", "\n")))


def plain_line(text: str) -> str:
    """Return ``plain_text`` on one line: line breaks of every kind become spaces.

    >>> plain_line("red\\x1b[31m\\nnext")
    'red[31m next'
    """
    return plain_text(" ".join(text.splitlines()))


def escape_controls(json_text: str) -> str:
    """Return JSON with what ``plain_text`` drops, and JSON allows in strings, as escapes: its values stay the same."""
    for pattern in (_CONTROLS, _SURROGATES):
        json_text = pattern.sub(lambda match: f"\\u{ord(match[0]):04x}", json_text)
    return json_text
