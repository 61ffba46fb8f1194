"""Models: loading, and access to heads per architecture, of a ``Subject`` or a plain model."""

from headscope.models.access import HeadAccess, LayerAccess
from headscope.models.architectures import ARCHITECTURES, head_access
from headscope.models.common_vocabulary import common_vocabulary, entries
from headscope.models.hooks import Hook, attached
from headscope.models.loading import load_model
from headscope.models.norms import NormAccess
from headscope.models.projections import Projection
from headscope.models.subject import Subject, as_model, name_of
from headscope.models.ungrouping import ungrouped
from headscope.models.validation import check_finite, validate

__all__ = [
    "ARCHITECTURES",
    "HeadAccess",
    "Hook",
    "LayerAccess",
    "NormAccess",
    "Projection",
    "Subject",
    "as_model",
    "attached",
    "check_finite",
    "common_vocabulary",
    "entries",
    "head_access",
    "load_model",
    "name_of",
    "ungrouped",
    "validate",
]
