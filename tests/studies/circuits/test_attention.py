"""The attention of base and last checkpoint: which heads and texts are read, and that they are the models' own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.report.runs import emergence

from headscope.circuits import attention_rows
from headscope.errors import InputError
from headscope.heads import HeadId
from headscope.models import load_model
from headscope.pairs import Pairs
from headscope.progress import SILENT
from headscope.results.attention import LEVELS, Attention, AttentionText, decode_rows, encode_rows
from headscope.results.counts import HeadEstimates
from headscope.results.not_run import NotRun
from headscope.runs import Inputs, RunDirectory
from headscope.studies.circuits.attention import ATTENTION, AttentionConfig, choose_heads, choose_pairs, token_pieces
from headscope.studies.plan import plan
from headscope.studies.reading import read_study


@pytest.fixture
def attention(toy_run: Path) -> Attention:
    (unit,) = RunDirectory.open(toy_run).results(Attention, variant="sft")
    return unit.whole


def test_it_is_that_of_both_models_on_texts_of_the_pairs(attention: Attention, toy_run: Path, toy_base: Path) -> None:
    run = RunDirectory.open(toy_run)
    (train,) = run.find("train", variant="sft")
    (pairs,) = run.find("pairs", variant="sft", pairs="main")
    clean = {tuple(text.tolist()): index for index, text in enumerate(Pairs.load(pairs.folder).clean)}
    assert attention.heads_are == "all 8 heads"
    assert len(attention.texts) == len({text.problem for text in attention.texts}) == 4
    models = load_model(toy_base), load_model(train.folder / "checkpoint-4")
    for number, text in enumerate(attention.texts):
        assert text.ids in clean
        assert text.length == len(text.ids)
        assert "".join(text.pieces) == models[0].tokenizer.decode(text.ids)
        for model, side in zip(models, (0, 1), strict=True):
            expected = attention_rows(model, np.array(text.ids), attention.heads)
            for place, head in enumerate(attention.heads):
                kept = attention.weights(head, number)[side]
                assert np.abs(kept - expected[place]).max() < 1 / LEVELS
    assert (attention.base != attention.post).any()


def test_levels_keep_small_weights_and_the_sums_of_rows() -> None:
    rows = np.tril(np.random.default_rng(0).dirichlet(np.full(200, 0.05), size=(3, 200))).astype(np.float32)
    rows[0] = np.tril(np.full((200, 200), 1 / 200))
    cells = encode_rows(rows)
    back = decode_rows(cells, 200)
    assert cells.shape == (3, 200 * 201 // 2)
    assert cells.dtype == np.uint8
    assert (np.abs(back - rows) <= np.sqrt(rows) / LEVELS + 1e-5).all()
    np.testing.assert_allclose(back.sum(-1), rows.sum(-1), atol=0.03)
    assert not np.triu(back, 1).any()
    np.testing.assert_array_equal(encode_rows(back), cells)


def test_a_saved_result_is_what_was_saved(attention: Attention, tmp_path: Path) -> None:
    hostile = AttentionText("\u202ep", (1, 2), ("</script>\ud800", ""), 1, 300)
    cells = np.arange(3, dtype=np.uint8)[None]
    result = Attention("v", 3, (HeadId(1, 2),), "one", (hostile,), "so", cells, cells[:, ::-1])
    result.save(tmp_path)
    loaded = Attention.load(tmp_path)
    assert (loaded.texts, loaded.heads, loaded.step) == ((hostile,), (HeadId(1, 2),), 3)
    np.testing.assert_array_equal(loaded.post, result.post)
    with pytest.raises(InputError, match=r"cells of \(1, 3\) and \(1, 2\); its heads and texts need \(1, 3\)"):
        replace(result, post=cells[:, :2])
    with pytest.raises(InputError, match="text 0 of attention has 2 tokens and 1 pieces"):
        replace(result, texts=(replace(hostile, pieces=("a",)),))


CONFIG: Any = AttentionConfig.model_construct(heads=6, new=2, lost=1, texts=2, tokens=8, seed=0)


def test_a_large_models_new_and_lost_heads_come_before_its_most_important_ones() -> None:
    base, post = np.zeros((3, 4)), np.zeros((3, 4))
    post[0, :3] = 1.0  # new
    base[1, :2] = 1.0  # lost
    base[2, 1:3] = post[2, 1:3] = 1.0  # kept
    change, importance = np.zeros((3, 4)), np.zeros((3, 4))
    change[0, :3] = 0.1, 0.3, 0.2
    change[1, :2] = -0.1, -0.2
    importance[1, :2] = 0.2, 0.25
    importance[2] = 0.01, 0.4, 0.05, 0.02
    grid = HeadEstimates(change, change, change)
    chosen, words = choose_heads(
        replace(emergence(base, post), importance_change=grid, base_importance=importance), CONFIG
    )
    assert [str(head) for head in chosen] == ["L0H1", "L0H2", "L1H1", "L2H1", "L1H0", "L0H0"]
    assert words == (
        "6 of 12 heads: 2 of 3 new and 1 of 2 lost ones, by the change of their importance, and the 3 others of most "
        "importance"
    )
    everything, words = choose_heads(emergence(base, post), CONFIG.model_copy(update={"heads": 12}))
    assert (len(set(everything)), words) == (12, "all 12 heads")


def _pairs(lengths: list[int], problems: list[str]) -> Pairs:
    clean = [np.arange(length) for length in lengths]
    return Pairs.from_tokens(clean, [text[::-1].copy() for text in clean], problems=problems)


def test_texts_are_of_different_problems_and_short_enough_if_there_are_such() -> None:
    pairs = _pairs([5, 6, 7, 300, 5], ["a", "a", "b", "c", "d"])
    for seed in range(5):
        chosen = choose_pairs(pairs, 3, 256, seed)
        assert {pairs.problems[index] for index in chosen} == {"a", "b", "d"}  # type: ignore[index]
    assert {tuple(choose_pairs(pairs, 3, 256, seed)) for seed in range(20)} != {tuple(choose_pairs(pairs, 3, 256, 0))}
    assert choose_pairs(pairs, 3, 256, 4) == choose_pairs(pairs, 3, 256, 4)
    assert sorted(choose_pairs(pairs, 9, 256, 0)) == [0, 1, 2, 3, 4]
    assert choose_pairs(pairs, 9, 256, 0)[-1] == 3


def test_a_piece_is_the_text_its_token_adds() -> None:
    letters = {1: b"a", 2: "é".encode()[:1], 3: "é".encode()[1:], 4: b"</script>"}
    decode = lambda ids: b"".join(letters[token] for token in ids).decode(errors="replace")  # noqa: E731
    assert token_pieces([1, 2, 3, 4], decode) == ("a", "", "é", "</script>")
    odd = lambda ids: str(len(ids))  # noqa: E731 - a tokenizer whose pieces do not make up the text
    assert token_pieces([1, 2], odd) == ("1", "1")


def test_off_leaves_every_other_unit_where_it_is(toy_study: Path, tmp_path: Path) -> None:
    on = plan(read_study(str(toy_study)), RunDirectory(tmp_path))
    off = plan(read_study(str(toy_study), ["discover.attention=false"]), RunDirectory(tmp_path))
    others = [unit.address for unit in on if unit.kind not in ("attention", "head_roles")]
    assert others == [unit.address for unit in off]
    assert sum(unit.kind == "attention" for unit in on) == 2


def test_long_texts_are_cut_and_models_that_keep_their_rows_are_no_failure(
    toy_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = RunDirectory.open(toy_run)
    (record,) = run.find("attention", variant="grpo")
    config = AttentionConfig.model_validate(record.unit["config"] | {"tokens": 5, "texts": 2})
    inputs = Inputs({name: toy_run / "units" / place for name, place in record.unit["inputs"].items()}, tmp_path)
    result = ATTENTION.compute(config, inputs, SILENT)
    assert isinstance(result, Attention)
    assert [len(text.ids) for text in result.texts] == [5, 5]
    assert all(text.length > 5 and text.shared <= 5 for text in result.texts)
    assert result.chosen.endswith("; longer ones, cut to their first 5, because there are not enough")

    def refuse(*_: object) -> None:
        raise InputError("layer 0 of odd does not return its attention rows")

    monkeypatch.setattr("headscope.circuits.attention_rows", refuse)
    result = ATTENTION.compute(config, inputs, SILENT)
    assert isinstance(result, NotRun)
    assert result.reason == "layer 0 of odd does not return its attention rows"
