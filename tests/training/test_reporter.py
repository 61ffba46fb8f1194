"""The bar of a training: a resumed one begins at its step."""

from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headscope.training.reporter import Reporter


class Bars:
    """Progress that keeps what it is asked for."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    @contextmanager
    def bar(self, label: str, total: int, start: int = 0) -> Any:
        self.said.append((label, total, start))
        yield self

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.said.append((steps, note))


@pytest.mark.parametrize(("step", "said"), [(0, []), (6, [(0, "resumed at step 6")])])
def test_a_resumed_training_counts_from_its_step(tmp_path: Path, step: int, said: list[Any]) -> None:
    bars = Bars()
    reporter = Reporter(tmp_path / "log.jsonl", bars, "grpo")
    state: Any = SimpleNamespace(is_world_process_zero=True, max_steps=10, global_step=step)
    reporter.on_train_begin(SimpleNamespace(), state, SimpleNamespace())  # type: ignore[arg-type]
    reporter.close()
    assert bars.said == [("grpo", 10, step), *said]
