"""Files that change while a process lives: a notebook trains again into one folder, a training still writes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tests.studies.bench import ROW, Bench

from headscope.errors import InputError
from headscope.evaluation import TaskFile
from headscope.models import load_model
from headscope.runs import Inputs, RunDirectory
from headscope.studies.answers.evaluate import load_for_engine
from headscope.studies.data.sources import TaskSource
from headscope.studies.models.stages import Stage
from headscope.studies.models.study_stages import checkpoint_stages, origin_stage
from headscope.studies.models.subjects import load
from headscope.studies.plan import trainings_by_name
from headscope.studies.reading import read_study

_NOTHING = Inputs({}, Path())


def _stage(bench: Bench, **base: str) -> Stage:
    study = read_study(str(bench.study))
    return origin_stage(study.model_copy(update={"base": study.base.model_copy(update=base)}))


def _double_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    save_file({name: 2 * weight for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})


def test_a_rewritten_folder_is_loaded_again(bench: Bench) -> None:
    folder = bench.model()
    before = load(_stage(bench, model=str(folder))).model.get_input_embeddings().weight
    _double_weights(folder)
    after = load(_stage(bench, model=str(folder))).model.get_input_embeddings().weight
    assert torch.equal(after, 2 * before)


def test_weights_that_changed_since_the_plan_are_named(bench: Bench) -> None:
    folder = bench.model()
    planned = _stage(bench, model=str(folder))
    planned.check_weights_unchanged()
    (folder / "results_gsm8k.json").write_text("{}")
    (folder / "log.log").write_text("not the model")
    planned.check_weights_unchanged()
    _double_weights(folder)
    for ask in (load, lambda stage: load_for_engine(stage, "vllm")):
        with pytest.raises(InputError, match=rf"model .*{folder.name} changed after the study was planned"):
            ask(planned)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="changed after the study was planned"):
        load(planned)


def test_an_adapter_on_a_rewritten_base_is_loaded_again_and_named(bench: Bench) -> None:
    base, adapter = bench.model("base-of-adapter"), bench.folder / "adapter"
    subject = load_model(str(base))
    get_peft_model(subject.model, LoraConfig(target_modules=["q_proj"])).save_pretrained(adapter)
    planned = _stage(bench, model=str(adapter), tokenizer=str(base))
    before = load(planned).model.get_input_embeddings().weight
    _double_weights(base)
    with pytest.raises(InputError, match=r"model .*adapter changed after the study was planned"):
        load(planned)
    after = load(_stage(bench, model=str(adapter), tokenizer=str(base))).model.get_input_embeddings().weight
    assert torch.equal(after, 2 * before)


def test_the_base_of_an_adapter_that_the_run_trains_is_named(bench: Bench) -> None:
    base = bench.model("base-of-adapter")
    settings = (
        f'base={{model: "{base}"}}',
        "variants=[{name: a, train: {method: sft, dataset: lab-traces-64, max_steps: 2, save_every: 2, lora_rank: 2}}]",
    )
    code, said = bench.call("eval", *settings)
    assert code == 0, said
    run = RunDirectory.open(bench.out)
    study = read_study(str(bench.study), list(settings))
    training = trainings_by_name(study)["a"]
    *_, stage = checkpoint_stages(study, study.variants[0], run, training)
    inputs = Inputs({"train a": run.folder(training)}, bench.folder)
    planned = stage.source.stage(inputs)
    load(planned)
    _double_weights(base)
    with pytest.raises(InputError, match=r"model .*base-of-adapter changed after the study was planned"):
        load(planned)


def test_a_checkpoint_trained_again_into_one_place_is_loaded_again(bench: Bench) -> None:
    trained = replace(_stage(bench, model=str(bench.model())), digest="")  # as of a training of the run's own
    before = load(trained).model.get_input_embeddings().weight
    _double_weights(Path(trained.folder))
    assert torch.equal(load(trained).model.get_input_embeddings().weight, 2 * before)


def test_a_borrowed_tokenizer_and_a_template_that_changed_are_named(bench: Bench) -> None:
    lender, template = bench.model("lender"), bench.file("template.jinja", "{{ messages[0].content }}")
    source = _stage(bench, tokenizer=str(lender), chat_template=str(template)).source
    source.stage(_NOTHING)
    template.write_text("{{ messages[-1].content }}")
    with pytest.raises(InputError, match=r"chat template .*template.jinja changed after"):
        source.stage(_NOTHING)
    (lender / "tokenizer_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer .*lender changed after"):
        source.stage(_NOTHING)


def test_a_benchmark_file_that_was_rewritten_is_read_again(bench: Bench) -> None:
    for answer in ("5", "6"):
        bench.file("gsm8k_test.jsonl", json.dumps({"question": "How many?", "answer": f"#### {answer}"}))
        assert TaskSource.from_ref("gsm8k", str(bench.folder)).task().problems[0].answer == answer


def test_a_task_file_that_was_rewritten_is_read_again(bench: Bench) -> None:
    ref = TaskFile(file=str(bench.file("own.jsonl", ROW)), kind="exact")
    planned = TaskSource.from_ref(ref, None)
    assert planned.task().problems[0].answer == "5"
    bench.file("own.jsonl", ROW.replace('"answer": "5"', '"answer": "6"'))
    again = TaskSource.from_ref(ref, None)
    assert again.task().problems[0].answer == "6"
    assert again.digest != planned.digest
    with pytest.raises(InputError, match="the problems of task own have changed since the study was planned"):
        planned.task()


def test_code_that_comes_with_a_model_is_part_of_it(bench: Bench) -> None:
    folder = bench.model()
    code = folder / "modeling_own.py"
    code.write_text("SCALE = 1")
    planned = _stage(bench, model=str(folder))
    planned.check_weights_unchanged()
    code.write_text("SCALE = 2")
    with pytest.raises(InputError, match="changed after the study was planned"):
        planned.check_weights_unchanged()
