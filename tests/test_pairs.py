"""Pairs: construction, what is dropped or refused, files, halves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from headscope.errors import InputError
from headscope.pairs import Pairs, ProblemGroups
from headscope.pairs.positions import resolve_positions
from tests import qwen

CLEAN = [[1, 2, 3, 4], [5, 6, 7]]
CORRUPT = [[1, 2, 9, 8], [5, 0, 7]]


def equal(left: Pairs, right: Pairs) -> bool:
    same = [
        all(np.array_equal(a, b) for a, b in zip(getattr(left, name), getattr(right, name), strict=True))
        for name in ("clean", "corrupt", "positions")
    ]
    return all(same) and left.dropped == right.dropped and np.array_equal(left.labels, right.labels)


def test_arrays_tensors_and_lists_are_alike() -> None:
    clean, corrupt = [[1, 2, 3], [4, 5, 6]], [[1, 2, 0], [4, 0, 0]]
    from_lists = Pairs.from_tokens(clean, corrupt, labels=[[1, 2], [3, 4]])
    assert equal(from_lists, Pairs.from_tokens(np.array(clean), np.array(corrupt), labels=np.array([[1, 2], [3, 4]])))
    assert equal(
        from_lists,
        Pairs.from_tokens(torch.tensor(clean), torch.tensor(corrupt), labels=torch.tensor([[1, 2], [3, 4]])),
    )
    assert from_lists[1].label == (3, 4)


@pytest.mark.parametrize(
    ("positions", "expected"),
    [
        (None, [[3], [2]]),
        ("last", [[3], [2]]),
        ("answer", [[2, 3], [1, 2]]),
        ([1, -1], [[1, 3], [1, 2]]),
        ([[0], [2, 1]], [[0], [1, 2]]),
    ],
)
def test_evaluated_positions(positions: object, expected: list[list[int]]) -> None:
    pairs = Pairs.from_tokens(CLEAN, CORRUPT, positions)
    assert [row.tolist() for row in pairs.positions] == expected
    assert [pair.shared for pair in pairs] == [2, 1]


def test_openings_are_cut_and_dropped_with_a_count() -> None:
    prompts = [[1, 1], [2], [3, 3, 3], [4]]
    pairs = Pairs.from_openings(prompts, [[5, 6, 7], [5], [5, 6], [5, 6, 9]], [[5, 8, 9], [5, 8], [5], [5, 6, 8]], k=2)
    assert [row.tolist() for row in pairs.clean] == [[1, 1, 5, 6]]
    assert [row.tolist() for row in pairs.corrupt] == [[1, 1, 5, 8]]
    assert pairs.dropped == {"short clean opening": 1, "short corrupt opening": 1, "equal opening": 1}
    answer = Pairs.from_openings(prompts[:1], [[5, 6]], [[5, 8]], k=2, positions="answer")
    assert answer.positions[0].tolist() == [2, 3]


def test_no_pair_left_says_why() -> None:
    with pytest.raises(InputError, match="no pair is left of 2 candidates: 2 because of short clean openings"):
        Pairs.from_openings([[1], [2]], [[1], [1]], [[2], [3]], k=4)


def test_two_bos_are_refused_and_one_is_kept() -> None:
    with pytest.raises(InputError, match="prompt 0 starts with two BOS"):
        Pairs.from_openings([[0, 0, 5]], [[1]], [[2]], k=1, bos=0)
    assert Pairs.from_openings([[0, 5]], [[1]], [[2]], k=1, bos=0).clean[0].tolist() == [0, 5, 1]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([[1, 2]], [[1]]), "pair 0 has 2 clean and 1 corrupt tokens"),
        (([[1, 2]], [[1, 3], [1, 4]]), "1 clean and 2 corrupt texts"),
        (([[1, 2]], [[1, 3]], [2]), r"positions \[2\]; allowed are whole numbers from 0 to 1, or below 0 from the end"),
        (([[1, 2]], [[1, 3]], [-3]), r"positions \[-3\]; allowed"),
        (([[1, 2]], [[1, 3]], "first"), "positions 'first' are unknown"),
        (([[1, 2]], [[1, 3]], None, [[1, 2], [3, 4]]), r"labels have shape \(2, 2\); 1 pairs need"),
        (([], []), "0 clean"),
        (([[1, 2]], [[1, 3]], []), r"positions \[\] are unknown"),
        (([[1, 2], [1, 2]], [[1, 3], [1, 4]], [[0]]), "positions for 1 pairs"),
        (
            ([[1, 2], [1, 2]], [[1, 3], [1, 4]], None, None, ["a"]),
            "problems hold 1 labels for 2 pairs; give one for each",
        ),
        (
            ([[1, 2]], [[1, 3]], None, None, [None]),
            "problem of pair 0 is None; give each pair's problem a name or number",
        ),
        (([[]], [[]]), "at least 1"),
    ],
)
def test_bad_input_is_one_sentence(arguments: tuple[object, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Pairs.from_tokens(*arguments)


@settings(max_examples=20)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=2, max_size=7),
    seed=st.integers(0, 99),
    labelled=st.booleans(),
)
def test_files_and_halves(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], seed: int, labelled: bool
) -> None:
    draw = np.random.default_rng(seed)
    rows = [draw.integers(0, 9, length) for length in lengths]
    pairs = Pairs.from_tokens(
        rows, [row[::-1] for row in rows], "answer", draw.integers(0, 9, (len(rows), 2)) if labelled else None
    )
    folder = tmp_path_factory.mktemp("pairs")
    pairs.save(folder)
    assert equal(Pairs.load(folder), pairs)
    assert Pairs.load(folder).digest() == pairs.digest()
    first, second = pairs.split(seed)
    assert len(first) + len(second) == len(pairs)
    joined = sorted([*map(bytes, first.clean), *map(bytes, second.clean)])
    assert joined == sorted(map(bytes, pairs.clean))
    assert equal(pairs.split(seed)[0], first)


def test_the_digest_sees_every_part() -> None:
    digests = {
        Pairs.from_tokens(CLEAN, CORRUPT).digest(),
        Pairs.from_tokens(CORRUPT, CLEAN).digest(),
        Pairs.from_tokens(CLEAN, CORRUPT, "answer").digest(),
        Pairs.from_tokens(CLEAN, CORRUPT, labels=[[1, 2], [1, 2]]).digest(),
        Pairs.from_tokens(CLEAN[::-1], CORRUPT[::-1]).digest(),
    }
    assert len(digests) == 5


def test_indexing() -> None:
    pairs = Pairs.from_tokens(CLEAN, CORRUPT, labels=[[1, 2], [3, 4]])
    assert equal(pairs[1:], pairs[[1]])
    assert pairs[[1, 1]].labels.tolist() == [[3, 4], [3, 4]]
    with pytest.raises(InputError, match="found 1 pair; splitting into halves needs at least 2 problems"):
        pairs[:1].split(0)


@settings(max_examples=30)
@given(labels=st.lists(st.sampled_from("abcd"), min_size=2, max_size=9), seed=st.integers(0, 9))
def test_pairs_remember_their_problems(tmp_path_factory: pytest.TempPathFactory, labels: list[str], seed: int) -> None:
    clean = [[index, 1] for index in range(len(labels))]
    pairs = Pairs.from_tokens(clean, [[index, 2] for index in range(len(labels))], problems=labels)
    plain = Pairs.from_tokens(pairs.clean, pairs.corrupt)
    assert pairs.digest() != plain.digest()
    folder = tmp_path_factory.mktemp("problems")
    pairs.save(folder)
    assert Pairs.load(folder).problems == tuple(labels)
    assert Pairs.load(folder).digest() == pairs.digest()
    assert pairs[::-1].problems == tuple(labels[::-1])
    assert pairs.exchange().problems == pairs.problems
    assert pairs.within(4).problems == tuple(label for index, label in enumerate(labels) if index < 4)
    problems = len(set(labels))
    if problems < 2:
        with pytest.raises(InputError, match=f"found {len(labels)} pairs of 1 problem; splitting into halves needs"):
            pairs.split(seed)
        return
    first, second = pairs.split(seed)
    assert not set(first.problems) & set(second.problems)
    assert (len(set(first.problems)), len(first) + len(second)) == (problems // 2, len(pairs))


def test_problems_go_with_the_candidates_that_are_kept() -> None:
    openings = ([[5, 6], [5], [5, 7]], [[5, 8], [5], [5, 9]])
    pairs = Pairs.from_openings([[1], [1], [2]], *openings, k=2, problems=[7, 8, 9])
    assert pairs.problems == ("7", "9")
    with pytest.raises(InputError, match="problems hold 1 labels for 3 candidates"):
        Pairs.from_openings([[1], [1], [2]], *openings, k=2, problems=[7])


def test_old_files_and_digests_stay() -> None:
    """The digest of pairs without problems is the one it always was."""
    assert Pairs.from_tokens(CLEAN, CORRUPT).digest()[:12] == "3973e4c4b18f"


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (None, "4 pairs"),
        ("abcd", "4 pairs"),
        ("aabb", "2 problems × 2 pairs"),
        ("aaab", "2 problems × 2 pairs"),
        ("aabc", "3 problems × 1.3 pairs"),
        ("aaaa", "1 problem × 4 pairs"),
    ],
)
def test_sizes_say_problems_and_pairs(labels: str | None, text: str) -> None:
    assert str(ProblemGroups.of((None if labels is None else tuple(labels), 4)).size) == text


def test_a_problem_of_two_sets_is_one() -> None:
    assert ProblemGroups.of((("a", "b"), 2), (("b", "c"), 2)).numbers.tolist() == [0, 1, 1, 2]
    assert ProblemGroups.of((None, 2), (None, 2)).numbers.tolist() == [0, 1, 2, 3]


@settings(max_examples=20)
@given(
    prompts=st.lists(st.integers(0, 3), min_size=1, max_size=8),
    shared=st.lists(st.integers(0, 5), min_size=8, max_size=8),
)
def test_groups_hold_every_pair_once_and_share_what_lies_before_their_endings(
    prompts: list[int], shared: list[int]
) -> None:
    """Problem p is p + 3 tokens long; every answer has 6 tokens, the first few of them equal in both."""
    begun = [[*[9] * (problem + 2), problem, *[7] * count] for problem, count in zip(prompts, shared, strict=False)]
    clean = [[*row, *[1] * (problem + 9 - len(row))] for problem, row in zip(prompts, begun, strict=True)]
    corrupt = [[*row, *[2] * (problem + 9 - len(row))] for problem, row in zip(prompts, begun, strict=True)]
    pairs = Pairs.from_tokens(clean, corrupt)
    groups = pairs.groups()
    assert sorted(index for group in groups for index in group) == list(range(len(pairs)))
    for group in groups:
        endings = [pairs[index].ending for index in group]
        assert max(endings) < 2 * min(endings)
        assert len({pairs[index].clean[: -max(endings)].tobytes() for index in group}) == 1
    classes = [{(prompts[index], pairs[index].ending) for index in group} for group in groups]
    assert len(set().union(*classes)) == sum(map(len, classes))  # like pairs are never apart


@pytest.fixture(scope="module")
def qwen_tokenizer(real_data: Path) -> Any:
    """Qwen2.5's own vocabulary and chat template."""
    return qwen.tokenizer(real_data / "qwen.tiktoken")


def test_whole_texts_of_unequal_length_are_dropped_with_a_count(qwen_tokenizer: Any) -> None:
    clean = ["The capital of France is", "When John and Mary left, Mary gave it to", "Same text", "One two"]
    corrupt = ["The capital of Italy is", "When John and Bartholomew left, Mary gave it to", "Same text", "One six"]
    labels = [(" Paris", " Rome"), (" John", " Mary"), (" a", " b"), (" three", " seven")]
    pairs = Pairs.from_text(qwen_tokenizer, clean, corrupt, labels=labels)
    assert [qwen_tokenizer.decode(row) for row in pairs.clean] == [clean[0], clean[3]]
    assert [qwen_tokenizer.decode(row) for row in pairs.corrupt] == [corrupt[0], corrupt[3]]
    assert pairs.dropped == {"unequal length": 1, "equal text": 1}
    read = [tuple(qwen_tokenizer.decode(token) for token in row) for row in pairs.labels]
    assert read == [labels[0], labels[3]]
    assert [row.tolist() for row in pairs.positions] == [[4], [1]]


def test_answers_follow_the_chat_template_rendered_once(qwen_tokenizer: Any) -> None:
    question = [{"role": "user", "content": "What is 6 × 7?"}]
    rendered = qwen_tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    clean = ["<think>Okay, so I have this problem", "Okay, so", "<think>Okay, so I have this problem"]
    corrupt = ["To determine the value of the product", "We'll use Python to find it", "To determine it"]
    pairs = Pairs.from_text(qwen_tokenizer, clean, corrupt, prompts=[question] * 3, k=5, positions="answer")
    assert pairs.dropped == {"short clean opening": 1, "short corrupt opening": 1}
    length = len(qwen_tokenizer(rendered)["input_ids"])
    assert qwen_tokenizer.decode(pairs.clean[0][:length]) == rendered
    assert pairs.clean[0][length:].tolist() == qwen_tokenizer(clean[0], add_special_tokens=False)["input_ids"][:5]
    assert pairs.positions[0].tolist() == list(range(length, length + 5))
    same = Pairs.from_text(qwen_tokenizer, clean, corrupt, prompts=[rendered] * 3, k=5, positions="answer")
    assert same.digest() == pairs.digest()


def bos_tokenizer(frame: str = "<s> $A") -> PreTrainedTokenizerFast:
    """Words as tokens, and a BOS that both the tokenizer and the chat template add, as Llama's do."""
    words = {word: index for index, word in enumerate(["<s>", "<unk>", "a", "b", "c", "d"])}
    fast = Tokenizer(WordLevel(words, unk_token="<unk>"))
    fast.pre_tokenizer = WhitespaceSplit()
    fast.post_processor = TemplateProcessing(single=frame, special_tokens=[("<s>", 0)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=fast, bos_token="<s>", unk_token="<unk>")
    fails = "{{ raise_exception('roles must alternate') if messages[0].role == 'assistant' }}"
    tokenizer.chat_template = fails + "{{ bos_token }}{% for message in messages %} {{ message.content }}{% endfor %}"
    return tokenizer


@pytest.mark.parametrize("prompt", [[{"role": "user", "content": "a b"}], "<s> a b", "<s> <s> a b"])
def test_one_bos_before_a_prompt(prompt: Any) -> None:
    pairs = Pairs.from_text(bos_tokenizer(), ["c"], ["d"], prompts=[prompt])
    assert pairs.clean[0].tolist() == [0, 2, 3, 4]
    assert pairs.corrupt[0].tolist() == [0, 2, 3, 5]


@pytest.mark.parametrize("start", ["", "<s> "])
def test_one_bos_before_a_whole_text(start: str) -> None:
    pairs = Pairs.from_text(bos_tokenizer(), [f"{start}a b c"], [f"{start}a b d"])
    assert pairs.clean[0].tolist() == [0, 2, 3, 4]


def test_a_whole_text_is_read_where_it_goes_on_not_after_an_eos() -> None:
    pairs = Pairs.from_text(bos_tokenizer("<s> $A <s>"), ["a b c"], ["a b d"])
    assert pairs.clean[0].tolist() == [0, 2, 3, 4]
    assert pairs.positions[0].tolist() == [3]


@pytest.mark.parametrize(
    ("openings", "sentence"),
    [
        ((["a b"], [[3, 4]], [[4, 4]]), "row 0 of token ids holds 0 axes"),
        (([[1, 2.7]], [[3, 4]], [[4, 4]]), "row 0 of token ids holds 1 axes of float64"),
        (([[1, 2]], [[3, -100]], [[4, 4]]), "row 0 of token ids holds id -100"),
    ],
)
def test_openings_that_are_no_token_ids_are_refused(openings: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Pairs.from_openings(*openings, k=2)


@pytest.mark.parametrize(
    ("clean", "corrupt", "more", "sentence"),
    [
        (["a"], ["b"], {"labels": ["cd"]}, "label of pair 0 is 'cd'; give two texts"),
        (["a"], ["b"], {"labels": [("c", "d", "a")]}, "label of pair 0 is .*; give two texts"),
        (["a b"], ["a b c"], {}, "no pair is left of 1 candidates: 1 because of unequal lengths"),
        (["a"], ["a"], {}, "1 because of equal texts"),
        ([], [], {}, "no pair is left of 0 candidates: none was given"),
        (["a"], ["b", "c"], {}, "found 1 clean and 2 corrupt texts"),
        (["a"], ["b"], {"prompts": ["c", "d"]}, "for 2 prompts"),
        (["a"], ["b"], {"k": 2}, "k=2 without prompts"),
        (["a"], ["b"], {"k": 0, "prompts": ["c"]}, "k=0"),
        (["a"], ["b"], {"labels": []}, "labels hold 0 rows"),
        (["a"], ["b"], {"labels": [("c", "c d")]}, "label 'c d' is 2 tokens"),
        (["a"], ["b"], {"positions": [7]}, "evaluated at positions"),
        (["a"], ["b"], {"prompts": [[{"role": "assistant", "content": "c"}]]}, "cannot render .* roles must alternate"),
        (["a"], ["\ud800"], {}, "cannot encode"),
        (["a"], ["b"], {"prompts": [[{"role": "user"}]]}, "a list of messages with role and content"),
        (["a"], ["b"], {"prompts": [[]]}, "a list of messages with role and content"),
    ],
)
def test_texts_that_make_no_pairs(clean: list[str], corrupt: list[str], more: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Pairs.from_text(bos_tokenizer(), clean, corrupt, **more)


def test_without_a_tokenizer_or_template_texts_are_refused() -> None:
    with pytest.raises(InputError, match="no tokenizer"):
        Pairs.from_text(None, ["a"], ["b"])
    tokenizer = bos_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="chat template"):
        Pairs.from_text(tokenizer, ["a"], ["b"], prompts=[[{"role": "user", "content": "c"}]])


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    Pairs.from_tokens(CLEAN, CORRUPT).save(tmp_path)
    metadata, arrays = tmp_path / "pairs.json", tmp_path / "pairs.safetensors"
    whole_json, whole_arrays = metadata.read_text(), arrays.read_bytes()
    arrays.write_bytes(whole_arrays[:-8])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        Pairs.load(tmp_path)
    Pairs.from_tokens(CORRUPT, CLEAN).save(tmp_path / "other")
    arrays.write_bytes((tmp_path / "other" / "pairs.safetensors").read_bytes())
    with pytest.raises(InputError, match=r"does not hold the pairs that pairs\.json was written for"):
        Pairs.load(tmp_path)
    arrays.unlink()
    with pytest.raises(InputError, match=r"pairs\.safetensors is missing"):
        Pairs.load(tmp_path)
    arrays.write_bytes(whole_arrays)
    metadata.write_text(whole_json[:-9])
    with pytest.raises(InputError, match="not whole JSON"):
        Pairs.load(tmp_path)
    metadata.write_text(whole_json)
    assert len(Pairs.load(tmp_path)) == 2


def test_newer_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing"):
        Pairs.load(tmp_path)
    Pairs.from_tokens(CLEAN, CORRUPT).save(tmp_path)
    metadata = json.loads((tmp_path / "pairs.json").read_text())
    (tmp_path / "pairs.json").write_text(json.dumps({**metadata, "schema_version": 99}))
    with pytest.raises(InputError, match="99"):
        Pairs.load(tmp_path)


def test_pairs_are_picked_by_mask_list_and_numpy_integer() -> None:
    pairs = Pairs.from_tokens([[1, 2], [3, 4], [5, 6]], [[1, 3], [3, 5], [5, 7]])
    assert [row.tolist() for row in pairs[np.array([False, True, True])].clean] == [[3, 4], [5, 6]]
    assert pairs[np.int64(2)].clean.tolist() == [5, 6]
    with pytest.raises(InputError, match=r"mask of shape \(2,\) was given for 3 pairs"):
        pairs[np.array([True, False])]


@pytest.mark.parametrize(
    ("clean", "more", "sentence"),
    [
        ([[1.7, 2.0], [3, 4]], {}, "row 0 of token ids holds 1 axes of float64"),
        ([[1, 2], [3, -4]], {}, "row 1 of token ids holds id -4"),
        ([[1, 2], [3, 4]], {"labels": [[1, 2, 3, 4]]}, r"labels have shape \(1, 4\); 2 pairs need \(2, 2\)"),
        ([[1, 2], [3, 4]], {"positions": [[1], [1], [0]]}, "positions for 3 pairs; give one list for all"),
    ],
)
def test_ids_labels_and_positions_that_do_not_fit_are_refused(clean: Any, more: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Pairs.from_tokens(clean, [[1, 3], [3, 5]], **more)


def test_positions_between_tokens_are_refused() -> None:
    with pytest.raises(InputError, match=r"positions \[0\.5\]; allowed are whole numbers"):
        resolve_positions([0.5], 0, np.array([1, 2]), np.array([1, 3]))


def test_pairs_within_a_vocabulary_leave_out_what_it_lacks() -> None:
    labels = [[1, 2], [1, 2], [1, 9], [3, 4]]
    pairs = Pairs.from_tokens([[1, 2], [1, 9], [1, 3], [2, 4]], [[1, 3], [1, 2], [1, 4], [2, 8]], labels=labels)
    within = pairs.within(8)
    assert [row.tolist() for row in within.clean] == [[1, 2]]
    assert within.dropped == {"token that one model lacks": 3}
    assert len(pairs.within(9)) == 2
    assert pairs.within(10).dropped == {}
    with pytest.raises(InputError, match=r"all 4 pairs hold a token that only one .* such as 'word 3' \(id 3\)"):
        pairs.within(1, lambda token: f"word {token}")


def test_the_vocabulary_is_saved_and_decides_the_digest(tmp_path: Path) -> None:
    pairs = Pairs.from_tokens([[1, 2], [1, 3]], [[1, 3], [1, 4]])
    within = pairs.within(7)
    within.save(tmp_path)
    assert Pairs.load(tmp_path).vocabulary == within[:1].vocabulary == within.exchange().vocabulary == 7
    assert len({pairs.digest(), within.digest(), pairs.within(8).digest()}) == 3


def test_a_single_text_is_no_list_of_texts() -> None:
    with pytest.raises(InputError, match="clean is one text, 'Tom has 2'; give a list"):
        Pairs.from_text(bos_tokenizer(), "Tom has 2", "Tom has 3")
