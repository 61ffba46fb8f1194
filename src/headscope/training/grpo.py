"""GRPO through ``trl.GRPOTrainer``: Shao et al., DeepSeekMath, arXiv 2402.03300, section 4.1.

Per step: sample a group of completions for each prompt; advantage = (reward − group mean) / group standard deviation;
clipped policy-gradient loss, mean per completion then over completions, plus ``beta`` × KL to the reference.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from headscope.errors import InputError
from headscope.progress import SILENT, Progress
from headscope.training import launch, rendering
from headscope.training.dataset import as_dataset, check_enough_prompts
from headscope.training.optimisation import Optimisation
from headscope.training.rewards import Reward
from headscope.training.run_record import TrainingRun, identify
from headscope.training.trl_settings import check_vllm, trl_arguments, vllm_sampling

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase
    from trl import GRPOConfig

    from headscope.training.dataset import Rows
    from headscope.training.trainers import DurableGrpo


class GrpoConfig(Optimisation):
    """GRPO as the paper writes it; TRL's own defaults differ in four places and are not used.

    method: the name of the method.
    prompts_per_step, samples: a step trains on prompts_per_step × samples completions of the current weights.
    max_completion_length: in tokens.
    temperature, top_p: of the sampling.
    beta: weight of the KL to the reference, the base model; 0 spares its forward pass.
    epsilon: clip range of the probability ratio.
    loss_type: how token losses are averaged (TRL's names).
    scale_rewards: what advantages are divided by (TRL's names).
    reward_weights: one per reward; None weighs all by 1.
    chat: variables of the chat template, such as ``{"enable_thinking": False}``.
    vllm: sample with vLLM, in the training process.
    """

    method: Literal["grpo"] = "grpo"
    learning_rate: float = Field(default=1e-6, ge=0)
    prompts_per_step: int = Field(default=16, ge=1)
    samples: int = Field(default=16, ge=2)
    max_completion_length: int = Field(default=512, ge=1)
    temperature: float = Field(default=1.0, gt=0)
    top_p: float = Field(default=1.0, gt=0, le=1)
    beta: float = Field(default=0.04, ge=0)
    epsilon: float = Field(default=0.2, gt=0, lt=1)
    loss_type: Literal["grpo", "dapo", "dr_grpo", "bnpo"] = "grpo"
    scale_rewards: Literal["group", "batch", "none"] = "group"
    reward_weights: tuple[float, ...] | None = None
    chat: dict[str, object] = Field(default_factory=dict)
    vllm: bool = False


def run_grpo(
    model_path: str | Path,
    prompts: "Rows",
    rewards: Sequence[Reward],
    config: GrpoConfig,
    out: str | Path,
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    progress: Progress = SILENT,
) -> TrainingRun:
    """Train a model by GRPO and write the run to ``out``; the same call resumes a killed run.

    Args:
        model_path: the base model.
        prompts: ``{"prompt": [message, …], …}`` rows or a ``datasets.Dataset``; further columns reach the rewards by
            name.
        rewards: called as TRL calls them, summed with ``reward_weights``; they must be deterministic for a resumed run
            to equal an uninterrupted one.
        config: the settings.
        out: the run's directory.
        tokenizer: used and saved instead of the model's own.
        progress: counts optimiser steps.

    Raises:
        InputError: for unusable input, for another run in ``out``, and when training diverges; checkpoints are kept.
    """
    out = Path(out)
    names = [getattr(reward, "__name__", type(reward).__name__) for reward in rewards]
    _check_rewards(names, config)
    check_vllm(config.vllm)
    with launch.quiet():
        rows = as_dataset(prompts, ("prompt",))
        check_enough_prompts(len(rows), "prompts_per_step", config.prompts_per_step)
        identity = identify(config, model_path, rows, tokenizer, rewards=names)

        def build(config: GrpoConfig) -> "DurableGrpo":
            return _trainer(model_path, tokenizer, rows, rewards, config, out)

        return launch.train(out, identity, config, build, progress)


def _check_rewards(names: list[str], config: GrpoConfig) -> None:
    if not names:
        raise InputError("GRPO got no reward; at least one is needed")
    if config.reward_weights is not None and len(config.reward_weights) != len(names):
        raise InputError(
            f"reward_weights has {len(config.reward_weights)} numbers for {len(names)} rewards, "
            f"{', '.join(names)}; one each is needed"
        )


def trl_config(config: GrpoConfig, out: Path, stops: Sequence[int] = ()) -> "GRPOConfig":
    """Return TRL's settings for this config. stops: the tokens that end a completion."""
    from trl import GRPOConfig

    shared = trl_arguments(config, out, config.prompts_per_step * config.samples)
    return GRPOConfig(
        **shared,
        num_generations=config.samples,
        # Equal to gradient_accumulation_steps: sampling happens at step boundaries only, so no checkpoint falls
        # between sampled completions and their use, and old log-probabilities need no pass of their own.
        steps_per_generation=shared["gradient_accumulation_steps"],
        num_iterations=1,  # every completion is trained on once, while it is on-policy
        max_completion_length=config.max_completion_length,
        temperature=config.temperature,
        top_p=config.top_p,
        beta=config.beta,
        use_bias_correction_kl=False,  # on by TRL's default; not in the paper
        epsilon=config.epsilon,
        loss_type=config.loss_type,
        scale_rewards=config.scale_rewards,
        reward_weights=None if config.reward_weights is None else list(config.reward_weights),
        chat_template_kwargs=config.chat,
        use_vllm=config.vllm,
        generation_kwargs=vllm_sampling(config.vllm, stops),
    )


def _trainer(
    model_path: str | Path,
    tokenizer: "PreTrainedTokenizerBase | None",
    rows: "Dataset",
    rewards: Sequence[Reward],
    config: GrpoConfig,
    out: Path,
) -> "DurableGrpo":
    from headscope.training.trainers import DurableGrpo

    subject = launch.load_base(model_path, tokenizer)
    launch.write_rendered(out, rendering.describe_row(subject.tokenizer, rows[0], config.chat))
    return DurableGrpo(
        model=subject.model,
        reward_funcs=list(rewards),
        args=trl_config(config, out, subject.model.generation_config.eos_token_id),
        train_dataset=rows,
        processing_class=subject.tokenizer,
    )
