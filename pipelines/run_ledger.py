"""The ledger of a run: what came in, and what became of every row and every value of it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pipelines.contracts.ledger import (
    LEDGER_SCHEMA,
    LEDGER_TABLE,
    ORPHAN,
    SILVER_ROWS_SCHEMA,
    SILVER_ROWS_TABLE,
    Disposition,
    LedgerRow,
    Stage,
    totals_by,
)
from pipelines.contracts.source import SourceContract
from pipelines.contracts.tables import BelongsTo, Partitions, Table, TableName, entered
from pipelines.contracts.zones import Zone
from pipelines.curate.opt_outs import ENTRY_SCHEMA
from pipelines.curate.references import REFERENCE_SCHEMA
from pipelines.curate.tables import (
    CONFLICTS,
    FLAGGED,
    OPT_OUT_ENTRIES,
    OUTCOME_SCHEMA,
    OUTCOMES,
    READABLE,
    REFERENCES,
    readable_table,
)
from pipelines.curate.unreadable import FLAGGED_SCHEMA, READABLE_SCHEMA, values_lost
from pipelines.curate.unreadable import value_ledger as ledger_of_values
from pipelines.governance.opt_out_lists import entries_listed
from pipelines.ingest.register import Registered
from pipelines.omop.ledger import MAP_LEDGER_SCHEMA
from pipelines.run_context import RunContext
from pipelines.storage.places import Places


def ledger_of_run(run: RunContext, run_id: str, register: Sequence[Registered]) -> list[LedgerRow]:
    """Every row of the ledger of a run, the tables of which are made."""
    ledger = [
        *opt_out_ledger(run, run_id),
        *curate_ledger(run, run_id, register),
        *reference_ledger(run, run_id),
        *value_ledger(run, run_id),
        *map_ledger(run, run_id),
    ]
    return [*ledger, *take_ledger(run, ledger, run_id)]


def opt_out_ledger(run: RunContext, run_id: str) -> list[LedgerRow]:
    """The entries of the opt-out lists, and how many of them match nobody and why."""
    rows = [
        LedgerRow(run_id, Stage.OPT_OUT, "opt_outs", kind, Disposition.LISTED, entries, reason=named_by)
        for (kind, named_by), entries in entries_listed(run.inputs.opt_outs).items()
    ]
    for row in run.store.paths.records(Zone.LEDGER, OPT_OUT_ENTRIES, tuple(ENTRY_SCHEMA)):
        outcome = Disposition.UNMATCHED if row["reason"] else Disposition.MATCHED
        rows.append(LedgerRow(run_id, Stage.OPT_OUT, "opt_outs", row["list"], outcome, row["entries"], reason=row["reason"]))
    return rows


def curate_ledger(run: RunContext, run_id: str, register: Sequence[Registered]) -> list[LedgerRow]:
    """What was delivered, and what became of each delivered row."""
    counted = run.store.paths.records(Zone.LEDGER, OUTCOMES, tuple(OUTCOME_SCHEMA))
    outcomes = [
        LedgerRow(
            run_id,
            Stage.CURATE,
            row["source"],
            row["entity"],
            Disposition(row["disposition"]),
            row["rows"],
            reason=row["reason"] or "",
        )
        for row in counted
    ]
    return [*_delivered(run_id, register), *outcomes, *_conflicts(run, run_id)]


def _delivered(run_id: str, register: Iterable[Registered]) -> list[LedgerRow]:
    """What came in, as the manifests say, and the repeated files, whose records are duplicates as a whole."""
    delivered: dict[tuple[str, str], int] = {}
    repeated: dict[tuple[str, str], int] = {}
    for file in register:
        place = file.source, file.entity
        delivered[place] = delivered.get(place, 0) + file.rows
        if file.same_as != file.file_id:
            repeated[place] = repeated.get(place, 0) + file.rows
    rows = [LedgerRow(run_id, Stage.CURATE, *place, Disposition.DELIVERED, rows) for place, rows in sorted(delivered.items())]
    return rows + [
        LedgerRow(run_id, Stage.CURATE, *place, Disposition.DUPLICATE, rows, reason="repeated_file")
        for place, rows in sorted(repeated.items())
    ]


def _conflicts(run: RunContext, run_id: str) -> list[LedgerRow]:
    """How many people each provider states in contradiction, by kind."""
    found = run.store.paths.records(Zone.CURATION, CONFLICTS, ("source", "provider", "conflict"))
    people = Counter((row["source"], f"{row['provider']}:{row['conflict']}") for row in found)
    return [
        LedgerRow(run_id, Stage.CURATE, source, "", Disposition.IDENTITY_CONFLICT, number, reason=reason)
        for (source, reason), number in sorted(people.items())
    ]


def reference_ledger(run: RunContext, run_id: str) -> list[LedgerRow]:
    """The rows of each provider that refer to another row, and those whose other row is missing."""
    rows = []
    for counted in run.store.paths.records(Zone.LEDGER, REFERENCES, tuple(REFERENCE_SCHEMA)):
        name = counted["reference"]
        outcomes = (
            (Disposition.REFERRED, counted["rows"], name),
            (Disposition.FOUND, counted["rows"] - counted["orphans"], name),
            (Disposition.ORPHAN, counted["orphans"], f"{ORPHAN}{name}"),
        )
        place = Stage.REFER, counted["source"], counted["entity"]
        rows += [
            LedgerRow(run_id, *place, outcome, n, reason=reason, provider=counted["provider"])
            for outcome, n, reason in outcomes
        ]
    return rows


def value_ledger(run: RunContext, run_id: str) -> list[LedgerRow]:
    """The values that could not be read or were withheld, with those that were read, of the same columns and providers."""
    paths = run.store.paths
    readable = readable_of_flagged(paths, run.inputs.contracts)
    if readable is None:
        return []
    run.runner.run([readable])
    flagged = list(paths.records(Zone.LEDGER, FLAGGED, tuple(FLAGGED_SCHEMA)))
    return ledger_of_values(run_id, flagged, paths.records(Zone.LEDGER, READABLE, tuple(READABLE_SCHEMA)))


def readable_of_flagged(paths: Places, contracts: Mapping[str, SourceContract]) -> Table | None:
    """The table of the values that were read of columns of which others could not be; None where all could."""
    flagged = list(paths.records(Zone.LEDGER, FLAGGED, tuple(FLAGGED_SCHEMA)))
    lost = values_lost(flagged, "flags") + values_lost(flagged, "withheld")
    columns: dict[tuple[str, str], list[str]] = {}
    for source, entity, column in sorted({(source, entity, column) for source, entity, _, column in lost}):
        columns.setdefault((source, entity), []).append(column)
    return readable_table(contracts, columns) if columns else None


def take_ledger(run: RunContext, ledger: Iterable[LedgerRow], run_id: str) -> list[LedgerRow]:
    """The silver rows that curate passed on, and what became of each: rules took it, or none did."""
    current = totals_by((row for row in ledger if row.disposition is Disposition.CURRENT), "source", "entity")
    rows = [LedgerRow(run_id, Stage.TAKE, at[0], at[1], Disposition.SILVER, n) for at, n in current.items()]
    for row in run.store.paths.records(Zone.LEDGER, SILVER_ROWS_TABLE, tuple(SILVER_ROWS_SCHEMA), where=("column", "")):
        rows.append(LedgerRow.of({"run_id": run_id, "stage": Stage.TAKE, **row}))
    return rows


def map_ledger(run: RunContext, run_id: str) -> list[LedgerRow]:
    """What each mapping rule was shown, left out and wrote."""
    records = run.store.paths.records(Zone.INTERMEDIATE, "map_ledger", tuple(MAP_LEDGER_SCHEMA))
    return [LedgerRow.of({"run_id": run_id, **record}) for record in records]


def ledger_table(ledger: Sequence[LedgerRow], run_id: str) -> Table:
    """The stored ledger of all runs, of which this one is made."""
    rows = [tuple(record[name] for name in LEDGER_SCHEMA) for record in (row.record() for row in ledger)]
    grain = "one row per run, stage, source, entity, rule, disposition and reason with its number of rows"
    name, own = TableName(Zone.LEDGER, LEDGER_TABLE), Partitions("run_id", (run_id,))
    return entered(name, grain, LEDGER_SCHEMA, BelongsTo.WHOLE, own, rows)
