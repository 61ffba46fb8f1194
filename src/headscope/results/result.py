"""Results that are one JSON file."""

from pathlib import Path
from typing import ClassVar, TypeVar

from headscope import display
from headscope.results import frames
from headscope.results.codec import Json, from_json, to_json
from headscope.storage import Result, check_schema, read_object, write_json

J = TypeVar("J", bound="JsonResult")


class JsonResult(Result):
    """A frozen dataclass that is saved as one JSON file.

    shared: whether several processes may save it at once; what a unit saves is its owner's alone.
    """

    schema: ClassVar[int] = 1
    file: ClassVar[str]
    shared: ClassVar[bool] = False

    def as_dict(self) -> dict[str, Json]:
        """Return JSON values, ``schema_version`` first."""
        return {"schema_version": self.schema, **to_json(self)}

    @classmethod
    def from_dict(cls: type[J], data: Json, origin: str = "") -> J:
        """Return the result of ``as_dict``'s JSON values. Raises InputError for a newer schema or a missing field."""
        check_schema(data, origin or f"{cls.kind} result", cls.schema)
        return from_json(cls, data, origin or f"a {cls.kind} result")

    def save(self, folder: Path | str) -> None:
        """Write the file into ``folder``, created if absent."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / self.file, self.as_dict(), shared=self.shared)

    @classmethod
    def load(cls: type[J], folder: Path | str) -> J:
        """Read what ``save`` wrote. Raises InputError if it is absent, damaged or made by a newer schema."""
        path = Path(folder) / cls.file
        return cls.from_dict(read_object(path, f"{cls.kind} result"), str(path))

    def _repr_html_(self) -> str:
        return display.table(type(self).__name__, frames.records(self))
