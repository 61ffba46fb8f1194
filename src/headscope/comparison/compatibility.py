"""Checks that two results can be compared: same graph, same scoring, same pairs (other pairs for the null)."""

from headscope.errors import InputError
from headscope.results.edges import EdgeScores

PAIRS_DIGEST = "pairs"
"""The key of ``EdgeScores.settings`` that says on which pairs the scores were made."""

SCORING = ("metric", "method", "kv")
"""Settings that change what a score means. Rules and numbers of nodes are approximations of one integral."""


def require_same_scoring(base: EdgeScores, scores: EdgeScores, name: str) -> None:
    """Raise InputError unless both have the same graph and, if their settings tell, the same vocabulary and scoring;
    ``name`` describes ``scores`` in the message.
    """
    for value in (base, scores):
        if not isinstance(value, EdgeScores):
            raise InputError(f"found {type(value).__name__}; models are compared by EdgeScores, as attribute returns")
    if base.graph != scores.graph:
        raise InputError(
            f"{name} has {_shape(scores)}, the base has {_shape(base)}; heads are compared between models of one shape"
        )
    base_vocabulary, vocabulary = base.settings.get("vocabulary"), scores.settings.get("vocabulary")
    if base_vocabulary is not None and vocabulary is not None and base_vocabulary != vocabulary:
        raise InputError(
            f"{name} has a vocabulary of {vocabulary}, the base one of {base_vocabulary}; "
            "next-token distributions are compared over one vocabulary: score both on pairs.within(N), N the smaller"
        )
    for key in SCORING:
        if key in base.settings and key in scores.settings and base.settings[key] != scores.settings[key]:
            raise InputError(
                f"{name} was scored with {key} {scores.settings[key]!r}, the base with {base.settings[key]!r}; "
                "score both alike"
            )


def require_same_pairs(base: EdgeScores, post: EdgeScores) -> None:
    """Raise InputError if their settings or sizes show that the two were scored on different pairs."""
    if len(base.pair_heads) != len(post.pair_heads):
        raise InputError(
            f"the post-trained model was scored on {len(post.pair_heads)} pairs, "
            f"the base on {len(base.pair_heads)}; score both on the same pairs"
        )
    base_digest, post_digest = base.settings.get(PAIRS_DIGEST), post.settings.get(PAIRS_DIGEST)
    if base_digest is not None and post_digest is not None and base_digest != post_digest:
        raise InputError(
            f"the post-trained model was scored on the pairs with digest {post_digest}, "
            f"the base on those with {base_digest}; score both on the same pairs"
        )
    if base.problems != post.problems:
        raise InputError(
            "the base's pairs are said to be of other problems than the post-trained model's; name them alike"
        )


def require_other_pairs(scores: EdgeScores, reference: EdgeScores, name: str, reference_name: str) -> None:
    """Raise InputError if both were scored on the same pairs; the names describe them in the message."""
    digest = scores.settings.get(PAIRS_DIGEST)
    if digest is not None and digest == reference.settings.get(PAIRS_DIGEST):
        raise InputError(f"{name} uses the same pairs as {reference_name} ({digest}); it needs pairs of its own")


def _shape(scores: EdgeScores) -> str:
    graph = scores.graph
    groups = "" if graph.kv_heads is None else f" in {graph.kv_heads} key/value groups"
    return f"{graph.layers} layers of {graph.heads} heads{groups}" + (" (parallel blocks)" if graph.parallel else "")
