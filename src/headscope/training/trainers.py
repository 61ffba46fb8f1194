"""TRL's trainers, durable; those that sample also without the work that cannot change the gradient."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
import trl
from torch import Tensor
from torch.utils.data import Sampler

from headscope.errors import InputError
from headscope.models.decoding import decode
from headscope.models.rotary import depends_on_length
from headscope.training.durable_trainer import DurableTrainer
from headscope.training.microbatches import Batch, micro_batches

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel
    from trl.trainer.utils import RepeatSampler


class DurableSft(DurableTrainer, trl.SFTTrainer):  # type: ignore[misc]
    """``trl.SFTTrainer`` with our checkpoints."""


class _SamplingTrainer(DurableTrainer):
    """Behaviour that TRL's trainers that write their own completions have in common."""

    def _get_train_sampler(self, dataset: "Dataset | None" = None) -> "EpochOrder":
        return EpochOrder(super()._get_train_sampler(dataset), lambda: int(self.state.epoch or 0))

    def _sample_completions(self, prompt_ids: list[list[int]]) -> list[list[int]] | None:
        """Return completions from our own loop; None if TRL's engines are to write them.

        The loop is ours on a CPU without a nucleus. If rotary frequencies depend on a text's length, TRL's engines
        would write with a cache of other frequencies; then it is ours on a GPU too. Raises InputError if it cannot be:
        with a nucleus, and with vLLM.
        """
        model = self.accelerator.unwrap_model(self.model_wrapped)
        by_length = depends_on_length(model)
        if by_length and (self.use_vllm or self.top_p < 1):
            setting = "vllm: true" if self.use_vllm else f"top_p: {self.top_p}"
            raise InputError(
                f"{setting} leaves sampling to an engine that mistakes the rotary frequencies of "
                f"{model.config.model_type}, which depend on a text's length; set vllm: false and top_p: 1"
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


class DurableGrpo(_SamplingTrainer, trl.GRPOTrainer):  # type: ignore[misc]
    """``trl.GRPOTrainer`` with our checkpoints and, for the paper's loss, lean micro-batches."""

    _buffered_inputs: list[Batch] | None

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """Sample at the first micro-batch of a step, as TRL does, then hand out one micro-batch per call."""
        # Other losses weigh tokens, not completions: cutting their batches apart would change them.
        if self.loss_type != "grpo" or not self.model.training:
            return super()._prepare_inputs(generation_batch)
        count = self.args.steps_per_generation
        if self._step % count == 0 or self._buffered_inputs is None:
            scored = self._generate_and_score_completions(generation_batch)
            # Several processes gather per-row statistics of a micro-batch, which must be alike in all of them.
            is_alone = self.accelerator.num_processes == 1
            self._buffered_inputs = micro_batches(scored, count, drop_zero=is_alone and self.beta == 0)
        return self._buffered_inputs[self._step % count]

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        completions = self._sample_completions(prompt_ids)
        if completions is None:
            return super()._generate_single_turn(prompt_ids, *args, **kwargs)
        # The log-probabilities TRL may return next to them are read from vLLM only.
        return completions, None


class DurableDistillation(_SamplingTrainer, trl.DistillationTrainer):  # type: ignore[misc]
    """``trl.DistillationTrainer`` with our checkpoints."""

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        completions = self._sample_completions(prompt_ids)
        return super()._generate_single_turn(prompt_ids, *args, **kwargs) if completions is None else completions


def sample_completions(
    model: "PreTrainedModel",
    prompts: Sequence[Sequence[int]],
    *,
    limit: int,
    temperature: float,
    stops: Sequence[int],
) -> list[list[int]]:
    """Sample up to ``limit`` tokens after each prompt; a completion includes the stop token that ended it.

    The distribution of ``generate``: softmax of logits / temperature, one draw per token, from torch's own generator.
    Ended rows leave the batch (``models.decoding``): on a CPU every row costs time.
    """

    def choose(logits: Tensor, rows: Tensor, step: int) -> Tensor:
        return torch.multinomial(torch.softmax(logits.float() / temperature, -1), 1)[:, 0]

    return decode(model, prompts, choose, limit=limit, stops=stops)


class EpochOrder(Sampler[int]):
    """TRL's ``RepeatSampler``, its order a function of seed and epoch.

    As TRL has it, the order depends on how many epochs this process has begun, so that a run resumed in its third epoch
    would see the first one's order again.
    """

    def __init__(self, sampler: "RepeatSampler", epoch: Callable[[], int]) -> None:
        self._sampler = sampler
        self._epoch = epoch

    def __iter__(self) -> Iterator[int]:
        # The epoch is Trainer's own count, which a resumed run restores.
        self._sampler.generator.manual_seed(self._sampler.seed + self._epoch())
        yield from self._sampler

    def __len__(self) -> int:
        return len(self._sampler)
