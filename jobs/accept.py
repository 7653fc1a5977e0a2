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
from jobs.deliveries import place_named
from pipelines.errors import DeliveryError
from pipelines.run_lock import run_lock

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
    from pipelines.contracts.source import load_contracts
    from pipelines.ingest.delivery_log import store_acceptance
    from pipelines.ingest.landing import read_delivery

    settings = settings_of(env, conf_dir, overrides, mappings_dir)
    place = place_named(delivery)
    if not why.strip():
        raise DeliveryError("to accept a delivery needs a reason: --why TEXT")
    contract = load_contracts(settings.mappings_dir, settings.run.sources).get(place.source)
    try:
        if contract is None:
            raise DeliveryError("no such source is loaded")
        found = read_delivery(settings.storage.landing.joinpath(*place), contract)
    except DeliveryError as error:
        raise DeliveryError(f"{place} cannot be accepted: {error}") from error
    with run_lock(settings.storage.restricted, "accept"):
        store_acceptance(settings.storage.restricted, found, why.strip(), date.today())
    log.info(f"{place} is accepted; the next run loads it", extra={"rows": found.rows})


if __name__ == "__main__":
    start(app)
