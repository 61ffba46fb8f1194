import pytest

from headscope.errors import InputError
from headscope.evaluation.chat import Chat, answer_opening, prompt_ids, render
from headscope.model_files.chat_templates import local_template


def test_the_prompt_ends_where_the_answer_begins_with_one_bos(tokenizer):
    ids = prompt_ids(tokenizer, "w1 w2")
    assert tokenizer.convert_ids_to_tokens(ids) == ["<bos>", "<user>", "w1", "w2", "<assistant>"]


def test_a_tokenizer_that_adds_bos_itself_adds_none_to_the_template(tokenizer):
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $0", special_tokens=[("<bos>", 1)])
    assert tokenizer("w1")["input_ids"][0] == 1
    assert prompt_ids(tokenizer, "w1").count(1) == 1


def test_switches_and_system_reach_the_template(tokenizer):
    chat = Chat(system="w9", enable_thinking=False, date_string="w8")
    assert render(tokenizer, "w1", chat) == "<bos><system> w9 <user> w1 w8 <assistant> <think></think>"


@pytest.mark.parametrize(
    ("name", "enable_thinking", "opening"),
    [
        ("deepseek_r1_distill_training", None, "<think>\n"),
        ("deepseek_r1_distill", None, "<think>\n"),  # drops thoughts, whatever they begin with
        ("nemotron_3_nano", None, "<think>\n"),
        ("qwen3_5_think", None, "<think>\n"),
        ("qwen3_5_think", False, ""),  # writes the empty thought into conversations too
        ("qwen3", None, ""),
        ("qwen3", False, ""),
        ("llama3", None, ""),
        ("gptoss", None, ""),
    ],
)
def test_an_answer_begins_with_what_the_template_writes_only_where_it_asks(tokenizer, name, enable_thinking, opening):
    tokenizer.chat_template = local_template(name)
    assert answer_opening(tokenizer, "w1", Chat(enable_thinking=enable_thinking)) == opening


def test_a_template_that_takes_no_answers_or_always_opens_a_thought_asks_for_no_opening(tokenizer):
    chat = Chat()
    assert answer_opening(tokenizer, "w1", Chat(enable_thinking=False)) == "<think></think>"
    always = "{% for m in messages %}{{ '<think>' if m.role == 'assistant' }}{{ m.content }}{% endfor %}"
    tokenizer.chat_template = always + "{{ '<think>' if add_generation_prompt }}"
    assert answer_opening(tokenizer, "w1", chat) == ""
    tokenizer.chat_template = "{{ messages[0].content if messages | length == 1 else raise_exception('one') }}"
    assert answer_opening(tokenizer, "w1", chat) == ""


def test_a_switch_the_template_does_not_know_is_refused(tokenizer):
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(InputError, match="enable_thinking=False has no effect"):
        render(tokenizer, "w1", Chat(enable_thinking=False))


def test_a_template_that_drops_or_refuses_the_system_prompt_is_refused(tokenizer):
    tokenizer.chat_template = "{{ messages[-1]['content'] }}"
    with pytest.raises(InputError, match="leaves out the system prompt"):
        render(tokenizer, "w1", Chat(system="be brief"))
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(InputError, match="System role not supported"):
        render(tokenizer, "w1", Chat(system="be brief"))


def test_no_template_and_no_tokenizer_say_so(tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="no chat template"):
        prompt_ids(tokenizer, "w1")
    with pytest.raises(InputError, match="no tokenizer"):
        prompt_ids(None, "w1")
