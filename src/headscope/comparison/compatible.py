"""Which results may be laid side by side: of one graph, scored alike, on the same pairs (for the null on others)."""

from headscope.errors import InputError
from headscope.results.edges import EdgeScores

PAIRS_DIGEST = "pairs"
"""The key of ``EdgeScores.settings`` that says on which pairs the scores were made."""


SCORING = ("metric", "method", "kv")
"""Settings that change what a score means. Rules and numbers of nodes are approximations of one integral."""


def require_alike(base: EdgeScores, other: EdgeScores, name: str) -> None:
    """InputError unless both have one graph and, as far as their settings tell, one vocabulary and one way of scoring;
    ``name`` is what the other one is.
    """
    if base.graph != other.graph:
        raise InputError(
            f"{name} has {_shape(other)}, the base has {_shape(base)}; heads are compared between models of one shape"
        )
    ours, theirs = base.settings.get("vocabulary"), other.settings.get("vocabulary")
    if ours is not None and theirs is not None and ours != theirs:
        raise InputError(
            f"{name} has a vocabulary of {theirs}, the base one of {ours}; "
            "next-token distributions are compared over one vocabulary"
        )
    for key in SCORING:
        if key in base.settings and key in other.settings and base.settings[key] != other.settings[key]:
            raise InputError(
                f"{name} was scored with {key} {other.settings[key]!r}, the base with {base.settings[key]!r}; "
                "score both alike"
            )


def require_same_pairs(base: EdgeScores, post: EdgeScores) -> None:
    """InputError unless both were scored on the same pairs, as far as their settings tell."""
    if len(base.pair_heads) != len(post.pair_heads):
        raise InputError(
            f"the post-trained model was scored on {len(post.pair_heads)} pairs, "
            f"the base on {len(base.pair_heads)}; score both on the same pairs"
        )
    ours, theirs = base.settings.get(PAIRS_DIGEST), post.settings.get(PAIRS_DIGEST)
    if ours is not None and theirs is not None and ours != theirs:
        raise InputError(
            f"the post-trained model was scored on the pairs with digest {theirs}, "
            f"the base on those with {ours}; score both on the same pairs"
        )


def require_other_pairs(one: EdgeScores, other: EdgeScores, name: str, against: str) -> None:
    """InputError where both were scored on the same pairs; ``name`` and ``against`` say what the two are."""
    digest = one.settings.get(PAIRS_DIGEST)
    if digest is not None and digest == other.settings.get(PAIRS_DIGEST):
        raise InputError(f"{name} uses the same pairs as {against} ({digest}); it needs pairs of its own")


def _shape(scores: EdgeScores) -> str:
    graph = scores.graph
    groups = "" if graph.kv_heads is None else f" in {graph.kv_heads} key/value groups"
    return f"{graph.layers} layers of {graph.heads} heads{groups}" + (" (parallel blocks)" if graph.parallel else "")
