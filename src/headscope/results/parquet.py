"""Read Parquet files of results; absent or damaged ones give an error that names them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.lib

from headscope.errors import InputError


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
        raise InputError(f"{path} is not a whole {title}: {str(error).partition(chr(10))[0]}") from None
