"""``eval``: how answers are sampled and scored."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from headscope.studies.study_file.config import Config, OneOrMore


def _check_marker(marker: str) -> str:
    if not marker.strip() or not marker.isprintable():
        raise ValueError("a marker is a word or words on one line")
    return marker


class EvalConfig(Config):
    """Settings of how answers are drawn and counted.

    samples: answers per problem.
    k: of pass@k, success@k and majority@k; those above ``samples`` are left out.
    temperature, top_p: of sampling; at temperature 0 the likeliest token is taken.
    top_k: only so many likeliest tokens are drawn from, None for all. min_p: only tokens at least this share as likely
        as the likeliest (Qwen3's card has 20 and 0).
    max_new_tokens: after which an answer counts as unfinished.
    problems: the first so many of each task, None for all.
    shard_problems: so many problems of a task are one unit, so that several workers share the answers of one model to
        one task; None takes all. The answers are the same up to rounding (docs/scale.md); another number makes other
        units, which are drawn again.
    engine: what generates.
    every: of each variant's saved checkpoints the n-th, 2n-th, 3n-th … are evaluated, and always the last; None
        evaluates the last alone.
    forbid: markers such as ``wait``. Base and last checkpoints answer the same problems with the same seeds once more,
        never generating any of them, and are compared with themselves: what re-checking does to answers.
    """

    samples: int = Field(default=16, ge=1)
    k: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 2, 4, 8, 16), min_length=1)
    temperature: float = Field(default=0.6, ge=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    max_new_tokens: int = Field(default=4096, ge=1)
    problems: int | None = Field(default=None, ge=1)
    shard_problems: int | None = Field(default=None, ge=1)
    engine: Literal["transformers", "vllm"] = "transformers"
    every: int | None = Field(default=None, ge=1)
    forbid: Annotated[tuple[Annotated[str, AfterValidator(_check_marker)], ...], OneOrMore()] = ()

    @model_validator(mode="after")
    def _k_within_samples(self) -> "EvalConfig":
        if "k" in self.model_fields_set and max(self.k) > self.samples:
            raise ValueError(f"k holds {max(self.k)}, and only {self.samples} samples are drawn")
        return self

    @property
    def ks(self) -> tuple[int, ...]:
        """Return the k that the samples allow."""
        return tuple(k for k in self.k if k <= self.samples)
