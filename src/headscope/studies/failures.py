"""What an ablation does to each kind of failure: a unit per verdict, from the same saved answers, without a model."""

from headscope.comparison.failures import failure_changes
from headscope.progress import Progress
from headscope.results.failures import FailureChanges
from headscope.results.head_sets import ControlledHeads
from headscope.results.samples import Samples
from headscope.results.traces import Traces
from headscope.runs import Inputs, Unit, Work
from headscope.studies.ablated import Ablations
from headscope.studies.config import Config
from headscope.studies.sources import TaskSource
from headscope.studies.traces import trace_samples


class FailuresConfig(Config):
    """The task, whose prompts the answers are judged by, the operator, and the number of inputs with random sets."""

    task: TaskSource
    operator: str
    controls: int


def compute_failures(config: FailuresConfig, inputs: Inputs, progress: Progress) -> FailureChanges:
    """Return what one operator on one group does to each kind of failure, from the answers of the inputs."""
    sets = inputs.load("sets", ControlledHeads)
    prompts = {problem.id: problem.prompt for problem in config.task.task().problems}

    def read(samples: Samples) -> Traces:
        # No tokenizer: kinds of failure rest on text and token ids, positions of steps are not asked for.
        return trace_samples(samples, prompts, progress=progress)

    # Fewer matched sets may exist than were asked for.
    controls = [inputs.result(f"control {number}", Samples) for number in range(config.controls)]
    return failure_changes(
        read(inputs.load("baseline", Samples)),
        read(inputs.load("ablated", Samples)),
        [read(samples) for samples in controls if isinstance(samples, Samples)],
        task=config.task.name,
        operator=config.operator,
        heads=sets.heads,
        caveat=sets.caveat,
    )


FAILURES = Work("failures", FailuresConfig, compute_failures)


def failures_unit(ablations: Ablations, verdict: Unit) -> Unit:
    """Return the unit that reads the answers behind a verdict."""
    controls = sum(role.startswith("control ") for role in verdict.inputs)
    config = FailuresConfig(task=ablations.task, operator=str(verdict.labels["operator"]), controls=controls)
    return FAILURES.unit(config, verdict.labels, verdict.inputs)
