"""A handful of responses per model and task to read: all kinds of verdicts, in full, within a budget of text."""

from collections.abc import Iterator

import pandas as pd

from headscope.plain_text import plain_text
from headscope.report.blocks import Responses
from headscope.report.run_results import RunResults
from headscope.results.codec import Json
from headscope.results.samples import Samples

TEXT_BUDGET = 4_000_000
"""Characters of model text in one report; with the charts it then stays within 10 MB."""


def choose_responses(results: RunResults, count: int, budget: int = TEXT_BUDGET) -> Responses:
    """Choose up to ``count`` responses of each model's last evaluation on each task.

    None is cut: one that no longer fits into ``budget`` is left out and counted.
    """
    groups, left_out = [], 0
    for unit in results.last_evaluations:
        responses = []
        samples = results.run.results(Samples, **unit.labels, forbid=None)[0].read()
        for row in _spread_over_verdicts(samples.table, count):
            response = _response(row)
            size = sum(len(text) for text in response.values() if isinstance(text, str))
            if size > budget:
                left_out += 1
                continue
            budget -= size
            responses.append(response)
        name = f"{unit.labels['variant']} · {unit.labels['task']} · step {unit.labels['step']}"
        groups.append({"name": name, "size": unit.whole.size, "items": responses})
    return Responses(tuple(groups), left_out)


def _spread_over_verdicts(table: pd.DataFrame, count: int) -> Iterator[dict[str, Json]]:
    """Yield the first response of every verdict in turn, then the second, …, of different problems if there are any."""
    firsts = table[table["sample"] == 0]
    order = firsts.groupby("verdict", sort=False).cumcount().sort_values(kind="stable").index[:count]
    for index in order:
        yield {str(column): value for column, value in table.loc[index].items()}


def _response(row: dict[str, Json]) -> dict[str, Json]:
    names = ("problem", "response", "verdict", "answer", "gold", "finish")
    texts = {name: plain_text(row[name]) for name in names}
    return {**texts, "sample": int(row["sample"]), "tokens": int(row["tokens"])}
