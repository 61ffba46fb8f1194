"""The operators of an ablation: what a head does instead of what it does (method section 6).

What it writes instead of its own output z:

zero      nothing
mean      the mean of z over the reference texts, separately for each part of a text (prompt, thinking, answer); one
          mean for all tokens if the model's tokenizer knows no think markers
resample  z of another problem's text at the same place of the same part
optimal   the constant that costs the least loss on the reference texts (Li and Janson 2024, arXiv 2409.09951)

Or the weights it works with:

revert    those it had before training, the base's (``interventions.donor_weights``)

The first four remove a head and ask whether it matters; ``revert`` leaves it there and asks whether training it did.
"""

from typing import Literal, get_args

AblationOperator = Literal["zero", "mean", "resample", "optimal"]
ABLATION_OPERATORS: tuple[AblationOperator, ...] = get_args(AblationOperator)
"""Those that remove a head, three of which must agree (``comparison.ablation_evidence``)."""

Operator = Literal["zero", "mean", "resample", "optimal", "revert"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)

SharedKv = Literal["all", "any"]
"""When ``revert`` reverts the keys and values that a group of heads shares.

all  if all heads of the group are reverted: then no head outside the set changes
any  if any of them is: then whatever training did to what a head reads is undone, and the rest of its group changes too

A head with keys and values of its own is a group of one, for which both are the same.
"""

SHARED_KV: tuple[SharedKv, ...] = get_args(SharedKv)
