"""Write the manifest of a delivery or an opt-out list whose sender gives none."""

import logging
import re
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import BaseModel

from jobs.command import (
    DEFAULT_CONF_DIR,
    ConfDir,
    Env,
    JsonLines,
    MappingsDir,
    Overrides,
    new_app,
    place_of,
    settings_of,
    start,
)
from jobs.output import show_table
from pipelines.contracts.delivered_names import shown
from pipelines.errors import DeliveryError

if TYPE_CHECKING:
    from pipelines.contracts.delivery_forms import Mode
    from pipelines.storage.files import AnyPath

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def manifest(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="<source>/<provider>/<yyyymmdd>, or optouts/<kind>/<yyyymmdd>.")],
    mode: Annotated[
        str | None,
        typer.Option(help="Of a delivery: full replaces all that was sent before, delta adds, period replaces its periods."),
    ] = None,
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="Extract date, or day of the list. The folder's unless given."),
    ] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Write it again if there is one.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Write the manifest of a delivery or an opt-out list whose sender gives none.

    It has the checksums of the files as they are now, and the records that our reader finds in them. So it shows later that
    nothing has changed since, but not that the sender's files came whole: compare the counts with what the sender says.
    """
    from pipelines.contracts.source import load_contracts
    from pipelines.governance.opt_out_manifests import list_manifest
    from pipelines.ingest.folders import OPT_OUTS
    from pipelines.ingest.making_manifests import delivery_manifest, write_manifest
    from pipelines.storage.files import is_folder

    whole = place_of(folder)
    if not is_folder(whole):
        raise DeliveryError(f"{folder}: there is no such folder")
    on = day.date() if day else _day_of(whole)
    source = whole.parent.parent.name
    if source == OPT_OUTS:
        made: BaseModel
        made, counts = list_manifest(whole, on)
    else:
        settings = settings_of(env, conf_dir, overrides, mappings_dir)
        contract = load_contracts(settings.mappings_dir).get(source)
        if contract is None:
            expected = "expected <source>/<provider>/<yyyymmdd>, or optouts/<kind>/<yyyymmdd>"
            raise DeliveryError(f"{folder}: {source or 'it'} is no source; {expected}")
        made, counts = delivery_manifest(whole, contract, _mode(mode), on)
    path = write_manifest(whole, made, replace=replace)
    show_table(
        "manifest",
        [{"file": shown(name), "records": found.records, "malformed": found.malformed} for name, found in counts.items()],
    )
    log.info("wrote the manifest", extra={"file": str(path)})


def _mode(text: str | None) -> "Mode":
    match text:
        case "full" | "delta" | "period":
            return text
    raise typer.BadParameter("say what the delivery is: full, delta or period", param_hint="--mode")


def _day_of(folder: "AnyPath") -> date:
    written = re.fullmatch(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})", folder.name)
    try:
        if written:
            return date(*map(int, written.groups()))
    except ValueError:
        pass
    raise typer.BadParameter("the name of the folder gives no day; give one", param_hint="--date")


if __name__ == "__main__":
    start(app)
