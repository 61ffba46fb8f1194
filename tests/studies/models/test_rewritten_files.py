"""Files that change while a process lives: a notebook trains anew into one folder, a training still writes."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.studies.bench import ROW, Bench

from headscope.errors import InputError
from headscope.evaluation import TaskFile
from headscope.runs import Inputs
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import Stage, origin_stage
from headscope.studies.models.subjects import load
from headscope.studies.reading import read_study

_NOTHING = Inputs({}, Path())


def _stage(bench: Bench, **base: str) -> Stage:
    study = read_study(str(bench.study))
    return origin_stage(study.model_copy(update={"base": study.base.model_copy(update=base)}))


def _double_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    save_file({name: 2 * weight for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})


def test_a_folder_written_anew_is_loaded_anew(bench: Bench) -> None:
    folder = bench.model()
    before = load(_stage(bench, model=str(folder))).model.get_input_embeddings().weight
    _double_weights(folder)
    after = load(_stage(bench, model=str(folder))).model.get_input_embeddings().weight
    assert torch.equal(after, 2 * before)


def test_weights_that_changed_since_the_plan_are_named(bench: Bench) -> None:
    folder = bench.model()
    source = _stage(bench, model=str(folder)).source
    assert source.stage(_NOTHING).folder == str(folder)
    _double_weights(folder)
    with pytest.raises(InputError, match=rf"files of model .*{folder.name} have changed since the study was planned"):
        source.stage(_NOTHING)


def test_a_borrowed_tokenizer_and_a_template_that_changed_are_named(bench: Bench) -> None:
    lender, template = bench.model("lender"), bench.file("template.jinja", "{{ messages[0].content }}")
    source = _stage(bench, tokenizer=str(lender), chat_template=str(template)).source
    source.stage(_NOTHING)
    template.write_text("{{ messages[-1].content }}")
    with pytest.raises(InputError, match=r"chat template .*template.jinja have changed"):
        source.stage(_NOTHING)
    (lender / "tokenizer_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"files of tokenizer .*lender have changed"):
        source.stage(_NOTHING)


def test_a_task_file_written_anew_is_read_anew(bench: Bench) -> None:
    ref = TaskFile(file=str(bench.file("own.jsonl", ROW)), kind="exact")
    planned = TaskSource.from_ref(ref, None)
    assert planned.task().problems[0].answer == "5"
    bench.file("own.jsonl", ROW.replace('"answer": "5"', '"answer": "6"'))
    again = TaskSource.from_ref(ref, None)
    assert again.task().problems[0].answer == "6"
    assert again.digest != planned.digest
    with pytest.raises(InputError, match="the problems of task own have changed since the study was planned"):
        planned.task()
