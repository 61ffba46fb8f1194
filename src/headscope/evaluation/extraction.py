"""Find the answer that a response states. Linear in the text and free of backtracking, whatever the model wrote.

In this order: ``<answer>…</answer>``, the last box (or several that are one answer), what follows the last "answer is",
"answer:" or "####" on its line, the line after a heading "Answer", and a response that is nothing but a formula.
"""

import re

from headscope.answers.notation import DOLLAR
from headscope.answers.reading import UnreadableError, Words, read

OPENED, CLOSED = "<think>", "</think>"
SHORT = 100
"""Characters of a response that may be an answer without saying so."""

_BRACES = re.compile(r"\\(?:boxed|fbox)\s*\{|\\[^a-zA-Z]|[{}]")
_BARE_BOX = re.compile(r"\\boxed(?:\s+|(?=\d))([^\s$.,;]+)")
# Between the boxes of one answer: a separator, and a name at most. Without a separator the last box stands alone.
_BETWEEN = re.compile(
    r"[\s$]*+(?:,|;|and|or|,\s*(?:and|or)|\\text\{\s*(?:and|or)\s*\}|和|或)[\s$]*+(?:[a-zA-Z]\s*=\s*)?"
)
# A minus that follows a number or a letter is an operator or a hyphen.
_PLAIN_NUMBER = re.compile(r"(?:(?<![\w.)])[-−])?\d+(?:,\d{3})*(?:\.\d+)?")
_TAG = "answer>"
_LAB_TAG = "<ans>"
_COPULA = r"(?:is|was|are|would be|equals|:|：|=|-|–|—|是|为|應為|应为)"
_NOUN = r"(?:answers?|答案|r[ée]ponse|antwort|respuesta|ответ)"
_STATED = re.compile(
    rf"{_NOUN}(?: to [^.\n]{{1,40}}?)?[ \t]*+(?:\*\*)?+[ \t]*+"
    rf"(?:{_COPULA}|[（(]|(?=\n))[*:： \t]*|####",
    re.IGNORECASE,
)
_ADVERB = re.compile(
    r"(?:(?:therefore|thus|hence|then|simply|clearly|indeed|now|exactly|approximately|about|roughly|around)\b[,:]?\s*)+",
    re.IGNORECASE,
)
# What may follow an answer in the same line: the end of its sentence, a clause, a remark in brackets.
_AFTERWARDS = re.compile(
    r"[.?。？](?=\s|$|\*|<)|(?<=[。？])|,?\s+(?:which|because|since|as|so|where|when|but|given|after|hence|therefore|thus)\b"
    r"|,\s+(?:not|while|whereas|unless)\b|;\s+(?=[a-z]{3,} )|(?<=[\d$%})])\s+(?:of|in) (?:the|all|a|total)\b"
    r"|\s+[—–]\s|\s\((?=[a-z]{3,} )|</",
)


def after_thinking(response: str) -> str:
    """Return the response after its last ``</think>``: a box inside the reasoning is not the answer."""
    return response.rsplit(CLOSED, 1)[-1]


def final_text(response: str) -> str:
    """Return the text of the last ``<answer>…</answer>`` after the reasoning, else all text after it."""
    text = after_thinking(response)
    return _tagged_text(text) or text


def _tagged_text(text: str) -> str:
    """Return the text of the last ``<answer>…</answer>``, or after the lab's ``<ans>``; "" if there is neither."""
    before, closing, _ = text.rpartition(f"</{_TAG}")
    if closing and f"<{_TAG}" in before:
        return before.rpartition(f"<{_TAG}")[2].strip()
    return text.rpartition(_LAB_TAG)[2].strip() if _LAB_TAG in text else ""


def is_still_thinking(response: str, opened: bool = False) -> bool:
    """Return whether a response ends inside its reasoning.

    opened: the prompt ends with ``<think>``, so the response starts inside.
    """
    last_opened = response.rfind(OPENED)
    last_closed = response.rfind(CLOSED)
    return last_opened > last_closed or (opened and last_closed < 0)


def last_box(text: str) -> str | None:
    r"""Return the contents of the last complete ``\boxed{…}`` (the inner one if boxes nest); None if there is none.

    Boxes that only "and", "or" or a comma separates are one answer: ``\boxed{1}, \boxed{2}`` is ``1, 2``.
    """
    boxes = _boxes(text)
    if not boxes:  # ``\boxed 5`` without braces, which TeX allows
        bare = _BARE_BOX.findall(text)
        return str(bare[-1]) if bare else None
    begin, _, content = boxes.pop()
    contents = [content.strip()]
    while boxes and _BETWEEN.fullmatch(text[boxes[-1][1] : begin]):
        begin, _, content = boxes.pop()
        if content.strip() not in contents:
            contents.insert(0, content.strip())
    return ", ".join(contents)


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """Return where each complete box begins and ends, and its contents; of nested boxes only the inner one."""
    opened: list[tuple[int, int, bool]] = []  # after every open brace: where it and its contents begin; is it a box's
    boxes: list[tuple[int, int, str]] = []
    for match in _BRACES.finditer(text):
        token = match.group()
        if token.endswith("{") and (token == "{" or token.startswith(("\\b", "\\f"))):
            opened.append((match.start(), match.end(), token != "{"))
        elif token == "}" and opened:
            start, begin, is_box = opened.pop()
            # The inner box closes first, and begins later.
            if is_box and (not boxes or boxes[-1][0] < start):
                boxes.append((start, match.end(), text[begin : match.start()]))
    return boxes


def stated_answer(response: str) -> str:
    """Return the answer that a response states; "" if it states none."""
    text = final_text(response)
    box = last_box(text)
    if box is not None:
        return box
    # What stands between tags is an answer even if it is a word.
    return _before_prose(last_statement(text)) or _tagged_text(after_thinking(response)) or _bare_formula(text)


def explicit_answer(text: str) -> str:
    """Return the answer that a piece of a response states in so many words, in a box or after "answer is"; "" if none.

    Unlike ``stated_answer`` it takes no formula for an answer because nothing else stands there, and it reads thoughts.
    """
    box = last_box(text)
    return box if box is not None else _before_prose(last_statement(text)) or _tagged_text(text)


def stated_alias(response: str) -> str:
    """Return the stated answer, else the first line after the reasoning: short-answer models write nothing else."""
    text = final_text(response)
    box = last_box(text)
    if box is not None:
        return box
    return _before_prose(last_statement(text)) or text.strip().split("\n", 1)[0]


def last_number(response: str) -> str:
    """Return the last number after the reasoning, without the commas of its thousands; "" if there is none.

    Whole numbers and decimals alone: of ``1/2`` that is 2, of ``1e3`` 3.
    """
    numbers = _PLAIN_NUMBER.findall(final_text(response))
    return numbers[-1].replace(",", "").replace("−", "-") if numbers else ""


def last_statement(text: str, pattern: re.Pattern[str] = _STATED) -> str:
    """Return what the last match of ``pattern`` introduces: the rest of its line, or the next line that has a text."""
    statements = list(pattern.finditer(text))
    if not statements:
        return ""
    rest = text[statements[-1].end() :].lstrip()
    if rest.startswith(("$$", "\\[")):
        line = " ".join(re.split(r"\$\$|\\\]", rest[2:], maxsplit=1)[0].split())
    else:
        line = rest.split("\n", 1)[0]
    line = line.strip().removeprefix("**").strip()
    adverb = _ADVERB.match(line)
    return line if adverb is None else line[adverb.end() :]


def _before_prose(line: str) -> str:
    """Cut a line where its answer ends; inside dollars it goes on."""
    for match in _AFTERWARDS.finditer(line[: 10 * SHORT]):
        before = line[: match.start()]
        if before.strip() and len(DOLLAR.findall(before)) % 2 == 0:
            return before.rstrip(" *.。").strip()
    line = line.rstrip(" .。*").strip()
    # After a sentence ``!`` is no factorial.
    return line[:-1] if re.fullmatch(r"[^$\\]*\w!", line) else line


def _bare_formula(text: str) -> str:
    """Return a short response that is a number or formula and nothing else; "" for any other."""
    text = text.strip()
    if not text or len(text) > SHORT or "\n" in text:
        return ""
    try:
        return "" if isinstance(read(text), Words) else text
    except UnreadableError:
        return ""


def stated_tokens(response: str) -> str:
    """Return what follows the last ``<ans>`` after the reasoning, else the last box, else the last line.

    One blank stands between tokens.
    """
    text = after_thinking(response).strip()
    _, marker, tail = text.rpartition(_LAB_TAG)
    if not marker:
        box = last_box(text)
        tail = box if box is not None else text.rsplit("\n", 1)[-1]
    return " ".join(tail.split())
