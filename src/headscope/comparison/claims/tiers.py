"""Tiers of problems: which of a study's are low."""

import re
from collections.abc import Collection

_NUMBER = re.compile(r"\d+")


def low_tiers(tiers: Collection[str]) -> set[str]:
    """Return the lower half of the tiers, the middle one with it: T1 and T2 of T1-T4, 1-3 of MATH's levels 1-5.

    Tiers that differ in their number are ranked by it, each family (``T``, ``Level ``) on its own. A problem without a
    tier, or of a tier without a number (``add``), is of no other's family and counts as low: there is nothing lower.
    """
    families: dict[str, list[tuple[int, str]]] = {}
    low = set()
    for tier in tiers:
        number = _NUMBER.search(tier)
        if number is None:
            low.add(tier)
        else:
            families.setdefault(_NUMBER.sub("", tier), []).append((int(number.group()), tier))
    for family in families.values():
        ranked = sorted(family)
        low |= {tier for _, tier in ranked[: (len(ranked) + 1) // 2]}
    return low
