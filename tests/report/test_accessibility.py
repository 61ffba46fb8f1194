"""What axe-core finds on each page, in light and dark; and that it finds what is wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

axe_playwright = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-core is not installed")


ALL: dict[str, Any] = {"resultTypes": ["violations"]}
COLOURS = ALL | {"runOnly": ["color-contrast"]}
"""The rule that dark pages could break where light ones do not; all rules take a minute."""


_SHORTEN = """() => {
  for (const body of document.querySelectorAll("tbody")) for (const row of [...body.rows].slice(3)) row.remove();
  for (const panel of document.querySelectorAll(".panels > .panel ~ .panel")) panel.remove();
}"""
"""Further rows and panels are made of the same elements; contrast takes as long as there are words to look at."""

_OPEN_DETAILS = """async () => {
  const frame = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  await frame(); // for what the hash has changed
  for (const details of document.querySelectorAll("section:not([hidden]) details")) details.open = true;
  await frame(); // for what is written into them when they are opened
}"""

_RUN = """async rules => {
  const hidden = [...document.querySelectorAll("section[hidden]")].map(section => [section, new Comment()]);
  for (const [section, place] of hidden) section.replaceWith(place);
  const { violations } = await axe.run(rules);
  for (const [section, place] of hidden) place.replaceWith(section);
  return violations.map(({ id, help, nodes }) => `${id}: ${help} (${nodes.length}, ${nodes[0].target})`);
}"""


@pytest.fixture(scope="module")
def axed_page(report: Path, chromium: Any) -> Iterator[Any]:
    """The report with axe-core in it, with short tables and figures, and all charts drawn."""
    page = chromium.new_page()
    page.goto(report.as_uri())
    page.wait_for_load_state("load")
    page.evaluate(_SHORTEN)
    page.evaluate("for (const moment of ['beforeprint', 'afterprint']) dispatchEvent(new Event(moment))")
    page.evaluate(axe_playwright.Axe().axe_script)
    yield page
    page.close()


def faults(page: Any, rules: dict[str, Any] = ALL) -> list[str]:
    """What is wrong with the page as it is shown, one sentence per rule: its name, elements, and the first of them."""
    sentences: list[str] = page.evaluate(_RUN, rules)
    return sentences


def test_no_page_has_a_fault_before_anything_is_chosen(axed_page: Any) -> None:
    # The other pages hold the same elements when a head is chosen, and more when their details are open.
    assert not faults_by_view(axed_page, ["circuit", "head"])


def test_no_page_has_a_fault_with_a_head_chosen_a_pin_and_all_details_open(axed_page: Any) -> None:
    names = axed_page.eval_on_selector_all("nav a", "links => links.map(link => link.dataset.page)")
    assert len(names) >= 9
    assert not faults_by_view(axed_page, names, "&variant=sft&head=L2H3&pins=L1H3", opens_details=True)
    assert axed_page.locator("[data-pins-panel]:not([hidden]), [data-head-panel]:not([hidden])").count() == 2
    assert axed_page.locator("#page-head [data-details]:not([hidden])").count() == 1
    assert axed_page.locator("details.folded[open] table").count() >= 9


def faults_by_view(
    page: Any, names: list[str], chosen: str = "", opens_details: bool = False
) -> dict[tuple[str, str], list[str]]:
    """Return the faults of the pages that have some, in light and in dark; chosen: the rest of their hash."""
    found = {}
    for name in names:
        page.evaluate("hash => { location.hash = hash; }", f"#page={name}{chosen}")
        page.wait_for_selector(f"#page-{name}:visible")
        if opens_details:
            page.evaluate(_OPEN_DETAILS)
            page.evaluate(_SHORTEN)
        for scheme, rules in (("light", ALL), ("dark", COLOURS)):
            page.emulate_media(color_scheme=scheme)
            if sentences := faults(page, rules):
                found[name, scheme] = sentences
    return found


def test_faults_are_found(axed_page: Any) -> None:
    axed_page.emulate_media(color_scheme="light")
    axed_page.evaluate("location.hash = '#page=methods'")
    axed_page.wait_for_selector("#page-methods:visible")
    axed_page.evaluate("document.querySelector('.about').style.color = '#ddd'")
    axed_page.evaluate("document.documentElement.removeAttribute('lang')")
    found = {len(rules): [sentence.split(":")[0] for sentence in faults(axed_page, rules)] for rules in (ALL, COLOURS)}
    assert found == {1: ["color-contrast", "html-has-lang"], 2: ["color-contrast"]}
    axed_page.emulate_media(color_scheme="dark")
    axed_page.evaluate("document.querySelector('.about').style.color = '#333'")
    assert [sentence.split(":")[0] for sentence in faults(axed_page, COLOURS)] == ["color-contrast"]
