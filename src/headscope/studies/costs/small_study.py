"""The study that a pilot runs: small in numbers, not in shape."""

from dataclasses import dataclass

from headscope.runs import RunDirectory
from headscope.runs.processes import gpus
from headscope.studies.models.study_stages import checkpoint_stages
from headscope.studies.study_file.models import HubCheckpoints, VariantConfig
from headscope.studies.study_file.study import Study
from headscope.studies.study_file.training import Training

STEPS = 3
"""Of a training; the first, which warms up, is not counted."""
LONGEST_ANSWER = 256
"""Tokens after which the pilot's answers are cut; an answer that is cut counts as long as the study allows."""


@dataclass(frozen=True)
class Size:
    """The size of one pilot.

    problems: of a task. samples: answers to each. pairs: of texts. texts: that are forced. controls: random head sets.
    """

    problems: int
    samples: int
    pairs: int
    texts: int
    controls: int


SMALL_MODEL_SIZES = (Size(6, 1, 4, 3, 8), Size(20, 4, 12, 12, 20))
LARGE_MODEL_SIZES = (Size(3, 1, 2, 1, 2), Size(8, 1, 4, 2, 4))
"""Two sizes each, whose difference parts what a unit costs at all from what it costs per answer, pair or text."""


def shrink(study: Study, size: Size, run: RunDirectory) -> Study:
    """Return the study with these numbers, twins left out, and of every variant the last checkpoint alone."""
    evaluation, ablate, discover = study.eval, study.ablate, study.discover
    limit = min(evaluation.max_new_tokens, LONGEST_ANSWER)
    small_eval = {
        "problems": size.problems,
        "samples": min(evaluation.samples, size.samples),
        "k": (1,),
        "forbid": (),
        "shard_problems": None,
    }
    small_ablate = {
        "heads": tuple(group for group in ("kept",) if ablate.heads),
        "step": None,
        "on": ("post",),
        "problems": size.problems,
        "samples": 1,
        "texts": size.texts,
        "controls": min(ablate.controls, size.controls),
        "generated": ablate.generated[:1],
        "generated_scales": (),
        "generated_controls": 1,
        "shard_problems": None,
    }
    variants = [_shrink_variant(study, variant, run) for variant in study.variants if variant.twin_of is None]
    base = study.base.model_copy(update={"train": _shrink_training(study.base.train)})
    return study.model_copy(
        update={
            "base": base,
            "variants": tuple(variants),
            "eval": evaluation.model_copy(update=small_eval | {"max_new_tokens": limit}),
            "ablate": ablate.model_copy(update=small_ablate),
            "discover": discover.model_copy(update={"pairs": min(discover.pairs, size.pairs)}),
        }
    )


def _shrink_variant(study: Study, variant: VariantConfig, run: RunDirectory) -> VariantConfig:
    if variant.train is not None:
        return variant.model_copy(update={"train": _shrink_training(variant.train)})
    if variant.checkpoints is None:
        return variant
    last = checkpoint_stages(study, variant, run, None)[-1]
    is_hub = isinstance(variant.checkpoints, HubCheckpoints)
    changes = {"checkpoints": None, "model": last.config.model, "revision": last.config.revision if is_hub else None}
    return variant.model_copy(update=changes | {"reward_log": None})


def _shrink_training(settings: Training | None) -> Training | None:
    """Return a few steps of a training; on one device if this machine has GPUs, but fewer than the training takes."""
    if settings is None:
        return None
    small = settings.model_copy(update={"max_steps": STEPS, "save_every": STEPS})
    too_many = settings.devices > 1 and 0 < len(gpus()) < settings.devices
    return small.model_copy(update={"devices": 1}) if too_many else small
