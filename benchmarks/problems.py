"""What it costs to take pairs of one problem for independent, where the truth is that nothing changed.

    .venv/bin/python benchmarks/problems.py simulated [--trials N]
    .venv/bin/python benchmarks/problems.py lab-m | smollm2-135m [--trials N]

Each trial compares a model with itself on other problems, 8 problems × 8 pairs or 15 × 4, with a third set for the
null: once with every pair taken for a problem of its own, once by problem.

1. ``simulated``: log-normal edge sizes, whose noise is shared within a problem by a given correlation; the intervals of
   faithfulness at one circuit size and of its area likewise.
2. A model by name: questions of many kinds, answered by the model itself at temperature 1; two openings of an answer
   are a pair. The pool is scored once, and each trial deals three sets of its problems.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from simulated_scores import GRAPH, Population

from headscope.circuits import attribute
from headscope.comparison import Resampling, doubled_heads, emergence, importance_change
from headscope.evaluation import Sampling, prompt_ids, sample
from headscope.evaluation.chat import Chat
from headscope.lab import builtin_data
from headscope.measures.intervals import bootstrap
from headscope.models import Subject, load_model
from headscope.pairs import Pairs
from headscope.results.edges import EdgeScores
from headscope.results.faithfulness import FaithfulnessCurve

DESIGNS = ((8, 8), (15, 4))
CORRELATIONS = (0.5, 0.0)
LAB_OPENING, OPENING = 4, 8
NODES = 4
QUESTIONS = {
    "What is {}?": "17 plus 25,8 times 7,90 minus 34,144 divided by 12,half of 62,3 squared,15 % of 200,"
    "the sum of 2 and 9",
    "What is the capital of {}?": "France,Japan,Egypt,Brazil,Canada,Kenya,Norway,India",
    "Translate into French: {}": "the red house,good morning,I am hungry,two dogs,where is it?,my sister,"
    "open the door,rain",
    "Write a Python function that {}.": "reverses a list,adds two numbers,counts vowels,reads a file,sorts words,"
    "finds the largest,checks primes,prints a tree",
    "Write one sentence about {}.": "the sea,a lost key,autumn,an old teacher,the moon,bread,a long journey,silence",
    "Why {}?": "is the sky blue,do birds migrate,does ice float,do we sleep,is the sea salty,do leaves fall,"
    "do magnets attract,does bread rise",
}
TAKEN = {"pairs": False, "problems": True}
"""What is taken for independent, and whether the pairs then remember their problems."""


@dataclass
class Tally:
    """What one way of counting said in each trial. heads: of the model."""

    heads: int
    new: list[int]
    doubled: list[int]
    false_changes: list[float]
    covered: list[bool]
    rejected: list[bool]

    @classmethod
    def empty(cls, heads: int) -> "Tally":
        """Before the first trial."""
        return cls(heads, [], [], [], [], [])

    def row(self) -> tuple[str, ...]:
        """The columns of ``HEADER``."""
        new, doubled = np.array(self.new), np.array(self.doubled)
        shares = (new.mean() / self.heads, (new > 0).mean(), doubled.mean() / self.heads, np.mean(self.false_changes))
        return tuple(f"{share:.1%}" for share in (*shares, np.mean(self.covered), np.mean(self.rejected)))


HEADER = (
    "heads called new",
    "trials with one",
    "doubled",
    "changes of importance at p ≤ 0.05",
    "excess covers 0",
    "its test: p ≤ 0.05",
)


def compare_with_itself(tally: Tally, sets: Sequence[EdgeScores], fraction: float, seed: int) -> None:
    """Take the second set's scores for those of a post-trained model, and the third's for the base on fresh pairs."""
    base, post, again = sets
    change = emergence(base, post, base_again=again, resampling=Resampling(fraction=fraction, seed=seed), paired=False)
    importance = importance_change(base, post, paired=False)
    assert importance.p_value is not None
    tally.new.append(len(change.new))
    tally.doubled.append(len(doubled_heads(base, post, paired=False)))
    tally.false_changes.append(float((importance.p_value <= 0.05).mean()))
    tally.covered.append(bool(change.excess.new.low <= 0 <= change.excess.new.high))
    tally.rejected.append(bool(change.new_p_value <= 0.05))


def simulated(problems: int, pairs: int, correlation: float, trials: int) -> list[tuple[str, ...]]:
    """Two rows: pairs taken for independent, and problems."""
    sizes = Population().sizes(post=False)
    tallies = {name: Tally.empty(GRAPH.layers * GRAPH.heads) for name in TAKEN}
    for trial in range(trials):
        rng = np.random.default_rng([11, problems, trial])
        sets = [_simulate_scores(rng, sizes, problems, pairs, correlation, name) for name in ("main", "post", "fresh")]
        for name, by_problem in TAKEN.items():
            taken = sets if by_problem else [replace(scores, problems=None) for scores in sets]
            compare_with_itself(tallies[name], taken, 0.05, trial)
    design = f"{problems} × {pairs}, correlation {correlation}"
    return [(design, name, *tally.row()) for name, tally in tallies.items()]


def faithful(problems: int, pairs: int, correlation: float, trials: int) -> list[tuple[str, ...]]:
    """Coverage of the intervals of faithfulness at the middle size and of CPR."""
    covered: dict[str, list[tuple[bool, bool]]] = {name: [] for name in TAKEN}
    truth = _simulate_curve(np.random.default_rng(1), 200_000, 1, 0.0)
    truths = float(truth.normalised()[1]), truth.cpr()
    for trial in range(trials):
        curve = _simulate_curve(np.random.default_rng([12, problems, trial]), problems, pairs, correlation)
        for name, by_problem in TAKEN.items():
            taken = curve if by_problem else replace(curve, problems=None)
            statistics = (partial(_middle, taken), taken.cpr)
            hits = []
            for statistic, value in zip(statistics, truths, strict=True):
                interval = bootstrap(statistic, taken.problem_groups, seed=trial)
                hits.append(interval.low <= value <= interval.high)
            covered[name].append((hits[0], hits[1]))
    design = f"{problems} × {pairs}, correlation {correlation}"
    rows = []
    for name, hits in covered.items():
        rows.append((design, name, *(f"{share:.1%}" for share in np.mean(hits, axis=0))))
    return rows


def on_model(name: str, trials: int, fraction: float, questions: int | None = None) -> list[tuple[str, ...]]:
    """Two rows, of the model's own answers to questions of many kinds; ``questions`` takes the first so many."""
    subject = load_model(name)
    is_lab = name.startswith("lab")
    prompts = _lab_questions(subject) if is_lab else _many_questions(subject)
    pairs = answer_pairs(subject, prompts[:questions], LAB_OPENING if is_lab else OPENING)
    print(pairs, file=sys.stderr, flush=True)
    pool = attribute(subject, pairs, nodes=NODES, keep_pairs=True)
    print(pool, file=sys.stderr, flush=True)
    tallies = {taken: Tally.empty(pool.graph.layers * pool.graph.heads) for taken in TAKEN}
    labels = np.array(pool.problems)
    names = np.unique(labels)
    per_set = min(8, len(names) // 3)
    for trial in range(trials):
        order = np.random.default_rng([13, trial]).permutation(names)
        sets = [_take(pool, np.isin(labels, order[part * per_set : (part + 1) * per_set]), part) for part in range(3)]
        for taken, by_problem in TAKEN.items():
            scores = sets if by_problem else [replace(each, problems=None) for each in sets]
            compare_with_itself(tallies[taken], scores, fraction, trial)
    shared = _shared_variance(pool)
    design = f"{name}, {per_set} × {len(pairs) / len(names):.1f}, {shared:.0%} of the variance between problems"
    return [(design, taken, *tally.row()) for taken, tally in tallies.items()]


def answer_pairs(subject: Subject, prompts: Sequence[Sequence[int]], opening: int, each: int = 8) -> Pairs:
    """Pairs of openings that the model itself samples, ``each`` per prompt; equal or short ones are dropped."""
    sampling = Sampling(2 * each, opening, 1.0, 1.0, 0)
    answers = sample(subject.model, subject.tokenizer, [list(prompt) for prompt in prompts], sampling)
    tokens = [answer.tokens for answer in answers]
    numbers = [number for number in range(len(prompts)) for _ in range(each)]
    repeated = [prompts[number] for number in numbers]
    return Pairs.from_openings(repeated, tokens[::2], tokens[1::2], opening, problems=numbers)


def _take(pool: EdgeScores, chosen: np.ndarray, part: int) -> EdgeScores:
    assert pool.pair_edges is not None
    assert pool.problems is not None
    kept = pool.pair_edges[chosen]
    return replace(
        pool,
        edges=kept.mean(axis=0),
        edges_abs=np.abs(kept).mean(axis=0),
        pair_heads=pool.pair_heads[chosen],
        pair_edges=kept,
        pair_net=None,  # follows from the edges
        settings=pool.settings | {"pairs": str(part)},
        problems=tuple(np.array(pool.problems)[chosen].tolist()),
    )


def _shared_variance(pool: EdgeScores) -> float:
    """The share of the variance of heads' log sums that lies between problems (one-way analysis of variance)."""
    groups = pool.problem_groups
    values = np.log(pool.pair_heads.reshape(len(pool.pair_heads), -1) + 1e-12)
    means = groups.means(values)
    within = ((values - means[groups.numbers]) ** 2).sum(axis=0) / (len(values) - len(groups))
    size = len(values) / len(groups)
    between = np.clip(means.var(axis=0, ddof=1) - within / size, 0, None)
    return float(np.median(between / (between + within)))


def _simulate_scores(
    rng: np.random.Generator, sizes: np.ndarray, problems: int, pairs: int, correlation: float, name: str
) -> EdgeScores:
    shared = np.repeat(rng.normal(size=(problems, *sizes.shape)), pairs, axis=0)
    own = rng.normal(size=(problems * pairs, *sizes.shape))
    noise = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    pair_edges = (np.exp(0.8 * noise) * sizes * GRAPH.real).astype(np.float32)
    mean = pair_edges.mean(axis=0)
    heads = GRAPH.head_grid(pair_edges.sum(axis=2))
    labels = tuple(f"{name} {problem}" for problem in range(problems) for _ in range(pairs))
    return EdgeScores(GRAPH, mean, mean, heads, pair_edges, 0.0, 0.0, {"pairs": name}, labels)


def _simulate_curve(rng: np.random.Generator, problems: int, pairs: int, correlation: float) -> FaithfulnessCurve:
    """What patching costs differs between pairs, and so does the share of it that a circuit saves."""

    def noise() -> np.ndarray:
        shared = np.repeat(rng.normal(size=problems), pairs)
        return np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=problems * pairs)

    empty = np.exp(0.6 * noise())
    missing = np.stack([share * empty * np.exp(0.6 * noise()) for share in (0.6, 0.3, 0.1)])
    labels = tuple(str(problem) for problem in range(problems) for _ in range(pairs))
    full = np.zeros_like(empty)
    return FaithfulnessCurve(full, empty, missing, np.array([0.01, 0.1, 0.5]), (1, 2, 3), {}, labels)


def _middle(curve: FaithfulnessCurve, weights: np.ndarray) -> float:
    return float(curve.normalised(weights)[1])


def _lab_questions(subject: Subject) -> list[list[int]]:
    """Recall and chains of three lengths, 12 of each."""
    items = [item for task in ("lab-k", "lab-t1", "lab-t2", "lab-t3") for item in builtin_data.task_items(task)[:12]]
    order = np.random.default_rng(0).permutation(len(items))
    return [prompt_ids(subject.tokenizer, items[index].prompt, Chat()) for index in order]


def _many_questions(subject: Subject) -> list[list[int]]:
    """Six kinds, eight of each."""
    texts = [template.format(word) for template, words in QUESTIONS.items() for word in words.split(",")]
    order = np.random.default_rng(0).permutation(len(texts))
    return [prompt_ids(subject.tokenizer, texts[index], Chat()) for index in order]


def _print_rows(rows: Sequence[Sequence[str]]) -> None:
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def _print_header(columns: Sequence[str]) -> None:
    _print_rows([("problems × pairs", "taken for independent", *columns)])
    print("|" + " --- |" * (2 + len(columns)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("subject", nargs="?", default="simulated", help="simulated, or a model by name")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--fraction", type=float, default=0.05, help="of a model's edges in a circuit")
    parser.add_argument("--questions", type=int, help="that a model is asked (default: all)")
    options = parser.parse_args(arguments)
    if options.subject != "simulated":
        _print_header(HEADER)
        _print_rows(on_model(options.subject, options.trials, options.fraction, options.questions))
        return 0
    parts: tuple[tuple[Callable[..., list[tuple[str, ...]]], tuple[str, ...]], ...]
    parts = ((simulated, HEADER), (faithful, ("faithfulness covered", "CPR covered")))
    for measure, columns in parts:
        _print_header(columns)
        for correlation in CORRELATIONS:
            for problems, pairs in DESIGNS:
                _print_rows(measure(problems, pairs, correlation, options.trials))
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
