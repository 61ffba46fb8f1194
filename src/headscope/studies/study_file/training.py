"""``train``: the settings of each training method with the data it learns from."""

from typing import Literal

from pydantic import BaseModel, Field

from headscope.studies.study_file.references import TaskRef
from headscope.training import DistillConfig, GrpoConfig, SftConfig

RewardName = Literal["correctness", "format", "calculation", "plan"]


class Together(BaseModel):
    """Several devices for one training.

    devices: GPUs, or processes on a CPU, that train together (DDP), each on its share of every step. The executor keeps
        so many of its workers' devices for it.
    """

    # Left out of a dump if it is one, so that runs from before it keep their digests.
    devices: int = Field(default=1, ge=1, exclude_if=lambda devices: devices == 1)


class CompletionData(Together):
    """The data of a method that learns the completions in its rows.

    dataset: prompt and completion records of the lab (``lab.builtin_data.DATASETS``), a JSONL file (rows of ``prompt``
        and ``completion``, texts or chat messages, or of ``messages``), or by a hub id; or the worked answers of a
        task (``gsm8k-train``, ``openr1-math``, a ``TaskFile``).
    control: null twin: completions of other prompts.
    """

    dataset: TaskRef
    control: Literal["shuffled_answers"] | None = None


class TeacherData(Together):
    """The data of a method that learns from a teacher's logits on the problems of a task.

    dataset: a task (``headscope ls tasks``) or a file of problems.
    teacher: a folder, a hub id, a built-in model, or an earlier variant trained in this study (its last checkpoint).
    """

    dataset: TaskRef
    teacher: str


class RewardData(Together):
    """The data of a method that learns from rewards on the problems of a task.

    dataset: a task (``headscope ls tasks``) or a file of problems.
    rewards: summed with ``reward_weights``; ``plan`` needs a lab task, ``calculation`` counts mod 10 there.
    control: null twin: rewards permuted among the completions of a prompt, or answers of other prompts.
    """

    dataset: TaskRef
    rewards: tuple[RewardName, ...] = ("correctness",)
    control: Literal["permuted_rewards", "shuffled_answers"] | None = None


class SftTraining(CompletionData, SftConfig):
    """SFT, or distillation on a teacher's traces."""


class DistillTraining(TeacherData, DistillConfig):
    """On-policy distillation."""


class GrpoTraining(RewardData, GrpoConfig):
    """GRPO."""


# One per method of ``training.TRAINING_METHODS``, on the data its signal needs; a test holds them together.
Training = SftTraining | DistillTraining | GrpoTraining
