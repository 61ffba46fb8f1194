"""A reader is told when an accuracy is the limit's and not the model's."""

from dataclasses import replace
from pathlib import Path

import pytest

from headscope.report import RunResults, unfinished_answers
from headscope.report.blocks import Notice
from headscope.report.pages.overview import overview
from headscope.runs import RunDirectory

from .runs import RunWriter, measures


def run_with(path: Path, share: float) -> RunDirectory:
    """A run whose base left so many answers unfinished."""
    run = RunWriter(path)
    run.study["eval"] = {"max_new_tokens": 256}
    answers = measures(0.1, is_base=True)
    rates = answers.rates | {"unfinished": share, "wrong": 0.9 - share}
    run.save(replace(answers, rates=rates), variant="base", step=0, task="T1")
    return run.close()


def test_most_answers_cut_off_is_said_with_the_limit(tmp_path: Path) -> None:
    results = RunResults(run_with(tmp_path / "run", 0.78))
    (sentence,) = unfinished_answers(results)
    assert sentence == (
        "78% of the answers of base to T1 were cut off at eval.max_new_tokens (256), and count as wrong; "
        "allow more tokens"
    )
    assert sentence in [item for block in overview(results).blocks if isinstance(block, Notice) for item in block.items]


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_few_are_not_worth_a_word(tmp_path: Path, share: float) -> None:
    results = RunResults(run_with(tmp_path / "run", share))
    assert unfinished_answers(results) == ()
    assert not any("unfinished" in block.text for block in overview(results).blocks if isinstance(block, Notice))
