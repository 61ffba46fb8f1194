"""The real-model path: a Qwen2.5-shaped model with the real vocabulary and template over AIME'24 problems."""

from pathlib import Path

import pytest
from tests import qwen

from headscope.cli.main import main
from headscope.models import load_model
from headscope.pairs import Pairs
from headscope.report import render
from headscope.results.edges import EdgeScores
from headscope.results.samples import Samples
from headscope.runs import RunDirectory
from headscope.studies.reading import parse_study
from headscope.studies.run import run_study

STUDY = """
name: tiny-qwen
base: {{model: {base}}}
variants:
  - {{name: tuned, checkpoints: "{checkpoints}/checkpoint-*"}}
tasks: [aime24]
data_dir: {data}
discover: {{pairs: 4, opening_tokens: 4, nodes: 4, fraction: 0.2, resamples: 50}}
ablate: {{heads: [kept], tasks: [aime24], problems: 2, samples: 1, controls: 2, operators: [zero, mean]}}
eval: {{problems: 2, samples: 2, k: [1, 2], temperature: 1.0, max_new_tokens: 8}}
"""


pytestmark = pytest.mark.xdist_group("real-model")  # one worker makes what its tests share


@pytest.fixture(scope="module")
def models(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen")
    for seed, name in enumerate(("base", "checkpoint-10", "checkpoint-20")):
        qwen.save_model(folder / name, real_data / "qwen.tiktoken", seed)
    return folder


def test_the_tokenizer_is_qwens(models: Path) -> None:
    tokenizer = load_model(models / "base").tokenizer
    known = {"!": 0, "\n": 198, " the": 279, " world": 1879, "Hello": 9707, "hello": 14990}
    for text, token in known.items():
        assert tokenizer(text)["input_ids"] == [token]
    assert tokenizer.decode(tokenizer("24 = 4! \\boxed{é}")["input_ids"]) == "24 = 4! \\boxed{é}"


@pytest.mark.slow
def test_a_whole_study_on_external_checkpoints(models: Path, real_data: Path, tmp_path: Path) -> None:
    text = STUDY.format(base=models / "base", checkpoints=models, data=real_data)
    run, outcome = run_study(parse_study(text, "tiny-qwen", tmp_path), tmp_path / "run")
    assert outcome.failed == {}
    (pairs_record,) = run.find("pairs", pairs="main")
    pairs = Pairs.load(pairs_record.folder)
    prompt = load_model(models / "base").tokenizer.decode(pairs.clean[0])
    assert prompt.count("<|im_start|>system") == 1
    assert "\\boxed{}" in prompt
    assert "<|im_start|>assistant\n" in prompt
    assert len(pairs.clean[0]) > 80
    steps = [record.labels["step"] for record in run.find("scores", pairs="main", model="tuned")]
    assert steps == [10, 20]
    (scores,) = run.find("scores", step=20)
    assert EdgeScores.load(scores.folder).pair_heads.shape == (4, 2, 4)
    (samples,) = run.find("samples", variant="tuned")
    assert Samples.load(samples.folder).correct.shape == (2, 2)
    page = render(run)
    text = page.read_text()
    assert "tiny-qwen" in text
    assert "How much of the behaviour do the circuits carry alone?" in text


def test_discover_from_the_command_line(
    models: Path, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    arguments = [
        "discover",
        "--base",
        str(models / "base"),
        "--post",
        str(models / "checkpoint-20"),
        "--task",
        "aime24",
    ]
    settings = [f"data_dir={real_data}", "discover.pairs=4", "discover.opening_tokens=4", "discover.nodes=4"]
    code = main([*arguments, "--out", str(out), *(part for each in settings for part in ("--set", each))])
    printed = capsys.readouterr().out
    assert code == 0
    assert printed.splitlines()[-1] == str(out)
    assert "| post" in printed or "checkpoint-20" in printed
    assert len(RunDirectory.open(out).find("scores")) == 3


def test_no_chat_template_is_one_sentence(
    models: Path, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in (models / "base").iterdir():
        if file.name != "chat_template.jinja":
            (bare / file.name).symlink_to(file)
    arguments = ["eval", "--base", str(bare), "--task", "aime24", "--set", f"data_dir={real_data}"]
    code = main([*arguments, "--set", "eval.max_new_tokens=4", "--out", str(tmp_path / "run")])
    assert code == 2
    assert "has no chat template" in capsys.readouterr().err
