"""Recipes and null twins, read off a study's plain data."""

from headscope.runs.recipes import (
    distills_traces,
    first_alike,
    missing_signal,
    null_twins,
    recipe,
    seeds_of,
    training_method,
    variants_by_name,
)

TRAIN = {"method": "sft", "learning_rate": 1e-3}
VARIANTS = variants_by_name(
    {
        "variants": [
            {"name": "sft", "train": TRAIN},
            {"name": "sft.lr0", "twin_of": "sft", "train": TRAIN | {"learning_rate": 0.0}},
            {"name": "sft.shuffled", "twin_of": "sft", "train": TRAIN | {"control": "shuffled_answers"}},
            {"name": "sft.seed1", "twin_of": "sft", "train": TRAIN | {"seed": 1}},
            {"name": "sft.longer", "twin_of": "sft", "train": TRAIN | {"max_steps": 9}},
            {"name": "elsewhere", "model": "org/model"},
        ]
    }
)


def test_reruns_share_a_recipe_and_another_setting_is_another() -> None:
    assert seeds_of(VARIANTS) == {
        "sft": ["sft", "sft.seed1"],
        "sft.longer": ["sft.longer"],
        "elsewhere": ["elsewhere"],
    }
    assert recipe("sft.shuffled", VARIANTS) == "sft"


def test_every_seed_has_the_recipes_null_twins_and_a_twin_has_none() -> None:
    twins = ["sft.lr0", "sft.shuffled"]
    assert null_twins("sft", VARIANTS) == null_twins("sft.seed1", VARIANTS) == twins
    assert [missing_signal(VARIANTS[twin]) for twin in twins] == ["lr0", "shuffled_answers"]
    for name in ("sft.lr0", "sft.longer", "elsewhere"):
        assert null_twins(name, VARIANTS) == []


def test_runs_are_alike_that_differ_in_the_seed_alone() -> None:
    of_seed = {"name": "sft.seed1.lr0", "twin_of": "sft.seed1", "train": TRAIN | {"seed": 1, "learning_rate": 0.0}}
    assert first_alike(VARIANTS | {"sft.seed1.lr0": of_seed}) == {
        "sft": "sft",
        "sft.lr0": "sft.lr0",
        "sft.shuffled": "sft.shuffled",
        "sft.seed1": "sft",
        "sft.longer": "sft.longer",
        "elsewhere": "elsewhere",
        "sft.seed1.lr0": "sft.lr0",
    }


def test_distillation_is_on_traces_unless_it_is_run_here_on_logits() -> None:
    on_logits, called = {"train": {"method": "distill"}}, {"train": TRAIN, "method": "distill"}
    elsewhere, unknown = {"model": "org/r1", "method": "distill"}, {"model": "org/model"}
    methods = [training_method(variant) for variant in (on_logits, called, elsewhere, unknown, {"train": TRAIN})]
    assert methods == ["distill", "distill", "distill", "", "sft"]
    assert [distills_traces(variant) for variant in (on_logits, called, elsewhere, unknown)] == [
        False,
        True,
        True,
        False,
    ]
