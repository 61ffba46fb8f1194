"""The study file: what a user writes, with every default."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, model_validator

from headscope.comparison.equal_faithfulness import FAITHFULNESS, LARGEST_CIRCUIT
from headscope.comparison.resampling import PAPER_EDGES, PAPER_TAU
from headscope.evaluation import Chat, TaskFile
from headscope.evaluation.table_files import SUFFIXES
from headscope.heads import HeadId
from headscope.measures.quadrature import Rule
from headscope.operator_names import ABLATION_OPERATORS, Operator, SharedKv
from headscope.results.faithfulness import LADDER
from headscope.studies.config import BootstrapConfig, Config, OneOrMore
from headscope.studies.trackers import TrackerName
from headscope.studies.twins import Twin, write_out_twins
from headscope.training import DistillConfig, GrpoConfig, SftConfig

Dtype = Literal["float32", "bfloat16", "float16"]
THINK_OFF_ONLY, NAMED = "think-off-only", "named"
HeadGroup = Literal[
    "emergent", "kept", "lost", "paper-emergent", "paper-kept", "paper-lost", "recall", "think-off-only", "named"
]
EditedModel = Literal["post", "base"]
Fraction = Annotated[float, Field(gt=0, le=1)]
Positions = Literal["last", "answer", "disagreement"] | Annotated[tuple[int, ...], Field(min_length=1)]
HeadName = Annotated[str, BeforeValidator(lambda name: str(HeadId.parse(name)))]


class ModelConfig(Config):
    """A model.

    model: a folder, a hub id, or a built-in one (``lab-m``).
    revision: of the hub: a branch, tag or commit.
    dtype: of the weights.
    chat: how the model is spoken to.
    trust_remote_code: run code that the model's folder brings.
    tokenizer: folder or hub id of the one used instead of the model's own; it has the model's ids.
    chat_template: whose chat template is used: a folder, a hub id, a .jinja file, or one that TRL ships by its name
        (``deepseek_r1_distill_training``).
    Models trained here are saved with both. A variant without tokenizer files takes both from the base.
    """

    model: str
    tokenizer: str | None = None
    chat_template: str | None = None
    revision: str | None = None
    dtype: Dtype = "float32"
    chat: Chat = Chat()
    trust_remote_code: bool = False


TaskRef = str | TaskFile


RewardName = Literal["correctness", "format", "calculation", "plan"]


class CompletionData(BaseModel):
    """The data of a method that learns the completions in its rows.

    dataset: prompt and completion records of the lab (``lab.builtin_data.DATASETS``), a JSONL file (rows of ``prompt``
        and ``completion``, texts or chat messages, or of ``messages``), or by a hub id; or the worked answers of a
        task (``gsm8k-train``, ``openr1-math``, a ``TaskFile``).
    control: null twin: completions of other prompts.
    """

    dataset: TaskRef
    control: Literal["shuffled_answers"] | None = None


class TeacherData(BaseModel):
    """The data of a method that learns from a teacher's logits on the problems of a task.

    dataset: a task (``headscope ls tasks``) or a file of problems.
    teacher: a folder, a hub id, a built-in model, or an earlier variant trained in this study (its last checkpoint).
    """

    dataset: TaskRef
    teacher: str


class RewardData(BaseModel):
    """The data of a method that learns from rewards on the problems of a task.

    dataset: a task (``headscope ls tasks``) or a file of problems.
    rewards: summed with ``reward_weights``; ``plan`` needs a lab task, ``calculation`` counts mod 10 there.
    control: null twin: rewards permuted among the completions of a prompt, or answers of other prompts.
    """

    dataset: TaskRef
    rewards: tuple[RewardName, ...] = ("correctness",)
    control: Literal["permuted_rewards", "shuffled_answers"] | None = None


class SftTraining(CompletionData, SftConfig):
    """SFT, or distillation on a teacher's traces."""


class DistillTraining(TeacherData, DistillConfig):
    """On-policy distillation."""


class GrpoTraining(RewardData, GrpoConfig):
    """GRPO."""


# One per method of ``training.TRAINING_METHODS``, on the data its signal needs; a test holds them together.
Training = SftTraining | DistillTraining | GrpoTraining


class BaseConfig(ModelConfig):
    """A model, or what a training makes of one.

    train: a training of ``model`` that makes the base: variants begin from its last checkpoint and are compared with
        it, as GRPO that follows SFT is. Its ``method: …`` or ``preset: …`` and keys are those of a variant's.
    """

    train: Annotated[Training, Field(discriminator="method")] | None = None

    @model_validator(mode="after")
    def _whole_model(self) -> "BaseConfig":
        if isinstance(self.train, SftTraining) and self.train.lora_rank:
            raise ValueError("it is trained as an adapter (lora_rank), and variants begin from whole models")
        return self


class HubCheckpoints(Config):
    """Checkpoints that one model of the hub keeps as revisions, as OLMo 2 and Pythia do.

    model: its hub id.
    revisions: branches or tags whose names tell the step (``step1000``, ``stage1-step1000-tokens5B``), or a mapping
        from their names to steps.
    """

    model: str
    revisions: (
        Annotated[tuple[str, ...], Field(min_length=1)]
        | Annotated[dict[str, Annotated[int, Field(ge=0)]], Field(min_length=1)]
    )


class VariantConfig(Config):
    """A post-trained model: trained here (``train``), trained elsewhere (``checkpoints``), or one finished model.

    name: what tables call it.
    train: its training, as ``method: …`` or ``preset: …`` with keys that win over the preset's.
    model: one finished model, a folder or hub id.
    revision: of the hub: a branch, tag or commit.
    reward_log: the ``trainer_state.json`` or JSONL of a training elsewhere, for the coupling with reward.
    method: how a variant trained elsewhere was trained, for the claims that ask about SFT, distillation or GRPO. One
        trained here has its own; ``distill`` is said of SFT on a teacher's traces, as R1-Distill was made.
    chat: how the variant is spoken to; what is left out is as the base's.
    checkpoints: folders by a glob, or revisions on the hub.
    twins: the same training with its signal removed or another seed, for the nulls: ``lr0``, ``permuted_rewards``,
        ``shuffled_answers``, or changed keys such as ``{seed: 1}``; each becomes a variant of its own.
    twin_of: the variant this one is a twin of.
    tokenizer, chat_template: of a variant trained elsewhere, as ``ModelConfig`` says; one trained here has the base's.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    train: Annotated[Training, Field(discriminator="method")] | None = None
    twins: tuple[Twin, ...] = ()
    twin_of: str | None = None
    checkpoints: str | HubCheckpoints | None = None
    model: str | None = None
    tokenizer: str | None = None
    chat_template: str | None = None
    revision: str | None = None
    reward_log: str | None = None
    method: Literal["sft", "distill", "grpo"] | None = None
    chat: Chat = Chat()

    @property
    def saved_steps(self) -> list[int]:
        """Return the steps at which a training here saves; without ``max_steps`` only 0: the data tells the others."""
        assert self.train is not None
        last = self.train.max_steps or 0
        return sorted({*range(0, last + 1, self.train.save_every), last})

    @model_validator(mode="after")
    def _one_method(self) -> "VariantConfig":
        if self.train is None or self.method in (None, self.train.method):
            return self
        # SFT on a teacher's traces is what R1-Distill calls distillation.
        if not (self.train.method == "sft" and self.method == "distill"):
            raise ValueError(
                f"it is trained here by {self.train.method}, and method says {self.method}; leave method out"
            )
        return self

    @model_validator(mode="after")
    def _one_source(self) -> "VariantConfig":
        origins = [name for name in ("train", "checkpoints", "model") if getattr(self, name) is not None]
        if len(origins) != 1:
            raise ValueError(f"it needs exactly one of train, checkpoints and model, and has {origins or 'none'}")
        if self.name == "base":
            raise ValueError("the name base is taken by the base model")
        if self.train is not None and (self.tokenizer or self.chat_template):
            raise ValueError("it is trained here with the base's tokenizer and chat template; give them to base")
        return self


class PairFile(Config):
    """Clean and corrupt texts of equal length in tokens: JSON (a list of objects), JSONL or Parquet, and its columns.

    file: its path.
    clean, corrupt: columns of the two texts.
    prompt: a column with the question both answer, put into the model's chat template; None if texts are whole.
    problem: a column with the name or number of each pair's problem, which is what is counted; None takes rows with one
        prompt, or without prompts with one clean text, for one problem.
    """

    file: str
    clean: str = "clean"
    corrupt: str = "corrupt"
    prompt: str | None = None
    problem: str | None = None


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


def _insert_preset(data: Any, presets: Mapping[str, dict[str, Any]]) -> Any:
    """Return a section's plain data with its preset written out; keys next to the preset win."""
    preset = data.get("preset") if isinstance(data, dict) else None
    return presets[preset] | data if isinstance(preset, str) and preset in presets else data


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
        all heads of a model with up to 64, of a larger one new, lost and most important ones. Two passes per text.
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
        data = _insert_preset(data, DISCOVER_PRESETS)
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


ABLATE_PRESETS: dict[str, dict[str, Any]] = {
    # arXiv 2509.25758, A.7 and A.9: 5-10 heads of three kinds, removed and scaled while the model generates.
    "paper": {
        "heads": ["paper-emergent", "paper-lost", "recall"],
        "at_most": 10,
        "generated_scales": [0.5, 1.3],
        "scales": [0, 0.5, 0.8, 1.3, 1.5],
        "guard": "triviaqa",
    }
}


class AblateConfig(Config):
    """Head sets removed, next to random sets: evidence from teacher forcing, verdicts on generated answers.

    preset: ``paper`` compares heads only the post-trained circuit has, heads only the base circuit has, and heads of
        the recall circuit (of ``guard``), removed and scaled; keys next to it win.
    heads: which sets of the final checkpoint's comparison; ``paper-…`` are those of the paper's method, the plain
        set difference of two circuits; ``recall`` needs a ``guard``; ``think-off-only`` are the heads that a model has
        with thinking off and lacks with thinking on, removed in its think-off variant; ``named`` are those of
        the key ``named``.
    named: heads by name, such as ``[L3H5, L4H1]``: what the report's page Circuit exports. They are removed as one set,
        all of them whatever ``at_most`` says.
    on: the models in which they are removed and scaled: ``post``, the trained one, and ``base``, next to its own whole
        answers.
    step: take the heads emergent, kept or lost at this checkpoint, and remove them in the model of this checkpoint;
        None takes the last. A variant that is one finished model has no other and is left out.
    null_twins: whether the heads of null twins are removed too; no claim asks about those.
    at_most: of a larger set only so many heads, those whose share of the score changed most (the paper removes 5-10).
    tasks: None takes the study's tasks. problems: of each task, None for all. samples: answers per problem.

    operators: of the evidence; a set stands when three of the four that remove heads agree. ``revert``, which gives
        heads the base's weights and asks whether training them mattered, has no vote; in the base it gives heads the
        variant's. revert_kv: it also reverts the keys and values that a group of heads shares if ``all`` of the group
        is reverted, or if ``any`` of it is, which changes the others too. controls: random sets per head set at most,
        of the same layer profile (if there are too few, also from the layers next to it), and as many of like
        importance; they are run twenty at a time, until ten of them do
        as much as the set, which can then no longer stand out. texts: correct answers forced, at most.
    scales: doses α of the evidence. guard: a recall task on which nothing should happen.
    generated: operators under which answers are generated. generated_scales: factors likewise. generated_controls:
        with so many of the controls.
    """

    preset: Literal["paper"] | None = None
    heads: Annotated[tuple[HeadGroup, ...], OneOrMore()] = ("emergent", "kept")
    named: Annotated[tuple[HeadName, ...], OneOrMore()] = ()
    on: Annotated[tuple[EditedModel, ...], Field(min_length=1), OneOrMore()] = ("post",)
    step: int | None = Field(default=None, ge=1)
    null_twins: bool = False
    at_most: int | None = Field(default=10, ge=1)
    operators: Annotated[tuple[Operator, ...], Field(min_length=1), OneOrMore()] = ABLATION_OPERATORS
    revert_kv: SharedKv = "all"
    controls: int = Field(default=200, ge=1)
    texts: int = Field(default=200, ge=1)
    scales: tuple[Annotated[float, Field(ge=0)], ...] = (0, 0.5, 0.8, 1.3, 1.5)
    guard: TaskRef | None = None
    generated: Annotated[tuple[Operator, ...], OneOrMore()] = ("zero",)
    generated_scales: tuple[Annotated[float, Field(ge=0)], ...] = ()
    generated_controls: int = Field(default=20, ge=1)
    tasks: tuple[TaskRef, ...] | None = None
    problems: int | None = Field(default=None, ge=1)
    samples: int = Field(default=1, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, data: Any) -> Any:
        return _insert_preset(data, ABLATE_PRESETS)

    @model_validator(mode="after")
    def _recall_has_a_task(self) -> "AblateConfig":
        if "recall" in self.heads and self.guard is None:
            raise ValueError("heads holds recall, whose circuit is found on the task named by guard, and there is none")
        return self

    @model_validator(mode="after")
    def _named_heads_have_names(self) -> "AblateConfig":
        if NAMED in self.heads and not self.named:
            raise ValueError("heads holds named, and named lists no head; list heads there, such as named: [L3H5]")
        if self.named and NAMED not in self.heads:
            raise ValueError("named lists heads that nothing removes; add named to heads, as in heads: [named]")
        return self

    @model_validator(mode="after")
    def _modes_are_of_the_last_step(self) -> "AblateConfig":
        if self.step is not None and THINK_OFF_ONLY in self.heads:
            raise ValueError(
                f"step is {self.step}, and heads holds {THINK_OFF_ONLY}: both modes are compared at the last "
                "checkpoint alone; leave one of them out"
            )
        return self

    @property
    def generated_with_controls(self) -> int:
        """Return with how many controls answers are generated."""
        return min(self.generated_controls, self.controls)


def _check_marker(marker: str) -> str:
    if not marker.strip() or not marker.isprintable():
        raise ValueError("a marker is a word or words on one line")
    return marker


class EvalConfig(Config):
    """How answers are drawn and counted.

    samples: answers per problem.
    k: of pass@k, success@k and majority@k; those above ``samples`` are left out.
    temperature, top_p: of sampling; at temperature 0 the likeliest token is taken.
    top_k: only so many likeliest tokens are drawn from, None for all. min_p: only tokens at least this share as likely
        as the likeliest (Qwen3's card has 20 and 0).
    max_new_tokens: after which an answer counts as unfinished.
    problems: the first so many of each task, None for all.
    engine: what generates.
    every: of each variant's saved checkpoints the n-th, 2n-th, 3n-th … are evaluated, and always the last; None
        evaluates the last alone.
    forbid: markers such as ``wait``. Base and last checkpoints answer the same problems with the same seeds once more,
        never generating any of them, and are compared with themselves: what re-checking does to answers.
    """

    samples: int = Field(default=16, ge=1)
    k: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1, 2, 4, 8, 16), min_length=1)
    temperature: float = Field(default=0.6, ge=0)
    top_p: float = Field(default=0.95, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    max_new_tokens: int = Field(default=4096, ge=1)
    problems: int | None = Field(default=None, ge=1)
    engine: Literal["transformers", "vllm"] = "transformers"
    every: int | None = Field(default=None, ge=1)
    forbid: Annotated[tuple[Annotated[str, AfterValidator(_check_marker)], ...], OneOrMore()] = ()

    @model_validator(mode="after")
    def _k_within_samples(self) -> "EvalConfig":
        if "k" in self.model_fields_set and max(self.k) > self.samples:
            raise ValueError(f"k holds {max(self.k)}, and only {self.samples} samples are drawn")
        return self

    @property
    def ks(self) -> tuple[int, ...]:
        """Return the k that the samples allow."""
        return tuple(k for k in self.k if k <= self.samples)


def _named_executor(value: Any) -> Any:
    """Return ``executor: processes`` as ``{kind: processes}``."""
    return {"kind": value} if isinstance(value, str) else value


class ExecutorConfig(Config):
    """What computes a study's units; results do not depend on it.

    kind: ``local``, one unit after another in this process; ``processes``, several at a time by workers on this
        machine, each with models it keeps; or ``ray``, by such workers on the nodes of a Ray cluster.
    workers: how many; None takes one per GPU, or as many as the cores hold.
    threads: of each worker; None takes one on a CPU.
    address: of the Ray cluster, as ``10.0.0.1:6379``, or ``auto`` for the one this machine is part of. None takes that
        of the environment variable RAY_ADDRESS, or begins a cluster of this machine alone.
    """

    kind: Literal["local", "processes", "ray"] = "local"
    workers: int | None = Field(default=None, ge=1)
    threads: int | None = Field(default=None, ge=1)
    address: str | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> "ExecutorConfig":
        given = [name for name in ("workers", "threads") if getattr(self, name) is not None]
        if self.kind == "local" and given:
            raise ValueError(f"{given[0]} needs the executor processes or ray, and this one is local")
        if self.kind != "ray" and self.address is not None:
            raise ValueError(f"address needs the executor ray, and this one is {self.kind}")
        if self.address is not None and self.address.startswith("ray://"):
            raise ValueError(
                f"address is {self.address!r}, which is for Ray's client; run on a node of the cluster and give auto, "
                "or the head's HOST:PORT"
            )
        return self


class Study(Config):
    """A base model, its post-trained variants, the tasks they are asked, and what is done with them.

    name: of the run directory, ``runs/NAME``.
    seed: of everything that is drawn; it also shifts those of the trainings.
    base: the model that training starts from and variants are compared with; it can be trained here first.
    variants: the post-trained models.
    tasks: benchmarks by name (``headscope ls tasks``), or files of problems.
    discover: how circuits are found and compared.
    ablate: which heads are removed, and how it is judged.
    eval: how answers are drawn and counted.
    data_dir: where files of named benchmarks are looked for before the hub is asked.
    report_to: the experiment tracker that numbers go to as units finish: losses of trainings, accuracy, head counts,
        effects of ablations. Its package has to be installed (``pip install trackio``); no result depends on it.
    executor: what computes the units: ``local``, ``processes``, ``ray``, or a mapping with more.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: int = Field(default=0, ge=0)
    base: BaseConfig
    variants: tuple[VariantConfig, ...] = ()
    tasks: tuple[TaskRef, ...] = Field(min_length=1)
    discover: DiscoverConfig = DiscoverConfig()
    ablate: AblateConfig = AblateConfig()
    eval: EvalConfig = EvalConfig()
    data_dir: str | None = None
    report_to: TrackerName = "none"
    executor: Annotated[ExecutorConfig, BeforeValidator(_named_executor)] = ExecutorConfig()

    @model_validator(mode="before")
    @classmethod
    def _twins_are_variants(cls, data: Any) -> Any:
        return write_out_twins(data)

    @model_validator(mode="after")
    def _teachers_come_first(self) -> "Study":
        names = [variant.name for variant in self.variants]
        if isinstance(self.base.train, TeacherData) and self.base.train.teacher in names:
            raise ValueError(f"variant {self.base.train.teacher} teaches the base it begins from; name another model")
        for index, variant in enumerate(self.variants):
            teacher = variant.train.teacher if isinstance(variant.train, TeacherData) else None
            if teacher in names[index:]:
                raise ValueError(f"variant {teacher} teaches {variant.name} and must be listed before it")
            if teacher in names and self.variants[names.index(teacher)].train is None:
                raise ValueError(f"variant {teacher} teaches {variant.name} and is not trained here; name its model")
        return self

    @model_validator(mode="after")
    def _names_differ(self) -> "Study":
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise ValueError(f"variant names repeat: {', '.join(names)}")
        return self

    @model_validator(mode="after")
    def _think_off_needs_both_modes(self) -> "Study":
        if THINK_OFF_ONLY in self.ablate.heads:
            asked = {variant.chat.enable_thinking for variant in self.variants}
            asked |= {self.base.chat.enable_thinking} if None in asked else set()
            if not {True, False} <= asked:
                raise ValueError(NO_MODES)
        return self

    @model_validator(mode="after")
    def _step_is_saved(self) -> "Study":
        for variant in self.variants:
            if variant.train is not None and variant.train.max_steps is not None:
                check_step(self.ablate.step, variant.name, variant.saved_steps)
        return self

    @property
    def bootstrap(self) -> BootstrapConfig:
        """Return how pairs are resampled."""
        return BootstrapConfig(resamples=self.discover.resamples, seed=self.seed, tau=self.discover.tau)

    @property
    def circuit(self) -> dict[str, Any]:
        """Return what says how large a circuit is, as fields of a ``CircuitConfig``."""
        return self.discover.model_dump(include={"fraction", "edges", "faithfulness"})

    @property
    def discover_tasks(self) -> tuple[TaskRef, ...]:
        """Return the tasks whose problems the pairs come from."""
        return self.discover.tasks or self.tasks[:1]

    @property
    def checked_tasks(self) -> tuple[tuple[TaskRef, int | None], ...]:
        """Return every task whose answers are checked, and of how many problems; None for all."""
        guard = () if self.ablate.guard is None else (self.ablate.guard,)
        evaluated = [(ref, self.eval.problems) for ref in self.tasks]
        return (*evaluated, *((ref, self.ablate.problems) for ref in (*self.ablate_tasks, *guard)))

    @property
    def ablate_tasks(self) -> tuple[TaskRef, ...]:
        """Return the tasks that ablated models are asked."""
        return self.ablate.tasks or self.tasks

    def at(self, folder: Path) -> "Study":
        """Return the same study with file paths taken from ``folder``, in which the study file lies."""
        return Study.model_validate(_resolve_paths(self.model_dump(mode="json", exclude_unset=True), folder))


NO_MODES = (
    f"ablate.heads holds {THINK_OFF_ONLY}, and no two variants are one model asked with chat.enable_thinking true and "
    "false; add both modes, or leave the group out"
)


def check_step(step: int | None, variant: str, steps: Sequence[int]) -> None:
    """Raise ValueError if ``step``, as ``ablate.step`` names it, is no checkpoint of the variant's training.

    steps: of its checkpoints; 0 is the base.
    """
    trained = [saved for saved in steps if saved > 0]
    if step is not None and step not in trained:
        there = f"checkpoints {', '.join(map(str, trained))}" if trained else "no checkpoint after step 0"
        raise ValueError(f"ablate.step is {step}, and variant {variant} has {there}")


_PATHS = {"model", "tokenizer", "chat_template", "checkpoints", "reward_log", "file", "dataset", "teacher", "data_dir"}


def _resolve_paths(value: Any, folder: Path, key: str = "") -> Any:
    """Make relative paths that exist below ``folder`` absolute; names of models, tasks and hub ids stay as they are."""
    if isinstance(value, dict):
        return {name: _resolve_paths(inner, folder, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_resolve_paths(inner, folder, key) for inner in value]
    if isinstance(value, str) and (key in _PATHS or key == "tasks"):
        if key == "checkpoints":  # of a mapping, the model is found by its own key
            return str(folder / Path(value).expanduser())
        names_a_file = key == "file" or Path(value).suffix in SUFFIXES
        # A file that is nowhere is looked for next to the study, and the sentence that it is missing says so.
        if (folder / value).exists() or (names_a_file and not Path(value).expanduser().exists()):
            return str((folder / value).resolve())
    return value
