"""The page: whole and partial runs render, nothing is fetched, hostile text stays text, and its size is bounded."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pytest

from headscope.errors import InputError
from headscope.report import page_file, render
from headscope.results.graph import Graph
from headscope.runs import RunDirectory

from .browser import Opened
from .runs import (
    HEADS,
    LAYERS,
    RunWriter,
    add_circuits,
    add_comparison,
    add_read,
    add_samples,
    add_training,
    faithfulness,
    head_scaling,
    samples,
    series,
    t1_answers,
    training_effects,
    verdict,
)

PAGES = ["overview", "evolution", "reward", "emergence-map", "effects", "circuit", "head", "ablation", "performance"]
PAGES += ["transitions", "methods"]

HOSTILE = {
    "ends the script": '</script><script>document.title="owned"</script>',
    "image": '<img src=x onerror="document.title=1"><svg onload=alert(1)>',
    "think": "<think>\nOkay</think> & &lt;b&gt; <!-- <script>",
    "separators": "a\u2028b\u2029c",
    "bidi": "abc \u202e\u2066 reversed \u2069 \u200b\u200d\ufeff end",
    "long": "9" * 1_000_000,
    "dollars": "$\\boxed{<b>6</b>}$ ${x} {{ 7 * 7 }} {% raw %}",
    "terminal": "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b1m\x00\x7f\ttab\r\nnext",
    "surrogate": "a \ud800 b \udfff\ud83d c 😀",
}
"""Texts that must be shown exactly, but for what ``plain_text`` takes out of the last two."""

SHOWN = HOSTILE | {
    "terminal": "[31mred[0m ]0;title 1m\ttab\nnext",
    "surrogate": "a \ufffd b \ufffd\ufffd c 😀",
}


def test_renders_within_time_and_size_and_without_leftovers(run: RunDirectory, tmp_path: Path) -> None:
    start = time.process_time()
    path = render(run, tmp_path / "deep" / "report.html")
    assert time.process_time() - start < 10
    assert path.stat().st_size < 3e6
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_shell_is_below_two_megabytes(tmp_path: Path) -> None:
    assert render(RunWriter(tmp_path / "empty").close()).stat().st_size < 2e6


def test_default_place_is_the_runs_report(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run").close()
    assert render(run) == run.path / "report" / "report.html"


def test_torch_is_not_imported() -> None:
    code = (
        "import sys, headscope.report; print([m for m in ('torch', 'transformers', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def opened(report: Path, chromium: Any) -> Iterator[Opened]:
    """The report of the whole run, opened once; a test that needs a page goes there by its hash."""
    with Opened(chromium, report) as tab:
        yield tab


def test_charts_are_drawn_when_they_come_into_sight(opened: Opened) -> None:
    opened.page.set_viewport_size({"width": 1280, "height": 720})
    opened.go("#page=effects")
    plots = opened.page.locator("#page-effects .plot")
    drawn = opened.page.locator("#page-effects .plot.js-plotly-plot")
    opened.page.wait_for_selector("#page-effects .plot.js-plotly-plot")
    assert 0 < drawn.count() < plots.count()
    before = plots.last.bounding_box()
    plots.last.scroll_into_view_if_needed()
    opened.page.wait_for_selector("#page-effects .panel:last-child .plot.js-plotly-plot")
    after = plots.last.bounding_box()
    assert (before["height"], before["width"]) == (after["height"], after["width"])  # nothing moves as it is drawn


def test_every_page_draws_its_charts_at_every_width(opened: Opened) -> None:
    for width in (400, 800, 1400):
        opened.page.set_viewport_size({"width": width, "height": 10_000})  # in which all charts are in sight
        for name in PAGES:
            opened.go(f"#page={name}")
            opened.page.wait_for_selector(f"#page-{name}:visible")
            assert opened.page.locator("section.page:visible").count() == 1
            assert opened.page.evaluate("document.documentElement.scrollWidth") <= width, name
            assert _lasting_faults(opened) == [], (name, width)
    opened.page.set_viewport_size({"width": 400, "height": 800})


def _lasting_faults(opened: Opened) -> list[str]:
    """Return what is wrong with the charts shown, once they have been drawn again in the window's new width."""
    for _ in range(50):
        faults: list[str] = opened.page.evaluate(CHART_FAULTS)
        if not faults:
            break
        opened.page.wait_for_timeout(100)
    return faults


CHART_FAULTS = """() => {
  const faults = [];
  for (const plot of document.querySelectorAll("section.page:not([hidden]) .plot")) {
    const name = `${plot.closest("figure").dataset.name}, ${plot.closest(".panel").querySelector("h4").textContent}`;
    const hasPoints = (trace) => [trace.x, trace.y, trace.z].some((values) => (values?.bdata ?? values)?.length > 0);
    if (!plot.data?.some(hasPoints)) faults.push(`${name} is empty`);
    const frame = plot.getBoundingClientRect();
    const texts = [...plot.querySelectorAll("svg text")].map((text) => {
      const { left, right, top, bottom } = text.getBoundingClientRect();
      const isTurned = Math.abs(text.getScreenCTM().b) > 0.01;
      return { words: text.textContent.trim(), left, right, top, bottom, isTurned };
    }).filter(({ words, left, right }) => words && right > left);
    texts.forEach((one, place) => {
      const { left, right, top, bottom, words } = one;
      const isWithin = left > frame.left - 1 && right < frame.right + 1;
      if (!isWithin || top < frame.top - 1 || bottom > frame.bottom + 1) faults.push(`${name}: ${words} is cut off`);
      for (const other of texts.slice(place + 1)) {
        if (one.isTurned || other.isTurned) continue; // whose boxes are larger than they
        const across = Math.min(right, other.right) - Math.max(left, other.left);
        const up = Math.min(bottom, other.bottom) - Math.max(top, other.top);
        if (across > 1.5 && up > 3) faults.push(`${name}: ${words} lies on ${other.words}`);
      }
    });
    for (const axis of [".xaxislayer-above", ".yaxislayer-above"]) for (const layer of plot.querySelectorAll(axis)) {
      const ticks = [...layer.querySelectorAll("text")].map((tick) => tick.textContent.trim()).filter(Boolean);
      if (new Set(ticks).size < ticks.length) faults.push(`${name}: ticks are named alike, ${ticks}`);
    }
  }
  return faults;
}"""
"""What is wrong with the charts of the page that is shown: empty, words cut off or on others, ticks that read alike."""


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("#page=performance&answers=2", "performance"),
        ("#page=transitions&comparison=%3Cimg%3E&problem=%ff%00", "transitions"),
        ("#page=%3Cimg%20src=x%20onerror=alert(1)%3E", "overview"),
        ("#page=__proto__&answers=-1e9", "overview"),
        ("#answers=999", "overview"),
        ("#%E0%A4%A", "overview"),
    ],
)
def test_hash_is_untrusted(given: str, shown: str, opened: Opened) -> None:
    opened.go("#page=methods")
    opened.go(given)
    opened.page.wait_for_selector(f"nav a[aria-current][data-page={shown}]")


def test_chosen_answers_are_kept_in_the_hash(opened: Opened) -> None:
    opened.go("#page=performance")
    opened.page.locator("[data-groups]").select_option(index=4)
    name = opened.page.locator("[data-groups] option").nth(4).get_attribute("value")
    opened.wait_for_hash("#page=performance&answers=.*")
    assert unquote(opened.page.evaluate("location.hash")) == f"#page=performance&answers={name}"
    assert opened.page.locator("[data-groups]").input_value() == name
    opened.go("#page=performance")


def test_two_answers_stand_side_by_side_with_marks_at_their_words(opened: Opened) -> None:
    opened.go("#transitions")
    opened.page.locator("[data-comparison]").select_option(index=0)  # base → sft
    opened.page.locator("#page-transitions [data-sides] .response").first.wait_for()
    sides = opened.page.locator("[data-sides] .response")
    assert sides.count() == 2
    shown = sides.nth(1).evaluate(
        "pane => [...pane.querySelectorAll('.mark[data-icon]')].map(mark => [mark.className, mark.textContent])"
    )
    # Each mark begins after an emoji, which is two units of JavaScript's strings, and a character that is not shown.
    assert ["mark mark-repaired", "<think>😀 0\u200b+4=8."] in shown
    assert ["mark mark-recheck", "Wait, 3+4=7."] in shown
    assert ["mark mark-right", "Ans 6."] in shown
    assert ["mark mark-answer", "Ans 5."] in shown
    assert ["mark mark-loop", "loop. loop. loop."] in shown
    assert ["mark mark-divergence", "sft"] in shown
    thought = sides.nth(1).locator("details.thought summary")
    assert thought.text_content() == "thought, 29 tokens: ✎ 1 · ↻ 1"


def test_keys_go_through_the_changed_problems(opened: Opened) -> None:
    opened.go("#page=transitions")
    heading = opened.page.locator("[data-heading] bdi")
    first = heading.text_content()
    opened.page.keyboard.press("n")
    opened.wait_for_hash(".*&problem=.*")
    second = heading.text_content()
    assert opened.page.evaluate("location.hash").endswith(f"&problem={second}")
    opened.page.keyboard.press("p")
    opened.wait_for_hash(f".*&problem={first}")
    assert heading.text_content() == first
    opened.page.keyboard.press("t")
    assert opened.page.locator("[data-sides] details.thought[open]").count() in (0, 2)
    opened.page.locator("[data-change]").select_option("gained")
    opened.wait_until_shown()
    assert opened.page.locator("[data-flips] tr").count() == 4
    assert "newly right" in str(opened.page.locator("[data-heading]").text_content())
    opened.page.locator("[data-failure]").select_option(index=1)
    opened.wait_until_shown()
    assert opened.page.locator("[data-flips] tr").count() in (0, 1, 4)


def test_two_answers_scroll_together_unless_told_not_to(opened: Opened) -> None:
    opened.go("#page=transitions")
    panes = opened.page.locator("[data-sides] .response")
    panes.first.wait_for()
    panes.evaluate_all("panes => panes.forEach((pane, index) => { pane.style.maxHeight = `${60 + 10 * index}px`; })")
    panes.nth(0).evaluate("pane => { pane.scrollTop = 1e6; }")
    at_end = "pane => Math.abs(pane.scrollHeight - pane.clientHeight - pane.scrollTop) <= 1"
    opened.page.wait_for_timeout(100)
    assert panes.nth(1).evaluate(at_end)
    assert panes.nth(1).evaluate("pane => pane.scrollTop") > 0
    opened.page.locator("[data-together]").uncheck()
    panes.nth(1).evaluate("pane => { pane.scrollTop = 0; }")
    opened.page.wait_for_timeout(100)
    assert panes.nth(0).evaluate(at_end)
    opened.page.locator("[data-together]").check()


def test_a_picked_problem_keeps_the_keyboards_place(opened: Opened) -> None:
    opened.go("#page=transitions")
    button = opened.page.locator("[data-flips] tr:nth-child(3) button")
    button.focus()
    opened.page.keyboard.press("Enter")
    opened.page.wait_for_selector("[data-flips] tr:nth-child(3)[aria-current]")
    assert button.evaluate("button => button === document.activeElement")
    assert button.text_content() == opened.page.locator("[data-heading] bdi").text_content()


def test_printing_shows_all_pages(opened: Opened) -> None:
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator("section.page:visible").count() == len(PAGES)
    opened.page.emulate_media(media="print")
    opened.page.evaluate("document.body.style.width = '720px'")  # A4 within its margins; a printer resizes no window
    beyond = """() => [...document.querySelectorAll(".panel")].filter((panel) =>
        [...panel.querySelectorAll(".main-svg")].some((svg) =>
            svg.getBoundingClientRect().right > panel.getBoundingClientRect().right)).length"""
    assert opened.page.locator(".plot .main-svg").count() > 0
    assert opened.page.evaluate(beyond) == 0
    opened.page.emulate_media(media="screen")
    opened.page.evaluate("document.body.style.width = ''")
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.page.locator(".plot .main-svg[viewBox]").count() == 0
    assert opened.page.locator("section.page:visible").count() == 1


def test_nothing_was_complained_about_or_asked_for(opened: Opened) -> None:
    assert opened.complaints == []
    assert opened.requests == [opened.page.url.split("#")[0]]


def test_hostile_text_is_shown_as_it_is(tmp_path: Path, chromium: Any) -> None:
    run = RunWriter(tmp_path / "run", name="<b>study</b></title>")
    add_answers_to_hostile_problems(run, "T<i>1</i>")
    add_comparison(run, "sft", series(0, 1))
    run.failed("scores", "</li><script>document.title='owned'</script>\x1b[31m", variant="sft")
    path = render(run.close(), responses=len(HOSTILE))
    with Opened(chromium, path, "#page=performance") as opened:
        assert opened.page.title() == "<b>study</b></title> · headscope report"
        assert _shown_responses(opened) == SHOWN
        opened.go("#transitions")
        assert _shown_sides(opened) == SHOWN
        assert opened.page.locator("section img, section svg[onload]").count() == 0
        assert opened.complaints == []
        assert opened.requests == [path.as_uri()]


def test_hostile_names_are_text_on_every_page(tmp_path: Path, chromium: Any) -> None:
    variant = "".join(HOSTILE[name] for name in ("ends the script", "image", "bidi", "dollars"))
    variant += '<a href="https://example.org">a</a>'  # which charts would make a link of
    task = f"{HOSTILE['separators']}<i>T1</i>"
    path = render(hostile_names_run(tmp_path / "run", variant, task))
    with_task = ("overview", "effects", "head", "ablation", "performance", "transitions")
    elements = "img, iframe, object, [onload], [onerror], i, a[href^=http], script:not([type='application/json'])"
    with Opened(chromium, path) as opened:
        assert opened.unfold() > len(PAGES)
        for name in PAGES:
            opened.go(f"#page={name}&head=L2H3")
            section = opened.page.locator(f"#page-{name}")
            section.wait_for()
            shown = opened.page.evaluate(
                "name => { const page = document.querySelector(`#page-${name}`).cloneNode(true);"
                " for (const data of page.querySelectorAll('script')) data.remove(); return page.textContent; }",
                name,
            )
            assert variant in shown, name
            assert (task in shown) == (name in with_task), name
            assert section.locator(elements).count() == 0, name
            # In charts too: an SVG link has another namespace.
            assert section.locator(".plot svg a").count() == 0, name
        assert opened.page.title() == "lab · headscope report"
        # Plotly asks for MathJax where a name has dollars; there is none, on purpose.
        assert [words for words in opened.complaints if "MathJax" not in words] == []
        assert opened.requests == [path.as_uri()]


def test_a_folded_table_is_read_when_it_is_opened(opened: Opened) -> None:
    opened.go("#page=emergence-map&head=L2H3")
    details = opened.page.locator("#page-emergence-map details.folded").first
    assert details.locator("table").count() == 0
    details.locator("summary").click()
    details.locator("table").wait_for()
    assert details.locator("button[data-head=L2H3][aria-pressed=true]").count() >= 1
    with opened.page.expect_download() as download:
        details.locator("[data-csv]").click()
    assert Path(download.value.path()).read_text(encoding="utf-8-sig").startswith("variant,")


def hostile_names_run(path: Path, variant: str, task: str) -> RunDirectory:
    """Write a run with something on every page, whose one variant and task have these names."""
    run = RunWriter(path, variants=(variant,))
    add_training(run, variant, rewarded=True)
    add_comparison(run, variant, series(3, births=4))
    add_circuits(run, variant, 60, Graph(LAYERS, HEADS))
    for model, step in (("base", 0), (variant, 60)):
        run.save(faithfulness(0.9), variant=variant, model=model, step=step, pairs="main")
    answers = {"base": t1_answers("base"), variant: t1_answers("sft")}
    answers = {model: replace(result, task=task) for model, result in answers.items()}
    steps = {"base": 0, variant: 60}
    for model, result in answers.items():
        add_samples(run, model, steps[model], task, result, 0.5)
    add_read(run, answers, steps, task)
    run.save(verdict(-0.14, "supported", task), variant=variant, heads="emergent", operator="zero", task=task)
    run.save(training_effects(variant, 0.8), variant=variant)
    run.save(replace(head_scaling(), task=task), variant=variant, task=task)
    run.failed("scores", HOSTILE["image"], variant=variant, step=10)
    return run.close()


def add_answers_to_hostile_problems(run: RunWriter, task: str) -> None:
    """Add answers of base and SFT with the same hostile texts, one of the two right on every problem."""
    answers = {
        "base": samples(task, HOSTILE, ("wrong", "correct", "correct")),
        "sft": samples(task, HOSTILE, ("correct", "wrong", "unfinished")),
    }
    for variant, result in answers.items():
        add_samples(run, variant, 0, task, result, 0.5)
    add_read(run, answers, {"base": 0, "sft": 0}, task)


def _shown_sides(opened: Opened) -> dict[str, str]:
    """Problem id to the text of its two answers, folds left out, if they are the same."""
    opened.page.locator("[data-sides] .response").first.wait_for()
    shown = {}
    problems = opened.page.locator("[data-flips] tr td:first-child bdi").all_text_contents()
    for index, problem in enumerate(problems):
        opened.go(f"#page=transitions&problem={quote(problem)}")
        opened.page.wait_for_selector(f"[data-flips] tr:nth-child({index + 1})[aria-current]")
        texts = opened.page.locator("[data-sides] .response").evaluate_all(
            "panes => panes.map(pane => { for (const part of pane.querySelectorAll('summary')) part.remove();"
            " return pane.textContent; })"
        )
        assert texts[0] == texts[1]
        shown[str(opened.page.locator("[data-heading] bdi").text_content())] = texts[0]
    return shown


def _shown_responses(opened: Opened) -> dict[str, str]:
    """Problem id to the text node of its opened response."""
    shown = {}
    for entry in opened.page.locator("[data-answers] details").all():
        entry.locator("summary").evaluate("summary => summary.click()")
        entry.locator("pre").wait_for()
        problem = entry.locator(".problem").text_content().removeprefix("problem ").removesuffix(", sample 0")
        shown[problem] = entry.locator("pre").evaluate("pre => pre.childNodes.length === 1 && pre.firstChild.data")
    return shown


def test_terminal_controls_are_stripped_and_surrogates_replaced(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", name="a\ud800b")
    text = "\x1b[31mred\x07\r\nnext\ttab\x9b1m \ud800"
    add_samples(run, "sft", 0, "T1", samples("T1", {"p": text}), 0.5)
    html = render(run.close()).read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" class="response-data">(.*?)</script>', html)
    assert data is not None
    assert json.loads(data[1])[0]["items"][0]["response"] == "[31mred\nnext\ttab1m \ufffd"
    assert "<title>a\ufffdb " in html


def test_partial_run_says_what_is_missing(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run")
    add_comparison(run, "grpo", series(0, 1))
    for step in (10, 20, 30):
        run.failed("scores", "ran out of memory", variant="sft", step=step)
    run.planned("verdict", variant="grpo", heads="emergent", operator="zero", task="T1")
    html = render(run.close()).read_text(encoding="utf-8")
    assert "1 of 5 units done, 3 failed, 1 missing" in html
    assert "scores sft 10 and 2 more: ran out of memory" in html
    assert "No evaluation is done yet." in html


def test_too_large_a_report_is_refused_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_file, "MOST_BYTES", 10**6)
    run = RunWriter(tmp_path / "empty").close()
    with pytest.raises(InputError, match=r"\d MB large, above the 1 MB .*responses=0"):
        render(run, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_large_report_warns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_file, "WARN_BYTES", 10**6)
    with pytest.warns(UserWarning, match=r"\d MB large"):
        render(RunWriter(tmp_path / "empty").close(), tmp_path / "report.html")


def test_unit_of_a_newer_headscope_is_refused(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run")
    run.json("comparison", "comparison.json", {"schema_version": 99}, variant="sft")
    with pytest.raises(InputError, match="schema_version 99"):
        render(run.close())


def test_csv_keeps_numbers_and_defuses_formulas() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine to run the page's modules in")
    tables = Path(page_file.__file__).parent / "assets" / "tables.js"
    show = "console.log(JSON.stringify(JSON.parse(process.argv[1]).map(csvField)))"
    script = f"import {{ csvField }} from '{tables.as_uri()}'; {show}"
    given = ["-0.123456789", "1e-05", "=HYPERLINK()", 'say "hi", you', "−0.12"]
    done = subprocess.run(
        [node, "--input-type=module", "-e", script, json.dumps(given)], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == ["-0.123456789", "1e-05", "'=HYPERLINK()", '"say ""hi"", you"', "−0.12"]
