"""A report opened in a browser, with everything the browser complained about or asked for."""

from pathlib import Path
from typing import Any, Self

_REPORT_VIOLATIONS = "addEventListener('securitypolicyviolation', event => console.error(event.violatedDirective))"
# The address changes before the page hears of it: here always, as it does on a machine that is busy. A task begun by
# the late event runs after all that listen to it.
_DELAY_HASH = """
  window.shownHash = location.hash;
  addEventListener('hashchange', event => {
    if (event.isTrusted) {
      event.stopImmediatePropagation();
      setTimeout(() => dispatchEvent(new HashChangeEvent('hashchange')), 20);
    } else setTimeout(() => { window.shownHash = location.hash; });
  });
"""
# Waits within the page: Playwright's own waiting for a predicate evaluates text, which the page's policy refuses.
_WAIT_FOR_HASH = """pattern => new Promise((resolve, reject) => {
  const until = performance.now() + 30000;
  const look = () => {
    if (location.hash === shownHash && RegExp(`^(?:${pattern})$`).test(shownHash)) resolve();
    else if (performance.now() > until) reject(Error(`${location.hash}, shown: ${shownHash}, is not ${pattern}`));
    else setTimeout(look, 5);
  };
  look();
})"""


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
        self.page.add_init_script(_DELAY_HASH)
        self.page.goto(path.as_uri() + hash)
        self.page.wait_for_selector("html.ready")

    def go(self, hash: str) -> None:
        """Change the hash, as a link does, and wait until the page shows what it says."""
        self.page.evaluate("hash => { location.hash = hash; }", hash)
        self.wait_until_shown()

    def wait_until_shown(self) -> None:
        """Wait until the page shows what its hash says, as it does some time after a click or a key."""
        self.wait_for_hash(".*")

    def wait_for_hash(self, pattern: str) -> None:
        """Wait until the page shows the view of a hash that is, as a whole, of a regular expression."""
        self.page.evaluate(_WAIT_FOR_HASH, pattern)

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
