"""A summary of answers without a single sign of a strategy."""

import math

import pandas as pd

from headscope.results.traces import ANSWER_COLUMNS, STEP_COLUMNS, Traces
from headscope.traces.marks import lexicon
from headscope.traces.summary import summarise


def test_no_sign_in_any_answer_is_a_rate_of_zero():
    answer = {name: "" if kind == "str" else 0 for name, kind in ANSWER_COLUMNS.items()} | {"problem": "p", "tokens": 9}
    step = {name: "" if kind == "str" else 0 for name, kind in STEP_COLUMNS.items()} | {"problem": "p"}
    summary = summarise(Traces(pd.DataFrame([answer]), pd.DataFrame([step]), "m", "t", "text"))
    assert [use.mark for use in summary.marks] == list(lexicon())
    assert all(use.per_1000 == 0 and use.difference is None for use in summary.marks)
    unmeasured = pd.DataFrame([answer | {"tokens": 0}])  # without tokens there is no rate
    summary = summarise(Traces(unmeasured, pd.DataFrame([step]), "m", "t", "text"))
    assert all(math.isnan(use.per_1000) for use in summary.marks)
