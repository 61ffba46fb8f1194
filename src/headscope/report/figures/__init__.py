"""Figures: one module each, a function from results to a ``Figure``; the data it draws is made in ``tables/``."""
