"""Where responses state their answers: (response, gold, whether it is right), and the letter of a choice."""

import json
from pathlib import Path

import pytest

from headscope.evaluation import Problem, check_answers
from headscope.evaluation.gold_answers import unreadable_golds
from headscope.evaluation.letters import stated_letter

MATH = [
    ("Adding both, the total is clear. The answer is 31, as expected.", "31", True),
    ("**Final Answer: 31**", "31", True),
    ("**Final Answer:** **31**", "31", True),
    ("### Final Answer\n31", "31", True),
    ("## Answer\n\n\\[31\\]", "31", True),
    ("## Final Answer:\n\n\\[\n31\n\\]", "31", True),
    ("Final answer:\n31", "31", True),
    ("Answer\n31", "31", True),
    ("The final answer is \\(31\\).", "31", True),
    ("The answer is **31**.", "31", True),
    ("The answer is: **31 km**", "31", True),
    ("<answer>31</answer>", "31", True),
    ("<answer>\\text{Quito}</answer>", "\\text{Quito}", True),
    ("<answer>not known</answer>", "31", False),
    ("The answer is \\(31,200\\). I am sure.", "31200", True),
    ("The answer is \\(\\$31\\). I am sure.", "31", True),
    ("<answer> The answer is 31. </answer>", "31", True),
    ("<answer>\n31\n</answer>", "31", True),
    ("<think>hm</think><answer>31</answer>", "31", True),
    ("#### 31", "31", True),
    ("####31", "31", True),
    ("#### **31**", "31", True),
    ("#### 31 marbles", "31", True),
    ("#### $31.00", "31", True),
    ("#### 1,031", "1031", True),
    ("work\n#### 31.\n", "31", True),
    ("So the answer is therefore 31.", "31", True),
    ("Thus, the answer is thus 31", "31", True),
    ("ANSWER: 31", "31", True),
    ("Answer = 31", "31", True),
    ("answer - 31", "31", True),
    ("Answer: -31", "-31", True),
    ("The answer would be 31 apples.", "31", True),
    ("The answer to the question is 31.", "31", True),
    ("The correct answer is 31!", "31", True),
    ("Hence the answer is $\\frac{1}{2}$ of the total.", "1/2", True),
    ("The answer is $x=2$ or $x=3$.", "2, 3", True),
    ("The answer is $2$ and $3$.", "2, 3", True),
    ("答案是31。", "31", True),
    ("答案：31", "31", True),
    ("答案为 31", "31", True),
    ("所以答案是 $31$ 元。", "31", True),
    ("最终答案是：31", "31", True),
    ("La réponse est : 31", "31", False),
    ("31", "31", True),
    ("$31$", "31", True),
    (" 31 ", "31", True),
    ("$\\frac{1}{2}$", "0.5", True),
    ("31 apples", "31", True),
    ("\\boxed{31}", "31", True),
    ("$\\boxed{2}$ and $\\boxed{3}$", "2,3", True),
    ("$\\boxed{2}$, $\\boxed{3}$", "3,2", True),
    ("$x=\\boxed{2}$ and $y=\\boxed{3}$", "(2,3)", True),
    ("$\\boxed{2}$ or $\\boxed{3}$.", "2", False),
    ("\\boxed{5} is wrong, so \\boxed{7}", "5", False),
    ("\\boxed{5}\n\n\\boxed{5}", "5", True),
    ("\\boxed{5}. Check: \\boxed{5}.", "5", True),
    ("\\boxed{\\boxed{5}}", "5", True),
    ("\\boxed{5}\\text{ and }\\boxed{6}", "5,6", True),
    ("\\fbox{5}", "5", True),
    ("\\boxed{5} cm", "5", True),
    ("\\boxed5", "5", True),
    ("\\boxed {5}", "5", True),
    ("The answer is 31, not 32.", "31", True),
    ("The answer is 31; all others fail.", "31", True),
    ("The answer is 31 because 30+1=31.", "31", True),
    ("The answer is 31 (see above).", "31", True),
    ("The answer is 31 since it is prime", "31", True),
    ("Answer: 31 – done", "31", True),
    ("The answer is 3.5.", "3.5", True),
    ("The answer is 3.5 km.", "3.5", True),
    ("the answer is 1,234.", "1234", True),
    ("The answer is 31.\nI hope this helps!", "31", True),
    ("The answer is\n\n31", "31", True),
    ("The answer is\n$$\\frac{1}{2}$$", "1/2", True),
    ("My answer: 31", "31", True),
    ("A: 31", "31", False),
    ("I don't know the answer.", "31", False),
    ("The answer is not 31.", "31", False),
    ("The answer is unknown, maybe 31.", "31", False),
    ("The answer is between 30 and 31.", "31", False),
    ("The answer is 31 or 32.", "31", False),
    ("The answer is more than 31", "31", False),
    ("The answer is 31 and 32", "31", False),
    ("The answer is approximately 31", "31", True),
    ("The answer is about 31.", "31", True),
    ("<think>\\boxed{31}", "31", False),
    ("<think>a</think>b<think>\\boxed{31}", "31", False),
    ("<think>\\boxed{31}</think>", "31", False),
    ("<think>5</think>31", "31", True),
    ("Result: 31", "31", False),
    ("The value is 31.", "31", False),
    ("Final Answer: The final answer is $31$. I hope it is correct.", "31", True),
    ("The answer is $31.", "31", True),
    ("The answer is $31 million.", "31000000", True),
    ("The answer is 50%", "1/2", True),
    ("The final answer is 10:30 am", "10:30 am", True),
    ("The answer is \\text{Tuesday}.", "Tuesday", True),
    ("The answer is Tuesday, because...", "Tuesday", True),
    ("The answer is Tuesday.", "Wednesday", False),
    ("Answer: `31`", "31", True),
    ("**31**", "31", True),
    ("The answer is **x = 31**.", "31", True),
    ("The answer is (2, 3).", "(2,3)", True),
    ("The answer is [2, 3).", "[2,3)", True),
    ("The answer is {2, 3}.", "2,3", True),
    ("The answer is 5!.", "120", True),
    ("Final Answer: $\\boxed{31}$ units", "31", True),
    ("\\(\\boxed{31}\\)", "31", True),
    ("the answer is therefore: 31", "31", True),
    ("The answers are 2 and 3.", "2,3", True),
    ("Therefore the answers are $x=2$ and $x=3$", "2,3", True),
]
ALIAS = [
    ("Lima", "Lima", True),
    ("It is Lima.", "Lima", True),
    ("It's Lima", "Lima", True),
    ("\\boxed{Lima}", "Lima", True),
    ("Lima.", "Lima", True),
    ("LIMA", "Lima", True),
    ("lima!", "Lima", True),
    ("**Lima**", "Lima", True),
    ('"Lima"', "Lima", True),
    ("The capital is Lima.", "Lima", True),
    ("That would be Lima", "Lima", True),
    ("São Paulo", "Sao Paulo", True),
    ("Sao Paulo", "São Paulo", True),
    ("Beyonce", "Beyoncé", True),
    ("U.S.A.", "USA", True),
    ("USA", "U.S.A.", True),
    ("U.S.", "US", True),
    ("the USA", "USA", True),
    ("J.R.R. Tolkien", "JRR Tolkien", True),
    ("J. R. R. Tolkien", "J.R.R. Tolkien", True),
    ("Dr. No", "Dr No", True),
    ("St. Louis", "St Louis", True),
    ("Spider-Man", "Spider Man", True),
    ("The Beatles", "Beatles", True),
    ("<answer>Lima</answer>", "Lima", True),
    ("Answer: Lima", "Lima", True),
    ("<think>x</think>Lima", "Lima", True),
    ("Final Answer: Lima\n", "Lima", True),
    ("\\text{Lima}", "Lima", True),
    ("Lima (Peru)", "Lima", True),
    ("Quito", "Lima", False),
    ("Lima or Quito", "Lima", False),
    ("Lima, Quito, Bogota", "Lima", False),
    ("Not Lima", "Lima", False),
    ("It is not Lima.", "Lima", False),
    ("I don't know", "Lima", False),
    ("Limah", "Lima", False),
    ("Quito, not Lima", "Lima", False),
    ("Brno", "Brno\nBrünn", True),
    ("Bruenn", "Brünn", False),
    ("Brunn", "Brünn", True),
    ("7", "seven", False),
    ("", "Lima", False),
    ("1,000", "1000", True),
    ("No. 5", "No 5", True),
    ("<think>Lima", "Lima", False),
    ("Mr. Smith", "Mr Smith", True),
    ("Oslo is the capital.", "Oslo", True),
    ("Ms", "M.S.", True),
    ("Rock & Roll", "Rock and Roll", True),
]
LETTERS = [
    ("B", "B"),
    ("(B)", "B"),
    ("B.", "B"),
    ("B)", "B"),
    ("B: foo", "B"),
    ("**B**", "B"),
    ("**B) foo**", "B"),
    ("Answer: B", "B"),
    ("answer: (b)", "B"),
    ("The answer is B.", "B"),
    ("The answer is (B).", "B"),
    ("The answer is option B.", "B"),
    ("Option B", "B"),
    ("The correct option is B", "B"),
    ("The correct choice is (B), as A fails.", "B"),
    ("The correct answer is: B) 12", "B"),
    ("I choose B", "B"),
    ("I think the answer is B", "B"),
    ("I would pick (B).", "B"),
    ("\\boxed{B}", "B"),
    ("\\boxed{\\text{B}}", "B"),
    ("\\boxed{\\textbf{(B)}}", "B"),
    ("\\boxed{\\text{(B) } 12}", "B"),
    ("\\boxed{B) 12}", "B"),
    ("\\boxed{B. 12}", "B"),
    ("$\\boxed{\\mathrm{B}}$", "B"),
    ("<answer>B</answer>", "B"),
    ("<answer>The answer is B</answer>", "B"),
    ("答案是B", "B"),
    ("答案：（B）", "B"),
    ("答案选B", "B"),
    ("Option A fails because it is too small. Option B is fine. The right choice is B.", "B"),
    ("A is wrong. C is wrong. D is wrong. So the answer must be B.", "B"),
    ("Let's see. A: no. B: yes. Answer: B", "B"),
    ("The answer is not A but B.", "B"),
    ("The answer is B, not A.", "B"),
    ("The answer is B because A is too small", "B"),
    ("The answer is B and not C", "B"),
    ("The best answer is B since it's right.", "B"),
    ("**Answer: B**", "B"),
    ("**Answer**\n\nB", "B"),
    ("### Answer\nB", "B"),
    ("Final Answer: **B**", "B"),
    ("The answer is: \n\nB. Foo bar", "B"),
    ("The right option: B", "B"),
    ("B is correct.", "B"),
    ("B, since A fails", "B"),
    ("Therefore, (B) is the answer.", "B"),
    ("Therefore, B is the correct answer.", "B"),
    ("The answer is 'B'.", "B"),
    ('The answer is "B".', "B"),
    ("ANSWER: B\n", "B"),
    ("The answer is A.", "A"),
    ("The answer is A because it is big", "A"),
    ("A", "A"),
    ("A because it is big", "A"),
    ("The answer is A, the first.", "A"),
    ("The answer is I", "I"),
    ("I", "I"),
    ("J", "J"),
    ("K", "K"),
    ("\\boxed{L}", "L"),
    ("So the correct answer is **C. Mitosis**", "C"),
    ("The answer is A) an apple", "A"),
    ("The answer is A: an apple", "A"),
    ("Answer: A polygenic score", ""),
    ("I could not work out the answer.", ""),
    ("I don't know", ""),
    ("C or D", ""),
    ("The answer is A or B.", ""),
    ("A and B", ""),
    ("C, D", ""),
    ("C/D", ""),
    ("The answer is either A or B", ""),
    ("Both A and B", ""),
    ("\\boxed{A, C}", ""),
    ("\\boxed{A \\text{ and } C}", ""),
    ("\\boxed{AC}", ""),
    ("None of the above", ""),
    ("The answer is unclear.", ""),
    ("It depends.", ""),
    ("Answer: ?", ""),
    ("A patient has a fever. I am not sure.", ""),
    ("I am unable to answer: I need more data.", ""),
    ("The answer is neither A nor B.", ""),
    ("The answer is 12", ""),
    ("Don't know", ""),
    ("I think both A and C could be right.", ""),
    ("All of the above", ""),
    ("Answer: I am not sure", ""),
]


@pytest.mark.parametrize(("kind", "cases"), [("math", MATH), ("alias", ALIAS)])
def test_an_answer_is_found_where_people_state_it(kind, cases):
    verdicts = check_answers([case[0] for case in cases], [case[1] for case in cases], kind)
    mistaken = [case for case, verdict in zip(cases, verdicts, strict=True) if verdict.correct != case[2]]
    assert mistaken == []


def test_a_choice_is_one_letter_and_neither_the_article_nor_the_pronoun():
    letters = [(response, stated_letter(response)) for response, _ in LETTERS]
    assert [pair for pair in letters if pair not in LETTERS] == []


@pytest.fixture
def cases(data: Path) -> Path:
    folder = data.parent / "cases"
    if not folder.is_dir():
        pytest.skip(f"the cases are not at {folder}")
    return folder


@pytest.mark.parametrize(("name", "most_wrong"), [("answers.jsonl", 0.03), ("part_of_gold.jsonl", 0.0)])
def test_cases_from_outside_are_judged_as_a_careful_reader_would(cases, name, most_wrong):
    rows = [json.loads(line) for line in (cases / name).read_text(encoding="utf-8").split("\n") if line]
    wrong = []
    for kind in {row["kind"] for row in rows}:
        chosen = [row for row in rows if row["kind"] == kind]
        verdicts = check_answers([row["response"] for row in chosen], [row["gold"] for row in chosen], kind)
        wrong += [row for row, verdict in zip(chosen, verdicts, strict=True) if verdict.correct != row["right"]]
    assert len(wrong) <= most_wrong * len(rows), wrong


LAST_NUMBERS = [
    ("Mei has 5 + 4 = 9 cards now.", "9"),
    ("Tom has 3 * 4 = 12 books.\n\\boxed{12}", "12"),
    ("so it is 1,234 in all.", "1234"),
    ("that is 2,3", "3"),
    ("5 - 8 = -3", "-3"),
    ("He has 9-4", "4"),
    ("about 2.50 dollars.", "2.50"),
    ("<think> 7 </think> none", ""),
    ("\\boxed{-4}", "-4"),
    ("It is −5.", "-5"),
    ("L3H5 and x2", "2"),
]


@pytest.mark.parametrize(("response", "number"), LAST_NUMBERS)
def test_a_number_is_the_last_one(response: str, number: str) -> None:
    (verdict,) = check_answers([response], [number or "7"], "number")
    assert (verdict.answer, verdict.correct) == (number, bool(number))


def test_numbers_are_compared_by_value_and_golds_must_be_numbers() -> None:
    verdicts = check_answers(["it is 2.50", "it is 2.51", "it is 4"], ["2.5", "2.5", "1,234"], "number")
    assert [verdict.status for verdict in verdicts] == ["correct", "wrong", "wrong"]
    problems = [Problem("a", "?", "1,234", "number"), Problem("b", "?", "seven", "number")]
    assert [problem.id for problem in unreadable_golds(problems)] == ["b"]
