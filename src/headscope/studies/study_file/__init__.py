"""The study file: every key with its default and checks, one module per section; its reference page and JSON Schema."""
