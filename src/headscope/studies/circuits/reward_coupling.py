"""Test whether gained importance follows the reward: arithmetic on comparisons, a unit per rewarded recipe."""

from collections.abc import Iterator, Mapping

from headscope.comparison.coupling import mass_coupling
from headscope.progress import Progress
from headscope.results.comparison import Comparison
from headscope.results.coupling import Coupling
from headscope.results.reward_coupling import RewardCoupling
from headscope.runs import Inputs, Unit, Work
from headscope.runs.recipes import null_twins, seeds_of, variants_by_name
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.study import Study
from headscope.studies.study_file.training import RewardData


class RewardCouplingConfig(Config):
    """The variants of one recipe, by name.

    runs: one per seed, in the study's order; the recipe is named after the first. twins: its null twins.
    """

    runs: tuple[str, ...]
    twins: tuple[str, ...]


def compute_reward_coupling(config: RewardCouplingConfig, inputs: Inputs, progress: Progress) -> RewardCoupling:
    """Return the coupling of every run, of all together, and of the twins whose training logged a reward."""
    comparisons = {name: inputs.load(name, Comparison) for name in (*config.runs, *config.twins)}
    return RewardCoupling(
        recipe=config.runs[0],
        runs={name: _couple([comparisons[name]]) for name in config.runs},
        pooled=_couple([comparisons[name] for name in config.runs]),
        twins={name: _couple([comparisons[name]]) for name in config.twins if comparisons[name].reward},
    )


REWARD_COUPLING = Work("reward_coupling", RewardCouplingConfig, compute_reward_coupling, version=2)


def reward_coupling_units(study: Study, comparisons: Mapping[str, Unit]) -> Iterator[Unit]:
    """Yield the unit of every recipe whose runs log a reward. comparisons: by variant."""
    variants = variants_by_name(study.model_dump(mode="json"))
    rewarded = set()
    for variant in study.variants:
        if isinstance(variant.train, RewardData) or variant.reward_log is not None:
            rewarded.add(variant.name)
    for name, runs in seeds_of(variants).items():
        if rewarded.issuperset(runs):
            config = RewardCouplingConfig(runs=tuple(runs), twins=tuple(null_twins(name, variants)))
            inputs = {run: comparisons[run] for run in (*config.runs, *config.twins)}
            yield REWARD_COUPLING.unit(config, {"variant": name}, inputs)


def _couple(comparisons: list[Comparison]) -> Coupling:
    return mass_coupling([(comparison.series, comparison.reward) for comparison in comparisons])
