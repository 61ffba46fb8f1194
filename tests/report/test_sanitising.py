"""Sanitising: whatever the text, the script element holds it and JSON gives it back."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.measures.paired_tests import mcnemar
from headscope.plain_text import plain_text
from headscope.report.sanitising import content_security_policy, script_json
from headscope.report.scripts import join_modules
from headscope.results.estimate import Estimate
from headscope.results.numbers import format_count_estimate, format_estimate, format_p, format_share, state_p


@settings(max_examples=60)
@given(st.text(st.characters(exclude_categories=[])))
def test_json_comes_back_and_cannot_end_the_script(text: str) -> None:
    embedded = script_json({"text": text})
    assert json.loads(embedded)["text"] == text
    assert not set("<>&\u2028\u2029") & set(embedded)


@settings(max_examples=60)
@given(st.text(st.characters(exclude_categories=[])))
def test_plain_text_is_encodable_free_of_controls_and_stable(text: str) -> None:
    plain = plain_text(text)
    plain.encode("utf-8")
    assert not [char for char in plain if char < " " and char not in "\n\t"]
    assert plain_text(plain) == plain


def test_policy_names_the_hash_of_each_script() -> None:
    # The SHA-256 of nothing, in base64.
    policy = content_security_policy([""])
    assert "script-src 'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=';" in policy
    assert policy.startswith("default-src 'none'")


def test_modules_are_joined_once_in_the_order_of_their_imports(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text('import { c } from "./c.js";\nexport function a() { return c; }\n')
    (tmp_path / "c.js").write_text("export const c = 1;\n")
    main = tmp_path / "main.js"
    main.write_text('import { a } from "./a.js";\nimport { c } from "./c.js";\na(c);\n')
    source = join_modules(main)
    assert source.split() == ["const", "c", "=", "1;", "function", "a()", "{", "return", "c;", "}", "a(c);"]


@pytest.mark.parametrize(
    ("estimate", "decimal", "count"),
    [
        (Estimate(5.0, 2.0, 7.0, 64, ""), "5.00 [2.00, 7.00]", "5 [2, 7]"),
        (Estimate(-1.5, -3.0, 0.0, 64, ""), "−1.50 [−3.00, 0.00]", "−1.5 [−3.0, 0.0]"),
        (Estimate(2.0, float("nan"), float("nan"), 64, ""), "2.00", "2"),
        (Estimate(float("nan"), float("nan"), float("nan"), 0, ""), "–", "–"),
    ],
)
def test_numbers_carry_their_interval(estimate: Estimate, decimal: str, count: str) -> None:
    assert format_estimate(estimate) == decimal
    assert format_count_estimate(estimate) == count


def test_shares_are_per_cent_and_small_p_values_keep_two_digits() -> None:
    assert format_share(Estimate(0.05, 0.042, 0.061, 64, "")) == "5.0 [4.2, 6.1] %"
    p_values = {1.0: "1.000", 0.0476: "0.048", 0.0047: "0.0047", 1.5e-12: "1.5e−12", 0.0: "< 1e−300", float("nan"): "–"}
    assert [format_p(p_value) for p_value in p_values] == list(p_values.values())
    # Of a test over 7,595 answers a float holds no p-value, and no test gives 0.
    many = np.arange(7595) < 7429
    assert state_p(mcnemar(many, ~many).p_value) == "p < 1e−300"
    assert state_p(mcnemar(many[:6], many[:6]).p_value) == "p = 1.000"
