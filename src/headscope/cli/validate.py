"""``validate``: read a study and check everything that can be checked without loading a model."""

import typer

from headscope.cli.options import (
    Base,
    Json,
    Posts,
    Settings,
    StudyArgument,
    Tasks,
    chosen_study,
    print_json,
    run_folder,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("validate")(validate_command)


def validate_command(
    study: StudyArgument = "lab",
    settings: Settings = None,
    base: Base = None,
    post: Posts = None,
    task: Tasks = None,
    resolve: bool = typer.Option(False, "--resolve", help="Also look for models, checkpoints and tasks, and at golds."),
    json: Json = False,
) -> int:
    """Check a study: keys, values, and with --resolve that what it names is there and its gold answers can be read."""
    from headscope.named_models import title
    from headscope.studies.reading import study_file
    from headscope.studies.stages import model_path

    chosen = chosen_study(study, settings, base, post, task)
    if resolve:
        from headscope.evaluation.golds import check_golds
        from headscope.runs import RunDirectory
        from headscope.studies import sources
        from headscope.studies.plan import plan
        from headscope.studies.stages import check_there

        check_there(chosen)
        plan(chosen, RunDirectory(run_folder(chosen.name, None)))
        for ref, problems in chosen.asked:
            check_golds(sources.task(ref, chosen.data_dir).first(problems))
    if json:
        print_json({"valid": True, "study": chosen.model_dump(mode="json")})
    else:
        variants = ", ".join(variant.name for variant in chosen.variants) or "none"
        base_name = title(model_path(chosen.base.model)) if resolve else chosen.base.model
        print(f"study {chosen.name} is valid: base {base_name}, variants {variants}, {len(chosen.tasks)} tasks")
        print(run_folder(chosen.name, None) if base else study_file(study))
    return 0
