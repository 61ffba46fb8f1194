"""Read finished runs from buckets and web servers (``s3://…``, ``gs://…``, ``https://…``) with fsspec.

A run is read through a copy in the user's cache, which holds the files that were needed so far:

1. Opening it fetches ``study.lock.json``, and of every unit of its plan ``DONE`` or why it failed.
2. A unit's other files are fetched when its bytes are about to be checked, several at a time.
3. A file that was fetched before is used again if it has the SHA-256 that its unit's record states.

Nothing is listed, so that a web server without a listing will do, and the permission to read a bucket's objects; only
units of old versions, whose records name no files, need a listing. Without the permission to list, a bucket refuses a
file that is not there as it refuses one that may not be read: where a file may be absent, refused counts as absent.
"""

import hashlib
import os
import re
import threading
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from headscope.contents import file_sha256
from headscope.errors import InputError
from headscope.runs.unit_files import DONE, RECORD
from headscope.storage import parse_object, user_cache

CONNECTIONS = 32
"""Files fetched at a time: most are small, so that most of the time is spent waiting for the server."""

# Two letters at least: C:/ is a disk. One slash or more: pathlib makes one of two.
_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]+)(::|:/)")
_LISTING = "the permission to list (s3:ListBucket, storage.objects.list)"
_copies: dict[Path, "RemoteRun"] = {}


def is_url(path: Path | str) -> bool:
    """Return whether ``path`` names a place by its scheme, as ``s3://bucket/run``."""
    return _SCHEME.match(str(path)) is not None


def local_folder(path: Path | str) -> Path:
    """Return ``path`` as a folder to write into. Raises InputError for a URL."""
    if is_url(path):
        raise InputError(
            f"{_as_url(path)} is no folder of this machine, and runs are written and recomputed only in one; copy it "
            "when it is finished: headscope report, status, traces and export read it from anywhere"
        )
    return Path(path)


def _as_url(path: Path | str) -> str:
    """Return a URL with its second slash, which pathlib removes."""
    return str(path) if isinstance(path, str) else re.sub(r":/+", "://", str(path), count=1)


class RemoteRun:
    """A run directory elsewhere, and the copy of it in the user's cache.

    Raises InputError if its scheme is unknown or its package is missing, or if the place cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.url = _as_url(path).rstrip("/")
        self.folder = user_cache() / "runs" / hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._files, self._root = _file_system(self.url)
        _copies[self.folder] = self

    def fetch(self, names: Iterable[str], *, may_be_refused: bool = False) -> None:
        """Fetch files by their names below the run; one that is not there is deleted from the copy.

        may_be_refused: take one whose access is refused for one that is not there.
        """
        names = list(names)
        if not names:
            return
        with ThreadPoolExecutor(min(CONNECTIONS, len(names))) as threads:
            jobs = [threads.submit(self._fetch_file, name, may_be_refused) for name in names]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise

    def fetch_marks(self, rows: Sequence[dict[str, Any]]) -> None:
        """Fetch which units of a plan are done, and why the others failed."""
        units = [f"units/{row['kind']}/{row['digest']}" for row in rows]
        self.fetch((f"{unit}/{DONE}" for unit in units), may_be_refused=True)
        unfinished = [unit for unit in units if not (self.folder / unit / DONE).exists()]
        self.fetch((f"{unit}.failed.json" for unit in unfinished), may_be_refused=True)

    def fetch_records(self, units: Iterable[str]) -> None:
        """Fetch the records of finished units, if those in the copy are not the ones that ``DONE`` was written for.

        Units that are not finished have none.
        """
        finished = [unit for unit in units if (self.folder / unit / DONE).exists()]
        self.fetch(f"{unit}/{RECORD}" for unit in finished if not self._has(f"{unit}/{RECORD}", self._seal(unit)))

    def fetch_files(self, units: Iterable[str], names: Collection[str] | None = None, suffix: str = "") -> None:
        """Fetch files of finished units, whose records were fetched before; of others nothing.

        names: the only ones needed, None for all. suffix: that they end with.
        """
        absent = []
        for unit in units:
            if not (self.folder / unit / DONE).exists():
                continue
            for name, sha256 in self._contents(unit).items():
                is_needed = (names is None or name in names) and name.endswith(suffix)
                if is_needed and not self._has(f"{unit}/{name}", sha256):
                    absent.append(f"{unit}/{name}")
        self.fetch(absent)

    def _seal(self, unit: str) -> str:
        return (self.folder / unit / DONE).read_text(encoding="utf-8", errors="replace").strip()

    def _has(self, name: str, sha256: str) -> bool:
        path = self.folder / name
        return bool(sha256) and path.is_file() and file_sha256(path) == sha256

    def _contents(self, unit: str) -> dict[str, str]:
        """Return the SHA-256 of a unit's files by name; "" for those of units of old versions."""
        path = self.folder / unit / RECORD
        record = parse_object(path.read_bytes(), f"{self.url}/{unit}/{RECORD}") if path.is_file() else {}
        files = record.get("files")
        if not isinstance(files, dict):
            files = dict.fromkeys(self._list(unit), "")
        for name in files:
            # What a stranger's bucket says must not name a file outside the copy.
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise InputError(f"{self.url}/{unit}/{RECORD} names {name!r}, which is not below its unit")
        return {name: str(sha256) for name, sha256 in files.items() if name not in (DONE, RECORD)}

    def _list(self, unit: str) -> list[str]:
        start = f"{self._root}/{unit}/"
        try:
            paths = self._files.find(start)
        except Exception as error:  # of whichever library reads this scheme
            if _is_refused(error):
                raise InputError(
                    f"{self.url}/{unit} is a unit of an old version, whose files must be listed, and that is refused; "
                    f"{_LISTING} is needed"
                ) from error
            raise self._unreadable(unit, error) from error
        return [path.partition(f"{unit}/")[2] for path in paths]

    def _fetch_file(self, name: str, may_be_refused: bool) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
        try:
            self._files.get_file(f"{self._root}/{name}", str(partial))
            partial.replace(path)
        except FileNotFoundError:
            path.unlink(missing_ok=True)
        except Exception as error:  # of whichever library reads this scheme
            if not (may_be_refused and _is_refused(error)):
                raise self._unreadable(name, error) from error
            path.unlink(missing_ok=True)
        finally:
            partial.unlink(missing_ok=True)

    def _unreadable(self, name: str, error: Exception) -> InputError:
        reason = " ".join(str(error).split()) or type(error).__name__
        if _is_refused(error):
            return InputError(
                f"{self.url}/{name} is not there or may not be read ({reason}); check the address, the credentials and "
                f"the permission to read objects (s3:GetObject, storage.objects.get): only with {_LISTING} can the two "
                "be told apart"
            )
        return InputError(
            f"{self.url}/{name} could not be read ({reason}); try again, what was fetched is kept in {self.folder}"
        )


def _is_refused(error: Exception) -> bool:
    """Return whether a library's error says that access is refused (403)."""
    status = getattr(error, "status", None) or getattr(error, "code", None)
    return isinstance(error, PermissionError) or status in (403, "403")


def fetch_unit(folder: Path, names: Collection[str] | None = None) -> None:
    """Fetch the record and files of the finished unit in ``folder``, if it is of a run elsewhere.

    names: the only files needed, None for all.
    """
    if _copies and (run := _copies.get(folder.parents[2])) is not None:
        unit = folder.relative_to(run.folder).as_posix()
        run.fetch_records([unit])
        run.fetch_files([unit], names)


def fetch_small_files(folders: Sequence[Path]) -> None:
    """Fetch records and JSON files of finished units together, if they are of a run elsewhere.

    Arrays and tables wait until they are asked for: they are most of a run's bytes.
    """
    if _copies and folders and (run := _copies.get(folders[0].parents[2])) is not None:
        units = [folder.relative_to(run.folder).as_posix() for folder in folders]
        run.fetch_records(units)
        run.fetch_files(units, suffix=".json")


def _file_system(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, and its path there."""
    import fsspec

    scheme = url.partition(":")[0]
    try:
        files, root = fsspec.core.url_to_fs(url)
    except ImportError as error:
        absent = error.__cause__ if isinstance(error.__cause__, ImportError) else error
        name = absent.name or scheme
        raise InputError(
            f"reading {scheme}:// needs the package {name}, which is not installed: pip install {name}"
        ) from None
    except ValueError as error:
        raise InputError(f"{url} cannot be read: {error}; s3, gs, https and others that fsspec knows can") from None
    except Exception as error:  # of whichever library reads this scheme: no credentials, no such host
        raise InputError(f"{url} cannot be read: {' '.join(str(error).split())}") from error
    return files, root.rstrip("/")
