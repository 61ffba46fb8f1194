"""Traces: how an answer goes right or wrong, step by step. Arithmetic on saved text and token ids: no model, no GPU."""

from headscope.traces.calculations import Calculation, find_calculations
from headscope.traces.loops import Loop, find_loop, recurring_steps
from headscope.traces.steps import Step
from headscope.traces.text_steps import split_steps
from headscope.traces.trajectory import Trajectory, answer_trajectory

__all__ = [
    "Calculation",
    "Loop",
    "Step",
    "Trajectory",
    "answer_trajectory",
    "find_calculations",
    "find_loop",
    "recurring_steps",
    "split_steps",
]
