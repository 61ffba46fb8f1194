import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.errors import InputError
from headscope.results.samples import RESPONSE_COLUMNS, VERDICTS, Samples


def record(problem, sample, verdict="correct", **fields):
    return {
        "problem": problem,
        "group": "T1",
        "sample": sample,
        "seed": 2**63 - 1,
        "response": "<ans> 6",
        "tokens": 10 * (sample + 1),
        "finish": "stop",
        "verdict": verdict,
        "answer": "6",
        "gold": "6",
        "kind": "exact",
        "token_ids": range(sample + 3),
        **fields,
    }


def made(records, **settings_):
    return Samples.from_records(records, model="base", task="lab", settings=settings_)


def test_matrices_are_problem_major_whatever_the_row_order():
    rows = [record("b", 1, "wrong"), record("a", 0), record("b", 0), record("a", 1, "unfinished")]
    samples = made(rows)
    assert samples.problems == ["b", "a"]
    np.testing.assert_array_equal(samples.correct, [[True, False], [True, False]])
    np.testing.assert_array_equal(samples.lengths, [[10, 20], [10, 20]])


def test_rates_are_shares_of_all_responses():
    rows = [record("a", index, verdict) for index, verdict in enumerate([*VERDICTS, "correct", "wrong", "unparsed"])]
    rates = made(rows).rates()
    assert rates == {"correct": 0.25, "wrong": 0.25, "unparsed": 0.25, "unfinished": 0.125, "timeout": 0.125}


def test_responses_are_read_by_problem_or_the_first_of_each(tmp_path):
    samples = made([record(problem, sample, response=f"{problem}{sample}") for problem in "ab" for sample in (0, 1)])
    samples.save(tmp_path)
    expected = samples.table[list(RESPONSE_COLUMNS)].to_dict("records")
    assert Samples.load_responses(tmp_path) == [row for row in expected if row["sample"] == 0]
    assert Samples.load_responses(tmp_path, ["b", "no such"]) == [row for row in expected if row["problem"] == "b"]
    assert Samples.load_responses(tmp_path, []) == []
    samples.table.drop(columns="gold").to_parquet(tmp_path / "samples.parquet")
    with pytest.raises(InputError, match=r"samples.parquet lacks the columns \['gold'\]"):
        Samples.load_responses(tmp_path)


def test_text_of_any_storage_has_its_surrogates_replaced():
    table = made([record("a", 0)]).table
    text = pd.StringDtype("python", na_value=np.nan)
    broken = table.assign(response=pd.Series(["\ud800"], dtype=text), answer=pd.Series([np.nan], dtype=text))
    assert Samples(broken, "base", "lab").table["response"].tolist() == ["\ufffd"]


def test_groups():
    samples = made([record("a", 0), record("b", 0, group="T2"), record("c", 0, "wrong", group="T2")])
    assert samples.groups == ["T1", "T2", "T2"]


any_text = st.text(st.characters(), max_size=20) | st.just("\x00\u2028\ud800x\udfff\U0001f600")


@settings(max_examples=25)
@given(any_text, any_text)
def test_saving_and_loading_is_the_identity(tmp_path_factory, response, problem):
    samples = made([record(problem, 0, response=response), record(problem, 1)], temperature=0.6, chat=None)
    folder = tmp_path_factory.mktemp("samples")
    samples.save(folder)
    assert Samples.load(folder) == samples


def test_lone_surrogates_become_replacement_characters_and_pairs_become_their_character():
    samples = made([record("a", 0, response="x\ud800y\ud83d\ude00")])
    assert samples.table["response"][0] == "x\ufffdy\U0001f600"


def test_equality_sees_every_cell():
    assert made([record("a", 0)]) == made([record("a", 0)])
    assert made([record("a", 0)]) != made([record("a", 0, answer="7")])
    assert made([record("a", 0)]) != made([record("a", 0)], seed=1)
    assert made([record("a", 0)]) != made([record("a", 0, token_ids=[0, 1, 3])])


def test_a_table_of_schema_1_loads_without_kinds_and_ids(tmp_path):
    made([record("a", 0)]).save(tmp_path)
    head = json.loads((tmp_path / "samples.json").read_text())
    (tmp_path / "samples.json").write_text(json.dumps({**head, "schema_version": 1}))
    table = pd.read_parquet(tmp_path / "samples.parquet").drop(columns=["kind", "token_ids"])
    table.to_parquet(tmp_path / "samples.parquet")
    loaded = Samples.load(tmp_path)
    assert loaded.table["kind"].tolist() == [""]
    assert len(loaded.table["token_ids"][0]) == 0


def test_the_first_answers_are_those_of_sample_0():
    samples = made([record("a", 1), record("a", 0, "wrong"), record("b", 0), record("b", 1, "wrong")])
    np.testing.assert_array_equal(samples.first_correct, [False, True])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([record("a", 0), record("a", 1), record("b", 0)], r"problem 'b' has the samples \[0\], not 0-1"),
        ([record("a", 0), record("a", 0)], r"problem 'a' has the samples \[0, 0\], not 0-0"),
        ([record("a", 0, "right")], "verdict 'right'; allowed: correct"),
        ([record("a", 0, finish="eos")], "finish 'eos'; allowed: stop, length"),
        ([], "at least one response"),
    ],
)
def test_what_is_no_samples_table_is_refused(rows, message):
    with pytest.raises(InputError, match=message):
        made(rows)


def test_a_missing_column_is_named():
    table = made([record("a", 0)]).table.drop(columns="gold")
    with pytest.raises(InputError, match=r"lacks the columns \['gold'\]"):
        Samples(table, "base", "lab")


def test_loading_nothing_or_a_newer_schema_says_so(tmp_path):
    with pytest.raises(InputError, match=r"samples\.json is missing"):
        Samples.load(tmp_path)
    made([record("a", 0)]).save(tmp_path)
    head = json.loads((tmp_path / "samples.json").read_text())
    (tmp_path / "samples.json").write_text(json.dumps({**head, "schema_version": 99}))
    with pytest.raises(InputError, match="schema_version 99"):
        Samples.load(tmp_path)
