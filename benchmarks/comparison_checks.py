"""Intervals and tests of the comparison checked by simulation, where the truth is known.

    .venv/bin/python benchmarks/comparison_checks.py [--trials N]

1. emergence: a model scored on fresh pairs, taken for a post-trained one, and one with changed heads: false emergence,
   coverage of the excess, how often its test says p ≤ 0.05; the paper's method beside ours;
2. changes of importance: coverage, false positives, and false discoveries after Benjamini and Hochberg;
3. reward coupling at lag 0, of independent random walks, ten times as many, and of such whose differences correlate by
   a known amount: how often p ≤ 0.05, by checkpoints and seeds; also for the reward of C3's positive control;
4. persistence of heads that stay with a known chance: coverage;
5. depth of new heads less that of the base's: coverage, and how often 0 is excluded where both are drawn alike;
6. labelled share of lost answers less that of others, several answers to each problem: the same.
7. training effects: false positives, coverage and false discoveries; and of the mean over heads that were chosen for
   their change, on the same and on other pairs.
8. random sets next to one and to two heads of eight per layer: how often p ≤ 0.05 if the heads are like any others, if
   effects grow with the layer and with importance, and if the heads matter.
"""

import argparse
import sys
from collections.abc import Sequence

from simulated_effects import EFFECTS, chosen_heads, one_in_a_layer, training
from simulated_samples import depths, labels
from simulated_scores import POPULATIONS, changes, emerging
from simulated_series import coupling, coupling_in_stages, staying


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--trials", type=int, default=400, help="of each check; of the first half as many (default: 400)"
    )
    trials = parser.parse_args(arguments).trials
    for name in POPULATIONS:
        print(emerging(name, max(1, trials // 2)))
    print(changes(trials))
    print(coupling(10 * trials), end="")
    print(coupling_in_stages(10 * trials))
    print(staying(trials))
    print(depths(10 * trials))
    print(labels(10 * trials))
    for name in EFFECTS:
        print(training(name, trials))
    print(chosen_heads(trials))
    print(one_in_a_layer(trials))
    return 0


if __name__ == "__main__":
    sys.exit(main())
