"""Writes a report to a file that those may read who may see it."""

import os
import tempfile
from pathlib import Path

from pipelines.errors import RightsError
from pipelines.release.report.sections import Edition

_FOR_THE_OWNER, _FOR_ALL = 0o600, 0o644


def write_report(path: Path, text: str, edition: Edition, deidentified: Path) -> None:
    """Replace a file as a whole. The full edition is for the account that runs the load only.

    Raises RightsError for a full edition below the de-identified root: who reads there need not have rights to small numbers.
    """
    if edition is Edition.FULL and path.resolve().is_relative_to(deidentified.resolve()):
        raise RightsError(
            f"{path} is below the de-identified root, and the full edition has small numbers; nothing was written. "
            "Write it below the restricted root, or give --edition suppressed"
        )
    descriptor, unfinished = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(unfinished).chmod(_FOR_THE_OWNER if edition is Edition.FULL else _FOR_ALL)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise
