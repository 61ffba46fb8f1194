"""``headscope export --edited``: a checkpoint that computes what the hooks compute."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.precision import EXACT

from headscope.cli.main import main
from headscope.interventions import mean, revert, scale
from headscope.lab.tokenizer import build_tokenizer
from headscope.models import load_model

pytestmark = pytest.mark.usefixtures("float64")

IDS = torch.arange(12)[None] % 7


@pytest.fixture
def model(tiny_model: Any, tmp_path: Path) -> Path:
    tiny_model("qwen2", vocab_size=79).save_pretrained(tmp_path / "model")
    build_tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def export(model: Path, *more: str) -> list[str]:
    chosen = ["--edited", str(model), "--heads", "L0H1,L1H3", "--dtype", "float64"]
    return ["export", *chosen, "--out", str(model.parent / "out"), *more]


@torch.no_grad()
def test_a_scaled_copy_equals_the_hook(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(export(model, "--alpha", "1.3", "--json")) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["heads"], done["operator"]) == (["L0H1", "L1H3"], "scale 1.3")
    subject = load_model(model, dtype="float64")
    with scale(subject, ["L0H1", "L1H3"], 1.3):
        expected = subject.model(IDS).logits
    saved = load_model(done["open"], dtype="float64")
    assert torch.allclose(saved.model(IDS).logits, expected, rtol=0, atol=EXACT)
    assert main(export(model)) == 2
    assert "is not empty" in capsys.readouterr().err


@torch.no_grad()
def test_means_go_into_biases(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = model.parent / "texts.txt"
    texts.write_text("c=4; j=c*4;\n\na=8; ?a\n")
    assert main(export(model, "--operator", "mean", "--reference", str(texts))) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "mean on L0H1 L1H3, saved as llama"  # Qwen 2 has no bias on o_proj
    subject = load_model(model, dtype="float64")
    ids = [subject.tokenizer(line, add_special_tokens=False)["input_ids"] for line in ("c=4; j=c*4;", "a=8; ?a")]
    with mean(subject, ["L0H1", "L1H3"], ids):
        expected = subject.model(IDS).logits
    saved = load_model(lines[-1], dtype="float64")
    assert torch.allclose(saved.model(IDS).logits, expected, rtol=0, atol=EXACT)


def test_what_weights_cannot_hold_is_refused(
    model: Path, tiny_model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(export(model, "--operator", "resample")) == 2
    assert "resample changes from token to token" in capsys.readouterr().err
    assert main(export(model, "--operator", "mean")) == 2
    assert "one text per line" in capsys.readouterr().err
    thoughts = tmp_path / "thoughts.txt"
    thoughts.write_text("a=3; ?a <think> a=3; </think> <ans> 3\n")
    assert main(export(model, "--operator", "mean", "--reference", str(thoughts))) == 2
    assert "has a mean for each part of the texts" in capsys.readouterr().err
    phi3 = tmp_path / "phi3"
    tiny_model("phi3", vocab_size=79).save_pretrained(phi3)
    build_tokenizer().save_pretrained(phi3)
    (tmp_path / "texts.txt").write_text("c=4; j=c*4;\n")
    assert main(export(phi3, "--operator", "mean", "--reference", str(tmp_path / "texts.txt"))) == 2
    assert "a phi3 checkpoint cannot hold this edit" in capsys.readouterr().err


@torch.no_grad()
def test_heads_get_the_bases_weights(
    model: Path, tiny_model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = tmp_path / "base"
    tiny_model("qwen2", seed=1, vocab_size=79).save_pretrained(base)
    post, before = load_model(model, dtype="float64"), load_model(base, dtype="float64")
    for kv, said in (("all", "left (--kv all)"), ("any", "(--kv any); L0H0 L1H2 read them too")):
        out = tmp_path / kv
        revert_it = [*export(model, "--operator", "revert", "--base", str(base), "--kv", kv), "--out", str(out)]
        assert main(revert_it) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == f"revert to {base} on L0H1 L1H3, saved as qwen2"
        assert lines[1].endswith(said)
        with revert(post, ["L0H1", "L1H3"], before, kv=kv):
            expected = post.model(IDS).logits
        assert torch.allclose(load_model(out, dtype="float64").model(IDS).logits, expected, rtol=0, atol=EXACT)
        assert not torch.allclose(post.model(IDS).logits, expected, atol=1e-2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--operator", "mean", "--alpha", "0.5"), "found --operator mean and --alpha 0.5; give one of them"),
        (("--alpha", "0.5", "--reference", "texts.txt"), "--reference is for mean and optimal, and scaling needs no"),
        (("--kv", "any"), "--kv is for operator revert, and zero leaves keys and values as they are"),
        (("--operator", "mena"), "operator mena does not exist"),
    ],
)
def test_options_of_another_edit_are_refused(
    model: Path, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(export(model, *options)) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_revert_needs_another_model_of_the_same_shape(
    model: Path, tiny_model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*more: str) -> str:
        assert main(export(model, *more)) == 2
        return " ".join(capsys.readouterr().err.split())

    to_base = ("--operator", "revert", "--base")
    assert "operator revert needs the model whose weights the heads take; name it with --base" in refused(*to_base[:2])
    assert "--base is for operator revert, and zero needs no other model" in refused("--base", str(model))
    assert "already, so revert changes nothing" in refused(*to_base, str(model))
    for name, difference in (("llama", "architecture, qwen2 and llama"), ("qwen2", "key/value heads, 2 and 4")):
        folder = tmp_path / name
        tiny_model(name, vocab_size=79, num_key_value_heads=4).save_pretrained(folder)
        assert f"differ in {difference}; heads take weights" in refused(*to_base, str(folder))
    assert "kv 'every' does not exist" in refused(*to_base, str(folder), "--kv", "every")
    assert not (tmp_path / "out").exists()
