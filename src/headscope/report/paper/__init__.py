"""Figures and tables for papers and the README: matplotlib on white, in the sizes of a two-column page.

``FIGURES`` lists every figure and table of arXiv 2509.25758 that shows data; ``write_figures`` makes them from a run.
"""

from headscope.report.paper.catalogue import FIGURES
from headscope.report.paper.files import Written, write_figures
from headscope.report.paper.overview import overview_figure
from headscope.report.paper.style import FORMATS

__all__ = ["FIGURES", "FORMATS", "Written", "overview_figure", "write_figures"]
