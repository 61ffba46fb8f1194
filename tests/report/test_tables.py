"""Tables: the terminal prints the cells the page shows, JSON holds the numbers in full, and every row says what it
rests on.
"""

import html
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headscope.comparison.checkpoints import compare_checkpoints
from headscope.comparison.claims import StudyResults, judge
from headscope.heads import HeadSet
from headscope.report import RunResults
from headscope.report.page_file import page_html
from headscope.report.pages import build_pages
from headscope.report.tables.claims import claims, claims_by_reading
from headscope.report.tables.dynamics import reward_coupling
from headscope.report.tables.head_roles import role_shares, roles
from headscope.report.tables.seeds import seeds
from headscope.report.tables.verbs import VERB_TABLES, verb_tables
from headscope.results.claim import Claim, Claims
from headscope.results.counts import EdgeChange, HeadEstimates, LayerProfile
from headscope.results.crossed import EFFECTS, ORIGINS, Crossed, Origin
from headscope.results.edges import EdgeScores
from headscope.results.evidence import DoseResponse, Evidence, OperatorEffect, Trend
from headscope.results.failures import FailureChanges, KindChange
from headscope.results.graph import Graph
from headscope.results.not_run import NotRun
from headscope.results.overlap import CircuitOverlap, Overlap, RelativeChanges
from headscope.results.reward_coupling import RewardCoupling
from headscope.results.role_losses import RoleLosses
from headscope.results.table import Cell, Table, display_text
from headscope.results.thinking import Thinking
from headscope.runs import RunDirectory

from .head_runs import head_roles, role_losses
from .runs import (
    HEADS,
    LAYERS,
    STEPS,
    RunWriter,
    add_comparison,
    add_samples,
    coupling,
    emergence,
    estimate,
    faithfulness,
    head_revert,
    head_scaling,
    measures,
    pairs,
    samples,
    seeded_run,
    series,
    training_effects,
    verdict,
)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> RunResults:
    """GRPO with every kind of result, and a study that was judged."""
    checkpoints = series(3, births=4)
    last = checkpoints[-1]
    grid = np.arange(24, dtype=np.float64).reshape(4, 6)
    profile = LayerProfile(grid, grid - 0.5, grid + 0.5, grid / 2, grid / 2, grid / 2, grid / 2)
    edges = EdgeChange(last.counts, last.null, last.excess, tuple(f"m{n}->logits" for n in range(7)), ())
    checkpoints[-1] = replace(last, layers=profile, edges=edges)
    rewards = [(step, float(np.sin(step))) for step in STEPS]
    run = RunWriter(tmp_path_factory.mktemp("tables") / "run", variants=("grpo", "think-off"))
    series_of_steps = list(zip(STEPS, checkpoints, strict=True))
    run.save(compare_checkpoints("grpo", series_of_steps, checkpoints, rewards, [last]), variant="grpo")
    run.save(pairs(4), variant="grpo", pairs="main")
    for step in (30, 60):
        run.save(scores(settled=step == 60), variant="grpo", model="grpo", step=step, pairs="main")
    run.save(faithfulness(0.9), variant="grpo", model="grpo", step=60, pairs="main")
    for variant, step in (("base", 0), ("grpo", 30), ("grpo", 60)):
        add_samples(run, variant, step, "T|1", samples("T|1", {"p": "6"}), 0.3 + step / 200)
    add_evidence(run)
    add_failures(run)
    run.save(verdict(-0.14, "supported"), variant="grpo", heads="kept", operator="zero", task="T|1")
    run.save(NotRun("no emergent heads"), "verdict", variant="grpo", heads="emergent", operator="zero", task="T|1")
    run.save(crossed(), variant="grpo")
    overlap = Overlap(0.5, 0.25, 0.1, 0.4, 0.004, 2, 3, 3, by_layer=True)
    likeness = CircuitOverlap("grpo", "think-off", "faithfulness", (0.05, 0.1), overlap, estimate(0.9, 0.05))
    run.save(RelativeChanges({"grpo": np.zeros((2, LAYERS, HEADS))}, (likeness,), 0.8))
    leak = {"T|1": estimate(0.2, 0.1)}
    thinking = Thinking(last, 0.8, estimate(0.05, 0.01), estimate(0.08, 0.01), estimate(3.0, 1.0), leak)
    run.save(thinking, variant="think-off", think_on="grpo")
    Claims(tuple(judge(StudyResults()))).save(run.path)
    return RunResults(run.close())


def scores(*, settled: bool) -> EdgeScores:
    """Return scores of one layer of two heads, the second with more."""
    graph = Graph(1, 2)
    edges = np.zeros(graph.real.shape, dtype=np.float32)
    heads = np.array([[[0.1, 0.3]]], dtype=np.float32)
    settings = {"nodes": 8, "adaptive_converged": settled}
    return EdgeScores(graph, edges, edges, heads, None, 1.5e-3, 1.0, settings, pair_net=-heads)


def add_evidence(run: RunWriter) -> None:
    """Add evidence on two head sets, one of which is empty."""
    effect = estimate(0.4, 0.1, 30, "text bootstrap-t 95%")
    operator = OperatorEffect(
        "zero", effect, effect, np.array([0.1, 0.2]), np.array([0.1, 0.5, 0.6]), effect, 1 / 3, 1, 0.75, 3, 9, 3, True
    )
    dose = DoseResponse((0.0, 1.0), (effect, effect), Trend(effect, 2.1e-25), None)
    evidence = Evidence("T|1", verdict(0.0, "undecided").heads, 30, 2, (operator,), None, "too few texts", dose=dose)
    run.save(evidence, variant="grpo", heads="kept", task="T|1")
    run.save(NotRun("no correct answer"), "evidence", variant="grpo", heads="lost", task="T|1")


def add_failures(run: RunWriter) -> None:
    """Add one kind of failure that the heads' removal raises, losses by role, and one of each that was not run."""
    heads, share = verdict(0.0, "undecided").heads, estimate(0.1, 0.05, 80)
    controls = np.array([0.01, -0.03])
    kind = KindChange("plan failures", False, share, share, share, controls, share, 1, 1 / 3, 0.048, 0.002, "raised")
    changes = FailureChanges("T|1", "zero", heads, (kind,), "removing L3H5 raises plan failures", 80, 2, 2)
    run.save(changes, variant="grpo", heads="kept", operator="zero", task="T|1")
    run.save(NotRun("no emergent heads"), "failures", variant="grpo", heads="emergent", operator="zero", task="T|1")
    change, q_value = np.array([[0.5, -0.1], [0.25, 0.0]]), np.array([[0.001, 0.3], [0.04, 1.0]])
    texts, tokens, whole = np.array([32, 9]), np.array([640, 9]), np.array([0.02, 0.5])
    spread = change - 0.1, change + 0.1
    sizes = {"answers": 32, "problems": 80, "method": "problem t 95%"}
    roles, four = ("retrieval", "answer"), (change, *spread, q_value)
    run.save(
        RoleLosses(
            "T|1", "lab", HeadSet.of(["L0H0", "L1H3"]), "all 2 heads", roles, tokens, texts, whole, *four, **sizes
        ),
        variant="grpo",
        task="T|1",
    )
    run.save(NotRun("no correct answer"), "role_losses", variant="grpo", task="T2")
    run.save(training_effects("grpo", 0.1, ("grpo.<b>",)), variant="grpo")
    run.save(head_scaling(), variant="grpo", task="T|1")
    run.save(head_revert(), variant="grpo", task="T|1")
    run.save(head_roles("grpo", (LAYERS, HEADS), "T|1"), variant="grpo", task="T|1")
    run.save(NotRun("layer 0 of odd does not return its attention rows"), "head_roles", variant="grpo", task="T2")
    run.save(RewardCoupling("grpo", {"grpo": coupling(0.5, 9)}, coupling(0.5, 9), {}), variant="grpo")


def crossed() -> Crossed:
    """Return a crossed design of two heads, of which the model changed one."""
    grid = np.array([[0.1, 0.0]])
    effects = {name: HeadEstimates(grid, grid - 0.05, grid + 0.05) for name in EFFECTS}
    q_value = np.ones((len(EFFECTS), 1, 2))
    q_value[0, 0, 0] = 0.01
    origins = {name: Origin(estimate(2.0, 1.0), verdict(0.0, "undecided").heads) for name in ORIGINS}
    return Crossed(np.zeros((2, 2, 1, 2)), effects, q_value, origins, 64, 0.01, 200, 0)


def page_tables(results: RunResults) -> dict[str, Table]:
    """Every table of the report by its name."""
    tables: dict[str, Table] = {}
    for page in build_pages(results, 0):
        for table in page.tables():
            assert table.name not in tables
            tables[table.name] = table
    return tables


def html_cells(page: str, name: str) -> list[list[str]]:
    """The texts of a table's cells as the page holds them, heading first."""
    table = re.search(rf'<table data-name="{name}">(.*?)</table>', page, re.DOTALL)
    assert table is not None
    rows = re.findall(r"<tr>(.*?)</tr>", table[1], re.DOTALL)
    return [[cell_text(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows]


def cell_text(markup: str) -> str:
    return html.unescape(markup).replace("\u00a0", " ")


def markdown_cells(text: str) -> list[list[str]]:
    """The texts of a Markdown table's cells, heading first."""
    heading, _, *lines = text.split("\n")
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in (heading, *lines)]
    return [[cell.strip().replace("\\|", "|") for cell in row] for row in rows]


@pytest.mark.parametrize("fixture", ["results", "whole"])
def test_the_terminal_prints_the_cells_of_the_page(fixture: str, request: pytest.FixtureRequest) -> None:
    results = request.getfixturevalue(fixture)
    page = page_html(results, responses=0)
    tables = page_tables(results)
    assert len(tables) > 20
    for name, table in tables.items():
        if table.rows:
            assert markdown_cells(table.markdown()) == html_cells(page, name), name


@pytest.fixture(scope="module")
def whole(run: RunDirectory) -> RunResults:
    """The run of the other tests of the report."""
    return RunResults(run)


def test_what_verbs_print_stands_on_the_page(results: RunResults) -> None:
    tables = page_tables(results)
    printed = [table for verb in VERB_TABLES for table in verb_tables(verb, results)]
    elsewhere = {"circuits", "seeds"}  # circuits are drawn, and of one seed there is nothing to say
    assert {table.name for table in printed} - set(tables) == elsewhere
    for table in printed:
        if table.name not in elsewhere:
            assert table.rows
            assert table.markdown() == tables[table.name].markdown()


def test_json_holds_every_number_in_full(results: RunResults) -> None:
    for table in page_tables(results).values():
        assert len(json.loads(json.dumps(table.records(), allow_nan=False))) == len(table.rows)
    (row,) = [row for row in page_tables(results)["heads"].records() if row["variant"] == "grpo"]
    new = results.comparisons[0].final.counts.new
    assert (row["new"]["count"]["value"], row["new"]["count"]["n"]) == (new.value, 64)
    assert row["new above null"]["p_value"] is None


def test_a_table_of_hand_made_cells() -> None:
    rows = ({"a": 0.12345, "b": Cell("x|y\nz", {"p": math.nan}), "c": None}, {"a": -1e-5, "b": "", "c": 3})
    table = Table("made", rows)
    assert table.markdown().split("\n") == [
        "| a      | b      | c |",
        "|--------|--------|---|",
        "| 0.123  | x\\|y z | – |",
        "| −1e−05 |        | 3 |",
    ]
    assert table.records() == [{"a": 0.12345, "b": {"p": None}, "c": None}, {"a": -1e-5, "b": "", "c": 3}]
    assert Table("empty", ()).markdown() == ""
    with pytest.raises(ValueError, match=r"a row of table made has the columns \('a',\)"):
        Table("made", ({"a": 1, "b": 2}, {"a": 1}))


def texts(results: RunResults, name: str) -> list[list[str]]:
    """The cells of one table as they are shown."""
    return [[display_text(value) for value in row.values()] for row in page_tables(results)[name].rows]


def test_counts_stand_next_to_their_null_at_every_size_and_layer(results: RunResults) -> None:
    counts = results.comparisons[0].final.counts
    ((variant, size, _, new, *_),) = texts(results, "ladder")
    assert (variant, size) == ("grpo", "1.0%")
    assert new == f"{counts.new.value:.0f} [{counts.new.low:.0f}, {counts.new.high:.0f}] (1.5)".replace("-", "−")
    layers = texts(results, "layers")
    assert len(layers) == 6
    assert layers[2] == ["grpo", "2", "2.0 [1.5, 2.5] (1)", "8.0 [7.5, 8.5] (4)", "14.0 [13.5, 14.5] (7)"]
    (edges,) = texts(results, "edges")
    assert edges[-1] == ", ".join(f"MLP {layer} → logits" for layer in range(5))


def test_reward_coupling_states_its_lags_and_points(results: RunResults) -> None:
    rows = texts(results, "coupling")
    assert [row[1] for row in rows] == ["−3", "−2", "−1", "0", "1", "2", "3"]
    assert [row[-1] for row in rows] == ["0", "3", "4", "5", "4", "3", "0"]
    assert len([row for row in rows if row[4]]) == 1


def test_reward_coupling_stands_next_to_its_twin(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("grpo", "grpo.seed1"))
    runs = {"grpo": coupling(0.5, 9), "grpo.seed1": coupling(0.3, 9)}
    twins = {"grpo.permuted_rewards": coupling(-0.1, 9)}
    run.save(RewardCoupling("grpo", runs, coupling(0.4, 18), twins), variant="grpo")
    rows = [[display_text(value) for value in row.values()] for row in reward_coupling(RunResults(run.close())).rows]
    twin = "−0.10 [−0.30, 0.10] (p = 0.700) grpo.permuted_rewards"
    assert rows == [
        ["grpo", "+0.50 [+0.30, +0.70]", "0.020", "9", twin],
        ["grpo.seed1", "+0.30 [+0.10, +0.50]", "0.020", "9", twin],
        ["grpo, 2 seeds", "+0.40 [+0.20, +0.60]", "0.020", "18", twin],
    ]


def test_heads_that_emerged_are_followed(results: RunResults) -> None:
    (row,) = texts(results, "persistence")
    persistence = results.comparisons[0].persistence
    assert persistence is not None
    assert row[-2:] == [str(persistence.heads), "6"]
    assert row[1].startswith(f"{persistence.persistence.value:.2f} [")


def test_claims_are_shown_once_they_are_judged(results: RunResults, tmp_path: Path) -> None:
    rows = texts(results, "claims-undecided")
    assert [row[0] for row in rows] == [f"C{number}" for number in range(1, 11)]
    assert [display_text(row["verdict"]) for row in claims(results).rows] == 10 * ["undecided"]
    assert not RunResults(RunWriter(tmp_path / "run").close()).claims


def test_claims_are_grouped_by_their_verdict(tmp_path: Path) -> None:
    readings = ("supported", "undecided", "not supported", "undecided")
    judged = tuple(Claim(f"C{n}", f"question {n}", reading, "why", ()) for n, reading in enumerate(readings, 1))
    run = RunWriter(tmp_path / "run").close()
    Claims(judged).save(run.path)
    groups = claims_by_reading(RunResults(run))
    assert [(table.name, [row["claim"] for row in table.rows]) for table in groups] == [
        ("claims-supported", ["C1"]),
        ("claims-not-supported", ["C3"]),
        ("claims-undecided", ["C2", "C4"]),
    ]
    assert groups[2].caption.startswith("2 of 4 claims of the paper: cannot be decided here")


def test_what_could_not_be_run_is_a_row_with_its_reason(results: RunResults, whole: RunResults) -> None:
    verdicts, evidence = texts(results, "verdicts"), texts(results, "evidence")
    assert (verdicts[1][4], verdicts[1][-1]) == ("not run", "no emergent heads")
    assert (evidence[1][3], evidence[1][-1]) == ("not run", "no correct answer")
    reasons = [row[-1] for row in texts(whole, "verdicts") if row[4] == "not run"]
    assert reasons == 2 * ["no head of grpo is emergent at step 60"]  # one in today's format, one in version 1's


def test_evidence_states_ranks_agreement_and_doses(results: RunResults) -> None:
    effect = "+0.400 [+0.300, +0.500] (zero)"
    checks = [
        "1 of 3, stopped early after 2 of 9",
        "3 of 4",
        "1 of 1",
        "–",
        "–",
        "–",
        "down p = 2.1e−25",
        "too few texts",
    ]
    assert texts(results, "evidence")[0][3:] == ["undecided", "30", effect, *checks]


def test_kinds_of_failure_are_a_sentence_and_a_row_each(results: RunResults) -> None:
    sentences = texts(results, "failures")
    assert sentences[0][4:] == ["80 × 2", "2", "removing L3H5 raises plan failures"]
    assert sentences[1][4:] == ["–", "–", "not run: no emergent heads"]
    shares = ["0.10 [0.05, 0.15]", "0.10 [0.05, 0.15]", "+0.10 [+0.05, +0.15]"]
    (row,) = texts(results, "failure-kinds")
    assert row[4:] == ["plan failures", *shares, "−0.01", "1 of 3", "0.048", "0.002", "raised"]


def test_losses_by_role_name_the_heads_that_matter_most(results: RunResults) -> None:
    retrieval, answer, absent = texts(results, "role-losses")
    most = "L0H0 +0.50 [+0.40, +0.60]; L1H3 +0.25 [+0.15, +0.35]"
    assert retrieval[2:] == ["retrieval", "32", "640", "0.02", "2", most, "all 2 heads"]
    assert answer[2:] == ["answer", "9", "9", "0.5", "0", "none", "all 2 heads"]
    assert absent[-2] == "not run: no correct answer"
    assert len(texts(results, "role-map")) == 4


def test_roles_name_the_heads_that_took_them_up_and_what_needs_them(results: RunResults) -> None:
    retrieval, iteration, closer, failed = texts(results, "roles")
    assert retrieval[2:] == ["retrieval", "30", "300", "1", "1", "none", "none", "–"]  # L0H1 was not removed
    assert iteration[2:] == ["iteration", "29", "60", "1", "1", "L1H2 (from L1H1)", "L1H1", "–"]  # no such loss
    assert closer[2:] == ["closer", "9", "20", "–", "–", "–", "–", "–"]  # too few texts ask for it
    assert failed[2] == "not run: layer 0 of odd does not return its attention rows"
    moved, lost, kept = texts(results, "role-shares")
    assert moved[2:5] == ["L1H2", "iteration", "moved from L1H1"]
    assert moved[5:] == ["0.01 [−0.04, 0.06]", "0.70 [0.65, 0.75]", "+0.69 [+0.67, +0.71]", "0.02", "29", "–"]
    assert lost[2:5] == ["L1H1", "iteration", "lost"]
    assert kept[2:5] == ["L0H1", "retrieval", "kept"]
    assert role_shares(results, most=1).rows == role_shares(results).rows[:1]


def test_heads_that_are_needed_for_their_role_are_named(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    both = head_roles("sft")
    both.post.share[1, 2, 3], both.post.q_value[1, 2, 3] = 0.5, 1e-4  # L2H3 reads results too, and was not removed
    run.save(both, variant="sft", task="T1")
    losses = role_losses()
    losses.change[:, 1], losses.q_value[:, 1] = 0.4, 1e-4  # without L1H2 and L2H0, of which the second plays no role
    run.save(losses, variant="sft", task="T1")
    rows = roles(RunResults(run.close())).rows
    assert [row["needed"] for row in rows] == [None, "L1H2 (of 1 of 2 that were removed)", None]


def test_accuracy_has_every_evaluated_step_and_its_flips(results: RunResults) -> None:
    rows = texts(results, "accuracy")
    assert [row[:5] for row in rows] == [
        ["T|1", "base", "0", "500 × 16", "0.30 [0.26, 0.34]"],
        ["T|1", "grpo", "30", "500 × 16", "0.45 [0.41, 0.49]"],
        ["T|1", "grpo", "60", "500 × 16", "0.60 [0.56, 0.64]"],
    ]
    assert rows[2][5:7] == ["+0.30 [+0.25, +0.35]", "+40 −3 (p = 1.3e−09)"]
    assert texts(results, "summary")[1][1] == "0.60 [0.56, 0.64]"


def test_answers_without_a_marker_have_a_row_and_are_in_no_curve(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    masked = replace(measures(0.9, is_base=False), tokens_change=estimate(-12.4, 3.0, 500))
    run.save(masked, variant="sft", step=60, task="T1", forbid="wait")  # whatever the order
    for variant, step in (("sft", 60), ("base", 0), ("sft", 30)):
        add_samples(run, variant, step, "T1", samples("T1", {"p": "6"}), 0.3 + step / 200)
    results = RunResults(run.close())
    _, table = verb_tables("eval", results)
    rows = [{name: display_text(value) for name, value in row.items()} for row in table.rows]
    names = [(row["model"], row["step"]) for row in rows]
    assert names == [("base", "0"), ("sft", "30"), ("sft", "60"), ('sft without "wait"', "60")]
    assert rows[2]["Δ against base"] == "+0.30 [+0.25, +0.35]"
    assert [rows[2][name] for name in ("Δ by masking", "Δ tokens")] == ["–", "–"]
    assert rows[3]["Δ against base"] == "–"
    assert rows[3]["Δ by masking"] == "+0.60 [+0.55, +0.65]"
    assert rows[3]["Δ tokens"] == "−12 [−15, −9]"
    assert "Δ by masking" in table.caption
    assert texts(results, "summary")[1][1] == "0.60 [0.56, 0.64]"
    pages = {page.name: page for page in build_pages(results, 1)}
    figures = {figure.name: figure for figure in pages["performance"].figures()}
    curve = next(trace for trace in figures["pass-over-steps"].panels[0].plot.data if trace.name == "sft")
    assert (list(curve.x), list(curve.y)) == ([30, 60], pytest.approx([0.45, 0.6]))
    assert [row["model"] for row in figures["pass-at-k"].table.rows][::5] == ["base", "sft"]
    assert len(figures["answers"].table.rows) == 2


def test_circuits_name_their_heads_pairs_and_how_well_they_were_measured(results: RunResults) -> None:
    (table,) = verb_tables("discover", results)
    rows = [[display_text(value) for value in row.values()] for row in table.rows]
    place, measured = ["grpo", "grpo"], ["4 (3 short clean opening)", "L0H1 L0H0"]
    carried = "0.72 [0.70, 0.74] at 1.0% of edges"
    assert rows == [
        [*place, "30", *measured, "8 (not settled)", "1.5e−03", "–"],
        [*place, "60", *measured, "8", "1.5e−03", carried],
    ]
    assert texts(results, "heads")[0][-1] == carried


def test_the_crossed_design_counts_origins_and_changed_heads(results: RunResults) -> None:
    rows = texts(results, "crossed")
    assert [row[1] for row in rows[1:4]] == ["the prompt's", "the model's", "need both"]
    assert rows[1][3:] == ["2 [1, 3]", "64", "L2H3 L4H1 L5H7"]
    assert [row[3:] for row in rows[5:]] == [["1", "64", "L0H0"], ["0", "64", "none"], ["0", "64", "none"]]


def test_think_modes_and_overlaps_carry_chance_and_interval(results: RunResults) -> None:
    ((*modes, leak, count),) = texts(results, "think-modes")
    assert modes[:2] == ["grpo", "think-off"]
    assert modes[5:] == ["80%", "5.0 [4.0, 6.0] %", "8.0 [7.0, 9.0] %", "+3 [+2, +4]"]
    assert (leak, count) == ("T|1 0.20 [0.10, 0.30]", "64")
    (overlap,) = texts(results, "overlaps")
    assert overlap[2:7] == ["5.0% / 10.0%", "2 of 3 / 3", "0.5", "0.25 [0.10, 0.40]", "0.004"]


def test_an_unknown_null_is_a_dash(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("grpo",))
    unknown = emergence(np.ones((1, 2)), np.ones((1, 2)), null=math.nan)
    add_comparison(run, "grpo", len(STEPS) * [unknown])
    (row,) = texts(RunResults(run.close()), "heads")
    assert row[3] == "0 [−2, 2] (null –)"
    assert row[5] == "– (p = –)"


def test_seeds_of_a_recipe_are_one_row_with_their_range(tmp_path: Path) -> None:
    run = seeded_run(tmp_path, {"base": 0.25, "sft": 0.5, "sft.seed1": 0.75, "sft.lr0": 0.25})
    run.save(measures(1.0, is_base=False), variant="sft", task="T1", step=0, forbid="wait")
    table = seeds(RunResults(run.close()))
    rows = [(row["model"], row["seeds"], text_of(row["pass@1"])) for row in table.rows]
    assert rows == [("base", 1, "0.25"), ("sft", 2, "0.62 (0.50–0.75)"), ("sft.lr0", 1, "0.25")]
    (without,) = [row['without "wait"'] for row in table.rows if row["model"] == "sft"]
    assert text_of(without) == "1.00, 1 of 2"
    assert not seeds(RunResults(RunWriter(tmp_path / "none").close())).rows


def text_of(value: object) -> str:
    assert isinstance(value, Cell)
    return value.text
