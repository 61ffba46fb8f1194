"""Change of each kind of failure under an ablation: a unit per verdict, from the same saved answers. No model."""

from dataclasses import replace

import pandas as pd

from headscope.comparison.failures import failure_changes
from headscope.progress import Progress
from headscope.results.failures import FailureChanges
from headscope.results.head_sets import ControlledHeads
from headscope.results.samples import Samples
from headscope.results.traces import STEP_COLUMNS, Traces
from headscope.runs import Inputs, Unit, Work
from headscope.studies.ablation.ablated import Ablations
from headscope.studies.answers.traces import trace_samples
from headscope.studies.data.sources import TaskSource
from headscope.studies.study_file.config import Config


class FailuresConfig(Config):
    """The task, whose prompts the answers are judged by, the operator, and the number of inputs with random sets."""

    task: TaskSource
    operator: str
    controls: int


def compute_failures(config: FailuresConfig, inputs: Inputs, progress: Progress) -> FailureChanges:
    """Return what one operator on one group does to each kind of failure, from the answers of the inputs."""
    sets = inputs.load("sets", ControlledHeads)
    prompts = config.task.prompts()

    def read(samples: Samples) -> Traces:
        # No tokenizer: kinds of failure rest on text and token ids, positions of steps are not asked for.
        traces = trace_samples(samples, prompts, progress=progress)
        # Nor are the steps, which of hundreds of random sets would not fit in memory: a new table, as a part of the
        # old one would keep it.
        return replace(traces, steps=pd.DataFrame(columns=list(STEP_COLUMNS)))

    whole, removed = read(inputs.load("baseline", Samples)), read(inputs.load("ablated", Samples))
    controls = []
    for number in range(config.controls):
        samples = inputs.result(f"control {number}", Samples)
        if isinstance(samples, Samples):  # fewer matched sets may exist than were asked for
            controls.append(read(samples))
    return failure_changes(
        whole,
        removed,
        controls,
        task=config.task.name,
        operator=config.operator,
        heads=sets.heads,
        caveat=sets.remarks(len(controls)),
    )


FAILURES = Work("failures", FailuresConfig, compute_failures, version=2)


def failures_unit(ablations: Ablations, verdict: Unit) -> Unit:
    """Return the unit that reads the answers behind a verdict."""
    controls = sum(name.startswith("control ") for name in verdict.inputs)
    config = FailuresConfig(task=ablations.task, operator=str(verdict.labels["operator"]), controls=controls)
    return FAILURES.unit(config, verdict.labels, verdict.inputs)
