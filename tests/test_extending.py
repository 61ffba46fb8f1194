"""The recipes of docs/extending.md, followed in a copy of the package."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOC = ROOT / "docs" / "extending.md"
BLOCK = re.compile(
    r"```python\n# (?P<file>\S+?)(?:, (?P<how>after|in place of): (?P<line>[^\n]*))?\n(?P<code>.*?)```", re.S
)
RECIPES = ("architecture", "attribution method", "claim", "training method", "kind of result", "report page")

STUDY = """
name: extended
base: {{model: {base}}}
variants:
  - {{name: sft, train: {{method: attention-sft, dataset: lab-traces-64, max_steps: 1, save_every: 1, batch_size: 4}}}}
tasks: [lab-t1]
eval: {{problems: 4, samples: 2, k: [1], temperature: 1.0, top_p: 1.0, max_new_tokens: 6}}
"""
CODE = {
    "architecture": """
from transformers import Starcoder2Config, Starcoder2ForCausalLM
import numpy as np
from headscope.circuits import attribute
from headscope.models import head_access
from headscope.pairs import Pairs
import torch
torch.manual_seed(0)
sizes = dict(vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)
config = Starcoder2Config(**sizes, num_key_value_heads=2, bos_token_id=1, eos_token_id=2)
model = Starcoder2ForCausalLM(config).eval()
clean = np.random.default_rng(0).integers(3, 40, (3, 8))
corrupt = clean.copy()
corrupt[:, 4] = (corrupt[:, 4] + 7) % 37 + 3
scores = attribute(model, Pairs.from_tokens(clean, corrupt), nodes="adaptive")
from headscope.models.architectures import ARCHITECTURES
assert "starcoder2" in ARCHITECTURES and head_access(model).kv_heads == 2
print("residual", scores.residual)
assert scores.residual < 0.05
""",
    "attribution method": """
from headscope.circuits import attribute
from headscope.lab.pairs import lab_pairs
from headscope.models import load_model
subject = load_model("lab-s")
pairs = lab_pairs(subject.tokenizer, 4, kind="leaf")
scores = attribute(subject, pairs, metric="logit_diff", method="eap-both-ends")
plain = attribute(subject, pairs, metric="logit_diff", method="eap")
assert scores.settings["method"] == "eap-both-ends"
assert scores.residual == plain.residual and (scores.edges != plain.edges).any()
""",
    "claim": """
from headscope.comparison.claims import StudyResults, judge
claim = judge(StudyResults())[-1]
assert (claim.name, claim.reading) == ("C11", "undecided")
assert claim.reason == "no post-trained model is compared with its base"
from headscope.comparison.claims import StudyFacts, find_gaps
assert [gap.blocks for gap in find_gaps(StudyFacts())["C11"]] == [True]
""",
    "training method": """
import sys
from pathlib import Path
from safetensors.numpy import load_file
from headscope.cli.main import main
assert main(["train", sys.argv[1], "--out", sys.argv[2]]) == 0
from headscope.runs import RunDirectory
folder = RunDirectory.open(sys.argv[2]).find("train")[0].folder
first = load_file(folder / "checkpoint-0" / "model.safetensors")
last = load_file(folder / "checkpoint-1" / "model.safetensors")
changed = {name for name in first if (first[name] != last[name]).any()}
assert changed and all("attn" in name for name in changed), changed
""",
    "kind of result": """
import sys
from headscope.cli.main import main
from headscope.results.lengths import Lengths
from headscope.runs import RunDirectory
assert main(["eval", sys.argv[1], "--out", sys.argv[2]]) == 0
assert main(["recompute", sys.argv[2], "--kind", "lengths"]) == 0
assert main(["report", sys.argv[2]]) == 0
run = RunDirectory.open(sys.argv[2])
assert run.results(Lengths)[0].labels["variant"] == "base"
assert "Tokens per answer, mean and 95 % interval over answers." in run.report.read_text()
""",
    "report page": """
import sys
from headscope.cli.main import main
from headscope.runs import RunDirectory
assert main(["report", sys.argv[2]]) == 0
assert "No training of this study has a twin." in RunDirectory.open(sys.argv[2]).report.read_text()
""",
}
TRY_ALL = """
import json, sys, traceback
errors = {}
for recipe, code in json.load(open(sys.argv[3])).items():
    errors[recipe] = ""
    try:
        exec(code, {})
    except BaseException:
        errors[recipe] = traceback.format_exc()
print(json.dumps(errors))
"""
pytestmark = pytest.mark.xdist_group("extending")


def recipe_blocks() -> Iterator[tuple[str, re.Match[str]]]:
    """Yield (recipe, block) of every block of code in the document."""
    for section in DOC.read_text(encoding="utf-8").split("\n## ")[1:]:
        name = section.split("\n", 1)[0].removeprefix("A ").removeprefix("An ")
        for block in BLOCK.finditer(section):
            yield name, block


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with all recipes followed."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__"))
    for _, block in recipe_blocks():
        path = folder / block["file"]
        if block["how"] is None:
            assert not path.exists(), path
            path.write_text(block["code"], encoding="utf-8")
            continue
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        places = [index for index, line in enumerate(lines) if line.rstrip("\n").startswith(block["line"])]
        assert places, f"{path} has no line {block['line']!r}"
        place = places[-1]
        before_comment = block["line"].startswith("#")  # code goes before the comment on what follows
        kept_until = place if before_comment or block["how"] == "in place of" else place + 1
        rest = lines[place + 1 :] if block["how"] == "in place of" else lines[kept_until:]
        path.write_text("".join([*lines[:kept_until], block["code"], *rest]), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def study(extended: Path, toy_model: Path) -> Path:
    path = extended / "study.yaml"
    path.write_text(STUDY.format(base=toy_model))
    return path


@pytest.fixture(scope="module")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random model of two layers with the lab's tokenizer."""
    import torch
    from transformers import Qwen3ForCausalLM

    from headscope.lab.pretrain import architecture
    from headscope.lab.recipes import Size
    from headscope.lab.tokenizer import build_tokenizer

    folder = tmp_path_factory.mktemp("toy")
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    Qwen3ForCausalLM(architecture(Size(layers=2, width=32, heads=4, groups=2), len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tried(extended: Path, study: Path) -> dict[str, str]:
    """What went wrong with each recipe, "" for nothing; all in one process, which loads torch once."""
    snippets = extended / "snippets.json"
    snippets.write_text(json.dumps(CODE))
    environment = os.environ | {"PYTHONPATH": str(extended / "src")}
    command = [sys.executable, "-c", TRY_ALL, str(study), str(extended / "run"), str(snippets)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    errors: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return errors


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_recipe_adds_is_used(tried: dict[str, str], recipe: str) -> None:
    assert tried[recipe] == ""


def test_every_recipe_is_here_and_a_kind_of_result_takes_five_files() -> None:
    blocks = list(recipe_blocks())
    assert tuple(dict.fromkeys(name for name, _ in blocks)) == RECIPES
    assert len({block["file"] for name, block in blocks if name == "kind of result"}) <= 5
