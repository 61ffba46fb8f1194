"""Reading a study: what is refused, in one sentence that names the key and what is allowed."""

import json
from pathlib import Path

import pytest

from headscope.cli.main import main
from headscope.errors import InputError, ManyInputsError
from headscope.lab.builtin_studies import builtin_studies
from headscope.runs import RunDirectory
from headscope.runs.recipes import missing_signal, null_twins, seeds_of, variants_by_name
from headscope.studies.data.sources import task
from headscope.studies.plan import plan
from headscope.studies.reading import adhoc_study, parse_study, read_study
from headscope.studies.study_file.training import GrpoTraining

GOOD = """
name: x
base: {model: lab-m}
variants: [{name: a, model: lab-m}]
tasks: [lab-t1]
"""


def read(text: str, *overrides: str, folder: Path = Path()) -> object:
    return parse_study(text, "s.yaml", folder, overrides)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("discover.pair=3", r"discover\.pair is not a key of a study \(did you mean 'pairs'\?\)"),
        ("variants.a.modl=x", r"variants\[0\]\.modl is not a key of a study \(did you mean 'model'\?\)"),
        ("variants.a.train={method: sft, dataset: x, learning_rat: 1}", r"learning_rat .*'learning_rate'"),
        ("variants.a.train={method: ppo}", r"variants\[0\].train: .*'ppo'.*'sft', 'distill', 'grpo'"),
        ("variants.a.train={preset: lab-sft, dataset: x}", "exactly one of train, checkpoints and model"),
        ("variants.a.train={preset: lab-stf, dataset: x}", "preset 'lab-stf' does not exist .*'lab-sft'"),
        ("variants.0={name: a, train: {preset: lab-stf}}", "preset 'lab-stf' does not exist .*'lab-sft'"),
        ("variants.a.name=base", "the name base is taken"),
        ("variants.b.name=c", r"'b' is no element \(did you mean|allowed: a\)"),
        (
            "variants=[{name: a, checkpoints: [x, y]}]",
            r"variants\[0\]\.checkpoints: a list is not allowed; give one glob of folders, such as sft/checkpoint-\*, "
            r"or a mapping of the hub's model and revisions$",
        ),
        ("eval.samples=0", r"eval\.samples is 0; it should be greater than or equal to 1"),
        ("eval.k=[1, 32]", "k holds 32, and only 16 samples are drawn"),
        ("eval.every=0", r"eval\.every is 0; it should be greater than or equal to 1"),
        ("eval.forbid=[false]", r"eval\.forbid\[0\] is False; it should be a valid string"),
        ("eval.forbid=' '", r"eval\.forbid\[0\] is ' '; a marker is a word or words on one line"),
        ("base.dtype=int8", r"base\.dtype is 'int8'; it should be 'float32', 'bfloat16' or 'float16'"),
        ("tasks=[{fil: x}]", r"tasks\[0\]\.fil is not a key of a study \(did you mean 'file'\?\)"),
        ("tasks=[]", "tasks: it needs 1, has 0"),
        ("seed", "not of the form a.b=value"),
    ],
)
def test_a_bad_key_or_value_is_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        read(GOOD, override)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "s.yaml is empty; a study is a mapping of keys"),
        ("- a", "s.yaml is list"),
        ("a: [", "s.yaml is not YAML"),
        ("name: x\nbase: {model: m}", "tasks is missing"),
    ],
)
def test_what_is_no_study_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read(text)


def test_missing_files_and_unknown_names_are_named() -> None:
    with pytest.raises(InputError, match=r"study file nowhere\.yaml does not exist"):
        read_study("nowhere.yaml")
    with pytest.raises(InputError, match=r"no built-in study .*did you mean 'lab'"):
        read_study("labb")


def test_overrides_win_over_the_file_and_presets_over_defaults() -> None:
    study = read_study("lab", ["variants.grpo.train.max_steps=7", "eval.samples=8", "seed=3"])
    grpo = study.variants[1].train
    assert grpo is not None
    assert (grpo.max_steps, grpo.method, study.seed) == (7, "grpo", 3)
    assert grpo.samples == 16


def test_one_head_group_needs_no_list() -> None:
    assert read_study("lab", ["ablate.heads=lost"]).ablate.heads == ("lost",)


def test_relative_paths_are_taken_from_the_study_file(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("{}")
    study = parse_study(GOOD.replace("[lab-t1]", "[mine.jsonl, lab-t1]"), "s.yaml", tmp_path)
    assert study.tasks == (str(tmp_path / "mine.jsonl"), "lab-t1")


PAPER = ("qwen2.5-math", "qwen2.5-math-7b", "qwen2.5-math-openr1", "qwen3-think", "llama-3.1", "llama-3.2")


@pytest.mark.parametrize("name", PAPER)
def test_the_studies_of_the_paper_are_valid(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(__file__).parents[2] / "studies" / f"{name}.yaml"
    study = read_study(str(path))
    assert study.name == name
    assert study.eval.samples == 16
    assert (study.discover.edges, study.discover.nodes) == (5000, "adaptive")
    paper = read_study(str(path), ["discover.preset=paper"]).discover
    assert (paper.edges, paper.rule, paper.nodes, paper.tau) == (5000, "right", 100, 0.1)
    assert main(["validate", str(path)]) == 0
    assert f"study {name} is valid" in capsys.readouterr().out


@pytest.fixture
def benchmarks(tmp_path: Path) -> Path:
    """A folder with every benchmark the paper's studies ask for, of forty made-up problems each."""
    for name in ("aime24", "aime25", "amc", "math500", "gsm8k", "gsm8k-train", "openr1-math", "gpqa", "triviaqa"):
        rows = []
        for number in range(40):
            row: dict[str, object] = {
                "problem": f"{name}: 1 + {number}?",
                "answer": str(1 + number),
                "solution": "It is.",
            }
            if name.startswith("gsm8k"):
                row["answer"] = f"Add. #### {1 + number}"
            if name == "triviaqa":
                row = {"question": f"Which number is {number}?", "answer": str(number), "aliases": [str(number)]}
            if name == "gpqa":
                wrong = {f"Incorrect Answer {index}": f"{number} and {index}" for index in (1, 2, 3)}
                row = {
                    "Question": f"Which, {number}?",
                    "Correct Answer": "this",
                    "High-level domain": "Physics",
                } | wrong
            if name == "triviaqa":
                answer = {"value": f"Name {number}", "aliases": [f"Name {number}"]}
                row = {"question": f"Who, {number}?", "answer": answer}
            rows.append(json.dumps(row))
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows))
    return tmp_path


@pytest.mark.parametrize("name", PAPER)
def test_plan_counts_the_units_of_the_studies_of_the_paper(
    name: str, benchmarks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(__file__).parents[2] / "studies" / f"{name}.yaml"
    study = read_study(str(path), [f"data_dir={benchmarks}"])
    out = str(benchmarks / "run")
    assert main(["plan", str(path), "--set", f"data_dir={benchmarks}", "--out", out]) == 0
    said = capsys.readouterr().out
    trained = sum(variant.train is not None for variant in study.variants)
    assert (f" {trained} train," in said) == (trained > 0)
    # Base and variants on every task; groups, models, operators and scales of every ablated variant and task.
    assert f" {len(study.tasks) * (1 + len(study.variants))} samples," in said
    ablate = study.ablate
    nulls = sum(bool(missing_signal(variant.model_dump())) for variant in study.variants)
    ablated = 1 if name == "qwen3-think" else len(study.variants) - nulls
    ways = len(ablate.generated) + len(ablate.generated_scales)
    verdicts = ablated * len(ablate.heads) * len(ablate.on) * ways * len(study.ablate_tasks)
    assert f" {verdicts} verdict," in said


def test_the_studies_of_the_paper_have_its_settings() -> None:
    studies = {name: read_study(str(Path(__file__).parents[2] / "studies" / f"{name}.yaml")) for name in PAPER}
    rates = {}
    for name, study in studies.items():
        for variant in study.variants:
            if isinstance(variant.train, GrpoTraining) and variant.train.dataset == "openr1-math":
                rates[name, variant.name] = variant.train.learning_rate
                assert "<think>\n...\n</think>" in (variant.chat.system or "")
    of_recipes = {
        ("qwen2.5-math-7b", "grpo"): 1e-6,
        ("qwen2.5-math-openr1", "grpo"): 1e-6,
        ("qwen2.5-math-openr1", "grpo-fast"): 2e-5,
        ("llama-3.2", "grpo"): 2e-7,
    }
    twins = {(study, f"{name}.permuted_rewards"): rate for (study, name), rate in of_recipes.items()}
    assert rates == of_recipes | twins
    methods = {
        name: [variant.method for variant in study.variants if variant.method] for name, study in studies.items()
    }
    assert [name for name, given in methods.items() if given == ["distill"]] == [PAPER[0], PAPER[1], "llama-3.1"]
    think = studies["qwen3-think"]
    assert (think.eval.top_k, think.eval.min_p, think.ablate.samples) == (20, 0, 64)
    assert (think.ablate.heads, think.ablate.generated_scales) == (("think-off-only",), (0.5,))


def test_every_builtin_study_is_valid() -> None:
    assert "lab" in builtin_studies()
    for name in builtin_studies():
        assert read_study(name).tasks


def test_a_study_from_the_command_line() -> None:
    study = adhoc_study("some/base", ["some/post"], ["aime24"], ["eval.samples=2"])
    assert study.name == "base-post"
    assert [variant.name for variant in study.variants] == ["post"]
    assert study.eval.ks == (1, 2)
    with pytest.raises(InputError, match="at least one --task"):
        adhoc_study("some/base", [], [])


def test_models_of_one_name_are_told_apart_by_their_folders() -> None:
    study = adhoc_study("m", ["runs/a/checkpoint-9", "runs/b/checkpoint-9"], ["aime24"])
    assert [variant.name for variant in study.variants] == ["a-checkpoint-9", "b-checkpoint-9"]
    assert [variant.name for variant in adhoc_study("m", ["x/base"], ["aime24"]).variants] == ["x-base"]


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("discover.rule=left", "rule left needs a number of nodes"),
        ("discover.method=eap", "where that of metric kl is 0; take metric: nll, or method: eap-ig"),
        ("discover.sizes=[]", "discover.sizes: it needs 1, has 0"),
        ("discover.sizes=[0.5]", r"sizes begin at 0\.5, and a circuit is chosen among those up to 0\.2"),
        ("discover.edges=0", "edges"),
    ],
)
def test_what_could_only_fail_later_is_refused_at_once(key: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_study("lab", [key])


def test_a_circuit_has_one_size() -> None:
    with pytest.raises(InputError, match="fraction and edges both say how large a circuit is"):
        read_study("lab", ["discover.edges=100", "discover.fraction=0.1"])
    assert read_study("lab", ["discover.edges=5000"]).discover.edges == 5000


def test_the_papers_circuits_are_a_preset_and_keys_next_to_it_win() -> None:
    paper = read_study("lab", ["discover={preset: paper}"]).discover
    assert (paper.rule, paper.nodes, paper.edges, paper.tau, paper.metric) == ("right", 100, 5000, 0.1, "kl")
    assert (paper.positions, paper.method, paper.fraction) == ("last", "eap-ig", None)
    own = read_study("lab", ["discover={preset: paper, nodes: 20, tau: 0, fraction: 0.02}"]).discover
    assert (own.rule, own.nodes, own.edges, own.tau, own.fraction) == ("right", 20, None, 0, 0.02)
    with pytest.raises(InputError, match=r"discover.preset is 'papr'; it should be 'paper'"):
        read_study("lab", ["discover={preset: papr}"])
    with pytest.raises(InputError, match="rule right needs a number of nodes"):
        read_study("lab", ["discover={preset: paper, nodes: adaptive}"])


def test_tau_is_in_the_comparison_of_studies_that_name_it() -> None:
    nothing = RunDirectory(Path("nowhere"))
    plain, strict = (plan(read_study("lab", settings), nothing, "compare") for settings in ([], ["discover.tau=0.1"]))
    assert not any("tau" in unit.settings for unit in plain)
    compared = [unit for unit in strict if unit.kind in ("comparison", "effects")]
    assert [unit.settings["tau"] for unit in compared] == [0.1] * len(compared)
    assert all(type(unit.config).model_validate(unit.settings).resampling(0.1).tau == 0.1 for unit in compared)
    scored = [{unit.address for unit in units if unit.kind == "scores"} for units in (plain, strict)]
    assert scored[0] == scored[1]


def test_a_task_that_is_none_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InputError, match=r"task 'nosuch' is no known task and no file .*aime24.*lab-t1"):
        task("nosuch")


BOMB = "b0: &b0 {x: 1}\n" + "".join(f"b{n}: &b{n} {{<<: [*b{n - 1}, *b{n - 1}]}}\n" for n in range(1, 24))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BOMB, "aliases make more than 10,000 values of it"),
        ("a: &a [*a]\n", "aliases make more than 10,000 values of it"),
        ("a: 1\n" * 6_000_000, "has 30,000,000 characters; a study has at most 100,000"),
        ("[" * 90_000, "a study has at most 30 levels"),
        ("seed: " + "9" * 5000, "holds a number or date that cannot be read"),
        ("seed: 2026-13-45", "holds a number or date that cannot be read"),
    ],
    ids=["merges", "itself", "large", "deep", "digits", "date"],
)
def test_yaml_that_grows_without_end_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_study(text, "s.yaml", Path())


def test_all_errors_are_told_at_once() -> None:
    text = """
name: x y
seed: -1
base: {model: lab-m, dtyp: float32}
variants:
  - {name: a, model: lab-m, chat: {sytem: x}}
  - {name: b, train: {preset: lab-sfd, dataset: lab-traces}}
  - {name: c, train: {method: sft, dataset: {fil: x, kind: maths}, epochs: 0}}
tasks: [lab-t1, {file: x.jsonl, kind: maths, answr: y}]
discover: {contrast: {file: x, clan: y}}
evil: {}
"""
    with pytest.raises(ManyInputsError) as refusal:
        read(text)
    assert [sentence.removeprefix("s.yaml: ") for sentence in refusal.value.sentences] == [
        "training preset 'lab-sfd' does not exist (did you mean 'lab-sft'?)",
        "name is 'x y'; it should match pattern '^[A-Za-z0-9][A-Za-z0-9._-]*$'",
        "seed is -1; it should be greater than or equal to 0",
        "base.dtyp is not a key of a study (did you mean 'dtype'?)",
        "variants[0].chat.sytem is not a key of a study (did you mean 'system'?)",
        "variants[2].train.epochs is 0; it should be greater than 0",
        "variants[2].train.dataset.kind is 'maths'; it should be 'math', 'number', 'choice', 'alias' or 'exact'",
        "variants[2].train.dataset.fil is not a key of a study (did you mean 'file'?)",
        "tasks[1].kind is 'maths'; it should be 'math', 'number', 'choice', 'alias' or 'exact'",
        "tasks[1].answr is not a key of a study (did you mean 'answer'?)",
        "discover.contrast.clan is not a key of a study (did you mean 'clean'?)",
        "evil is not a key of a study (did you mean 'eval'?)",
    ]


def test_one_error_is_one_sentence() -> None:
    with pytest.raises(InputError, match=r"^s\.yaml: seed is -1; it should be greater than or equal to 0$"):
        read(GOOD, "seed=-1")


# The demo must be done in minutes, and of the teacher nothing is asked but its answers.
WITHOUT_TWINS = ("lab", "lab-teacher")


@pytest.mark.parametrize("name", [name for name in builtin_studies() if name not in WITHOUT_TWINS])
def test_every_recipe_that_is_trained_here_has_a_null_twin(name: str) -> None:
    variants = variants_by_name(read_study(name).model_dump(mode="json"))
    lacking = [
        recipe for recipe in seeds_of(variants) if variants[recipe]["train"] and not null_twins(recipe, variants)
    ]
    assert lacking == []
