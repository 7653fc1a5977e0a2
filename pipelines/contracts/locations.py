"""Files and folders that settings name: paths of this machine, which driver and executors can open, never URIs."""

import os
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator

NO_URI: Final = "expected a path that driver and executors can open, such as /Volumes/...; not a URI"


def looks_like_uri(text: str) -> bool:
    """Whether a text begins with a scheme; a path of Windows, with one letter, does not."""
    return ":/" in text[2:]


def absolute(location: Path) -> Path:
    """The path made absolute, from the folder that the process was started in. Raises ValueError for a URI."""
    if looks_like_uri(str(location)):
        raise ValueError(NO_URI)
    return location.absolute()


def _there(folder: Path) -> Path:
    if not os.access(f"{folder}/.", os.R_OK | os.X_OK):  # with the dot no file is taken for a folder
        raise ValueError(f"there is no folder {folder} that can be read; make it, or correct the path")
    return folder


Location = Annotated[Path, AfterValidator(absolute)]
"""A path, of something that may be made later."""

Folder = Annotated[Location, AfterValidator(_there)]
"""A folder that has to be there once somebody names it: without it nothing would be read, and nothing said."""
