"""Read Parquet files of results; absent or damaged ones give an error that names them."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.lib
import pyarrow.parquet as pq

from headscope.errors import InputError

Rows = list[dict[str, Any]]
"""Rows of a table, a dict each."""


def read_rows(path: Path, title: str, columns: Sequence[str], column: str, values: Collection[object]) -> Rows:
    """Read the rows of a table whose ``column`` holds one of ``values``: faster than the table for a few of many.

    Raises InputError if there is no whole table with these columns; their values are not looked at.
    """
    if not values:
        return []
    with reading_table(path, title):
        absent = sorted(set(columns) - set(pq.read_schema(path).names))
        if absent:
            raise InputError(f"{path} lacks the columns {absent}; it is damaged or not headscope's")
        rows: Rows = pq.read_table(path, columns=list(columns), filters=[(column, "in", list(values))]).to_pylist()
        return rows


@contextmanager
def reading_table(path: Path, title: str) -> Iterator[None]:
    """Turn errors of reading a table and converting its types into InputError.

    title: what the file should hold, for the message, such as ``samples table``.
    """
    if not path.is_file():
        raise InputError(f"{path.name} is missing next to its JSON in {path.parent}")
    try:
        yield
    except InputError:
        raise
    # Damaged pages raise OSError, damaged counts ArrowMemoryError, values of another type the others.
    except (pyarrow.lib.ArrowException, OSError, ValueError, TypeError, KeyError, OverflowError) as error:
        raise InputError(f"{path} is not a whole {title}: {str(error).partition(chr(10))[0]}") from error
