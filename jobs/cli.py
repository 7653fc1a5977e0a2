"""The command `nhs-omop`: every command module of this folder as a subcommand.

A command is found by its file and described by the first line of its docstring, so that `--help` imports none of them.
"""

import ast
import sys
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from jobs.command import new_app, start
from pipelines import __version__

_FOLDER = Path(__file__).resolve().parent


def command_modules() -> dict[str, str]:
    """The module of each command by its name, in alphabetical order: every module here that assigns `app`."""
    stems = sorted(path.stem for path in _FOLDER.glob("*.py") if "app" in _names_assigned_in(path))
    return {stem.replace("_", "-"): f"jobs.{stem}" for stem in stems}


def summary_of(module: str) -> str:
    """The first line of a command module's docstring, read without importing it."""
    return (ast.get_docstring(_parsed(_FOLDER / f"{module.rpartition('.')[2]}.py")) or "").partition("\n")[0]


def _names_assigned_in(path: Path) -> set[str]:
    targets = [target for node in _parsed(path).body if isinstance(node, ast.Assign) for target in node.targets]
    return {target.id for target in targets if isinstance(target, ast.Name)}


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"nhs-omop {__version__}")
        raise typer.Exit


def _overview() -> typer.Typer:
    """The list of commands: what `--help` and a misspelt command show."""
    app = new_app("NHS extracts to an OMOP CDM that researchers can trust.")

    @app.callback()
    def _options(version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True)] = False) -> None:
        """NHS extracts to an OMOP CDM that researchers can trust."""

    for name, module in command_modules().items():
        app.command(name, help=summary_of(module))(lambda: None)
    return app


def main() -> None:
    """Run `nhs-omop COMMAND ...`."""
    modules = command_modules()
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in modules:
        start(import_module(modules[name]).app, sys.argv[2:], program=f"nhs-omop {name}")
    start(_overview(), sys.argv[1:], program="nhs-omop")


if __name__ == "__main__":
    main()
