"""Kinds of failure without heads: shares counted by hand, and readings known beforehand."""

import numpy as np
import pandas as pd
import pytest

from headscope.comparison.failures import _adjusted_p, failure_changes, failure_shares
from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.results.failures import FailureChanges
from headscope.results.traces import ANSWER_COLUMNS, STEP_COLUMNS, Traces

ABOUT = {"task": "t1", "operator": "zero", "heads": HeadSet.of(["L3H3"])}
PROBLEMS = 80


def read(failures: list[str], samples: int = 1, **columns: list[object]) -> Traces:
    """Traces of answers that fail as named, "" for a right one."""
    rows: dict[str, object] = {name: 0 for name, dtype in ANSWER_COLUMNS.items() if dtype in ("int64", "bool")}
    rows |= {name: "" for name, dtype in ANSWER_COLUMNS.items() if dtype == "str"}
    rows |= {"problem": [f"p{index // samples}" for index in range(len(failures))], "failure": failures}
    answers = pd.DataFrame(rows | columns, index=range(len(failures)))
    return Traces(answers, pd.DataFrame(columns=list(STEP_COLUMNS)), "m", "t1", "lab")


def draw(seed: int, **rates: float) -> Traces:
    """Traces in which each kind has about so large a share."""
    kinds = [*rates, ""]
    shares = [*rates.values(), 1 - sum(rates.values())]
    return read(list(np.random.default_rng(seed).choice(kinds, size=PROBLEMS, p=shares)))


def test_shares_by_hand() -> None:
    whole = read(
        ["", "loop", "plan", "plan"], samples=2, loop=[True, True, False, False], slip=["", "", "plan", "plan"]
    )
    removed = read(["", "", "plan", ""], samples=2, lost=[False, True, False, False])
    names, is_trait, shares = failure_shares([whole, removed])
    # Slips of plan are the failures of plan again, but for the answers without heads, which were read without any.
    expected = {
        "loop failures": ([0.5, 0], [0, 0]),
        "plan failures": ([0, 1], [0, 0.5]),
        "answers with a loop": ([1, 0], [0, 0]),
        "answers with a slip of plan": ([0, 1], [0, 0]),
        "lost answers": ([0, 0], [0.5, 0]),
    }
    assert dict(zip(names, shares.swapaxes(0, 1).tolist(), strict=True)) == {
        name: [list(map(float, row)) for row in rows] for name, rows in expected.items()
    }
    assert is_trait == [name.startswith(("answers", "lost")) for name in names]


def test_a_trait_that_is_a_failure_again_is_counted_once() -> None:
    traces = read(["loop", "", "plan", ""], loop=[True, False, False, False], slip=["", "", "plan", ""])
    assert failure_shares([traces, traces])[0] == ["loop failures", "plan failures"]


def test_one_kind_beyond_the_random_sets_is_raised_and_nothing_else() -> None:
    whole, removed = draw(0, plan=0.1), draw(0, plan=0.1, retrieval=0.4)
    controls = [draw(seed, plan=0.12, retrieval=0.02) for seed in range(20)]
    changes = failure_changes(whole, removed, controls, **ABOUT)
    (raised,) = [kind for kind in changes.changed if kind.direction == "raised"]
    assert (raised.name, raised.rank, raised.is_trait) == ("retrieval failures", 1, False)
    assert raised.adjusted_p == raised.p_value == pytest.approx(1 / 21)
    assert raised.q_value < 0.001
    assert changes.reason.startswith("removing L3H3 raises retrieval failures (+0.")
    assert "rank 1 of 21" in changes.reason
    assert FailureChanges.from_dict(changes.as_dict()).reason == changes.reason


def test_a_repair_is_said_too() -> None:
    whole, removed = draw(0, loop=0.5), draw(1, loop=0.05)
    changes = failure_changes(whole, removed, [draw(seed, loop=0.5) for seed in range(2, 22)], **ABOUT)
    (kind,) = changes.changed
    assert (kind.name, kind.direction) == ("loop failures", "lowered")
    assert changes.reason.startswith("removing L3H3 lowers loop failures (−0.")
    assert changes.reason.endswith(", and nothing else beyond random sets")


def test_what_random_sets_do_too_is_no_change() -> None:
    whole, removed = draw(0), draw(1, plan=0.4)
    changes = failure_changes(whole, removed, [draw(seed, plan=0.4) for seed in range(2, 22)], **ABOUT)
    assert changes.changed == ()
    assert (
        "changes no kind of failure more than random sets do; the largest change is of plan failures" in changes.reason
    )


def test_one_outstanding_kind_among_many_sets_is_no_change() -> None:
    """Random sets that each raise a kind of their own as much: some kind is outstanding in every set."""
    names = [f"kind{number}" for number in range(21)]
    sets = [draw(number, **{name: 0.4}) for number, name in enumerate(names)]
    changes = failure_changes(draw(50), sets[0], sets[1:], **ABOUT)
    own = next(kind for kind in changes.kinds if kind.name == "kind0 failures")
    assert own.p_value == pytest.approx(1 / 21)
    assert own.adjusted_p > 0.2
    assert changes.changed == ()


def test_the_level_holds_over_kinds_under_the_null() -> None:
    """Sets that are all alike, in kinds of very different share: one in twenty stands out in some kind."""
    rates = np.array([0.5, 0.2, 0.05, 0.02, 0.005])
    draws = np.random.default_rng(0).binomial(PROBLEMS, rates, size=(2000, 21, 5)) / PROBLEMS
    alarms = np.mean([_adjusted_p(effects, PROBLEMS).min() <= 0.05 for effects in draws])
    assert 0.03 < alarms < 0.06  # 1 / 21, with a standard error of 0.005


def test_too_few_random_sets_or_problems_say_nothing() -> None:
    whole, removed = draw(0), draw(1, plan=0.5)
    few = failure_changes(whole, removed, [whole] * 7, **ABOUT)
    assert few.changed == ()
    assert "is compared with 7 random sets, and 20 are needed; the largest change is of plan failures" in few.reason
    small = [read(["", "plan"] * 4)] * 22
    assert "on 8 problems: at least 10 are needed" in failure_changes(*small[:2], small[2:], **ABOUT).reason
    none = failure_changes(whole, whole, [], **ABOUT, caveat="the circuit is small")
    assert (
        none.reason == "removing L3H3 changes no kind of failure: there is none over 80 problems; the circuit is small"
    )


def test_other_problems_are_refused() -> None:
    with pytest.raises(InputError, match="are to different problems"):
        failure_changes(read(["", ""]), read([""]), [], **ABOUT)
