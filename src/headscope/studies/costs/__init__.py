"""Estimate the cost of a study before it is run: tokens, time, memory and disk of every unit that is not done.

1. ``workloads`` gives for each kind of unit what it works through (``Workload``), from its settings and from
   the ``Facts`` that only the model and the data tell, such as how long answers are.
2. ``pilot`` runs small units of every kind once (``small_study``) and gives the ``Rates``: seconds per step, token or
   pair.
3. ``estimate`` multiplies the two, and ``table`` shows the result.
"""
