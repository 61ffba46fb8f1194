"""``--executor``, ``--workers`` and ``--address`` next to what the study file says of its executor."""

from pathlib import Path

import pytest
from tests.cli.test_report_and_status import call

from headscope.cli import run as run_command
from headscope.studies.study_file.study import Study

STUDY = "name: toy\nbase: {model: lab-s}\nvariants: []\ntasks: [lab-t1]\n"
RAY = "executor: {kind: ray, address: 'head:6379', threads: 2}\n"


@pytest.mark.parametrize(
    ("file", "options", "executor"),
    [
        ("", ["--workers", "3"], ("processes", 3, None, None)),
        ("", ["--executor", "processes", "--set", "executor.threads=2"], ("processes", None, 2, None)),
        ("", ["--address", "auto"], ("ray", None, None, "auto")),
        (RAY, ["--workers", "8"], ("ray", 8, 2, "head:6379")),
        (RAY, ["--executor", "ray"], ("ray", None, 2, "head:6379")),
        (RAY, ["--address", "auto"], ("ray", None, 2, "auto")),
        (RAY, ["--executor", "processes"], ("processes", None, None, None)),
        (RAY, ["--executor", "local"], ("local", None, None, None)),
    ],
)
def test_options_change_what_they_name_and_nothing_else(
    file: str,
    options: list[str],
    executor: tuple[object, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "study.yaml").write_text(STUDY + file)
    chosen: list[Study] = []
    monkeypatch.setattr(run_command, "_run", lambda _verb, study, _options: chosen.append(study) or 0)
    call(capsys, "run", str(tmp_path / "study.yaml"), *options)
    settings = chosen[0].executor
    assert (settings.kind, settings.workers, settings.threads, settings.address) == executor
