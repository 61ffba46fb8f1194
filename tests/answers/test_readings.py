# ruff: noqa: E501
"""What equals what, kind by kind: (gold, answers that are right, answers that are wrong)."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.answers.comparison import ExactNumbers, UndecidedError, is_equal
from headscope.answers.expressions import POINTS, _coordinate
from headscope.answers.reading import UnreadableError, read
from headscope.answers.worker import compare

NUMBERS = [
    ("3719.25", [r"\$3,719.25", "3719.250", r"3{,}719.25", r"3\,719.25", "3 719.25", "+3719.25"], ["3", "719.25"]),
    ("6400", ["６４００", "6\u202f400", "6,400.", "**6400**", "`6400`", r"\mathbf{6400}", r"\text{6400}", "[6400]", "6400?"], ["(6,400)", "6", "64", "400"]),
    ("-19", ["−19", "–19", "－19", "- 19"], ["19"]),
    (r"\frac{17}{4}", ["17/4", "4.25", "4¼", "4 1/4", r"4\frac14", r"4\tfrac{1}{4}", r"\displaystyle\frac{17}4"], ["41/4", r"\frac14", "4", "17"]),
    ("4 1/4", ["4.25", r"\frac{17}{4}", "4¼"], ["41/4", "1/4", "4", "4/4"]),
    (r"-\frac{17}{4}", ["-4 1/4", r"-4\frac{1}{4}", r"\frac{-17}{4}"], [r"\frac{17}{4}", "-4"]),
    (r"\frac{8}{11}", [r"0.\overline{72}", "0.(72)", r"0.\dot{7}\dot{2}", "0.727272...", r"0.\bar{72}"], ["0.72", "0.7", "0"]),
    ("0.2(7)", [r"\frac{5}{18}", r"0.2\overline{7}", "0.2777..."], ["0.2", "0.27", "0.7"]),
    (r"\frac49", ["0.4\u0304", r"0.\dot{4}", "4/9"], ["0.4", "0.44"]),
    ("83000", [r"8.3 \times 10^4", r"8.3\cdot10^{4}", "8.3e4", "8.3E+4", "8.3 x 10^4", "83 thousand"], ["8.3", "8", "8.3e5"]),
    ("7.1e2", ["710"], ["7.1", "2"]),
    ("9700000", [r"9.7\text{ million}", "9.7 million"], ["9.7", "9.7 billion"]),
    (r"\frac{1}{1871!}", [], [r"\frac{1}{1873!}", r"\frac{1}{1871}", "1", "0"]),
    ("8/9/7", [], ["8/9", "8"]),
]  # fmt: skip
FORMULAS = [
    ("7√3", [r"7\sqrt{3}", r"7\sqrt3", "7*sqrt(3)", r"\sqrt{147}"], ["7", "3", "√3"]),
    ("√7", [r"\sqrt7"], ["7"]),
    ("9π", [r"9\pi", "9 pi"], ["9", "π"]),
    ("6·7", ["42", "6×7", r"6 \cdot 7"], ["6", "7"]),
    ("4³", ["64", "4^3", "4^{3}"], ["4", "3"]),
    ("x²-9", ["(x-3)(x+3)", "x^2 - 9", "x**2-9"], ["x²", "x²+9"]),
    (r"3-\frac{1}{\mathrm{e}}", [r"3-\frac1e", "3-e^{-1}"], ["3", r"3+\frac{1}{e}"]),
    (r"7\mathrm{i}", ["7i"], ["7", "i"]),
    (r"4\mathbf{i}+9\mathbf{j}", [r"9\mathbf{j}+4\mathbf{i}"], ["4", "4i"]),
    ("m!", ["m!"], ["m"]),
    ("8|y|", [r"8\lvert y\rvert"], ["8", "8y"]),
    (r"6\lfloor y \rfloor", [], ["6", "6y"]),
    (r"3\arctan 7", [r"3\operatorname{arctg} 7", r"3\tan^{-1} 7"], ["3", "7"]),
    (r"8\operatorname{tg}\beta", [r"8\tan\beta"], ["8"]),
    (r"9\ch y", [r"9\cosh y"], ["9"]),
    (r"7\cosec y", [r"7\csc y", r"\frac{7}{\sin y}"], ["7"]),
    (r"3^m - 8", [], ["3", "3^m"]),
    (r"\cos^2 t", [r"1-\sin^2 t"], [r"\sin^2 t"]),
    (r"\sqrt{y^2}", ["|y|"], ["y"]),
    (r"\sqrt{\frac{1}{m}}", [r"\frac{1}{\sqrt m}"], [r"\sqrt{m}"]),
    ("b+a", ["a+b"], ["a", "b"]),
    (r"\log_3 81", ["4"], ["81"]),
    (r"{6 \choose 2}", ["15", r"\binom62"], ["6"]),
    (r"6m\pi, m\in\mathbb{Z}", [r"6\pi m,\ m \in \mathbb{Z}", r"x = 6m\pi \quad (m \in Z)", "6πm"], ["6", r"6\pi", r"6m\pi, m\in\mathbb{N}"]),
]  # fmt: skip
COLLECTIONS = [
    ("4, 9", ["9, 4", "4 and 9", r"4\text{ or }9", r"\{9,4\}", "x=4 or x=9", "x_1=9, x_2=4", "4;9"], ["4", "9", "4.9", "4, 9, 9", "49"]),
    (r"\{7,8,11\}", ["7, 8, and 11", r"\{ 11, 8, 7 \}", "{8, 7, 11}"], ["7,8", r"\{7,8,12\}"]),
    (r"\pm 14", ["14, -14", "±14", r"x=\pm14"], ["14", "-14"]),
    (r"6\pm\sqrt{11}", [r"6+\sqrt{11}, 6-\sqrt{11}"], ["6", r"6+\sqrt{11}"]),
    ("8±3", ["11, 5"], ["11", "8"]),
    ("11 or 12", ["12, 11"], ["11", "12"]),
    ("4;9", ["4, 9"], ["4", "9"]),
    ("(4;9)", ["(4,9)", "(4, 9)", "x=4, y=9", r"x = 4 \text{ and } y = 9", "y=9, x=4", "(x,y)=(4,9)", "（4，9）"], ["(9,4)", "4", r"\{4,9\}", "x=9, y=4"]),
    ("K=4, L=9", ["L=9, K=4", "(4,9)"], ["4", "K=9, L=4", "9, 4"]),
    ("m=4,5,6", ["4,5,6", "m = 6, 5, 4"], ["m=4,5", "m=5,6,7"]),
    ("14 cows and 3 dogs", ["3 dogs and 14 cows", "14, 3", r"14\text{ cows and }3\text{ dogs}"], ["3 cows and 14 dogs", "14", "3, 14"]),
    (r"6\text{ nuts and }7\text{ figs}", ["6 nuts, 7 figs"], ["6", "7 nuts and 6 figs"]),
    (r"\begin{pmatrix}4\\-9\end{pmatrix}", ["(4,-9)", r"\begin{bmatrix} 4 \\ -9 \end{bmatrix}", r"\langle 4,-9\rangle"], [r"\begin{pmatrix}-9\\4\end{pmatrix}", "4"]),
    (r"\begin{pmatrix}4&5\\6&7\end{pmatrix}", [r"\left[\begin{array}{cc}4 & 5\\6 & 7\end{array}\right]"], [r"\begin{pmatrix}4&6\\5&7\end{pmatrix}", "4"]),
    ("8:11", ["8 : 11", r"\frac{8}{11}"], ["8", "11:8"]),
    ("8:11:13", ["8 : 11 : 13"], ["8:11", "8"]),
    (r"6:7:8:\ldots", [], ["6", r"6:7:9:\ldots"]),
    (r"4,9,16,\ldots", [], ["4,9,16", "4"]),
]  # fmt: skip
REGIONS = [
    ("(4,9]", ["4<x≤9", r"4 < t \leq 9", "9 ≥ x > 4", "]4,9]", r"x\in(4,9]"], ["(4,9)", "[4,9]", "4<x<9", "4"]),
    ("(4,9)", ["]4;9[", "4<x<9", r"\left]4,9\right["], ["[4,9]", "x<9", "(4,9]"]),
    (r"(-\infty,4]", ["(−∞, 4]", "x≤4", r"x \leqslant 4", r"\{x \mid x \le 4\}", "4>=x"], ["x<4", "4", "x≥4"]),
    (r"(-\infty,4)\cup(9,\infty)", ["(−∞,4)∪(9,∞)", "x<4 or x>9", r"(9,+\infty)\cup(-\infty,4)"], ["4<x<9", r"(9,\infty)"]),
    (r"y\neq14", ["y ≠ 14", r"(-\infty,14)\cup(14,\infty)", r"\mathbb{R}\setminus\{14\}"], ["14", "y=14"]),
    ("≤14", [], ["14"]),
    ("y ≤ 14", [r"y \le 14", r"(-\infty,14]"], ["14", "y<14"]),
]  # fmt: skip
NAMES = [
    ("y=17", ["17", "y = 17", "17 = y", r"y = 17 \text{ cm}"], ["x=17", "71"]),
    ("17", ["n = 17", r"\theta = 17", "Area = 17", r"\text{Total} = 17", "8+9=17", "n = 8+9 = 17", "≈ 17"], ["n", "8+9=71"]),
    ("E=(0,7)", ["(0,7)"], ["E=(0,7.5)", "7"]),
    ("y=4x-7", ["4x-7", "4x-y=7", "8x-2y-14=0", "y = -7+4x"], ["4x+7", "4x-y=8", "7"]),
    ("4x-y+17=0", ["8x-2y+34=0", "y=4x+17"], ["4x+y+17=0", "17"]),
    ("x^2+7=0", ["2x^2+14=0"], ["x^2+8=0"]),
    ("xyz=7", ["zyx = 7"], ["7"]),
    ("g'(x)", [], ["g(x)", "g"]),
    ("x_4", ["x_{4}", "x₄"], ["x", "x_5", "4"]),
]  # fmt: skip
UNITS = [
    ("36", ["36 cm", r"36\text{ cm}^2", "36 eggs", "36%", "36°", "€36", "36 dollars", r"36\,\mathrm{kg}", "36 square units", "36个", r"36\text{厘米}", "36 eggs per day"], ["37 cm", "36i", "63"]),
    ("45 km", ["45", "45km", "45 kilometers", r"45\text{ km}"], ["45 m", "45 cm", "45 km^2", "45 km/h"]),
    (r"45\text{ m}^2", ["45", "45 m²", "45 square meters", "45 sq m"], ["45 m", r"45\text{ m}^3", "45 cm^2"]),
    ("45 mph", ["45 miles per hour", "45"], ["45 miles", "45 km/h"]),
    ("40 minutes", ["40 min", "40 mins", "40"], ["40 hours", "40 s"]),
    ("700 g", ["700 grams", "700"], ["700 kg", "7"]),
    ("$64", ["64", "64 dollars", r"\$64", "64 USD"], ["64 cents", "€64"]),
    (r"70^\circ", ["70", "70 degrees", "70°", r"70^{\circ}", r"70\text{ degrees}"], ["70 cm", r"7^\circ"]),
    ("35 °C", ["35"], ["35 °F"]),
    (r"35\%", ["35", "0.35", "35 percent", r"\frac{7}{20}"], ["350", "3.5", "35 km"]),
    (r"3\text{ hours }20\text{ minutes}", ["3 hours 20 minutes"], ["3", "3 hours", "20"]),
    (r"3\ \mathrm{h}\ 20\ \mathrm{min}", [], ["3", "20"]),
    ("212_4", ["212_{4}", r"212_{\text{four}}", "212 (base 4)", "212"], ["212_5", "21", "122_4"]),
    (r"6\bmod 11", [], ["6", "11"]),
    (r"6\gcd(m,n)", [], ["6"]),
    (r"6\text{ if }x>0", [], ["6"]),
]  # fmt: skip
WORDS = [
    (r"\text{prime}", ["prime", "Prime", r"\textbf{prime}", r"\mathrm{prime}"], ["mirep", "composite", "p"]),
    ("scalene", [r"\text{scalene}", "Scalene."], ["enelacs", "scale"]),
    ("No", [r"\text{no}", "NO"], ["on", "yes"]),
    (r"\text{(D)}", ["D", "(D)", r"\text{D}"], ["C", "DD"]),
    ("17", [r"\text{(C) } 17", r"\textbf{(C)}\ 17"], [r"\text{(C) } 18"]),
    ("April 9", [r"\text{April 9}"], ["9", "April 8", "April"]),
    ("not 17", [r"\text{not 17}"], ["17"]),
    (r"\text{less than }17", ["less than 17"], ["17"]),
    ("16:30", ["16:30"], ["16", "30", "16:00"]),
    ("蓝色", [r"\text{蓝色}", "蓝色。"], ["红色", "蓝"]),
]  # fmt: skip
KINDS = {
    "numbers": NUMBERS, "formulas": FORMULAS, "collections": COLLECTIONS, "regions": REGIONS, "names": NAMES,
    "units": UNITS, "words": WORDS,
}  # fmt: skip


def mistaken_verdicts(cases):
    """Return the answers that are judged otherwise than the cases say."""
    mistaken = []
    for gold, right, wrong in cases:
        mistaken += [(gold, answer, "refused") for answer in right if not compare(gold, answer)["equal"]]
        mistaken += [(gold, answer, "accepted") for answer in wrong if compare(gold, answer)["equal"]]
    return mistaken


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_is_right_however_it_is_written_and_a_part_of_it_never_is(kind):
    assert mistaken_verdicts(KINDS[kind]) == []


CASES = [
    (r"\pi(R^2-r^2)", [r"\pi(R-r)(R+r)"], ["0", r"\pi(R-r)^2", r"\pi(r^2-R^2)"]),
    ("R-r", ["-r+R"], ["5r-5R", "0"]),
    ("a^2+A", ["A+a^2"], ["a^2+a", "A^2+a"]),
    ("2N", ["2n"], ["n+N", "N"]),
    ("2n+1", ["2N+1", "1+2n"], ["N+n+1"]),
    (r"V=\pi r^2 h", [r"V=\pi R^2 h", r"\pi R^2 H"], [r"\pi R r h"]),
    ("b=2a", ["B=2A"], ["b=2A+a"]),
    (r"\Delta-\delta", [], ["0"]),
    (r"\Omega", [r"\Omega"], [r"\omega"]),
    ("(R, r)", ["(R,r)"], ["(r, R)", "(r,r)"]),
    ("R=5, r=3", ["r=3, R=5", "R=5 and r=3"], ["r=5, R=3"]),
    ("A", ["a"], ["B", "b"]),
]  # fmt: skip


def test_case_tells_letters_apart_if_an_answer_uses_both():
    assert mistaken_verdicts(CASES) == []


SYMBOLS = [
    (r"\frac{\rho}{\tau}", [r"\rho\tau^{-1}"], [r"\frac{\tau}{\rho}", "1"]),
    ("x_3-r_0", ["-r_0+x_3"], ["0"]),
    ("y-x=0", ["2x-2y=0"], ["(y-x)^3=y-x"]),
    (r"\frac{x}{y}=1", [r"\frac{2x}{y}=2"], [r"\frac{x^2}{y^2}=1"]),
]  # fmt: skip


def test_different_symbols_have_different_values_whatever_their_names():
    assert mistaken_verdicts(SYMBOLS) == []
    letters = [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", "rho", "tau", "sigma", "omega", "Omega"]
    names = [*letters, *(f"{letter}_{index}" for letter in letters for index in (*range(100), "n", "k"))]
    places = {tuple(_coordinate(name, point) for point in POINTS if point > 0) for name in names}
    assert len(places) == len(names)


VALUES = [
    ("2i", ["(1+i)^2", r"\frac{-2}{i}"], ["(1-i)^2", "2", "-2i"]),
    ("-1", ["i^2", r"e^{i\pi}"], ["i", "1", "i^4"]),
    ("5", ["(2+i)(2-i)"], ["(2+i)^2"]),
    (r"\frac{1}{2}+\frac{\sqrt{3}}{2}i", [r"e^{i\pi/3}"], [r"e^{-i\pi/3}", r"\frac{1}{2}"]),
    ("x+2i", ["x+(1+i)^2"], ["x-2i", "2x+2i"]),
    ("0", [r"(\sqrt3+\sqrt2)^2-5-2\sqrt6", r"\sin^2 1+\cos^2 1-1"], [r"\frac{1}{300!}", r"\sqrt{10^{-160}}", "i"]),
    (r"\frac{1}{300!}", [], ["0", r"\frac{1}{301!}", r"(\sqrt3+\sqrt2)^2-5-2\sqrt6"]),
]  # fmt: skip


def test_complex_numbers_and_terms_that_cancel_are_compared_by_value():
    assert mistaken_verdicts(VALUES) == []


@pytest.mark.parametrize(
    "text",
    [r"6\bmod 11", r"6\gcd(m,n)", r"4,9,\ldots", r"6\text{ if }x>0", "7 8", "g'(x)", r"\frac{7}{", "6+", r"\foo 7", ""],
)  # fmt: skip
def test_a_text_that_is_not_read_whole_is_unreadable(text):
    assert not compare(text, "6")["gold_parsed"]
    assert not compare("6", text)["equal"]


PIECES = [
    *("{", "}", "(", ")", "[", "]", ",", ";", "=", "<", "^", "_", "$", "\\", " ", "/", ":", "±", "½", "√", "²", "°", "%"),
    *("0", "7", "19", "x", "a", "km", "eggs", "million", "三", "̄", "...", r"\text{", r"\frac", r"\sqrt(", r"\dot{3}", r"\{"),
    *(r"\}", r"\begin{pmatrix}", r"\end{pmatrix}", "&", r"\\", r"\in", r"\mathbb{Z}", r"\cup", " and ", "0.(3)", "_8"),
]  # fmt: skip


@settings(max_examples=300, deadline=500)
@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
def test_any_text_is_read_or_unreadable(text):
    try:
        reading = read(text)
    except UnreadableError:
        return
    assert is_equal(reading, reading, ExactNumbers())
    with suppress(UndecidedError):
        is_equal(read("7"), reading, ExactNumbers())
