"""``--retry`` deletes damaged units only of a directory that it may join."""

from pathlib import Path

import pytest
from tests.runs.toys import flip_byte, unit

from headscope.errors import InputError
from headscope.runs import RunDirectory, discarding, execute, writer_lock
from headscope.runs.presence import Presence
from headscope.runs.writer_lock import exclusive
from headscope.studies import run as study_runs
from headscope.studies.study_file.study import Study


def test_nothing_is_deleted_while_another_study_is_done_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_runs, "plan_key", lambda study, goal: "mine")
    run, damaged, study = RunDirectory(tmp_path), unit(a=1), Study.model_construct(name="toy")
    execute([damaged], run)
    flip_byte(run.folder(damaged) / "value.json")
    with Presence(tmp_path, plan="another"), pytest.raises(InputError, match="another study or verb"):
        study_runs.discard_damaged(study, run, "run")
    assert run.folder(damaged).is_dir()
    with Presence(tmp_path, plan="mine"):
        assert study_runs.discard_damaged(study, run, "run").keys() == {damaged.address}
    assert not run.folder(damaged).exists()


def test_two_that_retry_the_same_delete_damaged_units_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_runs, "plan_key", lambda study, goal: "mine")
    run, damaged, study = RunDirectory(tmp_path), unit(a=1), Study.model_construct(name="toy")
    execute([damaged], run)
    flip_byte(run.folder(damaged) / "value.json")
    find_unit_damage, deleted = discarding.find_unit_damage, []

    def look_while_another_begins(folder: Path) -> str:
        monkeypatch.setattr(discarding, "find_unit_damage", find_unit_damage)
        deleted.append(study_runs.discard_damaged(study, run, "run"))
        return find_unit_damage(folder) if folder.exists() else ""

    monkeypatch.setattr(discarding, "find_unit_damage", look_while_another_begins)
    deleted.append(study_runs.discard_damaged(study, run, "run"))
    assert [list(problems) for problems in deleted] == [[damaged.address], []]


@pytest.mark.parametrize("moment", ["after the look at who is there", "before the deletion"])
def test_another_study_cannot_join_between_the_look_and_the_deletion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setattr(study_runs, "plan_key", lambda study, goal: "mine")
    monkeypatch.setattr(writer_lock, "PATIENCE", 0.1)
    run, damaged, study = RunDirectory(tmp_path), unit(a=1), Study.model_construct(name="toy")
    execute([damaged], run)
    flip_byte(run.folder(damaged) / "value.json")
    check_joinable, find_unit_damage, answers = study_runs._check_joinable, discarding.find_unit_damage, []

    def join_as_another_study() -> None:
        """Do as ``run_study`` does when it begins."""
        try:
            with exclusive(run):
                check_joinable(run, "another")
            answers.append("joined")
        except InputError as error:
            answers.append(str(error))

    def look_while_another_joins(run: RunDirectory, key: str) -> None:
        check_joinable(run, key)
        join_as_another_study()

    def read_while_another_joins(folder: Path) -> str:
        monkeypatch.setattr(discarding, "find_unit_damage", find_unit_damage)
        join_as_another_study()
        return find_unit_damage(folder)

    if moment == "before the deletion":
        monkeypatch.setattr(discarding, "find_unit_damage", read_while_another_joins)
    else:
        monkeypatch.setattr(study_runs, "_check_joinable", look_while_another_joins)
    assert study_runs.discard_damaged(study, run, "run").keys() == {damaged.address}
    assert len(answers) == 1
    assert "is in use by" in answers[0]
