"""Measures of logits, summed by hand."""

import math

import pytest
import torch
from tests.precision import EXACT

from headscope.measures.logits import kl, logit_diff, nll

HALF = torch.log(torch.tensor([0.5, 0.5], dtype=torch.float64))
SKEW = torch.log(torch.tensor([0.8, 0.2], dtype=torch.float64))


@pytest.mark.usefixtures("float64")
def test_kl_by_hand() -> None:
    expected = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    assert float(kl(HALF[None], SKEW[None])) == pytest.approx(expected, rel=EXACT)
    assert float(kl(SKEW[None], HALF[None])) == pytest.approx(0.8 * math.log(1.6) + 0.2 * math.log(0.4), rel=EXACT)
    assert float(kl(SKEW[None] + 7, SKEW[None] - 3)) == pytest.approx(0, abs=EXACT)


def test_kl_is_float32_whatever_comes_in() -> None:
    assert kl(HALF[None].bfloat16(), SKEW[None].bfloat16()).dtype == torch.float32


@pytest.mark.usefixtures("float64")
def test_logit_diff_and_nll_by_hand() -> None:
    logits = torch.tensor([[1.0, 4.0, 2.0], [0.0, 0.0, 0.0]])
    right, wrong = torch.tensor([1, 0]), torch.tensor([2, 1])
    assert logit_diff(logits, right, wrong).tolist() == [2.0, 0.0]
    assert nll(logits, right).tolist() == pytest.approx(
        [math.log(1 + math.exp(-3) + math.exp(-2)), math.log(3)], rel=EXACT
    )
