"""A base that the study trains first: variants begin from it and are compared with it."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from headscope.errors import InputError
from headscope.results.samples import Samples
from headscope.runs import RunDirectory
from headscope.runs.recipes import BASE
from headscope.studies.plan import plan
from headscope.studies.reading import read_study
from headscope.studies.run import run_study
from headscope.studies.study_file.study import Study
from headscope.training import list_checkpoints

STUDY = """
name: two-stages
base:
  model: {base}
  train: {{preset: lab-sft, dataset: lab-traces-64, max_steps: 3, save_every: 3, batch_size: 16, learning_rate: 1.0e-2}}
variants:
  - name: grpo
    train: {{preset: lab-grpo, dataset: lab-train, max_steps: 1, save_every: 1, prompts_per_step: 4, samples: 4,
             max_completion_length: 12}}
    twins: [lr0]
tasks: [lab-t1]
discover: {{tasks: [lab-train], pairs: 8, opening_tokens: 3, nodes: 4, resamples: 50}}
ablate: {{heads: [kept], problems: 6, samples: 1, controls: 3}}
eval: {{problems: 10, samples: 4, k: [1], temperature: 1.0, top_p: 1.0, max_new_tokens: 12}}
"""


pytestmark = pytest.mark.xdist_group("trained-base")  # one worker makes the run that its tests share


@pytest.fixture(scope="module")
def study(toy_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    path = tmp_path_factory.mktemp("study") / "two.yaml"
    path.write_text(STUDY.format(base=toy_base))
    return read_study(str(path))


@pytest.fixture(scope="module")
def run(study: Study, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    run, outcome = run_study(study, tmp_path_factory.mktemp("run"))
    assert outcome.failed == {}
    return run


def _weights(run: RunDirectory, variant: str, index: int) -> dict[str, np.ndarray]:
    (record,) = run.find("train", variant=variant)
    return load_file(list_checkpoints(record.folder)[index].path / "model.safetensors")


def test_variants_begin_where_the_bases_training_ended(run: RunDirectory, toy_base: Path) -> None:
    made, begun = _weights(run, BASE, -1), _weights(run, "grpo", 0)
    assert made.keys() == begun.keys()
    assert all(np.array_equal(made[name], begun[name]) for name in made)
    original = load_file(toy_base / "model.safetensors")
    assert any(not np.array_equal(made[name], original[name]) for name in made)


def test_the_base_that_answers_is_the_trained_one(run: RunDirectory) -> None:
    """A twin at rate 0 has the trained base's weights, so that it draws the same answers with the same seeds."""
    (base,), (twin,) = run.results(Samples, "samples", variant=BASE), run.results(Samples, variant="grpo.lr0")
    assert list(base.whole.table.response) == list(twin.whole.table.response)


def test_a_change_of_the_bases_training_changes_all_that_follows(study: Study, toy_base: Path, tmp_path: Path) -> None:
    assert study.base.train is not None
    longer = study.base.model_copy(update={"train": study.base.train.model_copy(update={"max_steps": 4})})
    directory = RunDirectory(tmp_path)
    before = {unit.address for unit in plan(study, directory)}
    after = {unit.address for unit in plan(study.model_copy(update={"base": longer}), directory)}
    assert before & after == set()


def test_the_page_says_what_the_base_is(run: RunDirectory) -> None:
    titles = json.loads((run.path / "study.lock.json").read_text())["provenance"]["models"]
    assert titles["base"].endswith("after sft")


def test_an_adapter_cannot_be_the_base(toy_base: Path, tmp_path: Path) -> None:
    path = tmp_path / "lora.yaml"
    path.write_text(STUDY.format(base=toy_base).replace("max_steps: 3", "max_steps: 3, lora_rank: 4"))
    with pytest.raises(InputError, match=r"trained as an adapter \(lora_rank\), and variants begin from whole models"):
        read_study(str(path))


def test_a_variant_cannot_teach_its_own_base(toy_base: Path, tmp_path: Path) -> None:
    path = tmp_path / "teacher.yaml"
    distilled = "{preset: lab-distill, dataset: lab-train, teacher: grpo}"
    lines = STUDY.format(base=toy_base).split("\n")
    lines = [f"  train: {distilled}" if "lab-sft" in line else line for line in lines]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match="variant grpo teaches the base it begins from"):
        read_study(str(path))
