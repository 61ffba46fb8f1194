"""The tokenizer of a stage, its own or another's, with the chat template the study names. Loads no weights."""

from pathlib import Path
from typing import TYPE_CHECKING

from headscope.errors import InputError
from headscope.evaluation.chat import load_tokenizer
from headscope.model_files.chat_templates import local_template, set_template
from headscope.model_files.folder import vocabulary_entries
from headscope.model_files.vocabularies import check_token_ids
from headscope.studies.models.files import has_tokenizer, template_path
from headscope.studies.models.stages import Stage, files_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def tokenizer_of(stage: Stage) -> "PreTrainedTokenizerBase":
    """Load the tokenizer a stage is spoken to through.

    Raises InputError if there is none, a borrowed one has other ids than the model, or the named template is missing.
    """
    model_tokenizer, borrowed = _own_tokenizer(stage), stage.borrowed_tokenizer
    if borrowed is None and model_tokenizer is None:
        raise InputError(f"model {stage.folder} has no tokenizer files; a study needs its tokenizer and chat template")
    tokenizer = model_tokenizer if borrowed is None else load_tokenizer(borrowed)
    if borrowed is not None:
        _check_ids(stage, model_tokenizer, tokenizer, borrowed)
    if stage.config.chat_template is not None:
        set_template(tokenizer, _read_template(stage.config.chat_template), stage.config.chat_template)
    return tokenizer


def _own_tokenizer(stage: Stage) -> "PreTrainedTokenizerBase | None":
    """Load the tokenizer of the model itself; None if it has none."""
    folder = Path(stage.folder)
    if folder.is_dir() and not has_tokenizer(folder):
        return None
    try:
        return load_tokenizer(stage.folder, stage.config.revision, stage.config.trust_remote_code)
    except InputError:
        if folder.is_dir() or stage.borrowed_tokenizer is None:
            raise
        return None  # a hub model without tokenizer files


def _check_ids(
    stage: Stage, tokenizer: "PreTrainedTokenizerBase | None", borrowed: "PreTrainedTokenizerBase", name: str
) -> None:
    """Raise InputError if a borrowed tokenizer gives a token another id than the model's own, or one beyond its rows.

    Added tokens are free to differ, as between a base and an R1-style model made of it; those both have are not.
    """
    borrowed_ids = borrowed.get_vocab()
    if tokenizer is not None:
        own_ids = tokenizer.get_vocab()
        added = {*tokenizer.get_added_vocab(), *borrowed.get_added_vocab()} - (own_ids.keys() & borrowed_ids.keys())
        plain = []
        for ids in (own_ids, borrowed_ids):
            plain.append({token: index for token, index in ids.items() if token not in added})
        check_token_ids(
            *plain,
            variant_name=f"tokenizer {name}",
            base_name=f"the tokenizer of {stage.folder}",
            advice="give a tokenizer with the ids that the model was trained on",
        )
    # A model still to be fetched is checked once it is loaded.
    files = files_of(stage)
    rows = None if files is None else vocabulary_entries(files)
    highest = max(borrowed_ids.values())
    if rows is not None and highest >= rows:
        raise InputError(
            f"tokenizer {name} has ids up to {highest} and model {stage.folder} has {rows} vocabulary "
            "entries; give a tokenizer of the model's own vocabulary"
        )


def _read_template(source: str) -> str:
    """Return the text of the chat template a study names."""
    path = template_path(source)
    template = local_template(path) or load_tokenizer(path).chat_template
    if not isinstance(template, str):
        raise InputError(f"{source} has no chat template; give a .jinja file, a model folder or another hub id")
    return template
