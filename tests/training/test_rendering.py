"""What is trained on through the templates models ship: whole completions, or a refusal that names what is lost."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from tests.model_files.test_chat_templates import TEMPLATES, speaking
from tests.training.conftest import build_tokenizer

from headscope.errors import InputError
from headscope.model_files.chat_templates import local_template, set_template, shipped_templates, template_name
from headscope.training import SftConfig, run_sft
from headscope.training.dataset import as_dataset
from headscope.training.rendering import check_completions, describe_row, render_row

THOUGHT = "<think>\nsix is two threes\n</think>\n\nIt is 6."


def row(answer: str, **more: Any) -> dict[str, Any]:
    return {
        "prompt": [{"role": "user", "content": "2*3?"}],
        "completion": [{"role": "assistant", "content": answer}],
        **more,
    }


def shipped(name: str) -> Any:
    return speaking((TEMPLATES / f"{name}.jinja").read_text())


def test_r1_distills_own_template_loses_the_thought_and_trls_keeps_it() -> None:
    with pytest.raises(InputError, match=r"leaves '<think>\\nsix is .*' out of the completion of row 1") as refusal:
        check_completions(shipped("deepseek_r1_distill"), [row(THOUGHT)])
    assert str(refusal.value).endswith("give base.chat_template: deepseek_r1_distill_training")
    check_completions(shipped("deepseek_r1_distill_training"), [row(THOUGHT)])


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "llama3", "gemma", "phi3"])
def test_templates_that_keep_answers_pass(name: str) -> None:
    answer = THOUGHT if name != "gemma" else "It is 6."
    check_completions(shipped(name), [row(answer), row("6")])
    assert render_row(shipped(name), row(answer)).answer.split()[0] == answer.split()[0]


def test_an_answer_that_is_only_in_the_question_is_lost() -> None:
    tokenizer = build_tokenizer()
    check_completions(tokenizer, [row("2*3?")])
    tokenizer.chat_template = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(InputError, match=r"leaves '2\*3\?' out .* a template that keeps whole answers"):
        check_completions(tokenizer, [row("2*3?")])


def test_a_prompt_that_opens_a_thought_the_answers_do_not_is_refused() -> None:
    tokenizer = shipped("deepseek_r1_distill_training")
    with pytest.raises(InputError, match=r"asks with '<think>\\n' before the answer, and the completion of row 1"):
        check_completions(tokenizer, [row("It is 6.")])


def test_an_answer_that_ends_with_no_stop_token_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Its end is plain text, so the model would write on for ever."""
    tokenizer = build_tokenizer()
    rows = [row("<ans> 6")] * 2
    check_completions(tokenizer, rows)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    words = r"ends the answer of row 1 with '.*<ans> 6\\n', which holds no token that ends a turn \(<end>\)"
    with pytest.raises(InputError, match=words):
        check_completions(tokenizer, rows)
    with pytest.raises(InputError, match=words):
        run_sft(tiny_model, rows, SftConfig(max_steps=1, batch_size=2), tmp_path / "run", tokenizer=tokenizer)
    # A token of its own after plain text is learned too.
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}: {{ m.content }} ## <end>\n{% endfor %}"
    check_completions(tokenizer, rows)


def test_a_template_whose_end_is_no_token_here_is_neither_taken_nor_advised() -> None:
    tokenizer = build_tokenizer()  # knows <end> alone
    tokenizer.chat_template = local_template("deepseek_r1_distill_training")
    with pytest.raises(InputError, match=r"two threes.*<｜end▁of▁sentence｜>', which holds no token"):
        check_completions(tokenizer, [row("<think>\nsix is\n</think>\n\ntwo threes")])
    tokenizer.chat_template = local_template("deepseek_r1_distill")
    with pytest.raises(InputError, match=r"give base\.chat_template: a template that keeps whole answers"):
        check_completions(tokenizer, [row(THOUGHT)])


def test_a_template_given_by_the_study_is_named_by_its_origin() -> None:
    tokenizer = build_tokenizer()
    assert template_name(tokenizer) == "the chat template of the model"
    set_template(tokenizer, "{{ messages }", "own.jinja")
    with pytest.raises(
        InputError, match=r"^chat template own\.jinja is not valid Jinja: unexpected '}' in line 1; cor"
    ):
        check_completions(tokenizer, [row("6")])
    set_template(tokenizer, "{{ messages[0].content + 1 }}", "own.jinja")
    with pytest.raises(
        InputError, match=r"^chat template own\.jinja refuses a conversation of the roles user: can only"
    ):
        check_completions(tokenizer, [row("6")])


def test_switches_of_a_row_reach_the_template() -> None:
    prompt = render_row(shipped("qwen3"), row("6", chat_template_kwargs={"enable_thinking": False})).prompt
    assert prompt.endswith("<think>\n\n</think>\n\n")


def test_the_first_row_is_marked_and_says_where_it_is_cut() -> None:
    tokenizer = build_tokenizer()
    description = describe_row(tokenizer, row("<ans> 6"))
    assert description == (
        "--- prompt: read, no loss ---\n<user> 2*3? <bot>\n--- answer: learned ---\n <ans> 6 <end>\n"
    )
    assert describe_row(tokenizer, row("<ans> 6"), max_length=5).endswith("--- cut after 5 of 6 tokens ---\n")
    assert describe_row(tokenizer, row("<ans> 6"), max_length=6) == description
    assert "what the model writes" in describe_row(tokenizer, {"prompt": row("")["prompt"]})


def test_training_refuses_before_its_first_step_and_writes_down_what_it_trains_on(
    tiny_model: Path, tmp_path: Path
) -> None:
    config = SftConfig(max_steps=1, batch_size=2)
    rows = [row("<think> 6 </think> <ans> 6")] * 2
    run = run_sft(tiny_model, rows, config, tmp_path / "run")
    assert (
        "<bot>\n--- answer: learned ---\n <think> 6 </think> <ans> 6 <end>" in (run.path / "trained_on.txt").read_text()
    )
    forgetful = build_tokenizer()
    forgetful.chat_template = forgetful.chat_template.replace(
        "{% else %} {{ message['content'] }}", "{% else %} {{ message['content'].split('</think>')[-1] }}"
    )
    with pytest.raises(InputError, match="leaves '<think> 6 </think>"):
        run_sft(tiny_model, rows, config, tmp_path / "forgetful", tokenizer=forgetful)
    assert not list((tmp_path / "forgetful").glob("checkpoint-*"))
    with pytest.raises(InputError, match=r"holds a run with chat_template None"):
        run_sft(tiny_model, rows, config, tmp_path / "run", tokenizer=forgetful)


def test_plain_text_prompts_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"plain text, the first is '2\*3\?'; give messages"):
        run_sft(tiny_model, [{"prompt": "2*3?", "completion": "6"}], SftConfig(), tmp_path / "run")


@pytest.mark.parametrize("as_rows", [list, Dataset.from_list])
@pytest.mark.parametrize("columns", [("prompt",), ("prompt", "completion")])
def test_a_null_prompt_is_told_with_its_row(as_rows: Any, columns: tuple[str, ...]) -> None:
    assert len(as_dataset(as_rows([row("6"), row("7")]), columns)) == 2
    with pytest.raises(InputError, match="row 2 of the training data has nothing in 'prompt'"):
        as_dataset(as_rows([row("6"), row("7") | {"prompt": None}, row("8")]), columns)


def test_a_null_row_is_told_with_its_number() -> None:
    with pytest.raises(InputError, match="row 2 of the training data is None; a mapping with columns is needed"):
        as_dataset([row("6"), None], ("prompt",))


def test_a_template_is_a_file_a_folder_or_a_shipped_name(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "own.jinja").write_text("{{ messages }}")
    assert local_template(str(tmp_path / "own.jinja")) == "{{ messages }}"
    assert local_template(str(tiny_model)) == build_tokenizer().chat_template
    assert local_template("qwen3") == shipped_templates()["qwen3"].read_text()
    assert local_template("some/model") is None
    with pytest.raises(InputError, match=r"not\.jinja does not exist"):
        local_template(str(tmp_path / "not.jinja"))
    with pytest.raises(InputError, match="has no chat template"):
        local_template(str(tmp_path))
