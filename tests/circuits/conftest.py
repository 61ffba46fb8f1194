"""The reference scores as a fixture."""

import json
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from headscope.models import load_model
from headscope.pairs import Pairs

_REFERENCE = Path(__file__).parents[3] / "shared" / "fixtures" / "eap_reference"


@pytest.fixture(scope="module", params=["qwen2", "gpt2"])
def eap_reference(request: pytest.FixtureRequest) -> "Reference":
    """Model, pairs and numbers made with EAP-IG's own code (see the README beside them)."""
    folder = _REFERENCE / str(request.param)
    if not folder.is_dir():
        pytest.skip(f"reference scores are not at {folder}")
    return Reference(folder)


class Reference:
    """One folder of reference numbers, read once; the model is in float64.

    rounding: what EAP-IG's numbers, computed in float32, are off by; against float64 it is the same on every machine.
    """

    rounding = 1e-5

    def __init__(self, folder: Path) -> None:
        tokens = load_file(folder / "pairs.safetensors")
        self.scores = load_file(folder / "eap_reference.safetensors")
        self.metadata = json.loads((folder / "eap_reference.json").read_text(encoding="utf-8"))
        self.pairs = Pairs.from_tokens(tokens["clean"], tokens["corrupt"], labels=self.scores["labels"])
        self.model = load_model(folder, dtype="float64")
