"""Runs that older versions wrote are read by today's code. One small run per version of ``study.lock.json``.

``lock_1.zip`` is of November 2026: a random base model and one other, asked in two modes, with crossed pairs and
ablations, before results owned their files; its verdicts on empty head sets say ``empty``.
"""

import zipfile
from pathlib import Path

import pytest

from headscope.cli.main import main
from headscope.pairs import Pairs
from headscope.results.claim import Claims
from headscope.results.comparison import Comparison
from headscope.results.crossed import Crossed
from headscope.results.edges import EdgeScores
from headscope.results.evidence import Evidence
from headscope.results.faithfulness import FaithfulnessCurve, FaithfulnessEstimates
from headscope.results.head_sets import ControlledHeads
from headscope.results.measures import Measures
from headscope.results.not_run import NotRun
from headscope.results.overlap import RelativeChanges
from headscope.results.samples import Samples
from headscope.results.thinking import Thinking
from headscope.results.verdict import AblationVerdict
from headscope.runs import RunDirectory
from headscope.runs.lock import SCHEMA_VERSION
from headscope.storage import Result
from headscope.studies.answers.traces import read_saved
from headscope.traces.summary import summarise

KINDS: tuple[type[Result], ...] = (
    Pairs,
    EdgeScores,
    FaithfulnessEstimates,
    Comparison,
    Crossed,
    RelativeChanges,
    Thinking,
    Samples,
    Measures,
    ControlledHeads,
    AblationVerdict,
    Evidence,
)


@pytest.fixture(params=range(1, SCHEMA_VERSION + 1))
def old_run(request: pytest.FixtureRequest, tmp_path: Path) -> RunDirectory:
    """A run of each version of the lock; a version without one fails here."""
    with zipfile.ZipFile(Path(__file__).with_name(f"lock_{request.param}.zip")) as archive:
        archive.extractall(tmp_path / "old")
    return RunDirectory.open(tmp_path / "old")


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_kind_of_result_is_read(old_run: RunDirectory, kind: type[Result]) -> None:
    finished = old_run.results(kind)
    assert finished
    for each in finished:
        assert isinstance(each.result, kind | NotRun)


def test_its_numbers_are_the_ones_it_was_saved_with(old_run: RunDirectory) -> None:
    (base,) = old_run.results(Measures, variant="base")
    assert (base.whole.problems, base.whole.samples) == (4, 2)
    post = old_run.results(Comparison, variant="post")[0].whole
    assert post.final.counts.kept.value == len(post.final.kept) > 0
    empty = [each.result for each in old_run.results(AblationVerdict, heads="lost")]
    assert NotRun("post has no lost heads at its last checkpoint: nothing to ablate") in empty
    assert FaithfulnessCurve.load(old_run.find("faithfulness")[0].folder).fractions.tolist() == [0.2]
    assert len(Claims.load(old_run.path).claims) == 10


def test_every_pair_of_it_is_a_problem_of_its_own(old_run: RunDirectory) -> None:
    """Its pairs did not remember their problems."""
    for kind in (Pairs, EdgeScores):
        for each in old_run.results(kind):
            assert each.whole.problems is None
            size = each.whole.problem_groups.size
            assert size.problems == size.pairs > 0
    change = old_run.results(Comparison, variant="post")[0].whole.final
    assert change.size.problems == change.pairs
    assert str(change.null_size) == f"{change.null_pairs} pairs"


def test_its_page_and_tables_are_made(old_run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(old_run.path)]) == 0
    assert "post-off" in capsys.readouterr().out
    assert "nothing to ablate" in old_run.report.read_text()


def test_its_units_are_not_computed_again_by_other_code(
    old_run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["recompute", str(old_run.path), "--kind", "scores"]) == 1
    told = capsys.readouterr()
    assert "it was made by version 1 of scores, this headscope computes version 3" in told.err
    assert "\n0 of " in told.out


def test_answers_of_a_run_without_traces_are_read(old_run: RunDirectory) -> None:
    for samples in old_run.results(Samples):
        summary = summarise(read_saved(old_run, samples))
        assert summary.answers == len(samples.whole.table)
