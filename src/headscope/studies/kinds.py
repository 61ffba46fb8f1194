"""All kinds of work a study has, by name."""

from typing import Any

from headscope.runs import Work
from headscope.studies.ablated import ABLATED, CONSTANTS, VERDICT
from headscope.studies.compare import COMPARISON
from headscope.studies.contrasts import EXCHANGED, PAIRS
from headscope.studies.crossed import CROSSED
from headscope.studies.discover import FAITHFULNESS, SCORES
from headscope.studies.effects import EFFECTS
from headscope.studies.evaluate import MEASURES, SAMPLES
from headscope.studies.evidence import EVIDENCE
from headscope.studies.forced import FORCED
from headscope.studies.headsets import HEAD_SETS
from headscope.studies.thinking import THINKING
from headscope.studies.train import TRAIN

_WORKS: tuple[Work[Any], ...] = (
    TRAIN,
    SAMPLES,
    MEASURES,
    PAIRS,
    EXCHANGED,
    SCORES,
    FAITHFULNESS,
    COMPARISON,
    CROSSED,
    THINKING,
    EFFECTS,
    HEAD_SETS,
    ABLATED,
    CONSTANTS,
    VERDICT,
    FORCED,
    EVIDENCE,
)
KINDS = {work.kind: work for work in _WORKS}
