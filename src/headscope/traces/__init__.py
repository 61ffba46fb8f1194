"""Traces: how an answer becomes right or wrong, step by step, from saved text and token ids; needs no model."""

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
