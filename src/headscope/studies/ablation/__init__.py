"""Work on head sets: which heads an ablation removes, answers and losses without them, and verdicts on both."""
