"""Sections of the study file: one module per section, each with its keys, defaults and checks."""
