"""What all commands share: their common options, and how an error becomes a message and an exit code."""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from jobs.console import console
from pipelines.errors import USER_ERRORS
from pipelines.settings import PACKAGED_CONF_DIR, Settings, load_settings

UNEXPECTED_EXIT_CODE = 70

TRACEBACK_VARIABLE = "NHS_OMOP_TRACEBACK"

_HIGHEST_FRAMES = 12
_WITHOUT_VALUES = (ImportError, NameError, AttributeError)


def _use_json(value: bool) -> bool:
    console.json_lines = value
    return value


Env = Annotated[str, typer.Option("--env", envvar="NHS_OMOP_ENV", help="Environment: the file <env>.yaml of the conf folder.")]
ConfDir = Annotated[Path, typer.Option("--conf-dir", envvar="NHS_OMOP_CONF_DIR", help="Folder of base.yaml and <env>.yaml.")]
MappingsDir = Annotated[
    Path | None, typer.Option("--mappings-dir", help="Folder of contracts and mappings, in place of the packaged ones.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; may be repeated.")
]
JsonLines = Annotated[
    bool, typer.Option("--json", callback=_use_json, is_eager=True, help="Write messages and results as JSON lines.")
]

DEFAULT_ENV = "demo"
DEFAULT_CONF_DIR = PACKAGED_CONF_DIR


def settings_of(env: str, conf_dir: Path, overrides: list[str] | None, mappings_dir: Path | None = None) -> Settings:
    """The settings that the common options ask for. Raises ConfigError with every fault at once."""
    changes = list(overrides or ())
    if mappings_dir is not None:
        changes.append(f"mappings_dir={mappings_dir}")
    return load_settings(env, conf_dir, changes)


def new_app(help_text: str | None = None) -> typer.Typer:
    """A command, or with `help_text` a group of commands, that leaves errors to `start`."""
    return typer.Typer(
        help=help_text, no_args_is_help=help_text is not None, add_completion=False, pretty_exceptions_enable=False
    )


def start(app: typer.Typer, arguments: Sequence[str] | None = None, program: str | None = None) -> NoReturn:
    """Run a command to its exit code, with the arguments of the process unless others are given.

    An error that users can meet is shown as its message. Of any other error its class and place are shown but not its
    message: engines put the values of rows into theirs. With NHS_OMOP_TRACEBACK set it is raised as it is: for developers,
    on generated extracts.
    """
    try:
        typer.main.get_command(app)(args=arguments, prog_name=program)
    except USER_ERRORS as error:
        console.error(str(error), error=type(error).__name__, exit_code=error.exit_code)
        sys.exit(error.exit_code)
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE):
            raise
        frames = traceback.extract_tb(error.__traceback__)[-_HIGHEST_FRAMES:]
        places = "\n".join(f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
        what = str(error) if isinstance(error, _WITHOUT_VALUES) else "its message may hold values of rows and is left out"
        console.error(f"unexpected {type(error).__name__}: {what}\n{places}")
        sys.exit(UNEXPECTED_EXIT_CODE)
    sys.exit(0)
