"""A report opened in a browser, with everything the browser complained about or asked for."""

from pathlib import Path
from typing import Any, Self

_REPORT_VIOLATIONS = "addEventListener('securitypolicyviolation', event => console.error(event.violatedDirective))"


class Opened:
    """One report in one tab, ready to be looked at; a context manager that closes it."""

    def __init__(self, browser: Any, path: Path, hash: str = "") -> None:
        self.page = browser.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.add_init_script(_REPORT_VIOLATIONS)
        self.page.goto(path.as_uri() + hash)
        self.page.wait_for_selector("html.ready")

    def go(self, hash: str) -> None:
        """Change the hash, as a link does."""
        self.page.evaluate("hash => { location.hash = hash; }", hash)

    def unfold(self) -> int:
        """Open every folded table of the page, and return how many there are."""
        folded = self.page.locator("details.folded")
        self.page.evaluate("for (const details of document.querySelectorAll('details.folded')) details.open = true")
        if count := folded.count():
            self.page.locator("details.folded:not(:has(script))").nth(count - 1).wait_for(state="attached")
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.close()
