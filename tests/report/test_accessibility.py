"""What axe-core finds on each page, in light and dark; and that it finds what is wrong."""

from pathlib import Path
from typing import Any

import pytest

from headscope.report import render
from headscope.runs import RunDirectory

axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")


@pytest.fixture(scope="module")
def report(run: RunDirectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the whole synthetic run."""
    return render(run, tmp_path_factory.mktemp("accessible") / "report.html")


ALL: dict[str, Any] = {"resultTypes": ["violations"]}
COLOURS = ALL | {"runOnly": ["color-contrast"]}
"""The rule that dark pages could break where light ones do not; all rules take a minute."""


_SHORTEN = """() => {
  for (const body of document.querySelectorAll("tbody")) for (const row of [...body.rows].slice(3)) row.remove();
  for (const panel of document.querySelectorAll(".panels > .panel ~ .panel")) panel.remove();
}"""
"""Further rows and panels are made of the same elements; contrast takes as long as there are words to look at."""

_RUN = """async rules => {
  const hidden = [...document.querySelectorAll("section[hidden]")].map(section => [section, new Comment()]);
  for (const [section, place] of hidden) section.replaceWith(place);
  const { violations } = await axe.run(rules);
  for (const [section, place] of hidden) place.replaceWith(section);
  return violations.map(({ id, help, nodes }) => `${id}: ${help} (${nodes.length}, ${nodes[0].target})`);
}"""


def open_report(browser: Any, path: Path, **options: Any) -> Any:
    """Open the report with axe-core in it, and with short tables and figures."""
    page = browser.new_page(**options)
    page.goto(path.as_uri())
    page.wait_for_selector("html.ready")
    page.evaluate(_SHORTEN)
    page.evaluate(axe_playwright.Axe().axe_script)
    return page


def faults(page: Any, rules: dict[str, Any] = ALL) -> list[str]:
    """What is wrong with the page as it is shown, one sentence per rule: its name, elements, and the first of them."""
    sentences: list[str] = page.evaluate(_RUN, rules)
    return sentences


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_fault(report: Path, chromium: Any, scheme: str) -> None:
    page = open_report(chromium, report, color_scheme=scheme)
    found = {}
    for name in page.eval_on_selector_all("nav a", "links => links.map(link => link.dataset.page)"):
        page.evaluate("name => { location.hash = `#page=${name}`; }", name)
        page.wait_for_selector(f"#page-{name}:visible")
        found[name] = faults(page, ALL if scheme == "light" else COLOURS)
    page.close()
    assert len(found) >= 9
    assert not {name: sentences for name, sentences in found.items() if sentences}


def test_faults_are_found(report: Path, chromium: Any) -> None:
    page = open_report(chromium, report)
    page.evaluate("document.querySelector('.about').style.color = '#ddd'")
    page.evaluate("document.documentElement.removeAttribute('lang')")
    found = {len(rules): [sentence.split(":")[0] for sentence in faults(page, rules)] for rules in (ALL, COLOURS)}
    page.close()
    assert found == {1: ["color-contrast", "html-has-lang"], 2: ["color-contrast"]}
