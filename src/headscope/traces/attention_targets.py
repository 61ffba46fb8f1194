"""Find the earlier tokens that a head reads at each token of an answer if it plays a role (method section 8).

- *previous token*: the token before; *first token*: the text's first one, an attention sink;
- *induction*: what followed an earlier copy of the token;
- *retrieval*: in the prompt, a copy of the token that is written next; its share is that of the tokens of which such a
  copy is the most attended one (Wu et al. 2024);
- *iteration*: before a number that is carried on, the result that it was carried from;
- *verification*: while a step is checked or done again, the step before it;
- *closer*: after the thought, the token that closed it;
- *receiver*: the few steps that most later steps read too. Each head's own, so that they are found with its attention
  (``measures.attention_received``).

No token reads itself in a role. A token of which a text has more than three earlier copies does not tell which one was
read, and is not asked about in induction and retrieval.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from headscope.measures.attention_received import FEWEST_STEPS, StepSpans
from headscope.measures.attention_shares import Cells, Targets
from headscope.traces.spans import CarriedSpan
from headscope.traces.steps import Step

TARGET_ROLES = ("previous token", "first token", "induction", "retrieval", "iteration", "verification", "closer")
"""Roles whose targets the text decides."""
RECEIVER = "receiver"
ATTENTION_ROLES = (*TARGET_ROLES, RECEIVER)
BY_MOST_ATTENDED = frozenset(("retrieval",))
"""Roles whose share counts rows by the token that they read most."""

MOST_COPIES = 3
"""Earlier copies of a token that is asked about, at most."""


def attention_targets(
    tokens: Sequence[int],
    prompt: int,
    steps: Sequence[Step],
    carried: Sequence[CarriedSpan] = (),
    closing: int | None = None,
) -> Mapping[str, Targets]:
    """Return the targets of each role that a prompt with its answer asks for, with at least one of each.

    Args:
        tokens: ids of prompt and answer.
        prompt: number of tokens of the prompt.
        steps: of the answer, with token positions in it.
        carried: numbers that the answer carries on, as tokens of the answer.
        closing: the token of the answer that closes the thought; None if it has none.
    """
    marked = _mark_cells(tokens, prompt, steps, carried, closing)
    first, stop = max(0, prompt - 1), len(tokens) - 1  # the rows that write the answer: each the token after its own
    # What tells a verifying head from one that reads the step before all the time.
    unasked = {"verification": np.tril(_follow_steps(len(tokens), prompt, steps, is_check=False), -1)}
    targets = {}
    for role in TARGET_ROLES:
        cells = np.tril(marked[role], -1)
        cells[:first] = False
        cells[stop:] = False
        if cells.any():
            targets[role] = Targets(cells, first, stop, unasked.get(role))
    return targets


def step_spans(prompt: int, steps: Sequence[Step]) -> StepSpans | None:
    """Return where an answer's steps are written and read, to ask who receives; None if they are too few.

    prompt: number of tokens of the prompt. steps: of the answer, with token positions in it.
    """
    places = [(prompt + step.first_token, prompt + step.last_token) for step in steps]
    keys = np.array([(start, stop) for start, stop in places if prompt <= start < stop], dtype=np.int64)
    return StepSpans(keys - 1, keys) if len(keys) >= FEWEST_STEPS else None


def _mark_cells(
    tokens: Sequence[int], prompt: int, steps: Sequence[Step], carried: Sequence[CarriedSpan], closing: int | None
) -> dict[str, Cells]:
    count = len(tokens)
    cells = {role: np.zeros((count, count), dtype=bool) for role in TARGET_ROLES}
    places = np.arange(1, count)
    cells["previous token"][places, places - 1] = True
    cells["first token"][1:, 0] = True
    _mark_copies(cells, tokens, prompt)
    for span in carried:
        rows = slice(prompt + span.start - 1, prompt + span.end - 1)
        cells["iteration"][rows, prompt + span.source_start : prompt + span.source_end] = True
    cells["verification"] = _follow_steps(count, prompt, steps, is_check=True)
    if closing is not None:
        cells["closer"][prompt + closing + 1 :, prompt + closing] = True
    return cells


def _follow_steps(count: int, prompt: int, steps: Sequence[Step], *, is_check: bool) -> Cells:
    """Return the tokens of the step before each step, for the rows that write it; of checks or of other steps."""
    cells = np.zeros((count, count), dtype=bool)
    for before, step in pairwise(steps):
        checks = step.recheck or "verification" in step.marks
        if checks == is_check and 0 <= before.first_token < step.first_token:
            rows = slice(prompt + step.first_token - 1, prompt + step.last_token - 1)
            keys = slice(prompt + before.first_token, prompt + min(before.last_token, step.first_token))
            cells[rows, keys] = True
    return cells


def _mark_copies(cells: dict[str, Cells], tokens: Sequence[int], prompt: int) -> None:
    """Mark what followed earlier copies of each token, and the prompt's copies of the token that is written next."""
    seen: defaultdict[int, list[int]] = defaultdict(list)
    in_prompt: defaultdict[int, list[int]] = defaultdict(list)
    for place, token in enumerate(tokens[:prompt]):
        in_prompt[token].append(place)
    for place, token in enumerate(tokens):
        copies = seen[token]
        after = [copy + 1 for copy in copies if copy + 1 < place - 1]  # what the previous token is says nothing
        if after and len(copies) <= MOST_COPIES:
            cells["induction"][place, after] = True
        copies.append(place)
        if place + 1 < len(tokens):
            sources = in_prompt.get(tokens[place + 1], [])
            if place + 1 >= prompt and 0 < len(sources) <= MOST_COPIES:
                cells["retrieval"][place, sources] = True
