"""Compare a variant's checkpoints with the base: emergence with its null at every step, and the dynamics over them."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from headscope.comparison import Resampling, emergence_by_method, emergence_ladder
from headscope.comparison.inclusion import EMERGENCE_METHODS
from headscope.comparison.record import SCHEMA_VERSION, comparison_record
from headscope.progress import SILENT, Progress
from headscope.results.edges import EdgeScores
from headscope.runs import RunDirectory, Unit
from headscope.runs.files import file_digest, write_json
from headscope.storage import check_schema, read_object
from headscope.studies.study import Study
from headscope.training import read_log

FILE = "comparison.json"


@dataclasses.dataclass(frozen=True)
class Scored:
    """Units of one variant's scores: base on the main and the fresh pairs, and each checkpoint by step."""

    base: Unit
    fresh: Unit
    checkpoints: dict[int, Unit]


def unit(study: Study, run: RunDirectory, variant: str, scored: Scored, reward_log: "RewardLog | None") -> Unit:
    """``comparison.json`` of a variant: arithmetic on its saved scores.

    Besides both methods' results at every checkpoint it holds ``change_q`` [checkpoint, layer, head], Benjamini and
    Hochberg's q of each head's change of importance, the dynamics, and the rewards beside the counts.
    """
    settings = study.discover
    config = {name: getattr(settings, name) for name in ("fraction", "resamples", "sizes")} | {"seed": study.seed}
    inputs = {"base": scored.base, "fresh": scored.fresh} | {
        f"step {step}": each for step, each in scored.checkpoints.items()
    }
    if reward_log is not None and reward_log.unit is not None:
        inputs["reward log"] = reward_log.unit
    outside = {"reward log": file_digest(reward_log.path)} if reward_log is not None and reward_log.unit is None else {}

    def work(out: Path, progress: Progress) -> None:
        how = Resampling(settings.fraction, settings.resamples, study.seed)
        saved = Saved(
            run.folder(scored.base),
            run.folder(scored.fresh),
            {step: run.folder(each) for step, each in scored.checkpoints.items()},
        )
        write_json(out / FILE, compared(variant, saved, how, settings.sizes, _rewards(reward_log), progress))

    return Unit("comparison", {"variant": variant}, config, work, inputs=inputs, outside=outside, version=3)


@dataclasses.dataclass(frozen=True)
class Saved:
    """Folders of edge scores: base on the main and on the fresh pairs, and each checkpoint by step.

    Iterates over the checkpoints' scores, each loaded when its turn comes: kept per pair they are large.
    """

    base: Path
    fresh: Path
    checkpoints: Mapping[int, Path]

    def __iter__(self) -> Iterator[EdgeScores]:
        return (EdgeScores.load(folder) for folder in self.checkpoints.values())

    def __len__(self) -> int:
        return len(self.checkpoints)


def compared(
    variant: str,
    saved: Saved,
    how: Resampling,
    sizes: Sequence[float],
    rewards: Sequence[tuple[int, float]] = (),
    progress: Progress = SILENT,
) -> dict[str, Any]:
    """What ``comparison.json`` holds: both methods at every checkpoint, the dynamics, the last one at every size."""
    base, fresh = EdgeScores.load(saved.base), EdgeScores.load(saved.fresh)
    series = emergence_by_method(
        base, saved, dict.fromkeys(EMERGENCE_METHODS, how), base_again=fresh, progress=progress
    )
    last = EdgeScores.load(saved.checkpoints[max(saved.checkpoints)])
    ladder = emergence_ladder(base, last, sizes, base_again=fresh, resamples=how.resamples, seed=how.seed)
    return comparison_record(
        variant, list(zip(saved.checkpoints, series["bootstrap"], strict=True)), series["paper"], rewards, ladder
    )


def read(folder: Path) -> dict[str, Any]:
    """What ``compared`` gave, from a unit's folder. Raises InputError for a newer schema."""
    content: dict[str, Any] = read_object(folder / FILE)
    check_schema(content, str(folder / FILE), SCHEMA_VERSION)
    return content


@dataclasses.dataclass(frozen=True)
class RewardLog:
    """Where a variant's rewards are written, and the training unit that writes them, if one does."""

    path: Path
    unit: Unit | None = None


def _rewards(reward_log: RewardLog | None) -> list[tuple[int, float]]:
    """(step, reward) of the training log; empty where the training logged no reward."""
    if reward_log is None:
        return []
    return [(entry.step, float(entry.reward)) for entry in read_log(reward_log.path) if entry.reward is not None]
