"""Checkpoints: sorted by step, whole, without pickles, of one shape."""

import json
import struct
from pathlib import Path

import pytest

from headscope.errors import InputError
from headscope.model_files.folder import check_compatible
from headscope.training import list_checkpoints


def _safetensors(path: Path, *, missing: int = 0) -> None:
    """One float32 tensor of 4 numbers, ``missing`` bytes short."""
    header = json.dumps({"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(16 - missing))


def _checkpoint(folder: Path, *, weights: str = "model.safetensors", missing: int = 0) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    _safetensors(folder / weights, missing=missing)
    return folder


def test_steps_are_sorted_as_numbers(tmp_path: Path) -> None:
    for step in (100, 0, 20):
        _checkpoint(tmp_path / f"checkpoint-{step}")
    (tmp_path / ".checkpoint-30.tmp").mkdir()
    (tmp_path / "runs").mkdir()
    expected = [(0, "checkpoint-0"), (20, "checkpoint-20"), (100, "checkpoint-100")]
    for pattern in (tmp_path, str(tmp_path), f"{tmp_path}/checkpoint-*"):
        assert [(point.step, point.path.name) for point in list_checkpoints(pattern)] == expected


def test_one_checkpoint_is_a_list_of_one(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "global_step40")
    assert [(point.step, point.path) for point in list_checkpoints(folder)] == [(40, folder)]


def test_pickles_are_refused_with_the_command(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "checkpoint-5", weights="pytorch_model.bin")
    with pytest.raises(InputError, match=r"has only pytorch_model.bin.*python -c .*save_pretrained") as caught:
        list_checkpoints(tmp_path)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("missing", [1, 16])
def test_cut_weights_are_half_written(tmp_path: Path, missing: int) -> None:
    _checkpoint(tmp_path / "checkpoint-5", missing=missing)
    with pytest.raises(InputError, match=r"half-written: model.safetensors"):
        list_checkpoints(tmp_path)


def test_missing_shard_is_half_written(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "checkpoint-5", weights="model-1-of-2.safetensors")
    shards = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards))
    with pytest.raises(
        InputError, match=r"half-written: of the 2 files its index names model-2-of-2\.safetensors is missing"
    ):
        list_checkpoints(tmp_path)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no checkpoint"):
        list_checkpoints(tmp_path / "nowhere" / "checkpoint-*")


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("num_hidden_layers", 3, "post has 3 layers and base has 2"),
        ("num_attention_heads", 8, "post has 8 heads and base has 4"),
        ("model_type", "llama", "post is a llama and base a qwen3; only models of one architecture"),
    ],
)
def test_other_shapes_are_refused(key: str, value: int, sentence: str) -> None:
    base = {"num_hidden_layers": 2, "num_attention_heads": 4, "model_type": "qwen3"}
    check_compatible(base, {"text_config": base})
    check_compatible({**base, "model_type": "gemma3_text"}, {"text_config": {**base, "model_type": "gemma3_text"}})
    with pytest.raises(InputError, match=sentence):
        check_compatible(base, {**base, key: value}, variant_name="post")


def test_merged_folders_are_a_list_where_all_are(tmp_path: Path) -> None:
    for step in (10, 20):
        _checkpoint(tmp_path / f"checkpoint-{step}-merged")
    checkpoints = list_checkpoints(tmp_path / "checkpoint-*")
    assert [(point.step, point.path.name) for point in checkpoints] == [
        (10, "checkpoint-10-merged"),
        (20, "checkpoint-20-merged"),
    ]


@pytest.mark.parametrize("pattern", ["", "checkpoint-*"])
def test_a_list_of_which_some_are_merged_is_refused(tmp_path: Path, pattern: str) -> None:
    for name in ("checkpoint-10", "checkpoint-10-merged", "checkpoint-20"):
        _checkpoint(tmp_path / name)
    with pytest.raises(
        InputError, match=r"match checkpoint-10-merged beside checkpoint-20; .* prepare all steps alike"
    ):
        list_checkpoints(tmp_path / pattern)
    assert [point.step for point in list_checkpoints(tmp_path / "checkpoint-*[0-9]")] == [10, 20]


def test_tokens_may_follow_the_step(tmp_path: Path) -> None:
    for name in ("step1000-tokens4B", "step20000-tokens83B"):
        _checkpoint(tmp_path / name)
    assert [point.step for point in list_checkpoints(tmp_path)] == [1000, 20000]


def test_a_folder_that_matches_and_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    _checkpoint(tmp_path / "checkpoint-10")
    _checkpoint(tmp_path / "checkpoint-best")
    with pytest.raises(InputError, match=r"checkpoint-best, whose name tells no step; name a pattern"):
        list_checkpoints(tmp_path / "checkpoint-*")
    assert [point.step for point in list_checkpoints(tmp_path)] == [10]  # nobody named it


def test_a_link_to_a_checkpoint_of_the_list_is_passed_over(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "checkpoint-10")
    (tmp_path / "checkpoint-last").symlink_to(folder)
    assert [point.path for point in list_checkpoints(tmp_path / "checkpoint-*")] == [folder]


def test_links_to_folders_elsewhere_are_checkpoints_and_broken_ones_are_named(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint-10").symlink_to(_checkpoint(tmp_path / "store" / "a"))
    assert [point.step for point in list_checkpoints(tmp_path / "run")] == [10]
    (tmp_path / "run" / "checkpoint-20").symlink_to(tmp_path / "gone")
    for pattern in ("run", "run/checkpoint-*"):
        with pytest.raises(InputError, match=r"checkpoint-20 is a link to .*gone, which does not exist"):
            list_checkpoints(tmp_path / pattern)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            ("global_step10/mp_rank_00_model_states.pt",),
            r"DeepSpeed.*python \S*checkpoint-10/zero_to_fp32\.py \S*-10 \S*-10",
        ),
        (
            ("pytorch_model_fsdp_0/__0_0.distcp",),
            r"FSDP.*accelerate merge-weights \S*pytorch_model_fsdp_0 \S*checkpoint-10",
        ),
        (("trainer_state.json", "optimizer.pt", "rng_state.pth"), r"holds trainer_state\.json and no model; copy"),
        (("optimizer.pt",), r"config\.json is missing"),
    ],
)
def test_state_without_weights_says_what_to_run(tmp_path: Path, files: tuple[str, ...], words: str) -> None:
    for name in files:
        path = tmp_path / "checkpoint-10" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"state")
    with pytest.raises(InputError, match=words):
        list_checkpoints(tmp_path)


def test_joined_weights_beside_the_state_are_a_checkpoint(tmp_path: Path) -> None:
    folder = _checkpoint(tmp_path / "checkpoint-10")
    (folder / "global_step10").mkdir()
    (folder / "global_step10" / "mp_rank_00_model_states.pt").write_bytes(b"state")
    for pattern in (tmp_path, folder):
        assert [(point.step, point.path) for point in list_checkpoints(pattern)] == [(10, folder)]


def test_a_folder_of_sharded_state_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "global_step10").mkdir()
    (tmp_path / "global_step10" / "bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt").write_bytes(b"state")
    for pattern in ("", "global_step*", "global_step10"):
        with pytest.raises(InputError, match=rf"zero_to_fp32\.py {tmp_path} {tmp_path} --safe"):
            list_checkpoints(tmp_path / pattern)
