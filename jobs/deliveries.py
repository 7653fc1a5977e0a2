"""List deliveries: loaded, waiting, set aside or withdrawn, with the reason and the next step."""

import logging
from datetime import date, datetime
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
    require_source,
    settings_of,
    start,
)
from jobs.output import show_table
from pipelines.contracts.delivered_names import shown
from pipelines.errors import DeliveryError, perhaps_meant
from pipelines.progress import Field
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.ingest.history import DeliveryFacts
    from pipelines.ingest.landing import Delivery, DeliveryName

log = logging.getLogger(__name__)

app = new_app()

STATES = ("loaded", "waiting", "set aside", "withdrawn")


@app.command()
def deliveries(
    state: Annotated[list[str] | None, typer.Option(help=f"Only those that are {', '.join(STATES)}; may be repeated.")] = None,
    source: Annotated[str | None, typer.Option(help="Only those of a source.")] = None,
    provider: Annotated[str | None, typer.Option(help="Only those of a provider.")] = None,
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="The day up to which nothing has to wait. Today unless given."),
    ] = None,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """List deliveries: loaded, waiting, set aside or withdrawn, with the reason and the next step.

    What is set aside is as the last run found it. A delivery that no run has looked at yet waits for the next run.
    """
    wanted = {text.replace("_", " ").replace("-", " ") for text in state or STATES}
    if not wanted <= set(STATES):
        raise typer.BadParameter(f"give one of {', '.join(STATES)}", param_hint="--state")
    settings = settings_of(env, conf_dir, overrides, mappings_dir, reads_restricted=True)
    require_source(settings, source)
    facts = [
        entry
        for entry in history_of(settings, day.date() if day else date.today())
        if entry.state.value in wanted and source in (None, entry.place.source) and provider in (None, entry.place.provider)
    ]
    if facts:
        show_table("deliveries", [shown_delivery(entry) for entry in facts])
    else:
        log.info("there is no such delivery", extra={"landing": str(settings.storage.landing)})


def history_of(settings: Settings, day: date) -> "list[DeliveryFacts]":
    """What became of every delivery up to a day."""
    from pipelines.contracts.source import load_contracts, sources_in
    from pipelines.ingest.checksums import Checksums
    from pipelines.ingest.delivery_log import read_set_aside, read_withdrawn
    from pipelines.ingest.folders import find_deliveries
    from pipelines.ingest.history import delivery_history
    from pipelines.run_context import read_register
    from pipelines.settings import storage_paths

    contracts = load_contracts(settings.mappings_dir, settings.run.sources)
    restricted = settings.storage.restricted
    register, withdrawn = read_register(storage_paths(settings)), read_withdrawn(restricted)
    back = {entry.delivery_id for entry in withdrawn}
    landed = find_deliveries(
        settings.storage.landing,
        contracts,
        day,
        sources_in(settings.mappings_dir),
        Checksums.read(restricted),
        {(file.source, file.provider) for file in register if file.delivery_id not in back},
    )
    return delivery_history(landed, register, read_set_aside(restricted), withdrawn)


def landed_named(settings: Settings, place: "DeliveryName") -> "Delivery":
    """A delivery in the landing folder by its name. Raises DeliveryError if there is none, or it cannot be read."""
    from pipelines.contracts.source import load_contracts
    from pipelines.ingest.delivery_log import read_withdrawn
    from pipelines.ingest.landing import read_delivery
    from pipelines.storage.files import entries_in

    contract = load_contracts(settings.mappings_dir, settings.run.sources).get(place.source)
    if contract is None:
        raise DeliveryError(f"no such source is loaded{perhaps_meant(place.source, settings.run.sources)}")
    folder = settings.storage.landing.joinpath(*place)
    if not entries_in(folder):
        if any(entry.place == place for entry in read_withdrawn(settings.storage.restricted)):
            raise DeliveryError("it is withdrawn and no longer in the landing folder")
        raise DeliveryError("there is no such delivery in the landing folder; nhs-omop deliveries lists all")
    return read_delivery(folder, contract)


def not_loaded(facts: "list[DeliveryFacts]") -> "list[DeliveryFacts]":
    """The deliveries about which somebody may have to do something."""
    return [entry for entry in facts if entry.state.value in ("waiting", "set aside")]


def shown_delivery(entry: "DeliveryFacts") -> dict[str, Field]:
    """A delivery as a row of a result."""
    return {
        **{part: shown(name) for part, name in entry.place._asdict().items()},
        "state": entry.state.value,
        "rows": entry.rows,
        "extract_date": entry.extract_date.isoformat() if entry.extract_date else "",
        "mode": entry.mode,
        "since": entry.day.isoformat() if entry.day else "",
        "reason": entry.reason,
        "next_step": entry.next_step,
    }


def place_named(text: str) -> "DeliveryName":
    """The delivery that a user names. Raises DeliveryError unless it is source, provider and folder."""
    from pipelines.ingest.landing import DeliveryName

    parts = text.strip().strip("/").split("/")
    if len(parts) != 3 or not all(parts):
        raise DeliveryError("name a delivery as SOURCE/PROVIDER/FOLDER, such as gp/P81001/20260105; see nhs-omop deliveries")
    return DeliveryName(*parts)


if __name__ == "__main__":
    start(app)
