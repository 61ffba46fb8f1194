import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headscope.errors import InputError, MachineError
from headscope.evaluation import math_pool
from headscope.evaluation.checking import MAX_ANSWER, check_answers
from headscope.evaluation.math_pool import MathPool


def status(response, gold, kind="math", finished=None):
    (verdict,) = check_answers([response], [gold], kind, finished)
    assert verdict.correct == (verdict.status == "correct")
    return verdict.status


@pytest.fixture
def no_workers(monkeypatch):
    def refuse():
        raise AssertionError("a worker was asked for")

    monkeypatch.setattr(math_pool, "shared_pool", refuse)


@pytest.mark.usefixtures("no_workers")
@pytest.mark.parametrize(
    ("kind", "response", "gold", "expected"),
    [
        ("exact", "<think> a </think> <ans> 6", "6", "correct"),
        ("exact", "<ans> 6 6", "6", "wrong"),
        ("exact", "<ans>", "6", "unparsed"),
        ("choice", r"\boxed{B}", "B", "correct"),
        ("choice", "The answer is (C)", "B", "wrong"),
        ("alias", r"\boxed{The  onion!}", "Onion\nPyaz", "correct"),
        ("alias", "pyaz", "Onion\nPyaz", "correct"),
        ("alias", "leek", "Onion\nPyaz", "wrong"),
        ("math", r"\boxed{1{,}234.0}", "1,234", "correct"),
        ("math", r"\boxed{-007}", "-7", "correct"),
        ("math", r"\boxed{8}", "7", "wrong"),
        ("math", r"\boxed{\left(3, \dfrac{\pi}{2}\right)}", r"\left( 3, \frac{\pi}{2} \right)", "correct"),
        ("math", r"\boxed{\text{Evelyn}}", "Evelyn", "correct"),
        ("math", "I do not know", "7", "unparsed"),
    ],
)
def test_plain_cases_need_no_process(kind, response, gold, expected):
    assert status(response, gold, kind) == expected


@pytest.mark.usefixtures("no_workers")
@pytest.mark.parametrize(
    ("response", "expected"),
    [
        (r"<think> so \boxed{7}", "unfinished"),
        (r"<think> so </think> \boxed{7} <think> wait, \boxed{7}", "unfinished"),
        (r"<think> so </think> \boxed{7}", "correct"),
        (r"so </think> \boxed{7}", "correct"),
    ],
)
@pytest.mark.parametrize("kind", ["math", "exact"])
def test_a_thought_that_never_closes_is_unfinished(response, expected, kind):
    assert status(response, "7", kind) == expected


@pytest.mark.usefixtures("no_workers")
def test_a_cut_response_is_unfinished_whatever_it_says():
    assert status(r"\boxed{7}", "7", finished=[False]) == "unfinished"


@pytest.mark.parametrize(
    ("answer", "gold", "expected"),
    [
        ("0.5", r"\frac{1}{2}", "correct"),
        (r"\frac{2}{4}", r"\frac12", "correct"),
        ("(x+1)^2", "x^2+2x+1", "correct"),
        ("x^2", "x^3", "wrong"),
        (r"\$5", "5", "correct"),
        (r"10^{10^{10^{10}}}", "5", "timeout"),
    ],
)
def test_sympy_decides_the_rest(answer, gold, expected):
    assert status(f"<think>\\boxed{{{gold}}} maybe</think> \\boxed{{{answer}}}", gold) == expected


STYLES = (
    "The answer is ${}$.",
    "**Answer:** ${}$",
    "#### {}",
    "Final answer:\n$${}$$",
    "So the answer is \\({}\\). That is all.",
    "<answer>{}</answer>",
    "Hence\n\n$\\boxed{{{}}}$\n",
    "答案是 ${}$。",
)


def test_every_math500_gold_is_right_in_all_styles_and_no_other_is(data):
    golds = [json.loads(line)["answer"] for line in (data / "math500.jsonl").read_text().split("\n") if line]
    for style in STYLES:
        verdicts = check_answers([style.format(gold) for gold in golds], golds)
        assert [gold for gold, verdict in zip(golds, verdicts, strict=True) if not verdict.correct] == [], style
    others = golds[1:] + golds[:1]
    verdicts = check_answers([f"\\boxed{{{other}}}" for other in others], golds)
    accepted = [
        gold
        for gold, other, verdict in zip(golds, others, verdicts, strict=True)
        if verdict.correct and gold not in (other, other.rpartition("=")[2])  # a name may stand before a value
    ]
    assert accepted == []


def test_every_math500_gold_equals_itself_behind_other_boxes(data):
    golds = [json.loads(line)["answer"] for line in (data / "math500.jsonl").read_text().split("\n") if line]
    responses = [rf"<think>\boxed{{999}}</think> not \boxed{{7}} but $\boxed{{{gold}}}$." for gold in golds]
    assert sum(verdict.correct for verdict in check_answers(responses, golds)) == 500


def test_every_gsm8k_gold_equals_itself(data):
    lines = (data / "gsm8k_test.jsonl").read_text().split("\n")
    golds = [json.loads(line)["answer"].rsplit("####", 1)[1].strip() for line in lines if line]
    responses = [rf"first \boxed{{999999}}, then \boxed{{{gold}}}" for gold in golds]
    assert sum(verdict.correct for verdict in check_answers(responses, golds)) == 1319


@pytest.mark.parametrize("text", ["9" * 200_000, "{" * 20_000, "\ud800", "\\frac{" * 3000, "\x00", "$" * 900])
def test_hostile_answers_are_wrong_and_quick(text):
    start = time.perf_counter()
    verdicts = check_answers([f"\\boxed{{{text}}}", f"the answer is {text}", text], ["5", "5", "5"])
    assert not any(verdict.correct for verdict in verdicts)
    assert all(len(verdict.answer) <= MAX_ANSWER for verdict in verdicts)
    assert time.perf_counter() - start < 10


@settings(max_examples=40)
@given(
    st.lists(
        st.sampled_from(["\\frac", "{", "}", "1", "x", "^", "_", "\\sqrt", "$", " ", "+", "\\", ",", "é"]),
        max_size=12,
    )
)
def test_fuzzed_answers_always_get_a_verdict(parts):
    verdicts = check_answers([f"\\boxed{{{''.join(parts)}}}"] * 2, ["3", "x"])
    assert {verdict.status for verdict in verdicts} <= {"correct", "wrong", "unparsed", "timeout"}


@pytest.fixture
def pool():
    pool = MathPool(workers=1, seconds=0.5)
    yield pool
    pool.close()


def test_far_numbers_need_no_simplification_and_near_ones_get_it():
    pairs = [
        (r"\sqrt{8}", r"2\sqrt{2}"),
        (r"\sqrt{8}", "2.9"),
        ("x^2+2x+1", "(x+1)^2"),
        ("x^2+2x+1", "x^2+2x+2"),
        ("x", "y"),
        ("5", "x=5"),
    ]
    assert [outcome.equal for outcome in math_pool.shared_pool().compare(pairs)] == [
        True,
        False,
        True,
        False,
        False,
        True,
    ]


def test_a_hanging_worker_is_replaced(pool):
    outcomes = pool.compare([("5", "10^{10^{10^{10}}}"), ("5", "5"), ("5", "(10^{100})!"), ("0.5", r"\frac12")])
    assert [(outcome.equal, outcome.exhausted) for outcome in outcomes] == [
        (False, True),
        (True, False),
        (False, True),
        (True, False),
    ]


def test_a_killed_worker_costs_no_answer(pool):
    assert pool.compare([("5", "5")])[0].equal
    os.kill(pool._workers[0]._process.pid, signal.SIGKILL)
    assert [outcome.equal for outcome in pool.compare([("5", "5"), ("5", "6")])] == [True, False]


def test_a_worker_that_gets_no_time_is_waited_for(pool):
    assert pool.compare([("5", "5")])[0].equal
    worker = pool._workers[0]._process.pid
    os.kill(worker, signal.SIGSTOP)
    # Three times the limit passes on the wall, and next to nothing of the worker's own.
    timer = threading.Timer(1.5, os.kill, (worker, signal.SIGCONT))
    timer.start()
    start = time.perf_counter()
    assert pool.compare([("(x+1)^2", "x^2+2x+1")])[0].equal
    assert time.perf_counter() - start > 1
    assert pool._workers[0]._process.pid == worker


def _end_by(number):
    """Return a worker's start whose process ends by a signal as soon as it is asked."""
    code = f"import os; print('{{}}', flush=True); input(); os.kill(os.getpid(), {int(number)})"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return lambda worker: subprocess.Popen([sys.executable, "-c", code], **pipes)


def test_a_machine_that_kills_every_worker_is_an_error_and_no_verdict(pool, monkeypatch):
    monkeypatch.setattr(math_pool._Worker, "_start", _end_by(signal.SIGKILL))
    with pytest.raises(MachineError, match=r"signal 9.*nothing was judged"):
        pool.compare([("5", "5")])


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGXCPU])
def test_a_pair_that_ends_its_worker_by_itself_is_exhausted(pool, monkeypatch, number):
    monkeypatch.setattr(math_pool._Worker, "_start", _end_by(number))
    assert pool.compare([("5", "5")])[0].exhausted


def test_workers_end_with_a_parent_that_is_killed():
    code = (
        "import os, signal\n"
        "from headscope.evaluation.math_pool import MathPool\n"
        "pool = MathPool(1); pool.compare([('5', '5')])\n"
        "print(pool._workers[0]._process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    worker = int(result.stdout)
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived its parent")


def test_bad_arguments_say_so():
    with pytest.raises(InputError, match=r"kind 'maths' .*did you mean 'math'"):
        check_answers(["1"], ["1"], "maths")
    with pytest.raises(InputError, match="1 responses, 2 gold answers"):
        check_answers(["1"], ["1", "2"])


def test_answers_are_texts_and_finish_flags_are_true_or_false():
    with pytest.raises(InputError, match="a finish flag is 'length'; give True"):
        check_answers(["5"], ["5"], finished=["length"])
    with pytest.raises(InputError, match="gold hold 5, which is no text"):
        check_answers(["5"], [5])
    with pytest.raises(InputError, match="responses hold None"):
        check_answers([None], ["5"])


def test_one_text_is_no_list_of_texts():
    with pytest.raises(InputError) as refusal:
        check_answers("4", ["4"])
    assert str(refusal.value) == "responses are the text '4'; give a list of texts"
