"""The report: one offline HTML file from a run directory, the tables a terminal prints, and the figures. Imports
without torch.

``render`` and ``verb_tables`` read finished units from disk; every number in them was computed before.
"""

from headscope.report.page_file import render
from headscope.report.run_results import RunResults
from headscope.report.tables.verbs import verb_tables
from headscope.report.unfinished import unfinished_answers

__all__ = ["RunResults", "render", "unfinished_answers", "verb_tables"]
