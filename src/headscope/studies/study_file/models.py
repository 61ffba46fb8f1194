"""``base`` and ``variants``: the models of a study."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from headscope.evaluation import Chat
from headscope.studies.study_file.config import Config
from headscope.studies.study_file.training import SftTraining, Training
from headscope.studies.study_file.twins import Twin

Dtype = Literal["float32", "bfloat16", "float16"]


class ModelConfig(Config):
    """A model.

    model: a folder, a hub id, or a built-in one (``lab-m``).
    revision: of the hub: a branch, tag or commit.
    dtype: of the weights.
    chat: how the model is spoken to.
    trust_remote_code: run code that the model's folder brings.
    tokenizer: folder or hub id of the one used instead of the model's own; it has the model's ids.
    chat_template: whose chat template is used: a folder, a hub id, a .jinja file, or one that TRL ships by its name
        (``deepseek_r1_distill_training``).
    Models trained here are saved with both. A variant without tokenizer files takes both from the base.
    """

    model: str
    tokenizer: str | None = None
    chat_template: str | None = None
    revision: str | None = None
    dtype: Dtype = "float32"
    chat: Chat = Chat()
    trust_remote_code: bool = False


class BaseConfig(ModelConfig):
    """A model, or what a training makes of one.

    train: a training of ``model`` that makes the base: variants begin from its last checkpoint and are compared with
        it, as GRPO that follows SFT is. Its ``method: …`` or ``preset: …`` and keys are those of a variant's.
    """

    train: Annotated[Training, Field(discriminator="method")] | None = None

    @model_validator(mode="after")
    def _whole_model(self) -> "BaseConfig":
        if isinstance(self.train, SftTraining) and self.train.lora_rank:
            raise ValueError("it is trained as an adapter (lora_rank), and variants begin from whole models")
        return self


class HubCheckpoints(Config):
    """Checkpoints that one model of the hub keeps as revisions, as OLMo 2 and Pythia do.

    model: its hub id.
    revisions: branches or tags whose names tell the step (``step1000``, ``stage1-step1000-tokens5B``), or a mapping
        from their names to steps.
    """

    model: str
    revisions: (
        Annotated[tuple[str, ...], Field(min_length=1)]
        | Annotated[dict[str, Annotated[int, Field(ge=0)]], Field(min_length=1)]
    )


class VariantConfig(Config):
    """A post-trained model: trained here (``train``), trained elsewhere (``checkpoints``), or one finished model.

    name: what tables call it.
    train: its training, as ``method: …`` or ``preset: …`` with keys that win over the preset's.
    model: one finished model, a folder or hub id.
    revision: of the hub: a branch, tag or commit.
    reward_log: the ``trainer_state.json`` or JSONL of a training elsewhere, for the coupling with reward.
    method: how a variant trained elsewhere was trained, for the claims that ask about SFT, distillation or GRPO. One
        trained here has its own; ``distill`` is said of SFT on a teacher's traces, as R1-Distill was made.
    chat: how the variant is spoken to; what is left out is as the base's.
    checkpoints: folders by a glob, or revisions on the hub.
    twins: the same training with its signal removed or another seed, for the nulls: ``lr0``, ``permuted_rewards``,
        ``shuffled_answers``, or changed keys such as ``{seed: 1}``; each becomes a variant of its own.
    twin_of: the variant this one is a twin of.
    tokenizer, chat_template: of a variant trained elsewhere, as ``ModelConfig`` says; one trained here has the base's.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    train: Annotated[Training, Field(discriminator="method")] | None = None
    twins: tuple[Twin, ...] = ()
    twin_of: str | None = None
    checkpoints: str | HubCheckpoints | None = None
    model: str | None = None
    tokenizer: str | None = None
    chat_template: str | None = None
    revision: str | None = None
    reward_log: str | None = None
    method: Literal["sft", "distill", "grpo"] | None = None
    chat: Chat = Chat()

    @property
    def saved_steps(self) -> list[int]:
        """Return the steps at which a training here saves; without ``max_steps`` only 0: the data tells the others."""
        assert self.train is not None
        last = self.train.max_steps or 0
        return sorted({*range(0, last + 1, self.train.save_every), last})

    @field_validator("checkpoints", mode="before")
    @classmethod
    def _no_list(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            raise ValueError(
                "a list is not allowed; give one glob of folders, such as sft/checkpoint-*, or a mapping of the hub's "
                "model and revisions"
            )
        return value

    @model_validator(mode="after")
    def _one_method(self) -> "VariantConfig":
        if self.train is None or self.method in (None, self.train.method):
            return self
        # SFT on a teacher's traces is what R1-Distill calls distillation.
        if not (self.train.method == "sft" and self.method == "distill"):
            raise ValueError(
                f"it is trained here by {self.train.method}, and method says {self.method}; leave method out"
            )
        return self

    @model_validator(mode="after")
    def _one_source(self) -> "VariantConfig":
        origins = [name for name in ("train", "checkpoints", "model") if getattr(self, name) is not None]
        if len(origins) != 1:
            raise ValueError(f"it needs exactly one of train, checkpoints and model, and has {origins or 'none'}")
        if self.name == "base":
            raise ValueError("the name base is taken by the base model")
        if self.train is not None and (self.tokenizer or self.chat_template):
            raise ValueError("it is trained here with the base's tokenizer and chat template; give them to base")
        return self


def check_step(step: int | None, variant: str, steps: Sequence[int]) -> None:
    """Raise ValueError if ``step``, as ``ablate.step`` names it, is no checkpoint of the variant's training.

    steps: of its checkpoints; 0 is the base.
    """
    trained = [saved for saved in steps if saved > 0]
    if step is not None and step not in trained:
        checkpoints = f"checkpoints {', '.join(map(str, trained))}" if trained else "no checkpoint after step 0"
        raise ValueError(f"ablate.step is {step}, and variant {variant} has {checkpoints}")
