"""The page of one head: what its file holds, how that is cut, and how a browser shows the head that is chosen."""

import base64
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headscope.heads import HeadId
from headscope.report import RunResults, render
from headscope.report.blocks import HeadDetails, Notice
from headscope.report.heads.attention import PAGE_LEVELS, packed_attention
from headscope.report.heads.details import head_details
from headscope.report.heads.edges import DIRECTIONS, EdgePair
from headscope.report.heads.numbers import packed_numbers
from headscope.report.pages.head import head
from headscope.report.sanitising import script_json
from headscope.results.attention import Attention
from headscope.results.not_run import NotRun

from .browser import Opened
from .head_runs import PIECES, attention, comparison, head_run
from .runs import RunWriter
from .test_page import HOSTILE, SHOWN

SHAPE = (3, 4)


@pytest.fixture(scope="module")
def head_results(tmp_path_factory: pytest.TempPathFactory) -> RunResults:
    """SFT and GRPO of 3 x 4 heads; sets with L1H2 were removed from SFT, and attention was read of SFT alone."""
    return RunResults(head_run(tmp_path_factory.mktemp("heads") / "run", SHAPE))


def details(results: RunResults, **options: Any) -> dict[str, Any]:
    block = head_details(results, **options)
    assert isinstance(block, HeadDetails)
    return block.data


def test_states_and_numbers_are_those_of_the_results(head_results: RunResults) -> None:
    data = details(head_results)
    sft = data["variants"][0]
    final = head_results.comparisons[0].final
    for place in range(12):
        of_head = sft["states"][3 * place : 3 * place + 3]
        expected = [series.status.ravel()[place] for _, series in head_results.comparisons[0].series]
        assert of_head == "".join(map(str, expected))
    quantities = {quantity["name"]: quantity["columns"] for quantity in sft["quantities"]}
    change = quantities["importance"]["change.value"]
    np.testing.assert_allclose(change, final.importance_change.value.ravel(), rtol=5e-3)
    post = np.array(quantities["importance"]["post.value"]) - np.array(quantities["importance"]["base.value"])
    np.testing.assert_allclose(post, final.importance_change.value.ravel(), atol=1e-3)
    assert quantities["exact effect"]["change.value"][6] == 0.8
    assert quantities["exact effect"]["named"] == [6]
    assert quantities["loss without it, T1"]["post.value"][0] is None
    assert quantities["loss without it, T1"]["named"] == [6]
    assert [quantity["name"] for quantity in sft["quantities"]].count("exact effect, less that of twin") == 1


def test_numbers_have_three_digits_and_no_number_is_none() -> None:
    given = np.array([0.0123456, 2.0, -0.0, np.nan, np.inf, 1234.5])
    assert packed_numbers(given) == [0.0123, 2, 0, None, None, 1230]


def test_edges_are_the_strongest_in_either_model(head_results: RunResults) -> None:
    pair = EdgePair.from_results(head_results, "sft")
    assert pair is not None
    (listed,) = pair.packed([1 * 4 + 2], 2)
    graph = pair.graph
    for way, flat in zip(DIRECTIONS, listed, strict=True):
        if way == "out":
            base, post = pair.base[graph.head_source(1, 2)], pair.post[graph.head_source(1, 2)]
        else:
            column = graph.port(1, way, 2)
            base, post = pair.base[:, column], pair.post[:, column]
        largest = sorted(range(len(base)), key=lambda node: -max(abs(base[node]), abs(post[node])))[:2]
        assert flat[::3] == largest
        np.testing.assert_allclose(flat[1::3], base[largest], rtol=5e-3)
        np.testing.assert_allclose(flat[2::3], post[largest], rtol=5e-3)
    (first,) = pair.packed([0], 9)
    assert [len(flat) // 3 for flat in first[:3]] == [1, 1, 1]  # a head of layer 0 reads the input alone


def test_sets_say_which_heads_they_hold(head_results: RunResults) -> None:
    data = details(head_results)
    assert sorted(data["sets"]) == [[5, 6], [6]]
    assert {row["variant"] for table in (*data["tables"], data["failures"]) for row in table["rows"]} == {"sft"}
    verdicts = data["tables"][0]
    assert [data["sets"][row["set"]] for row in verdicts["rows"]] == [[5, 6], [6]]
    (roles,) = data["roles"]
    assert (roles["heads"], roles["named"]) == ([6, 8], [0])


def test_tiles_hold_both_models(head_results: RunResults) -> None:
    packed = packed_attention(head_results)["sft"]
    (unit,) = head_results.run.results(Attention, variant="sft")
    for number, tokens in enumerate((len(PIECES), 8)):
        cells = tokens * (tokens + 1) // 2
        levels = np.frombuffer(zlib.decompress(base64.b64decode(packed["tiles"]["L1H2"][number]), -15), dtype=np.uint8)
        base, post = levels[:cells], levels[:cells] + levels[cells:]
        query, key = np.tril_indices(tokens)
        for kept, rows in zip((base, post), unit.whole.weights(HeadId(1, 2), number), strict=True):
            weights = rows[query, key]
            assert (np.abs((kept / PAGE_LEVELS) ** 2 - weights) <= 0.02 * np.sqrt(weights) + 1e-3).all()
    assert packed["texts"][0]["pieces"] == list(PIECES)
    assert packed["left_out"] == 0


def test_first_texts_come_before_second_ones_until_the_budget_is_used_up(head_results: RunResults) -> None:
    whole = packed_attention(head_results)["sft"]["tiles"]
    half = sum(len(tiles[0]) for tiles in whole.values()) + 300
    cut = packed_attention(head_results, half)["sft"]
    assert sum(tiles[0] is not None for tiles in cut["tiles"].values()) == 12
    assert 0 < sum(tiles[1] is not None for tiles in cut["tiles"].values()) < 12
    assert cut["left_out"] == sum(tile is None for tiles in cut["tiles"].values() for tile in tiles)
    nothing = packed_attention(head_results, 0)["sft"]
    assert nothing["left_out"] == 24
    assert all(tile is None for tiles in nothing["tiles"].values() for tile in tiles)


def test_weaker_edges_go_first_then_heads_of_least_importance(head_results: RunResults) -> None:
    whole = details(head_results)
    assert (whole["edges"], whole["places"]) == (5, list(range(12)))
    numbers = len(script_json({key: whole[key] for key in ("places", "edges", "variants")}))
    frame = len(
        script_json({key: value for key, value in whole.items() if key not in ("attention", "places", "variants")})
    )
    fewer = details(head_results, budget=frame + numbers - 300)
    assert fewer["edges"] < 5
    assert len(fewer["places"]) == 12
    halved = details(head_results, budget=frame + numbers // 2)
    assert len(halved["places"]) == 6
    importance = [
        c.final.base_importance + np.maximum(0, c.final.importance_change.value) for c in head_results.comparisons
    ]
    assert np.max(importance, axis=0).argmax() in halved["places"]
    assert halved["variants"][0]["states"] == whole["variants"][0]["states"]
    assert len(halved["variants"][0]["quantities"][0]["columns"]["base.value"]) == 6


@pytest.mark.slow
def test_a_large_model_stays_within_its_budgets(tmp_path: Path) -> None:
    words = [("the", " sum", "\n", "$", "x")[number % 5] for number in range(160)]
    run = head_run(tmp_path / "run", (36, 32), ("sft", "rl"), [tuple(words)] * 4, tuple(range(100, 1100, 100)))
    data = details(RunResults(run))
    of_attention = data.pop("attention")
    assert 1e6 < len(script_json(data)) <= 2e6
    assert len(data["places"]) == 36 * 32
    assert 0.9e6 < len(script_json(of_attention)) <= 1.1e6
    assert all(frame["left_out"] for frame in of_attention.values())
    assert all(frame["tiles"]["L0H0"][0] for frame in of_attention.values())


def test_what_a_run_lacks_is_no_error(tmp_path: Path) -> None:
    (block,) = head(RunResults(RunWriter(tmp_path / "empty").close())).blocks
    assert block == Notice("No comparison is done yet.")
    run = RunWriter(tmp_path / "run", ("sft",))
    run.save(comparison("sft", SHAPE, 0), variant="sft")
    run.save(NotRun("layer 0 of odd does not return its attention rows"), "attention", variant="sft")
    data = details(RunResults(run.close()))
    assert data["variants"][0]["edges"] is None
    assert (data["failures"], data["tables"], data["roles"], data["played"]) == (None, [], [], {})
    assert data["attention"] == {"sft": {"reason": "layer 0 of odd does not return its attention rows"}}


@pytest.fixture(scope="module")
def report(head_results: RunResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render(head_results.run, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def opened(report: Path, chromium: Any) -> Iterator[Opened]:
    with Opened(chromium, report, "#page=head") as tab:
        yield tab


def open_head(opened: Opened, name: str, variant: str = "sft", text: int = 0) -> None:
    """Go to a head's page and wait for its attention."""
    opened.go(f"#page=head&variant={variant}&head={name}")
    opened.page.locator(f"[data-attention][data-ready='{name} {text}']").wait_for()


def table(opened: Opened, name: str) -> list[list[str]]:
    """The texts of a table's rows on the page."""
    rows: list[list[str]] = opened.page.locator(f"#page-head table[data-name={name}] tbody").evaluate(
        "body => [...body.rows].map(row => [...row.cells].map(cell => cell.textContent.replaceAll('\\u00a0', ' ')))"
    )
    return rows


def test_a_head_is_chosen_from_the_grid_by_mouse_and_by_keys(opened: Opened) -> None:
    opened.go("#page=head")
    opened.page.locator("[data-none]").wait_for()
    grid = opened.page.locator("[data-grid]")
    assert grid.locator("button").count() == 12
    assert grid.locator("button[tabindex='0']").count() == 1
    assert "new" in str(grid.locator("button[value=L1H2]").get_attribute("aria-label"))
    grid.locator("button[value=L0H0]").focus()
    for key in ("ArrowUp", "ArrowRight", "ArrowRight", "Enter"):
        opened.page.keyboard.press(key)
    opened.page.wait_for_selector("[data-details]:visible")
    assert opened.page.url.endswith("#page=head&head=L1H2")
    assert opened.page.locator("#page-head [data-title]").text_content() == "L1H2 in sft"
    assert "sft new, grpo new" in str(opened.page.locator("[data-lead]").text_content())
    grid.locator("button[value=L1H1]").click()
    opened.page.wait_for_selector("button[value=L1H1][aria-pressed=true]")
    assert opened.page.locator("#page-head [data-title]").text_content() == "L1H1 in sft"


def test_numbers_edges_and_states_are_shown(opened: Opened) -> None:
    open_head(opened, "L1H2")
    numbers = {row[0]: row[1:] for row in table(opened, "head-numbers")}
    assert numbers["exact effect (nats)"] == [
        *("0.4 [0.7, 0.9]", "0.8 [0.7, 0.9]", "+0.8 [+0.7, +0.9]", "0.001 ●", "40 pairs")
    ]
    assert numbers["loss without it, T1 (nats per token)"] == ["–", "+0.5 [+0.4, +0.6]", "–", "0.001 ●", "30 texts"]
    of_role = ["0.01 [−0.04, 0.06]", "0.7 [0.65, 0.75]", "+0.69 [+0.67, +0.71]", "0.0001 ●", "29 texts"]
    assert numbers["reads by iteration, T1 (share)"] == of_role
    assert not any(name.startswith("reads by retrieval") for name in numbers)  # L1H2 does not play it
    assert table(opened, "head-states-sft")[0][1:] == ["·", "◆", "◆"]
    assert len(table(opened, "head-edges-q")) == 5
    edge = opened.page.locator("table[data-name=head-edges-v] button[data-head]").first
    target = edge.text_content()
    edge.click()
    opened.page.wait_for_selector(f"[data-grid] button[value={target}][aria-pressed=true]")
    assert opened.page.locator("#page-head [data-title]").text_content() == f"{target} in sft"


def test_a_sets_number_is_not_called_the_heads_own(opened: Opened) -> None:
    open_head(opened, "L1H2")
    assert [row[0] for row in table(opened, "head-verdicts")] == ["2 heads together: L1H1 L1H2", "L1H2 alone"]
    assert [row[0] for row in table(opened, "head-failures")] == ["2 heads together: L1H1 L1H2", "L1H2 alone"]
    assert opened.page.locator("[data-without] .notice").count() == 1
    labels = str(opened.page.locator("[data-labels]").text_content())
    assert "Needed for: retrieval (T1, +0.4 nats per token)" in labels
    assert "What it reads: iteration (T1, moved from L1H1)." in labels
    open_head(opened, "L0H0")
    assert "What it reads fits no role" in str(opened.page.locator("[data-labels]").text_content())
    assert "No head set that was removed" in str(opened.page.locator("[data-without]").text_content())
    assert "No removed head set" in str(opened.page.locator("[data-failures]").text_content())
    opened.go("#page=head&variant=grpo&head=L1H2")
    opened.page.locator("[data-attention]", has_text="Attention was not read in this run").wait_for()
    assert "were not looked for in this variant's answers" in str(opened.page.locator("[data-labels]").text_content())
    assert "No head set that was removed" in str(opened.page.locator("[data-without]").text_content())


def pixel(opened: Opened, view: str, query: int, key: int, tokens: int) -> list[int]:
    """Red, green, blue and opacity in the middle of a cell of a heat map."""
    colours: list[int] = opened.page.locator(f"canvas[data-view={view}]").evaluate(
        "(canvas, [query, key, tokens]) => { const scale = canvas.width / tokens; return [...canvas.getContext('2d')"
        ".getImageData((key + 0.5) * scale, (query + 0.5) * scale, 1, 1).data]; }",
        [query, key, tokens],
    )
    return colours


def test_attention_is_drawn_for_base_variant_and_difference(opened: Opened, head_results: RunResults) -> None:
    open_head(opened, "L1H2")
    (unit,) = head_results.run.results(Attention, variant="sft")
    base, post = unit.whole.weights(HeadId(1, 2), 0)
    tokens = len(PIECES)
    for query, key in ((5, 4), (5, 0), (9, 8), (9, 3)):
        for view, weight in (("base", base[query, key]), ("variant", post[query, key])):
            assert abs((pixel(opened, view, query, key, tokens)[3] / 255) ** 2 - weight) < 0.03
        red, _, blue, opacity = pixel(opened, "difference", query, key, tokens)
        difference = post[query, key] - base[query, key]
        assert abs((opacity / 255) ** 2 - abs(difference)) < 0.05
        if opacity > 30:
            assert (blue > red) == (difference > 0)
    assert pixel(opened, "variant", 3, 9, tokens)[3] == 0
    rows = table(opened, "head-attention")
    assert len(rows) == 8
    for _, place, in_base, in_post, difference in rows:
        key = int(place) - 1
        assert abs(float(in_base) - base[-1, key]) < 0.026
        assert abs(float(in_post) - post[-1, key]) < 0.026
        assert abs(float(difference.replace("−", "-")) - (post - base)[-1, key]) < 0.05
    shades = [float(row[3]) for row in rows]
    assert max(shades) > 0.4


def test_the_row_follows_keys_mouse_and_text(opened: Opened, head_results: RunResults) -> None:
    opened.page.reload()  # a head is shown with the text and the token of the one before
    open_head(opened, "L1H1")
    line = opened.page.locator("[data-attention] [aria-live]")
    tokens = opened.page.locator(".tokens")
    assert str(line.text_content()).startswith(f"Token {len(PIECES)} of {len(PIECES)}, ., reads:")
    tokens.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft"):
        opened.page.keyboard.press(key)
    assert str(line.text_content()).startswith(f"Token {len(PIECES) - 3} of {len(PIECES)}, ∅, reads:")
    opened.page.keyboard.press("Home")
    assert table(opened, "head-attention") == [["<|im_start|>", "1", "1.00", "1.00", "0.00"]]
    tokens.locator(".token").nth(5).hover()
    assert str(line.text_content()).startswith("Token 6 of")
    assert tokens.locator(".token.reads").text_content() == "9"
    shaded = tokens.locator(".token").nth(4).evaluate("token => token.style.backgroundColor")
    assert "var(--look)" in shaded
    opened.page.locator("[name=attention-view][value=difference]").check()
    (unit,) = head_results.run.results(Attention, variant="sft")
    base, post = unit.whole.weights(HeadId(1, 1), 0)
    tokens.locator(".token").nth(int(np.argmin((post - base).min(axis=1)))).hover()  # which reads some token less
    differing = tokens.locator(".token").evaluate_all("all => all.map(token => token.style.backgroundColor)")
    assert "var(--look-less)" in "".join(differing)
    opened.page.locator("[data-attention] select").select_option("1")
    opened.page.locator("[data-attention][data-ready='L1H1 1']").wait_for()
    assert tokens.locator(".token").count() == 8
    assert str(line.text_content()).startswith("Token 8 of 8")
    canvas = opened.page.locator("canvas[data-view=base]")
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": 5, "y": box["height"] * 2.5 / 8})
    assert str(line.text_content()).startswith("Token 3 of 8")
    # Another head is shown on the same text.
    opened.go("#page=head&variant=sft&head=L1H2")
    opened.page.locator("[data-attention][data-ready='L1H2 1']").wait_for()
    assert opened.page.locator("[data-attention] select").input_value() == "1"
    opened.page.locator("[data-attention] select").select_option("0")
    opened.page.locator("[data-attention][data-ready='L1H2 0']").wait_for()


def test_a_pointer_that_lies_still_leaves_the_row_to_keys(opened: Opened) -> None:
    open_head(opened, "L1H1")
    page, tokens = opened.page, opened.page.locator(".tokens")
    line = page.locator("[data-attention] [aria-live]")
    tokens.evaluate("box => box.focus({ preventScroll: true })")
    page.evaluate("window.overs = 0; document.addEventListener('mouseover', () => { window.overs += 1; })")
    page.evaluate("document.addEventListener('pointermove', move => { window.lastMove = move; })")
    tokens.locator(".token").nth(8).hover()
    assert str(line.text_content()).startswith("Token 9 of")
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    for distance in (40, -40, 60, -60):  # other tokens, and a heat map, come to lie below the pointer
        page.evaluate("distance => scrollBy(0, distance)", distance)
        page.wait_for_timeout(150)
    assert page.evaluate("window.overs") > 0
    page.evaluate(  # as browsers do that also send a move, to where the pointer is
        "document.querySelectorAll('.tokens .token')[2].dispatchEvent(new PointerEvent('pointermove', "
        "{ bubbles: true, screenX: lastMove.screenX, screenY: lastMove.screenY }))"
    )
    assert str(line.text_content()).startswith(f"Token {len(PIECES) - 1} of")
    tokens.locator(".token").nth(3).hover()
    assert str(line.text_content()).startswith("Token 4 of")


def test_a_head_chosen_on_another_page_is_open_here(opened: Opened) -> None:
    opened.go("#page=emergence-map")
    opened.page.locator("nav a[aria-current][data-page=emergence-map]").wait_for()
    opened.page.locator(".context [data-head]").select_option("L2H0")
    opened.page.locator("nav a[data-page=head]").click()
    opened.page.locator("#page-head [data-title]", has_text="L2H0 in sft").wait_for()


def test_the_chosen_head_is_printed(opened: Opened) -> None:
    opened.go("#page=methods&head=L1H1")
    opened.page.locator("nav a[aria-current][data-page=methods]").wait_for()
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator("#page-head [data-title]").text_content() == "L1H1 in sft"
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_a_narrow_screen_holds_it(report: Path, chromium: Any) -> None:
    with Opened(chromium, report) as narrow:
        narrow.page.set_viewport_size({"width": 400, "height": 800})
        open_head(narrow, "L1H2")
        assert narrow.page.evaluate("document.documentElement.scrollWidth") <= 400


def test_tables_of_a_head_are_saved_as_csv(opened: Opened) -> None:
    open_head(opened, "L1H2")
    with opened.page.expect_download() as download:
        opened.page.locator(".table:has(table[data-name=head-states-sft]) [data-csv]").click()
    saved = Path(download.value.path()).read_text(encoding="utf-8-sig")
    assert saved.splitlines() == ["step,10,20,30", "state,in neither,new,new"]
    with opened.page.expect_download() as download:
        opened.page.locator("[data-attention] .tools button", has_text="All rows").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert lines[:2] == ["query,key,base,variant", "1,1,1.0000,1.0000"]
    assert len(lines) == 1 + len(PIECES) * (len(PIECES) + 1) // 2


def test_nothing_was_complained_about_or_asked_for(opened: Opened) -> None:
    # Hints of the browser, to a test that reads pixels, and of Plotly, whose charts are all drawn to be printed.
    hints = ("Canvas2D", "Something went wrong with axis scaling")
    assert [words for words in opened.complaints if not words.startswith(hints)] == []
    assert {url for url in opened.requests if not url.startswith("blob:")} == {opened.page.url.split("#")[0]}


def test_hostile_tokens_are_text(tmp_path: Path, chromium: Any) -> None:
    pieces = (*HOSTILE.values(), "\ud800", "\x1b[31m", "\u202e\u2066", "\u200b", "")
    run = RunWriter(tmp_path / "run", ("<b>sft",))
    run.save(comparison("<b>sft", SHAPE, 0), variant="<b>sft")
    heads = [HeadId(*place) for place in np.ndindex(*SHAPE)]
    run.save(attention("<b>sft", heads, [pieces]), variant="<b>sft")
    path = render(run.close(), tmp_path / "report.html")
    assert path.stat().st_size < 2.2e6
    with Opened(chromium, path, "#page=head&head=L1H2") as opened:
        opened.page.locator("[data-attention][data-ready='L1H2 0']").wait_for()
        shown = opened.page.locator(".tokens .token").evaluate_all(
            "tokens => tokens.map(token => [token.textContent, token.children.length])"
        )
        expected = [piece if len(piece) <= 200 else f"{piece[:200]}…" for piece in SHOWN.values()]
        expected += ["\ufffd", "[31m", "\u202e\u2066", "\u200b", ""]
        assert shown == [[piece, 0] for piece in expected]
        assert opened.page.locator("#page-head [data-title] bdi").text_content() == "<b>sft"
        for _ in pieces:  # each token's row, with the tokens in its table
            opened.page.locator(".tokens").press("ArrowLeft")
        assert opened.page.locator("#page-head img, #page-head svg, #page-head script[src]").count() == 0
        assert opened.page.title() == "lab · headscope report"
        assert opened.complaints == []
        assert opened.requests == [path.as_uri()]
