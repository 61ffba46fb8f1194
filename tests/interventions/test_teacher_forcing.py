"""Teacher-forced sweeps: the same numbers as one pass per edit, on every architecture, whatever the rows share."""

import inspect
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from tests.precision import EXACT

from headscope.errors import InputError
from headscope.interventions import (
    Constants,
    DonorWeights,
    Replacement,
    Text,
    capture_mean,
    direct_loss,
    fit_constants,
    make_replacement,
    replace_heads,
    scale_rows,
    teacher_force,
)
from headscope.interventions.layerwise import Layerwise
from headscope.models import ARCHITECTURES, Subject, head_access
from headscope.operator_names import OPERATORS

pytestmark = pytest.mark.usefixtures("float64")

TEXTS = [Text((1, 2, 3, 4), (5, 6, 7)), Text((9, 8), (7, 6, 5, 4, 3, 2, 1))]


def edits(seed: int = 0, count: int = 7) -> np.ndarray:
    """Whole, twice the same, and others that begin to differ in either layer."""
    draw = np.random.default_rng(seed)
    factors = draw.choice([0.0, 0.5, 1.0, 1.0], size=(count, 2, 4)).astype(np.float32)
    factors[0] = 1
    factors[3] = factors[2]
    factors[4, 0] = factors[5, 0] = 1
    return factors


def one_by_one(model: Any, factors: np.ndarray, text: Text) -> np.ndarray:
    rows = []
    for edit in factors:
        with scale_rows(model, edit[None]), torch.no_grad():
            logits = model(torch.tensor([text.tokens])).logits[0, len(text.prompt) - 1 : -1]
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(text.response))
        right = (logits.argmax(-1) == torch.tensor(text.response)).float().mean()
        rows.append((float(loss), float(right)))
    return np.array(rows)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_sweep_equals_one_pass_per_edit(tiny_model: Any, architecture: str) -> None:
    model, factors = tiny_model(architecture), edits()
    metrics = teacher_force(model, TEXTS, factors, rows=5)
    for column, text in enumerate(TEXTS):
        expected = one_by_one(model, factors, text)
        assert np.allclose(metrics.nll[:, column], expected[:, 0], rtol=0, atol=EXACT)
        assert np.allclose(metrics.accuracy[:, column], expected[:, 1])
    assert len(np.unique(metrics.nll[:, 0].round(5))) >= 5  # the edits do differ


def test_losses_of_groups_of_tokens_are_those_of_one_pass_per_edit(tiny_model: Any) -> None:
    model, factors = tiny_model("qwen3"), edits()
    groups = [np.array([2, -1, 0]), np.array([0, 0, 1, 0, -1, 1, 1])]
    metrics = teacher_force(model, TEXTS, factors, groups=groups, rows=5)
    assert metrics.group_nll is not None
    for column, (text, group) in enumerate(zip(TEXTS, groups, strict=True)):
        for row, edit in enumerate(factors):
            with scale_rows(model, edit[None]), torch.no_grad():
                logits = model(torch.tensor([text.tokens])).logits[0, len(text.prompt) - 1 : -1]
            losses = torch.nn.functional.cross_entropy(logits, torch.tensor(text.response), reduction="none").numpy()
            expected = [losses[group == name].sum() for name in range(3)]
            assert np.allclose(metrics.group_nll[row, column], expected, rtol=0, atol=EXACT)
    plain = teacher_force(model, TEXTS, factors, rows=5)
    assert plain.group_nll is None
    assert np.array_equal(plain.nll, metrics.nll)
    with pytest.raises(InputError, match=r"groups hold \[3, 3\] tokens; one number for each of \[3, 7\]"):
        teacher_force(model, TEXTS, factors, groups=[groups[0], groups[0]])


def test_rows_part_as_late_as_the_edits_do(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    head_access(model)  # proves itself at its first use, in passes of its own
    factors = np.ones((6, 2, 4), dtype=np.float32)
    factors[np.arange(1, 5), 1, np.arange(4)] = 0  # all alike below layer 1, and the last as the first
    shapes: dict[str, list[tuple[int, int]]] = {"q_proj": [], "up_proj": []}
    handles = [
        module.register_forward_hook(lambda _m, _a, out, name=name: shapes[name].append(tuple(out.shape[:2])))
        for layer in model.model.layers
        for name, module in (("q_proj", layer.self_attn.q_proj), ("up_proj", layer.mlp.up_proj))
    ]
    teacher_force(model, TEXTS[:1], factors)
    for handle in handles:
        handle.remove()
    text, response = len(TEXTS[0].tokens), len(TEXTS[0].response)
    passed = [(1, text)] * 2
    assert shapes["q_proj"] == [*passed, (1, text)]
    assert shapes["up_proj"] == [*passed, (5, response)]


@pytest.mark.parametrize(
    ("module", "place"), [("self_attn.o_proj", "o_proj"), ("self_attn", "attention"), ("", "what it gives")]
)
def test_a_hook_that_would_be_passed_by_is_refused(tiny_model: Any, module: str, place: str) -> None:
    model = tiny_model("qwen3")
    hook = model.model.layers[1].get_submodule(module).register_forward_hook(lambda *_: None)
    with pytest.raises(InputError, match=f"layer 1 has a hook on .*{place}"):
        teacher_force(model, TEXTS[:1], np.ones((1, 2, 4), dtype=np.float32))
    with pytest.raises(InputError, match=f"layer 1 has a hook on .*{place}"):
        fit_constants(model, ["L0H1"], TEXTS[:1])
    hook.remove()
    assert not fit_constants(model, [], TEXTS[:1]).any()
    with pytest.raises(InputError, match="found 0 texts and 24 steps"):
        fit_constants(model, ["L0H1"], [])
    model(torch.tensor([TEXTS[0].tokens]), output_hidden_states=True)  # transformers' own hooks only look
    teacher_force(model, TEXTS[:1], np.ones((1, 2, 4), dtype=np.float32))


def test_a_pass_that_fails_leaves_the_next_one_free(tiny_model: Any) -> None:
    model, factors = tiny_model("qwen3"), np.ones((1, 2, 4), dtype=np.float32)
    before = teacher_force(model, TEXTS, factors)
    hook = model.model.layers[0].mlp.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        teacher_force(model, TEXTS, factors)
    hook.remove()
    assert np.array_equal(before.nll, teacher_force(model, TEXTS, factors).nll)


def test_optimal_constants_lose_least(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    heads = ["L0H1", "L1H0"]
    texts = [Text((index, index + 1), (index + 2, 3, index, 5)) for index in range(6)]
    best = fit_constants(model, heads, texts, steps=24)
    alone = np.ones((2, 2, 4), dtype=np.float32)
    alone[0, 0, 1] = alone[1, 1, 0] = 0

    def loss(values: np.ndarray) -> np.ndarray:
        return teacher_force(model, texts, alone, replacement=Replacement(Constants(values))).nll.mean(axis=1)

    mean = capture_mean(model, [text.tokens for text in texts])
    assert (loss(best) < loss(np.zeros_like(best)) - 0.02).all()
    assert (loss(best) < loss(mean) - 0.02).all()
    assert not best[0, 0].any()
    assert np.array_equal(best, fit_constants(model, heads, texts, steps=24))
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("operator", OPERATORS)
def test_stand_ins_do_the_same_in_a_sweep_and_in_a_pass(tiny_model: Any, operator: str) -> None:
    model = Subject(tiny_model("qwen3"), None, "tiny")
    reference = [Text((20 + index, index), (3, index, 5)) for index in range(4)]
    by = make_replacement(model, operator, reference, donor=DonorWeights.of(model, tiny_model("qwen3", 1)))
    factors = np.ones((2, 2, 4), dtype=np.float32)
    factors[1, 0, 1] = factors[1, 1, 3] = 0
    metrics = teacher_force(model, TEXTS, factors, replacement=by).nll
    for column, text in enumerate(TEXTS):
        with replace_heads(model, ["L0H1", "L1H3"], by):
            assert one_by_one(model.model, np.ones((1, 2, 4), dtype=np.float32), text)[0, 0] == pytest.approx(
                metrics[1, column], abs=EXACT
            )
    assert (abs(metrics[1] - metrics[0]) > 1e-3).all()


@pytest.mark.parametrize("architecture", ["qwen3", "gpt2", "gemma2", "olmo2"])
def test_in_the_last_layer_only_the_mlp_can_repair(tiny_model: Any, architecture: str) -> None:
    """Where the MLP of the last layer writes nothing, a removal there is direct and nothing else."""
    model = tiny_model(architecture)
    writes = head_access(model).layers[1].mlp_write
    heads = ["L1H0", "L1H2"]
    factors = np.ones((2, 2, 4), dtype=np.float32)
    factors[1, 1, [0, 2]] = 0
    silent = writes.register_forward_hook(lambda _m, _a, out: torch.zeros_like(out))
    direct, total = direct_loss(model, heads, TEXTS), teacher_force(model, TEXTS, factors).nll
    silent.remove()
    # A post-norm scales what is left anew, which its linearisation does not.
    assert np.allclose(direct, total[1], atol=2.0 if architecture in ("gemma2", "olmo2") else EXACT)
    assert (abs(direct - total[0]) > 1e-3).all()
    assert not np.allclose(direct_loss(model, heads, TEXTS), teacher_force(model, TEXTS, factors).nll[1], atol=1e-3)


@pytest.mark.slow
def test_threads_that_share_a_model_do_not_meet(tiny_model: Any) -> None:
    """Sweeps, direct effects, reference texts and fitted constants, with one thread and with three."""
    model, factors = tiny_model("qwen3"), edits()
    texts = [Text((index, index + 1), tuple(range(3, 5 + index % 7))) for index in range(9)]
    donor = DonorWeights.of(model, tiny_model("qwen3", 1))

    def run_all(threads: int) -> list[np.ndarray]:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            losses = [
                teacher_force(model, texts, factors, replacement=by).nll
                for by in (make_replacement(model, operator, texts, donor=donor) for operator in OPERATORS)
            ]
            means = capture_mean(model, [text.tokens for text in texts])
            assert torch.get_num_threads() == threads
            return [*losses, direct_loss(model, ["L0H1", "L1H2"], texts), means]
        finally:
            torch.set_num_threads(before)

    for alone_result, threaded_result in zip(run_all(1), run_all(3), strict=True):
        assert np.allclose(alone_result, threaded_result, rtol=0, atol=EXACT)


def test_other_grids_are_refused(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    for count, layers in ((1, 3), (0, 2)):
        with pytest.raises(InputError, match=rf"\({count}, {layers}, 4\) in factors; .*\[1 or more edits, 2, 4\]"):
            teacher_force(model, TEXTS, np.ones((count, layers, 4), dtype=np.float32))
    with pytest.raises(InputError, match="found nan in factors"):
        teacher_force(model, TEXTS, np.full((1, 2, 4), np.nan))
    for rows in (0, -1):
        with pytest.raises(InputError, match=f"found rows={rows}; give at least 1 edit at a time"):
            teacher_force(model, TEXTS, edits(), rows=rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (Text((1,), ()), "at least one text, each with a prompt and a response"),
        (Text((), (1,)), "at least one text, each with a prompt and a response"),
        (Text((1,), (40,)), "token id 40; the model's vocabulary allows 0-39"),
        (Text((1,), (2,) * 64), "a text of 65 tokens; the model's learned positions allow 64"),
    ],
)
def test_texts_that_a_model_cannot_predict_are_refused(tiny_model: Any, text: Text, message: str) -> None:
    model = tiny_model("gpt2")
    with pytest.raises(InputError, match=message):
        teacher_force(model, [TEXTS[0], text], edits())
    with pytest.raises(InputError, match=message):
        direct_loss(model, ["L0H1"], [TEXTS[0], text])
    with pytest.raises(InputError, match=message):
        fit_constants(model, ["L0H1"], [TEXTS[0], text])


def test_edits_may_be_a_list(tiny_model: Any) -> None:
    model = tiny_model("qwen3")
    expected = teacher_force(model, TEXTS, edits()).nll
    assert np.array_equal(inspect.unwrap(teacher_force)(model, TEXTS, edits().tolist()).nll, expected)


def test_hooks_are_gone_after_a_module_raised(tiny_model: Any) -> None:
    model = tiny_model("qwen3")

    def stop(*_: Any) -> None:
        raise RuntimeError("stop")

    broken = model.model.layers[1].mlp.register_forward_hook(stop)
    with pytest.raises(RuntimeError, match="stop"):
        teacher_force(model, TEXTS, edits())
    broken.remove()
    assert all(not module._forward_pre_hooks and not module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("layers", [3, 6])
def test_streams_do_not_pile_up_over_the_layers(tiny_model: Any, monkeypatch: pytest.MonkeyPatch, layers: int) -> None:
    model = tiny_model("qwen3", num_hidden_layers=layers)
    head_access(model)
    factors = np.ones((5, layers, 4), dtype=np.float32)
    factors[1:, 0] = np.eye(4)
    written: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []
    write = Layerwise.write

    def count(self: Layerwise, layer: int, stream: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        alive.append(sum(reference() is not None for reference in written))
        result = write(self, layer, stream, z)
        written.append(weakref.ref(result))
        return result

    monkeypatch.setattr(Layerwise, "write", count)
    teacher_force(model, TEXTS[:1], factors)
    assert alive == [0] + [1] * (layers - 1)


def refuse_many_rows(monkeypatch: pytest.MonkeyPatch, model: Any, most: int) -> list[int]:
    """Let the model's MLPs run out of memory on more than ``most`` rows; the list fills with the rows they get."""
    rows: list[int] = []
    forward = type(model.model.layers[0].mlp).forward

    def refuse(self: Any, states: torch.Tensor) -> torch.Tensor:
        rows.append(len(states))
        if len(states) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, states)

    monkeypatch.setattr(type(model.model.layers[0].mlp), "forward", refuse)
    return rows


def test_running_out_of_memory_halves_the_edits_and_changes_no_loss(
    tiny_model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, factors = tiny_model("qwen3"), edits(count=12)
    expected = teacher_force(model, TEXTS, factors)
    constants = fit_constants(model, ["L0H0", "L1H2", "L1H3"], TEXTS, steps=4)
    rows = refuse_many_rows(monkeypatch, model, 3)
    metrics = teacher_force(model, TEXTS, factors)
    assert np.allclose(metrics.nll, expected.nll, rtol=0, atol=EXACT)
    # Twelve and six, of the first text; the second is spared both, unless another thread begins it at the same time.
    refused = sum(count > 3 for count in rows)
    assert refused == 2 or (torch.get_num_threads() > 1 and refused <= 4)
    refuse_many_rows(monkeypatch, model, 1)
    assert np.allclose(fit_constants(model, ["L0H0", "L1H2", "L1H3"], TEXTS, steps=4), constants, atol=EXACT)


def test_a_text_that_does_not_fit_with_one_edit_is_refused(tiny_model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model("qwen3")
    head_access(model)
    refuse_many_rows(monkeypatch, model, 0)
    with pytest.raises(InputError, match=r"text of 7 tokens does not fit in memory with one edit at a time; use short"):
        teacher_force(model, TEXTS[:1], edits())
