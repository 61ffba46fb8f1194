"""Measures: the only copy of each formula. ``logits`` needs torch; all others are NumPy and SciPy."""
