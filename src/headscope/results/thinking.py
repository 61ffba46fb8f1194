"""Think on and off: the two circuits of one hybrid model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.storage import check_schema

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class Thinking:
    """Think-on against think-off of one model, each on pairs of its own prompt and openings.

    change: think-off is its base, so its new heads are those only think-on has, its lost ones only think-off; its null
        is think-off on fresh pairs.
    on_fraction, off_fraction: of the edges, in circuits as faithful as ``faithfulness`` says, over pairs.
    broader: active heads think-off − think-on in those circuits, over pairs.
    leak: by task, tokens of think-off answers / tokens of think-on answers to the same problems.
    """

    change: Emergence
    faithfulness: float
    on_fraction: Estimate
    off_fraction: Estimate
    broader: Estimate
    leak: dict[str, Estimate] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON values with ``schema_version``."""
        return {
            "schema_version": SCHEMA_VERSION,
            "change": self.change.as_dict(),
            "faithfulness": self.faithfulness,
            **{name: asdict(getattr(self, name)) for name in _ESTIMATES},
            "leak": {task: asdict(estimate) for task, estimate in self.leak.items()},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Thinking":
        """The inverse of ``as_dict``. Raises InputError for another schema."""
        check_schema(data, "a think-on/off result", SCHEMA_VERSION)
        return cls(
            change=Emergence.from_dict(data["change"]),
            faithfulness=float(data["faithfulness"]),
            **{name: Estimate(**data[name]) for name in _ESTIMATES},
            leak={task: Estimate(**estimate) for task, estimate in data["leak"].items()},
        )


_ESTIMATES = ("on_fraction", "off_fraction", "broader")
