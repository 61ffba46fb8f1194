"""Heads that a study names, as the report's circuit page exports them."""

from pathlib import Path

import numpy as np
import pytest

from headscope.errors import InputError
from headscope.heads import HeadSet
from headscope.progress import SILENT
from headscope.results.edges import EdgeScores
from headscope.results.graph import Graph
from headscope.results.head_sets import ControlledHeads
from headscope.runs import Inputs, RunDirectory, Unit
from headscope.studies.ablation.headsets import HeadSetsConfig, compute_head_sets
from headscope.studies.plan import plan
from headscope.studies.reading import parse_study

STUDY = """
name: named
base: {{model: lab-s}}
variants: [{{name: sft, train: {{method: sft, max_steps: 4, dataset: lab-traces}}}}]
tasks: [lab-t1]
ablate: {ablate}
"""


def units(ablate: str, folder: Path) -> list[Unit]:
    """Return the plan of the study with this ``ablate`` block."""
    return plan(parse_study(STUDY.format(ablate=ablate), "study.yaml", Path()), RunDirectory(folder / "run"))


def test_one_set_is_planned_for_the_names_however_they_are_written(tmp_path: Path) -> None:
    named = units('{heads: named, named: [a2.h0, L1H1, "1.1"]}', tmp_path)
    (sets,) = [unit for unit in named if unit.kind == "headsets"]
    assert sets.labels == {"variant": "sft", "heads": "named"}
    assert sets.config.named == ("L1H1", "L2H0")
    again = units("{heads: [named], named: [L2H0, L1H1]}", tmp_path)
    assert [unit.address for unit in again] == [unit.address for unit in named]
    other = units("{heads: [named], named: [L2H0]}", tmp_path)
    assert sets.address not in [unit.address for unit in other]


def test_sets_of_other_groups_have_the_addresses_they_had(tmp_path: Path) -> None:
    alone = {unit.address for unit in units("{heads: [kept]}", tmp_path)}
    both = {unit.address for unit in units("{heads: [kept, named], named: [L2H0]}", tmp_path)}
    assert {address for address in alone if address.startswith(("headsets", "comparison", "scores"))} <= both
    (config,) = [unit.config for unit in units("{heads: [kept]}", tmp_path) if unit.kind == "headsets"]
    assert "named" not in config.model_dump()


@pytest.mark.parametrize(
    ("ablate", "message"),
    [
        ("{heads: named}", "named lists no head; list heads there, such as named: .L3H5."),
        ("{heads: kept, named: L3H5}", "named lists heads that nothing removes; add named to heads"),
        ("{heads: named, named: [head5]}", "head 'head5' is not a head's name; write it as L3H5"),
    ],
)
def test_names_that_cannot_be_meant_are_refused(ablate: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        units(ablate, tmp_path)


def config(*named: str) -> HeadSetsConfig:
    """Return the settings of a set of these heads, of which at most one were taken if they had been found."""
    return HeadSetsConfig(variant="sft", group="named", named=named, at_most=1, controls=5, seed=0)


def test_all_named_heads_are_removed_next_to_sets_of_their_layers(tmp_path: Path) -> None:
    graph = Graph(4, 8)
    edges = np.where(graph.real, 1.0, 0.0).astype(np.float32)
    pair_heads = np.random.default_rng(0).lognormal(size=(3, 4, 8)).astype(np.float32)
    EdgeScores(graph, edges, edges, pair_heads, None, 0.0, 0.0, pair_net=pair_heads).save(tmp_path / "base")
    inputs = Inputs({"base": tmp_path / "base"}, tmp_path)
    result = compute_head_sets(config("L1H1", "L2H0"), inputs, SILENT)
    assert isinstance(result, ControlledHeads)
    assert result.heads == HeadSet.of(["L1H1", "L2H0"])
    assert all(control.layer_profile() == {1: 1, 2: 1} for control in result.controls)
    with pytest.raises(InputError, match=r"head L4H0 does not exist: the model has layers 0-3 and heads 0-7"):
        compute_head_sets(config("L4H0"), inputs, SILENT)
