"""A dry run of one delivery: what a load would take of it, quarantine and miss, and what differs from the past.

Nothing is written.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.columns.keyed import Pads
from pipelines.contracts.delivered_names import shown, some
from pipelines.contracts.deliveries import DeliveryLimits
from pipelines.contracts.source import LOAD, SourceContract
from pipelines.curate.entities import levels
from pipelines.curate.records import record_rows
from pipelines.errors import DeliveryError
from pipelines.ingest.arrivals import NewLoad, arrivals
from pipelines.ingest.checking import ColumnsRead
from pipelines.ingest.comparing import compare_deliveries
from pipelines.ingest.folders import SetAside, landed_in
from pipelines.ingest.landing import DeliveryName, day_of
from pipelines.ingest.load import differing_from_statements, without_period
from pipelines.ingest.parse import REFUSED
from pipelines.ingest.profile import profile_files
from pipelines.ingest.register import Count, Registered
from pipelines.ingest.rows import bronze_rows
from pipelines.storage.files import AnyPath, entries_in
from pipelines.storage.places import Places

_NO_KEY = Pads({"row": (bytes(64), bytes(64))})
"""Records are named by a keyed hash. Nothing of a trial is kept, so it needs no key."""


@dataclass(frozen=True)
class FileTrial:
    """What a load would make of one file.

    `quarantined` counts the records that could not be used, by reason. `missing` are columns of the contract that the file
    does not have, `undeclared` the number of its columns that the contract does not have.
    """

    name: str
    entity: str
    records: int
    quarantined: Mapping[str, int]
    missing: tuple[str, ...]
    undeclared: int

    @property
    def taken(self) -> int:
        """The records that could be used."""
        return self.records - sum(self.quarantined.values())


@dataclass(frozen=True)
class Trial:
    """What a load would make of a delivery: set aside with its faults, or the outcome of each file.

    `day` is that of the first run that looks at it. `absent` are the entities of the contract that are not delivered; `ignored`
    is what would be named and not read. `warnings` say what is unusual and would not set it aside.
    """

    set_aside: SetAside | None
    day: date
    files: tuple[FileTrial, ...] = ()
    absent: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Past:
    """What a delivery is compared with: the files that a lakehouse has taken, by the limits of its configuration.

    `accepted` are the ids of deliveries that may differ further, `withdrawn` those of deliveries that were taken back. What a
    run has `refused` for faults that only reading shows is not read again.
    """

    paths: Places
    register: Sequence[Registered]
    limits: DeliveryLimits
    accepted: Collection[str] = ()
    withdrawn: Collection[str] = ()
    refused: Sequence[SetAside] = ()


def first_checks(
    folder: AnyPath, contract: SourceContract, columns_read: ColumnsRead, run_date: date, past: Past | None = None
) -> tuple[Trial, NewLoad]:
    """What names, manifest, checksums and headers show, without reading the records; and the load for `read_records`.

    With `past` also what only the lakehouse knows: other contents were loaded from the folder, or its provider is written
    otherwise. A delivery that is loaded already is tried as if it were new, one of a later day as a run of that day would find
    it. Raises DeliveryError where no run would look at it.
    """
    run_date = max(run_date, day_of(folder.name) or run_date)
    contracts = {contract.source: contract}
    register = past.register if past else ()
    landed = landed_in(folder, contract, run_date, {(file.source, file.provider) for file in register})
    for delivery in landed.deliveries:
        if past and delivery.delivery_id in past.withdrawn:
            raise DeliveryError(f"{delivery.name} is withdrawn; nhs-omop withdraw {delivery.name} --undo takes that back")
    again = {delivery.delivery_id for delivery in landed.deliveries}
    others = [file for file in register if file.delivery_id not in again]
    found = arrivals(landed, others, contracts, columns_read, run_date, past.refused if past else ())
    faulty = next(iter(found.set_aside), None)
    if faulty is None and not found.deliveries:
        raise DeliveryError(f"{folder}: a delivery was loaded from it, and what is left of it is none")
    delivered = {file.entity for delivery in found.deliveries for file in delivery.files}
    absent = tuple(name for name, entity in contract.entities.items() if entity.files and name not in delivered)
    before = _taken_before(folder, contract, run_date, past) if past else []
    name = DeliveryName(contract.source, folder.parent.name, folder.name)
    warnings = [f"{name} is not compared with what a run takes before it: {some(before)}"] if before else []
    trial = Trial(faulty, run_date, absent=absent, ignored=found.ignored, warnings=tuple(warnings))
    return trial, found.load(run_date, ())


def _taken_before(folder: AnyPath, contract: SourceContract, run_date: date, past: Past) -> list[str]:
    """The earlier deliveries beside a delivery that a run would load with it, and so compare it with."""
    place = contract.source, folder.parent.name
    loaded = {file.folder for file in past.register if (file.source, file.provider) == place}
    earlier = [
        entry.path
        for entry in entries_in(folder.parent)
        if entry.is_folder and day_of(entry.name) and entry.name < folder.name and entry.name not in loaded
    ]
    found = [delivery for path in earlier for delivery in landed_in(path, contract, run_date).deliveries]
    return [delivery.folder.name for delivery in found if delivery.delivery_id not in past.withdrawn]


def read_records(
    session: SparkSession, load: NewLoad, contract: SourceContract, first: Trial, past: Past | None = None
) -> Trial:
    """What reading every record of the delivery shows, by the code that a run uses.

    With `past` it is compared with what its provider sent before; where nothing has been loaded, nothing is unusual.
    """
    contracts = {contract.source: contract}
    counts = _counts(session, load, contract)
    found = {file_id: _in_all(reasons) for file_id, reasons in counts.items()}
    (delivery,) = load.deliveries
    profile = profile_files(session, load, contracts) if past or delivery.mode == "period" else None
    differing = differing_from_statements(load, found, contracts)
    if profile and not differing:
        differing = without_period(load, profile.periods, contracts)
    files = []
    for file in delivery.files:
        of_file = counts.get(load.holder_of(file), {})
        reasons = {reason: rows for reason, rows in of_file.items() if not reason.startswith(REFUSED)}
        layout, spec = load.layouts[file.file_id], contract.entities[file.entity]
        missing = tuple(column.header or name for name, column in spec.columns.items() if name not in layout.columns)
        quarantined = {reason: rows for reason, rows in sorted(reasons.items()) if reason}
        files.append(
            FileTrial(shown(file.path.name), file.entity, sum(reasons.values()), quarantined, missing, layout.undeclared)
        )
    faulty = next(iter(differing), None)
    warnings = first.warnings
    if past and profile and not faulty:
        compared = compare_deliveries(past.paths, load, profile, past.register, contracts, past.limits, past.accepted)
        faulty, warnings = next(iter(compared.set_aside), None), (*warnings, *compared.warnings)
    return replace(first, set_aside=faulty, files=tuple(files), warnings=warnings)


def _in_all(reasons: Mapping[str, int]) -> Count:
    refused = next((reason for reason in reasons if reason.startswith(REFUSED)), None)
    malformed = sum(rows for reason, rows in reasons.items() if reason.startswith("malformed:"))
    return Count(sum(reasons.values()), malformed, refused)


def _counts(session: SparkSession, load: NewLoad, contract: SourceContract) -> dict[str, dict[str, int]]:
    """The records of each file by the reason for which they could not be used, empty where they could."""
    by_entity = {entity: files for (_, entity), files in load.files.items()}
    entities = [entity for level in levels(contract, by_entity) for entity in level]
    bronze = {
        entity.name: bronze_rows(
            session, by_entity[entity.name], load.layouts, entity.spec, len(by_entity[entity.name])
        ).withColumn(LOAD, F.lit(""))
        for entity in entities
    }
    rows = record_rows(bronze, entities, _NO_KEY)
    is_by_period = F.lit(any(delivery.mode == "period" for delivery in load.deliveries))
    reason = F.coalesce("unusable", F.when(is_by_period, F.col("no_period")))
    summed = rows.withColumn("unusable", reason).groupBy("_file", "unusable").agg(F.count(F.lit(1)).alias("rows"))
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for row in summed.toArrow().to_pylist():
        counts[row["_file"]][row["unusable"] or ""] = row["rows"]
    return counts
