"""The benchmarks at tiny sizes: they run, their yardstick does the real work, their table is whole. Never a time."""

import json
import math
import re
import runpy
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests import qwen
from tests.precision import EXACT, HALF_THE_BITS
from tests.report import runs

from headscope.circuits import attribute
from headscope.circuits.batches import collate
from headscope.heads import HeadId
from headscope.interventions import edit_weights
from headscope.lab import chains
from headscope.lab.statements import judge
from headscope.measures.quadrature import quadrature
from headscope.models import head_access, load_model
from headscope.results.samples import Samples

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
_TINY = runpy.run_path(str(Path(__file__).parents[1] / "tiny_models.py"))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Loads one file of benchmarks/ with its neighbours importable, as when it is run."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    yield lambda name: runpy.run_path(str(BENCHMARKS / name))
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_every_benchmark_fills_its_row(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert script("run.py")["main"](["--quick"]) == 0
    compared, nodes, measured = (
        [line.split(" | ") for line in table.split("\n")] for table in capsys.readouterr().out.strip().split("\n\n")
    )
    assert [row[0] for row in compared[2:]] == ["| bare", "| bare", "| reference", "| lab", "| lab", "| qwen"]
    assert [row[1] for row in nodes[2:]] == ["gauss", "adaptive, 1 %", "adaptive"]
    assert {row[0] for row in measured[2:]} - {"| gpu"} == {"| positions", "| qwen"}
    for table in (compared, nodes, measured):
        assert {len(line) for line in table} == {len(table[0])}
    for row in compared[2:]:
        ours, theirs, ratio = (float(row[column].rstrip(" s×")) for column in (2, 4, 5))
        low, high = (float(value) for value in row[6].split("–"))
        assert all(math.isfinite(value) and value > 0 for value in (ours, theirs, ratio, low, high))
        assert low <= ratio <= high
        assert re.fullmatch(r"–|\d+(\.\d+)? ×", row[7])
    difference = re.search(r"largest difference (\S+) of", compared[4][-1])
    assert difference is not None
    assert float(difference[1]) < HALF_THE_BITS
    two, one_percent, adaptive = ([float(cell.strip("< %")) for cell in row[3:8]] for row in nodes[2:])
    assert max(one_percent) < 1 < two[0]
    assert max(adaptive) < 20
    assert "judged" in nodes[-1][-1]


def test_the_reading_of_answers_finds_what_was_planted(script: Any) -> None:
    module = script("traces.py")
    assert "slips found: {'calculation right→wrong': 115}" in module["teacher_slips"]()
    assert module["mutated"](100, 0).endswith("in 100 of 100")
    planted, teacher = module["loops"](0)
    assert planted.startswith("planted loops: 1000 of 1000")
    assert teacher.endswith(": 0")
    assert "is absent" in next(module["gsm8k"](Path("nowhere"), 0))


def test_a_gpu_is_asked_for_in_a_sentence(script: Any) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(SystemExit, match="needs a CUDA device"):
        script("run.py")["main"](["gpu"])


@pytest.mark.usefixtures("float64")
def test_bare_passes_find_the_gradient_that_attribution_integrates(script: Any) -> None:
    # The embedding enters every destination: its scores add up to Δ · mean gradient at the embeddings.
    model, pairs = _TINY["tiny_model"]("qwen3").requires_grad_(False), _TINY["ragged_pairs"](count=3)
    rule = quadrature("gauss", 4)
    batch = collate(pairs, range(len(pairs)), head_access(model).device)
    bare = script("bare.py")
    passes = bare["bare_passes"](model, bare["Work"].fixed(batch, rule.alphas))
    gradients = torch.unflatten(passes.gradients[0], 0, (len(pairs), -1))
    embed = model.get_input_embeddings()
    delta = embed(batch.corrupt) - embed(batch.clean)
    found = torch.einsum("ptd,pktd,k->p", delta, gradients, torch.as_tensor(rule.weights, dtype=torch.float32))
    scores = attribute(model, pairs, nodes=4, batch=len(pairs), keep_pairs=True).pair_edges
    assert scores is not None
    expected = torch.as_tensor(scores)[list(batch.indices), 0].sum(-1)
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT)
    assert passes.seconds > 0


def test_bare_passes_run_the_nodes_that_adaptive_attribution_ran(script: Any) -> None:
    model, pairs = _TINY["tiny_model"]("qwen3").requires_grad_(False), _TINY["ragged_pairs"](count=3)
    bare, scores = script("bare.py"), []
    work = bare["work_of"](lambda: scores.append(attribute(model, pairs)))
    nodes = sum(len(one.pairs) for each in work for one in each.passes)
    assert nodes == round(scores[0].settings["nodes_mean"] * len(pairs)) > 4 * len(pairs)
    passed = [gradient for each in work for gradient in bare["bare_passes"](model, each).gradients]
    assert [len(gradient) for gradient in passed] == [len(one.pairs) for each in work for one in each.passes]
    assert all(gradient.isfinite().all() for gradient in passed)


def test_comparison_is_of_medians_and_of_rounds(script: Any) -> None:
    ours, theirs = iter([0.0, 0.0, 2.0, 9.0, 3.0]), iter([0.0, 0.0, 1.0, 3.0, 2.0])
    found = script("measuring.py")["compare"](lambda: next(ours), lambda: next(theirs), 3)
    assert (found.ours, found.theirs) == (3, 2)
    assert (found.ratio, found.low, found.high) == (2, 1.5, 3)
    assert found.memory is None


def test_the_document_is_written_from_full_runs_only(
    script: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    main = script("run.py")["main"]
    for arguments in (["--write", "--quick"], ["--write", "bare"], ["bear"]):
        with pytest.raises(SystemExit):
            main(arguments)
    assert "did you mean 'bare'" in capsys.readouterr().err
    monkeypatch.setitem(main.__globals__, "BENCHMARKS", {})
    monkeypatch.setitem(main.__globals__, "DOCUMENT", tmp_path / "benchmarks.md")
    (tmp_path / "benchmarks.md").touch()
    assert main(["--write", "--machine", "a quiet one"]) == 0
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "on a quiet one; 1 thread(s)" in text
    assert ".venv/bin/python benchmarks/run.py --write --machine 'a quiet one'" in text
    monkeypatch.setitem(main.__globals__, "BENCHMARKS", {"gpu": lambda quick: []})
    assert main(["gpu", "--write", "--machine", "a card"]) == 0
    assert main(["--write", "--machine", "another"]) == 0
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert [each in text for each in ("a quiet one", "on another;", "on a card;")] == [False, True, True]


# Studies of their own, by their smallest settings, and what their output must hold.
OTHERS = {
    "executors.py": (
        ["--units", "20", "--large", "30", "--rounds", "1000"],
        r"\| local \| 20 \| .*\n\| processes, 2 workers \| 20 \| (.*\n)*30 units: status \d",
    ),
    "threads.py": (["lab-s", "--repeats", "1"], r"attribution of 4 pairs \| \d"),
    "nodes.py": (["lab-s", "--pairs", "4", "--rounds", "1"], r"\| lab-s, 4 pairs, random endings \| \d"),
    "phases.py": (["tiny"], r"nodes adaptive: .*\n(.*\n)*\| products \| \d+ \| "),
    "planted.py": (["--quick", "--kinds", "removed"], r"\| removed \| 4 \| bootstrap \| 5% \| "),
    "planted_revert.py": (
        ["--quick", "--kinds", "removed", "grown × 2"],
        r"\| 0.0% \| removed \| kl \| .* \| 1.00 \(2 of 2\) \| 0 \(0 of 2\) \|\n"
        r"\| 0.0% \| grown × 2 \| kl \| .* \| 1.00 \(2 of 2\) \| 0 \(0 of 2\) \|",
    ),
    "patches.py": (["--quick"], r"eap-ig"),
    "training.py": (["--quick"], r"\| GRPO \| ours, TRL's batches \| .* \| 4.00 \|\n\n\| pairs"),
    "comparison.py": (["quick"], r"quick: .* edges: .* peak memory"),
    "comparison_checks.py": (["--trials", "4"], r"\d"),
    "interventions.py": (["--problems", "2", "--controls", "3", "--threads", "1"], r"verdict: .* of 4 operators"),
    "sampling.py": (["--problems", "4", "--samples", "2", "--threads", "1"], r"thinking: .* correct"),
    "coverage.py": (["--problems", "8", "--trials", "4"], r"interval of \| problems"),
    "problems.py": (
        ["lab-s", "--questions", "12", "--trials", "2"],
        r"of the variance between problems \| problems \|",
    ),
}


SLOW = (
    "executors.py",
    "report_page.py",
    "threads.py",
    "planted.py",
    "planted_revert.py",
    "training.py",
    "comparison_checks.py",
    "interventions.py",
)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in OTHERS])
def test_other_measurements_run_at_their_smallest(script: Any, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    arguments, words = OTHERS[name]
    assert script(name)["main"](arguments) == 0
    assert re.search(words, capfd.readouterr().out)


def test_heads_of_a_random_model_play_no_role(
    script: Any, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = qwen.save_model(tmp_path / "model", real_data / "qwen.tiktoken", 0)
    asked = [str(model), "--data", str(real_data), "--texts", "12", "--length", "8"]
    assert script("head_roles.py")["main"](asked) == 0
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in capsys.readouterr().out.splitlines()[2:]]
    assert [line[0] for line in lines[:4]] == ["previous token", "first token", "induction", "retrieval"]
    assert {line[1] for line in lines} == {"0"}
    assert {line[5] for line in lines} == {"none"}
    assert script("head_roles.py")["main"]([str(model), "--data", str(real_data), "--texts", "2", "--receivers"]) == 0
    assert re.search(r"2 solutions of \d\d steps or more: .* 0 twice .* 0 also twice", capsys.readouterr().out)


@pytest.mark.slow
def test_tracking_is_priced_in_trls_trainers(script: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert script("tracking.py")["main"](["--quick", "--model", "lab-s", "--only", "SFT, LoRA, float32"]) == 0
    (row,) = capsys.readouterr().out.strip().splitlines()[2:]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "SFT, LoRA, float32"
    assert all(float(cell.split()[0]) > 0 for cell in cells[1:4])


def test_a_planted_head_is_found_for_its_kind_in_all_trainings(script: Any) -> None:
    module = script("failures.py")
    heads = [HeadId(*place) for place in np.ndindex(3, 8)]
    by_seed = []
    for seed in range(3):
        shares = np.random.default_rng(seed).binomial(1, 0.1, size=(25, 3, 80)).astype(float)
        shares[1 + heads.index(HeadId(1, 2)), 1] = 1.0
        by_seed.append(module["find"](heads, ["loop", "plan", "form"], shares))
    planted = next(finding for finding in by_seed[0] if finding.kind == "plan")
    assert (planted.head, planted.rank, planted.layer_rank) == (HeadId(1, 2), 1, 1)
    assert planted.change.low > 0.6
    ((kind, head, q_value),) = module["combine"](by_seed)
    assert (kind, head) == ("plan", HeadId(1, 2))
    assert q_value < 0.02  # three times at rank 1 of 24, over three kinds


def _assert_controls(verdicts: Any, names: set[str]) -> None:
    assert {name: control.reading for name, (control, _, _) in verdicts.items()} == dict.fromkeys(names, "supported")
    for name, (_, twins, _) in verdicts.items():
        assert all(twin.reading != "supported" for twin in twins.values()), name


@pytest.mark.slow
def test_heads_of_one_mode_are_counted_in_whole_studies_and_not_in_their_twins(script: Any, tmp_path: Path) -> None:
    module = script("positive_controls.py")
    _assert_controls(module["controls"](tmp_path, module["Size"](seed=1), ["C8"]), {"C8"})


@pytest.mark.slow
def test_a_study_of_heads_that_blur_bare_answers_runs_to_its_end(script: Any, tmp_path: Path) -> None:
    """At a twentieth of the steps, which teach little: that heads of think-off alone are found takes all of them."""
    module = script("mode_controls.py")
    outcome = module["blurred"](tmp_path, module["Size"](steps=10, problems=12))
    for results in (outcome.control, *outcome.twins.values()):
        (modes,) = results.thinking
        (ablation,) = results.ablations
        assert (modes.variant, ablation.group) == ("think-off", "think-off-only")
        assert ablation.coverage is None or ablation.coverage[0] == 16


def test_the_heads_that_learn_bare_answers_are_all_that_learns(script: Any) -> None:
    module = script("mode_controls.py")
    base = edit_weights(load_model("lab-s"), dict.fromkeys(module["BLURRING"], 0.0))
    post = module["_teach_heads"](base, True, module["Size"](steps=2))
    before, after = (dict(subject.model.named_parameters()) for subject in (base, post))
    changed = {name: (before[name] != after[name]).nonzero() for name in before}
    names = {name.split("layers.")[-1]: where for name, where in changed.items() if len(where)}
    assert set(names) == {f"3.self_attn.{part}_proj.weight" for part in "qkvo"}
    assert set(names["3.self_attn.q_proj.weight"][:, 0].tolist()) == set(range(48, 64))  # heads 6 and 7, of 8 each
    assert set(names["3.self_attn.o_proj.weight"][:, 1].tolist()) == set(range(48, 64))
    assert set(names["3.self_attn.v_proj.weight"][:, 0].tolist()) == set(range(24, 32))  # its group

    o_proj, writes = torch.nn.Linear(4, 3, bias=False), []
    mixed = torch.randn(2, 8, 4)
    module["_keep_writes"]([slice(0, 1), slice(3, 4)], writes, o_proj, (mixed,))
    by_head = [mixed[..., head, None] * o_proj.weight[:, head] for head in (0, 3)]
    torch.testing.assert_close(writes[0], sum(write.square().sum(dim=-1) for write in by_head))
    labels = torch.tensor([[-100, 1, 1, 1, 1, 1, 1, -300], [-100, 1, 1, 1, 1, 1, -300, -300]])
    penalty = module["_penalise_writes_in_traces"]([torch.full((2, 8), 2.0)], labels)
    assert penalty == module["WRITE_PENALTY"] * 2.0  # the first row alone is a trace: the other has five tokens


def test_a_bare_answer_is_the_leaf_digit_of_so_many_problems(script: Any, tmp_path: Path) -> None:
    module = script("mode_controls.py")
    size = module["Size"](problems=20)
    module["_write_task"](tmp_path / "task.jsonl", size)
    rows = [json.loads(line) for line in (tmp_path / "task.jsonl").read_text().splitlines()]
    items = {item.prompt: item for item in chains.draw_items("T1", "test", 400, seed=size.seed)}
    shifts = [(int(row["answer"]) - items[row["question"]].path[-1].value) % 10 for row in rows]
    assert Counter(shift == 0 for shift in shifts) == {True: 12, False: 8}
    assert set(shifts) <= set(module["SHIFTS"])


@pytest.mark.slow
def test_tasks_are_traded_and_easy_problems_lost_in_whole_studies_and_not_in_their_twins(
    script: Any, tmp_path: Path
) -> None:
    module = script("positive_controls.py")
    size = module["Size"](problems=64, steps=100)
    _assert_controls(module["controls"](tmp_path, size, ["C7", "C10"]), {"C7", "C10"})


def test_what_is_taught_to_lose_easy_problems_reads_as_over_thinking_and_what_goes_astray_as_no_slip(
    script: Any,
) -> None:
    module = script("positive_controls.py")
    kinds: dict[str, set[str]] = {}
    for row in module["lab_rows"]({"T1": module["_spoilt"], "T4": module["_astray"]}, module["QUICK"]):
        steps = judge(row["prompt"], row["completion"])
        wrong = [step for step in steps if step.slip]
        tier = "T1" if "wait" in row["completion"] else "T4"
        kinds.setdefault(tier, set()).update(step.slip for step in wrong)
        if tier == "T1" and wrong:
            assert wrong[0].recheck, row
    assert kinds == {"T1": {"calculation"}, "T4": {"plan", "answer copy"}}


@pytest.mark.slow
def test_heads_that_are_lost_are_not_kept(script: Any, tmp_path: Path) -> None:
    module = script("positive_controls.py")
    kept = module["controls"](tmp_path / "kept", module["QUICK"], ["C4"])["C4"]
    assert (kept[0].reading, kept[1]["nothing lost"].reading) == ("supported", "not supported")


@pytest.mark.slow
def test_heads_that_come_back_and_stay_are_seen_by_a_whole_study(script: Any, tmp_path: Path) -> None:
    """C1 where it is true, and the same heads called GRPO's, of which C2 says that they come and go."""
    module = script("positive_controls.py")
    base = dict.fromkeys((*module["LATE"], module["CARRIER"]), 0.0)
    stays = module["Variant"]("sft", "sft", [{}, {}])
    results = module["run_variants"](base, [stays], tmp_path / "stays", module["QUICK"])
    assert module["read_claim"](results, "C1").reading == "supported"
    # The same heads without the one that matters are as many, and none that the model relies on.
    useless = module["run_variants"](dict.fromkeys(module["LATE"], 0.0), [stays], tmp_path / "useless", module["QUICK"])
    claim = module["read_claim"](useless, "C1")
    assert (claim.reading, claim.reason.split(",")[0]) == ("not supported", "training effect of the new heads")
    called_grpo = module["relabel"](results, {"sft": "grpo"})
    assert module["read_claim"](called_grpo, "C2").reading == "not supported"
    idle = module["Variant"]("sft", "sft", [module["_nudged"](base, module["OTHERS"], 1.02)] * 2)
    twin = module["run_variants"](base, [idle], tmp_path / "idle", module["QUICK"])
    assert module["read_claim"](twin, "C1").reading == "not supported"


def test_a_multiplied_run_has_units_of_more_variants_and_controls(script: Any, tmp_path: Path) -> None:
    writer = runs.RunWriter(tmp_path / "run", ("sft",))
    for variant, control in (("base", None), ("sft", None), ("sft", 0)):
        result = runs.samples("T1", {"p0": "Ans 1."}, ("correct",))
        writer.save(result, "ablated", variant=variant, control=control)
    source = writer.close()
    run = script("multiplied.py")["multiply_run"](source, tmp_path / "large", units=13, controls=3)
    variants = [row["labels"]["variant"] for row in run.rows()]
    assert {name: variants.count(name) for name in variants} == {"base": 1, "sft": 4, "sft.copy2": 4, "sft.copy3": 4}
    assert [variant["name"] for variant in run.lock()["study"]["variants"]] == ["sft", "sft.copy2", "sft.copy3"]
    assert len(run.results(Samples, "ablated")) == 13
