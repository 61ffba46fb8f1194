"""Reward coupling of one recipe: does the mass of importance gained follow the reward, and in its null twins?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from headscope.results.coupling import Coupling
from headscope.results.result import JsonResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class RewardCoupling(JsonResult):
    """Coupling of reward and mass of importance gained (Σ over heads of max(0, share of all score − that in the base)).

    recipe: its name.
    runs: of each run, by variant; one per seed.
    pooled: of all runs together, as claim C3 judges it.
    twins: of each null twin that logged a reward, by variant.
    """

    kind: ClassVar[str] = "reward_coupling"
    file: ClassVar[str] = "reward_coupling.json"

    recipe: str
    runs: Mapping[str, Coupling]
    pooled: Coupling
    twins: Mapping[str, Coupling]

    def plot(self) -> "Figure":
        """Return the pooled correlation at every lag."""
        return self.pooled.plot()
