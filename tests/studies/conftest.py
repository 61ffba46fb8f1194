"""A whole study at toy size: a random two-layer base with the lab's tokenizer, trained for a few steps."""

import os
from pathlib import Path

import pytest
import torch
from tests.studies import bench as benches
from transformers import Qwen3ForCausalLM

from headscope.lab.pretrain import architecture
from headscope.lab.recipes import Size
from headscope.lab.tokenizer import build_tokenizer

STUDY = """
name: toy
base: {{model: {base}}}
variants:
  - {{name: sft, train: {{preset: lab-sft, dataset: lab-traces, max_steps: 4, save_every: 2, batch_size: 16}}}}
  - name: grpo
    train:
      {{preset: lab-grpo, dataset: lab-train, max_steps: 2, save_every: 1, prompts_per_step: 4, samples: 4,
       max_completion_length: 12}}
tasks: [lab-t1, lab-k]
discover: {{tasks: [lab-train], pairs: 8, opening_tokens: 3, nodes: 4, fraction: 0.1, resamples: 50}}
ablate: {{heads: [kept], tasks: [lab-t1], problems: 6, samples: 2, controls: 3}}
eval: {{problems: 10, samples: 4, k: [1, 2, 4], temperature: 1.0, top_p: 1.0, max_new_tokens: 12}}
"""


@pytest.fixture(scope="session")
def toy_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a random base model: 2 layers x 4 heads, d 32."""
    folder = tmp_path_factory.mktemp("base")
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    model = Qwen3ForCausalLM(architecture(Size(layers=2, width=32, heads=4, groups=2), len(tokenizer)))
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(0.0, 0.15)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def toy_study(toy_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The study file."""
    path = tmp_path_factory.mktemp("study") / "toy.yaml"
    path.write_text(STUDY.format(base=toy_base))
    return path


@pytest.fixture(scope="session")
def toy_run(toy_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its run directory, finished without interruption."""
    from headscope.studies.reading import read_study
    from headscope.studies.run import run_study

    # As many threads as a process of its own would have: another number rounds otherwise, and tests compare bytes.
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    out = tmp_path_factory.mktemp("run")
    _, outcome = run_study(read_study(str(toy_study)), out)
    assert outcome.failed == {}
    return out


@pytest.fixture
def bench(toy_base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> benches.Bench:
    folder = tmp_path / "with space"
    folder.mkdir()
    made = benches.Bench(folder, toy_base, capsys)
    made.file("bad.yaml", benches.STUDY.format(base=toy_base))
    return made
