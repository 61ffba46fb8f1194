from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headscope.evaluation.equality import is_same, normal_answer, rational


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-1,234.50", Fraction(-2469, 2)),
        (".5", Fraction(1, 2)),
        ("-3/4", Fraction(-3, 4)),
        (r"\dfrac{3}{4}", Fraction(3, 4)),
        (r"-\frac12", Fraction(-1, 2)),
        (r"\frac{3}{0}", None),
        ("x", None),
        ("1,2", None),
        ("3 1/2/3", None),
        ("", None),
    ],
)
def test_plain_numbers_are_read_exactly(text, value):
    assert rational(text) == value


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("0.5", r"\frac{1}{2}", True),
        ("8", "7", False),
        ("100000", "100001", False),
        ("2.5", r"\frac{7}{3}", False),
        ("0.3333", r"\frac13", None),
        (r"\sqrt2", "2", None),
        ("x+1", "1+x", None),
    ],
)
def test_numbers_are_told_apart_only_where_no_rounding_could_join_them(answer, gold, same):
    assert is_same(answer, gold, "math") is same


@given(st.fractions(-(10**290), 10**290, max_denominator=10**6))
@example(Fraction(10**30))
def test_a_number_equals_itself_in_every_spelling(number):
    sign, size = "-" if number < 0 else "", abs(number)
    spellings = [
        f"{sign}{size.numerator}/{size.denominator}",
        rf"{sign}\dfrac{{{size.numerator}}}{{{size.denominator}}}",
    ]
    assert is_same(*spellings, "math") is True


def test_numbers_longer_than_any_answer_are_left_to_math_verify():
    digits = "1" + 300 * "0"
    assert is_same(f"{digits}/1", rf"\dfrac{{{digits}}}{{1}}", "math") is None


@given(
    st.text(st.characters(exclude_characters="\n"), max_size=30), st.sampled_from(["math", "choice", "alias", "exact"])
)
def test_normalising_twice_is_normalising_once(text, kind):
    once = normal_answer(text, kind)
    assert is_same(text, text, kind) is True
    if kind == "exact":
        assert normal_answer(once, kind) == once


def test_an_alias_of_nothing_but_articles_is_not_nothing():
    assert not is_same("!", "The The", "alias")
    assert is_same("the the", "The The", "alias")
