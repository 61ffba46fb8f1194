"""The lab's tokenizer: 79 tokens, one per symbol, as a real Hugging Face tokenizer with a Qwen3-like chat template."""

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from headscope.lab.chains import ARITHMETIC, ENTITIES, RELATIONS, VARIABLES

PAD, START, END = "<|pad|>", "<|im_start|>", "<|im_end|>"
MARKERS = ("<think>", "</think>", "<ans>")
WORDS = ("user", "assistant", "okay", "wait", "to")

# As Qwen3's: enable_thinking=False appends an empty think block for the model to answer after.
CHAT_TEMPLATE = (
    "{%- for message in messages -%}<|im_start|>{{ message.role }} {{ message.content }}<|im_end|>{%- endfor -%}"
    "{%- if add_generation_prompt -%}<|im_start|>assistant"
    "{%- if enable_thinking is defined and enable_thinking is false %} <think></think>{%- endif -%}{%- endif -%}"
)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer from nothing. White space separates but is no token; an unknown symbol is an error."""
    symbols = [
        *WORDS,
        *(f"E{entity}" for entity in range(ENTITIES)),
        *(f"R{relation}" for relation in range(RELATIONS)),
        *"0123456789",
        *VARIABLES,
        *ARITHMETIC,
        *"=;?",
    ]
    vocabulary = {token: index for index, token in enumerate([PAD, START, END, *MARKERS, *symbols])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary))
    pattern = "|".join([*WORDS, r"E\d+", r"R\d+", "."])  # words before letters: no variable starts one
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(pattern), "isolated")]
    )
    spaced = [";", "okay", "wait", "to", "<think>", "</think>", "<ans>", "user", "assistant"]
    tokenizer.decoder = decoders.Sequence([*(decoders.Replace(word, f"{word} ") for word in spaced), decoders.Fuse()])
    tokenizer.add_tokens([AddedToken(marker, normalized=False) for marker in MARKERS])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        model_max_length=256,
    )
