"""A model's single heads, and texts of its own correct answers on which each of them is edited."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headscope.comparison.head_sweep import HeadSweep
from headscope.results.not_run import NotRun
from headscope.results.samples import Samples
from headscope.runs import Inputs
from headscope.studies.ablation.role_losses import RoleLossesConfig, choose_sweep
from headscope.studies.answers.texts import ModelOnTask, answered_texts

if TYPE_CHECKING:
    from headscope.interventions import Text
    from headscope.models import Subject


@dataclass(frozen=True)
class SingleHeads:
    """A model with the texts that are forced and the heads that are edited, one at a time."""

    subject: "Subject"
    texts: "list[Text]"
    sweep: HeadSweep


def load_single_heads(config: RoleLossesConfig, inputs: Inputs) -> SingleHeads | NotRun:
    """Load the model of ``config``, and from ``whole`` its correct answers; NotRun if there are none, or no heads."""
    from headscope.studies.models.subjects import load

    respondent = ModelOnTask(config.post.stage(inputs), config.task.task())
    texts = answered_texts(respondent, inputs.load("whole", Samples), config.texts, correct=True)
    if not texts:
        return NotRun(f"{config.post.name} gave no correct answer to force")
    subject = load(respondent.stage)
    sweep = choose_sweep(subject, config, inputs)
    if isinstance(sweep, NotRun):
        return sweep
    return SingleHeads(subject, texts, sweep)
