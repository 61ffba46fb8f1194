import json
from pathlib import Path

import pytest

from headscope.errors import InputError
from headscope.evaluation.audit import _matching_counts, _nearest_count, audit
from headscope.evaluation.score_table import problem_count, read_score_table

MARKDOWN = """
Some text.

| model | AIME'24 | MATH-500 | mine (n = 40) | notes |
|:---|---:|---:|---|---|
| **whole** | 30.0 | 71.4 | 50.0 | a |
| ablated | *26.6* (-3.4) | 70.05 | 32.5 | b |
| scaled | 5.0 | - | 50.0 | c |
"""


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.md"
    path.write_text(MARKDOWN)
    return path


def test_the_papers_aime_cells_are_nine_and_eight_problems(table):
    """30.0 -> 26.6 on AIME: the second is cut, not rounded, to its digit."""
    report = audit(read_score_table(table))
    cells = {(cell.row, cell.column): cell for cell in report.cells}
    assert [cells[row, "AIME'24"].count for row in ("whole", "ablated", "scaled")] == [9, 8, None]
    assert report.columns[0].samples == 2  # 3 of 60
    first = next(difference for difference in report.differences if difference.column == "AIME'24")
    assert (first.problems, first.p_value, first.shown) == (-1, 1.0, False)


def test_columns_say_n_multiples_and_what_could_be_shown(table):
    report = audit(read_score_table(table))
    aime, math, mine = report.columns
    assert (aime.n, aime.cells, aime.multiples, aime.fewest) == (30, 3, 2, 0.2)
    assert aime.chance == pytest.approx(41 / 1001)
    assert (math.n, math.cells, math.multiples) == (500, 2, 1)
    assert (mine.n, mine.multiples) == (40, 3)
    is_shown = {(difference.row, difference.column): difference.shown for difference in report.differences}
    assert is_shown == {
        ("ablated", "AIME'24"): False,
        ("ablated", "mine (n = 40)"): True,  # seven problems
        ("scaled", "mine (n = 40)"): False,
    }


def test_csv_and_json_read_alike_and_sizes_can_be_given(tmp_path):
    (tmp_path / "a.csv").write_text("model,GPQA,AMC\nbase,0.5,0.7711\npost,0.51,\n")
    (tmp_path / "a.json").write_text(
        json.dumps([{"model": "base", "GPQA": 0.5, "AMC": 0.7711}, {"model": "post", "GPQA": 0.51, "AMC": None}])
    )
    table = read_score_table(tmp_path / "a.csv")
    assert read_score_table(tmp_path / "a.json") == table
    report = audit(table, {"GPQA": 100}, against="post")
    assert [(column.n, column.multiples) for column in report.columns] == [(100, 2), (83, 1)]
    assert [(difference.row, difference.problems) for difference in report.differences] == [("base", -1)]


def test_every_count_of_n_is_recognised_rounded_or_cut():
    for n in (30, 83, 198, 1319):
        for count in range(n + 1):
            share = 100 * count / n
            cut = int(share * 100 + 1e-9) / 100
            assert _nearest_count(f"{share:.2f}", n, True) == count
            assert _nearest_count(f"{cut:.2f}", n, True) == count


@pytest.mark.parametrize(
    ("text", "n", "counts"),
    [
        ("11", 500, range(53, 60)),  # 10.6 to 11.4 rounded, 11 to 11.8 cut
        ("0", 500, range(5)),
        ("100", 500, range(498, 501)),
        ("51.7", 1319, range(682, 684)),
        ("5.0", 30, range(0)),
    ],
)
def test_every_count_that_reads_like_a_score_is_known(text, n, counts):
    assert _matching_counts(text, n, True) == counts


def test_the_count_of_a_score_is_the_nearest():
    assert _nearest_count("11", 500, True) == 55
    for n in (500, 1319, 2000):
        for score in range(101):
            nearest = min(range(n + 1), key=lambda count: abs(100 * count - score * n))
            assert _nearest_count(str(score), n, True) == nearest


def test_the_smallest_p_is_that_of_the_counts_furthest_apart(tmp_path):
    """51.7 % of 1,319 is 682 or 683 problems, 52.1 % 687 or 688: with 682 and 688 six may have flipped."""
    (tmp_path / "a.csv").write_text("model,GSM8K\nbase,51.7\npost,52.1\n")
    report = audit(read_score_table(tmp_path / "a.csv"))
    (difference,) = report.differences
    assert (difference.problems, difference.p_value, difference.shown) == (5, 2 * 0.5**6, True)


@pytest.mark.parametrize(
    ("column", "count"),
    [
        ("AIME'24", 30),
        ("AIME (2024)", 30),
        ("AIME 2025 (30)", 30),
        ("AIME (2024) (15)", 15),
        ("AMC (83)", 83),
        ("AMC (2023)", None),
        ("MATH-500 (n = 100)", 100),
        ("own (n=2000)", 2000),
        ("own (2000)", None),
        ("own", None),
    ],
)
def test_a_year_in_brackets_is_no_number_of_problems(column, count):
    assert problem_count(column) == count


@pytest.mark.parametrize(
    ("name", "text", "options", "message"),
    [
        ("a.xlsx", "", {}, "no table this can audit; allowed: .csv"),
        ("a.md", "no table", {}, "no table with a head"),
        ("a.csv", "model,AIME24\nbase,x\n", {}, "no column of numbers"),
        ("a.csv", "model,AIME24\nbase,30,40\n", {}, "row 1 of .* has 3 cells and the head 2"),
        ("a.csv", "model,own\nbase,30\n", {}, r"of no column is known \(own\)"),
        ("a.csv", "model,own\nbase,30\n", {"sizes": {"owm": 3}}, "did you mean 'own'"),
        ("a.csv", "model,own\nbase,30\n", {"sizes": {"own": 0}}, "0 problems; allowed: 1 or more"),
        ("a.csv", "model,AIME24\nbase,130\n", {}, "score 130 of 'base' in column 'AIME24' is outside 0-100"),
        ("a.csv", "model,AIME24\nbase,30\n", {"against": "bse"}, "did you mean 'base'"),
        ("a.csv", "model,AIME24\nbase,30\nbase,20\n", {}, "has row 'base' twice; name rows apart, or their groups"),
    ],
)
def test_bad_tables_are_refused_in_a_sentence(tmp_path, name, text, options, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        audit(read_score_table(tmp_path / name), **options)


PAPER = Path(__file__).parents[2] / "examples" / "thinking-sparks"


@pytest.mark.parametrize(
    ("name", "against", "multiples", "hidden"),
    [
        ("table1.csv", "no ablation", [4] * 8, "17 of 24"),
        ("table2.csv", "think off", [4] * 5, "6 of 15"),
        ("table4.csv", "no ablation", [1, 1, 0, 1, 4, 4, 4, 4], "9 of 12"),
        ("table5.csv", "no ablation", [5, 4, 4], "6 of 10"),
    ],
)
def test_the_papers_tables(name, against, multiples, hidden):
    """Tables 1, 2, 4 and 5 of arXiv 2509.25758 v2: most cells had one answer per problem."""
    report = audit(read_score_table(PAPER / name), against=against)
    assert [column.multiples for column in report.columns] == multiples
    assert f"{sum(not difference.shown for difference in report.differences)} of {len(report.differences)}" == hidden


def test_columns_of_table_4_had_64_answers_per_problem():
    """Two benchmarks agree on it, and the paper samples 4 to 64."""
    report = audit(read_score_table(PAPER / "table4.csv"))
    assert [column.samples for column in report.columns if column.n == 30] == [64, 64, 1, 1]


def test_a_text_column_beside_names_makes_no_groups(tmp_path):
    (tmp_path / "a.csv").write_text("model,type,AIME24\nbase,dense,30.0\nablated,dense,26.6\n")
    report = audit(read_score_table(tmp_path / "a.csv"), against="base")
    assert [(difference.group, difference.row, difference.problems) for difference in report.differences] == [
        ("", "ablated", -1)
    ]


def test_marked_numbers_are_read_and_what_is_none_is_told(tmp_path):
    rows = ["m,AIME24", "a,<u>26.6</u>", "b,~20.0", "c,30.0 ± 1.2", "d,.3", "e,OOM", "f,-", "g,13.3%"]
    (tmp_path / "a.csv").write_text("\n".join(rows))
    table = read_score_table(tmp_path / "a.csv")
    assert [row[0] for row in table.cells] == ["26.6", "20.0", "30.0", "0.3", "", "", "13.3"]
    assert table.unread == ("OOM",)


def test_rows_are_compared_within_their_group(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("model,method,AMC,notes\nsmall,whole,66.2,x\n,0.5x,59.0,y\nlarge,whole,81.9,\n,0.5x,78.3,\n")
    report = audit(read_score_table(path))
    assert [
        (difference.group, difference.row, difference.against, difference.problems) for difference in report.differences
    ] == [
        ("small", "0.5x", "whole", -6),
        ("large", "0.5x", "whole", -3),
    ]
