"""Units of reward coupling: which recipes have one, and that it is what claim C3 is judged on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from headscope.comparison.claims import Run, StudyResults, judge
from headscope.progress import SILENT
from headscope.results.codec import from_json, to_json
from headscope.results.dynamics import RewardCount
from headscope.results.reward_coupling import RewardCoupling
from headscope.runs import Inputs, RunDirectory
from headscope.studies.circuits.reward_coupling import RewardCouplingConfig, compute_reward_coupling
from headscope.studies.plan import plan
from headscope.studies.reading import parse_study

from ...report.runs import comparison, series

STEPS = tuple(range(10, 150, 10))

STUDY = """
name: coupled
base: {model: lab-m}
variants:
  - {name: sft, train: {preset: lab-sft, dataset: lab-traces}}
  - name: grpo
    train: {preset: lab-grpo, dataset: lab-train}
    twins: [permuted_rewards, {seed: 1}]
tasks: [lab-t1]
discover: {tasks: [lab-train], pairs: 4, opening_tokens: 2}
"""


def test_every_recipe_with_a_reward_has_one_unit_over_its_seeds_and_twins(tmp_path: Path) -> None:
    units = plan(parse_study(STUDY, "coupled.yaml", tmp_path), RunDirectory(tmp_path), "compare")
    (unit,) = [unit for unit in units if unit.kind == "reward_coupling"]
    assert unit.labels == {"variant": "grpo"}
    assert list(unit.inputs) == ["grpo", "grpo.seed1", "grpo.permuted_rewards"]
    assert {each.kind for each in unit.inputs.values()} == {"comparison"}


def test_it_is_what_c3_is_judged_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    folders, runs = {}, []
    for name in ("grpo", "grpo.seed1", "grpo.permuted_rewards"):
        checkpoints = []
        for result in series(12, births=2, steps=STEPS):
            grown = replace(result.importance_change, value=rng.random(result.status.shape))
            checkpoints.append(replace(result, importance_change=grown))
        compared = comparison(name, checkpoints, STEPS)
        rewards = tuple(RewardCount(step, float(rng.random()), 0.1, 1, 0, 0, 0) for step in compared.steps)
        compared = replace(compared, reward=rewards)
        folders[name] = tmp_path / name
        compared.save(folders[name])
        if name != "grpo.permuted_rewards":
            runs.append(Run(name, "grpo", "grpo", "", compared.series, compared.dynamics, rewards))
    config = RewardCouplingConfig(runs=("grpo", "grpo.seed1"), twins=("grpo.permuted_rewards",))
    result = compute_reward_coupling(config, Inputs(folders, tmp_path), SILENT)
    assert from_json(RewardCoupling, to_json(result), "").runs.keys() == {"grpo", "grpo.seed1"}
    estimate, _ = result.pooled.at(0)
    (part,) = judge(StudyResults(tuple(runs)))[2].parts
    assert part.estimate == estimate
    assert estimate.n == sum(coupling.at(0)[0].n for coupling in result.runs.values())
    assert result.twins["grpo.permuted_rewards"].at(0)[0].value != pytest.approx(estimate.value)
