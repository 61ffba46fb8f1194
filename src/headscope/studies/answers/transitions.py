"""Compare a variant's answers with the base's: a unit per task and evaluated checkpoint."""

from headscope.progress import Progress
from headscope.results.samples import Samples
from headscope.results.traces import Traces
from headscope.results.transitions import Transitions
from headscope.runs import Inputs, Unit, Work
from headscope.studies.study_file.config import Config
from headscope.traces.transitions import compare_answers


class TransitionsConfig(Config):
    """No settings: transitions follow from the inputs alone."""


def compute_transitions(config: TransitionsConfig, inputs: Inputs, progress: Progress) -> Transitions:
    """Return the transitions from the answers of the inputs ``before`` to those of ``after``."""
    return compare_answers(
        inputs.load("before", Samples),
        inputs.load("after", Samples),
        inputs.load("traces before", Traces),
        inputs.load("traces after", Traces),
    )


TRANSITIONS = Work("transitions", TransitionsConfig, compute_transitions, version=2)


def transitions_unit(traces_before: Unit, traces_after: Unit) -> Unit:
    """Return the unit of the transitions between the samples behind two traces units."""
    inputs = {"before": traces_before.inputs["samples"], "after": traces_after.inputs["samples"]}
    inputs |= {"traces before": traces_before, "traces after": traces_after}
    return TRANSITIONS.unit(TransitionsConfig(), traces_after.labels, inputs)
