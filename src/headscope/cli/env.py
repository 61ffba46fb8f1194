"""``env``: versions and hardware, for a bug report."""

import typer

from headscope.cli.options import Json, print_json
from headscope.cli.terminal import say


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("env")(env_command)


def env_command(json: Json = False) -> int:
    """Print versions, commit and hardware."""
    import torch  # noqa: F401 - so that accelerators are seen

    from headscope.runs import provenance
    from headscope.runs.supported import check_versions

    facts = {
        "versions": provenance.versions(),
        "source": provenance.commit(),
        "hardware": provenance.hardware(),
    }
    if json:
        print_json(facts)
    else:
        for section in facts.values():
            for name, value in section.items():
                say(f"{name:<14} {value}")
    check_versions()  # last: a report about a version that is refused needs the versions too
    return 0
