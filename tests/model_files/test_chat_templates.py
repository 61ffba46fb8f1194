"""Where the chat templates that models ship end a turn, as TRL ships them too."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trl
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from headscope.errors import InputError
from headscope.model_files import chat_templates
from headscope.model_files.chat_templates import render_chat, stop_tokens, turn_end

TEMPLATES = Path(trl.__file__).parent / "chat_templates"
ENDS = {
    "qwen2_5": "<|im_end|>",
    "qwen3": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "deepseek_r1_distill": "<｜end▁of▁sentence｜>",
    "gemma": "<end_of_turn>",
    "phi3": "<|end|>",
}
NAMED = "<|endoftext|>"


def speaking(template: str) -> Any:
    """A tokenizer that knows every end but names another one, as Qwen2.5-Math's does."""
    tokens = [NAMED, *dict.fromkeys(ENDS.values()), "<|im_start|>"]
    fast = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, eos_token=NAMED, bos_token="<|im_start|>")
    tokenizer.add_special_tokens({"additional_special_tokens": tokens})
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("name", ENDS)
def test_the_end_is_what_the_template_writes_and_not_what_the_tokenizer_names(name: str) -> None:
    tokenizer = speaking((TEMPLATES / f"{name}.jinja").read_text())
    assert turn_end(tokenizer) == tokenizer.convert_tokens_to_ids(ENDS[name])
    assert turn_end(tokenizer) != tokenizer.eos_token_id


@pytest.mark.parametrize(
    "template",
    [
        None,
        "{% for m in messages %}{{ m.content }} {% endfor %}",
        "{% for m in messages %}{{ m.content }} ### <|im_end|>{% endfor %}",
        "{{ raise_exception('no assistant here') }}",
    ],
)
def test_a_template_that_ends_no_turn_with_a_special_token_has_no_end(template: str) -> None:
    assert turn_end(speaking(template)) is None
    assert stop_tokens(speaking(template)) == (speaking(template).eos_token_id,)


def test_every_end_stops_and_the_templates_comes_first() -> None:
    tokenizer = speaking((TEMPLATES / "qwen2_5.jinja").read_text())
    end, named = tokenizer.convert_tokens_to_ids(["<|im_end|>", NAMED])
    assert stop_tokens(tokenizer) == (end, named)
    assert stop_tokens(tokenizer, SimpleNamespace(eos_token_id=[end, 77])) == (end, named, 77)
    assert stop_tokens(tokenizer, SimpleNamespace(eos_token_id=5)) == (end, named, 5)


def test_a_template_that_loops_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_templates, "MOST_SECONDS", 0.2)
    loop = "{% for i in range(99999) %}{% for j in range(2000) %}{% endfor %}{% endfor %}"
    with pytest.raises(InputError, match=r"writes no conversation within 0\.2 s of processor time"):
        render_chat(speaking(loop), [{"role": "user", "content": "?"}], {}, add_generation_prompt=True)
    assert render_chat(speaking("?"), [{"role": "user", "content": "?"}], {}, add_generation_prompt=True) == "?"


@pytest.mark.parametrize(
    "template",
    ["{% for i in range(10**9) %}{% endfor %}", "{{ 1 // 0 }}", "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"],
)
def test_a_template_that_fails_in_python_is_refused(template: str) -> None:
    with pytest.raises(InputError, match="refuses a conversation"):
        render_chat(speaking(template), [{"role": "user", "content": "?"}], {}, add_generation_prompt=True)
    assert turn_end(speaking(template)) is None
