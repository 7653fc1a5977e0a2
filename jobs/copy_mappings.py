"""Copy the packaged contracts, mappings and code maps to a folder of your own, to be changed there."""

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

if not __package__:  # started as a script: the project's folder takes the place of this one
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from jobs.command import JsonLines, new_app, start
from jobs.console import console
from pipelines.errors import ConfigError
from pipelines.settings import PACKAGED_MAPPINGS_DIR

app = new_app()


@app.command()
def copy_mappings(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make; one that is there is never changed.")],
    json_lines: JsonLines = False,
) -> None:
    """Copy the packaged contracts, mappings and code maps to a folder of your own, to be changed there.

    The setting `mappings_dir`, or --mappings-dir, names the folder from then on.
    """
    if folder.exists():
        raise ConfigError(f"{folder} is there already; nothing was copied")
    shutil.copytree(PACKAGED_MAPPINGS_DIR, folder, ignore=shutil.ignore_patterns("__pycache__"))
    files = sum(path.is_file() for path in folder.rglob("*"))
    console.info("copied the mappings; name the folder in the setting mappings_dir", files=files, folder=str(folder))


if __name__ == "__main__":
    start(app)
