"""Catalogue of the paper's figures and tables (arXiv 2509.25758 v2), and of the functions that make ours.

Figure 1 is a drawing of the method and shows no data.
"""

from collections.abc import Callable
from dataclasses import dataclass

from headscope.report.paper import benchmarks, circuits, cohorts, maps, score_tables
from headscope.report.paper.exhibit import Exhibit
from headscope.report.run_results import RunResults


@dataclass(frozen=True, slots=True)
class Entry:
    """One figure or table. needs: what a run must hold for it, in a few words."""

    kind: str
    number: int
    name: str
    make: Callable[[RunResults], Exhibit]
    needs: str

    @property
    def stem(self) -> str:
        """Return the beginning of its files' names: ``figure-02``, ``table-1``."""
        return f"figure-{self.number:02d}" if self.kind == "figure" else f"table-{self.number}"

    @property
    def title(self) -> str:
        """Return ``Figure 2: …``."""
        return f"{self.kind.capitalize()} {self.number}: {self.name}"


def _figure(number: int, name: str, make: Callable[[RunResults], Exhibit], needs: str) -> Entry:
    return Entry("figure", number, name, make, needs)


def _table(number: int, name: str, make: Callable[[RunResults], Exhibit], needs: str) -> Entry:
    return Entry("table", number, name, make, needs)


FIGURES: tuple[Entry, ...] = (
    _figure(2, "heads over SFT", cohorts.sft_cohorts, "checkpoints of an SFT variant"),
    _figure(3, "heads over GRPO, with its reward", cohorts.grpo_cohorts, "checkpoints and log of a GRPO variant"),
    _figure(4, "accuracy over GRPO", benchmarks.benchmark_curves, "eval.every, two GRPO variants"),
    _figure(5, "pass@k and success@k without thinking", benchmarks.coverage_curves, "a think-off variant, eval.k"),
    _figure(6, "heads over SFT, second task", cohorts.second_task_sft, "discover.tasks: [amc]"),
    _figure(7, "heads over GRPO, second data set", cohorts.second_data_grpo, "a second GRPO variant, other dataset"),
    _figure(8, "heads over GRPO, second learning rate", cohorts.second_rate_grpo, "a second GRPO variant, other rate"),
    _figure(9, "heads over GRPO, second task", cohorts.second_task_grpo, "discover.tasks: [amc]"),
    _figure(10, "heads over SFT, second base model", cohorts.second_base_sft, "a Llama base"),
    _figure(11, "heads over GRPO, second base model", cohorts.second_base_grpo, "a Llama base"),
    _figure(12, "importance of components by sparse features", maps.component_shift, "sparse autoencoders"),
    _figure(13, "relative change of every head's importance", maps.effect_maps, "variants of all three methods"),
    _figure(14, "which heads each method adds", maps.emergence_maps, "variants of all three methods"),
    _figure(15, "circuits of base and distilled model", circuits.distilled_circuits, "a distilled variant"),
    _figure(16, "circuits after SFT and GRPO", circuits.trained_circuits, "an SFT and a GRPO variant"),
    _figure(17, "circuits with thinking on and off", circuits.think_circuits, "a think-off variant"),
    _figure(18, "circuits after SFT and GRPO, second base model", circuits.second_base_circuits, "a Llama base"),
    _table(1, "accuracy without heads", score_tables.ablation_in_variants, "ablate.heads"),
    _table(2, "accuracy with thinking on and off", score_tables.think_scores, "a think-off variant, ablate.heads"),
    _table(3, "new heads by method", score_tables.head_lists, "variants of all three methods"),
    _table(4, "accuracy of the base without heads", score_tables.ablation_in_base, "ablate.on: [post, base]"),
    _table(5, "accuracy of the base with heads scaled", score_tables.interventions_in_base, "ablate.generated_scales"),
)
"""In the paper's order: number, what is shown, what makes it from a run's results, and what that needs."""
