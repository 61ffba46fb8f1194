"""``validate``: read a study and check everything that can be checked without loading a model's weights."""

from typing import TYPE_CHECKING

import typer

from headscope.cli.option_groups import StudyOptions, flatten_groups
from headscope.cli.options import (
    Json,
    print_json,
    run_folder,
)
from headscope.cli.terminal import say, say_text
from headscope.errors import count_noun

if TYPE_CHECKING:
    from headscope.studies.study_file.study import Study


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("validate")(flatten_groups(validate_command))


def validate_command(
    study: StudyOptions,
    resolve: bool = typer.Option(
        False,
        "--resolve",
        help="Also open tokenizers, checkpoints and data; show what is trained on.",
    ),
    json: Json = False,
) -> int:
    """Check a study: keys, values, and with --resolve that what it names is there and can be used."""
    from headscope.model_files.named_models import model_title
    from headscope.studies.claim_facts import gap_lines, gaps_json, study_gaps
    from headscope.studies.data.sources import check_known
    from headscope.studies.models.files import model_path
    from headscope.studies.reading import study_file
    from headscope.studies.run import check_executor
    from headscope.studies.trackers import check_tracker

    chosen = study.read()
    check_tracker(chosen.report_to)
    check_executor(chosen)
    for ref, _ in chosen.checked_tasks:
        check_known(ref)
    first_rows, warnings = _resolve(chosen) if resolve else ({}, [])
    gaps = study_gaps(chosen) if chosen.variants else {}
    if json:
        study_json = chosen.model_dump(mode="json")
        checks = {"warnings": warnings, "trained_on": first_rows, "claims": gaps_json(gaps)}
        print_json({"valid": True, "study": study_json} | checks)
    else:
        for name, text in first_rows.items():
            say(f"the first row {name} is trained on:")
            say_text(text)
        for warning in warnings:
            say(f"warning: {warning}")
        for line in gap_lines(gaps):
            say(line)
        variants = ", ".join(variant.name for variant in chosen.variants) or "none"
        base_name = model_title(model_path(chosen.base.model)) if resolve else chosen.base.model
        tasks = count_noun(len(chosen.tasks), "task")
        say(f"study {chosen.name} is valid: base {base_name}, variants {variants}, {tasks}")
        say(run_folder(chosen.name, None) if study.base else study_file(study.study))
    return 0


def _resolve(study: "Study") -> tuple[dict[str, str], list[str]]:
    """Open all that a study names; return the first row that each variant is trained on, and warnings."""
    from headscope.runs import RunDirectory
    from headscope.studies.models.study_stages import check_there
    from headscope.studies.plan import plan
    from headscope.studies.preflight import check_and_read_first_rows, find_other_bases, find_small_counts

    check_there(study)
    run = RunDirectory(run_folder(study.name, None))
    plan(study, run)
    return check_and_read_first_rows(study, run), [*find_other_bases(study, run), *find_small_counts(study)]
