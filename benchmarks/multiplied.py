"""A run directory of many units: a finished run, multiplied.

Copies have all units of the run except those of the base, which every study has once. Their variants are called
``sft.copy2`` …, in the study, the labels and the results' JSON. Checkpoints are left out.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headscope.runs import RunDirectory
from headscope.runs.digests import digest
from headscope.runs.records import mark_done, write_record
from headscope.runs.unit_files import DONE, RECORD
from headscope.runs.units import address_of
from headscope.storage import read_object, synced_later


def multiply_run(source: RunDirectory, out: Path, units: int, controls: int = 1) -> RunDirectory:
    """Write about ``units`` units, those of ``source`` again and again, into ``out``.

    controls: how many times each answer of an ablated model is there, as of so many times as many random sets.
    """
    lock = source.lock()
    variants = [variant["name"] for variant in lock["study"]["variants"]]
    rows = [row for row in lock["units"] if (source.path / "units" / row["kind"] / row["digest"] / DONE).exists()]
    own = [row for row in rows if row["labels"].get("variant") in variants]
    repeats = {id(row): controls if row["labels"].get("control") is not None else 1 for row in rows}
    copies = max(1, round((units - len(rows) + len(own)) / sum(repeats[id(row)] for row in own)))
    study = lock["study"] | {"variants": []}
    written: list[dict[str, Any]] = []
    out.mkdir(parents=True)
    with synced_later():
        for copy in range(copies):
            names = {name: f"{name}.copy{copy + 1}" if copy else name for name in variants}
            study["variants"] += rename(lock["study"]["variants"], names)
            for row in own if copy else rows:
                for repeat in range(repeats[id(row)]):
                    written.append(copy_unit(source.path, out, row, names, (copy, repeat)))
    out.joinpath("study.lock.json").write_text(json.dumps(lock | {"study": study, "units": written}))
    return RunDirectory.open(out)


def copy_unit(
    source: Path, out: Path, row: Mapping[str, Any], names: Mapping[str, str], number: tuple[int, int]
) -> dict[str, Any]:
    """Write a unit once more and return its row of the plan.

    names: what its variants are called in the copy. number: of the copy, and of the set of controls.
    """
    folder = source / "units" / row["kind"] / row["digest"]
    labels = rename(row["labels"], names)
    if number[1]:
        labels["control"] = f"{labels['control']}.{number[1]}"
    record = read_object(folder / RECORD) if (folder / RECORD).exists() else None  # the tests' runs have none
    unit_digest = row["digest"]
    if number != (0, 0) and record is not None:
        record |= {"labels": labels, "config": record["config"] | {"copy": number}}
        unit_digest = address_of(record).rpartition("/")[2]
    elif number != (0, 0):
        unit_digest = digest([row["digest"], *number])
    target = out / "units" / row["kind"] / unit_digest
    target.mkdir(parents=True)
    for path in folder.iterdir():
        if path.suffix == ".json" and path.name != RECORD:
            target.joinpath(path.name).write_text(json.dumps(rename(json.loads(path.read_text()), names)))
        elif path.is_file() and path.name not in (RECORD, DONE):
            shutil.copyfile(path, target / path.name)
    if record is None:
        target.joinpath(DONE).touch()
    else:
        write_record(target, record, "*")
        mark_done(target)
    return {"kind": row["kind"], "digest": unit_digest, "labels": labels}


def rename(value: Any, names: Mapping[str, str]) -> Any:
    """Return plain data with these names in place of others, in keys and values."""
    if isinstance(value, dict):
        return {names.get(key, key): rename(item, names) for key, item in value.items()}
    if isinstance(value, list):
        return [rename(item, names) for item in value]
    return names.get(value, value) if isinstance(value, str) else value
