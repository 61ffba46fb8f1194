"""Results as DataFrames: every kind, labels and intervals as columns, reasons as rows."""

import importlib
import inspect
import pkgutil
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from jaxtyping import Float
from tests.report.runs import RunWriter, estimate, measures, verdict, whole_run
from tests.results.examples import CLASSES, EXAMPLES, controlled_heads, curve, forced_losses

import headscope
from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet
from headscope.report import table_frame
from headscope.report import tables as table_modules
from headscope.report.tables.catalogue import TABLES
from headscope.results.attention import Attention
from headscope.results.claim import Claim, Claims
from headscope.results.comparison import Comparison
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Status
from headscope.results.estimate import Estimate
from headscope.results.frames import frame, records, result_kinds
from headscope.results.head_constants import HeadConstants
from headscope.results.measures import Measures
from headscope.results.result import JsonResult
from headscope.results.role_losses import RoleLosses
from headscope.results.table import Table
from headscope.results.verdict import AblationVerdict
from headscope.runs import RunDirectory
from headscope.storage import Result

PARTS = ("", "_low", "_high", "_n", "_method", "_seed")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return whole_run(tmp_path_factory.mktemp("run") / "lab")


def six(row: pd.Series, name: str) -> Estimate:
    value, low, high, n, method, seed = [row[f"{name}{part}"] for part in PARTS]
    return Estimate(float(value), float(low), float(high), int(n), method, int(seed))


def test_every_kind_of_the_run_is_a_frame(run: RunDirectory) -> None:
    for kind in dict.fromkeys(row["kind"] for row in run.rows()):
        frame = run.frame(kind)
        units = [row for row in run.rows() if row["kind"] == kind]
        assert len(frame) >= len(units), kind
        assert frame.columns[-1] == "not_run"
        assert frame.columns.is_unique
        assert set(frame.columns) >= {name for unit in units for name in unit["labels"]}


def test_labels_and_intervals_are_columns(run: RunDirectory) -> None:
    frame = run.frame("measures", variant="sft")
    assert frame[["variant", "step", "task"]].to_numpy().tolist() == [["sft", 60, "T1"], ["sft", 60, "T2"]]
    result = run.results(Measures, variant="sft", task="T1")[0].whole
    row = frame.iloc[0]
    assert six(row, "change") == result.change
    assert six(row, "pass_at_k_16") == result.pass_at_k[16]
    assert row["flips_gained"] == result.flips.gained
    assert row["rates_unparsed"] == result.rates["unparsed"]
    assert list(frame.columns[frame.columns.get_loc("change") :][:6]) == [f"change{part}" for part in PARTS]


def test_what_could_not_be_made_is_a_row_with_its_reason(tmp_path: Path) -> None:
    frame = whole_run(tmp_path / "lab").frame("verdict")
    lacking = frame[frame["not_run"].notna()]
    assert lacking["variant"].tolist() == ["grpo", "grpo"]  # one as it was said before results owned their files
    assert set(lacking["not_run"]) == {"no head of grpo is emergent at step 60"}
    assert lacking[["heads", "task"]].to_numpy().tolist() == [["emergent", "T2"], ["emergent", "T1"]]
    assert lacking["effect"].isna().all()
    writer = RunWriter(tmp_path / "failed")
    writer.save(verdict(-0.1, "supported"), variant="sft", heads="kept", operator="zero", task="T1")
    writer.failed("verdict", "out of memory", variant="sft", heads="kept", operator="mean", task="T1")
    writer.planned("verdict", variant="sft", heads="kept", operator="resample", task="T1")
    frame = writer.close().frame("verdict")
    assert frame["operator"].tolist() == ["zero", "mean"]
    assert pd.isna(frame["not_run"][0])
    assert frame["not_run"][1] == "failed: out of memory"


def test_a_column_called_like_a_label_is_told_apart_if_it_says_something_else(run: RunDirectory) -> None:
    frame = run.frame("verdict", variant="sft")
    assert frame["heads"].tolist() == ["emergent", "emergent"]
    assert frame["verdict_heads"].tolist() == ["L2H3 L4H1 L5H7"] * 2
    assert "verdict_task" not in frame
    result = run.results(AblationVerdict, variant="sft")[0].whole
    assert frame["control_mean"][0] == result.control_mean
    assert frame["problems"][0] == result.problems


def test_rows_are_checkpoints_heads_problems_and_sizes(run: RunDirectory) -> None:
    comparison = run.frame("comparison", variant="sft")
    result = run.results(Comparison, variant="sft")[0].whole
    assert comparison["step"].tolist() == list(result.steps)
    assert [six(row, "excess_new") for _, row in comparison.iterrows()] == [at.excess.new for at in result.emergence]
    heads = run.frame("training_effects", variant="sft")
    assert len(heads) == 48
    l2h3 = heads.set_index("name").loc["L2H3"]
    assert (l2h3["layer"], l2h3["head"]) == (2, 3)
    assert (l2h3["training_heads_value"], l2h3["training_q_value"]) == (0.8, 1e-3)
    assert run.frame("faithfulness", model="sft")["fraction"].tolist() == [0.001, 0.01, 0.1]
    assert len(run.frame("transitions", variant="sft")) == 12
    assert len(run.frame("samples", variant="base", task="T1")) == 12
    pairs = run.frame("pairs", variant="sft", pairs="main")
    assert pairs["clean"].tolist()[1] == [2, 3]


def test_logs_and_claims_have_frames_too(run: RunDirectory, tmp_path: Path) -> None:
    log = run.frame("train")
    assert log.groupby("variant").size().to_dict() == {"sft": 60, "grpo": 60}
    assert log[log["variant"] == "sft"]["reward"].isna().all()
    assert run.frame("claims").empty
    writer = RunWriter(tmp_path / "run")
    read = writer.close()
    Claims((Claim("C1", "Does it?", "undecided", "too few", ()),)).save(read.path)
    assert read.frame("claims")[["name", "reading"]].to_numpy().tolist() == [["C1", "undecided"]]


def test_a_kind_that_the_run_has_not_is_empty_and_one_that_is_none_is_named(run: RunDirectory) -> None:
    assert run.frame("thinking").empty
    with pytest.raises(InputError, match=r"'verdcit' is no kind of result \(did you mean 'verdict'\?\)"):
        run.frame("verdcit")
    with pytest.raises(InputError, match=r"'zzz' is no kind of result \(allowed: claims, comparison, .*verdict\)"):
        run.frame("zzz")


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ({"variant": "sfft"}, "no verdict unit has variant='sfft'; allowed: 'sft', 'grpo'"),
        ({"variant": "sft", "task": "T3"}, "no verdict unit has task='T3'; allowed: 'T1', 'T2'"),
        ({"varian": "sft"}, "no verdict unit has the label 'varian' (did you mean 'variant'?)"),
        ({"variant": "sft", "heads": "kept"}, "no verdict unit has variant='sft', heads='kept' together"),
    ],
)
def test_labels_that_no_unit_has_are_named(run: RunDirectory, labels: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        run.frame("verdict", **labels)


def test_a_label_that_is_none_may_be_absent(run: RunDirectory) -> None:
    assert len(run.frame("verdict", variant="sft", on=None)) == 2


def test_runs_of_before_are_read(tmp_path: Path) -> None:
    archive = Path(__file__).parents[1] / "old_runs" / "lock_1.zip"
    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path)
    run = RunDirectory.open(tmp_path)
    kinds = {row["kind"] for row in run.rows()} - {"forced"}
    assert all(len(run.frame(kind)) for kind in kinds)
    assert "it saved nothing" in set(run.frame("ablated")["not_run"])
    with pytest.raises(InputError, match=r"losses.json lacks controls"):  # what is read no more says so
        run.frame("forced")
    scores = run.results(EdgeScores)[0].whole
    frame = run.frame("scores")
    assert np.allclose(frame["head_importance"][: scores.head_importance.size], scores.head_importance.ravel())


@dataclass(frozen=True, eq=False)
class Plain(JsonResult):
    """A kind that says nothing of its frame."""

    kind: ClassVar[str] = "plain"
    file: ClassVar[str] = "plain.json"

    share: Estimate
    status: Status
    heads: HeadSet
    nothing: Estimate | None
    values: Float[np.ndarray, "layer head"]


@dataclass(frozen=True, eq=False)
class ByHead(Plain):
    """The same by head."""

    kind: ClassVar[str] = "by_head"
    rows: ClassVar[str] = "layer head"


def test_a_new_kind_has_a_frame_without_saying_anything() -> None:
    made: dict[str, Any] = {"share": estimate(0.5, 0.1), "status": Status.NEW, "heads": HeadSet.of(["L0H1"])}
    made |= {"nothing": None, "values": np.array([[1.0, 2.0], [3.0, 4.0]])}
    (row,) = records(Plain(**made))
    assert row == {
        "share": 0.5,
        "share_low": 0.4,
        "share_high": 0.6,
        "share_n": 64,
        "share_method": "pair bootstrap 95%",
        "share_seed": 0,
        "status": Status.NEW.value,
        "heads": "L0H1",
    }
    rows = records(ByHead(**made))
    assert [(row["name"], row["values"]) for row in rows] == [("L0H0", 1), ("L0H1", 2), ("L1H0", 3), ("L1H1", 4)]
    assert result_kinds()["verdict"] is AblationVerdict


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_class_of_results_has_a_frame(kind: type[Result], tmp_path: Path) -> None:
    result = EXAMPLES[kind]()
    table = frame(result)
    assert table.columns.is_unique
    assert len(table.columns) > 0
    assert len(table) > 0
    is_of_units = result_kinds()[kind.kind] is kind and " " not in kind.kind and kind is not Claims
    if is_of_units:
        run = RunWriter(tmp_path / "run")
        run.save(result, variant="sft")
        read = run.close().frame(kind.kind)
        assert len(read) >= len(table)
        assert (read["variant"] == "sft").all()


def test_no_class_of_results_is_defined_elsewhere() -> None:
    source = Path(headscope.__file__).parent
    code = "".join(path.read_text(encoding="utf-8") for path in source.rglob("*.py"))
    defined = set(re.findall(r"^class (\w+)\((?:\w+\.)?(?:Json)?Result\)", code, re.MULTILINE))
    assert defined - {kind.__name__ for kind in EXAMPLES} == {"JsonResult", "Trained"}


def test_sets_sizes_and_edits_have_a_row_each() -> None:
    sets = frame(controlled_heads())[["set", "heads"]].to_numpy().tolist()
    assert sets == [
        ["heads", "L1H2"], ["control 0", "L1H0"], ["control 1", "L1H1"], ["importance control 0", "L1H1"],
    ]  # fmt: skip
    sizes = frame(curve())[["fraction", "edges", "faithfulness"]].to_numpy().tolist()
    assert sizes == [[0.01, 5, 0.25], [0.1, 50, 0.75]]
    losses = frame(forced_losses())
    assert losses["edit"].tolist()[:3] == ["whole model", "heads", "control 0"]
    assert losses["mean_nll"].tolist() == pytest.approx([0.1, 0.6, 0.2, 0.2, 0.2])
    assert frame(HeadConstants(np.full((1, 2, 4), 3.0)))["norm"].tolist() == [6, 6]
    attention = EXAMPLES[Attention]()
    rows = frame(attention)
    assert rows[["head", "text", "text_problem"]].to_numpy().tolist()[:3] == [
        ["L0H1", 0, "T1-0"], ["L0H1", 1, "T1-1"], ["L1H2", 0, "T1-0"],
    ]  # fmt: skip
    base, post = attention.weights(HeadId(1, 2), 1)
    assert rows["moved"][3] == pytest.approx(np.abs(base - post).sum() / 2 / 3)


def test_an_axis_with_names_has_them_as_labels() -> None:
    cells = np.array([[0.1, 0.2], [0.3, 0.4]])
    counts = np.array([5, 6])
    losses = RoleLosses(
        "T1", "lab", HeadSet.of(["L0H1", "L2H0"]), "the emergent heads", ("retrieval", "answer"), counts, counts,
        counts / 10, cells, cells - 0.1, cells + 0.1, cells, 8, 10, "bootstrap",
    )  # fmt: skip
    rows = records(losses)
    assert [(row["head"], row["role"], row["change"]) for row in rows] == [
        ("L0H1", "retrieval", 0.1),
        ("L0H1", "answer", 0.2),
        ("L2H0", "retrieval", 0.3),
        ("L2H0", "answer", 0.4),
    ]


def test_no_table_is_left_out_of_the_frames_and_docs() -> None:
    made = set()
    for module in pkgutil.iter_modules(table_modules.__path__):
        functions = vars(importlib.import_module(f"{table_modules.__name__}.{module.name}")).values()
        made |= {
            make.__name__.removesuffix("_table")
            for make in functions
            if inspect.isfunction(make)
            and make.__module__.endswith(f".{module.name}")
            and not make.__name__.startswith("_")
            and make.__annotations__.get("return") is Table
        }
    # As ablation_map_data and slope_map_data, and as revert_map_data.
    assert made - set(TABLES) == {"head_scaling_data", "head_revert_data"}
    guide = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")
    assert [name for name in TABLES if f"`{name}`" not in guide] == []


@pytest.mark.parametrize("name", sorted(set(TABLES) - {"circuits"}))
def test_every_table_of_the_page_is_a_frame(run: RunDirectory, name: str) -> None:
    frame = table_frame(run, name)
    assert frame.columns.is_unique
    assert not frame.map(lambda value: isinstance(value, dict | list)).any().any()


def test_tables_hold_full_numbers(run: RunDirectory) -> None:
    frame = table_frame(run, "accuracy")
    of_base = measures(0.3, is_base=True)
    assert six(frame.iloc[0], "pass@1") == of_base.pass_at_k[1]
    with pytest.raises(InputError, match=r"'acuracy' is no table \(did you mean 'accuracy'\?\)"):
        table_frame(run, "acuracy")
