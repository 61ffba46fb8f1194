"""Interventions on heads: context managers for ``model.generate``, edited copies of a model, sweeps of head sets."""

from headscope.interventions.direct_effects import direct_loss
from headscope.interventions.donor_weights import DonorWeights
from headscope.interventions.head_edits import Constants, Replacement
from headscope.interventions.means import capture_mean
from headscope.interventions.operators import constant, graft, mean, resample, revert, scale, scale_rows, zero
from headscope.interventions.optimal_constants import fit_constants
from headscope.interventions.replacements import make_replacement, replace_heads
from headscope.interventions.spans import Markers, Span
from headscope.interventions.teacher_forcing import TeacherForcedMetrics, Text, teacher_force
from headscope.interventions.weight_edits import edit_weights, revert_weights

__all__ = [
    "Constants",
    "DonorWeights",
    "Markers",
    "Replacement",
    "Span",
    "TeacherForcedMetrics",
    "Text",
    "capture_mean",
    "constant",
    "direct_loss",
    "edit_weights",
    "fit_constants",
    "graft",
    "make_replacement",
    "mean",
    "replace_heads",
    "resample",
    "revert",
    "revert_weights",
    "scale",
    "scale_rows",
    "teacher_force",
    "zero",
]
