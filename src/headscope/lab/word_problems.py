"""Word problems: easy sums told in English, which a small model that speaks English solves in part.

A story opens with an amount, changes it or not, and asks for what there is in the end. Its worked answer has a sentence
per step, in the manner of GSM8K. Stories are put together from sentences that fit each other, so that they differ in
form and not only in numbers; both are drawn from a seed alone.
"""

import random
from dataclasses import dataclass

from headscope.lab.splits import split_of, text_digest

TIERS = ("add", "subtract", "multiply", "two steps")
"""The group of a problem: the one operation it takes, or that it takes two."""
TASKS = {"word-problems": ("test", 200), "word-problems-train": ("train", 2000)}
"""Split and number of problems by the task's name."""

PROMPT = "{question}\nAnswer in one short sentence, and put the number within \\boxed{}."
"""How a problem is asked. Asked to reason step by step, small models write until they are cut off."""

NAMES = ("Tom", "Anna", "Paul", "Lisa", "Omar", "Mei", "Carla", "Ravi", "Nora", "Felix", "Ida", "Kofi")
THINGS = ("apples", "books", "coins", "shells", "stamps", "marbles", "pencils", "buttons", "stickers", "cards")
_AMOUNTS = (
    "{name} has {amount} {things}.",
    "{name} starts with {amount} {things}.",
    "{name} brings {amount} {things} to school.",
    "There are {amount} {things} in {name}'s bag.",
)
_GROUPS = (
    "{name} buys {groups} boxes with {each} {things} in each box.",
    "{name} fills {groups} bags with {each} {things} each.",
    "{name} collects {each} {things} every day for {groups} days.",
    "{name} has {groups} shelves with {each} {things} on each shelf.",
)
_GAINS = (
    "Then {name} gets {change} more.",
    "Then {other} gives {name} {change} more {things}.",
    "Later {name} finds {change} more {things}.",
    "{name} buys {change} more {things} at the market.",
)
_LOSSES = (
    "Then {name} gives {change} of them away.",
    "Then {name} gives {change} of the {things} to {other}.",
    "Later {name} loses {change} of the {things}.",
    "{name} sells {change} of the {things} at the market.",
)
_ENDS = (
    "How many {things} does {name} have now?",
    "How many {things} does {name} have in the end?",
    "How many {things} does {name} have after that?",
)
_TOTALS = (
    "How many {things} is that in all?",
    "How many {things} does {name} have altogether?",
    "How many {things} are there in total?",
)


@dataclass(frozen=True, slots=True)
class WordProblem:
    """One problem.

    tier: one of ``TIERS``. answer: a whole number, 2 or more. solution: worked, a line per step.
    """

    tier: str
    question: str
    answer: int
    solution: str

    @property
    def id(self) -> str:
        """Return the tier and a digest of the question: equal questions have equal ids."""
        return f"{self.tier.replace(' ', '-')}-{text_digest(self.question):08x}"

    @property
    def split(self) -> str:
        """Return ``test`` for one question in ten by digest, else ``train``: the splits cannot share a question."""
        return split_of(self.question)


def task_problems(name: str) -> list[WordProblem]:
    """Return the problems of a built-in task of ``TASKS``."""
    split, count = TASKS[name]
    return draw_problems(split, count, seed=0)


def draw_problems(split: str, count: int, seed: int) -> list[WordProblem]:
    """Draw ``count`` different problems of a split, fixed by the seed, the tiers in turn: a study that asks the first
    so many asks all tiers alike."""
    # A text as seed, so that splits have streams of their own.
    rng = random.Random(f"word problems {split} {seed}")
    by_question: dict[str, WordProblem] = {}
    while len(by_question) < count:
        problem = draw_problem(TIERS[len(by_question) % len(TIERS)], rng)
        if problem.split == split:
            by_question.setdefault(problem.question, problem)
    return list(by_question.values())


class _Story:
    """A story being told: its sentences so far, the amount there is, and the steps that led to it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._name, self._other = rng.sample(NAMES, 2)
        self._things = rng.choice(THINGS)
        self._sentences: list[str] = []
        self._steps: list[str] = []
        self._amount = 0

    def open_with_amount(self) -> None:
        """Open with a number of things."""
        self._amount = self._rng.randint(5, 12)
        self._tell(_AMOUNTS, amount=self._amount)

    def open_with_groups(self) -> None:
        """Open with equal groups of things, which are counted together."""
        groups, each = self._rng.randint(2, 6), self._rng.randint(2, 9)
        self._amount = groups * each
        self._tell(_GROUPS, groups=groups, each=each)
        self._steps.append(f"Together that is {groups} * {each} = {self._amount} {self._things}.")

    def gain(self) -> None:
        """Let the amount grow."""
        change = self._rng.randint(2, 9)
        self._tell(_GAINS, change=change)
        self._steps.append(
            f"With these, {self._name} has {self._amount} + {change} = {self._amount + change} {self._things}."
        )
        self._amount += change

    def lose(self) -> None:
        """Let the amount shrink; two things are left at least."""
        change = self._rng.randint(2, min(9, self._amount - 2))
        self._tell(_LOSSES, change=change)
        self._steps.append(f"That leaves {self._amount} - {change} = {self._amount - change} {self._things}.")
        self._amount -= change

    def ask(self, tier: str) -> WordProblem:
        """Ask for the amount and return the problem."""
        self._tell(_TOTALS if tier == "multiply" else _ENDS)
        return WordProblem(tier, " ".join(self._sentences), self._amount, "\n".join(self._steps))

    def _tell(self, frames: tuple[str, ...], **numbers: int) -> None:
        frame = self._rng.choice(frames)
        self._sentences.append(frame.format(name=self._name, other=self._other, things=self._things, **numbers))


_PLOTS = {
    "add": ((_Story.open_with_amount, _Story.gain),),
    "subtract": ((_Story.open_with_amount, _Story.lose),),
    "multiply": ((_Story.open_with_groups,),),
    "two steps": (
        (_Story.open_with_amount, _Story.gain, _Story.gain),
        (_Story.open_with_amount, _Story.gain, _Story.lose),
        (_Story.open_with_amount, _Story.lose, _Story.gain),
        (_Story.open_with_groups, _Story.gain),
        (_Story.open_with_groups, _Story.lose),
    ),
}
"""What may happen in a story of each tier, event by event."""


def draw_problem(tier: str, rng: random.Random) -> WordProblem:
    """Draw one problem of a tier."""
    story = _Story(rng)
    for event in rng.choice(_PLOTS[tier]):
        event(story)
    return story.ask(tier)
