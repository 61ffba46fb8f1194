"""One notation for the answers people and models write: ``plain_latex`` changes the spelling and never the value.

Its time is linear in the text's length: no pattern has two repetitions that could match the same characters.
"""

import re
import unicodedata

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ", "0123456789+-()n")
_NO_BARS = str.maketrans(dict.fromkeys("\u0304\u0305"))
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SIGNS = {
    **dict.fromkeys("−–—‐‑‒﹣－", "-"),
    **dict.fromkeys("×✕⨯", r"\times "),
    **dict.fromkeys("⋅·∙", r"\cdot "),
    **dict.fromkeys("∣｜", "|"),
    **dict.fromkeys("≤⩽≦", r"\leq "),
    **dict.fromkeys("≥⩾≧", r"\geq "),
    **dict.fromkeys("‘’′", "'"),
    **dict.fromkeys("“”", '"'),
    **dict.fromkeys("°º˚", r"^\circ "),
    "÷": r"\div ",
    "≠": r"\neq ",
    "±": r"\pm ",
    "∓": r"\mp ",
    "≈": r"\approx ",
    "∞": r"\infty ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∈": r"\in ",
    "∅": r"\emptyset ",
    "∖": r"\setminus ",
    "…": r"\ldots ",
    "⋯": r"\ldots ",
    "π": r"\pi ",
    "ℝ": r"\mathbb{R}",
    "ℤ": r"\mathbb{Z}",
    "ℕ": r"\mathbb{N}",
    "ℚ": r"\mathbb{Q}",
    "ℂ": r"\mathbb{C}",
    "。": ".",
    "、": ",",
    "℃": r"^\circ C",
    "℉": r"^\circ F",
    "％": "%",
    "∛": r"\sqrt[3]",
    "√": r"\sqrt",
    "²": "^{2}",
    "³": "^{3}",
}
_SIGN_TABLE = str.maketrans(_SIGNS)
_FRACTION = re.compile(r"([¼½¾⅐-⅞])")
_BARRED = re.compile(r"(?:\d[\u0304\u0305])+")
_RAISED = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿ]+")
_LOWERED = re.compile(r"[₀₁₂₃₄₅₆₇₈₉]+")

_FONT = re.compile(
    r"\\(?:text(?:bf|it|rm|normal|tt|sf)?|math(?:rm|bf|it|sf|tt|normal)|mbox|hbox|bm|boldsymbol|operatorname\*?)"
    r"\s*\{([^{}]*)\}"
)
# ``\\text{ apples and }4`` joins two quantities; within a text the word stays where it is.
_CONJUNCTION = re.compile(r"^(and|or)\b|(?<=\s)(and|or)$")
_SWITCH = re.compile(r"\\(?:displaystyle|textstyle|limits|bf|rm|it|boldmath|left|right|[Bb]igg?[lr]?)(?![a-zA-Z])\.?")
_NEGATIVE_SPACE = re.compile(r"\\!\s*")
_SPACE = re.compile(r"(?<!\\)\\(?:[,;: ]|quad|qquad|thinspace|enspace|hspace\{[^{}]*\})|~|\s+")
DOLLAR = re.compile(r"(?<!\\)\$")
"""The mark around a formula, and not the sign of a currency within one."""
_DELIMITER = re.compile(r"(?<!\\)\$|(?<!\\)\\[()\[\]]")
# A group of three digits after a separator; the first group has at most three and nothing before it.
_GROUPED = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:\{,\}|\\[,;: ]|[ ,])\d{3})+(?![\d]|[ ,]\d)")
_SEPARATOR = re.compile(r"\{,\}|\\[,;: ]|[ ,]")
_LISTED = re.compile(r"\d, \d|\d \d{3},")
_SCIENTIFIC = re.compile(r"(?<![A-Za-z\d.])(\d+(?:\.\d+)?)[eE]([+-]?\d{1,4})(?![\d.A-Za-z])")
_RECURRING = re.compile(
    r"(?<![\d.])(\d{0,40})\.(\d{0,40})(?:\\overline\s*\{(\d{1,40})\}|\\overline\s*(\d)|\((\d{1,40})\)"
    r"|(\\dot\s*\{?\d\}?(?:\d{0,20}\\dot\s*\{?\d\}?)?))(?!\d)"
)
# 0.1666... and 0.1666\\ldots: at least three times the same digits.
_GOING_ON = re.compile(r"(?<![\d.])(\d{0,20})\.(\d{0,20}?)(\d{1,6}?)\3\3+\d?\s*\\ldots(?![a-zA-Z])")
_CHOOSE = re.compile(r"\{([^{}]*)\\choose(?![a-zA-Z])([^{}]*)\}")
_SLASHED = re.compile(r"\^\s*\{?(\d+)\}?\s*/\s*_\s*\{?(\d+)\}?")
_TIMES = re.compile(r"(?<=\d) ?[xX] ?(?=10\s*\^)|(?<=\d) [xX] (?=\d)")
_BARE_INDEX = re.compile(r"([_^])\s*(\d)(?= )")
_FUNCTIONS = {
    **{name: name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "exp", "gcd", "lcm", "max")},
    **{
        name: name for name in ("min", "det", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan", "lim", "sqrt", "pi")
    },
    "tg": "tan",
    "ctg": "cot",
    "cotg": "cot",
    "cosec": "csc",
    "arctg": "arctan",
    "arcctg": "arccot",
    "sh": "sinh",
    "ch": "cosh",
    "th": "tanh",
    "lg": "log",
    "asin": "arcsin",
    "acos": "arccos",
    "atan": "arctan",
    "inf": "infty",
    "infinity": "infty",
    "infin": "infty",
}
_SYNONYMS = {
    "dfrac": "frac",
    "tfrac": "frac",
    "cfrac": "frac",
    "dbinom": "binom",
    "tbinom": "binom",
    "le": "leq",
    "leqslant": "leq",
    "ge": "geq",
    "geqslant": "geq",
    "ne": "neq",
    "lbrace": "{",
    "rbrace": "}",
    "dots": "ldots",
    "cdots": "ldots",
    "dotsc": "ldots",
    "dotsb": "ldots",
    "varnothing": "emptyset",
    "mid": "|",
    "vert": "|",
    "lvert": "|",
    "rvert": "|",
    "colon": ":",
    "lt": "<",
    "gt": ">",
    "degree": "circ",
    "land": "text{and}",
    "lor": "text{or}",
    "wedge": "text{and}",
    "vee": "text{or}",
    "lbrack": "[",
    "rbrack": "]",
    "langle": "(",
    "rangle": ")",
    "bar": "overline",
    **{name: meaning for name, meaning in _FUNCTIONS.items() if name != meaning},
}
_COMMAND = re.compile(r"\\([a-zA-Z]+)")
_BARE_FUNCTION = re.compile(
    r"(?<![\\A-Za-z{])(arc(?:sin|cos|tan)|sinh?|cosh?|tanh?|sqrt|log|ln|pi|infinity|infty|inf)(?![A-Za-z])"
)
# 5 1/2 is five and a half.
_MIXED = re.compile(r"(?<![\d.^_/{])(\d+) +(\d+) ?/ ?(\d+)(?![\d./])")
_TWO_ARGUMENTS = re.compile(r"\\(frac|binom)\s*(?:\{|(\d|[a-zA-Z]|\\[a-zA-Z]+)\s*(?=\{|(\d|[a-zA-Z]|\\[a-zA-Z]+)))")
_ROOT_OF_SIGN = re.compile(
    r"(\\sqrt\s*(?:\[[^\[\]]*\])?)\s*(?:\((?P<group>[^()]+)\)|(?P<number>\d+)|(?P<sign>[a-zA-Z]|\\pi(?![a-zA-Z])))"
)
_POWER_OF_GROUP = re.compile(r"\^\s*\(([^(){}]*)\)")
_CHECKED_BRACE = re.compile(r"\}\s*(\d|[a-zA-Z])")


def plain_latex(text: str) -> str:
    """Return the answer in one spelling: ASCII signs and commands, no fonts, sizes, dollars or digit grouping.

    Words are marked as such: ``\\text{…}``.
    """
    text = _plain_signs(text.strip())
    text = _strip_emphasis(text)
    # A single dollar sign opens no formula.
    text = DOLLAR.sub(r"\\$", text) if len(DOLLAR.findall(text)) == 1 else text
    text = (
        _SWITCH.sub("", _NEGATIVE_SPACE.sub("", text))
        .replace("\\\\%", "%")
        .replace("\\%", "%")
        .replace("\\text{%}", "%")
    )
    text = _plain_fonts(text)
    text = _DELIMITER.sub(" ", text)  # before grouping: in brackets, 58,500 would be a point
    text = _GROUPED.sub(_ungroup, text)
    text = _SPACE.sub(" ", text)
    text = _COMMAND.sub(_plain_command, text)
    text = _BARE_FUNCTION.sub(lambda match: "\\" + _FUNCTIONS.get(match[1], match[1]) + " ", text)
    text = text.replace("<=", r"\leq ").replace(">=", r"\geq ").replace("!=", r"\neq ").replace("**", "^")
    text = text.replace("...", r"\ldots ")
    text = _GOING_ON.sub(_as_fraction, text)
    text = _RECURRING.sub(_as_fraction, text)
    text = _SLASHED.sub(r"\\frac{\1}{\2}", _CHOOSE.sub(r"\\binom{\1}{\2}", text))
    text = _BARE_INDEX.sub(r"\1{\2}", _TIMES.sub(r"\\times ", text))
    text = _SCIENTIFIC.sub(r"\1\\times 10^{\2}", text)
    text = _MIXED.sub(r"\1\\frac{\2}{\3}", text)
    text = _plain_arguments(text)
    text = _POWER_OF_GROUP.sub(r"^{\1}", text)
    return " ".join(_strip_end(text).split())


def _plain_signs(text: str) -> str:
    """Replace characters outside ASCII by commands; letters of other scripts stay."""
    if text.isascii():
        return text
    text = _FRACTION.sub(lambda match: _vulgar(match[1]), text)
    text = _BARRED.sub(lambda match: rf"\overline{{{match[0].translate(_NO_BARS)}}}", text)
    text = _RAISED.sub(lambda match: "^{" + match[0].translate(_SUPERSCRIPTS) + "}", text)
    text = _LOWERED.sub(lambda match: "_{" + match[0].translate(_SUBSCRIPTS) + "}", text)
    text = unicodedata.normalize("NFKC", text.translate(_SIGN_TABLE)).translate(_SIGN_TABLE)
    # Zero-width characters are of the category "format".
    return "".join(letter for letter in text if unicodedata.category(letter) != "Cf")


def _vulgar(sign: str) -> str:
    numerator, _, denominator = unicodedata.normalize("NFKC", sign).partition("⁄")
    return rf"\frac{{{numerator}}}{{{denominator}}}"


def _strip_emphasis(text: str) -> str:
    """Remove Markdown's asterisks and backticks around the whole text."""
    for mark in ("***", "**", "*", "`", "__"):
        if text.startswith(mark) and text.rstrip(".").endswith(mark) and len(text) > 2 * len(mark):
            text = text.rstrip(".")[len(mark) : -len(mark)]
    return text.strip()


def _plain_fonts(text: str) -> str:
    """Remove fonts around numbers, single letters and functions; words become ``\\text{…}``."""
    while True:
        plain = _FONT.sub(_plain_font, text)
        if plain == text:
            return text.replace("\\Text{", "\\text{")
        text = plain


def _plain_font(match: re.Match[str]) -> str:
    content = match[1].strip()
    if "operatorname" in match[0] and content in _FUNCTIONS:
        return f"\\{_FUNCTIONS[content]} "
    letters = "".join(filter(str.isalpha, content))
    if not letters:
        return f" {content} " if content else " "
    if content == letters and len(letters) == 1 and not match[0].startswith(("\\text{", "\\mbox")):
        # Straight e, i, d and bold vectors are the letters themselves; \text{m} after a number is a unit.
        return f"{{{content}}}" if "_" in match.string[max(0, match.start() - 1) : match.start()] else f" {content} "
    # The capital marks it as done; the marks become small again at the end.
    return "".join(f" \\Text{{{part.strip()}}} " for part in _CONJUNCTION.split(content) if part and part.strip())


def _ungroup(match: re.Match[str]) -> str:
    """Remove the separators of thousands; numbers of a list (``1, 234``) and of a pair (``(1,234)``) keep theirs."""
    before = match.string[: match.start()].replace("\\{", "(").replace("\\}", ")")
    depth = sum(sign in "([" for sign in before) - sum(sign in ")]" for sign in before)
    is_list = _LISTED.search(match[0]) or (depth > 0 and "," in match[0].replace("{,}", ""))
    return match[0] if is_list else _SEPARATOR.sub("", match[0])


def _plain_command(match: re.Match[str]) -> str:
    name = match[1]
    if name not in _SYNONYMS:
        return match[0]
    plain = _SYNONYMS[name]
    return plain + " " if plain in "|:<>[]()" else f"\\{plain}" + (" " if plain.isalpha() else "")


def _as_fraction(match: re.Match[str]) -> str:
    """Return a recurring decimal as a fraction: 0.1(6) = (16 − 1) / 90."""
    whole, fixed, *spellings = match.groups()
    recurring = "".join(filter(str.isdigit, next(filter(None, spellings))))
    nines = int("9" * len(recurring) + "0" * len(fixed))
    numerator = int((whole or "0") + fixed + recurring) - int((whole or "0") + fixed)
    return rf"\frac{{{numerator}}}{{{nines}}}"


def _plain_arguments(text: str) -> str:
    r"""Give ``\frac12``, ``\frac1{2}``, ``\sqrt2`` and ``\sqrt(2)`` their braces."""
    text = _TWO_ARGUMENTS.sub(_brace_first, text)
    text = _brace_second(text)
    return _ROOT_OF_SIGN.sub(
        lambda match: match[1].rstrip() + "{" + (match["group"] or match["number"] or match["sign"]) + "}", text
    )


def _brace_first(match: re.Match[str]) -> str:
    return match[0] if match[2] is None else f"\\{match[1]}{{{match[2]}}}"


def _brace_second(text: str) -> str:
    r"""Put braces around a bare second argument: ``\frac{1}2``. One pass: the first argument's end is counted."""
    parts = re.split(r"(\\(?:frac|binom)\s*\{)", text)
    rebuilt = parts[0]
    for command, rest in zip(parts[1::2], parts[2::2], strict=True):
        end = _closing_brace(rest)
        bare = _CHECKED_BRACE.match(rest, end) if end is not None else None
        rebuilt += command + (rest if bare is None else f"{rest[:end]}}}{{{bare[1]}}}{rest[bare.end() :]}")
    return rebuilt


def _closing_brace(text: str) -> int | None:
    """Return where the group that is open at the start of ``text`` closes; None if it does not."""
    depth = 1
    for index, sign in enumerate(text):
        depth += (sign == "{") - (sign == "}")
        if depth == 0:
            return index
    return None


def _strip_end(text: str) -> str:
    """Remove punctuation at the end of a sentence; ``!`` is kept as a factorial."""
    return text.strip().rstrip(".,;:?").strip()
