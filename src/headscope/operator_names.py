"""The operators of an ablation: what a head writes instead of its own output z (method section 6).

zero      nothing
mean      the mean of z over the reference texts, separately for each part of a text (prompt, thinking, answer); one
          mean for all tokens if the model's tokenizer knows no think markers
resample  z of another problem's text at the same place of the same part
optimal   the constant that costs the least loss on the reference texts (Li and Janson 2024, arXiv 2409.09951)
"""

from typing import Literal, get_args

Operator = Literal["zero", "mean", "resample", "optimal"]
OPERATORS: tuple[Operator, ...] = get_args(Operator)
