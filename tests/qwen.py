"""A Qwen2.5-shaped model with the real Qwen vocabulary, chat template and config class, scaled down, random weights."""

import base64
from functools import lru_cache
from pathlib import Path

import torch
import trl
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
from transformers.convert_slow_tokenizer import bytes_to_unicode

# Qwen2's own pre-tokenisation: single digits, contractions, white space with the word after it.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL = {151643: "<|endoftext|>", 151644: "<|im_start|>", 151645: "<|im_end|>"}
VOCABULARY = 151_936  # the config's: ranks, special tokens, and padding to a round number


@lru_cache(maxsize=1)  # its merges take seconds to find, and all models share it
def tokenizer(ranks: Path) -> PreTrainedTokenizerFast:
    """The real tokenizer from its tiktoken ranks."""
    symbols = bytes_to_unicode()
    vocabulary, merges = {}, []
    by_bytes = {}
    for line in ranks.read_text().split("\n"):
        if line:
            token, rank = line.split()
            by_bytes[base64.b64decode(token)] = int(rank)
    for token, rank in by_bytes.items():
        vocabulary["".join(symbols[byte] for byte in token)] = rank
        halves = [(token[:cut], token[cut:]) for cut in range(1, len(token))]
        known = [(a, b) for a, b in halves if a in by_bytes and b in by_bytes]
        merges += [(rank, max(by_bytes[a], by_bytes[b]), a, b) for a, b in known]
    text = ["".join(symbols[byte] for byte in token) for _, _, *pair in sorted(merges) for token in pair]
    pairs = list(zip(text[::2], text[1::2], strict=True))
    fast = Tokenizer(BPE(vocabulary, pairs, fuse_unk=False, ignore_merges=True))
    fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PATTERN), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    fast.decoder = decoders.ByteLevel()
    fast.add_special_tokens([AddedToken(token, normalized=False) for token in SPECIAL.values()])
    template = Path(trl.__file__).parent / "chat_templates" / "qwen2_5.jinja"
    return PreTrainedTokenizerFast(
        tokenizer_object=fast,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=template.read_text(),
        clean_up_tokenization_spaces=False,
    )


def save_model(folder: Path, ranks: Path, seed: int) -> Path:
    """Qwen2.5-1.5B's config with 2 layers of 4 heads (2 key/value heads), d 32; random weights from ``seed``."""
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        rope_theta=1_000_000.0,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=151645,
    )
    model = Qwen2ForCausalLM(config)
    for parameter in model.parameters():  # spread enough that heads differ
        if parameter.ndim == 2:
            parameter.data.normal_(0.0, 0.2)
    assert sum(parameter.numel() for parameter in model.parameters()) < 6e6
    model.save_pretrained(folder)
    tokenizer(ranks).save_pretrained(folder)
    return folder
