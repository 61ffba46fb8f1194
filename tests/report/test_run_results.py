"""What tables and pages share of a run's results."""

from pathlib import Path

from tests.report import runs

from headscope.report import RunResults
from headscope.results.samples import Samples


def test_units_are_the_same_objects_for_whoever_asks_and_follow_the_lock(tmp_path: Path) -> None:
    writer = runs.RunWriter(tmp_path, ("sft",))
    for variant in ("sft", "base"):
        writer.save(runs.samples("T1", {"p0": "Ans 1."}, ("correct",)), variant=variant, task="T1")
    results = RunResults(writer.close())
    both = results.units(Samples, task="T1")
    assert [unit.labels["variant"] for unit in both] == ["sft", "base"]
    assert results.units(Samples, variant="base") == both[1:]
    assert results.units(Samples, variant="base")[0] is both[1]
    assert results.units(Samples, variant="grpo") == []
    writer.save(runs.samples("T2", {"p0": "Ans 1."}, ("correct",)), variant="sft", task="T2")
    assert len(RunResults(writer.close()).units(Samples)) == 3
