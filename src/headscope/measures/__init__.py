"""Measures: the only copy of each formula. ``logits`` needs torch; all others need NumPy and SciPy alone."""
