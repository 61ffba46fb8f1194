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
Into = Annotated[Path | None, typer.Option("--out", help="Folder of the model, new or empty; or file of the circuit.")]
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
Variant = Annotated[str | None, typer.Option(help="--circuit: whose circuit.")]
Form = Annotated[str | None, typer.Option("--as", help="--circuit: eap-json, dot, graphml or neuronpedia.")]
Step = Annotated[int | None, typer.Option(help="--circuit: of this checkpoint; the last by default, 0 is the base.")]
Fraction = Annotated[
    float | None, typer.Option(help="--circuit: share of the edges in it; that of the head counts by default.")
]


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
class CircuitOptions:
    """Options of ``--circuit``; None for one that was not given."""

    variant: Variant = None
    as_: Form = None
    step: Step = None
    fraction: Fraction = None


def export_command(
    edited: Edited = None,
    circuit: Circuit = None,
    out: Into = None,
    *,
    edit: EditOptions,
    graph: CircuitOptions,
    json: Json = False,
) -> int:
    """Write a model with heads removed, scaled, replaced by constants or reverted, as a checkpoint that any engine can
    serve (--edited); or a circuit of a run, as a file that graph programs read (--circuit)."""
    if (edited is None) == (circuit is None):
        both = "both --edited and --circuit" if edited else "neither --edited nor --circuit"
        raise InputError(f"found {both}; give --edited MODEL for a checkpoint, or --circuit RUN for a graph")
    if out is None:
        content = "the checkpoint, new or empty" if edited else "the circuit"
        raise InputError(f"found no --out; give {'a folder' if edited else 'a file'} for {content}")
    if edited is not None:
        _refuse(graph, "--circuit", "--edited")
        return _export_edited(edited, out, edit, json)
    _refuse(edit, "--edited", "--circuit")
    assert circuit is not None
    return _export_circuit(circuit, out, graph, json)


def _refuse(options: EditOptions | CircuitOptions, theirs: str, given: str) -> None:
    """Raise InputError if an option of the other export was given."""
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


def _export_circuit(path: str, out: Path, options: CircuitOptions, json: bool) -> int:
    from headscope.results.graph_formats import FORMATS
    from headscope.runs import RunDirectory
    from headscope.studies.circuit_export import export_circuit

    variant = _require(options.variant, "--variant", "--circuit", "the name of a variant of the run")
    form = _require(options.as_, "--as", "--circuit", f"one of {', '.join(FORMATS)}")
    run = RunDirectory.open(path)
    export = export_circuit(run, variant, form, out, step=options.step, fraction=options.fraction)
    if json:
        print_json(export)
    else:
        for sentence in _describe_circuit(export):
            say(sentence)
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
