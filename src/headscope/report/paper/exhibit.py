"""An exhibit: one figure or table of the paper as a run can show it, and what it lacks."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headscope.results.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Exhibit:
    """One figure or table made from a run.

    tables: the numbers that are drawn, or the table itself; none if the run has nothing to show.
    caption: what is shown, with n, interval, null and seed; empty without tables.
    lacks: a sentence for each thing the run does not have, with the key of the study file that gives it.
    figure: the picture; None for a table, and if nothing can be drawn.
    """

    tables: tuple[Table, ...] = ()
    caption: str = ""
    lacks: tuple[str, ...] = ()
    figure: "Figure | None" = None

    @property
    def is_drawn(self) -> bool:
        """Return whether there is something to see."""
        return bool(self.tables)

    @property
    def state(self) -> str:
        """Return ``drawn``, ``drawn in part: …`` or ``cannot be drawn: …``."""
        if not self.lacks:
            return "drawn"
        return f"{'drawn in part' if self.is_drawn else 'cannot be drawn'}: {'; '.join(self.lacks)}"


def lacking(*reasons: str) -> Exhibit:
    """Return an exhibit that shows nothing, for these reasons."""
    return Exhibit(lacks=reasons)
