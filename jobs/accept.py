"""Accept a delivery that is set aside because it differs from what its provider sent before."""

import logging
from datetime import date
from typing import Annotated

import typer

from jobs.command import (
    DEFAULT_CONF_DIR,
    ConfDir,
    Env,
    JsonLines,
    MappingsDir,
    Overrides,
    new_app,
    settings_of,
    start,
)
from jobs.deliveries import landed_named, place_named
from pipelines.errors import DeliveryError
from pipelines.run_lock import run_lock
from pipelines.settings import storage_paths

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def accept(
    delivery: Annotated[str, typer.Argument(metavar="SOURCE/PROVIDER/FOLDER", help="As nhs-omop deliveries shows it.")],
    why: Annotated[str, typer.Option("--why", help="The reason; kept with the delivery. Name nobody in it.")] = "",
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Accept a delivery that is set aside because it differs from what its provider sent before.

    The next run loads it, and later deliveries are compared with it. Another fault still sets it aside: only the limits in
    `deliveries` are lifted, for this delivery as it is now.
    """
    from pipelines.ingest.delivery_log import read_withdrawn, store_acceptance
    from pipelines.ingest.taking_back import without_deliveries
    from pipelines.run_context import read_register

    settings = settings_of(env, conf_dir, overrides, mappings_dir)
    place = place_named(delivery)
    if not why.strip():
        raise DeliveryError("to accept a delivery needs a reason: --why TEXT")
    try:
        withdrawn = {entry.delivery_id for entry in read_withdrawn(settings.storage.restricted)}
        register = without_deliveries(read_register(storage_paths(settings)), withdrawn).register
        if any((file.source, file.provider, file.folder) == place for file in register):
            raise DeliveryError("a delivery was loaded from this folder already")
        found = landed_named(settings, place)
        if found.delivery_id in withdrawn:
            raise DeliveryError(f"it is withdrawn; nhs-omop withdraw {place} --undo takes that back")
    except DeliveryError as error:
        raise DeliveryError(f"{place} cannot be accepted: {error}") from error
    with run_lock(settings.storage.restricted, "accept"):
        store_acceptance(settings.storage.restricted, found, why.strip(), date.today())
    log.info(f"{place} is accepted; the next run loads it", extra={"rows": found.rows})


if __name__ == "__main__":
    start(app)
