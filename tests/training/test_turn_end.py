"""A base whose template ends turns with ``<end>`` while its tokenizer and configs name another token, as
Qwen2.5-Math's do: what is trained through the template stops there, in every engine.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.training.conftest import build_model, build_tokenizer, prompts, records
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from headscope.evaluation import Sampling, prompt_ids, sample
from headscope.training import DistillConfig, GrpoConfig, SftConfig, TrainingRun, distill, grpo, run_grpo, run_sft

END, NAMED = 1, 2
QUESTION = "a = 7 ; ? a"
TUNING = SftConfig(learning_rate=1e-2, max_steps=30, batch_size=8, save_every=100, schedule="constant")


def misname(folder: Path) -> Path:
    """Name another end than the template's in every file that names one."""
    tokenizer: Any = build_tokenizer()
    tokenizer.add_special_tokens({"eos_token": "<unk>", "additional_special_tokens": ["<end>"]})
    tokenizer.save_pretrained(folder)
    for name in ("config.json", "generation_config.json"):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps(content | {"eos_token_id": NAMED}))
    return folder


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> TrainingRun:
    folder = tmp_path_factory.mktemp("misnamed")
    base = misname(build_model(folder / "base"))
    rows = [{**row, "completion": [{"role": "assistant", "content": "<ans> 7"}]} for row in records()]
    return run_sft(base, rows, TUNING, folder / "run")


def _tokens_after(model: Any, prompt: list[int], **settings: Any) -> list[int]:
    import torch

    written = model.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False, pad_token_id=0, **settings)
    return list(written[0, len(prompt) :].tolist())


def test_checkpoints_stop_where_the_template_ends_a_turn(tuned: TrainingRun) -> None:
    assert all(GenerationConfig.from_pretrained(point.path).eos_token_id == [END, NAMED] for point in tuned.checkpoints)
    model, tokenizer = (kind.from_pretrained(tuned.final) for kind in (AutoModelForCausalLM, AutoTokenizer))
    prompt = prompt_ids(tokenizer, QUESTION)
    assert tokenizer.decode(_tokens_after(model, prompt)) == "<ans> 7 <end>"
    # The token that the base's files name is never written: with it alone every answer is unfinished.
    assert len(_tokens_after(model, prompt, eos_token_id=NAMED)) == 8


def test_samples_stop_there_although_the_files_name_another(tuned: TrainingRun) -> None:
    model, tokenizer = (kind.from_pretrained(tuned.final) for kind in (AutoModelForCausalLM, AutoTokenizer))
    model.generation_config.eos_token_id = NAMED
    (answer,) = sample(model, tokenizer, [prompt_ids(tokenizer, QUESTION)], Sampling(1, 8, 0.0))
    assert (answer.text, answer.finish, answer.end) == ("<ans> 7", "stop", END)
    tokenizer.chat_template = tokenizer.chat_template.replace(" <end>", "")
    (unfinished,) = sample(model, tokenizer, [prompt_ids(tokenizer, QUESTION)], Sampling(1, 8, 0.0))
    assert (unfinished.finish, unfinished.end) == ("length", None)


def test_grpo_ends_its_completions_there(tuned: TrainingRun, tmp_path: Path) -> None:
    folder = misname(Path(shutil.copytree(tuned.final, tmp_path / "again")))

    def fixed(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        return [1.0] * len(completions)

    config = GrpoConfig(
        learning_rate=0, max_steps=1, prompts_per_step=4, samples=4, max_completion_length=8, temperature=0.2
    )
    (entry,) = run_grpo(folder, prompts(), [fixed], config, tmp_path / "run").log
    assert entry.clipped is not None
    assert entry.clipped < 0.2
    assert entry.completion_length < 4  # type: ignore[operator]


def test_trls_vllm_is_told_the_stop_tokens(tmp_path: Path) -> None:
    config = GrpoConfig(vllm=True)
    assert grpo.trl_config(config, tmp_path, (END, NAMED)).generation_kwargs == {"stop_token_ids": [END, NAMED]}
    sampling = distill.trl_config(DistillConfig(vllm=True), tmp_path, (END,)).generation_kwargs
    assert sampling == {"stop_token_ids": [END]}
    assert grpo.trl_config(GrpoConfig(), tmp_path, (END,)).generation_kwargs is None
