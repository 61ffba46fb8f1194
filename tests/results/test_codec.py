"""JSON values of frozen dataclasses: what goes in comes out, strictly."""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Bool, Float, Int

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.results.codec import from_json, to_json
from headscope.results.estimate import Estimate
from headscope.results.evidence import Evidence
from headscope.results.not_run import NotRun, load_result
from headscope.results.verdict import AblationVerdict


@dataclass(frozen=True, eq=False)
class Everything:
    """One field of every type that results have."""

    grid: Float[np.ndarray, "layer head"]
    mask: Bool[np.ndarray, " head"]
    counts: Int[np.ndarray, " head"]
    heads: HeadSet
    estimates: tuple[Estimate, ...]
    by_k: dict[int, Estimate]
    span: tuple[float, float]
    settings: dict[str, Any] = field(default_factory=dict)
    maybe: Estimate | None = None
    number: float = math.nan


numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)


@given(st.lists(numbers, min_size=2, max_size=2), numbers, st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_saving_and_reading_is_the_identity_in_strict_json(
    row: list[float], number: float, heads: set[tuple[int, int]]
) -> None:
    estimate = Estimate(number, row[0], row[1], 3, "by hand")
    whole = Everything(
        grid=np.array([row, row]),
        mask=np.array([True, False]),
        counts=np.array([1, -1]),
        heads=HeadSet.of(heads),
        estimates=(estimate,),
        by_k={1: estimate, 16: estimate},
        span=(row[0], row[1]),
        settings={"nested": [1, {"a": None}]},
        number=number,
    )
    text = json.dumps(to_json(whole), allow_nan=False)
    back = from_json(Everything, json.loads(text), "test")
    assert json.dumps(to_json(back), allow_nan=False) == text
    assert np.array_equal(back.grid, whole.grid, equal_nan=True)
    assert (back.mask.dtype, back.counts.dtype) == (np.bool_, np.int64)
    assert (back.heads, back.maybe, list(back.by_k)) == (whole.heads, None, [1, 16])


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"value": "much"}, "value in test is 'much'; a number is needed"),
        ({"value": [1]}, "value in test is \\[1\\]; a number is needed"),
        ({"n": None}, "n in test is None; a int is needed"),
        ({"method": 3}, "method in test is 3; a str is needed"),
    ],
)
def test_a_value_of_another_type_is_named(change: dict[str, object], sentence: str) -> None:
    data = {"value": 1.0, "low": 0.0, "high": 2.0, "n": 3, "method": "by hand"} | change
    with pytest.raises(InputError, match=sentence):
        from_json(Estimate, data, "test")


def test_a_missing_field_and_what_is_no_object_are_named() -> None:
    with pytest.raises(InputError, match="test lacks n; it is damaged"):
        from_json(Estimate, {"value": 1, "low": 0, "high": 2, "method": "by hand"}, "test")
    with pytest.raises(InputError, match="test holds 3; an object with the fields of Estimate"):
        from_json(Estimate, 3, "test")
    grid = {"grid": [["x"]], "mask": [], "counts": [], "heads": [], "estimates": [], "by_k": {}, "span": [0, 0]}
    with pytest.raises(InputError, match="grid in test is no array of numbers"):
        from_json(Everything, grid, "test")


def test_a_result_that_could_not_be_made_says_why(tmp_path: Path) -> None:
    NotRun("there is no head to remove").save(tmp_path)
    assert load_result(Evidence, tmp_path) == NotRun("there is no head to remove")


def test_what_version_one_called_empty_is_not_run(tmp_path: Path) -> None:
    old = {"schema_version": 1, "empty": True, "reason": "sft has no lost heads"}
    (tmp_path / "verdict.json").write_text(json.dumps(old))
    assert load_result(AblationVerdict, tmp_path) == NotRun("sft has no lost heads")
