"""Sanitising of untrusted text for the page: JSON that cannot end its script element, and the page's
Content-Security-Policy.

Model text reaches the page only as JSON in ``<script type="application/json">`` and is shown through text nodes.
"""

import base64
import hashlib
import json
from collections.abc import Sequence

_MARKUP = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"})


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
