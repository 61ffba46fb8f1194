"""Low tiers of a study's problems."""

import re
from collections.abc import Collection

_NUMBER = re.compile(r"\d+")


def low_tiers(tiers: Collection[str]) -> set[str]:
    """Return the lower half of the tiers, including the middle one: T1 and T2 of T1-T4, 1-3 of MATH's levels 1-5.

    Tiers are ranked by their number within each family (``T``, ``Level ``). A problem without a tier, or of a tier
    without a number (``add``), counts as low, as no tier of its family is lower.
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
