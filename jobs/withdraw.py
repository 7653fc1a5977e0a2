"""Take a delivery back: the next run is as if it had never come."""

import logging
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.command import (
    DEFAULT_CONF_DIR,
    ConfDir,
    Env,
    JsonLines,
    MappingsDir,
    Overrides,
    new_app,
    said,
    settings_of,
    start,
)
from jobs.deliveries import landed_named, place_named
from pipelines.errors import DeliveryError
from pipelines.run_lock import run_lock
from pipelines.settings import Settings, storage_paths

if TYPE_CHECKING:
    from pipelines.ingest.delivery_log import Withdrawn
    from pipelines.ingest.landing import DeliveryName

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def withdraw(
    delivery: Annotated[str, typer.Argument(metavar="SOURCE/PROVIDER/FOLDER", help="As nhs-omop deliveries shows it.")],
    why: Annotated[str, typer.Option("--why", help="The reason; kept with the withdrawal. Name nobody in it.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take the withdrawal back: the next run may load it again.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Take a delivery back: the next run is as if it had never come.

    Its rows leave every table, and what it replaced counts again. It may stay in the landing folder: no run takes it again.
    A corrected delivery may come in the same folder. Releases that were made before keep their rows until they are removed.
    """
    from pipelines.ingest.delivery_log import store_withdrawal, undo_withdrawal

    settings = settings_of(env, conf_dir, overrides, mappings_dir, reads_restricted=True)
    place = place_named(delivery)
    if undo:
        with run_lock(settings.storage.restricted, "withdraw"):
            undo_withdrawal(settings.storage.restricted, place)
        log.info(f"{place} is no longer withdrawn; the next run loads it, if it is in the landing folder")
        return
    why = said(why, "a withdrawal needs a reason", "--why", DeliveryError)
    with run_lock(settings.storage.restricted, "withdraw"):
        entry = _withdrawal(settings, place, why)
        store_withdrawal(settings.storage.restricted, entry)
    log.info(f"{place} is withdrawn; the next run leaves it out", extra={"rows": entry.rows})


def _withdrawal(settings: Settings, place: "DeliveryName", why: str) -> "Withdrawn":
    """The withdrawal of a delivery that was loaded or is in the landing folder. Raises DeliveryError if there is none."""
    from pipelines.ingest.delivery_log import Withdrawn
    from pipelines.run_context import read_register

    files = [file for file in read_register(storage_paths(settings)) if (file.source, file.provider, file.folder) == place]
    if files:
        return Withdrawn.of_loaded(files, why, date.today())
    try:
        return Withdrawn.of_landed(landed_named(settings, place), why, date.today())
    except DeliveryError as error:
        raise DeliveryError(f"{place} has not been loaded and cannot be withdrawn: {error}") from error


if __name__ == "__main__":
    start(app)
