"""Samples: every response one model gave on one task, with its verdict.

Rows are problem-major (all samples of the first problem, then the next), samples 0 … n − 1 of each problem.
On disk: ``samples.parquet`` (the table) and ``samples.json`` (schema version, model, task, settings).

Text may be anything a model can emit, except lone surrogates, which have no UTF-8 form and become U+FFFD when the
table is made. Saving and loading are then the identity.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from headscope import display
from headscope.errors import InputError
from headscope.results import frames, plots
from headscope.results.parquet import Rows, read_rows, reading_table
from headscope.storage import Result, read_head, replacing_described

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VERDICTS = ("correct", "wrong", "unparsed", "unfinished", "timeout")
FINISHES = ("stop", "length")
COLUMNS = {
    "problem": "str",
    "group": "str",
    "sample": "int64",
    "seed": "int64",
    "response": "str",
    "tokens": "int64",
    "finish": "str",
    "verdict": "str",
    "answer": "str",
    "gold": "str",
    "kind": "str",
    "token_ids": "object",
    "end": "int64",
}
RESPONSE_COLUMNS = ("problem", "sample", "response", "tokens", "finish", "verdict", "answer", "gold")
"""Columns of every version, for people who read responses."""
ABSENT: dict[str, Any] = {"kind": "", "token_ids": (), "end": -1}
"""Values of these columns in a table without them: schema version 1 had none of them, 2 no ``end``."""


@dataclass(frozen=True, eq=False)
class Samples(Result):
    """Responses of one model on one task; equal when tables, names and settings are.

    table: one row per response, with the columns
        problem: its id; group: its tier or level, "" for none; sample: 0 … n − 1 within the problem;
        seed: of the response's random numbers; response: text; tokens: its length, stop token excluded;
        finish: "stop" | "length"; verdict: one of VERDICTS; answer: what was read from it, "" for nothing;
        gold: the accepted answer, several separated by newlines; kind: how the answer is checked, "" for unknown;
        token_ids: int32 ids of the response as it was generated (decoding and encoding again is not the identity),
        empty if they were not kept; end: id of the stop token after them, -1 for none or unknown.
    settings: sampling and chat settings: plain JSON values.

    Raises InputError for a missing column, a value outside VERDICTS or FINISHES, an empty table, or problems
    that do not all have the same samples: a lost sample must not count as wrong.
    """

    kind: ClassVar[str] = "samples"
    schema: ClassVar[int] = 3
    rows: ClassVar[Mapping[str, str]] = {"": "table"}

    table: pd.DataFrame
    model: str
    task: str
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", _sort_rows(_set_types(self.table)))

    @classmethod
    def from_records(
        cls,
        records: Iterable[dict[str, Any]],
        *,
        model: str,
        task: str,
        settings: dict[str, Any] | None = None,
    ) -> "Samples":
        """Return the samples of one dict per response with the keys of COLUMNS; those in ABSENT may be left out."""
        rows = [{**ABSENT, **row} for row in records]
        table = pd.DataFrame({name: pd.Series([row[name] for row in rows], dtype=object) for name in COLUMNS})
        return cls(table, model, task, settings or {})

    def __repr__(self) -> str:
        counts = self.table["verdict"].value_counts()
        verdicts = ", ".join(f"{counts[name]} {name}" for name in VERDICTS if name in counts)
        problems, samples = self.correct.shape
        return display.line(self, f"{self.model} on {self.task}", f"{problems} problems × {samples}", verdicts)

    def _repr_html_(self) -> str:
        return display.table(repr(self), frames.records(self))

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Samples):
            return NotImplemented
        same = (self.model, self.task, self.settings) == (other.model, other.task, other.settings)
        plain = self.table.drop(columns="token_ids").equals(other.table.drop(columns="token_ids"))
        return same and plain and all(map(np.array_equal, self.table["token_ids"], other.table["token_ids"]))

    @property
    def problems(self) -> list[str]:
        """Return the problem ids, in row order of the matrices."""
        return list(self.table["problem"].drop_duplicates())

    @property
    def groups(self) -> list[str]:
        """Return the group of each problem, in the same order."""
        return list(self.table.drop_duplicates("problem")["group"])

    def _matrix(self, values: "np.ndarray[Any, np.dtype[Any]]") -> "np.ndarray[Any, np.dtype[Any]]":
        return values.reshape(self.table["problem"].nunique(), -1)

    @property
    def correct(self) -> "Bool[np.ndarray, 'problem sample']":
        """Return whether each verdict is "correct"."""
        return self._matrix((self.table["verdict"] == "correct").to_numpy(dtype=bool))

    @property
    def lengths(self) -> "Int[np.ndarray, 'problem sample']":
        """Return the response lengths in tokens."""
        return self._matrix(self.table["tokens"].to_numpy(dtype=np.int64))

    @property
    def first_correct(self) -> "Bool[np.ndarray, 'problem']":
        """Return whether the first sample of each problem is correct: one answer per problem, for McNemar's test."""
        return np.ascontiguousarray(self.correct[:, 0])

    def rates(self) -> dict[str, float]:
        """Return the share of all responses with each verdict, in [0, 1]; they sum to one."""
        return {verdict: float((self.table["verdict"] == verdict).mean()) for verdict in VERDICTS}

    def save(self, directory: Path | str) -> None:
        """Write ``samples.parquet`` and ``samples.json`` into ``directory`` (created if absent)."""
        folder = Path(directory)
        folder.mkdir(parents=True, exist_ok=True)
        head = {
            "schema_version": self.schema,
            "model": self.model,
            "task": self.task,
            "settings": self.settings,
        }
        with replacing_described(folder / "samples.parquet", json.dumps(head, indent=1, allow_nan=False)) as partial:
            self.table.to_parquet(partial, index=False)

    @classmethod
    def load(cls, directory: Path | str) -> "Samples":
        """Read what ``save`` wrote. Raises InputError if it is missing, damaged or of a newer schema."""
        folder = Path(directory)
        head = _read_head(folder)
        path = folder / "samples.parquet"
        with reading_table(path, "samples table"):
            return cls(pd.read_parquet(path), head["model"], head["task"], head["settings"])

    @staticmethod
    def load_responses(directory: Path | str, problems: Collection[str] | None = None) -> Rows:
        """Read responses for people: the columns of RESPONSE_COLUMNS, one dict per response, in the table's order.

        problems: those whose responses are asked for, None for the first response of each.

        Raises InputError if the files are missing, damaged or of a newer schema. Whether all problems have the same
        samples and known verdicts is for ``load`` to say.
        """
        folder = Path(directory)
        _read_head(folder)
        wanted = ("sample", [0]) if problems is None else ("problem", problems)
        return read_rows(folder / "samples.parquet", "samples table", RESPONSE_COLUMNS, *wanted)

    def plot(self) -> "Figure":
        """Return the share of each verdict."""
        title = f"Verdicts, {self.model} on {self.task}, {len(self.table)} answers"
        return plots.bars(title, self.rates(), "share of answers")


def _read_head(folder: Path) -> dict[str, Any]:
    return read_head(folder / "samples.json", "samples", Samples.schema, ("model", "task", "settings"))


def _set_types(table: pd.DataFrame) -> pd.DataFrame:
    missing = [name for name in COLUMNS if name not in table.columns and name not in ABSENT]
    if missing:
        raise InputError(f"a samples table lacks the columns {missing}; it has {list(table.columns)}")
    columns = {}
    dtypes = table.dtypes
    for name, kind in COLUMNS.items():
        # Arrow's text holds no lone surrogates; Python's may.
        is_safe = kind != "str" or getattr(dtypes.get(name), "storage", "") == "pyarrow"
        if kind != "object" and dtypes.get(name) == kind and is_safe and not table[name].hasnans:
            columns[name] = table[name].reset_index(drop=True)
            continue
        values = table[name].tolist() if name in table.columns else [ABSENT[name]] * len(table)
        columns[name] = pd.Series(_convert(values, kind), dtype=kind)
    return pd.DataFrame(columns)


def _convert(values: list[Any], kind: str) -> list[Any]:
    if kind == "str":
        return [_replace_surrogates(str(value)) for value in values]
    return [np.asarray(value, dtype=np.int32) for value in values] if kind == "object" else values


def _sort_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table problem-major.

    Raises InputError unless all problems have the same samples and all labels are known.
    """
    if table.empty:
        raise InputError("a samples table needs at least one response; it has none")
    for column, allowed in (("verdict", VERDICTS), ("finish", FINISHES)):
        unknown = set(table[column]) - set(allowed)
        if unknown:
            raise InputError(f"samples have the {column} {sorted(unknown)[0]!r}; allowed: {', '.join(allowed)}")
    table = table.assign(order=pd.factorize(table["problem"])[0])
    table = table.sort_values(["order", "sample"], kind="stable", ignore_index=True)
    samples = int(table["sample"].max()) + 1
    problems = table.groupby("order")["sample"]
    odd = table["problem"][(problems.transform("size") != samples) | (table["sample"] != problems.cumcount())]
    if len(odd):
        name = odd.iloc[0]
        indices = table["sample"][table["problem"] == name].tolist()
        raise InputError(
            f"problem {name!r} has the samples {_brief(indices)}, not 0-{samples - 1} as another problem has"
        )
    return table.drop(columns="order")


def _brief(indices: list[int]) -> str:
    return str(indices) if len(indices) <= 8 else f"{indices[:3]} … {indices[-3:]} ({len(indices)} in all)"


def _replace_surrogates(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
