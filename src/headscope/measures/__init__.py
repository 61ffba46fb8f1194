"""Measures: the only copy of each formula. ``logits`` needs torch; all others need only NumPy and SciPy."""
