"""Compare a variant's checkpoints with the base: emergence with its null at every step, and the dynamics over them."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from headscope.comparison import Resampling, emergence_by_method, emergence_ladder
from headscope.comparison.checkpoints import compare_checkpoints
from headscope.comparison.inclusion import EMERGENCE_METHODS
from headscope.errors import InputError
from headscope.progress import SILENT, Progress
from headscope.results.comparison import Comparison, Integration
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessEstimates
from headscope.runs import Inputs, Unit, Work
from headscope.runs.digests import file_digest
from headscope.storage import TRAINING_LOG
from headscope.studies.study_file.config import CircuitConfig, Config
from headscope.studies.study_file.study import Study
from headscope.training import read_log


class RewardLog(Config):
    """The log that a comparison reads the rewards from.

    place, digest: of the log of a run elsewhere. trained_by: else the input that trained the variant.
    """

    digest: str
    trained_by: str | None = None
    place: str | None = None

    def rewards(self, inputs: Inputs) -> list[tuple[int, float]]:
        """Return (step, reward); empty if the training logged no reward."""
        path = (
            Path(self.place) if self.trained_by is None and self.place else inputs.folders["reward log"] / TRAINING_LOG
        )
        if self.digest and file_digest(path) != self.digest:
            raise InputError(f"the reward log {path} has changed since the study was planned; run it again")
        return [(entry.step, float(entry.reward)) for entry in read_log(path) if entry.reward is not None]


class ComparisonConfig(CircuitConfig):
    """Circuits and their bootstrap (``DiscoverConfig``), the checkpoints' steps, and the reward log, if any."""

    variant: str
    steps: tuple[int, ...]
    sizes: tuple[float, ...]
    reward_log: RewardLog | None


def compute_comparison(config: ComparisonConfig, inputs: Inputs, progress: Progress) -> Comparison:
    """Return both methods at every checkpoint, the dynamics, the last one at every size, and rewards next to counts."""
    checkpoints = {step: inputs.folders[f"step {step}"] for step in config.steps}
    score_folders = ScoreFolders(inputs.folders["base"], inputs.folders["fresh"], checkpoints)
    rewards = [] if config.reward_log is None else config.reward_log.rewards(inputs)
    base, post = inputs.load("base curve", FaithfulnessEstimates), inputs.load("final curve", FaithfulnessEstimates)
    circuit = config.choose(base, post, EdgeScores.load(inputs.folders["base"], pair_edges=False).graph)
    result = compare(
        config.variant, score_folders, config.resampling(circuit.fraction), config.sizes, rewards, progress
    )
    folders = [inputs.folders["base"], *checkpoints.values()]
    integration = tuple(Integration.of(EdgeScores.load(folder, pair_edges=False)) for folder in folders)
    return dataclasses.replace(result, circuit=circuit, integration=integration)


COMPARISON = Work("comparison", ComparisonConfig, compute_comparison, version=8)


@dataclasses.dataclass(frozen=True)
class ScoreUnits:
    """Units of one variant's scores: base on the main and the fresh pairs, and each checkpoint by step.

    curves: faithfulness of the circuits of base and final checkpoint.
    """

    base: Unit
    fresh: Unit
    checkpoints: dict[int, Unit]
    curves: tuple[Unit, Unit]


def comparison_unit(study: Study, variant: str, scores: ScoreUnits, log: Path | None, trained: Unit | None) -> Unit:
    """Return the unit of a variant's comparison: arithmetic on its saved scores.

    log: the reward log of a variant trained elsewhere. trained: the unit that trains it here.
    """
    settings = study.discover
    inputs = {"base": scores.base, "fresh": scores.fresh}
    inputs |= {f"step {step}": unit for step, unit in scores.checkpoints.items()}
    inputs |= dict(zip(("base curve", "final curve"), scores.curves, strict=True))
    reward_log = None if log is None else RewardLog(digest=file_digest(log), place=str(log))
    if trained is not None:
        inputs["reward log"] = trained
        reward_log = RewardLog(digest="", trained_by="reward log")
    config = ComparisonConfig(
        variant=variant,
        steps=tuple(scores.checkpoints),
        sizes=settings.sizes,
        reward_log=reward_log,
        **study.bootstrap.model_dump(),
        **study.circuit,
    )
    return COMPARISON.unit(config, {"variant": variant}, inputs)


@dataclasses.dataclass(frozen=True)
class ScoreFolders:
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


def compare(
    variant: str,
    score_folders: ScoreFolders,
    resampling: Resampling,
    sizes: Sequence[float],
    rewards: Sequence[tuple[int, float]] = (),
    progress: Progress = SILENT,
) -> Comparison:
    """Return the comparison of saved scores; ``rewards`` are (step, reward) of the training log."""
    base, fresh = EdgeScores.load(score_folders.base), EdgeScores.load(score_folders.fresh)
    # ``score_folders`` loads one checkpoint at a time.
    series = emergence_by_method(
        base, score_folders, dict.fromkeys(EMERGENCE_METHODS, resampling), base_again=fresh, progress=progress
    )
    last = EdgeScores.load(score_folders.checkpoints[max(score_folders.checkpoints)])
    by_size = dataclasses.replace(resampling, tau=0.0)  # the ladder varies the number of edges alone
    ladder = emergence_ladder(base, last, sizes, base_again=fresh, resampling=by_size)
    steps = zip(score_folders.checkpoints, series["bootstrap"], strict=True)
    return compare_checkpoints(variant, list(steps), series["paper"], rewards, ladder)
