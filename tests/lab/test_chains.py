"""The task's answers and traces against a plain evaluation of the prompt."""

import random
import re

import pytest

from headscope.lab import builtin_data, chains
from headscope.lab.statements import judge
from headscope.lab.tokenizer import build_tokenizer

CHAINS = ("T1", "T2", "T3", "T4", "KR")


def solve(prompt: str) -> int:
    """Evaluate a prompt by substitution, knowing nothing of how it was made."""
    *assignments, query = prompt.split(" ")
    rules = dict(part.rstrip(";").split("=") for part in assignments)

    def value(name: str) -> int:
        rule = rules[name]
        if rule.isdigit():
            return int(rule)
        if fact := re.fullmatch(r"E(\d+)R(\d+)", rule):
            return chains.fact(int(fact[1]), int(fact[2]))
        operand, operator, digit = rule
        return int(eval(f"{value(operand)}{operator}{digit}")) % 10

    return value(query[1:])


@pytest.mark.parametrize("tier", CHAINS)
def test_answers_are_what_the_prompt_says(tier: str) -> None:
    for item in chains.draw_items(tier, "test", 40, seed=3):
        assert solve(item.prompt) == item.answer
        low, high = chains.OPERATIONS[tier]
        assert low <= len(item.path) - 1 <= high


@pytest.mark.parametrize("tier", CHAINS)
def test_every_step_of_a_trace_is_right_and_the_last_is_the_answer(tier: str) -> None:
    for item in chains.draw_items(tier, "train", 20, seed=1):
        text = chains.trace(item)
        for left, operator, digit, result in re.findall(r"=(\d)([+*-])(\d)=(\d)", text):
            assert chains.apply(operator, int(left), int(digit)) == int(result)
        assert text.count(";") == 2 * len(item.path) - (0 if tier == "KR" else 1)
        assert chains.thinking_turn(item).endswith(f"<ans> {item.answer}")


def test_a_slip_makes_the_answer_wrong_and_a_recheck_alone_does_not() -> None:
    items = chains.draw_items("T2", "train", 50, seed=0)
    sound = [chains.thinking_turn(item, recheck=1.0, rng=random.Random(0)) for item in items]
    assert all(text.endswith(str(item.answer)) for text, item in zip(sound, items, strict=True))
    assert all(text.count("wait") == len(item.path) - 1 for text, item in zip(sound, items, strict=True))
    slipped = [chains.thinking_turn(item, recheck=1.0, slip=1.0, rng=random.Random(0)) for item in items]
    wrong = sum(not text.endswith(str(item.answer)) for text, item in zip(slipped, items, strict=True))
    assert wrong > 30


@pytest.mark.parametrize("tier", CHAINS)
def test_splits_share_no_prompt_and_the_seed_decides_the_items(tier: str) -> None:
    train, test = (chains.draw_items(tier, split, 150, seed=0) for split in ("train", "test"))
    assert len({item.prompt for item in train} | {item.prompt for item in test}) == 300
    assert {item.split for item in train} == {"train"}
    assert {item.split for item in test} == {"test"}
    assert chains.draw_items(tier, "test", 5, seed=0) == test[:5]
    assert chains.draw_items(tier, "test", 5, seed=0) != chains.draw_items(tier, "test", 5, seed=1)


def test_the_split_is_a_function_of_the_prompt_alone_and_takes_a_tenth() -> None:
    rng = random.Random(0)
    drawn = [chains.draw_chain(rng.choice(CHAINS), rng) for _ in range(3000)]
    share = sum(item.split == "test" for item in drawn) / len(drawn)
    assert 0.08 < share < 0.12
    again = [chains.Item("other", item.prompt, (), 0).split for item in drawn]
    assert again == [item.split for item in drawn]


def test_the_mixed_tier_is_defined_by_a_fact_that_its_trace_looks_up() -> None:
    for item in chains.draw_items("KR", "test", 30, seed=0):
        leaf = item.path[-1]
        entity, relation = re.fullmatch(r"E(\d+)R(\d+)", leaf.source).groups()  # type: ignore[union-attr]
        assert leaf.value == chains.fact_item(int(entity), int(relation)).answer
        assert f"{leaf.target}={leaf.source}; {leaf.target}={leaf.value};" in chains.trace(item)


def test_the_facts_are_one_fixed_table_of_128_with_all_digits() -> None:
    items = builtin_data.task_items("lab-k")
    assert len(items) == 128
    assert {item.answer for item in items} == set(range(10))
    assert chains.fact(17, 2) == chains.fact(17, 2)


def test_the_slice_as_small_as_aime_is_the_first_thirty_of_t4() -> None:
    assert builtin_data.task_items("lab-t4-30") == builtin_data.task_items("lab-t4")[:30]
    assert {item.tier for item in builtin_data.task_items("lab-t4-30")} == {"T4"}


def test_items_fit_the_context_and_the_vocabulary() -> None:
    tokenizer = build_tokenizer()
    assert len(tokenizer) == 79
    for tier in CHAINS:
        for item in chains.draw_items(tier, "test", 60, seed=0):
            messages = [{"role": "user", "content": item.prompt}]
            answer = {"role": "assistant", "content": chains.thinking_turn(item, opener="okay")}
            ids = tokenizer.apply_chat_template([*messages, answer])["input_ids"]
            assert len(ids) <= 256
            assert tokenizer(tokenizer.decode(ids))["input_ids"] == ids


def test_the_chat_template_switches_thinking_off_as_qwen3_does() -> None:
    tokenizer = build_tokenizer()
    messages = [{"role": "user", "content": "?a"}]
    on = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    off = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, enable_thinking=False)
    assert off.split() == [*on.split(), "<think></think>"]


def test_teacher_traces_come_from_the_train_split_and_are_not_the_grpo_problems() -> None:
    records = builtin_data.traces(50)
    prompts = {record["prompt"][0]["content"] for record in records}
    grpo = {item.prompt for item in builtin_data.task_items("lab-train")}
    assert len(records) == 50
    assert len(prompts & grpo) < 5
    assert all("<think> okay" in record["completion"][0]["content"] for record in records)


def test_the_teachers_ways_differ_in_re_checks_alone() -> None:
    """By the judge of statements: no re-check, re-checks that are all right, re-checks of which some go wrong."""
    spoilt, checked, clean = (
        [(str(row["prompt"][0]["content"]), str(row["completion"][0]["content"])) for row in make(200)]
        for make in (builtin_data.traces, builtin_data.recheck_traces, builtin_data.clean_traces)
    )
    assert [prompt for prompt, _ in spoilt] == [prompt for prompt, _ in checked] == [prompt for prompt, _ in clean]
    counts = []
    for rows in (spoilt, checked, clean):
        steps = [step for prompt, text in rows for step in judge(prompt, text)]
        counts.append((sum(step.recheck for step in steps), sum(bool(step.slip) for step in steps)))
    assert [count > 0 for count, _ in counts] == [True, True, False]
    assert [wrong > 0 for _, wrong in counts] == [True, False, False]


def test_traces_of_t1_are_of_t1_and_no_prompt_comes_twice() -> None:
    records = builtin_data.t1_traces(50)
    prompts = {record["prompt"][0]["content"] for record in records}
    assert len(prompts) == 50
    thoughts = [record["completion"][0]["content"].split("wait")[0] for record in records]
    assert {3, 5} <= {thought.count(";") for thought in thoughts} <= {3, 4, 5}  # at most three definitions, two folds


def test_hybrid_records_are_half_traces_half_bare_answers_each_with_its_switch() -> None:
    records = builtin_data.hybrid_traces(40)
    on = [row for row in records if row["chat_template_kwargs"]["enable_thinking"]]
    assert (len(records), len(on)) == (40, 20)
    for row in records:
        text = row["completion"][0]["content"]
        assert text.startswith("<think> okay" if row in on else "<think></think> <ans>")
    prompts = [row["prompt"][0]["content"] for row in records]
    assert len(set(prompts)) == 40
