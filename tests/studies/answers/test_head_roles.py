"""Roles of heads in a study: which answers are read, and that shares are those of the models' own attention."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headscope.circuits import attention_rows
from headscope.errors import InputError
from headscope.heads import HeadId, HeadSet
from headscope.interventions import Text
from headscope.lab.chains import draw_items, thinking_turn
from headscope.lab.labels import symbols
from headscope.measures.attention_shares import Targets
from headscope.models import load_model
from headscope.progress import SILENT
from headscope.results.head_roles import HeadRoles
from headscope.results.not_run import NotRun
from headscope.results.samples import Samples
from headscope.runs import Inputs, RunDirectory
from headscope.studies.answers.head_roles import HEAD_ROLES, Answer, HeadRolesConfig, find_targets, roles_in_answers
from headscope.studies.plan import plan
from headscope.studies.reading import read_study
from headscope.traces.attention_targets import ATTENTION_ROLES


def cells_by_role(targets: Mapping[str, Targets], pieces: list[str]) -> dict[str, set[str]]:
    """By role, ``row>target`` for every target: the token that was written last, and the one that is read."""
    return {
        role: {f"{pieces[row]}>{pieces[key]}" for row, key in np.argwhere(of_role.cells)}
        for role, of_role in targets.items()
    }


def read_cells(
    answer: list[str], prompt: list[str], problem: str, reader: Any, longest: int = 99
) -> dict[str, set[str]]:
    """The cells of an answer whose tokens are these pieces of text."""
    ends, pieces = np.cumsum([len(piece) for piece in answer]), prompt + answer
    numbers = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    ids = tuple(numbers[piece] for piece in pieces)
    text = Text(ids[: len(prompt)], ids[len(prompt) :])
    return cells_by_role(
        find_targets(Answer("".join(answer), problem, text, ends, "math"), reader, longest).targets, pieces
    )


def test_targets_of_running_text_are_the_tokens_of_what_is_read() -> None:
    thought = ["<think>", "First ", "30 ", "+ ", "4", "0 ", "= ", "7", "0", ". "]
    check = ["Let ", "me ", "check: ", "7", "0 - ", "30 ", "= ", "40", ".", "\n", "</", "think", ">"]
    answer = [*thought, *check, "It ", "is ", "70", "."]
    found = read_cells(answer, ["add", "?"], "add?", "text")
    # 70, written in two tokens, is carried on by the check; the rows that write them ask for both.
    assert found["iteration"] == {"check: >7", "check: >0", "7>7", "7>0"}
    assert found["closer"] == {"It >>", "is >>", "70>>"}
    assert {cell.split(">")[0] for cell in found["verification"]} >= {". ", "Let ", "me "}
    assert "me >First " in found["verification"]
    assert not any(cell.startswith("It ") for cell in found["verification"])
    assert "closer" not in read_cells(answer, ["add", "?"], "add?", "text", longest=20)
    assert "iteration" not in read_cells(answer, ["add ", "70"], "add 70", "text")  # 70 may be the problem's
    cut = read_cells(answer, ["add", "?"], "add?", "text", longest=14)
    assert "iteration" not in cut
    assert all("check" not in cell for cell in cut["previous token"])


def test_targets_of_a_lab_answer_are_the_values_that_are_carried_on_and_what_is_checked() -> None:
    prompt = "c=4;j=c*4;m=j+1;?m"
    answer = symbols("<think>m=j+1;j=c*4;c=4;j=4*4=6;wait j=4*4=6;m=6+1=7;</think><ans>7")
    context = ["<s>", "user", *symbols(prompt), "<e>", "<s>", "assistant"]
    labelled = [f"{number}:{symbol}" for number, symbol in enumerate(answer)]
    pieces = [*context, *labelled]
    ids = tuple(range(len(pieces)))
    text = Text(ids[: len(context)], ids[len(context) :])
    ends = np.cumsum([len(symbol) + 1 for symbol in answer])
    found = cells_by_role(
        find_targets(Answer(" ".join(answer), prompt, text, ends, "exact"), "lab", 99).targets, pieces
    )
    leaf, fold, again = answer.index("4", 13), 23, 32
    signs = [number for number, symbol in enumerate(answer) if symbol == "="]
    assert [answer[place] for place in (leaf, fold, again)] == ["4", "6", "6"]
    carried = [(signs[3], leaf), (signs[5], leaf), (signs[7], again)]
    assert found["iteration"] == {f"{labelled[row]}>{labelled[key]}" for row, key in carried}
    # The re-check's tokens are written from the semicolon before it on; a row does not read itself.
    checked = {f"{labelled[row]}>{labelled[key]}" for row in range(24, 33) for key in range(17, 25) if key < row}
    assert found["verification"] == checked
    assert found["closer"] == {f"{labelled[43]}>{labelled[42]}"}


@pytest.fixture
def roles(toy_run: Path) -> HeadRoles:
    (unit,) = RunDirectory.open(toy_run).results(HeadRoles, variant="sft")
    return unit.whole


def _inputs(toy_run: Path, record: Any, out: Path) -> Inputs:
    return Inputs({name: toy_run / "units" / place for name, place in record.unit["inputs"].items()}, out)


def _answers(toy_run: Path, record: Any) -> dict[str, Any]:
    """The first answer to each problem, a right one if there is one, by problem."""
    samples = Samples.load(toy_run / "units" / record.unit["inputs"]["samples"])
    rows = samples.table.assign(wrong=samples.table["verdict"] != "correct").sort_values(["wrong"], kind="stable")
    # A random model also writes tokens that are no symbol of the lab, such as the padding's.
    first = rows.drop_duplicates("problem").to_dict("records")
    return {row["problem"]: row for row in first if len(symbols(row["response"])) == len(row["token_ids"]) > 0}


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
            expected.append(attention_rows(subject, text, heads)[:, len(prompt) - 1 : -1, 0].mean(axis=1))
        np.testing.assert_allclose(shares.share[place].ravel(), np.mean(expected, axis=0), rtol=1e-5)
    np.testing.assert_allclose(roles.change, roles.post.share - roles.base.share, atol=1e-12)
    assert roles.texts[place] == len(answers)


def test_a_prompt_that_fills_the_window_is_left_out_and_longer_answers_are_cut(toy_run: Path, tmp_path: Path) -> None:
    (record,) = RunDirectory.open(toy_run).find("head_roles", variant="sft")
    inputs, whole = _inputs(toy_run, record, tmp_path), HeadRolesConfig.model_validate(record.unit["config"])
    nothing = HEAD_ROLES.compute(whole.model_copy(update={"tokens": 5}), inputs, SILENT)
    assert isinstance(nothing, NotRun)
    assert nothing.reason == (
        "sft gave no answer to lab-t1 that both models can read: its prompt must have fewer than 5 tokens, all its "
        "tokens must be in both vocabularies and decode piece by piece"
    )
    results = []
    for tokens in (99, 37):
        result = HEAD_ROLES.compute(whole.model_copy(update={"tokens": tokens, "texts": 2}), inputs, SILENT)
        assert isinstance(result, HeadRoles)
        results.append((result.answers, result.cut > 0))
    assert results == [(2, False), (2, True)]


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


def test_answers_of_ones_own_are_read_without_a_study() -> None:
    subject = load_model("lab-m")
    items = draw_items("T2", "test", 12, seed=0)
    questions, responses = [item.prompt for item in items], [thinking_turn(item) for item in items]
    shares = roles_in_answers(subject, questions, responses)
    heads = {role: HeadSet.from_grid(grid) for role, grid in zip(ATTENTION_ROLES, shares.labelled, strict=True)}
    assert {"L1H1", "L3H3"} <= set(heads["iteration"].names())
    assert heads["retrieval"].names() == ["L1H0", "L3H3"]
    assert len(heads["verification"]) == 0  # no answer checks a step
    assert not shares.tested[ATTENTION_ROLES.index("verification")]
    for wrong in ((questions, responses[1:]), ([], []), (questions[:1], [""])):
        with pytest.raises(InputError, match=r"give one of each|no tokens that can be placed"):
            roles_in_answers(subject, *wrong)


def an_answer(steps: int) -> Answer:
    """Steps of running text, a token per character."""
    response = "".join(f"Then {number} + 1 = {number + 1}. " for number in range(10, 10 + steps))
    text = Text((1, 2), (3,) * len(response))
    return Answer(response, "?", text, np.arange(1, len(response) + 1), "math")


def test_answers_of_twelve_steps_ask_who_receives() -> None:
    assert find_targets(an_answer(11), "text", 999).steps is None
    answer = an_answer(14)
    found = find_targets(answer, "text", 999)
    assert found.steps is not None
    start, stop = found.steps.keys[1] - len(answer.text.prompt)
    assert answer.response[start:stop].strip() == "Then 11 + 1 = 12."
    assert found.steps.rows.tolist() == (found.steps.keys - 1).tolist()
    assert found.rows["receiver"] == sum(stop - start for start, stop in found.steps.rows[4:])
    assert find_targets(answer, "text", 150).steps is None  # cut after eight of them


def test_a_model_is_asked_who_receives_in_long_answers() -> None:
    responses = ["".join(f"j={number}; " for number in range(first, first + 14)) for first in range(10)]
    shares = roles_in_answers(load_model("lab-m"), ["c=4;j=c*4;?j"] * 10, responses)
    place = ATTENTION_ROLES.index("receiver")
    assert shares.tested[place] == bool(np.isfinite(shares.q_value[place]).all())
