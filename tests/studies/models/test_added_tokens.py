"""Studies of a base and a variant that was given a token: a vocabulary with one entry more at its end."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.studies.bench import Bench
from transformers import AutoModelForCausalLM, AutoTokenizer

from headscope.errors import InputError
from headscope.interventions import Text, teacher_force
from headscope.models import load_model
from headscope.pairs import Pairs
from headscope.progress import SILENT
from headscope.results.edges import EdgeScores
from headscope.results.forced_losses import ForcedLosses
from headscope.runs import Inputs, RunDirectory
from headscope.studies.ablation import evidence, forced
from headscope.studies.ablation.ablated import Ablations
from headscope.studies.models.study_stages import origin_stage
from headscope.studies.reading import read_study

TOKEN, ID = "<plan>", 79


def grow(folder: Path, *, likely: float = 1.0, rows: int = 80) -> Path:
    """Add the token to a model's tokenizer and embedding, as SFT on texts with it does; ``likely`` scales its row."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([TOKEN], special_tokens=True)
    tokenizer.save_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(3)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data += torch.randn_like(parameter) * 0.05
    model.resize_token_embeddings(rows, mean_resizing=False)
    model.get_output_embeddings().weight.data[ID:] *= likely
    model.save_pretrained(folder)
    assert tokenizer.convert_tokens_to_ids(TOKEN) == ID
    return folder


@pytest.mark.parametrize("larger", ["variant", pytest.param("base", marks=pytest.mark.slow)])
def test_a_whole_study_runs_over_the_common_vocabulary(bench: Bench, larger: str) -> None:
    other = grow(bench.model(), likely=4.0)
    models = {"variants.a.model": bench.base, "base.model": other} if larger == "base" else {"variants.a.model": other}
    settings = [f"{key}={value}" for key, value in models.items()]
    settings += ["discover.crossed=true", "discover.positions=disagreement", "discover.opening_tokens=3"]
    assert bench.call("validate --resolve", *settings)[0] == 0
    code, said = bench.call("run", *settings)
    assert code == 0, said
    run = RunDirectory.open(bench.out)
    sets = [Pairs.load(record.folder) for record in (*run.find("pairs"), *run.find("exchanged"))]
    assert len(sets) == 3  # main, fresh and exchanged
    assert {pairs.vocabulary for pairs in sets} == {79}
    assert all(max(map(np.max, (*pairs.clean, *pairs.corrupt))) < 79 for pairs in sets)
    assert sum(pairs.dropped.get("token that one model lacks", 0) for pairs in sets) > 0
    scores = [EdgeScores.load(record.folder) for record in run.find("scores")]
    assert {found.settings["vocabulary"] for found in scores} == {79}
    assert run.find("crossed")
    assert run.find("comparison")


def test_a_padded_embedding_is_no_other_vocabulary(bench: Bench) -> None:
    model = AutoModelForCausalLM.from_pretrained(bench.model())
    model.resize_token_embeddings(96, mean_resizing=False)
    model.save_pretrained(bench.folder / "other")
    code, said = bench.call("discover", f"variants.a.model={bench.folder}/other")
    assert code == 0, said


def test_prompts_that_hold_the_token_are_refused_by_its_name(bench: Bench) -> None:
    folder = grow(bench.model())
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + TOKEN)
    said = bench.refused("discover", f"variants.a.model={folder}", start="failed: pairs a main and 1 more: ")
    assert f"pairs hold a token that only one of the two models has, such as '{TOKEN}' (id {ID})" in said


def shift(vocabulary: dict[str, int], added: list[dict[str, Any]]) -> None:
    """The new token stands before the last, not after it."""
    last = max(vocabulary, key=lambda token: vocabulary[token])
    vocabulary[TOKEN], vocabulary[last] = vocabulary[last], vocabulary[last] + 1


def append(vocabulary: dict[str, int], added: list[dict[str, Any]]) -> None:
    vocabulary[TOKEN] = ID


@pytest.mark.parametrize(("change", "fine"), [(append, True), (shift, False)])
def test_further_tokens_come_at_the_end(bench: Bench, change: Callable[..., None], fine: bool) -> None:
    folder = grow(bench.model())
    path = folder / "tokenizer.json"
    content = json.loads((bench.base / "tokenizer.json").read_text())
    change(content["model"]["vocab"], content["added_tokens"])
    path.write_text(json.dumps(content))
    if fine:
        assert bench.call("validate --resolve", f"variants.a.model={folder}") == (0, "")
    else:
        said = bench.refused("validate --resolve", f"variants.a.model={folder}")
        assert "variant a has another vocabulary than base: token" in said


def test_texts_that_the_base_cannot_read_are_left_out_of_its_losses(bench: Bench) -> None:
    study = read_study(str(bench.study))
    stage, task = origin_stage(study), study.tasks[0]
    ablations = Ablations(study, stage, stage, task)
    config = forced.ForcedConfig(
        post=stage.source,
        base=stage.source,
        task=ablations.task,
        guard=None,
        operator="zero",
        texts=3,
        reference_texts=1,
        doses=(),
        importance_controls=False,
        seed=0,
    )
    texts = [Text((1, 2), (3,)), Text((1, 2), (ID,)), Text((1, 4), (5,))]
    edits = np.ones((2, 2, 4), dtype=np.float32)
    edits[1, 0, 0] = 0
    inputs = Inputs({}, bench.out)
    some = forced._force_base(config, config.base, inputs, texts, edits, SILENT)
    readable = forced._force_base(config, config.base, inputs, texts[::2], edits, SILENT)
    assert some["base_read"].tolist() == [0, 2]
    assert "base_read" not in readable
    np.testing.assert_allclose(some["base_nll"], readable["base_nll"])
    assert set(forced._force_base(config, config.base, inputs, texts[1:2], edits, SILENT)) == {"base_read"}


def test_training_is_judged_on_the_texts_that_both_read() -> None:
    nll = np.array([[0.0, 0, 0], [1, 9, 3]])
    no_sets = dict.fromkeys(("controls", "matched", "controls_available", "matched_available"), 0)
    losses = ForcedLosses(nll=nll, accuracy=nll, problems=3, **no_sets, base_read=np.array([0, 2]))
    estimate = evidence._training_effect(replace(losses, base_nll=np.array([[0.0, 0], [0.5, 1]])), seed=0)
    assert estimate is not None
    assert estimate.value == pytest.approx(((1 - 0.5) + (3 - 1)) / 2)
    assert evidence._training_effect(replace(losses, base_read=np.array([], dtype=np.int64)), seed=0) is None


def test_teacher_forcing_names_a_token_that_the_model_lacks(bench: Bench) -> None:
    with pytest.raises(InputError, match=r"texts hold token id 79; the model's vocabulary allows 0-78"):
        teacher_force(load_model(bench.base), [Text((1,), (ID,))], np.ones((1, 2, 4), dtype=np.float32))
