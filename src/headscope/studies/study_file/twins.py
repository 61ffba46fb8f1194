"""Null twins: the same training with its signal removed, as one line in the study file.

``twins: [lr0, permuted_rewards, {seed: 1}]`` below a variant becomes three variants, ``grpo.lr0`` and so on, that are
trained, scored and counted like any other (method section 5, null B).
"""

import re
from typing import Any, Literal

from headscope.errors import suggestion

Twin = Literal["lr0", "permuted_rewards", "shuffled_answers"] | dict[str, Any]

CHANGES: dict[str, dict[str, Any]] = {
    "lr0": {"learning_rate": 0.0},
    "permuted_rewards": {"control": "permuted_rewards"},
    "shuffled_answers": {"control": "shuffled_answers"},
}


def write_out_twins(data: Any) -> Any:
    """Return a study's plain data with every twin as a variant of its own, after the one it is a twin of.

    Raises ValueError for a twin that is neither known nor a mapping of training keys, or of a variant not trained here.
    """
    if not isinstance(data, dict) or not isinstance(data.get("variants"), list | tuple):
        return data
    variants = []
    for variant in data["variants"]:
        variants += _expand_twins(variant)
    return data | {"variants": variants}


def _expand_twins(variant: Any) -> list[Any]:
    twins = variant.get("twins") if isinstance(variant, dict) else None
    if not isinstance(twins, list | tuple) or not twins:
        return [variant]
    if not isinstance(variant.get("train"), dict):
        raise ValueError(f"variant {variant.get('name')} has twins and no train; only trainings have twins")
    plain = {key: value for key, value in variant.items() if key != "twins"}
    return [plain, *(_make_variant(plain, twin) for twin in twins)]


def _make_variant(variant: dict[str, Any], twin: Any) -> dict[str, Any]:
    if isinstance(twin, str) and twin not in CHANGES:
        raise ValueError(f"twin {twin!r} of variant {variant.get('name')} does not exist{suggestion(twin, CHANGES)}")
    if not isinstance(twin, str | dict):
        raise ValueError(f"twin {twin!r} of variant {variant.get('name')} is neither a name nor keys of its training")
    changes = CHANGES[twin] if isinstance(twin, str) else twin
    return variant | {
        "name": f"{variant.get('name')}.{twin if isinstance(twin, str) else _label(twin)}",
        "twin_of": variant.get("name"),
        "train": variant["train"] | changes,
    }


def _label(changes: dict[str, Any]) -> str:
    """Return what changes, so that two twins of one variant differ in name, whatever the order of their keys."""
    parts = [f"{'' if key == 'control' else key}{changes[key]}" for key in sorted(changes, key=str)]
    return re.sub(r"[^A-Za-z0-9._-]", "_", "-".join(parts))
