"""The page Circuit in a browser."""

import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headscope.report import RunResults, render
from headscope.report.circuit_pairs import MOST_EDGES, circuit_pairs
from headscope.results.comparison import CircuitSize
from headscope.runs import RunDirectory

from .browser import Opened
from .runs import RunWriter, add_circuits, add_comparison, comparison, estimate, faithfulness, series
from .test_circuit import LARGE, PLAIN, validate_pinned
from .test_page import HOSTILE


@pytest.fixture(scope="module")
def opened(report: Path, chromium: Any) -> Iterator[Opened]:
    with Opened(chromium, report, "#page=circuit") as opened:
        yield opened


def text(opened: Opened, name: str) -> str:
    """The text of a part of the page."""
    return str(opened.page.locator(f".circuit [data-{name}]").first.text_content())


def rows(opened: Opened) -> list[list[str]]:
    """The cells of the edges' table."""
    cells = "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))"
    shown: list[list[str]] = opened.page.locator("table[data-name=circuit-edges] tbody tr").evaluate_all(cells)
    return shown


def test_the_slider_stops_at_evaluated_sizes_and_says_their_faithfulness(opened: Opened) -> None:
    opened.go("#page=circuit")
    # The size in which heads are counted comes first.
    assert text(opened, "size-text").startswith("36 of 3,628 edges (1 %): faithfulness 0.72 [0.70, 0.74] in base")
    slider = opened.page.locator(".circuit input[type=range]")
    slider.focus()
    opened.page.keyboard.press("ArrowRight")
    opened.wait_for_hash("#page=circuit&size=50")
    assert text(opened, "size-text").startswith("50 of 3,628 edges (1.38 %): faithfulness was not measured here; next")
    opened.page.get_by_role("button", name="363", exact=True).click()
    opened.wait_for_hash("#page=circuit&size=363")
    assert "faithfulness 0.90 [0.88, 0.92] in base, 0.90 [0.88, 0.92] in sft." in text(opened, "size-text")
    marks = opened.page.locator("#circuit-sizes option").evaluate_all("marks => marks.map(mark => mark.value)")
    assert slider.input_value() == marks[2]
    assert opened.page.locator("[data-evaluated] tr[aria-current]").count() == 1


def test_views_show_either_circuit_or_what_training_did(opened: Opened, run: RunDirectory) -> None:
    (pair, _) = circuit_pairs(RunResults(run))
    in_base, in_post = pair.circuit(pair.base_rank, 300), pair.circuit(pair.post_rank, 300)
    counts = {"kept": in_base & in_post, "born": in_post & ~in_base, "lost": in_base & ~in_post}
    expected = ", ".join(f"{int(edges.sum())} {name}" for name, edges in counts.items())
    opened.go("#page=circuit&size=300")
    assert text(opened, "counts").endswith(f": {expected}.")
    assert all(edges.any() for edges in counts.values())
    opened.page.locator("[data-all-rows]").click()
    changes = [row[5] for row in rows(opened)]
    assert {name: changes.count(name) for name in counts} == {name: int(edges.sum()) for name, edges in counts.items()}
    for view, edges in (("base", in_base), ("variant", in_post)):
        opened.page.locator(f".circuit input[value={view}]").check()
        opened.wait_for_hash(f"#page=circuit&size=300&view={view}")
        assert text(opened, "counts") == f"{int(edges.sum())} edges without loose ends."


def test_a_click_chooses_a_head_and_the_other_pages_know(opened: Opened) -> None:
    opened.go("#page=circuit&size=363")
    click_head(opened, 1, 3)
    opened.wait_for_hash("#page=circuit&head=L1H3&size=363")
    assert text(opened, "head-name") == "L1H3"
    assert opened.page.locator(".context [data-head]").input_value() == "L1H3"
    opened.page.locator("nav a[data-page=emergence-map]").click()
    opened.wait_for_hash("#page=emergence-map&head=L1H3&size=363")
    shapes = "plots => plots.map(plot => plot.layout.shapes.map(shape => [shape.x0 + 0.5, shape.y0 + 0.5]))"
    assert opened.page.locator("#emergence-map .plot").evaluate_all(shapes) == [[[3, 1]], [[3, 1]]]
    opened.go("#page=circuit&head=L1H3&size=363")
    click_head(opened, 1, 3)
    opened.wait_for_hash("#page=circuit&size=363")


def click_head(opened: Opened, layer: int, head: int) -> None:
    """Click a head's place on the grid, found by the page's own layout."""
    canvas = opened.page.locator(".circuit canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    # As circuit-layout.js has it: 46 pixels of labels, equal columns for 8 heads and two more, rows of 96 from below.
    cell = min(112, (box["width"] - 46) / 10)
    base = box["height"] - 40
    opened.page.mouse.click(box["x"] + 46 + cell * (head + 0.5), box["y"] + base - (layer + 0.5) * 96)


def test_keys_move_over_the_grid_choose_pin_and_let_go(opened: Opened) -> None:
    opened.go("#page=circuit&size=363")
    canvas = opened.page.locator(".circuit canvas")
    canvas.evaluate("canvas => canvas.blur()")
    canvas.focus()
    for key in ("ArrowUp", "ArrowRight", "ArrowRight", "Enter"):
        opened.page.keyboard.press(key)
    opened.wait_until_shown()
    chosen = opened.page.locator(".context [data-head]").input_value()
    assert chosen.startswith("L")
    assert text(opened, "pointed").startswith(f"{chosen}: ")
    opened.page.keyboard.press("p")
    opened.page.wait_for_selector("[data-pins-panel]:visible")
    assert text(opened, "config") == f"ablate:\n  heads: [named]\n  named: [{chosen}]\n"
    opened.page.keyboard.press("Escape")
    opened.wait_for_hash(f"#page=circuit&size=363&pins={chosen}")
    assert canvas.evaluate("canvas => canvas === document.activeElement")
    for _ in range(10):
        opened.page.keyboard.press("ArrowLeft")
    assert "H0: " in text(opened, "pointed")


def test_a_link_opens_the_same_view(
    report: Path, chromium: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hash = "#page=circuit&variant=grpo&head=L1H3&size=363&view=base&pins=L3H5.L1H1"
    with Opened(chromium, report, hash) as opened:
        assert text(opened, "title") == "base → grpo, step 60"
        assert opened.page.locator(".circuit input[value=base]").is_checked()
        assert text(opened, "head-name") == "L1H3"
        assert text(opened, "size-text").startswith("363 of 3,628 edges")
        validate_pinned(text(opened, "config"), tmp_path, capsys)
        opened.page.get_by_role("button", name="Unpin L3H5").click()
        opened.wait_for_hash(".*&view=base&pins=L1H1")
        assert opened.complaints == []


def test_paths_and_edges_of_the_chosen_head_are_told_in_words(opened: Opened) -> None:
    opened.go("#page=circuit&size=1000&view=base&head=L1H3")
    counts = text(opened, "head-counts")
    opened.page.locator("[data-all-rows]").click()
    edges = [row[1].split(" → ") for row in rows(opened)]
    entering, leaving = (sum(ends[place] == "L1H3" for ends in edges) for place in (1, 0))
    assert counts.startswith(f"{entering} edges in (q ")
    assert counts.endswith(f", {leaving} edges out.")
    paths = opened.page.locator("[data-paths] li").all_text_contents()
    assert 1 <= len(paths) <= 3
    assert all(path.startswith("L1H3 → ") and " → logits; weakest edge " in path for path in paths)


def test_the_grid_is_drawn_in_the_chosen_heads_edges_alone(opened: Opened) -> None:
    """Pixels: choosing a head fades the others; the base's view has both hues of sign."""
    ink = """(canvas) => {
      const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
      const seen = { blue: 0, orange: 0, any: 0 };
      for (let at = 0; at < data.length; at += 4) {
        const [red, green, blue] = data.slice(at, at + 3);
        if (green < 195) seen.any++;
        if (blue > red + 60) seen.blue++;
        if (red > blue + 60) seen.orange++;
      }
      return seen;
    }"""
    canvas = opened.page.locator(".circuit canvas")
    opened.go("#page=circuit&size=363&view=base")
    whole = canvas.evaluate(ink)
    assert min(whole["blue"], whole["orange"]) > 1000
    opened.go("#page=circuit&size=363&view=base&head=L1H3")
    assert canvas.evaluate(ink)["any"] < whole["any"] * 0.9


def test_csv_has_all_rows_with_the_numbers_as_they_are_kept(opened: Opened) -> None:
    opened.go("#page=circuit&size=363&view=base")
    count = int(text(opened, "counts").split()[0])
    assert len(rows(opened)) == 100 < count
    with opened.page.expect_download() as download:
        opened.page.locator("#page-circuit [data-csv]").click()
    lines = Path(download.value.path()).read_text(encoding="utf-8-sig").splitlines()
    assert lines[0] == "variant,edge,port,score base,score variant,change"
    assert len(lines) == 1 + count
    assert len(lines[1].split(",")[3].strip("-").replace(".", "").lstrip("0")) >= 4


def test_the_page_fits_every_width_and_screen(report: Path, chromium: Any) -> None:
    context = chromium.new_context(device_scale_factor=2)
    try:
        with Opened(context, report, "#page=circuit&size=363&head=L1H3&pins=L1H1") as opened:
            canvas = opened.page.locator(".circuit canvas")
            for width in (400, 800, 1400):
                opened.page.set_viewport_size({"width": width, "height": 900})
                for scheme in ("light", "dark"):
                    opened.page.emulate_media(color_scheme=scheme)
                    opened.page.wait_for_timeout(50)  # the page draws anew after it is laid out
                    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
                    dots, wide = canvas.evaluate("canvas => [canvas.width, canvas.clientWidth]")
                    assert abs(dots - 2 * wide) <= 2
                    assert wide > 0.8 * min(width, 1000)
                    paper = canvas.evaluate("canvas => canvas.getContext('2d').getImageData(0, 0, 1, 1).data[0]")
                    assert (paper > 200) == (scheme == "light")
            assert other_complaints(opened) == []
    finally:
        context.close()


@pytest.mark.parametrize("page", ["circuit", "methods"])
def test_printing_draws_the_circuit_on_paper_with_all_its_edges(page: str, opened: Opened) -> None:
    opened.go("#page=circuit&size=363&view=base")
    count = int(text(opened, "counts").split()[0])
    opened.go(f"#page={page}&size=363&view=base")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.locator(".circuit canvas").is_visible()
    assert len(rows(opened)) == count > 100
    opened.page.evaluate("dispatchEvent(new Event('afterprint'))")
    opened.go("#page=circuit&size=363&view=base")
    assert len(rows(opened)) == 100


def other_complaints(opened: Opened) -> list[str]:
    """What the browser complained about, but for the tests' own look at the pixels."""
    return [complaint for complaint in opened.complaints if "willReadFrequently" not in complaint]


def test_nothing_was_complained_about_or_asked_for(opened: Opened) -> None:
    assert other_complaints(opened) == []
    assert {url for url in opened.requests if not url.startswith("blob:")} == {opened.page.url.split("#")[0]}


def test_two_thousand_edges_of_a_large_model_are_drawn_at_once(
    tmp_path: Path, chromium: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    add_circuits(run, "sft", 60, LARGE)
    run.save(faithfulness(0.9), variant="sft", model="sft", step=60, pairs="main")
    checkpoints = series(3, 1)
    add_comparison(run, "sft", checkpoints)
    path = render(run.close(), tmp_path / "report.html")
    with Opened(chromium, path, "#page=circuit&view=base&size=2022") as opened:
        # Circuits of more than 2,000 edges are not pruned, so all that the page holds of the base is drawn.
        assert "Only the strongest 2,000 of either model are here." in text(opened, "size-text")
        edges = text(opened, "counts")
        assert MOST_EDGES <= int(edges.split()[0].replace(",", "")) < MOST_EDGES + 30
        session = opened.page.context.new_cdp_session(opened.page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})

        def thread_seconds() -> float:
            metrics = session.send("Performance.getMetrics")["metrics"]
            return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

        for view in ("base", "difference"):
            opened.go(f"#page=circuit&view={view}&size=2022")
            assert opened.page.locator(f".circuit input[value={view}]").is_checked()
            opened.page.evaluate(DRAWS)  # the browser compiles what is run often
            before = thread_seconds()
            times = opened.page.evaluate(DRAWS)
            processor = 1000 * (thread_seconds() - before) / len(times)
            with capsys.disabled():
                clock = f"{statistics.median(times):.0f} ms by the clock ({min(times):.0f} to {max(times):.0f})"
                view_edges = f"{view}, {text(opened, 'counts').split(' with')[0]}"
                print(f"\n36 x 32 heads, {view_edges}: {clock}, {processor:.0f} ms of the main thread per draw")
            # 60 to 140 ms, by what else the machine does; a draw whose cost grows with the edges squared takes seconds.
            assert processor < 400, view
        assert other_complaints(opened) == []


DRAWS = """() => Array.from({ length: 9 }, () => {
  const canvas = document.querySelector(".circuit canvas");
  const start = performance.now();
  canvas.dispatchEvent(new Event("blur")); // which draws anew
  canvas.getContext("2d").getImageData(0, 0, 1, 1); // until then nothing need be painted
  return performance.now() - start;
})"""
"""Draw the circuit nine times; return the milliseconds that each took."""


def test_hostile_names_stay_text(tmp_path: Path, chromium: Any) -> None:
    name = HOSTILE["ends the script"] + HOSTILE["image"] + HOSTILE["bidi"]
    run = RunWriter(tmp_path / "run", variants=(name, "L1H3"))
    low = CircuitSize(0.2, estimate(0.4, 0.02), estimate(0.5, 0.02), 0.8, given=False)
    run.save(replace(comparison(name, series(3, 1)), circuit=low), variant=name)
    for variant in (name, "L1H3"):
        add_circuits(run, variant, 60, PLAIN)
        run.save(faithfulness(0.9), variant=variant, model=variant, step=60, pairs="main")
    path = render(run.close(), tmp_path / "report.html")
    with Opened(chromium, path, "#page=circuit&size=363") as opened:
        assert text(opened, "title") == f"base → {name}, step 60"
        assert rows(opened)[0][0] == name
        opened.page.locator(".context [data-variant]").select_option(index=1)
        opened.page.wait_for_selector(".circuit canvas:visible")
        assert opened.page.locator(".context [data-variant]").input_value() == name
        assert text(opened, "title") == f"base → {name}, step 60"
        opened.page.locator(".context [data-variant]").select_option("L1H3")
        opened.wait_for_hash(".*variant=L1H3.*")
        assert rows(opened)[0][0] == "L1H3"
        assert opened.page.locator("section img, section svg[onload]").count() == 0
        assert "owned" not in opened.page.title()
        assert opened.complaints == []
        assert opened.requests == [path.as_uri()]
