"""Training: SFT, distillation and GRPO on TRL, as runs that leave only safetensors and JSON behind and survive being
killed.

Importing this needs no torch: the configs can be read, checked and planned on any machine.
"""

from headscope.training.checkpoints import Checkpoint, list_checkpoints, step_of
from headscope.training.distill import DistillConfig, run_distill
from headscope.training.grpo import GrpoConfig, run_grpo
from headscope.training.log import LogEntry, read_log
from headscope.training.methods import TRAINING_METHODS, TrainingMethod, preset
from headscope.training.optimisation import Optimisation
from headscope.training.presets import PRESETS
from headscope.training.rewards import Reward, calculation_reward, completion_text, format_reward
from headscope.training.run_record import TrainingRun
from headscope.training.sft import SftConfig, run_sft

__all__ = [
    "PRESETS",
    "TRAINING_METHODS",
    "Checkpoint",
    "DistillConfig",
    "GrpoConfig",
    "LogEntry",
    "Optimisation",
    "Reward",
    "SftConfig",
    "TrainingMethod",
    "TrainingRun",
    "calculation_reward",
    "completion_text",
    "format_reward",
    "list_checkpoints",
    "preset",
    "read_log",
    "run_distill",
    "run_grpo",
    "run_sft",
    "step_of",
]
