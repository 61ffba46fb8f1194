"""The options that all attribution methods share."""

from dataclasses import dataclass

from headscope.progress import SILENT, Progress


@dataclass(frozen=True)
class AttributionOptions:
    """Options of a method in addition to model, pairs and metric; each is explained in ``attribute``.

    kv: ``query`` or ``group``: whose key and value inputs are scored.
    keep_pairs: keep the scores of every pair.
    batch: largest number of pairs in a batch; None derives it from the memory.
    memory: bytes in addition to the weights; None allows half of what the device has free.
    progress: receives the method's steps.
    """

    kv: str = "query"
    keep_pairs: bool = False
    batch: int | None = None
    memory: int | None = None
    progress: Progress = SILENT
