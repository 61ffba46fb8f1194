"""Interventions on heads: context managers for ``model.generate``, edited copies of a model, sweeps of head sets."""

from headscope.interventions.direct import direct_loss
from headscope.interventions.forced import Forced, Text, teacher_forced
from headscope.interventions.means import capture_mean
from headscope.interventions.operators import constant, mean, resample, scale, scale_rows, zero
from headscope.interventions.optimal import fit_constants
from headscope.interventions.spans import Markers, Span
from headscope.interventions.stand_ins import OPERATORS, StandIn, replaced, stand_in
from headscope.interventions.weights import edit_weights
from headscope.models import Hook, attached

__all__ = [
    "OPERATORS",
    "Forced",
    "Hook",
    "Markers",
    "Span",
    "StandIn",
    "Text",
    "attached",
    "capture_mean",
    "constant",
    "direct_loss",
    "edit_weights",
    "fit_constants",
    "mean",
    "replaced",
    "resample",
    "scale",
    "scale_rows",
    "stand_in",
    "teacher_forced",
    "zero",
]
