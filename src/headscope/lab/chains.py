"""Register chains: the lab's task. Shuffled assignments mod 10, one query, and a trace whose every step is locally
computable.

A prompt reads ``c=4; j=c*4; a=c*8; ?j``. The trace unwinds from the query to a leaf, then folds back:
``j=c*4; c=4; j=4*4=6;``. Every digit of it can be read off a definition and the result before it.

Tiers by operations on the path: T1 1-2 (stands for GSM8K), T2 3-4 (MATH), T3 5-6 (AMC), T4 7-9 with more distractors
(AIME). K is a table of 128 facts ``E17 R2 ?`` (recall, TriviaQA); KR defines the leaf by a fact (GPQA).
"""

import random
from dataclasses import dataclass

from headscope.lab.splits import split_of, text_digest

VARIABLES = "abcdefghijklmnop"
ARITHMETIC = "+-*"
ENTITIES, RELATIONS = 32, 4
OPERATIONS = {"T1": (1, 2), "T2": (3, 4), "T3": (5, 6), "T4": (7, 9), "KR": (1, 2)}
DISTRACTORS = {"T1": (1, 3), "T2": (1, 3), "T3": (1, 3), "T4": (4, 6), "KR": (1, 2)}
TIERS = ("T1", "T2", "T3", "T4", "K", "KR")


@dataclass(frozen=True, slots=True)
class Step:
    """One assignment: ``target = operand operator digit``, or a leaf when ``operand`` is empty.

    source: what a leaf is set to, ``4`` or a fact ``E17R2``; empty for other steps. value: the result, mod 10.
    """

    target: str
    operand: str
    operator: str
    digit: int
    source: str
    value: int

    def definition(self) -> str:
        """Return it as the prompt and the unwinding half of the trace write it."""
        return f"{self.target}={self.source or f'{self.operand}{self.operator}{self.digit}'};"


@dataclass(frozen=True, slots=True)
class Item:
    """One problem. path: from the query to the leaf; empty for a fact. answer: one digit."""

    tier: str
    prompt: str
    path: tuple[Step, ...]
    answer: int

    @property
    def id(self) -> str:
        """Return the tier and a digest of the prompt: equal prompts have equal ids."""
        return f"{self.tier}-{text_digest(self.prompt):08x}"

    @property
    def split(self) -> str:
        """Return ``test`` for one prompt in ten by digest, else ``train``: the splits cannot share a prompt."""
        return split_of(self.prompt)


def apply(operator: str, left: int, right: int) -> int:
    """Return ``left operator right`` mod 10."""
    return {"+": left + right, "-": left - right, "*": left * right}[operator] % 10


def fact(entity: int, relation: int) -> int:
    """Return the digit of fact ``E{entity} R{relation}``: fixed for ever, unrelated to its names."""
    return text_digest(f"fact {entity} {relation}") % 10


def draw_chain(tier: str, rng: random.Random) -> Item:
    """Draw a register chain of ``tier`` (T1-T4 or KR)."""
    operations = rng.randint(*OPERATIONS[tier])
    names = rng.sample(VARIABLES, min(len(VARIABLES), operations + 1 + rng.randint(*DISTRACTORS[tier])))
    leaf = _fact_leaf(names[0], rng) if tier == "KR" else _digit_leaf(names[0], rng)
    path = [leaf]
    for name in names[1 : operations + 1]:
        path.append(_operation(name, path[-1], rng))
    steps = list(path)
    for name in names[operations + 1 :]:  # a distractor hangs on any step, or is a leaf of its own
        steps.append(_digit_leaf(name, rng) if rng.random() < 0.25 else _operation(name, rng.choice(steps), rng))
    rng.shuffle(steps)
    prompt = " ".join(step.definition() for step in steps) + f" ?{path[-1].target}"
    return Item(tier, prompt, tuple(reversed(path)), path[-1].value)


def fact_item(entity: int, relation: int) -> Item:
    """Return the fact itself as a problem."""
    return Item("K", f"E{entity} R{relation} ?", (), fact(entity, relation))


def draw_item(tier: str, split: str, rng: random.Random) -> Item:
    """Draw one item of ``tier`` from ``split``. The 128 facts are one table, learned and asked: tier K has no split."""
    if tier == "K":
        return fact_item(rng.randrange(ENTITIES), rng.randrange(RELATIONS))
    while (item := draw_chain(tier, rng)).split != split:
        pass
    return item


def draw_items(tier: str, split: str, count: int, seed: int) -> list[Item]:
    """Draw ``count`` different items, fixed by the seed (tier K: at most the 128 facts)."""
    # A text as seed, so that tiers and splits have streams of their own.
    rng = random.Random(f"{tier} {split} {seed}")
    count = min(count, ENTITIES * RELATIONS) if tier == "K" else count
    by_prompt: dict[str, Item] = {}
    while len(by_prompt) < count:
        item = draw_item(tier, split, rng)
        by_prompt.setdefault(item.prompt, item)
    return list(by_prompt.values())


def trace(
    item: Item, *, opener: str = "", recheck: float = 0.0, slip: float = 0.0, rng: random.Random | None = None
) -> str:
    """Write the reasoning of ``item``: opener, unwinding, folding.

    recheck: chance per fold of a ``wait`` that computes it again.
    slip: chance that a re-check plants a wrong result, which the rest of the trace then carries (over-thinking on
        purpose).
    """
    rng = rng or random.Random(0)
    parts = [opener] if opener else []
    parts += [step.definition() for step in item.path]
    value = 0
    for step in reversed(item.path):
        if step.source:
            value = step.value
            if not step.source.isdigit():  # a fact must be written out before it can be calculated with
                parts.append(f"{step.target}={value};")
            continue
        before, value = value, apply(step.operator, value, step.digit)
        parts.append(_fold(step, before, value))
        if rng.random() < recheck:
            value = (value + rng.randint(1, 9)) % 10 if rng.random() < slip else value
            parts.append(f"wait {_fold(step, before, value)}")
    return " ".join(parts)


def thinking_turn(item: Item, **options: object) -> str:
    """Write the assistant's turn with its trace; the answer is what the trace ends on, also if a slip made it wrong."""
    text = trace(item, **options)  # type: ignore[arg-type]
    answer = text[-2] if item.path else str(item.answer)  # the digit before the last semicolon
    return f"<think> {text} </think> <ans> {answer}"


def direct_turn(item: Item) -> str:
    """Write the assistant's turn without thinking, in the form Qwen3 uses."""
    return f"<think></think> <ans> {item.answer}"


def _fold(step: Step, before: int, value: int) -> str:
    return f"{step.target}={before}{step.operator}{step.digit}={value};"


def _digit_leaf(name: str, rng: random.Random) -> Step:
    value = rng.randrange(10)
    return Step(name, "", "", 0, str(value), value)


def _fact_leaf(name: str, rng: random.Random) -> Step:
    entity, relation = rng.randrange(ENTITIES), rng.randrange(RELATIONS)
    return Step(name, "", "", 0, f"E{entity}R{relation}", fact(entity, relation))


def _operation(name: str, operand: Step, rng: random.Random) -> Step:
    operator, digit = rng.choice(ARITHMETIC), rng.randrange(10)
    return Step(name, operand.target, operator, digit, "", apply(operator, operand.value, digit))
