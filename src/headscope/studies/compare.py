"""Compare a variant's checkpoints with the base: emergence with its null at every step, and the dynamics over them."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

from headscope.comparison import Resampling, emergence_by_rule, emergence_ladder
from headscope.comparison.measured import Method
from headscope.comparison.record import comparison_record
from headscope.progress import Progress
from headscope.results.edges import EdgeScores
from headscope.runs import RunDirectory, Unit
from headscope.runs.files import file_digest, write_json
from headscope.studies.study import Study
from headscope.training import read_log

FILE = "comparison.json"
METHODS: tuple[Method, ...] = ("bootstrap", "paper")


@dataclasses.dataclass(frozen=True)
class Scored:
    """Units of one variant's scores: base on the main and the fresh pairs, and each checkpoint by step."""

    base: Unit
    fresh: Unit
    checkpoints: dict[int, Unit]


def unit(study: Study, run: RunDirectory, variant: str, scored: Scored, reward_log: "RewardLog | None") -> Unit:
    """``comparison.json`` of a variant: arithmetic on its saved scores.

    Besides both rules' results at every checkpoint it holds ``change_q`` [checkpoint, layer, head], Benjamini and
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
        series = emergence_by_rule(
            EdgeScores.load(run.folder(scored.base)),
            Saved(tuple(run.folder(each) for each in scored.checkpoints.values())),
            dict.fromkeys(METHODS, how),
            base_again=EdgeScores.load(run.folder(scored.fresh)),
            progress=progress,
        )
        ladder = emergence_ladder(
            EdgeScores.load(run.folder(scored.base)),
            EdgeScores.load(run.folder(scored.checkpoints[max(scored.checkpoints)])),
            settings.sizes,
            base_again=EdgeScores.load(run.folder(scored.fresh)),
            resamples=settings.resamples,
            seed=study.seed,
        )
        core = list(zip(scored.checkpoints, series["bootstrap"], strict=True))
        write_json(out / FILE, comparison_record(variant, core, series["paper"], _rewards(reward_log), ladder))

    return Unit("comparison", {"variant": variant}, config, work, inputs=inputs, outside=outside, version=3)


@dataclasses.dataclass(frozen=True)
class Saved:
    """Edge scores in these folders, each loaded when its turn comes: kept per pair they are large."""

    folders: tuple[Path, ...]

    def __iter__(self) -> Iterator[EdgeScores]:
        return (EdgeScores.load(folder) for folder in self.folders)

    def __len__(self) -> int:
        return len(self.folders)


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
