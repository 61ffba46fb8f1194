"""Options that belong together: typer sees them one by one, the command gets the group."""

import inspect
from dataclasses import dataclass
from typing import Annotated

import pytest
import typer

from headscope.cli.option_groups import flatten_groups
from headscope.cli.options import Json


@dataclass(frozen=True)
class Sizes:
    width: Annotated[int, typer.Option("--width")] = 2
    depth: Annotated[int, typer.Option("--depth")] = 3


def command(json: Json = False, *, sizes: Sizes, name: str = "x") -> int:
    """Multiply."""
    assert (json, name) == (False, "x")
    return sizes.width * sizes.depth


@pytest.mark.parametrize(
    ("arguments", "product"), [([], 6), (["--width", "5"], 15), (["--width", "5", "--depth", "7"], 35)]
)
def test_a_group_gets_its_options_and_defaults(arguments: list[str], product: int) -> None:
    app = typer.Typer()
    app.command()(flatten_groups(command))
    assert app(args=arguments, standalone_mode=False) == product


def test_options_come_in_the_commands_order_and_one_can_be_left_out() -> None:
    flat = flatten_groups(command)
    assert flat.__doc__ == "Multiply."
    assert [*inspect.signature(flat).parameters] == ["json", "width", "depth", "name"]
    shorter = flatten_groups(command, without=["depth"])
    assert [*inspect.signature(shorter).parameters] == ["json", "width", "name"]
    assert shorter(json=False, width=4, name="x") == 12
