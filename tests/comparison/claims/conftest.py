"""A run of a small model, by the heads that are new at each of its checkpoints."""

from dataclasses import replace

import numpy as np
import pytest
from tests.comparison.claims.builders import counts

from headscope.comparison import head_dynamics
from headscope.comparison.claims import Run


@pytest.fixture
def run(result):
    """(name, method, rows of emergent heads per checkpoint) → a run of a 5 x 8 model with 12 core heads in base."""

    def build(
        name: str, method: str, rows: list[set[int]], *, recipe: str = "", null: str = "", kept_heads: int = 8
    ) -> Run:
        base = np.zeros((5, 8))
        base.ravel()[:12] = 1
        series = []
        for number, heads in enumerate(rows):
            post = np.zeros((5, 8))
            post.ravel()[:kept_heads] = 1
            post.ravel()[list(heads)] = 1
            comparison = replace(result(base, post), counts=counts(len(heads), kept_heads), excess=counts(len(heads)))
            series.append((10 * (number + 1), replace(comparison, null=counts(0, 12))))
        return Run(name, method, recipe or name, null, tuple(series), head_dynamics(series))

    return build
