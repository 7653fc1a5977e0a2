"""Check one delivery against its contract: what a run would take, quarantine and miss, without loading it."""

import logging
import os
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.command import (
    DEFAULT_CONF_DIR,
    ConfDir,
    Env,
    JsonLines,
    MappingsDir,
    Overrides,
    enclose,
    new_app,
    place_of,
    settings_of,
    start,
)
from jobs.output import show_table
from pipelines.errors import DeliveryError
from pipelines.progress import Field

if TYPE_CHECKING:
    from pipelines.settings import Settings
    from pipelines.trial import Past, Trial

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def check(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="<source>/<provider>/<yyyymmdd>, in the landing folder or anywhere else.")
    ],
    day: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="The day of the run that would take it. Today unless given."),
    ] = None,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Check one delivery against its contract: what a run would take, quarantine and miss, without loading it.

    It is compared with what its provider sent before, where the environment has a lakehouse that knows it. Records are judged
    each by itself: whether their person is known or has opted out, only a run can say. A delivery that no run would take as it
    is ends with exit code 12. Nothing is written.
    """
    settings = settings_of(env, conf_dir, overrides, mappings_dir, reads_restricted=True)
    whole = place_of(folder)
    if isinstance(whole, Path):
        whole = Path(os.path.normpath(whole))
    enclose(settings, whole)
    from pipelines.contracts.source import load_contracts
    from pipelines.engine import open_session
    from pipelines.ingest.landing import DeliveryName
    from pipelines.mapping.spec import load_mappings
    from pipelines.storage.files import is_folder
    from pipelines.trial import first_checks, read_records

    if not is_folder(whole):
        raise DeliveryError(f"{folder}: there is no such folder")
    contracts = load_contracts(settings.mappings_dir)
    contract = contracts.get(whole.parent.parent.name)
    if contract is None:
        raise DeliveryError(f"{folder}: expected <source>/<provider>/<yyyymmdd> with one of {', '.join(contracts)}")
    mappings = load_mappings(settings.mappings_dir, {contract.source: contract})
    columns_read = {source: mapping.columns_read for source, mapping in mappings.items()}
    past = past_of(settings)
    run_date = day.date() if day else date.today()
    trial, load = first_checks(whole, contract, columns_read, run_date, past)
    if trial.set_aside is None:
        with open_session(settings.engine) as session:
            trial = read_records(session, load, contract, trial, past)
    _show(trial)
    if trial.set_aside:
        raise DeliveryError(trial.set_aside.message)
    name = DeliveryName(contract.source, whole.parent.name, whole.name)
    if contract.source not in settings.run.sources:
        raise DeliveryError(
            f"{name} has no fault, but no run takes it: run.sources does not name {contract.source}; add it there"
        )
    if trial.day > run_date:
        raise DeliveryError(f"{name} has no fault, but waits for its day: a run of {trial.day} takes it, none of {run_date}")
    is_loaded = {file.delivery_id for file in past.register} >= {delivery.delivery_id for delivery in load.deliveries}
    log.info(f"{name} has no fault: {'it is loaded already' if is_loaded else 'a run takes it'}")


def past_of(settings: "Settings") -> "Past":
    """What the lakehouse of an environment has taken and the next run would not take back."""
    from pipelines.ingest.delivery_log import read_accepted, read_withdrawn
    from pipelines.ingest.taking_back import without_deliveries
    from pipelines.run_context import read_register
    from pipelines.settings import storage_paths
    from pipelines.trial import Past

    paths, restricted = storage_paths(settings), settings.storage.restricted
    withdrawn = {entry.delivery_id for entry in read_withdrawn(restricted)}
    accepted = {entry.delivery_id for entry in read_accepted(restricted)}
    register = without_deliveries(read_register(paths), withdrawn).register
    return Past(paths, register, settings.deliveries, accepted, withdrawn)


def _show(trial: "Trial") -> None:
    for name in trial.ignored:
        log.warning(f"ignored: {name}")
    for warning in trial.warnings:
        log.warning(warning)
    if not trial.files:
        return
    show_table(
        "files",
        [
            {
                "file": file.name,
                "entity": file.entity,
                "records": file.records,
                "taken": file.taken,
                "quarantined": file.records - file.taken,
                "columns_missing": len(file.missing),
                "undeclared_columns": file.undeclared,
            }
            for file in trial.files
        ],
    )
    quarantined: list[dict[str, Field]] = [
        {"file": file.name, "reason": reason, "records": rows}
        for file in trial.files
        for reason, rows in file.quarantined.items()
    ]
    missing: list[dict[str, Field]] = [
        {"file": file.name, "columns": ", ".join(file.missing)} for file in trial.files if file.missing
    ]
    for title, rows in (("quarantined, by reason", quarantined), ("columns of the contract that are missing", missing)):
        if rows:
            show_table(title, rows)
    if trial.absent:
        log.info(f"not delivered: {', '.join(trial.absent)}")


if __name__ == "__main__":
    start(app)
