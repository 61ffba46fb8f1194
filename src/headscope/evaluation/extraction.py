"""Where a response states its answer. Linear in the text and free of backtracking, whatever the model wrote."""

import re

_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[^a-zA-Z]|[{}]")
_BARE_BOX = re.compile(r"\\boxed\s+([^\s$.,;]+)")
_STATED = re.compile(r"answer\s*(?:is|:|=)\s*:?|####", re.IGNORECASE)
_LETTER = re.compile(r"(?<![A-Za-z])([A-Z])(?![A-Za-z])")


def after_thinking(response: str) -> str:
    """Return the response after its last ``</think>``: a box inside the reasoning is not the answer."""
    return response.rsplit("</think>", 1)[-1]


def last_box(text: str) -> str | None:
    r"""Return the contents of the last complete ``\boxed{…}`` (the inner one if boxes nest); None if there is none."""
    opened: list[tuple[int, bool]] = []  # after every open brace: where its contents begin, whether it is a box's
    start, box = -1, None
    for match in _BRACES.finditer(text):
        token = match.group()
        if token.endswith("{") and (token == "{" or token.startswith(("\\b", "\\f"))):
            opened.append((match.end(), token != "{"))
        elif token == "}" and opened:
            begin, is_box = opened.pop()
            # Of nested boxes the inner one begins later and closes first.
            if is_box and begin > start:
                start, box = begin, text[begin : match.start()]
    if box is None:  # ``\boxed 5`` without braces, which TeX allows
        bare = _BARE_BOX.findall(text)
        return str(bare[-1]) if bare else None
    return box.strip()


def stated_answer(response: str) -> str:
    """Return the last box, else what follows the last "answer is", "answer:" or "####" on its line; "" without any."""
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
    """Return the option letter of a multiple-choice answer: the whole answer if it is one letter, else a lone capital
    in it; "" without any.
    """
    stated = stated_answer(response) or after_thinking(response).strip()
    answer = re.sub(r"\\(?:text|textbf|mathrm|mathbf)\b", "", stated)
    whole = answer.strip("(){}$*. ")  # (b) is B; a small letter inside a sentence is a word
    if len(whole) == 1:
        return whole.upper()
    letters = _LETTER.findall(answer)
    return str(letters[0]) if letters else ""


def stated_alias(response: str) -> str:
    """Return the stated answer, else the first line after the reasoning: short-answer models write nothing else."""
    return stated_answer(response) or after_thinking(response).strip().split("\n", 1)[0]


def stated_tokens(response: str) -> str:
    """Return what follows the last ``<ans>``, else the last box, else the last line; one blank between tokens."""
    _, marker, tail = response.rpartition("<ans>")
    if not marker:
        text = after_thinking(response).strip()
        box = last_box(text)
        tail = box if box is not None else text.rsplit("\n", 1)[-1]
    return " ".join(tail.split())
