"""``export``: write something headscope made in a form that other programs read."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from headscope.cli.option_groups import flatten_groups
from headscope.cli.options import Json, print_json
from headscope.cli.terminal import say
from headscope.errors import InputError

Edited = Annotated[
    str | None, typer.Option("--edited", help="Export an edited copy of this model: folder, hub id, built-in.")
]
Circuit = Annotated[
    str | None, typer.Option("--circuit", help="Export a circuit of this run directory, also s3://…, https://….")
]
Answers = Annotated[
    str | None, typer.Option("--answers", help="Export a model's answers in this run directory as records for SFT.")
]
Into = Annotated[
    Path | None, typer.Option("--out", help="Folder of the model, new or empty; file of the circuit or the records.")
]
Heads = Annotated[str | None, typer.Option(help="--edited: heads to edit, 'L3H5 L4H1', or with commas.")]
OperatorOption = Annotated[
    str | None,
    typer.Option("--operator", help="--edited: what a head does instead: zero (the default), mean, optimal, revert."),
]
Alpha = Annotated[float | None, typer.Option(help="--edited: multiply what the heads write by this instead.")]
Reference = Annotated[Path | None, typer.Option(help="--edited: for mean and optimal, a text file, one text per line.")]
Base = Annotated[str | None, typer.Option(help="--edited: for revert, the model whose weights the heads take.")]
Kv = Annotated[
    str | None,
    typer.Option(help="--edited: for revert, shared keys and values go along if all (the default) or any heads do."),
]
DtypeOption = Annotated[
    str | None, typer.Option("--dtype", help="--edited: float32 (the default), bfloat16 or float16.")
]
Variant = Annotated[str | None, typer.Option(help="--circuit, --answers: whose; of answers also base.")]
Form = Annotated[str | None, typer.Option("--as", help="--circuit: eap-json, dot, graphml or neuronpedia.")]
Step = Annotated[
    int | None, typer.Option(help="--circuit, --answers: of this checkpoint; the last by default, 0 is the base.")
]
Fraction = Annotated[
    float | None, typer.Option(help="--circuit: share of the edges in it; that of the head counts by default.")
]
TaskName = Annotated[str | None, typer.Option("--task", help="--answers: to the problems of this task.")]
Every = Annotated[bool | None, typer.Option("--all", help="--answers: wrong and cut ones too, not only the correct.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(flatten_groups(export_command))


@dataclass(frozen=True)
class EditOptions:
    """Options of ``--edited``; None for one that was not given."""

    heads: Heads = None
    operator: OperatorOption = None
    alpha: Alpha = None
    reference: Reference = None
    base: Base = None
    kv: Kv = None
    dtype: DtypeOption = None


@dataclass(frozen=True)
class ModelOptions:
    """Options of ``--circuit`` and ``--answers``; None for one that was not given."""

    variant: Variant = None
    step: Step = None


@dataclass(frozen=True)
class CircuitOptions:
    """Options of ``--circuit``; None for one that was not given."""

    as_: Form = None
    fraction: Fraction = None


@dataclass(frozen=True)
class AnswerOptions:
    """Options of ``--answers``; None for one that was not given."""

    task: TaskName = None
    all: Every = None


_PLACES = {
    "--edited": "a folder for the checkpoint, new or empty",
    "--circuit": "a file for the circuit",
    "--answers": "a file for the records, .jsonl",
}


def export_command(
    edited: Edited = None,
    circuit: Circuit = None,
    answers: Answers = None,
    out: Into = None,
    *,
    edit: EditOptions,
    model: ModelOptions,
    graph: CircuitOptions,
    records: AnswerOptions,
    json: Json = False,
) -> int:
    """Write a model with heads removed, scaled, replaced by constants or reverted, as a checkpoint that any engine can
    serve (--edited); a circuit of a run, as a file that graph programs read (--circuit); or a model's correct answers
    in a run, as records that another model learns from (--answers)."""
    ways = {"--edited": edited, "--circuit": circuit, "--answers": answers}
    given = [way for way, value in ways.items() if value is not None]
    if len(given) != 1:
        raise InputError(
            f"found {' and '.join(given) or 'none of --edited, --circuit and --answers'}; give one of --edited MODEL "
            "for a checkpoint, --circuit RUN for a graph, --answers RUN for training records"
        )
    for options, theirs in (
        (edit, ("--edited",)),
        (model, ("--circuit", "--answers")),
        (graph, ("--circuit",)),
        (records, ("--answers",)),
    ):
        if given[0] not in theirs:
            _refuse(options, " and ".join(theirs), given[0])
    if out is None:
        raise InputError(f"found no --out; give {_PLACES[given[0]]}")
    if edited is not None:
        return _export_edited(edited, out, edit, json)
    if circuit is not None:
        return _export_circuit(circuit, out, model, graph, json)
    assert answers is not None
    return _export_answers(answers, out, model, records, json)


def _refuse(options: EditOptions | ModelOptions | CircuitOptions | AnswerOptions, theirs: str, given: str) -> None:
    """Raise InputError if an option of another export was given."""
    for name, value in vars(options).items():
        if value is not None:
            raise InputError(f"--{name.rstrip('_')} is an option of {theirs}, and {given} has no use for it")


def _require(value: str | None, option: str, way: str, example: str) -> str:
    """Return an option's text. Raises InputError if it was not given."""
    if not value:
        raise InputError(f"{way} needs {option} too, {example}")
    return value


def _export_edited(model: str, out: Path, options: EditOptions, json: bool) -> int:
    from headscope.studies.checkpoint_edits import choose_edit
    from headscope.studies.export import export_edited

    heads = _require(options.heads, "--heads", "--edited", "as --heads 'L3H5 L4H1'").replace(",", " ").split()
    edit = choose_edit(options.operator, options.alpha, options.reference, options.base, options.kv)
    export = export_edited(model, heads, out, edit, dtype=options.dtype or "float32")
    if json:
        print_json(export)
    else:
        say(f"{export['operator']} on {' '.join(export['heads'])}, saved as {export['architecture']}")
        if "kv" in export:
            say(_describe_kv(export["kv"], export["shared"]))
        say(f"loaded again: logits differ from the hooks' by {export['difference']:.1e} of the largest")
        say(export["open"])
    return 0


def _export_circuit(path: str, out: Path, model: ModelOptions, options: CircuitOptions, json: bool) -> int:
    from headscope.results.graph_formats import FORMATS
    from headscope.runs import RunDirectory
    from headscope.studies.circuit_export import export_circuit

    variant = _require(model.variant, "--variant", "--circuit", "the name of a variant of the run")
    form = _require(options.as_, "--as", "--circuit", f"one of {', '.join(FORMATS)}")
    run = RunDirectory.open(path)
    export = export_circuit(run, variant, form, out, step=model.step, fraction=options.fraction)
    if json:
        print_json(export)
    else:
        for sentence in _describe_circuit(export):
            say(sentence)
        say(export["open"])
    return 0


def _export_answers(path: str, out: Path, model: ModelOptions, options: AnswerOptions, json: bool) -> int:
    from headscope.runs import RunDirectory
    from headscope.studies.answers.sft_records import export_answers

    variant = _require(model.variant, "--variant", "--answers", "the name of a variant of the run, or base")
    task = _require(options.task, "--task", "--answers", "the name of a task of the run")
    export = export_answers(RunDirectory.open(path), variant, task, out, step=model.step, correct=not options.all)
    if json:
        print_json(export)
    else:
        count = f"{export['records']} of {export['answers']} answers" + ("" if options.all else " are correct")
        answered = f"to {export['answered']} of {export['problems']} problems; {export['different']} different ones"
        say(f"{export['model']} on {export['task']}: {count}, {answered}")
        if export["unreadable"]:
            say(f"left out: {export['unreadable']} that the model's tokenizer has no tokens for when read as text")
        say(export["open"])
    return 0


def _describe_circuit(export: Mapping[str, Any]) -> list[str]:
    """Return sentences on what a circuit's file holds."""
    size = f"{export['edges']:,} of the graph's {export['of']:,} edges ({export['share']:.2%})"
    sentences = [f"{export['circuit']}: {size}, {export['heads']} of {export['of_heads']} heads"]
    if "base_edges" in export and export["as"] in ("dot", "graphml"):  # the others have one model's circuit
        statuses = ", ".join(f"{export[name]:,} {name}" for name in ("kept", "born", "lost"))
        sentences.append(f"next to the {export['base_edges']:,} edges of the base's: {statuses}")
    edges = f"of the {export['fraction']:.2%} strongest edges"
    if export["tau"]:
        edges += f", also those below τ = {export['tau']:g}, which are not in the file"
    if "faithfulness" in export:
        interval = f"{export['faithfulness']:.2f} [{export['low']:.2f}, {export['high']:.2f}]"
        sentences.append(f"faithfulness {edges}: {interval}, n = {export['problems']} problems")
    else:
        sentences.append(f"faithfulness {edges}: not measured")
    return sentences


def _describe_kv(rule: str, shared: list[str]) -> str:
    """Return a sentence on the keys and values that heads share."""
    if rule == "all":
        return "keys and values that heads share: reverted if all of a group is, else left (--kv all)"
    others = f"; {' '.join(shared)} read them too" if shared else ""
    return f"keys and values that heads share: reverted with any of a group (--kv any){others}"
