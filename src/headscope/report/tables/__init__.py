"""Tables: one module per subject, functions from results to a ``Table``.

Each is made once: the terminal prints as Markdown what the page shows. The exceptions are the data behind figures
(``…_data``), which the page alone folds out, and ``circuits``, which reads the edge scores of every checkpoint: too
much to load for a page.
"""
