"""Accept a delivery that is set aside because it differs from what its provider sent before."""

import logging
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.check import past_of
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
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.ingest.landing import Delivery, DeliveryName

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

    The next run of its day loads it, and later deliveries are compared with it. Only the limits in `deliveries` are lifted, for
    this delivery as it is now: one with another fault is not accepted.
    """
    from pipelines.ingest.delivery_log import store_acceptance

    settings = settings_of(env, conf_dir, overrides, mappings_dir, reads_restricted=True)
    place = place_named(delivery)
    why, today = said(why, "to accept a delivery needs a reason", "--why", DeliveryError), date.today()
    try:
        found, day = _without_other_faults(settings, place, today)
    except DeliveryError as error:
        raise DeliveryError(f"{place} cannot be accepted: {error}") from error
    with run_lock(settings.storage.restricted, "accept"):
        store_acceptance(settings.storage.restricted, found, why, today)
    when = "the next run" if day <= today else f"a run of {day} or later"
    log.info(f"{place} is accepted; {when} loads it, if it finds no other fault", extra={"rows": found.rows})


def _without_other_faults(settings: Settings, place: "DeliveryName", today: date) -> "tuple[Delivery, date]":
    """A delivery that nothing keeps from being loaded but its difference from the past, as far as is known, and its day."""
    from pipelines.contracts.source import load_contracts
    from pipelines.ingest.delivery_log import read_set_aside
    from pipelines.mapping.spec import load_mappings
    from pipelines.trial import first_checks

    past = past_of(settings)
    if any((file.source, file.provider, file.folder) == place for file in past.register):
        raise DeliveryError("a delivery was loaded from this folder already")
    found = landed_named(settings, place)
    if found.delivery_id in past.withdrawn:
        raise DeliveryError(f"it is withdrawn; nhs-omop withdraw {place} --undo takes that back")
    contract = load_contracts(settings.mappings_dir, (place.source,))[place.source]
    columns_read = load_mappings(settings.mappings_dir, {place.source: contract})[place.source].columns_read
    past = replace(past, refused=read_set_aside(settings.storage.restricted))
    trial, _ = first_checks(found.folder, contract, {place.source: columns_read}, today, past)
    if trial.set_aside:
        faults = "; ".join(trial.set_aside.faults)
        raise DeliveryError(f"that lifts limits on what may differ from the past, and no other fault: {faults}")
    return found, trial.day


if __name__ == "__main__":
    start(app)
