"""``discover``: how circuits are found and compared."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from headscope.comparison.equal_faithfulness import FAITHFULNESS, LARGEST_CIRCUIT
from headscope.comparison.resampling import PAPER_EDGES, PAPER_TAU
from headscope.measures.quadrature import Rule
from headscope.results.faithfulness import LADDER
from headscope.studies.study_file.config import Config, insert_preset
from headscope.studies.study_file.references import TaskRef

Fraction = Annotated[float, Field(gt=0, le=1)]

Positions = Literal["last", "answer", "disagreement"] | Annotated[tuple[int, ...], Field(min_length=1)]

DISCOVER_PRESETS: dict[str, dict[str, Any]] = {
    # arXiv 2509.25758, 2, A.2 and A.5; head scores by flow belong to the ``paper-…`` groups of heads.
    "paper": {
        "method": "eap-ig",
        "metric": "kl",
        "positions": "last",
        "rule": "right",
        "nodes": 100,
        "edges": PAPER_EDGES,
        "tau": PAPER_TAU,
    }
}


class PairFile(Config):
    """Clean and corrupt texts of equal length in tokens: JSON (a list of objects), JSONL or Parquet, and its columns.

    file: its path.
    clean, corrupt: columns of the two texts.
    prompt: a column with the question both answer, asked as the variant is (``chat:``); None if texts are whole.
    problem: a column with the name or number of each pair's problem, which is what is counted; None takes rows with one
        prompt, or without prompts with one clean text, for one problem.
    """

    file: str
    clean: str = "clean"
    corrupt: str = "corrupt"
    prompt: str | None = None
    problem: str | None = None


class DiscoverConfig(Config):
    """Pairs and attribution (method sections 3 and 4).

    preset: ``paper`` finds circuits as the paper does: 5000 edges of |score| ≥ 0.1 (τ), KL divergence at the opening's
        last token, right Riemann rule with 100 steps; keys next to it win.
    contrast: what pairs differ in. ``openings``: the same problem, begun as the final checkpoint begins it and as
        base does; ``lab-leaf``: one trace of the lab from two leaf digits, read at all positions that differ, or
        two bare answers if the variant is asked not to think; or a ``PairFile``, of whose rows as many are taken as
        there are. The circuit of ``ablate.heads: [recall]`` is always one of openings.
    tasks: whose problems the pairs come from; None takes the study's first task.
    pairs: wanted per set; two sets are drawn, of different problems, the second for the test-retest null. If there are
        fewer problems than pairs, several pairs come from one problem, and problems are what is counted.
    opening_tokens: both openings are cut to this many tokens. temperature: at which the openings are sampled.
    positions: of the opening, where next-token distributions are read: its last token, all of them (``answer``), the
        5 % where base and final checkpoint differ most on the same text (``disagreement``), or a list, counted from
        the opening's first token, 0, or with negative numbers from its end.
    metric: between the patched and the clean distribution, KL divergence or the loss of the clean text's token.
    method: of attribution. kv: a key and value input per query head, or one per key/value head (``group``).
    nodes: of the path integral; ``adaptive`` gives each pair those its own path needs, by a rule of its own, because on
        trained models eight do not suffice (docs/log.md). rule: of a number of nodes.
    tolerance: of adaptive nodes; None makes the integration error of the mean head scores at most a fifth of their
        standard error over pairs, and a number, as 0.01, that of every pair's scores at most this share of them.
    sizes: fractions of the real edges at which a circuit's faithfulness is read.
    faithfulness: heads are counted in the smallest circuit of ``sizes`` that reaches it in base and final checkpoint,
        of those up to 20 %; if none does, in the largest of them, and tables and verdicts say so.
    fraction: of real edges in a circuit, whatever its faithfulness. edges: their number instead, as in the paper.
    tau: of a circuit's edges only those with at least this |score| count, as in the paper. It has the metric's unit, so
        that one value means different things to different checkpoints.
    crossed: score base and final checkpoint also with the base's opening as the clean text, to part what training
        changed from what the prompt does: two scorings more per variant.
    effects: also replace every head's output in base, last checkpoint and null twins, one at a time, on pairs of other
        problems: what training changed in what each head does; and scale each head of a model with up to 64 on its own
        correct answers. One patching costs half of a scoring for 48 heads and as much as one for 200, and grows with
        their number (``plan --cost``).
    attention: also keep where heads look, in base and last checkpoint, in four of the pairs' texts of up to 256 tokens:
        all heads of a model with up to 64, of a larger one new, lost and most important ones. Two passes per text. And
        which roles all heads play in up to 32 of the last checkpoint's own answers to each ablation task.
    resamples: bootstrap resamples of the problems, each with all its pairs.
    """

    preset: Literal["paper"] | None = None
    contrast: Literal["openings", "lab-leaf"] | PairFile = "openings"
    tasks: tuple[TaskRef, ...] | None = None
    pairs: int = Field(default=64, ge=2)
    opening_tokens: int = Field(default=16, ge=1)
    temperature: float = Field(default=1.0, ge=0)
    positions: Positions = "last"
    kv: Literal["query", "group"] = "query"
    metric: Literal["kl", "nll"] = "kl"
    method: Literal["eap", "eap-ig"] = "eap-ig"
    rule: Rule = "gauss"
    nodes: Annotated[int, Field(ge=1)] | Literal["adaptive"] = "adaptive"
    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = None
    fraction: Fraction | None = None
    edges: Annotated[int, Field(ge=1)] | None = None
    tau: float = Field(default=0.0, ge=0)
    faithfulness: Fraction = FAITHFULNESS
    sizes: Annotated[tuple[Fraction, ...], Field(min_length=1)] = LADDER
    resamples: int = Field(default=200, ge=20)
    crossed: bool = False
    effects: bool = True
    attention: bool = True

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        data = insert_preset(data, DISCOVER_PRESETS)
        # A fraction next to the preset wins over its number of edges, which says the same thing.
        is_sized_anew = isinstance(data, dict) and data.get("preset") and data.get("fraction") is not None
        return data | {"edges": None} if is_sized_anew else data

    @model_validator(mode="after")
    def _rule_of_a_number(self) -> "DiscoverConfig":
        if self.method == "eap-ig" and self.nodes == "adaptive" and self.rule != "gauss":
            raise ValueError(f"rule {self.rule} needs a number of nodes; adaptive nodes have a rule of their own")
        if self.tolerance is not None and (self.method != "eap-ig" or self.nodes != "adaptive"):
            raise ValueError("tolerance is of adaptive nodes of eap-ig; leave it out, or nodes and method as they are")
        return self

    @model_validator(mode="after")
    def _gradient_at_the_clean_text(self) -> "DiscoverConfig":
        if self.method == "eap" and self.metric == "kl":
            raise ValueError(
                "method eap takes the gradient at the clean text, where that of metric kl is 0; take metric: nll, or "
                "method: eap-ig"
            )
        return self

    @model_validator(mode="after")
    def _one_circuit_size(self) -> "DiscoverConfig":
        if self.fraction is not None and self.edges is not None:
            raise ValueError("fraction and edges both say how large a circuit is; leave one of them out")
        if self.fraction is None and self.edges is None and min(self.sizes) > LARGEST_CIRCUIT:
            raise ValueError(
                f"sizes begin at {min(self.sizes):g}, and a circuit is chosen among those up to {LARGEST_CIRCUIT:g}; "
                "add a smaller one, or give fraction"
            )
        return self

    @model_validator(mode="after")
    def _openings_are_sampled(self) -> "DiscoverConfig":
        if self.contrast != "openings":
            fields = type(self).model_fields
            changed = {name for name, field in fields.items() if getattr(self, name) != field.default}
            needy = ["crossed", "opening_tokens", "tasks", "temperature"]
            needy += ["positions"] if self.contrast == "lab-leaf" or self.positions == "disagreement" else []
            if conflicts := [name for name in needy if name in changed]:
                raise ValueError(
                    f"{conflicts[0]} needs openings, and contrast names other texts; leave one of them out"
                )
        return self

    @model_validator(mode="after")
    def _positions_in_opening(self) -> "DiscoverConfig":
        if self.contrast != "openings":
            return self
        tokens = self.opening_tokens
        indices = () if isinstance(self.positions, str) else self.positions
        outside = [index for index in indices if not -tokens <= index < tokens]
        if outside:
            raise ValueError(f"positions holds {outside[0]}, and an opening has the positions 0-{tokens - 1}")
        return self
