"""Models that cannot be read, used or compared: exit code 2, one sentence that names the thing, nothing lost."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.studies.bench import Bench
from transformers import AutoModelForCausalLM

from headscope.errors import InputError
from headscope.runs import RunDirectory
from headscope.studies.stages import Stage
from headscope.studies.study import ModelConfig
from headscope.studies.subjects import check_loaded


def weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


def config(**changes: int) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return apply


def swapped_tokens(folder: Path) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["0"], vocabulary["1"] = vocabulary["1"], vocabulary["0"]
    path.write_text(json.dumps(content))


def grown(folder: Path) -> None:
    """One more token than the base."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(80)
    model.save_pretrained(folder)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink(missing_ok=True) for name in names][:0]  # type: ignore[return-value]


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


# What is wrong with a model's folder is said before anything runs.
FOLDERS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "layers": (config(num_hidden_layers=3), ("variant a has 3 layers and base has 2",)),
    "heads": (config(num_attention_heads=8), ("variant a has 8 heads and base has 4",)),
    "vocabulary size": (config(vocab_size=99), ("variant a has 99 vocabulary entries and base has",)),
    "vocabulary": (swapped_tokens, ("variant a has another vocabulary than base: token '0' is",)),
    "pickle": (pickled, ("only pytorch_model.bin", "safetensors are needed", "python -c")),
    "no weights": (without("model.safetensors"), ("other has no weights; safetensors are needed",)),
    "half-written": (cut, ("half-written: model.safetensors",)),
    "garbage": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\2" + bytes(90)) and None,
        ("half-written",),
    ),
    "no config": (without("config.json"), ("other holds no model: config.json is missing",)),
    "broken config": (
        lambda folder: (folder / "config.json").write_text("{") and None,
        ("config.json is not whole JSON",),
    ),
    "config no object": (lambda folder: (folder / "config.json").write_text("[]") and None, ("holds a list",)),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_model_folder_that_cannot_be_compared(bench: Bench, case: str) -> None:
    spoil, words = FOLDERS[case]
    spoil(bench.model())
    said = bench.refused("run", f"variants.a.model={bench.folder}/other")
    assert all(word in said for word in words), said
    assert not bench.out.exists()


@pytest.mark.parametrize("spoil", [pickled, without("config.json")])
def test_a_base_that_cannot_be_read_is_refused_as_a_variant_is(bench: Bench, spoil: Callable[[Path], None]) -> None:
    spoil(bench.model())
    said = bench.refused("eval", f"base.model={bench.folder}/other", "variants=[]")
    assert "other" in said


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (grown, "variant a has 80 vocabulary entries and base has 79"),
        (swapped_tokens, "token '0' is 48 in it and 47 in base"),
    ],
)
def test_models_from_the_hub_are_compared_once_loaded(bench: Bench, spoil: Callable[[Path], None], words: str) -> None:
    spoil(bench.model())
    base, final = (
        Stage(name, 0, str(folder), ModelConfig(model=str(folder)))
        for name, folder in (("base", bench.base), ("a", bench.folder / "other"))
    )
    check_loaded(base, base)
    with pytest.raises(InputError, match=words):
        check_loaded(base, final)


def test_added_tokens_are_free_to_differ(bench: Bench) -> None:
    path = bench.model() / "tokenizer.json"
    content = json.loads(path.read_text())
    content["added_tokens"] = content["added_tokens"][:-1]
    path.write_text(json.dumps(content))
    assert bench.call("discover", f"variants.a.model={bench.folder}/other")[0] == 0


def poisoned(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")


def headless(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["model.layers.1.self_attn.o_proj.weight"]


def overflowing(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"][:] = 3e38


# What only loading or rendering shows fails the units concerned, with one sentence for all of them.
LOADED: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "nan weights": (weights(poisoned), ("1 NaN or infinite weights in model.layers.1.mlp.down_proj.weight", "finite")),
    "missing weights": (weights(headless), ("lacks 1 of its weights", "model.layers.1.self_attn.o_proj.weight")),
    "nan logits": (weights(overflowing), ("not finite",)),
    "no chat template": (without("chat_template.jinja"), ("other has no chat template", "chat_template set")),
}


@pytest.mark.parametrize("case", LOADED)
def test_a_model_that_cannot_be_used_leaves_finished_units_done(bench: Bench, case: str) -> None:
    spoil, words = LOADED[case]
    spoil(bench.model())
    assert bench.call("eval", "variants=[]")[0] == 0
    (before,) = RunDirectory.open(bench.out).find("samples")
    stamp = (before.folder / "DONE").stat().st_mtime_ns
    said = bench.refused("eval", f"variants.a.model={bench.folder}/other", start="failed: samples a")
    assert all(word in said for word in words), said
    (after,) = RunDirectory.open(bench.out).find("samples")
    assert (after.folder, (after.folder / "DONE").stat().st_mtime_ns) == (before.folder, stamp)


def test_a_variant_without_tokenizer_files_borrows_the_bases(bench: Bench) -> None:
    without("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")(bench.model())
    assert bench.call("eval", f"variants.a.model={bench.folder}/other")[0] == 0
    base, variant = RunDirectory.open(bench.out).find("samples")
    assert base.folder != variant.folder
    assert (base.folder / "samples.parquet").exists()


def test_a_model_without_any_tokenizer_is_refused(bench: Bench) -> None:
    without("tokenizer.json", "tokenizer_config.json")(bench.model())
    said = bench.refused("eval", f"base.model={bench.folder}/other", "variants=[]", start="failed: samples base")
    assert "other has no tokenizer files" in said


def test_units_that_fail_for_one_reason_are_told_in_one_sentence(bench: Bench) -> None:
    said = bench.refused("discover", "variants.a.model=nobody/nothing", start="failed: pairs a main and 1 more: ")
    assert "model nobody/nothing cannot be loaded" in said


def test_nan_scores_are_refused_by_the_comparison_and_the_other_units_stay(bench: Bench) -> None:
    assert bench.call("discover")[0] == 0
    records = RunDirectory.open(bench.out).find("scores")
    broken = records[0].folder
    name = next(path for path in broken.glob("*.safetensors"))
    tensors = load_file(name)
    tensors["edges"].view(-1)[0] = float("nan")
    save_file(tensors, name)
    said = bench.refused("compare", start="failed: comparison a: ")
    assert "edge scores are not finite" in said
    assert all((record.folder / "DONE").exists() for record in records)
