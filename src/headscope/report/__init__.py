"""The report: one offline HTML file from a run directory, the tables a terminal prints, and the figures. Imports
without torch.

``render`` and ``verb_tables`` read finished units from disk; every number in them was computed before.
"""

from headscope.report.page_file import render
from headscope.report.run_results import RunResults
from headscope.report.tables.verbs import verb_tables

__all__ = ["RunResults", "render", "verb_tables"]
