"""TRL's trainers, durable; those that sample also without the work that cannot change the gradient."""

from collections.abc import Callable, Iterator
from typing import Any

import trl
from torch.utils.data import Sampler

from headscope.errors import InputError
from headscope.models.rotary import depends_on_length
from headscope.training.durable import DurableTrainer
from headscope.training.microbatches import micro_batches
from headscope.training.rollout import sample_completions


class DurableSft(DurableTrainer, trl.SFTTrainer):  # type: ignore[misc]
    """``trl.SFTTrainer`` with our checkpoints."""


class _Sampling(DurableTrainer):
    """What TRL's trainers that write their own completions have in common."""

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        return EpochOrder(super()._get_train_sampler(dataset), lambda: int(self.state.epoch or 0))

    def _completions(self, prompt_ids: list[list[int]]) -> list[list[int]] | None:
        """Completions from our own loop; None where TRL's engines are to write them: everywhere but on a CPU without
        nucleus.

        If rotary frequencies depend on a text's length, TRL's engines would write with a cache of other ones; then the
        loop is ours on a GPU too. Raises InputError where it cannot be: with a nucleus, and with vLLM.
        """
        model = self.accelerator.unwrap_model(self.model_wrapped)
        by_length = depends_on_length(model)
        if by_length and (self.use_vllm or self.top_p < 1):
            wanted, name = "vllm: true" if self.use_vllm else f"top_p: {self.top_p}", model.config.model_type
            raise InputError(
                f"{wanted} leaves sampling to an engine that mistakes the rotary frequencies of {name}, "
                "which depend on a text's length; set vllm: false and top_p: 1"
            )
        if self.use_vllm or self.top_p < 1 or (self.accelerator.device.type != "cpu" and not by_length):
            return None
        return sample_completions(
            model,
            prompt_ids,
            limit=self.max_completion_length,
            temperature=self.temperature,
            stops=self.eos_token_ids,
        )


class DurableGrpo(_Sampling, trl.GRPOTrainer):  # type: ignore[misc]
    """``trl.GRPOTrainer`` with our checkpoints and, for the paper's loss, lean micro-batches."""

    _buffered_inputs: list[dict[str, Any]] | None

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """As TRL's: sample at the first micro-batch of a step, then hand out one micro-batch per call."""
        if self.loss_type != "grpo" or not self.model.training:
            return super()._prepare_inputs(generation_batch)
        count = self.args.steps_per_generation
        if self._step % count == 0 or self._buffered_inputs is None:
            scored = self._generate_and_score_completions(generation_batch)
            # Several processes gather per-row statistics of a micro-batch, which must be alike in all of them.
            alone = self.accelerator.num_processes == 1
            self._buffered_inputs = micro_batches(scored, count, drop_zero=alone and self.beta == 0)
        return self._buffered_inputs[self._step % count]

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        completions = self._completions(prompt_ids)
        # The log-probabilities TRL may return beside them are read from vLLM only.
        return (
            super()._generate_single_turn(prompt_ids, *args, **kwargs) if completions is None else (completions, None)
        )


class DurableDistillation(_Sampling, trl.DistillationTrainer):  # type: ignore[misc]
    """``trl.DistillationTrainer`` with our checkpoints."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        completions = self._completions(prompt_ids)
        return super()._generate_single_turn(prompt_ids, *args, **kwargs) if completions is None else completions


class EpochOrder(Sampler[int]):
    """TRL's ``RepeatSampler``, its order a function of seed and epoch.

    As TRL has it, the order depends on how many epochs this process has begun, so that a run resumed in its
    third epoch would see the first one's order again.
    """

    def __init__(self, sampler: Any, epoch: Callable[[], int]) -> None:
        self._sampler = sampler
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self._sampler.generator.manual_seed(self._sampler.seed + self._epoch())
        yield from self._sampler

    def __len__(self) -> int:
        return len(self._sampler)
