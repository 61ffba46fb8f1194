"""A handful of responses per model and task to read: all kinds of verdicts, in full, within a budget of text."""

from collections import Counter
from collections.abc import Sequence

from headscope.plain_text import plain_text
from headscope.report.blocks import Responses
from headscope.report.run_results import RunResults
from headscope.results.codec import Json

TEXT_BUDGET = 3_000_000
"""Bytes of such answers in one report; with as many in pairs and the charts it then stays within 10 MB."""


def choose_responses(results: RunResults, count: int, budget: int = TEXT_BUDGET) -> Responses:
    """Choose up to ``count`` responses of each model's last evaluation on each task.

    None is cut: one that no longer fits into ``budget`` is left out and counted.
    """
    groups, left_out = [], 0
    for unit in results.last_evaluations:
        responses = []
        for row in _spread_over_verdicts(results.responses(unit.labels) or [], count):
            response = _response(row)
            size = sum(len(text.encode()) for text in response.values() if isinstance(text, str))
            if size > budget:
                left_out += 1
                continue
            budget -= size
            responses.append(response)
        variant = plain_text(str(unit.labels["variant"]))
        name = plain_text(f"{variant} · {unit.labels['task']} · step {unit.labels['step']}")
        groups.append({"name": name, "variant": variant, "size": unit.whole.size, "items": responses})
    return Responses(tuple(groups), left_out)


def _spread_over_verdicts(responses: Sequence[dict[str, Json]], count: int) -> list[dict[str, Json]]:
    """Return the first response of every verdict in turn, then the second, …, all to different problems."""
    seen: Counter[str] = Counter()
    ranks = []
    for response in responses:
        ranks.append(seen[response["verdict"]])
        seen[response["verdict"]] += 1
    order = sorted(range(len(responses)), key=ranks.__getitem__)
    return [responses[index] for index in order[:count]]


def _response(row: dict[str, Json]) -> dict[str, Json]:
    names = ("problem", "response", "verdict", "answer", "gold", "finish")
    texts = {name: plain_text(row[name]) for name in names}
    return {**texts, "sample": int(row["sample"]), "tokens": int(row["tokens"])}
