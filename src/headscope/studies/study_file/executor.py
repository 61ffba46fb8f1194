"""``executor``: what computes the units of a study."""

from typing import Any, Literal

from pydantic import Field, model_validator

from headscope.studies.study_file.config import Config


def named_executor(value: Any) -> Any:
    """Return ``executor: processes`` as ``{kind: processes}``."""
    return {"kind": value} if isinstance(value, str) else value


class ExecutorConfig(Config):
    """Choice of what computes a study's units; results do not depend on it.

    kind: ``local``, one unit after another in this process; ``processes``, several at a time by workers on this
        machine, each with models it keeps; or ``ray``, by such workers on the nodes of a Ray cluster.
    workers: how many; None takes one per GPU, or as many as the cores hold.
    threads: of each worker; None takes one on a CPU.
    address: of the Ray cluster, as ``10.0.0.1:6379``, or ``auto`` for the one this machine is part of. None takes that
        of the environment variable RAY_ADDRESS, or begins a cluster of this machine alone.
    """

    kind: Literal["local", "processes", "ray"] = "local"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    address: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> "ExecutorConfig":
        given = [name for name in ("workers", "threads") if getattr(self, name) is not None]
        if self.kind == "local" and given:
            raise ValueError(f"{given[0]} needs the executor processes or ray, and this one is local")
        if self.kind != "ray" and self.address is not None:
            raise ValueError(f"address needs the executor ray, and this one is {self.kind}")
        if self.address is not None and self.address.startswith("ray://"):
            raise ValueError(
                f"address is {self.address!r}, which is for Ray's client; run on a node of the cluster and give auto, "
                "or the head's HOST:PORT"
            )
        return self
