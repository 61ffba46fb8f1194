"""The lab's rewards on hand-written responses."""

import pytest

from headscope.lab.rewards import lab_calculation, lab_plan

PROMPT = "c=4; j=c*4; k=j+1; ?k"


@pytest.mark.parametrize(
    ("response", "calculation", "plan"),
    [
        ("<think> k=j+1; j=c*4; c=4; j=4*4=6; k=6+1=7; </think> <ans> 7", 1.0, 1.0),
        ("<think> okay k=j+1; j=c*4; c=4; j=4*4=7; k=7+1=8; </think> <ans> 8", 0.5, 1.0),
        ("<think> k=j+1; j=c*5; c=4; j=4*4=6; k=6+1=7; </think> <ans> 7", 1.0, 1 / 3),
        ("<think> k=j+1; c=4; j=4*4=6; </think> <ans> 6", None, 1 / 3),
        ("<think></think> <ans> 7", None, 0.0),
    ],
)
def test_each_half_of_a_trace_is_rewarded_for_itself(response: str, calculation: float | None, plan: float) -> None:
    prompts, completions = [[{"role": "user", "content": PROMPT}]], [[{"role": "assistant", "content": response}]]
    assert lab_calculation(prompts, completions) == [calculation]
    assert lab_plan(prompts, completions) == [pytest.approx(plan)]
