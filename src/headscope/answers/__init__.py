"""Answers as mathematics: text → one notation → a reading → equal or not.

1. ``notation``: one LaTeX spelling for what people type (½, √, full-width signs, 70{,}000, \\dfrac12).
2. ``reading``: lists, tuples, intervals, names (x = 5), quantities with units, words. Nothing may be left over.
3. ``comparison``: two readings, part by part.
4. ``expressions``: two formulas, with SymPy. Only ``worker``, a process that can be killed, imports it.

Nothing is imported here and the first three need no library, so that a worker starts quickly.
"""
