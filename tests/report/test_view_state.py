"""The view state: read from an untrusted hash, changed in part, and shown wherever a head is named or drawn."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headscope.report import page_file, render

from .browser import Opened
from .runs import RunWriter, add_comparison, add_read, add_samples, add_training, series, t1_answers

KNOWN = {"pages": ["overview", "circuit"], "variants": ["sft", "a&b=<c>"], "layers": 6, "heads": 8}
DEFAULTS = {"page": "overview", "variant": "", "head": "", "view": "difference", "pins": []}
DEFAULTS |= {"size": 0, "answers": "", "comparison": "", "problem": ""}


def run_module(module: str, body: str, *values: Any) -> Any:
    """Run JavaScript on one of the page's modules in node; ``given`` is the values, what is printed comes back."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine to run the page's modules in")
    path = Path(page_file.__file__).parent / "assets" / module
    script = f"import * as module from '{path.as_uri()}'; const given = JSON.parse(process.argv[1]); {body}"
    done = subprocess.run(
        [node, "--input-type=module", "-e", script, json.dumps(values)], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("hash", "changes"),
    [
        ("", {}),
        ("#circuit", {"page": "circuit"}),
        ("#page=circuit&head=L5H7&size=20", {"page": "circuit", "head": "L5H7", "size": 20}),
        ("#variant=a%26b%3D%3Cc%3E&view=base", {"variant": "a&b=<c>", "view": "base"}),
        ("#head=L6H0&variant=dpo&size=-1&view=all", {}),
        ("#head=L05H7", {}),
        ("#head=L1H2%3Cimg%3E&pins=L0H0.L0H0.<b>.L5H7", {"pins": ["L0H0", "L5H7"]}),
        ("#page=__proto__&size=1e9", {}),
        # Any text may be the name of a problem, so it is kept for its page to look for.
        ("#problem=%3Cimg%3E&comparison=T1%20%C2%B7%20sft", {"problem": "<img>", "comparison": "T1 · sft"}),
        ("#%E0%A4%A", {}),
        pytest.param("#pins=" + "L0H1." * 10**4, {"pins": ["L0H1"]}, id="long"),
    ],
)
def test_what_a_hash_does_not_know_is_the_default(hash: str, changes: dict[str, Any]) -> None:
    state = run_module("state.js", "console.log(JSON.stringify(module.readState(...given)))", hash, KNOWN)
    assert state == DEFAULTS | changes


def test_a_written_state_is_read_back_and_defaults_are_left_out() -> None:
    state = DEFAULTS | {"variant": "a&b=<c>", "head": "L5H7", "view": "base", "pins": ["L1H2", "L0H0"], "size": 2000}
    state |= {"problem": "T1-3 & <b>", "comparison": "T1 · base → sft · step 60"}
    body = "const hash = module.writeState(given[0]); const read = module.readState(hash, given[1]);"
    body += "console.log(JSON.stringify([hash, read]))"
    hash, read = run_module("state.js", body, state, KNOWN)
    assert read == state
    named = "comparison=T1%20%C2%B7%20base%20%E2%86%92%20sft%20%C2%B7%20step%2060&problem=T1-3%20%26%20%3Cb%3E"
    assert hash == f"#page=overview&variant=a%26b%3D%3Cc%3E&head=L5H7&size=2000&{named}&view=base&pins=L1H2.L0H0"
    assert run_module("state.js", body, DEFAULTS, KNOWN)[0] == "#page=overview"


GROUPS = [
    {"name": name, "variant": variant}
    for name, variant in (("base T1", "base"), ("sft T1", "sft"), ("sft T2", "sft"), ("grpo T1", "grpo"))
]


@pytest.mark.parametrize(
    ("name", "variant", "shown"),
    [
        ("", "", "base T1"),
        ("sft T2", "", "sft T2"),
        ("", "sft", "sft T1"),
        ("sft T2", "sft", "sft T2"),
        ("sft T2", "grpo", "grpo T1"),  # the bar says grpo
        ("base T1", "grpo", "base T1"),
        ("", "dpo", "base T1"),
        ("1", "", "base T1"),
        ("__proto__", "constructor", "base T1"),
    ],
)
def test_the_group_shown_is_the_named_one_or_the_first_of_the_variant(name: str, variant: str, shown: str) -> None:
    body = "console.log(JSON.stringify(module.chosenGroup(...given).name))"
    assert run_module("groups.js", body, GROUPS, name, variant) == shown


@pytest.fixture(scope="module")
def opened(report: Path, chromium: Any) -> Iterator[Opened]:
    with Opened(chromium, report) as tab:
        yield tab


def outlined(opened: Opened, page: str) -> set[str]:
    """The heads that the grids of a page have an outline around; one text per grid that was drawn."""
    return set(
        opened.page.locator(f"#page-{page} .plot").evaluate_all(
            "plots => plots.filter(plot => plot.layout?.meta?.heads === 'grid').map(plot => "
            "(plot.layout.shapes ?? []).map(shape => `L${shape.y0 + 0.5}H${shape.x0 + 0.5}`).join())"
        )
    )


def test_a_head_chosen_in_the_bar_is_chosen_on_every_page(opened: Opened) -> None:
    opened.go("#page=emergence-map")
    opened.unfold()
    opened.page.locator(".context [data-head]").select_option("L2H3")
    opened.wait_for_hash("#page=emergence-map&head=L2H3")
    assert outlined(opened, "emergence-map") == {"L2H3"}
    opened.page.locator("nav a[data-page=effects]").click()
    opened.wait_for_hash("#page=effects&head=L2H3")
    assert outlined(opened, "effects") == {"L2H3"}
    chosen = opened.page.locator("#page-effects tr.chosen").all_text_contents()
    assert chosen
    assert all("L2H3" in row for row in chosen)
    opened.page.locator(".context [data-clear]").click()
    opened.wait_for_hash("#page=effects")
    assert outlined(opened, "effects") == {""}
    assert opened.page.locator("#page-effects tr.chosen").count() == 0


def test_rows_of_the_chosen_variant_alone_are_marked(opened: Opened) -> None:
    opened.unfold()
    opened.go("#page=effects&head=L4H1&variant=grpo")
    rows = opened.page.locator("table[data-name=training-changes] tr.chosen")
    assert rows.count() == 1
    assert (rows.locator("td").nth(0).text_content(), rows.locator("td").nth(2).text_content()) == ("grpo", "L4H1")


def text(opened: Opened, selector: str) -> str:
    """The text of an element."""
    return str(opened.page.locator(selector).text_content())


def wait_for_choice(opened: Opened, chooser: str, name: str) -> None:
    """Wait until a chooser shows a name."""
    opened.page.wait_for_selector(f"[data-{chooser}] option:checked[value='{name}']", state="attached")


@pytest.mark.parametrize(
    ("page", "chooser", "of_variant"),
    [
        ("transitions", "comparison", "T1 · base → {} · step 60"),
        ("performance", "groups", "{} · T1 · step 60"),
    ],
)
def test_the_chosen_variant_is_chosen_among_answers_too(
    page: str, chooser: str, of_variant: str, opened: Opened
) -> None:
    opened.go(f"#page={page}&variant=grpo")
    wait_for_choice(opened, chooser, of_variant.format("grpo"))
    opened.page.locator(".context [data-variant]").select_option("sft")
    wait_for_choice(opened, chooser, of_variant.format("sft"))
    assert opened.page.evaluate("location.hash") == f"#page={page}&variant=sft"
    # And the other way round: the bar follows what is picked on the page.
    opened.page.locator(f"[data-{chooser}]").select_option(of_variant.format("grpo"))
    wait_for_choice(opened, "variant", "grpo")
    wait_for_choice(opened, chooser, of_variant.format("grpo"))
    assert opened.page.locator(".pairs [data-absent]").is_hidden()


def test_a_link_to_a_problem_shows_it_after_more_was_compared(chromium: Any, tmp_path: Path) -> None:
    answers = {"base": t1_answers("base"), "grpo": t1_answers("grpo"), "sft": t1_answers("sft")}
    writer = RunWriter(tmp_path / "run")
    add_samples(writer, "base", 0, "T1", answers["base"], 0.3)
    add_samples(writer, "grpo", 60, "T1", answers["grpo"], 0.3)
    add_read(writer, {name: answers[name] for name in ("base", "grpo")}, {"base": 0, "grpo": 60}, "T1")
    with Opened(chromium, render(writer.close(), tmp_path / "report.html")) as opened:
        opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert opened.page.locator("[data-flips] tr").count() == 4  # on paper, though no reader was on this page
        opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
        opened.go("#page=transitions")
        opened.page.locator("[data-next]").click()
        opened.wait_for_hash(".*problem=.*")
        hash = opened.page.evaluate("location.hash")
        opened.page.wait_for_selector("[data-flips] tr:nth-child(2)[aria-current]")
        shown = text(opened, "[data-heading] bdi")
        opened.go("#page=transitions&variant=sft")
        opened.page.locator(".pairs [data-absent]").wait_for()  # sft was not compared
    assert hash.endswith(f"&problem={shown}")
    add_samples(writer, "sft", 60, "T1", answers["sft"], 0.3)
    add_read(writer, {name: answers[name] for name in ("base", "sft")}, {"base": 0, "sft": 60}, "T1")
    writer.rows.sort(key=lambda row: str(row["labels"]["variant"]), reverse=True)  # sft comes first
    with Opened(chromium, render(writer.close(), tmp_path / "report.html"), hash) as opened:
        assert text(opened, "[data-comparison] option:first-child").startswith("T1 · base → sft")
        wait_for_choice(opened, "comparison", "T1 · base → grpo · step 60")
        assert text(opened, "[data-heading] bdi") == shown
        for unknown in ("comparison=7&problem=7", "comparison=%3Cimg%3E&problem=__proto__"):
            opened.go(f"#page=transitions&{unknown}")
            wait_for_choice(opened, "comparison", "T1 · base → sft · step 60")
            assert opened.page.locator("[data-pair]").is_visible()
            opened.go(hash)
            wait_for_choice(opened, "comparison", "T1 · base → grpo · step 60")
        assert opened.complaints == []


def test_a_click_in_a_grid_and_a_name_in_a_table_choose_a_head(opened: Opened) -> None:
    opened.go("#page=effects")
    grid = opened.page.locator("#training-changes .panel").first
    # The cell in the middle of the drawn area.
    box = grid.locator(".nsewdrag").first.bounding_box()
    assert box is not None
    at = {"x": box["width"] * (5 + 0.6) / 8.2, "y": box["height"] * (1 - (4 + 0.6) / 6.2)}
    grid.locator(".nsewdrag").first.click(position=at)
    opened.wait_for_hash("#page=effects&head=L4H5")
    name = opened.page.locator("#page-effects table[data-name=training-effects] button[data-head=L2H3]").first
    name.focus()
    opened.page.keyboard.press("Enter")
    opened.wait_for_hash("#page=effects&head=L2H3")
    assert name.get_attribute("aria-pressed") == "true"
    name.click()
    opened.wait_for_hash("#page=effects")


def test_a_link_opens_the_same_view(report: Path, chromium: Any) -> None:
    with Opened(chromium, report, "#page=effects&variant=sft&head=L2H3") as opened:
        assert opened.page.locator(".context [data-head]").input_value() == "L2H3"
        assert opened.page.locator(".context [data-variant]").input_value() == "sft"
        assert outlined(opened, "effects") == {"L2H3"}


def test_names_in_tables_keep_their_text_for_csv(opened: Opened) -> None:
    opened.go("#page=effects")
    cell = opened.page.locator("table[data-name=training-effects] tbody tr:first-child td:last-child")
    assert cell.text_content() == "L2H3 +0.80\u00a0[+0.60,\u00a0+1.00]; L4H1 −0.30\u00a0[−0.50,\u00a0−0.10]"
    assert cell.locator("button").count() == 2


def test_nothing_was_complained_about_or_asked_for(opened: Opened) -> None:
    assert opened.complaints == []
    assert opened.requests == [opened.page.url.split("#")[0]]


def click_step(opened: Opened, page: str, trace: str, step: int) -> None:
    """Click the point of a step in the first chart of a page that has the trace over steps."""
    figure = {"reward": "reward", "performance": "pass-over-steps"}[page]
    plot = opened.page.locator(f"#{figure} .plot").first
    plot.scroll_into_view_if_needed()
    opened.page.wait_for_selector(f"#{figure} .plot.js-plotly-plot")
    at = plot.evaluate(
        """(plot, [name, step]) => {
          const { x, y } = plot._fullData.find((trace) => trace.name === name);
          const { xaxis, yaxis } = plot._fullLayout;
          return { x: xaxis.l2p(step), y: yaxis.l2p(y[Array.from(x).indexOf(step)]) };
        }""",
        [trace, step],
    )
    plot.locator(".nsewdrag").first.click(position=at)


def test_six_clicks_lead_from_a_dip_of_the_reward_to_the_text_of_a_newly_wrong_answer(
    chromium: Any, tmp_path: Path
) -> None:
    run = RunWriter(tmp_path / "run", variants=("grpo",))
    add_training(run, "grpo", rewarded=True)
    add_comparison(run, "grpo", series(3, births=2))
    answers = {"base": t1_answers("base"), "grpo": t1_answers("sft")}
    add_samples(run, "base", 0, "T1", answers["base"], 0.3)
    for step in (30, 60):
        add_samples(run, "grpo", step, "T1", answers["grpo"], 0.3)
        add_read(run, answers, {"base": 0, "grpo": step}, "T1")
    clicks = 0
    with Opened(chromium, render(run.close(), tmp_path / "report.html")) as opened:

        def click(selector: str) -> None:
            nonlocal clicks
            opened.page.locator(selector).click()
            clicks += 1

        def pick(selector: str, label: str) -> None:
            nonlocal clicks
            opened.page.locator(selector).select_option(label=label)
            clicks += 2  # one opens the list

        click("nav a[data-page=reward]")
        click_step(opened, "reward", "reward", 27)
        clicks += 1
        wait_for_choice(opened, "comparison", "T1 · base → grpo · step 30")  # which is nearest
        opened.go("#page=performance")
        click_step(opened, "performance", "grpo", 60)
        wait_for_choice(opened, "comparison", "T1 · base → grpo · step 60")
        # By keyboard, or from another page, the chooser does it.
        pick("[data-comparison]", "T1 · base → grpo · step 30 (8)")
        pick("[data-change]", "newly wrong")
        assert "newly wrong" in str(opened.page.locator("[data-pair] h4").text_content())
        texts = opened.page.locator("#page-transitions [data-sides] .response").all_text_contents()
        assert [text.count("Ans 5.") for text in texts] == [0, 1]
    assert clicks <= 6
