"""The report: one offline HTML file from a run directory, the tables a terminal prints, and the figures. Imports
without torch.

``render``, ``verb_tables`` and ``table_frame`` read finished units from disk; every number in them was computed before.
"""

from headscope.report.page_file import render
from headscope.report.run_results import RunResults
from headscope.report.tables.catalogue import table_frame
from headscope.report.tables.verbs import verb_tables
from headscope.report.unfinished import unfinished_answers

__all__ = ["RunResults", "render", "table_frame", "unfinished_answers", "verb_tables"]
