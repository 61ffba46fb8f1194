"""The sentences that the overview begins with: what each says, how it hedges, and where it leads."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headscope.heads import HeadId
from headscope.report import RunResults, render
from headscope.report.blocks import Notice
from headscope.report.findings import findings
from headscope.report.head_maps import head_maps
from headscope.report.pages.ablation import ablation
from headscope.results.counts import Counts
from headscope.results.emergence import Emergence
from headscope.results.head_roles import HeadRole
from headscope.results.measures import McNemar, Measures
from headscope.results.not_run import NotRun
from headscope.runs import RunDirectory

from .browser import Opened
from .head_runs import head_roles
from .runs import (
    RunWriter,
    add_comparison,
    add_read,
    emergence,
    estimate,
    measures,
    samples,
    training_effects,
    verdict,
)


def sentences(run: RunDirectory) -> dict[str, str]:
    """The findings of a run by the page they lead to."""
    return {finding.page: finding.text for finding in findings(RunResults(run))}


def counted(new: int, excess: float) -> Emergence:
    """Emergence with so many new heads, ``excess`` ± 0.5 of them above the null."""
    base = np.zeros((6, 8))
    post = base.copy()
    post.flat[:new] = 1.0
    result = emergence(base, post)
    changes = {name: getattr(result.excess, name) for name in ("kept", "lost", "contingent")}
    return replace(result, excess=Counts(new=estimate(excess, 0.5), **changes))


@pytest.mark.parametrize(
    ("excess", "said"),
    [
        (2.0, "loses 3, more than chance gives (0.5 in the base against itself)."),
        (0.4, "loses 3, which could be chance (0.5 in the base against itself)."),
    ],
)
def test_lost_heads_stand_beside_chance(tmp_path: Path, excess: float, said: str) -> None:
    base = np.zeros((6, 8))
    base.flat[:3] = 1.0
    result = emergence(base, np.zeros((6, 8)))
    null = replace(result.null, lost=estimate(0.5, 0.5))
    result = replace(result, null=null, excess=replace(result.excess, lost=estimate(excess, 0.5)))
    run = RunWriter(tmp_path / "run", variants=("sft",))
    add_comparison(run, "sft", [result] * 6)
    assert sentences(run.close())["emergence-map"].endswith(said)


def evaluated(level: float, change: float, p_value: float, spread: float = 0.05) -> Measures:
    """Measures of a variant whose pass@1 changed by ``change`` ± ``spread``."""
    flips = McNemar(40, 3, 500, p_value)
    return replace(measures(level, is_base=False), change=estimate(change, spread, 500), flips=flips)


def test_each_sentence_has_its_numbers_and_its_page(run: RunDirectory) -> None:
    said = sentences(run)
    assert said["performance"] == (
        "Training changed the answers (pass@1: the share that is right): sft's pass@1 rises from 0.30 to 0.55 on T1 "
        "(+0.25 [+0.20, +0.30]; the "
        "largest clear change on 2 tasks); "
        "grpo's pass@1 rises from 0.30 to 0.70 on T1 (+0.40 [+0.35, +0.45]; the largest clear change on 2 tasks)."
    )
    assert said["emergence-map"].startswith(
        "Of 48 heads, sft's circuit gains 12, more than chance gives (1.5 in the base against itself), and loses 3, "
        "which could be chance (1.5 in the base against itself); "
    )
    assert "training made them matter more" in said["effects"]
    assert "that they matter more could be chance" in said["effects"]
    assert said["ablation"] == (
        "Removing sft's 3 new heads changes pass@1 on T1 by −0.14 [−0.17, −0.11] (zero ablation, the clearest of "
        "2 tests), more than random sets do (rank 1 of 21, p = 0.048); removing grpo's 3 kept heads changes pass@1 on "
        "T1 by −0.02 [−0.05, +0.01] (zero ablation, the clearest of 2 tests), no more than random sets do (rank "
        "12 of 21, p = 0.571)."
    )
    assert len(said) <= 5


@pytest.mark.parametrize(
    ("new", "excess", "twin", "said"),
    [
        (5, 4.0, 2, "gains 5, more than chance gives (1.5 in the base against itself) and than its twin sft.lr0 (2), "),
        (5, 4.0, 5, "gains 5, no more than its twin sft.lr0 (5), and loses none"),
        (2, 0.4, 0, "gains 2, which could be chance (1.5 in the base against itself), and loses none"),
        (0, -1.5, 1, "gains none and loses none"),
    ],
)
def test_new_heads_stand_beside_chance_and_twin(tmp_path: Path, new: int, excess: float, twin: int, said: str) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft", "sft.lr0"))
    run.study["variants"] = [{"name": "sft"}, {"name": "sft.lr0", "twin_of": "sft", "train": {"learning_rate": 0}}]
    add_comparison(run, "sft", [counted(new, excess)] * 6)
    add_comparison(run, "sft.lr0", [counted(twin, twin - 1.5)] * 6)
    text = sentences(run.close())["emergence-map"]
    assert said in text
    assert text.count("circuit") == 1  # the twin has no sentence of its own


def test_a_circuit_that_holds_nearly_every_head_has_no_room_for_new_ones(tmp_path: Path) -> None:
    full = np.ones((6, 8))
    full[0, 0] = 0.0
    run = RunWriter(tmp_path / "run", variants=("sft",))
    add_comparison(run, "sft", [emergence(full, full)] * 6)
    said = sentences(run.close())["emergence-map"]
    assert said == "Of 48 heads, sft's circuit could gain only 1: all other heads are in the base's."


@pytest.mark.parametrize(
    ("tasks", "said"),
    [
        (
            {"T1": (0.2, 1e-4)},
            "(pass@1: the share that is right): sft's pass@1 rises from 0.30 to 0.50 on T1",
        ),
        ({"T1": (-0.2, 1e-4)}, "sft's pass@1 falls from 0.70 to 0.50 on T1"),
        ({"T1": (0.03, 0.4)}, "Whether training changed the answers of sft cannot be told from chance."),
        ({"T1": (0.2, 0.03), "T2": (0.0, 1.0)}, "cannot be told from chance"),  # 0.03 on the better of two tasks
    ],
)
def test_a_change_that_could_be_chance_is_called_that(
    tmp_path: Path, tasks: dict[str, tuple[float, float]], said: str
) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    for task, (change, p_value) in tasks.items():
        run.save(evaluated(0.5, change, p_value), variant="sft", step=60, task=task)
    assert said in sentences(run.close())["performance"]


def test_an_undecided_removal_decides_nothing(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    labels: dict[str, Any] = {"heads": "emergent", "operator": "zero", "task": "T1"}
    run.save(verdict(-0.03, "undecided"), variant="sft", **labels)
    run.save(verdict(-0.5, "supported"), variant="sft", on="base", **labels)  # the base is not the variant
    assert "by −0.03 [−0.06, 0.00] (zero ablation), which decides nothing" in sentences(run.close())["ablation"]


def test_an_effect_that_is_excluded_is_not_what_random_sets_do(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    small = replace(verdict(-0.02, "not supported"), control_effects=np.zeros(20), rank=1, p_value=1 / 21)
    run.save(small, variant="sft", heads="emergent", operator="zero", task="T1")
    assert "too little to be called an effect (rank 1 of 21, p = 0.048)" in sentences(run.close())["ablation"]


def test_roles_that_changed_are_named_beside_those_of_a_twin(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft", "grpo"))
    run.study["variants"] = [{"name": "sft"}, {"name": "sft.lr0", "twin_of": "sft", "train": {"learning_rate": 0}}]
    run.study["variants"].append({"name": "grpo"})
    for variant in ("sft", "sft.lr0"):
        run.save(head_roles(variant), variant=variant, task="T1")
    none = replace(head_roles("grpo"), labels=head_roles("grpo").labels[:1])
    run.save(none, variant="grpo", task="T1")
    run.save(NotRun("layer 0 of odd does not return its attention rows"), "head_roles", variant="grpo", task="T2")
    assert sentences(run.close())["head"] == (
        "What heads read in the answers: in sft on T1, "
        'L1H2 (from L1H1) took up "iteration" and L1H1 gave up "iteration" '
        "(1 such change, 1 in its twin sft.lr0); in grpo, no head took up or gave up a role."
    )


def test_of_many_roles_those_on_most_tasks_are_named_and_the_rest_is_counted(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    gained = [HeadRole(HeadId(layer, 0), role, "gained") for layer in (0, 1) for role in ("retrieval", "closer")]
    both = HeadRole(HeadId(2, 3), "iteration", "gained")
    for task, labels in (("T1", [*gained[:2], both]), ("T2", [*gained[2:], both])):
        run.save(replace(head_roles("sft", task=task), labels=tuple(labels)), variant="sft", task=task)
    assert sentences(run.close())["head"] == (
        'What heads read in the answers: in sft on T1 and T2, L2H3 took up "iteration"; '
        'on T1, L0H0 took up "retrieval" and L0H0 took up "closer"; on T2, L1H0 took up "retrieval" '
        "(6 such changes in all)."
    )


def test_a_study_that_removes_no_heads_is_not_waited_for(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    notices = []
    for heads in ([], ["emergent"]):
        run.study["ablate"] = {"heads": heads}
        notices += ablation(RunResults(run.close())).blocks
    assert [notice.text for notice in notices if isinstance(notice, Notice)] == [
        "This study removes no heads: ablate.heads is an empty list. Name a group of heads there, such as emergent.",
        "No ablation is done yet.",
    ]


def test_the_removal_of_heads_that_took_up_a_role_is_told_in_words(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    run.save(verdict(-0.84, "supported"), variant="sft", heads="new-previous-token", operator="zero", task="T1")
    said = sentences(run.close())["ablation"]
    assert "Removing sft's 3 heads that took up the role previous token changes pass@1 on T1 by" in said


def test_nothing_measured_says_nothing(tmp_path: Path) -> None:
    assert findings(RunResults(RunWriter(tmp_path / "run").close())) == ()


def test_the_maps_show_each_head_once_and_the_states_by_name(run: RunDirectory, tmp_path: Path, chromium: Any) -> None:
    results = RunResults(run)
    for comparison, drawn in zip(results.comparisons, head_maps(results.comparisons), strict=True):
        status = comparison.final.status
        assert (drawn.layers, drawn.heads) == status.shape
        for code, path in drawn.shapes:
            cells = {tuple(map(float, cell)) for cell in re.findall(r"M([\d.]+) ([\d.]+)", path)}
            expected = np.argwhere(status == code)
            assert cells == {(head + 0.5, status.shape[0] - layer - 0.5) for layer, head in expected}
            assert len(cells) == len(expected)
        assert {code for code, _ in drawn.shapes} == set(np.unique(status).tolist())
    with Opened(chromium, render(run, tmp_path / "report.html")) as opened:
        opened.page.set_viewport_size({"width": 1400, "height": 1000})
        maps = opened.page.locator(".head-maps svg")
        assert maps.count() == 2
        assert maps.nth(1).bounding_box()["y"] + maps.nth(1).bounding_box()["height"] < 1000  # on the first screen
        legend = str(opened.page.locator(".head-maps .legend").text_content())
        assert {"● kept", "◆ new"} <= {part.strip() for part in re.split(r"(?=[●◆✕△·])", legend)}


def test_a_sentence_leads_to_its_page(run: RunDirectory, tmp_path: Path, chromium: Any) -> None:
    with Opened(chromium, render(run, tmp_path / "report.html")) as opened:
        links = opened.page.locator(".findings a")
        for index, finding in enumerate(findings(RunResults(run))):
            opened.go("#page=overview")
            links.nth(index).click()
            opened.page.wait_for_selector(f"#page-{finding.page}:visible")
        assert not opened.complaints


def test_a_sentence_about_one_variant_chooses_it(tmp_path: Path, chromium: Any) -> None:
    name = "<b>s&ft</b> 50%"
    run = RunWriter(tmp_path / "run", variants=(name, "grpo"))
    for variant in (name, "grpo"):
        run.save(evaluated(0.5, 0.2, 1e-4), variant=variant, step=60, task="T1")
    add_comparison(run, name, [counted(5, 4.0)] * 6)
    run.save(training_effects(name, 0.8), variant=name)
    run.save(verdict(-0.14, "supported"), variant="grpo", heads="emergent", operator="zero", task="T1")
    results = RunResults(run.close())
    said = {finding.page: finding.variant for finding in findings(results)}
    assert said == {"performance": "", "emergence-map": name, "effects": name, "ablation": "grpo"}
    with Opened(chromium, render(results.run, tmp_path / "report.html")) as opened:
        for place, (page, variant) in enumerate(said.items()):
            opened.go("#page=overview")
            opened.page.locator(".findings a").nth(place).click()
            opened.page.wait_for_selector(f"#page-{page}:visible")
            assert opened.page.locator(".context [data-variant]").input_value() == variant
        assert opened.complaints == []


def test_the_failures_of_one_variants_answers_choose_it(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    many = {f"p{number}": "Ans 6. Ans 5." for number in range(40)}
    answers = {"base": samples("T1", many, ("correct",)), "sft": samples("T1", many, ("wrong",))}
    add_read(run, answers, {"base": 0, "sft": 60}, "T1")
    said = {finding.page: finding.variant for finding in findings(RunResults(run.close()))}
    assert said == {"transitions": "sft"}


def test_effects_are_said_once_per_recipe(tmp_path: Path) -> None:
    run = RunWriter(tmp_path / "run", variants=("sft",))
    run.save(training_effects("sft", 0.8), variant="sft")
    assert sentences(run.close())["effects"].count("sft:") == 1
