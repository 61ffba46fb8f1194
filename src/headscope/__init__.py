"""headscope: which attention heads did a training run create, keep or lose, and do they matter?

Areas, left to right (an area imports only what stands to its left; ``make lint`` enforces it)::

    heads, pairs, errors, progress <- results <- measures <- models <- interventions <- circuits <- studies <- cli
    models <- training | evaluation <- studies      results, measures <- comparison <- studies
    results <- runs <- report <- cli                lab <- studies, cli

Nothing is imported here, so ``import headscope`` costs nothing and help answers without loading torch.
"""

__version__ = "0.1.0"
