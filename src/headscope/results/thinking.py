"""Think on and off: the two circuits of one hybrid model."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from headscope.results.emergence import Emergence
from headscope.results.estimate import Estimate
from headscope.storage import check_schema

SCHEMA_VERSION = 1


@dataclass(frozen=True, eq=False)
class Thinking:
    """Think-on against think-off of one model, on the same pairs.

    change: think-off is its base, so its new heads are those only think-on has, its lost ones only think-off.
    on_fraction, off_fraction: of the edges, in circuits as faithful as ``faithfulness`` says.
    broader: active heads think-off − think-on in those circuits, over pairs.
    """

    change: Emergence
    faithfulness: float
    on_fraction: float
    off_fraction: float
    broader: Estimate

    def as_dict(self) -> dict[str, Any]:
        """JSON values with ``schema_version``."""
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {
            "schema_version": SCHEMA_VERSION,
            "change": self.change.as_dict(),
            "broader": asdict(self.broader),
            **plain,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Thinking":
        """The inverse of ``as_dict``. Raises InputError for another schema."""
        check_schema(data, "a think-on/off result", SCHEMA_VERSION)
        plain = {name: float(data[name]) for name in _PLAIN}
        return cls(change=Emergence.from_dict(data["change"]), broader=Estimate(**data["broader"]), **plain)


_PLAIN = ("faithfulness", "on_fraction", "off_fraction")
