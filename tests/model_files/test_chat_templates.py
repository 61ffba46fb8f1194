"""Where the chat templates that models ship end a turn, as TRL ships them too."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trl
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from headscope.errors import InputError
from headscope.model_files import template_probe
from headscope.model_files.chat_templates import local_template, render_chat, stop_tokens, turn_end

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


LOOPS = {
    "one range": ("{% for i in range(10**9) %}x{% endfor %}", "Range too big"),
    "loops in loops": (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "is not done with a conversation of 1 message after 1 s of processor time",
    ),
    "a power": ("{{ 9**(9**9) }}", "after 1 s of processor time"),
    "a text that doubles": (
        "{% set n = namespace(t='x') %}{% for i in range(40) %}{% set n.t = n.t + n.t %}{% endfor %}",
        "after 1 GiB of memory",
    ),
    "a division": ("{{ 1 // 0 }}", "refuses a conversation of the roles user: integer division or modulo by zero"),
    "a macro of itself": ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "maximum recursion depth"),
}


@pytest.mark.parametrize("case", LOOPS)
def test_a_template_that_does_not_end_is_a_sentence(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    template, words = LOOPS[case]
    # Memory runs out sooner than time on any machine.
    monkeypatch.setattr(template_probe, "SECONDS", 30 if "memory" in words else 1)
    with pytest.raises(InputError, match=words):
        render_chat(speaking(template), [{"role": "user", "content": "?"}], {}, add_generation_prompt=True)


def test_the_end_of_a_turn_is_not_looked_for_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_probe, "SECONDS", 1)
    with pytest.raises(InputError, match="after 1 s of processor time"):
        turn_end(speaking(LOOPS["loops in loops"][0]))


def test_the_probe_speaks_the_language_of_templates() -> None:
    """What transformers adds to Jinja is known to it: tags, controls of loops, filters, globals."""
    template = (
        "{% generation %}{% for m in messages %}{% break %}{% endfor %}{% endgeneration %}"
        "{{ messages | tojson(indent=2) }}{{ strftime_now('%d') }}{{ bos_token }}"
        "{{ raise_exception('here') }}"
    )
    with pytest.raises(template_probe.jinja2.TemplateError, match="here"):
        template_probe.render(template, [{"role": "user"}], {"bos_token": "<s>"})


def test_a_template_in_another_encoding_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"own\.jinja is not UTF-8 text"):
        local_template(str(tmp_path / "own.jinja"))
