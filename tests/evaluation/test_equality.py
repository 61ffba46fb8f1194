from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from headscope.answers.numbers import exact_number
from headscope.answers.reading import UnreadableError
from headscope.evaluation.equality import is_same, normal_answer


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-1234.50", Fraction(-2469, 2)),
        (".5", Fraction(1, 2)),
        ("-3/4", Fraction(-3, 4)),
        (r"\frac{3}{4}", Fraction(3, 4)),
        (r"\frac{-1}{2}", Fraction(-1, 2)),
        (r"-2\frac{1}{3}", Fraction(-7, 3)),
        (r"\frac{3}{0}", None),
        ("x", None),
        ("1,2", None),
        ("3 1/2/3", None),
        ("", None),
    ],
)
def test_plain_numbers_are_read_exactly(text, value):
    assert exact_number(text) == value


@pytest.mark.parametrize(
    ("answer", "gold", "same"),
    [
        ("0.5", r"\frac{1}{2}", True),
        ("-1,234.50", r"-\dfrac{2469}{2}", True),
        ("8", "7", False),
        ("100000", "100001", False),
        ("2.5", r"\frac{7}{3}", False),
        ("0.3333", r"\frac13", False),
        ("0.333333", r"\frac13", True),
        ("0.0000002", "0.0000001", False),
        ("51/2", "5 1/2", False),
        ("51/2", r"5\ 1/2", False),
        ("11/2", r"5\,1/2", True),
        ("10100", "10, 100", False),
        ("10, 100", "10100", False),
        ("100, 10", "10, 100", True),
        ("2125343", "2, 125, 343", False),
        ("10100", r"$10,\ 100$", False),
        ("10100", "10,100", True),
        (r"10\,000", "10000", True),
        (r"10\;000", "10000", True),
        (r"1{,}000.5", "1000.5", True),
        (r"1,\!000", "1000", True),
        ("$ 1,234 $.", "1234", True),
        (r"(1,\ 2)", "(1,2)", True),
        (r"3\ x", "3x", True),
        (r"\sqrt2", "2", None),
        ("x+1", "1+x", None),
        ("1, 2", "2 and 1", True),
    ],
)
def test_numbers_are_compared_by_value_and_formulas_are_left_to_sympy(answer, gold, same):
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


def test_numbers_longer_than_any_answer_are_left_to_sympy():
    digits = "1" + 300 * "0"
    assert is_same(f"{digits}/1", rf"\dfrac{{{digits}}}{{1}}", "math") is None


@given(
    st.text(st.characters(exclude_characters="\n"), max_size=30),
    st.sampled_from(["math", "number", "choice", "alias", "exact"]),
)
def test_normalising_twice_is_normalising_once(text, kind):
    once = normal_answer(text, kind)
    assert is_same(text, text, kind) is True
    if kind == "exact":
        assert normal_answer(once, kind) == once


def test_two_numbers_with_a_latex_blank_between_them_are_not_one():
    with pytest.raises(UnreadableError):
        is_same(r"1\ 2", "12", "math")
    assert is_same("12", r"1\;2", "math") is False


def test_an_answer_that_cannot_be_read_whole_says_so():
    with pytest.raises(UnreadableError):
        is_same(r"7\text{ if }x>0", "7", "math")
    # Nothing but the same spelling equals a gold answer that cannot be read.
    assert is_same("7", r"7\text{ if }x>0", "math") is False


def test_an_alias_of_nothing_but_articles_is_not_nothing():
    assert not is_same("!", "The The", "alias")
    assert is_same("the the", "The The", "alias")
