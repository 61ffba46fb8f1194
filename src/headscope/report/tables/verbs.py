"""Tables that each verb of the command line prints at its end."""

from collections.abc import Callable

from headscope.report.run_results import RunResults
from headscope.report.tables.accuracy import accuracy
from headscope.report.tables.circuits import circuits
from headscope.report.tables.crossed import crossed
from headscope.report.tables.dynamics import reward_coupling
from headscope.report.tables.effects import head_revert, head_scaling, training_effects
from headscope.report.tables.evidence import evidence
from headscope.report.tables.failures import failures
from headscope.report.tables.head_roles import roles
from headscope.report.tables.heads import checkpoints, heads
from headscope.report.tables.overlaps import overlaps
from headscope.report.tables.role_losses import role_losses
from headscope.report.tables.seeds import seeds
from headscope.report.tables.summary import summary
from headscope.report.tables.think_modes import think_modes
from headscope.report.tables.verdicts import verdicts
from headscope.results.table import Table

VERB_TABLES: dict[str, tuple[Callable[[RunResults], Table], ...]] = {
    "run": (summary, seeds, accuracy, heads, reward_coupling, verdicts, failures),
    "discover": (circuits,),
    "compare": (checkpoints, training_effects, roles, reward_coupling, crossed, think_modes, overlaps),
    "ablate": (verdicts, failures, evidence, role_losses, head_scaling, head_revert),
    "eval": (seeds, accuracy),
    "train": (),
}
"""``report`` prints the tables of ``run``."""


def verb_tables(verb: str, results: RunResults) -> list[Table]:
    """Make the tables of a verb; those of what the run has not done have no rows."""
    return [make(results) for make in VERB_TABLES[verb]]
