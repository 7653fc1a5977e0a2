"""Copy the packaged contracts, mappings and code maps to a folder of your own, to be changed there."""

import logging
import shutil
from pathlib import Path
from typing import Annotated

import typer

from jobs.command import JsonLines, new_app, start
from pipelines.errors import ConfigError
from pipelines.settings import PACKAGED_MAPPINGS_DIR

log = logging.getLogger(__name__)

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
    log.info("copied the mappings; name the folder in the setting mappings_dir", extra={"files": files, "folder": str(folder)})


if __name__ == "__main__":
    start(app)
