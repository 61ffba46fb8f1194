"""Bad input through the real command line: exit code 2, one sentence that names the thing, nothing lost."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from headscope.cli.main import main
from headscope.errors import InputError
from headscope.runs import RunDirectory
from headscope.studies.stages import Stage
from headscope.studies.study import ModelConfig
from headscope.studies.subjects import check_loaded

STUDY = """
name: bad
base: {{model: "{base}"}}
variants: [{{name: a, model: "{base}"}}]
tasks: [lab-t1]
discover: {{tasks: [lab-train], pairs: 4, opening_tokens: 2, nodes: 2, fraction: 0.2, resamples: 20}}
ablate: {{heads: [kept], problems: 2, controls: 1}}
eval: {{problems: 2, samples: 1, k: [1], temperature: 1.0, max_new_tokens: 2}}
"""
ROW = '{"question": "E0=5;?E0", "answer": "5"}\n'


@dataclass(frozen=True)
class Bench:
    """A study file in a folder whose name has a space, and the command line over it."""

    folder: Path
    base: Path
    capture: pytest.CaptureFixture[str]

    @property
    def study(self) -> Path:
        return self.folder / "bad.yaml"

    @property
    def out(self) -> Path:
        return self.folder / "out"

    def call(self, verb: str, *settings: str, study: Path | None = None, out: Path | None = None) -> tuple[int, str]:
        """Exit code and what standard error said."""
        changed = [part for each in settings for part in ("--set", each)]
        place = [] if verb == "validate" else ["--out", str(out or self.out)]
        self.capture.readouterr()
        code = main([verb, str(study or self.study), *place, *changed])
        return code, self.capture.readouterr().err

    def refused(
        self, verb: str, *settings: str, study: Path | None = None, out: Path | None = None, start: str = "headscope: "
    ) -> str:
        """The one sentence of a call that must exit with 2."""
        code, said = self.call(verb, *settings, study=study, out=out)
        assert code == 2, said
        sentences = [line for line in said.splitlines() if not line.startswith("skipped: ")]
        assert len(sentences) == 1, said
        assert sentences[0].startswith(start), said
        return sentences[0]

    def file(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def model(self, name: str = "other") -> Path:
        """A copy of the base, to be broken."""
        return Path(shutil.copytree(self.base, self.folder / name))


@pytest.fixture
def bench(toy_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Bench:
    folder = tmp_path / "with space"
    folder.mkdir()
    made = Bench(folder, toy_base, capsys)
    made.file("bad.yaml", STUDY.format(base=toy_base))
    return made


def weights(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return apply


def config(**changes: int) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return apply


def swapped_tokens(folder: Path) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    vocabulary = content["model"]["vocab"]
    vocabulary["0"], vocabulary["1"] = vocabulary["1"], vocabulary["0"]
    path.write_text(json.dumps(content))


def grown(folder: Path) -> None:
    """One more token than the base."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.resize_token_embeddings(80)
    model.save_pretrained(folder)


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink(missing_ok=True) for name in names][:0]  # type: ignore[return-value]


def cut(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


# What is wrong with a model's folder is said before anything runs.
FOLDERS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "layers": (config(num_hidden_layers=3), ("variant a has 3 layers and base has 2",)),
    "heads": (config(num_attention_heads=8), ("variant a has 8 heads and base has 4",)),
    "vocabulary size": (config(vocab_size=99), ("variant a has 99 vocabulary entries and base has",)),
    "vocabulary": (swapped_tokens, ("variant a has another vocabulary than base: token '0' is",)),
    "pickle": (pickled, ("only pytorch_model.bin", "safetensors are needed", "python -c")),
    "no weights": (without("model.safetensors"), ("other has no weights; safetensors are needed",)),
    "half-written": (cut, ("half-written: model.safetensors",)),
    "garbage": (
        lambda folder: (folder / "model.safetensors").write_bytes(b"\2" + bytes(90)) and None,
        ("half-written",),
    ),
    "no config": (without("config.json"), ("other holds no model: config.json is missing",)),
    "broken config": (
        lambda folder: (folder / "config.json").write_text("{") and None,
        ("config.json is not whole JSON",),
    ),
    "config no object": (lambda folder: (folder / "config.json").write_text("[]") and None, ("holds a list",)),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_a_model_folder_that_cannot_be_compared(bench: Bench, case: str) -> None:
    spoil, words = FOLDERS[case]
    spoil(bench.model())
    said = bench.refused("run", f"variants.a.model={bench.folder}/other")
    assert all(word in said for word in words), said
    assert not bench.out.exists()


@pytest.mark.parametrize("spoil", [pickled, without("config.json")])
def test_a_base_that_cannot_be_read_is_refused_as_a_variant_is(bench: Bench, spoil: Callable[[Path], None]) -> None:
    spoil(bench.model())
    said = bench.refused("eval", f"base.model={bench.folder}/other", "variants=[]")
    assert "other" in said


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (grown, "variant a has 80 vocabulary entries and base has 79"),
        (swapped_tokens, "token '0' is 48 in it and 47 in base"),
    ],
)
def test_models_from_the_hub_are_compared_once_loaded(bench: Bench, spoil: Callable[[Path], None], words: str) -> None:
    spoil(bench.model())
    base, final = (
        Stage(name, 0, str(folder), ModelConfig(model=str(folder)))
        for name, folder in (("base", bench.base), ("a", bench.folder / "other"))
    )
    check_loaded(base, base)
    with pytest.raises(InputError, match=words):
        check_loaded(base, final)


def test_added_tokens_are_free_to_differ(bench: Bench) -> None:
    path = bench.model() / "tokenizer.json"
    content = json.loads(path.read_text())
    content["added_tokens"] = content["added_tokens"][:-1]
    path.write_text(json.dumps(content))
    assert bench.call("discover", f"variants.a.model={bench.folder}/other")[0] == 0


def poisoned(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.layers.1.mlp.down_proj.weight"][0, 0] = float("nan")


def headless(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["model.layers.1.self_attn.o_proj.weight"]


def overflowing(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.norm.weight"][:] = 3e38


# What only loading or rendering shows fails the units concerned, with one sentence for all of them.
LOADED: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "nan weights": (weights(poisoned), ("1 NaN or infinite weights in model.layers.1.mlp.down_proj.weight", "finite")),
    "missing weights": (weights(headless), ("lacks 1 of its weights", "model.layers.1.self_attn.o_proj.weight")),
    "nan logits": (weights(overflowing), ("not finite",)),
    "no chat template": (without("chat_template.jinja"), ("other has no chat template", "chat_template set")),
}


@pytest.mark.parametrize("case", LOADED)
def test_a_model_that_cannot_be_used_leaves_finished_units_done(bench: Bench, case: str) -> None:
    spoil, words = LOADED[case]
    spoil(bench.model())
    assert bench.call("eval", "variants=[]")[0] == 0
    (before,) = RunDirectory.open(bench.out).find("samples")
    stamp = (before.folder / "DONE").stat().st_mtime_ns
    said = bench.refused("eval", f"variants.a.model={bench.folder}/other", start="failed: samples a")
    assert all(word in said for word in words), said
    (after,) = RunDirectory.open(bench.out).find("samples")
    assert (after.folder, (after.folder / "DONE").stat().st_mtime_ns) == (before.folder, stamp)


def test_a_variant_without_tokenizer_files_borrows_the_bases(bench: Bench) -> None:
    without("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")(bench.model())
    assert bench.call("eval", f"variants.a.model={bench.folder}/other")[0] == 0
    base, variant = RunDirectory.open(bench.out).find("samples")
    assert base.folder != variant.folder
    assert (base.folder / "samples.parquet").exists()


def test_a_model_without_any_tokenizer_is_refused(bench: Bench) -> None:
    without("tokenizer.json", "tokenizer_config.json")(bench.model())
    said = bench.refused("eval", f"base.model={bench.folder}/other", "variants=[]", start="failed: samples base")
    assert "other has no tokenizer files" in said


def test_units_that_fail_for_one_reason_are_told_in_one_sentence(bench: Bench) -> None:
    said = bench.refused("discover", "variants.a.model=nobody/nothing", start="failed: pairs a main and 1 more: ")
    assert "model nobody/nothing cannot be loaded" in said


def test_nan_scores_are_refused_by_the_comparison_and_the_other_units_stay(bench: Bench) -> None:
    assert bench.call("discover")[0] == 0
    records = RunDirectory.open(bench.out).find("scores")
    broken = records[0].folder
    name = next(path for path in broken.glob("*.safetensors"))
    tensors = load_file(name)
    tensors["edges"].view(-1)[0] = float("nan")
    save_file(tensors, name)
    said = bench.refused("compare", start="failed: comparison a: ")
    assert "edge scores are not finite" in said
    assert all((record.folder / "DONE").exists() for record in records)


def test_a_task_needs_two_problems_for_two_sets_of_pairs(bench: Bench) -> None:
    path = bench.file("one.jsonl", ROW)
    assert "hold 1 problem; at least 2" in bench.refused("discover", f"discover.tasks=['{path}']")


@pytest.mark.parametrize(
    ("content", "columns", "words"),
    [
        (ROW, "question: problem", ("no column ['problem']", "['answer', 'question']")),
        ("", "kind: exact", ("has no rows",)),
        ("\n  \n", "kind: exact", ("has no rows",)),
        (ROW + "{", "kind: exact", ("line 2 of", "is not JSON")),
        (b'{"question": "caf\xe9"}', "kind: exact", ("is not UTF-8 text",)),
        ('{"question": "q", "answer": {"a": 1}}', "kind: exact", ("row 1", "a dict in column 'answer'")),
        ('{"question": "q", "answer": "a", "also": 3}', "aliases: also", ("row 1", "3 in column 'also'", "list")),
        (ROW.replace("}", ', "n": 1}') + ROW, "id: n", ("row 2", "nothing in column 'n'")),
    ],
)
def test_a_task_file_that_is_none(bench: Bench, content: str | bytes, columns: str, words: tuple[str, ...]) -> None:
    path = bench.file("my tasks.jsonl", content)
    said = bench.refused("plan", f"tasks=[{{file: '{path}', {columns}}}]")
    assert all(word in said for word in ("my tasks.jsonl", *words)), said


def test_blank_lines_and_line_separators_inside_strings_are_no_rows(bench: Bench) -> None:
    path = bench.file("my tasks.jsonl", ROW + "\n" + ROW.replace("5", "6\u2028", 1) + "\n")
    assert bench.call("plan", f"tasks=['{path}']") == (0, "")


@pytest.mark.parametrize("question", ["what is this?", "\\ud800"])
def test_a_question_without_tokens_is_quoted(bench: Bench, question: str) -> None:
    path = bench.file("words.jsonl", f'{{"question": "{question}", "answer": "a"}}\n')
    said = bench.refused(
        "eval", f"tasks=[{{file: '{path}', kind: exact}}]", "variants=[]", start="failed: samples base"
    )
    assert "cannot encode the prompt of the question" in said


def test_unknown_names_come_with_the_nearest(bench: Bench) -> None:
    assert "'lab-t11' is no known task and no file (did you mean 'lab-t1'?)" in bench.refused("plan", "tasks=[lab-t11]")
    assert "(did you mean 'aime24'?)" in bench.refused("plan", "tasks=[aime2024]")
    assert "no built-in study" in bench.refused("validate", study=bench.folder)
    assert "(did you mean 'samples'?)" in bench.refused("run", "eval.sample=3")
    assert "OfflineMode" in bench.refused("plan", "tasks=[aime24]")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "a.yaml",
            "name: x\nbase:\n\tmodel: m\n",
            "is not YAML: found character '\\t' that cannot start any token (line 3",
        ),
        ("a.yaml", STUDY + "tasks: [lab-k]\n", "is not YAML: key 'tasks' is given twice"),
        ("a.yaml", b"name: caf\xe9\n", "is not UTF-8 text"),
        ("a.yaml", "name: x\0", "is not YAML"),
        ("a.yaml", "seed: !!python/object/apply:os.getcwd []", "is not YAML: could not determine a constructor"),
        ("a.yaml", "- x", "is list; a study is a mapping of keys"),
        ("a.json", "{}", "is no YAML file and no built-in study"),
    ],
)
def test_a_study_file_that_is_none(bench: Bench, name: str, content: str | bytes, words: str) -> None:
    said = bench.refused("validate", study=bench.file(name, content))
    assert name in said
    assert words in said


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("eval.samples=[", "--set eval.samples: '[' is not YAML"),
        ("tasks=lab-t1", "tasks is 'lab-t1'; it should be a list"),
        ("tasks.3=lab-t1", "'3' is no element (allowed: 0)"),
        ("variants.0=x", "variants[0] is 'x'; it should be a mapping of keys"),
        ("base=x", "base is 'x'; it should be a mapping of keys"),
        ("eval.k=[0]", "eval.k[0] is 0; it should be greater than or equal to 1"),
        ("eval.k=[]", "eval.k: "),
        ("discover.nodes=0", "discover.nodes is 0; it should be greater than or equal to 1"),
        ("discover.sizes=[2]", "discover.sizes[0] is 2; it should be less than or equal to 1"),
        ("variants.0={name: a, train: {steps: 3}}", "variants[0].train has no method"),
    ],
)
def test_a_setting_that_cannot_be(bench: Bench, setting: str, words: str) -> None:
    assert words in bench.refused("validate", setting)


def test_models_on_the_command_line_need_a_base(bench: Bench) -> None:
    # Without this the lab would be trained instead, for minutes.
    assert main(["discover", "--post", "x", "--task", "lab-t1"]) == 2
    assert "which needs --base too" in bench.capture.readouterr().err
    assert main(["discover", str(bench.study), "--base", "x", "--task", "lab-t1"]) == 2
    assert "found both study" in bench.capture.readouterr().err


@pytest.mark.parametrize("name", ["trainer_state.json", "log.jsonl"])
@pytest.mark.parametrize("content", [b"{", b"[]\n", b'{"bogus": 1}\n', b"\xff"])
def test_a_broken_reward_log_is_refused_before_any_work(bench: Bench, name: str, content: bytes) -> None:
    path = bench.file(name, content)
    said = bench.refused("compare", f"variants.0.reward_log='{path}'")
    assert f"training log {path} is neither a log.jsonl nor a trainer_state.json" in said
    assert not bench.out.exists()


def test_an_out_that_cannot_be_written(bench: Bench) -> None:
    for out in (bench.study, bench.study / "below"):
        said = bench.refused("eval", out=out)
        assert f"run directory {out} cannot be written" in said
        assert "--out" in said
    assert bench.study.read_text() == STUDY.format(base=bench.base)


@pytest.mark.parametrize(
    ("lock", "words"),
    [
        ('{"schema_version": 99}', "study.lock.json has schema_version 99, this headscope reads up to 1"),
        ("{", "study.lock.json is not whole JSON"),
        ("[]", "study.lock.json holds a list; a JSON object is needed"),
        ("{}", "study.lock.json has schema_version None"),
        ('{"schema_version": true}', "study.lock.json has schema_version True"),
        ('{"schema_version": 0}', "study.lock.json has schema_version 0"),
        ('{"schema_version": "1"}', "study.lock.json has schema_version '1'"),
    ],
)
@pytest.mark.parametrize("verb", ["eval", "plan", "status", "report"])
def test_a_directory_this_version_cannot_read_is_left_as_it_is(bench: Bench, lock: str, words: str, verb: str) -> None:
    bench.out.mkdir()
    (bench.out / "study.lock.json").write_text(lock)
    if verb in ("status", "report"):
        assert main([verb, str(bench.out)]) == 2
        said = bench.capture.readouterr().err
    else:
        said = bench.refused(verb)
    assert words in said
    assert said.count("\n") <= 1
    assert [path.name for path in bench.out.iterdir()] == ["study.lock.json"]
    assert (bench.out / "study.lock.json").read_text() == lock


def test_two_runs_in_one_directory(bench: Bench) -> None:
    hold = (
        "import fcntl, sys\nfile = open(sys.argv[1], 'a+'); fcntl.flock(file, fcntl.LOCK_EX)\n"
        "import os; file.write(str(os.getpid())); file.flush(); print('held', flush=True); sys.stdin.read()"
    )
    bench.out.mkdir()
    command = [sys.executable, "-c", hold, str(bench.out / ".writer")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        said = bench.refused("eval", "variants=[]")
        other.kill()
    assert f"is in use by process {other.pid}; wait for it or name another with --out" in said
    assert [path.name for path in bench.out.iterdir()] == [".writer"]
    assert bench.call("eval", "variants=[]")[0] == 0
