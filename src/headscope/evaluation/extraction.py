"""Where a response states its answer. Linear in the text and free of backtracking, whatever the model wrote."""

import re

_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[^a-zA-Z]|[{}]")
_BARE_BOX = re.compile(r"\\boxed\s+([^\s$.,;]+)")
_STATED = re.compile(r"answer\s*(?:is|:|=)\s*:?|####", re.IGNORECASE)
_LETTER = re.compile(r"(?<![A-Za-z])([A-Z])(?![A-Za-z])")


def after_thinking(response: str) -> str:
    """The response after its last ``</think>``: a box inside the reasoning is not the answer."""
    return response.rsplit("</think>", 1)[-1]


def last_box(text: str) -> str | None:
    r"""Contents of the last complete ``\boxed{…}`` (the inner one where boxes nest); None where there is none."""
    opened: list[tuple[int, bool]] = []
    start, box = -1, None
    for match in _BRACES.finditer(text):
        token = match.group()
        if token.endswith("{") and (token == "{" or token.startswith(("\\b", "\\f"))):
            opened.append((match.end(), token != "{"))
        elif token == "}" and opened:
            begin, is_box = opened.pop()
            if is_box and begin > start:
                start, box = begin, text[begin : match.start()]
    if box is None:
        bare = _BARE_BOX.findall(text)
        return str(bare[-1]) if bare else None
    return box.strip()


def stated_answer(response: str) -> str:
    """The last box, else what follows the last "answer is", "answer:" or "####" on its line; "" where neither
    is there.
    """
    text = after_thinking(response)
    box = last_box(text)
    if box is not None:
        return box
    statements = list(_STATED.finditer(text))
    if not statements:
        return ""
    line = text[statements[-1].end() :].lstrip().split("\n", 1)[0].strip()
    return line.removesuffix(".").strip()


def stated_letter(response: str) -> str:
    """The option letter of a multiple-choice answer: a lone capital in the stated answer, else the whole
    answer if one.
    """
    answer = re.sub(
        r"\\(?:text|textbf|mathrm|mathbf)\b", "", stated_answer(response) or after_thinking(response).strip()
    )
    whole = answer.strip("(){}$*. ")  # (b) is B; a small letter inside a sentence is a word
    if len(whole) == 1:
        return whole.upper()
    letters = _LETTER.findall(answer)
    return str(letters[0]) if letters else ""


def stated_alias(response: str) -> str:
    """The stated answer, else the first line after the reasoning: short-answer models write nothing else."""
    return stated_answer(response) or after_thinking(response).strip().split("\n", 1)[0]


def stated_tokens(response: str) -> str:
    """What follows the last ``<ans>``, else the last box, else the last line; white space between tokens is
    one blank.
    """
    _, marker, tail = response.rpartition("<ans>")
    if not marker:
        text = after_thinking(response).strip()
        box = last_box(text)
        tail = box if box is not None else text.rsplit("\n", 1)[-1]
    return " ".join(tail.split())
