"""Load a vocabulary: an Athena download, or the packaged demonstration."""

import sys
from pathlib import Path
from typing import Annotated

import typer

if not __package__:  # started as a script: the project's folder takes the place of this one
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from jobs.command import DEFAULT_CONF_DIR, DEFAULT_ENV, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.console import console
from jobs.settings import Settings
from jobs.steps.vocabulary import load

app = new_app("Load and compare vocabularies.")


@app.callback()
def _group() -> None:
    """Load and compare vocabularies."""


@app.command("load")
def load_command(
    download: Annotated[
        Path | None,
        typer.Argument(help="Folder or zip of an Athena download. Unless given, the configured one, else the demonstration."),
    ] = None,
    env: Env = DEFAULT_ENV,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Load a vocabulary in Athena's file format, with the concepts of this project added.

    The download is checked as a whole first. Loading the one that is loaded changes nothing.
    """
    settings: Settings = settings_of(env, conf_dir, overrides)
    loaded = load(settings, download)
    for warning in loaded.warnings:
        console.warning(warning)
    console.table("vocabulary", [{"release": loaded.release, "vocabularies": len(loaded.vocabularies), "new": loaded.is_new}])


if __name__ == "__main__":
    start(app)
