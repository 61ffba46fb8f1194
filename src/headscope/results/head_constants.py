"""Constants that replace what heads write, one vector per head."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float

from headscope import storage
from headscope.storage import Result


@dataclass(frozen=True, eq=False)
class HeadConstants(Result):
    """values: float32 [layer, head, d_head], what each head's output is replaced by before its output projection."""

    kind: ClassVar[str] = "constants"
    schema: ClassVar[int] = 1

    values: Float[np.ndarray, "layer head d_head"]

    def save(self, folder: Path | str) -> None:
        """Write ``constants.safetensors`` and ``constants.json`` into ``folder``, created if absent."""
        storage.save(folder, "constants", self.schema, {"constants": self.values}, {})

    @classmethod
    def load(cls, folder: Path | str) -> "HeadConstants":
        """Read what ``save`` wrote. Raises InputError if it is absent, damaged or made by a newer schema."""
        arrays = storage.load(folder, "constants", cls.schema, keys=[], arrays=["constants"])[1]
        return cls(arrays["constants"])
