"""Turn a question into prompt token ids, by the tokenizer's own chat template."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from headscope.errors import InputError
from headscope.evaluation.extraction import CLOSED, OPENED
from headscope.model_files import hub
from headscope.model_files.chat_templates import common_length, render_chat, template_name

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ANSWER = "headscope"
_THOUGHT = f"{_ANSWER}\n{CLOSED}\n\n{_ANSWER}"
"""The rest of a thought with an answer; by both a template is probed."""


class Chat(BaseModel):
    """Settings of the chat template; None leaves a setting to the template's own default.

    system: system prompt.
    enable_thinking: the think switch of hybrid models (Qwen3).
    date_string: the date templates print (Llama 3), fixed so that a prompt does not change overnight.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str | None = None
    enable_thinking: bool | None = None
    date_string: str | None = None

    def messages(self, question: str) -> list[dict[str, str]]:
        """Return the conversation that asks ``question``."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": question}]

    def switches(self) -> dict[str, Any]:
        """Return what the chat template is told in addition to the messages."""
        return self.model_dump(exclude={"system"}, exclude_none=True)


def load_tokenizer(
    path: str, revision: str | None = None, trust_remote_code: bool = False
) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a folder or hub id, without any weights. Raises InputError if there is none."""
    from transformers import AutoTokenizer

    # Without the hub only the cache is asked; otherwise every call would wait for connections to time out.
    offline = not Path(path).is_dir() and not hub.is_reachable()
    options = {"revision": revision, "trust_remote_code": trust_remote_code, "local_files_only": offline}
    try:
        return AutoTokenizer.from_pretrained(path, **options)
    except Exception as error:  # the tokenizers library raises bare Exception for a broken file
        raise InputError(f"model {path} has no tokenizer that can be read: {str(error).splitlines()[0]}") from error


def render(tokenizer: "PreTrainedTokenizerBase | None", question: str, chat: Chat | None = None) -> str:
    """Render the prompt's text, ending where the answer begins.

    Raises InputError if there is no tokenizer or chat template, the template has no such switch as asked for, or it
    leaves out or refuses the system prompt: each would silently be another experiment.
    """
    chat = chat or Chat()
    template = _template(tokenizer)
    assert tokenizer is not None  # _template has refused it
    switches = chat.switches()
    for name, value in switches.items():
        if name not in template:
            raise InputError(
                f"chat setting {name}={value!r} has no effect: {template_name(tokenizer)} does not know {name}; leave "
                "it out, or give a template that knows it (chat_template:)"
            )
    text = render_chat(tokenizer, chat.messages(question), switches, add_generation_prompt=True)
    if chat.system and chat.system.strip() not in text:
        raise InputError(
            f"{template_name(tokenizer)} leaves out the system prompt {chat.system[:60]!r}; leave out chat.system, or "
            "give a template that writes it (chat_template:)"
        )
    return text


def prompt_ids(tokenizer: "PreTrainedTokenizerBase | None", question: str, chat: Chat | None = None) -> list[int]:
    """Return the prompt's token ids. Raises what ``render`` does, and InputError if the text has no tokens in this
    vocabulary.
    """
    text = render(tokenizer, question, chat)
    assert tokenizer is not None  # render has refused it
    try:
        # The template writes BOS if the model wants it, so the tokenizer must not add a second.
        tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    except Exception as error:  # the tokenizers library raises bare Exception, and TypeError for lone surrogates
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the model's tokenizer cannot encode the prompt of the question {question[:60]!r}: {reason}"
        ) from error
    return [int(token) for token in tokens]


def answer_opening(tokenizer: "PreTrainedTokenizerBase", question: str, chat: Chat) -> str:
    """Return the end of the prompt that an answer begins with as an assistant's message, "" for most templates.

    Such as ``<think>\\n`` of R1 and ``<think></think>`` of the lab without thinking: the template writes it only where
    it asks, so that a conversation with the bare answer is another text than the model saw. Qwen3 writes its empty
    thought into the conversation itself.
    """
    asked = render(tokenizer, question, chat)
    opens_thought = asked.rstrip().endswith(OPENED)
    rest = _THOUGHT if opens_thought else _ANSWER
    if opens_thought:
        opening = asked[asked.rindex(OPENED) :]
    else:
        opening = asked[common_length(asked, _render_answered(tokenizer, question, chat, _ANSWER)) :]
    for start in (opening, ""):
        if _render_answered(tokenizer, question, chat, start + rest).startswith(asked + rest):
            return start
    # No answer is told as it was asked, as if thoughts are dropped: a message holds a whole thought or none.
    return opening if opens_thought else ""


def _render_answered(tokenizer: "PreTrainedTokenizerBase", question: str, chat: Chat, answer: str) -> str:
    """Render a question with its answer; "" if the template refuses a conversation with an answer."""
    messages = [*chat.messages(question), {"role": "assistant", "content": answer}]
    try:
        return render_chat(tokenizer, messages, chat.switches(), add_generation_prompt=False)
    except InputError:
        return ""


def _template(tokenizer: "PreTrainedTokenizerBase | None") -> str:
    if tokenizer is None:
        raise InputError("the model has no tokenizer, so no prompt can be made; allowed: a folder with tokenizer files")
    if not tokenizer.chat_template:
        name = getattr(tokenizer, "name_or_path", "") or "the model"
        raise InputError(
            f"{name} has no chat template; allowed: a tokenizer with chat_template set, or chat_template: in the study"
        )
    return str(tokenizer.get_chat_template())
