"""``executor``: what computes the units of a study."""

from typing import Any, Literal

from pydantic import Field, model_validator

from headscope.studies.config import Config


def named_executor(value: Any) -> Any:
    """Return ``executor: processes`` as ``{kind: processes}``."""
    return {"kind": value} if isinstance(value, str) else value


class ExecutorConfig(Config):
    """What computes a study's units; results do not depend on it.

    kind: ``local``, one unit after another in this process, or ``processes``, several at a time by workers on this
        machine, each with models it keeps.
    workers: how many; None takes one per GPU, or as many as the cores hold.
    threads: of each worker; None takes one on a CPU.
    """

    kind: Literal["local", "processes"] = "local"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _workers_of_processes(self) -> "ExecutorConfig":
        given = [name for name in ("workers", "threads") if getattr(self, name) is not None]
        if self.kind == "local" and given:
            raise ValueError(f"{given[0]} needs the executor processes, and this one is local")
        return self
