"""What every result of the engine says about where it comes from."""

from typing import Any

from headscope.circuits.objective import Metric
from headscope.models import Subject, name_of
from headscope.pairs import Pairs


def record(model: Any, pairs: Pairs, metric: str | Metric) -> dict[str, Any]:
    """Model name and commit (None for a folder), pairs digest and number, and the metric's name: plain JSON values."""
    return {
        "model": name_of(model),
        "revision": model.revision if isinstance(model, Subject) else None,
        "pairs": pairs.digest(),
        "n_pairs": len(pairs),
        "metric": metric if isinstance(metric, str) else getattr(metric, "__name__", "own"),
    }
