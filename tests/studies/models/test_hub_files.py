"""Hub models whose files are on this machine are judged as folders are, before anything runs and when they load."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tests.studies.bench import Bench
from tests.studies.models.test_bad_models import cut, extra_token, one_layer_more, pickled, unmerged, weights
from tests.studies.models.test_hub_revisions import publish

from headscope.errors import InputError
from headscope.model_files import hub
from headscope.models import load_model
from headscope.runs import RunDirectory
from headscope.studies.models.study_stages import checkpoint_stages
from headscope.studies.reading import read_study

MODEL = "acme/tiny"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub's files."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


SPOILED: dict[str, tuple[Callable[[Path], None], str]] = {
    "layer too many": (weights(one_layer_more), "holds 1 weight without a place in its 2 layers"),
    "unmerged adapter": (weights(unmerged), "holds 2 weights of an adapter that is not merged"),
    "tokenizer": (extra_token, "has token '<think-hard>' with id 79 and the embedding has 79 rows"),
    "cut short": (cut, "is half-written: model.safetensors is missing or shorter than its header says"),
    "pickles alone": (pickled, "has only pytorch_model.bin, which could run code when read"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_what_a_folder_would_be_refused_for(bench: Bench, cache: Path, case: str) -> None:
    spoil, words = SPOILED[case]
    folder = bench.model()
    spoil(folder)
    publish(cache, MODEL, "main", folder)
    said = bench.refused("validate --resolve", f"variants.a.model={MODEL}")
    assert f"hub model {MODEL} cannot be used: " in said
    assert words in said
    with pytest.raises(InputError, match=f"hub model {MODEL} cannot be used: .*{words[:20]}"):
        load_model(MODEL)


def test_weights_that_the_hub_still_has_to_send_are_not_missed(
    bench: Bench, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = bench.model()
    (folder / "model.safetensors").unlink()
    publish(cache, MODEL, "main", folder)
    said = bench.refused("validate --resolve", f"variants.a.model={MODEL}")
    assert (
        f"the weights of model {MODEL} are not all on this machine, and the hub cannot be reached; fetch them" in said
    )
    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    study = read_study(str(bench.study), [f"variants.a.model={MODEL}"])
    (stage,) = checkpoint_stages(study, study.variants[0], RunDirectory(bench.out), None)
    assert stage.folder == MODEL


@torch.no_grad()
def test_an_adapter_of_the_hub_is_a_variant(bench: Bench, cache: Path) -> None:
    folder = bench.folder / "adapter"
    model = get_peft_model(load_model(bench.base).model, LoraConfig(r=2, init_lora_weights=False)).eval()
    model.save_pretrained(folder)
    snapshot = publish(cache, "acme/adapter", "main", folder)
    assert bench.call("validate --resolve", "variants.a.model=acme/adapter") == (0, "")
    subject = load_model("acme/adapter")
    assert (subject.name, subject.revision) == ("acme/adapter", snapshot.name)
    assert subject.tokenizer is not None  # its base's
    ids = torch.arange(3, 15)[None]
    assert torch.allclose(subject.model(ids).logits, model(ids).logits, atol=1e-4)
    weights(one_layer_more)(bench.model("own"))
    path = folder / "adapter_config.json"
    path.write_text(path.read_text().replace(str(bench.base), str(bench.folder / "own")))
    publish(cache, "acme/other", "main", folder)
    said = bench.refused("validate --resolve", "variants.a.model=acme/other")
    assert "hub model acme/other cannot be used: model folder" in said
    assert "own holds 1 weight without a place" in said
