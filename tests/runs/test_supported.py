"""Libraries of another version are refused in a sentence, before any work; the ranges are those that pip goes by."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from headscope.cli.main import main
from headscope.errors import ManyInputsError
from headscope.runs.supported import SUPPORTED, check_versions

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def install(monkeypatch: pytest.MonkeyPatch, **versions: str | None) -> None:
    def look_up(package: str) -> str:
        installed = versions.get(package, version(package))
        if installed is None:
            raise PackageNotFoundError(package)
        return installed

    monkeypatch.setattr("headscope.runs.supported.version", look_up)


def test_the_ranges_are_those_of_the_package() -> None:
    requirements = map(Requirement, tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["dependencies"])
    declared = {requirement.name: requirement.specifier for requirement in requirements}
    for package, supported in SUPPORTED.items():
        assert declared[package] == supported


@pytest.mark.parametrize(
    ("transformers", "trl"), [("5.16.0", "1.16.0"), ("5.22.2", "1.16.9"), ("5.20.0.dev0", "1.16.0")]
)
def test_both_ends_are_taken(transformers: str, trl: str, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, transformers=transformers, trl=trl)
    check_versions()


def test_every_version_outside_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, transformers="5.24.0", trl=None)
    with pytest.raises(ManyInputsError) as caught:
        check_versions()
    assert caught.value.sentences == (
        "transformers is 5.24.0, and headscope works with >=5.16,<5.23: pip install 'transformers>=5.16,<5.23'",
        "trl is absent, and headscope works with >=1.16,<1.17: pip install 'trl>=1.16,<1.17'",
    )


@pytest.mark.parametrize("arguments", [["env"], ["run", "lab", "--out", "nowhere"], ["validate", "lab"]])
def test_no_work_begins_with_a_version_outside(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    install(monkeypatch, trl="1.15.0")
    assert main(arguments) == 2
    assert "trl is 1.15.0, and headscope works with" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
