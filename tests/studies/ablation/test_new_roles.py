"""Heads that took up a role, as a group that a study ablates."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from tests.report.head_runs import head_roles

from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet
from headscope.progress import SILENT
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph
from headscope.results.head_roles import HeadRole, HeadRoles
from headscope.results.head_sets import ControlledHeads, role_of_group
from headscope.results.not_run import NotRun
from headscope.runs import Inputs, RunDirectory, Unit
from headscope.studies.ablation.headsets import HeadSetsConfig, compute_head_sets
from headscope.studies.plan import plan
from headscope.studies.reading import parse_study
from headscope.studies.study_file.ablate import HeadGroup
from headscope.traces.attention_targets import ATTENTION_ROLES

STUDY = """
name: roles
base: {model: lab-s}
variants: [{name: sft, train: {method: sft, max_steps: 4, dataset: lab-traces}}]
tasks: [lab-t1, lab-t2]
ablate: {heads: [new-iteration], tasks: [lab-t2, lab-t1]}
"""


def units(folder: Path, change: tuple[str, str] = ("", "")) -> list[Unit]:
    return plan(parse_study(STUDY.replace(*change), "study.yaml", Path()), RunDirectory(folder / "run"))


def test_the_set_is_found_in_answers_to_the_first_task(tmp_path: Path) -> None:
    (sets,) = [unit for unit in units(tmp_path) if unit.kind == "headsets"]
    assert sets.labels == {"variant": "sft", "heads": "new-iteration"}
    roles = sets.inputs["roles"]
    assert (roles.kind, roles.labels["task"]) == ("head_roles", "lab-t1")
    verdicts = [unit for unit in units(tmp_path) if unit.kind == "verdict"]
    assert {unit.labels["task"] for unit in verdicts} == {"lab-t1", "lab-t2"}
    (kept,) = [unit for unit in units(tmp_path, ("new-iteration", "kept")) if unit.kind == "headsets"]
    assert "roles" not in kept.inputs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("heads: [new-iteration]", "heads: [new-iteration], step: 2"), "roles are read in the last checkpoint alone"),
        (("ablate:", "discover: {attention: false}\nablate:"), "give it discover.attention: true, or leave"),
        (("new-iteration", "new-role"), "'lost', 'new-previous-token', 'new-first-token'"),
    ],
)
def test_a_study_without_roles_is_refused(change: tuple[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        units(tmp_path, change)


def computed(roles: HeadRoles | NotRun, at_most: int | None, folder: Path) -> ControlledHeads | NotRun:
    graph = Graph(3, 4)
    edges = np.where(graph.real, 1.0, 0.0).astype(np.float32)
    pair_heads = np.random.default_rng(0).lognormal(size=(3, 3, 4)).astype(np.float32)
    EdgeScores(graph, edges, edges, pair_heads, None, 0.0, 0.0, pair_net=pair_heads).save(folder / "base")
    roles.save(folder / "roles")
    config = HeadSetsConfig(variant="sft", group="new-iteration", at_most=at_most, controls=3, seed=0)
    return compute_head_sets(config, Inputs({"base": folder / "base", "roles": folder / "roles"}, folder), SILENT)


def test_heads_that_took_up_the_role_are_removed_the_largest_change_first(tmp_path: Path) -> None:
    roles = head_roles("sft")  # L1H2 takes iteration over from L1H1
    roles.change[1, 2, 3] = 0.3
    more = [
        HeadRole(HeadId(0, 3), "iteration", "unclear"),
        HeadRole(HeadId(2, 3), "iteration", "gained"),
        HeadRole(HeadId(2, 0), "retrieval", "gained"),
    ]
    roles = replace(roles, labels=(*roles.labels, *more))
    both = computed(roles, None, tmp_path)
    assert isinstance(both, ControlledHeads)
    assert both.heads == HeadSet.of(["L1H2", "L2H3"])
    first = computed(roles, 1, tmp_path)
    assert isinstance(first, ControlledHeads)
    assert first.heads == HeadSet.of(["L1H2"])
    assert not any(HeadId(2, 3) in control for control in first.controls)  # it changed too


def test_without_a_head_that_took_up_the_role_there_is_nothing_to_ablate(tmp_path: Path) -> None:
    nothing = computed(replace(head_roles("sft"), labels=head_roles("sft").labels[:2]), None, tmp_path)
    assert isinstance(nothing, NotRun)
    assert nothing.reason == (
        "sft has no heads that took up the role iteration at its last checkpoint: nothing to ablate"
    )


def test_every_role_has_its_group() -> None:
    groups = [group for group in get_args(HeadGroup) if role_of_group(group) is not None]
    assert [role_of_group(group) for group in groups] == list(ATTENTION_ROLES)
