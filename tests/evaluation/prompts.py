"""Prompts of the tiny model, and settings under which its answers to them differ."""

from headscope.evaluation.completions import Sampling

PROMPTS = [[1, 20, 21], [1, 30, 31, 32, 33, 34], [1, 40]]
WARM = Sampling(samples=3, max_new_tokens=12, temperature=1.0, top_p=0.95, seed=5)
