"""Memory that runs out while answers are drawn: fewer at a time, and the same answers."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from tests.evaluation.prompts import PROMPTS, WARM

from headscope.errors import OutOfMemoryError, is_out_of_memory
from headscope.evaluation.sampling import sample


class Shortage:
    """Memory for passes of ``most`` rows. rows: of every pass, of those that failed below 0."""

    def __init__(self, most, error):
        self.most, self.error, self.rows = most, error, []

    def __call__(self, module, args, kwargs):
        rows = kwargs["input_ids"].shape[0]
        fails = rows > self.most
        self.rows.append(-rows if fails else rows)
        if fails:
            raise self.error

    @contextmanager
    def on(self, model):
        self.__module__ = "transformers.test"  # as a hook that does not follow rows
        handle = model.register_forward_pre_hook(self, with_kwargs=True)
        try:
            yield self
        finally:
            handle.remove()


SHORT = [
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    MemoryError("no memory"),
]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("error", SHORT, ids=lambda error: type(error).__name__)
def test_running_out_of_memory_halves_the_batch_and_changes_no_response(model, tokenizer, error):
    prompts = [[1, 20 + number, 21] for number in range(16)]
    expected = sample(model, tokenizer, prompts, WARM)
    with Shortage(3, error).on(model) as shortage:
        assert sample(model, tokenizer, prompts, WARM) == expected
    # Batches of 48, 24, 12 and 6 answers, of which the first pass reads each prompt once for its three samples. Two
    # prompts fit, and their six answers do not.
    assert [rows for rows in shortage.rows if rows < 0] == [-16, -8, -4, -6]
    with Shortage(3, error).on(model) as shortage:
        assert sample(model, tokenizer, prompts, WARM, batch_size=8) == expected
    assert sum(rows < 0 for rows in shortage.rows) <= 3


def test_an_answer_that_fits_in_no_way_fails_with_its_sentence(model, tokenizer):
    with (
        Shortage(0, SHORT[0]).on(model) as shortage,
        pytest.raises(
            OutOfMemoryError, match="sampling ran out of memory with one answer at a time, of up to 12 tokens"
        ) as raised,
    ):
        sample(model, tokenizer, [[1, 20, 21]] * 4, replace(WARM, samples=1))
    assert is_out_of_memory(raised.value)
    assert shortage.rows[-1] == -1


def test_other_errors_of_a_pass_are_not_tried_again(model, tokenizer):
    with (
        Shortage(0, RuntimeError("device-side assert")).on(model) as shortage,
        pytest.raises(RuntimeError, match="device-side"),
    ):
        sample(model, tokenizer, PROMPTS, WARM)
    assert len(shortage.rows) == 1
