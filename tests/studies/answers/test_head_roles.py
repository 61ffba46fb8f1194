"""Roles of heads in a study: which answers are read, and that shares are those of the models' own attention."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headscope.circuits import attention_rows
from headscope.errors import InputError
from headscope.heads import HeadId
from headscope.models import load_model
from headscope.progress import SILENT
from headscope.results.head_roles import HeadRoles
from headscope.results.not_run import NotRun
from headscope.results.samples import Samples
from headscope.runs import Inputs, RunDirectory
from headscope.studies.answers.head_roles import HEAD_ROLES, HeadRolesConfig
from headscope.studies.plan import plan
from headscope.studies.reading import read_study


@pytest.fixture
def roles(toy_run: Path) -> HeadRoles:
    (unit,) = RunDirectory.open(toy_run).results(HeadRoles, variant="sft")
    return unit.whole


def _inputs(toy_run: Path, record: Any, out: Path) -> Inputs:
    return Inputs({role: toy_run / "units" / place for role, place in record.unit["inputs"].items()}, out)


def _answers(toy_run: Path, record: Any) -> dict[str, Any]:
    """The first answer to each problem, a right one if there is one, by problem."""
    samples = Samples.load(toy_run / "units" / record.unit["inputs"]["samples"])
    rows = samples.table.assign(wrong=samples.table["verdict"] != "correct").sort_values(["wrong"], kind="stable")
    return {row["problem"]: row for row in rows.drop_duplicates("problem").to_dict("records") if len(row["token_ids"])}


def test_shares_are_those_of_both_models_attention_on_the_variants_answers(
    roles: HeadRoles, toy_run: Path, toy_base: Path
) -> None:
    run = RunDirectory.open(toy_run)
    (record,) = run.find("head_roles", variant="sft")
    (train,) = run.find("train", variant="sft")
    answers = _answers(toy_run, record)
    assert (roles.task, roles.reader, roles.answers) == ("lab-t1", "lab", len(answers))
    prompts = HeadRolesConfig.model_validate(record.unit["config"]).task.prompts()
    heads = [HeadId(*place) for place in np.ndindex(roles.base.share.shape[1:])]
    place = roles.roles.index("first token")
    for model, shares in ((toy_base, roles.base), (train.folder / "checkpoint-4", roles.post)):
        subject, expected = load_model(model), []
        for row in answers.values():
            prompt = subject.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompts[row["problem"]]}], add_generation_prompt=True, return_dict=False
            )
            ends = [int(row["end"])] if row["finish"] == "stop" else []
            text = np.array([*prompt, *row["token_ids"], *ends])
            expected.append(attention_rows(subject, text, heads)[:, len(prompt) - 1 :, 0].mean(axis=1))
        np.testing.assert_allclose(shares.share[place].ravel(), np.mean(expected, axis=0), rtol=1e-5)
    np.testing.assert_allclose(roles.change, roles.post.share - roles.base.share, atol=1e-12)
    assert roles.texts[place] == len(answers)


def test_a_prompt_that_fills_the_window_is_left_out_and_longer_answers_are_cut(toy_run: Path, tmp_path: Path) -> None:
    (record,) = RunDirectory.open(toy_run).find("head_roles", variant="sft")
    inputs, whole = _inputs(toy_run, record, tmp_path), HeadRolesConfig.model_validate(record.unit["config"])
    nothing = HEAD_ROLES.compute(whole.model_copy(update={"tokens": 5}), inputs, SILENT)
    assert isinstance(nothing, NotRun)
    assert nothing.reason == (
        "sft gave no answer to lab-t1 that could be read: its prompt must have fewer than 5 tokens, and its tokens "
        "decode piece by piece"
    )
    few = [
        HEAD_ROLES.compute(whole.model_copy(update={"tokens": most, "texts": 2}), inputs, SILENT) for most in (99, 40)
    ]
    assert [(result.answers, result.cut) for result in few if isinstance(result, HeadRoles)] == [(2, 0), (2, 2)]


def test_a_model_that_keeps_its_rows_is_no_failure(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (record,) = RunDirectory.open(toy_run).find("head_roles", variant="grpo")

    def refuse(*_: object) -> None:
        raise InputError("layer 0 of odd does not return its attention rows")

    monkeypatch.setattr("headscope.circuits.visit_attention_rows", refuse)
    config = HeadRolesConfig.model_validate(record.unit["config"])
    result = HEAD_ROLES.compute(config, _inputs(toy_run, record, tmp_path), SILENT)
    assert isinstance(result, NotRun)
    assert result.reason == "layer 0 of odd does not return its attention rows"


@pytest.mark.parametrize(
    ("settings", "tasks"),
    [
        ([], ["lab-t1"]),
        (["tasks=[lab-t2, lab-t1, lab-k]", "ablate.tasks=[lab-t1, lab-k]"], ["lab-t1", "lab-k"]),
        (["tasks=[lab-t2, lab-t1]", "ablate.tasks=[lab-t3]"], ["lab-t2"]),
        (["discover.attention=false"], []),
    ],
)
def test_roles_are_read_in_answers_to_the_tasks_that_heads_are_ablated_on(
    toy_study: Path, tmp_path: Path, settings: list[str], tasks: list[str]
) -> None:
    units = plan(read_study(str(toy_study), settings), RunDirectory(tmp_path))
    found = [unit.labels["task"] for unit in units if unit.kind == "head_roles" and unit.labels["variant"] == "sft"]
    assert found == tasks
