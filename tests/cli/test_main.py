"""The command line: exit codes, one sentence on standard error, the path to open as the last line, one JSON object
on request.
"""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headscope.cli.main import main
from headscope.errors import MachineError


def call(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_help_answers_without_torch() -> None:
    check = (
        "import sys\nfrom headscope.cli.main import main\nmain(['--help'])\nmain(['run', '--help'])\n"
        "assert not {'torch', 'transformers', 'pandas'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Which attention heads" in done.stdout


@pytest.mark.parametrize("verb", ["run", "plan", "status", "report", "discover", "eval", "validate", "env"])
def test_every_verb_has_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, verb, "--help")
    assert code == 0
    assert "--json" in out


def test_bad_input_is_one_sentence_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "validate", "lab", "--set", "eval.sampels=3")
    assert (code, out) == (2, "")
    assert err == "headscope: built-in study lab: eval.sampels is not a key of a study (did you mean 'samples'?)\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["validte"], "No such command"),
        (["validate", "--nope"], "No such option"),
        (["ls", "nothing"], "headscope: Invalid value for 'kind': 'nothing' is not one of"),
        (["export", "--circuit", ".", "--step", "x"], "Invalid value for '--step'"),
        (["status"], "Missing argument 'path'"),
        (["status", "/nowhere"], "nothing is there; `headscope run STUDY --out /nowhere` begins a run there"),
        (["report", "/nowhere"], "not a run directory"),
        (["lab", "pretrain", "--size", "XXL"], "size 'XXL' does not exist"),
        (["discover", "--base", "/nowhere", "--task", "lab-t1"], "needs at least one"),
        (["eval", "--base", "/nowhere", "--task", "lab-t1"], "/nowhere"),
        (["run", "nowhere.yaml"], "nowhere.yaml does not exist"),
    ],
)
def test_what_cannot_be_used_is_named(arguments: list[str], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, *arguments)
    assert code == 2
    assert word in err
    assert "Traceback" not in err


def test_plan_counts_units_and_ends_with_the_path(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = call(capsys, "plan", "lab", "--out", str(tmp_path / "r"))
    assert code == 0
    assert out.splitlines()[-1] == str(tmp_path / "r")
    assert "2 train" in out
    code, out, _ = call(capsys, "plan", "lab", "--out", str(tmp_path / "r"), "--json")
    units = json.loads(out)["units"]
    assert {unit["kind"] for unit in units} >= {"train", "pairs", "scores", "comparison", "samples", "verdict"}
    assert not any(unit["done"] for unit in units)


def test_plan_and_validate_take_models_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    models = ("--base", "lab-s", "--post", "lab-s-plain", "--task", "lab-t1")
    said = call(capsys, "validate", *models)[1]
    assert "lab-s-lab-s-plain is valid: base lab-s, variants lab-s-plain, 1 task" in said
    assert "comparison" in call(capsys, "plan", *models)[1]
    assert call(capsys, "validate", "--task", "lab-t1")[0] == 2


def test_validate_ends_with_the_study_and_looks_at_golds(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, _ = call(capsys, "validate", "lab", "--resolve")
    assert code == 0
    assert Path(out.splitlines()[-1]).is_file()
    (tmp_path / "mine.json").write_text(json.dumps([{"question": "q", "answer": "\\text{}"}]))
    models = ("--base", "lab-s", "--task", str(tmp_path / "mine.json"))
    assert call(capsys, "validate", *models)[0] == 0
    code, _, err = call(capsys, "validate", *models, "--resolve")
    assert code == 2
    assert "1 of 1 gold answers that cannot be read" in err


def test_env_names_versions_and_hardware(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "env", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["versions"]["torch"] != "absent"
    assert facts["hardware"]["cores"] >= 1


def test_ls_names_what_a_study_can_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert "aime24" in call(capsys, "ls", "tasks")[1].split()
    assert call(capsys, "ls", "models")[1].split() == ["lab-m", "lab-s", "lab-s-plain", "smollm2-135m"]
    assert "lab" in call(capsys, "ls", "studies")[1].split()


def test_what_the_machine_did_is_a_sentence_and_no_bad_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def end_by_machine(**options: object) -> int:
        raise MachineError("4 processes were killed, and the same command goes on")

    monkeypatch.setattr("headscope.cli.main.app", end_by_machine)
    code, _, said = call(capsys, "env")
    assert code == 1
    assert said == "headscope: 4 processes were killed, and the same command goes on\n"


def test_no_verb_prints_the_help_and_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Usage:" in capsys.readouterr().out


def test_ls_alone_lists_everything_and_presets_with_their_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ls"]) == 0
    listed = capsys.readouterr().out
    for words in ("tasks:\n  aime24", "datasets:\n  lab-traces", "  gsm8k-train", "  smollm2-135m", "  lab-skill"):
        assert words in listed
    assert "  paper-sft: method sft, learning_rate 4e-05, epochs 5" in listed
    assert main(["ls", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["presets"]["lab-sft"]["max_steps"] == 80


def test_all_that_is_wrong_in_a_study_is_said_at_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    study = tmp_path / "s.yaml"
    training = "{method: sft, dataset: lab-traces, epochs: many, foo: 1}"
    study.write_text(
        f"name: x\nbase: {{model: lab-s, dtyp: float32}}\nvariants: [{{name: a, train: {training}}}]\n"
        "tasks: [lab-t1, {file: 3, bar: 2}]\neval: {samples: 0}\n"
    )
    assert main(["validate", str(study)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ", 2)[2].split(" is ")[0] for line in lines] == [
        "base.dtyp",
        "variants[0].train.epochs",
        "variants[0].train.foo",
        "tasks[1].file",
        "tasks[1].bar",
        "eval.samples",
    ]


@pytest.mark.parametrize(
    ("words", "names"),
    [("run lab-s", {"lab-seeds", "lab-skill"}), ("re", {"report", "recompute"}), ("ls mo", {"models"})],
)
def test_the_shell_completes_verbs_studies_and_kinds(words: str, names: set[str]) -> None:
    variables = {
        "COMP_WORDS": f"headscope {words}",
        "COMP_CWORD": str(len(words.split())),
        "_HEADSCOPE_COMPLETE": "complete_bash",
    }
    command = [
        sys.executable,
        "-c",
        "import sys; sys.argv[0] = 'headscope'; import headscope.cli.main as m; m.console()",
    ]
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == names


@pytest.mark.parametrize("words", [["schema"], ["plan", "--help"], ["--version"]])
def test_a_reader_that_has_gone_is_no_failed_unit(words: list[str]) -> None:
    """Whoever writes: the verb, rich, which then points the output elsewhere, or Python at the end of the process."""
    code = "import sys; from headscope.cli.main import console; console()"
    command = [sys.executable, "-c", code, *words]
    # Unbuffered, nothing would be left to write at the end.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=variables) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_another_pipe_that_breaks_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def end_as_typer_does(**_: object) -> None:
        try:
            raise BrokenPipeError(errno.EPIPE, "a worker has gone")
        except BrokenPipeError:
            sys.exit(1)

    monkeypatch.setattr("headscope.cli.main.app", end_as_typer_does)
    with pytest.raises(BrokenPipeError, match="a worker has gone"):
        main([])
