"""Models that cannot be read, used or compared: exit code 2, one sentence that names the thing, nothing lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.studies.bench import Bench
from transformers import AutoTokenizer

from headscope.errors import InputError
from headscope.models import load_model
from headscope.runs import RunDirectory
from headscope.studies.models.stages import Stage
from headscope.studies.models.subjects import check_loaded
from headscope.studies.study_file.models import ModelConfig

NORM = "model.layers.0.input_layernorm.weight"


def weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


def config(**changes: Any) -> Callable[[Path], None]:
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


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink(missing_ok=True) for name in names][:0]  # type: ignore[return-value]


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def extra_token(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<think-hard>"])
    tokenizer.save_pretrained(folder)


def placeholder(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens(["<image_soft_token>"])
    tokenizer.save_pretrained(folder)


def padding(folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(folder)


def to_int8(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.0.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"].to(torch.int8)


def unmerged(tensors: dict[str, torch.Tensor]) -> None:
    name = "model.layers.0.self_attn.q_proj"
    tensors[f"{name}.base_layer.weight"] = tensors.pop(f"{name}.weight")
    tensors[f"{name}.lora_A.default.weight"] = torch.zeros(2, 32)


def one_layer_more(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.2.mlp.up_proj.weight"] = torch.zeros(2, 32)


def masks(tensors: dict[str, torch.Tensor]) -> None:
    """What old files hold beside the weights: masks, positions, frequencies, drafting and value heads, towers."""
    tensors["model.layers.0.attention.bias"] = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    tensors["model.embeddings.position_ids"] = torch.arange(8)[None]
    tensors["mtp.layers.7.mlp.up_proj.weight"] = torch.ones(2, 2)
    tensors["v_head.summary.weight"] = torch.ones(1, 32)
    tensors["model.vision_tower.encoder.layers.26.mlp.weight"] = torch.ones(2, 2)


def drafting(folder: Path) -> None:
    """A layer after the last that predicts the token after next, as DeepSeek-V3's."""
    config(num_nextn_predict_layers=1)(folder)
    weights(one_layer_more)(folder)


def pointer(name: str) -> Callable[[Path], None]:
    return file(name, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


def file(name: str, content: str) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        (folder / name).write_text(content)

    return apply


def two_sets(folder: Path) -> None:
    (folder / "one.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    file("model.safetensors.index.json", '{"weight_map": {"a": "one.safetensors"}}')(folder)


# What is wrong with a model's folder is said before anything runs.
FOLDERS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "layers": (config(num_hidden_layers=3), ("variant a has 3 layers and base has 2",)),
    "heads": (config(num_attention_heads=8), ("variant a has 8 heads and base has 4",)),
    "no heads": (config(num_attention_heads=0), ("other says num_attention_heads 0; a whole number of at least 1",)),
    "negative heads": (config(num_attention_heads=-4), ("says num_attention_heads -4;",)),
    "no key/value heads": (config(num_key_value_heads=0), ("says num_key_value_heads 0;",)),
    "half a head": (config(num_attention_heads=4.5), ("says num_attention_heads 4.5;",)),
    "heads as text": (config(num_attention_heads="four"), ("says num_attention_heads 'four';",)),
    "null layers": (config(num_hidden_layers=None), ("says num_hidden_layers None;",)),
    "flat heads": (config(head_dim=0), ("says head_dim 0;",)),
    "heads in no groups": (
        config(num_key_value_heads=3),
        ("says num_attention_heads 4 and num_key_value_heads 3, which does not divide it",),
    ),
    "stream in no heads": (
        config(num_attention_heads=6, head_dim=None),
        ("says hidden_size 32 and num_attention_heads 6, which does not divide it",),
    ),
    "int8 norm": (
        weights(lambda tensors: tensors.update({NORM: tensors[NORM].to(torch.int8)})),
        (f"is quantised ({NORM} of type I8)",),
    ),
    "vocabulary size": (config(vocab_size=99), ("other has 79 token embeddings", "says vocab_size 99")),
    "tokenizer beyond the embedding": (
        extra_token,
        ("token '<think-hard>' with id 79 and the embedding has 79 rows", "resize_token_embeddings"),
    ),
    "quantised": (config(quantization_config={"quant_method": "awq"}), ("other is quantised (awq)", "dequantize()")),
    "int8 weights": (weights(to_int8), ("is quantised (model.layers.0.mlp.up_proj.weight of type I8)", "original")),
    "unmerged adapter": (
        weights(unmerged),
        ("holds 2 weights of an adapter", "model.layers.0.self_attn.q_proj.base_layer.weight", "merge_and_unload"),
    ),
    "layer too many": (
        weights(one_layer_more),
        ("holds 1 weight without a place in its 2 layers, the first is model.layers.2.mlp.up_proj.weight",),
    ),
    "git-lfs": (pointer("model.safetensors"), ("model.safetensors is a git-lfs pointer; run git lfs pull",)),
    "git-lfs tokenizer": (pointer("tokenizer.json"), ("tokenizer.json of", "is a git-lfs pointer; run git lfs pull")),
    "index without map": (file("model.safetensors.index.json", "{}"), ("index.json lacks weight_map",)),
    "missing shards": (
        file("model.safetensors.index.json", '{"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}'),
        ("half-written: of the 2 files its index names one.safetensors and 1 more are missing; copy or save",),
    ),
    "missing shard": (
        file("model.safetensors.index.json", '{"weight_map": {"a": "model.safetensors", "b": "two.safetensors"}}'),
        ("half-written: of the 2 files its index names two.safetensors is missing; copy or save the model again",),
    ),
    "a trainer's state and no weights": (
        lambda folder: (folder / "model.safetensors").rename(folder / "trainer_state.json") and None,
        (
            "holds trainer_state.json and config.json, but no weights; copy the weights there, or take the folder out "
            "of the list",
        ),
    ),
    "two sets of weights": (two_sets, ("holds model.safetensors and model.safetensors.index.json", "outdated")),
    "index and shard disagree": (
        file("model.safetensors.index.json", '{"weight_map": {"model.far.weight": "model.safetensors"}}'),
        ("half-written: model.safetensors lacks model.far.weight",),
    ),
    "unusual name": (
        lambda folder: (folder / "model.safetensors").rename(folder / "weights.safetensors") and None,
        ("has weights.safetensors and neither model.safetensors nor an index",),
    ),
    "gguf": (
        lambda folder: (folder / "model.safetensors").rename(folder / "m-Q4.gguf") and None,
        ("has only m-Q4.gguf, which is quantised", "gguf_file='m-Q4.gguf'"),
    ),
    "whole model and adapter": (
        file("adapter_config.json", "{}"),
        ("a whole model and an adapter", "if the adapter is merged"),
    ),
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
    for verb in ("validate --resolve", "run"):
        said = bench.refused(verb, f"variants.a.model={bench.folder}/other")
        assert all(word in said for word in words), said
    assert not bench.out.exists()


# What looks odd and is as it should be.
FINE: dict[str, Callable[[Path], None]] = {
    "buffers and other heads": weights(masks),
    "drafting layer": drafting,
    "placeholder of another sense": placeholder,
    "padding without a row": padding,
    "pickles beside": file("pytorch_model.bin", "old"),
    "index of one file": file(
        "model.safetensors.index.json", '{"weight_map": {"model.norm.weight": "model.safetensors"}}'
    ),
    "null quantisation": config(quantization_config=None),
}


def _train(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"] += 0.01


@pytest.mark.parametrize("case", FINE)
def test_what_only_looks_odd_is_taken_and_loads(bench: Bench, case: str) -> None:
    other = bench.model()
    weights(_train)(other)  # the base itself is no variant
    FINE[case](other)
    code, said = bench.call("validate --resolve", f"variants.a.model={bench.folder}/other")
    assert (code, said) == (0, "")
    assert load_model(other).tokenizer is not None


def test_a_run_given_as_a_model_is_told_that_its_checkpoints_are_models(bench: Bench) -> None:
    for step in (20, 40):
        shutil.copytree(bench.base, bench.folder / "my run" / f"checkpoint-{step}")
    said = bench.refused("validate --resolve", f'variants=[{{name: a, model: "{bench.folder}/my run"}}]')
    assert "my run holds no model: config.json is missing; it has folders that do, such as checkpoint-20" in said
    assert said.endswith(f"give one of them, or a variant's checkpoints: {bench.folder}/my run")


@pytest.mark.parametrize("spoil", [pickled, without("config.json")])
def test_a_base_that_cannot_be_read_is_refused_as_a_variant_is(bench: Bench, spoil: Callable[[Path], None]) -> None:
    spoil(bench.model())
    said = bench.refused("eval", f"base.model={bench.folder}/other", "variants=[]")
    assert "other" in said


def test_models_from_the_hub_are_compared_once_loaded(bench: Bench) -> None:
    swapped_tokens(bench.model())
    base, final = (
        Stage(name, 0, str(folder), ModelConfig(model=str(folder)))
        for name, folder in (("base", bench.base), ("a", bench.folder / "other"))
    )
    check_loaded(base, base)
    with pytest.raises(InputError, match="token '0' is 48 in it and 47 in base"):
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


def biased(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.1.self_attn.q_proj.bias"] = torch.zeros(32)


def narrow(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.1.mlp.up_proj.weight"] = tensors["model.layers.1.mlp.up_proj.weight"][1:].clone()


def overflowing(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"][:] = 3e38


# What only loading or rendering shows fails the units concerned, with one sentence for all of them.
LOADED: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "nan weights": (weights(poisoned), ("1 NaN or infinite weight in model.layers.1.mlp.down_proj.weight", "finite")),
    "missing weights": (weights(headless), ("lacks 1 of its weights", "model.layers.1.self_attn.o_proj.weight")),
    "bias without a place": (
        weights(biased),
        ("has 1 weight without a place in Qwen3ForCausalLM, the first is model.layers.1.self_attn.q_proj.bias",),
    ),
    "mismatched shape": (
        weights(narrow),
        ("has 1 weight of another shape than its config says, the first is model.layers.1.mlp.up_proj.weight with [",),
    ),
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
    weights(poisoned)(bench.model())
    said = bench.refused(
        "discover", f"variants.a.model={bench.folder}/other", start="failed: pairs a main and 1 more: "
    )
    assert "1 NaN or infinite weight" in said


def test_a_model_that_is_nowhere_is_told_before_anything_runs(bench: Bench) -> None:
    for verb in ("validate --resolve", "discover"):
        said = bench.refused(verb, "variants.a.model=nobody/nothing")
        assert "model nobody/nothing is not on this machine, and the hub cannot be reached" in said
    assert not bench.out.exists()


def test_nan_scores_are_refused_by_the_comparison_and_the_other_units_stay(bench: Bench) -> None:
    assert bench.call("discover")[0] == 0
    records = RunDirectory.open(bench.out).find("scores")
    broken = records[0].folder
    name = next(path for path in broken.glob("*.safetensors"))
    tensors = load_file(name)
    tensors["edges"].view(-1)[0] = float("nan")
    save_file(tensors, name)
    # As an earlier version wrote units, whose bytes are not checked.
    record = json.loads((broken / "unit.json").read_text())
    del record["files"]
    (broken / "unit.json").write_text(json.dumps(record))
    (broken / "DONE").write_text("")
    said = bench.refused("compare", start="failed: comparison a: ")
    assert "edge scores are not finite" in said
    assert all((record.folder / "DONE").exists() for record in records)
