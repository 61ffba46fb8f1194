"""Checkpoints that a model of the hub keeps as revisions, in a cache laid out by hand and without a network."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tests.studies.bench import Bench

from headscope.errors import InputError
from headscope.model_files import hub
from headscope.models import load_model
from headscope.runs import RunDirectory
from headscope.studies.plan import plan
from headscope.studies.reading import read_study

MODEL = "allenai/OLMo-tiny"
REVISIONS = {"step10": 10, "stage1-step200-tokens5B": 200}


def publish(cache: Path, model: str, revision: str, folder: Path) -> Path:
    """Put a model's files into the cache as a download of a revision leaves them; returns the snapshot."""
    repository = cache / f"models--{model.replace('/', '--')}"
    commit = hashlib.sha1(revision.encode()).hexdigest()
    snapshot = repository / "snapshots" / commit
    for part in (snapshot, repository / "blobs", repository / "refs"):
        part.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / revision).write_text(commit)
    for path in folder.iterdir():
        blob = repository / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        shutil.copy(path, blob)
        (snapshot / path.name).symlink_to(Path("..") / ".." / "blobs" / blob.name)
    return snapshot


@pytest.fixture
def cached(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache with a base and two revisions of it whose weights differ."""
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    publish(cache, MODEL, "main", bench.base)
    for revision, step in REVISIONS.items():
        folder = bench.model(f"at{step}")
        tensors = load_file(folder / "model.safetensors")
        tensors["model.norm.weight"] *= 1 + step / 100
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        publish(cache, MODEL, revision, folder)
    return cache


def variant(revisions: object) -> tuple[str, str]:
    """Settings of a study whose variant is these revisions."""
    checkpoints = json.dumps({"model": MODEL, "revisions": revisions})
    return f"base.model={MODEL}", f'variants=[{{"name": "a", "checkpoints": {checkpoints}}}]'


def test_every_revision_is_a_checkpoint(bench: Bench, cached: Path) -> None:
    settings = variant(list(REVISIONS)[::-1])
    assert bench.call("validate --resolve", *settings)[0] == 0
    code, said = bench.call("discover", *settings)
    assert code == 0, said
    scores = RunDirectory.open(bench.out).find("scores", pairs="main")
    assert sorted(record.labels["step"] for record in scores) == [0, 10, 200]
    expected = load_file(bench.folder / "at200" / "model.safetensors")["model.norm.weight"]
    loaded = load_model(MODEL, revision="stage1-step200-tokens5B")
    assert (loaded.model.model.norm.weight == expected).all()


def test_a_revision_is_part_of_what_decides_a_result(bench: Bench, cached: Path) -> None:
    publish(cached, MODEL, "step10-again", bench.folder / "at10")

    def units(revision: str) -> set[str]:
        settings = list(variant({revision: 10}))
        study = read_study(str(bench.study), settings)
        planned = plan(study, RunDirectory(bench.out), "discover")
        return {unit.digest for unit in planned if unit.labels.get("step") == 10}

    assert units("step10") == units("step10")
    assert units("step10").isdisjoint(units("step10-again"))


@pytest.mark.parametrize(
    ("revisions", "words"),
    [
        (
            ["step10", "step30"],
            f"revision step30 of model {MODEL} is not on this machine, and the hub cannot be reached",
        ),
        (["final"], f"revision final of {MODEL} tells no step; give revisions as a mapping"),
        (["step10", "stage2-step10"], f"revisions step10 and stage2-step10 of {MODEL} are both step 10"),
        ({"step10": 1, "main": 1}, f"revisions step10 and main of {MODEL} are both step 1"),
        ({"step10": -1}, "variants[0].checkpoints.revisions.step10"),
        ([], "variants[0].checkpoints.revisions"),
    ],
)
def test_revisions_that_cannot_be_used(bench: Bench, cached: Path, revisions: object, words: str) -> None:
    for verb in ("validate --resolve", "discover"):
        assert words in bench.refused(verb, *variant(revisions))
    assert not bench.out.exists()


def test_names_without_a_number_are_given_steps(bench: Bench, cached: Path) -> None:
    publish(cached, MODEL, "final", bench.folder / "at10")
    study = read_study(str(bench.study), list(variant({"step10": 3, "final": 7})))
    steps = {unit.labels.get("step") for unit in plan(study, RunDirectory(bench.out), "discover")}
    assert {3, 7} <= steps


def test_the_bases_revision_is_looked_for(bench: Bench, cached: Path) -> None:
    settings = (f"base.model={MODEL}", "variants=[]", "base.revision=step11")
    assert f"revision step11 of model {MODEL} is not" in bench.refused("validate --resolve", *settings)
    assert bench.call("validate --resolve", *settings[:2], "base.revision=step10")[0] == 0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_hidden_layers": 3}, "variant a at step 30 has 3 layers and base has 2"),
        ({"quantization_config": {"quant_method": "fp8"}}, f"model {MODEL} is quantised (fp8)"),
    ],
)
def test_what_is_cached_is_judged_before_it_is_loaded(
    bench: Bench, cached: Path, change: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "is_reachable", lambda: True)  # it has the weights
    folder = bench.model()
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (folder / "model.safetensors").unlink()  # not fetched yet
    publish(cached, MODEL, "step30", folder)
    assert words in bench.refused("validate --resolve", *variant(["step30"]))


def test_the_hub_is_asked_for_what_is_not_cached(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import HfApi

    asked = []
    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    monkeypatch.setattr(HfApi, "model_info", lambda _self, model, **how: asked.append((model, how["revision"])))
    hub.check_model_exists(MODEL, "step10")
    hub.check_model_exists(MODEL, "step40")
    assert asked == [(MODEL, "step40")]


def test_a_hub_that_does_not_answer_is_told(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import httpx
    from huggingface_hub import HfApi

    def fail(*_: object, **__: object) -> None:
        raise httpx.ConnectError("no route")

    monkeypatch.setattr(hub, "is_reachable", lambda: True)
    monkeypatch.setattr(HfApi, "model_info", fail)
    with pytest.raises(InputError, match=r"revision step40 of model .* the hub does not answer: no route"):
        hub.check_model_exists(MODEL, "step40")


def test_quantised_weights_are_refused_before_they_are_fetched(bench: Bench, cached: Path) -> None:
    path = bench.model() / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": {"quant_method": "gptq"}}))
    publish(cached, MODEL, "int4", path.parent)
    with pytest.raises(InputError, match=rf"model {MODEL} is quantised \(gptq\)"):
        load_model(MODEL, revision="int4")
