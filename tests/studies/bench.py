"""A study at toy size and the command line over it, for tests of what must be refused."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from headscope.cli.main import main

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
        place = [] if verb.startswith("validate") else ["--out", str(out or self.out)]
        self.capture.readouterr()
        code = main([*verb.split(), str(study or self.study), *place, *changed])
        return code, self.capture.readouterr().err

    def refused(
        self, verb: str, *settings: str, study: Path | None = None, out: Path | None = None, start: str = "headscope: "
    ) -> str:
        """The one sentence of a call that must exit with 2."""
        code, said = self.call(verb, *settings, study=study, out=out)
        assert code == 2, said
        # The bar's line stands there if the machine was slow.
        sentences = [line for line in said.splitlines() if not line.startswith(("skipped: ", "units: "))]
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
