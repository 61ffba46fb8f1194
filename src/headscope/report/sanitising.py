"""Sanitising of untrusted text: what a terminal or the page may print, JSON that cannot end its script element, and the
page's Content-Security-Policy.

Model text reaches the page only as JSON in ``<script type="application/json">`` and is shown through text nodes.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence

_MARKUP = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def plain_text(text: str) -> str:
    """Return the text without terminal control characters (tab and line feed stay); a lone surrogate becomes U+FFFD.

    CR LF becomes LF first, so Windows line ends survive. Of an ANSI sequence only the escape character goes:
    what a model wrote after it stays readable.
    """
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", text.replace("\r\n", "\n")))


def script_json(value: object) -> str:
    """Return JSON for a script element: no ``<``, ``>``, ``&`` or line separators, so no text can become markup."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_MARKUP)


def content_security_policy(scripts: Sequence[str]) -> str:
    """Return a policy under which only ``scripts`` run and nothing is fetched.

    Styles may be inline, because charts position their parts with them; images may be data and blobs, because
    charts export themselves through these.
    """
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
