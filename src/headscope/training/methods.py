"""The training methods: the settings of each, how it is run, and what it learns from.

A new method is a module like ``sft``, a line of ``TRAINING_METHODS`` and, for study files, a class in
``studies.study_file.training`` that joins its settings to the data its signal needs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from headscope.errors import InputError, suggestion
from headscope.training.distill import DistillConfig, run_distill
from headscope.training.grpo import GrpoConfig, run_grpo
from headscope.training.optimisation import Optimisation
from headscope.training.presets import PRESETS
from headscope.training.run_record import TrainingRun
from headscope.training.sft import SftConfig, run_sft


@dataclass(frozen=True, slots=True)
class TrainingMethod:
    """A training method.

    config: its settings, whose ``method`` is its name.
    run: called as ``run(model, rows, *signal, config, out, tokenizer=…, progress=…)``.
    signal: what it learns from: the ``completions`` in its rows, a ``teacher`` (a model's path) or ``rewards`` (a list
        of functions). The latter two are arguments of ``run``, and its rows are prompts.
    """

    config: type[Optimisation]
    run: Callable[..., TrainingRun]
    signal: Literal["completions", "teacher", "rewards"]


TRAINING_METHODS: dict[str, TrainingMethod] = {
    "sft": TrainingMethod(SftConfig, run_sft, "completions"),
    "distill": TrainingMethod(DistillConfig, run_distill, "teacher"),
    "grpo": TrainingMethod(GrpoConfig, run_grpo, "rewards"),
}


def preset(name: str, **changes: object) -> Optimisation:
    """Return a preset as a config, with ``changes`` (the paper's other GRPO rate: ``learning_rate=2e-5``).

    Raises InputError if there is no preset of that name.
    """
    if name not in PRESETS:
        raise InputError(f"training preset {name!r} is unknown{suggestion(name, PRESETS)}")
    settings = {**PRESETS[name], **changes}
    return TRAINING_METHODS[str(settings["method"])].config.model_validate(settings)
