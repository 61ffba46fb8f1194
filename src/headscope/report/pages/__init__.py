"""The report's pages: one module each, a function from a run's results to a ``Page``. A new page is one file and one
line here.
"""

from collections.abc import Callable
from functools import partial

from headscope.report.blocks import Page
from headscope.report.pages.ablation import ablation
from headscope.report.pages.circuit import circuit
from headscope.report.pages.effects import effects
from headscope.report.pages.emergence import emergence
from headscope.report.pages.evolution import evolution
from headscope.report.pages.methods import methods
from headscope.report.pages.overview import overview
from headscope.report.pages.performance import performance
from headscope.report.pages.reward import reward
from headscope.report.pages.transitions import transitions
from headscope.report.run_results import RunResults


def build_pages(results: RunResults, responses: int) -> list[Page]:
    """Build all pages in the order of the navigation. responses: shown per model and task; 0 leaves all texts out."""
    builders: tuple[Callable[[RunResults], Page], ...] = (
        overview,
        evolution,
        reward,
        emergence,
        effects,
        circuit,
        ablation,
        partial(performance, responses=responses),
        partial(transitions, texts=bool(responses)),
        methods,
    )
    return [build(results) for build in builders]
