"""Writes a report to a file that those may read who may see it."""

from pathlib import Path

from pipelines.errors import RightsError
from pipelines.release.report.sections import Edition
from pipelines.storage.files import AnyPath, is_inside, write_whole

_FOR_THE_OWNER, _FOR_ALL = 0o600, 0o644


def write_report(path: Path, text: str, edition: Edition, deidentified: AnyPath) -> None:
    """Replace a file as a whole. The full edition is for the account that runs the load only.

    Raises RightsError for a full edition below the de-identified root: who reads there need not have rights to small numbers.
    """
    if edition is Edition.FULL and is_inside(path, deidentified):
        raise RightsError(
            f"{path} is below the de-identified root, and the full edition has small numbers; nothing was written. "
            "Write it below the restricted root, or give --edition suppressed"
        )
    write_whole(path, text.encode(), _FOR_THE_OWNER if edition is Edition.FULL else _FOR_ALL)
