"""The paper's figures and tables from a run: what is drawn, what is said to be missing, and the files of both."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.text import Text

from headscope.cli.main import main
from headscope.comparison.ablation import ablation_verdict
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.measures.pass_at_k import pass_at_k_by_problem
from headscope.report.paper import FIGURES, benchmarks, circuits, cohorts, files, maps, score_tables, write_figures
from headscope.report.paper.exhibit import Exhibit
from headscope.report.paper.latex import escape_latex, latex_figure, latex_table
from headscope.report.paper.style import (
    FORMATS,
    LEAST_POINTS,
    TALLEST,
    TWO_COLUMNS,
    new_figure,
    paper_style,
    save_figure,
    short_name,
)
from headscope.report.run_results import RunResults
from headscope.results.edges import EdgeScores
from headscope.results.overlap import RelativeChanges
from headscope.results.table import Table
from headscope.results.thinking import Thinking
from headscope.runs import RunDirectory

from .runs import (
    HEADS,
    LAYERS,
    STEPS,
    RunWriter,
    add_samples,
    comparison,
    emergence,
    estimate,
    samples,
    series,
    verdict,
    whole_run,
)

HOSTILE = r"a_b%$\input{/etc/passwd}"


def edit_study(run: RunDirectory, **variants: dict[str, Any]) -> RunDirectory:
    """Write more about the variants into the lock; ``discover`` and ``base`` are taken for those sections."""
    lock = run.lock()
    for section in ("discover", "base"):
        lock["study"][section] |= variants.pop(section, {})
    for variant in lock["study"]["variants"]:
        variant |= variants.get(variant["name"], {})
    (run.path / "study.lock.json").write_text(json.dumps(lock))
    return RunDirectory.open(run.path)


def add_relative_changes(run: RunDirectory) -> RunDirectory:
    """Add relative changes of importance of both variants."""
    writer = RunWriter(run.path)
    writer.rows = run.lock()["units"]
    changes = {name: np.linspace(-1, 1, 48).reshape(1, LAYERS, HEADS) for name in ("sft", "grpo")}
    writer.save(RelativeChanges(changes, (), 0.8))
    return writer.close()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A whole run of SFT and GRPO, and its study says so."""
    folder = tmp_path_factory.mktemp("paper") / "run"
    written = add_relative_changes(whole_run(folder))
    return edit_study(written, sft={"method": "sft"}, grpo={"method": "grpo"}, discover={"tasks": ["lab-train"]})


@pytest.fixture(scope="module")
def exhibits(run: RunDirectory) -> dict[str, Exhibit]:
    """Every figure and table of that run, drawn but not saved."""
    results = RunResults(run)
    with paper_style():
        return {entry.stem: entry.make(results) for entry in FIGURES}


def make(run: RunDirectory, function: Callable[[RunResults], Exhibit]) -> Exhibit:
    with paper_style():
        return function(RunResults(run))


def records(exhibit: Exhibit, name: str) -> list[dict[str, Any]]:
    return next(table for table in exhibit.tables if table.name == name).records()


def test_every_figure_and_table_of_the_paper_is_listed() -> None:
    numbers = [(entry.kind, entry.number) for entry in FIGURES]
    assert numbers == [("figure", number) for number in range(2, 19)] + [("table", number) for number in range(1, 6)]


def test_each_is_drawn_or_names_what_is_missing(exhibits: dict[str, Exhibit]) -> None:
    states = {stem: exhibit.state.partition(":")[0] for stem, exhibit in exhibits.items()}
    drawn = [stem for stem, state in states.items() if state == "drawn"]
    in_part = [stem for stem, state in states.items() if state == "drawn in part"]
    assert drawn == ["figure-02", "figure-03", "figure-16"]
    assert in_part == ["figure-04", "figure-05", "figure-13", "figure-14", "figure-15", "table-1", "table-3"]
    for stem, exhibit in exhibits.items():
        has_picture = stem.startswith("figure") and exhibit.is_drawn
        assert (exhibit.figure is not None) == has_picture, stem
        assert bool(exhibit.caption) == exhibit.is_drawn, stem
    assert "eval.every" in exhibits["figure-04"].state
    assert "train: {method: distill}" in exhibits["figure-14"].state
    assert "discover.tasks: [amc]" in exhibits["figure-06"].state
    assert "ablate.on: [post, base]" in exhibits["table-4"].state


def test_captions_say_n_interval_null_and_seed(exhibits: dict[str, Exhibit]) -> None:
    for stem, exhibit in exhibits.items():
        for word in ("n", "interval", "null", "seed") if exhibit.is_drawn else ():
            assert re.search(rf"\b{word}", exhibit.caption, re.IGNORECASE), (stem, word)


def test_figures_fit_the_page_and_no_text_is_too_small(exhibits: dict[str, Exhibit]) -> None:
    figures = [exhibit.figure for exhibit in exhibits.values() if exhibit.figure is not None]
    for figure in figures:
        width, height = figure.get_size_inches()
        assert width <= TWO_COLUMNS
        assert height <= TALLEST
        texts = [text for text in figure.findobj(Text) if isinstance(text, Text) and text.get_text()]
        assert min(text.get_fontsize() for text in texts) >= LEAST_POINTS


def test_cohorts_draw_the_numbers_of_their_table(exhibits: dict[str, Exhibit]) -> None:
    exhibit = exhibits["figure-03"]
    assert exhibit.figure is not None
    rows = records(exhibit, "cohorts")
    lines = {line.get_label(): list(line.get_ydata()) for axes in exhibit.figure.subfigs[0].axes for line in axes.lines}
    for label, column in (
        ("new heads", "new heads"),
        ("base heads kept", "base heads kept"),
        ("null: new by chance", "null new"),
    ):
        assert lines[label] == [row[column] for row in rows]
    assert lines["mean reward of a step"] == [row["reward"] for row in records(exhibit, "reward")]


def tiny(
    tmp_path: Path, names: dict[str, dict[str, Any]], steps: tuple[int, ...] = STEPS, births: int = 2, **study: Any
) -> RunDirectory:
    """A run of comparisons alone."""
    writer = RunWriter(tmp_path / "run", variants=tuple(names))
    for name in names:
        writer.save(comparison(name, series(3, births, steps), steps), variant=name)
    return edit_study(writer.close(), **names, **study)


def test_a_null_twin_is_a_line_among_the_counts(tmp_path: Path) -> None:
    twin = {"twin_of": "sft", "train": {"method": "sft", "control": "shuffled_answers"}}
    names = {"sft": {"train": {"method": "sft"}}, "sft.shuffled": twin}
    exhibit = make(tiny(tmp_path, names), cohorts.sft_cohorts)
    assert exhibit.figure is not None
    lines = [line.get_label() for axes in exhibit.figure.subfigs[0].axes for line in axes.lines]
    assert "twin sft.shuffled" in lines
    assert "null twin" in exhibit.caption
    drawn = {name: {row["variant"] for row in records(exhibit, name)} for name in ("cohorts", "frequency")}
    assert drawn == {"cohorts": {"sft", "sft.shuffled"}, "frequency": {"sft"}}


def test_one_checkpoint_is_a_bar_and_no_new_head_is_said(tmp_path: Path) -> None:
    run = tiny(tmp_path, {"sft": {"method": "sft"}}, steps=(0,), births=0)
    exhibit = make(run, cohorts.sft_cohorts)
    assert exhibit.figure is not None
    assert "one checkpoint" in exhibit.state
    axes = exhibit.figure.subfigs[0].axes[0]
    assert [text.get_text() for text in axes.texts] == ["no head is new at any checkpoint"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["finished model"]


def test_a_second_task_base_data_set_or_rate_has_a_figure_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cohorts, "_draw", lambda *_: new_figure(1.0, 1.0))  # which figure it is, not what it looks like
    grpo = {"method": "grpo", "train": {"dataset": "a", "learning_rate": 1e-6}}
    other_data = {"method": "grpo", "train": {"dataset": "b", "learning_rate": 1e-6}}
    other_rate = {"method": "grpo", "train": {"dataset": "a", "learning_rate": 2e-5}}
    names = {"one": grpo, "two": other_data, "three": other_rate, "null": grpo | {"train": {"control": "lr0"}}}
    run = tiny(tmp_path, names)
    drawn = {"3": cohorts.grpo_cohorts, "7": cohorts.second_data_grpo, "8": cohorts.second_rate_grpo}
    variants = {
        number: {row["variant"] for row in records(make(run, each), "cohorts")} for number, each in drawn.items()
    }
    assert variants == {"3": {"one"}, "7": {"two"}, "8": {"three"}}
    edit_study(run, discover={"tasks": ["amc"]})
    assert "this run's is figure 9" in make(run, cohorts.grpo_cohorts).state
    assert make(run, cohorts.second_task_grpo).is_drawn
    edit_study(run, base={"model": "meta-llama/Llama-3.2-1B"})
    assert "this run's is figure 11" in make(run, cohorts.grpo_cohorts).state
    assert make(run, cohorts.second_base_grpo).is_drawn
    assert not make(run, cohorts.second_task_grpo).is_drawn
    assert "not finished" not in make(run, cohorts.second_base_sft).state
    assert "no variant is trained by SFT" in make(run, cohorts.second_base_sft).state


def test_new_heads_of_two_methods_are_told_apart(tmp_path: Path) -> None:
    base = np.zeros((1, 4))
    writer = RunWriter(tmp_path / "run")
    for name, new in (("sft", [1, 1, 0, 0]), ("grpo", [0, 1, 1, 0])):
        writer.save(comparison(name, [emergence(base, np.array([new], dtype=float))], (10,)), variant=name)
    run = edit_study(writer.close(), sft={"method": "sft"}, grpo={"method": "grpo"})
    exhibit = make(run, maps.emergence_maps)
    rows = {row["head"]: row["new under"] for row in records(exhibit, "new-heads")}
    assert rows == {"L0H0": "sft", "L0H1": "grpo + sft", "L0H2": "grpo"}


def test_circuits_draw_the_strongest_edges(exhibits: dict[str, Exhibit], run: RunDirectory) -> None:
    scores = RunResults(run).run.results(EdgeScores, variant="sft", model="sft")[0].read()
    rows = records(exhibits["figure-16"], "edges")
    strongest = np.sort(scores.edges_abs[scores.graph.real])[::-1][: circuits.MOST_EDGES]
    assert [row["mean |score|"] for row in rows if row["model"] == "sft"] == strongest.tolist()
    first = rows[0]
    source, destination = first["edge"].split("->")
    place = scores.sources.index(source), scores.destinations.index(destination)
    assert first["score"] == float(scores.edges[place])


def test_table_1_has_a_row_per_head_set_and_says_what_is_supported(exhibits: dict[str, Exhibit]) -> None:
    rows = [tuple(getattr(cell, "text", cell) for cell in row.values()) for row in exhibits["table-1"].tables[0].rows]
    assert rows[:2] == [
        ("sft", "no ablation", "70.0 [66.0, 74.0]", "70.0 [66.0, 74.0]"),
        ("sft", "3 emergent heads, zero", "56.0 [52.0, 60.0]†", "67.0 [63.0, 71.0]"),
    ]
    assert "no head of grpo is emergent at step 60" in exhibits["table-1"].state


def test_tables_4_and_5_are_of_heads_edited_in_the_base(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run")
    for heads, operator in (("emergent", "zero"), ("lost", "zero"), ("emergent", "x1.3")):
        labels = {"variant": "sft", "heads": heads, "operator": operator, "task": "T1", "on": "base"}
        writer.save(replace(verdict(-0.1, "undecided"), operator=operator), **labels)
    run = edit_study(writer.close(), sft={"method": "sft"}, grpo={"method": "grpo"})
    removed, scaled = [make(run, each) for each in (score_tables.ablation_in_base, score_tables.interventions_in_base)]
    assert [row["heads"] for row in removed.tables[0].rows] == [
        "no ablation",
        "3 emergent heads, zero",
        "3 lost heads, zero",
    ]
    assert [row["heads"] for row in scaled.tables[0].rows] == [
        "no ablation",
        "3 emergent heads, zero",
        "3 emergent heads, x1.3",
    ]
    assert removed.lacks == ("heads of a recall circuit are not removed (ablate.heads: [recall], with ablate.guard)",)
    assert scaled.lacks == ("no heads of GRPO are scaled (grpo)",)
    assert not make(run, score_tables.ablation_in_variants).is_drawn


def test_think_modes_have_their_own_figures_and_table(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", variants=("on", "off"))
    change = series(3, 2)[-1]
    modes = Thinking(change, 0.8, estimate(0.05, 0.01), estimate(0.08, 0.01), estimate(3.0, 1.0), {})
    writer.save(modes, variant="off", think_on="on")
    for name, level in (("base", 0.2), ("on", 0.8), ("off", 0.4)):
        add_samples(writer, name, 0, "T1", samples("T1", {"p": "6"}), level)
    labels = {"variant": "off", "heads": "think-off-only", "task": "T1"}
    writer.save(verdict(0.1, "supported"), **labels, operator="zero")
    run = writer.close()
    scores = make(run, score_tables.think_scores)
    assert [row["method"] for row in scores.tables[0].rows] == ["think on", "think off", "think off, 3 heads, zero"]
    assert scores.lacks == ("they are not scaled down (ablate.generated_scales: [0.5])",)
    curves = make(run, benchmarks.coverage_curves)
    assert {row["model"] for row in records(curves, "pass-at-k")} == {"on", "off"}
    assert "no variant is the think-off mode" not in curves.state
    assert "one answer per problem with heads removed or scaled" in curves.state
    assert make(run, circuits.think_circuits).lacks == (
        "no edge scores of on are finished",
        "no edge scores of off are finished",
    )


def test_edited_models_have_a_curve_over_k(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "run", variants=("on", "off"))
    modes = Thinking(series(3, 2)[-1], 0.8, estimate(0.05, 0.01), estimate(0.08, 0.01), estimate(3.0, 1.0), {})
    writer.save(modes, variant="off", think_on="on")
    for name, level in (("on", 0.8), ("off", 0.4)):
        add_samples(writer, name, 0, "T1", samples("T1", {"p": "6"}), level)
    rng = np.random.default_rng(0)
    whole, removed = rng.random((40, 4)) < 0.6, rng.random((40, 4)) < 0.3
    heads = HeadSet.of(["L0H1"])
    made = ablation_verdict(whole, removed, [], task="T1", operator="zero", heads=heads)
    writer.save(made, variant="off", heads="think-off-only", task="T1", operator="zero")
    curves = make(writer.close(), benchmarks.coverage_curves)
    rows = records(curves, "edited-pass-at-k")
    assert [(row["k"], row["pass@k"]) for row in rows] == [
        (k, pytest.approx(pass_at_k_by_problem(removed, k).mean())) for k in (1, 2, 4)
    ]
    assert "so no curve over k" not in curves.state
    assert curves.figure is not None
    drawn = [line for line in curves.figure.axes[0].lines if list(line.get_xdata()) == [1, 2, 4]]
    assert [row["pass@k"] for row in rows] in [pytest.approx(list(line.get_ydata())) for line in drawn]


def test_marks_of_the_base_are_hollow(exhibits: dict[str, Exhibit]) -> None:
    """They have no change that could be decided; the caption says what is hollow."""
    figure = exhibits["figure-04"].figure
    assert figure is not None
    hollow = [collection for collection in figure.axes[0].collections if len(collection.get_facecolor()) == 1]
    white = [mark for mark in hollow if tuple(mark.get_facecolor()[0][:3]) == (1, 1, 1)]
    tasks = len({row["task"] for row in records(exhibits["figure-04"], "flips")})
    assert sum(0 in mark.get_offsets()[:, 0] for mark in white) == tasks


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_same_run_gives_the_same_bytes(run: RunDirectory, tmp_path: Path, file_format: str) -> None:
    contents = []
    for name in ("one", "two"):
        with paper_style():
            figure = benchmarks.coverage_curves(RunResults(run)).figure
            assert figure is not None
            save_figure(figure, tmp_path / name, file_format)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert b"CreationDate" not in contents[0]
    assert b"<dc:date>" not in contents[0]
    expected = {"pdf": b"/FontFile2", "svg": b"success@k, T1</text>", "png": b"\x89PNG"}
    assert expected[file_format] in contents[0]
    assert file_format != "pdf" or b"/Type3" not in contents[0]


def test_folder_holds_every_file_the_index_lists(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [entry for entry in FIGURES if entry.stem in ("figure-05", "figure-12", "table-1")]
    monkeypatch.setattr(files, "FIGURES", chosen)
    (tmp_path / "notes.tex").write_text("mine")
    (tmp_path / "figures.md").write_text("[figure-17.svg](figure-17.svg) [../x.csv](../x.csv)")
    (tmp_path / "figure-17.svg").touch()
    written = write_figures(run, tmp_path, formats=["svg"])
    names = {name for _, _, listed in written.entries for name in listed}
    assert {path.name for path in tmp_path.iterdir()} == names | {"notes.tex", "figures.md", "index.html"}
    assert {"figure-05.svg", "figure-05.tex", "figure-05-pass-at-k.csv", "table-1.csv", "table-1.tex"} <= names
    for index in ("figures.md", "index.html"):
        text = (tmp_path / index).read_text(encoding="utf-8")
        assert all(name in text for name in names)
        assert "sparse autoencoders" in text
    rows = (tmp_path / "figure-05-pass-at-k.csv").read_text(encoding="utf-8").splitlines()
    assert rows[0].startswith("task,model,step,k,pass@k")
    assert rows[1].startswith("T1,base,0,1,0.3")


def test_hostile_names_are_text_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {HOSTILE: {"method": "sft"}, "=HYPERLINK(1)<b>": {"method": "sft"}}
    run = tiny(tmp_path, names, steps=(10,))
    chosen = [entry for entry in FIGURES if entry.stem in ("figure-02", "table-3")]
    monkeypatch.setattr(files, "FIGURES", chosen)
    write_figures(run, tmp_path / "out", formats=["svg"])
    texts = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()}
    assert escape_latex(HOSTILE) in texts["figure-02.tex"]
    assert escape_latex(HOSTILE) in texts["table-3.tex"]
    assert r"\input" not in texts["figure-02.tex"] + texts["table-3.tex"]
    assert short_name(HOSTILE, 18) in texts["figure-02.svg"]
    assert "\n'=HYPERLINK(1)<b>," in texts["figure-02-cohorts.csv"]
    assert "<b>" not in texts["index.html"]
    assert "<b>" not in texts["figures.md"].replace(r"\<b\>", "")


def test_latex_commands_nothing_that_a_name_holds() -> None:
    table = Table("t", ({HOSTILE: "[x] 100% ~^\u202e", "b": HOSTILE},), HOSTILE)
    for text in (latex_table(table, "t"), latex_figure("f", HOSTILE, wide=True), escape_latex(HOSTILE)):
        assert r"\input" not in text
        assert "\u202e" not in text
        escaped = re.sub(r"\\[$%&#_{}]", "", text)
        assert not re.search(r"[$&#_]|(?<!^)(?<!\n)%", escaped.replace(" & ", ""))
    assert "\n[" not in latex_table(table, "t")


def test_bad_folders_and_empty_runs_get_a_sentence(run: RunDirectory, tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.touch()
    with pytest.raises(InputError, match="taken is a file; name a folder for the figures"):
        write_figures(run, taken)
    with pytest.raises(InputError, match=r"the figures cannot be written to .*Not a directory"):
        write_figures(run, taken / "sub")
    with pytest.raises(InputError, match="'gif' is no format of figures; allowed: pdf, svg, png"):
        write_figures(run, tmp_path / "out", formats=["svg", "gif"])
    with pytest.raises(InputError, match="no finished comparison and no evaluation to draw"):
        write_figures(RunWriter(tmp_path / "empty").close(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_prints_a_row_each_and_the_folder(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "FIGURES", [entry for entry in FIGURES if entry.stem in ("figure-12", "table-3")])
    folder = tmp_path / "out"
    assert main(["report", str(run.path), "--figures", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "| figure 12 |" in printed
    assert "cannot be drawn: " in printed
    assert printed.endswith(f"{folder}\n")
    assert main(["report", str(run.path), "--figures", str(folder), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["open"] == str(folder / "index.html")
    assert [row["paper"] for row in content["figures"]] == ["figure 12", "table 3"]
    assert main(["report", str(run.path), "--figures", str(tmp_path / "out" / "table-3.tex")]) == 2
