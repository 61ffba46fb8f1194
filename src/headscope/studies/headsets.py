"""Which heads an ablation removes: a group of the final comparison, and random sets matched to it, in layers or in the
base model's importance.

All are known only when the comparison is done, so they are a unit of their own, which every ablation of the group
reads.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from headscope.comparison import head_importance, matched_random_sets
from headscope.comparison.importance_matched import importance_matched_sets
from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet, top_heads
from headscope.progress import Progress
from headscope.results.edges import EdgeScores
from headscope.results.emergence import Emergence, Status
from headscope.runs import RunDirectory, Unit
from headscope.storage import check_schema, read_object, write_json
from headscope.studies import compare
from headscope.studies.study import HeadGroup, Study

SCHEMA_VERSION = 2
FILE = "heads.json"

# Where a group is read: the method of the comparison, and what became of the heads under it; ``recall`` is elsewhere.
GROUPS = {
    "emergent": ("emergence", Status.NEW),
    "kept": ("emergence", Status.KEPT),
    "lost": ("emergence", Status.LOST),
    "paper-emergent": ("paper", Status.NEW),
    "paper-kept": ("paper", Status.KEPT),
    "paper-lost": ("paper", Status.LOST),
}


@dataclass(frozen=True)
class ControlledSet:
    """A group's heads, the sets they are held against, and the model's grid (layers, heads).

    controls: as many heads in every layer. importance_controls: of like importance in the base model.
    """

    heads: HeadSet
    controls: list[HeadSet]
    importance_controls: list[HeadSet]
    shape: tuple[int, int]

    def numbered(self, control: int | None) -> HeadSet | None:
        """The heads themselves, or a layer-matched control; None where there is no such set."""
        if control is None:
            return self.heads
        return self.controls[control] if control < len(self.controls) else None


def unit(
    study: Study, run: RunDirectory, variant: str, group: HeadGroup, comparison: Unit, recall: Unit | None = None
) -> Unit:
    """``heads.json``: the group's heads and its random sets; all empty where the comparison found none.

    recall: scores on a recall task, of which the group ``recall`` takes the heads with most.
    """
    settings, base = study.ablate, comparison.inputs["base"]
    config = {"group": group, "at_most": settings.at_most, "controls": settings.controls, "seed": study.seed}

    def work(out: Path, progress: Progress) -> None:
        importance = head_importance(EdgeScores.load(run.folder(base))).value
        if recall is not None:
            scores = EdgeScores.load(run.folder(recall))
            heads, others = HeadSet.of(top_heads(scores.head_importance, settings.at_most)), HeadSet(())
        else:
            method, status = GROUPS[group]
            result = Emergence.from_dict(compare.read(run.folder(comparison))[method][-1])
            every = result.heads(status)
            heads = _most_changed(every, result, settings.at_most)
            others = every - heads
        controls = matched(heads, others, importance.shape, settings.controls, study.seed)
        alike = matched_in_importance(heads, others, importance, settings.controls, study.seed)
        sets = {
            "heads": heads.names(),
            "controls": [each.names() for each in controls],
            "importance_controls": [each.names() for each in alike],
            "shape": list(importance.shape),
        }
        write_json(out / FILE, {"schema_version": SCHEMA_VERSION, **sets})

    inputs = {"comparison": comparison, "base": base} | ({} if recall is None else {"recall": recall})
    return Unit("headsets", {"variant": variant, "heads": group}, config, work, inputs=inputs, version=2)


def read(folder: Path) -> ControlledSet:
    """The group and its random sets from a unit's folder."""
    content = read_object(folder / FILE)
    check_schema(content, str(folder / FILE), SCHEMA_VERSION)
    controls, alike = ([HeadSet.of(names) for names in content[key]] for key in ("controls", "importance_controls"))
    layers, heads = content["shape"]
    return ControlledSet(HeadSet.of(content["heads"]), controls, alike, (layers, heads))


def _most_changed(heads: HeadSet, result: Emergence, count: int | None) -> HeadSet:
    """The ``count`` heads of the set whose share of all |score| training changed most."""
    change = abs(result.importance_change.value)

    def size(head: HeadId) -> float:
        return float(change[head.layer, head.head])

    return HeadSet.of(sorted(heads, key=size, reverse=True)[:count])


def matched(heads: HeadSet, others: HeadSet, shape: tuple[int, ...], count: int, seed: int) -> list[HeadSet]:
    """Random sets with as many heads in every layer, without the group's ``others`` where enough sets remain.

    Fewer where fewer exist; none for no heads, or where their layers hold no other heads.
    """
    layers, width = shape
    found: list[HeadSet] = []
    for exclude in (others, HeadSet(())):
        try:
            found = list(matched_random_sets(heads, layers, width, count, seed, exclude=exclude)) if heads else []
        except InputError:  # no other set: without controls the verdict is undecided, and says so
            found = []
        if len(found) == count:
            break
    return found


def matched_in_importance(
    heads: HeadSet, others: HeadSet, importance: "Float[np.ndarray, 'layer head']", count: int, seed: int
) -> list[HeadSet]:
    """Sets of like importance; none for no heads, or where too few others are left."""
    try:
        return list(importance_matched_sets(heads, importance, count, seed, exclude=others)) if heads else []
    except InputError:
        return []
