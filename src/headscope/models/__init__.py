"""Models: loading, and access to heads per architecture, for a ``Subject`` or a plain model."""

from headscope.models.access import HeadAccess, LayerAccess, ungroup_kv
from headscope.models.architectures import ARCHITECTURES, head_access
from headscope.models.common_vocabulary import common_vocabulary, vocabulary_size
from headscope.models.hooks import Hook, attach_hooks
from headscope.models.loading import load_model
from headscope.models.norms import NormAccess
from headscope.models.projections import Projection
from headscope.models.subject import Subject, as_model, name_of
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
    "attach_hooks",
    "check_finite",
    "common_vocabulary",
    "head_access",
    "load_model",
    "name_of",
    "ungroup_kv",
    "validate",
    "vocabulary_size",
]
