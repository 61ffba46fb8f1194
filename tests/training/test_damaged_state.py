"""A training goes on from the bytes it wrote, or a sentence names the file; it never goes on from others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.training.conftest import records

from headscope.contents import DamagedError
from headscope.training import SftConfig, TrainingRun, run_sft
from headscope.training.log import truncate_log
from headscope.training.reporter import Reporter

CONFIG = SftConfig(batch_size=8, micro_batch=4, learning_rate=1e-2, max_steps=4, save_every=2)


pytestmark = pytest.mark.xdist_group("damaged-state")  # one worker makes what its tests share


@pytest.fixture(scope="module")
def stopped(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was stopped in its fourth step; its state is of the second."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    begin = Reporter.on_step_begin

    def stop(self: Reporter, args: object, state: object, *others: object, **options: object) -> None:
        begin(self, args, state, *others, **options)  # type: ignore[arg-type]
        if state.global_step == 3:  # type: ignore[attr-defined]
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reporter, "on_step_begin", stop)
        with pytest.raises(KeyboardInterrupt):
            run_sft(tiny_model, records(), CONFIG, out)
    return out


def test_a_whole_state_is_gone_on_from(stopped: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(stopped, tmp_path / "run"))
    assert [entry.step for entry in run_sft(tiny_model, records(), CONFIG, out).log] == [1, 2, 3, 4]
    assert not list(TrainingRun.load(out).final.glob("files.json"))


def flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("change", [flip, lambda content: content[:-5]], ids=["flipped", "cut"])
@pytest.mark.parametrize(
    "name",
    [
        ".resume/step-2/optimizer.safetensors",
        ".resume/step-2/optimizer.json",
        ".resume/step-2/random.json",
        ".resume/step-2/trainer_state.json",
        ".resume/step-2/files.json",
        "checkpoint-0/model.safetensors",
        "checkpoint-2/model.safetensors",
        "checkpoint-2/config.json",
    ],
)
def test_a_damaged_file_is_named(
    stopped: Path, tiny_model: Path, tmp_path: Path, name: str, change: Callable[[bytes], bytes]
) -> None:
    out = Path(shutil.copytree(stopped, tmp_path / "run"))
    (out / name).write_bytes(change((out / name).read_bytes()))
    with pytest.raises(DamagedError, match=r"cannot go on from step-2: .*; with --retry it starts again") as told:
        run_sft(tiny_model, records(), CONFIG, out)
    if not name.endswith("files.json"):
        assert Path(name).name in str(told.value)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"schema_version": 1}', 100_000 * "["])
def test_a_damaged_record_is_named(stopped: Path, tiny_model: Path, tmp_path: Path, content: str) -> None:
    out = Path(shutil.copytree(stopped, tmp_path / "run"))
    (out / "run.json").write_text(content)
    with pytest.raises(DamagedError, match=r"run\.json .*; with --retry the training starts again"):
        run_sft(tiny_model, records(), CONFIG, out)


@pytest.mark.parametrize("line", ["", "{", "[]", '{"loss": 1}', '{"step": 3}', "[" * 100_000, "\ud800"])
def test_a_log_without_one_of_its_steps_is_named(tmp_path: Path, line: str) -> None:
    lines = [json.dumps({"step": step}) for step in (1, 2, 3, 4)]
    path = tmp_path / "log.jsonl"
    path.write_text("\n".join([*lines, '{"ste']))
    truncate_log(path, 3)
    assert path.read_text() == "".join(f"{entry}\n" for entry in lines[:3])
    path.write_bytes("\n".join([lines[0], line, lines[2]]).encode("utf-8", "surrogatepass"))
    with pytest.raises(DamagedError, match=r"log\.jsonl is damaged: line 2 is not that of step 2"):
        truncate_log(path, 3)
    truncate_log(path, 1)
    assert path.read_text() == f"{lines[0]}\n"
