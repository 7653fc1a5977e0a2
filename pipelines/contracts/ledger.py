"""The ledger: the outcome of every row, from the line of a file to the rows of OMOP, and the check that none is missing.

A ledger has counts only. Each stage counts the rows that it read and the outcome of each row. The two sides must be equal for
every entity and every mapping rule, and the rows that one stage passes on must be the rows that the next stage read.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pipelines.errors import LedgerError, counted


class Stage(StrEnum):
    """The step of a run that counted the rows."""

    OPT_OUT = "opt_out"
    CURATE = "curate"
    REFER = "refer"
    READ = "read"
    TAKE = "take"
    MAP = "map"
    CODE = "code"


class Disposition(StrEnum):
    """The outcome of a row. `reason` of the ledger row gives the cause, the kind, or the table written to."""

    LISTED = "listed"
    """Opt-out, in: entries of a list, by how they name their person (`number` or `local_id`)."""
    MATCHED = "matched"
    """Opt-out, out: the person that the entry names has been delivered."""
    UNMATCHED = "unmatched"
    """Opt-out, out: the entry matches nobody, because of what `reason` says."""

    DELIVERED = "delivered"
    """Curate, in: data records of the delivered files, counted when the files were registered."""
    CURRENT = "current"
    """Curate, out: the row is in silver."""
    SUPERSEDED = "superseded"
    DELETED_AT_SOURCE = "deleted_at_source"
    DUPLICATE = "duplicate"
    QUARANTINED = "quarantined"
    OPTED_OUT = "opted_out"
    TEST_PATIENT = "test_patient"
    IDENTITY_CONFLICT = "identity_conflict"
    """Curate: people, not rows, about whom the rows of a provider contradict those of the same or another one; `reason` is the
    provider and the kind. `entity` is empty."""

    REFERRED = "referred"
    """Refer, in: rows of silver that refer to another row, by the name of the reference."""
    FOUND = "found"
    """Refer, out: the other row is there."""
    ORPHAN = "orphan"
    """Refer, out: the other row is missing; the reason is `orphan:<reference>`."""

    GIVEN = "given"
    """Read, in: values of a column of silver that the provider gave; counted for columns with unreadable or withheld ones."""
    READ = "read"
    """Read, out: the value is in silver."""
    UNREADABLE = "unreadable"
    """Read, out: the value is there and could not be read. Nothing is derived from it."""
    WITHHELD = "withheld"
    """Read, out: the text was not taken over: it holds an identifier, or does not have the shape of its column."""

    SILVER = "silver"
    """Take, in: the current rows of the entity. Map, in: rows of the silver entity that the rule read."""
    MAPPED = "mapped"
    """Take, out: rows that at least one rule took; `rule` names all of them, in the order of the alphabet.
    Map: rows that satisfied every condition of the rule."""
    UNTAKEN = "untaken"
    """Take, out: rows that no rule took, with the most specific reason, and in `rule` the rule that has it."""
    EXCLUDED = "excluded"
    """Map: rows that did not, with the reason that the rule declares."""
    FLAGGED = "flagged"
    """Map: rows that are published although they cannot be right, with the rule that says so; they are mapped rows too."""
    FANNED_OUT = "fanned_out"
    """Map: rows added because one code maps to several concepts."""
    MERGED = "merged"
    """Map: rows merged into another row, such as the episodes of a spell or the records of one person."""
    WRITTEN = "written"
    """Map, out: rows of the OMOP table named in `reason`."""

    CODED = "coded"
    """Code, in: rows of the rule that have a source code."""
    STANDARD = "standard"
    """Code, out: the code has a standard concept."""
    MAPPED_TO_NO_CONCEPT = "mapped_to_no_concept"
    """Code, out: an approved local map says that the code maps to no concept; the work list leaves it out."""
    KNOWN_UNMAPPED = "known_unmapped"
    """Code, out: the vocabulary contains the code but does not map it to a standard concept."""
    UNKNOWN = "unknown"
    """Code, out: the vocabulary does not contain the code."""


ORPHAN = "orphan:"
"""Stands before the name of a reference, or of an entity, in the reason of rows whose other row is missing."""

TYPE_ONE_UNKNOWN = "type_one_unknown"
"""The reason of rows that are left out because their person may have a Type 1 opt-out: a code could not be looked up."""

CONFIDENTIAL = "confidential"
"""The reason of rows that are left out because their source marks the person, or the row, as sensitive or confidential."""

NOT_SHARED = "not_shared"
"""The reason of rows that are left out because the organisation that keeps the record does not share it any more."""

IMPLAUSIBLE = "implausible:"
"""What stands before the name of a plausibility rule in the reason of an excluded or flagged row."""

UNREADABLE = "unreadable:"
"""Stands before the name of a column in the reason of rows and values that could not be read."""

WITHHELD = "withheld:"
"""Stands before the name of a column in the reason of texts that were not taken over."""

PERSON, DISPOSITIONS = "person", "dispositions_"
"""The table of curate that says which opt-out each person has, and what begins the names of those with what became of rows."""

LEDGER_TABLE = "rows"
"""Name of the stored ledger in the ledger zone, partitioned by run."""

LEDGER_SCHEMA = {
    "run_id": "string",
    "stage": "string",
    "source": "string",
    "entity": "string",
    "rule": "string",
    "disposition": "string",
    "reason": "string",
    "rows": "bigint",
    "provider": "string",
}
"""Columns of the stored ledger: one row per run, stage, source, entity, rule, disposition, reason and provider."""


SILVER_ROWS_TABLE = "silver_rows"
"""Name of the stored outcomes of the current silver rows in the ledger zone."""

SILVER_ROWS_SCHEMA = {
    "source": "string",
    "entity": "string",
    "disposition": "string",
    "rule": "string",
    "reason": "string",
    "column": "string",
    "value": "string",
    "rows": "bigint",
}
"""Current silver rows by what became of them. Each is counted once where `column` is empty.

`mapped`: `rule` names the rules that took the rows, in the order of the alphabet. `untaken`: `reason` is the most specific one,
of the rule `rule`; such rows are counted again for each `column` with a closed list, by `value` (empty: none).
"""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """A number of rows (of values, where they are read) with one outcome.

    `rule` is empty at curate; an unused `reason` or `provider` is empty, never null.
    """

    run_id: str
    stage: Stage
    source: str
    entity: str
    disposition: Disposition
    rows: int
    rule: str = ""
    reason: str = ""
    provider: str = ""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "LedgerRow":
        """The ledger row of one stored record (a mapping with the columns of LEDGER_SCHEMA)."""
        return cls(
            run_id=record["run_id"],
            stage=Stage(record["stage"]),
            source=record["source"],
            entity=record["entity"],
            rule=record["rule"] or "",
            disposition=Disposition(record["disposition"]),
            reason=record["reason"] or "",
            rows=int(record["rows"]),
            provider=record.get("provider") or "",
        )

    def record(self) -> dict[str, str | int]:
        """The stored form: the columns of LEDGER_SCHEMA in order."""
        return {name: getattr(self, name) if name == "rows" else str(getattr(self, name)) for name in LEDGER_SCHEMA}


@dataclass(frozen=True, slots=True)
class Balance:
    """Two sides that must be equal for each source, entity and rule of a stage; of `take`, for all rules of an entity."""

    stage: Stage
    left: tuple[Disposition, ...]
    right: tuple[Disposition, ...]


BALANCES = (
    Balance(Stage.OPT_OUT, (Disposition.LISTED,), (Disposition.MATCHED, Disposition.UNMATCHED)),
    Balance(
        Stage.CURATE,
        (Disposition.DELIVERED,),
        (
            Disposition.CURRENT,
            Disposition.SUPERSEDED,
            Disposition.DELETED_AT_SOURCE,
            Disposition.DUPLICATE,
            Disposition.QUARANTINED,
            Disposition.OPTED_OUT,
            Disposition.TEST_PATIENT,
        ),
    ),
    Balance(Stage.REFER, (Disposition.REFERRED,), (Disposition.FOUND, Disposition.ORPHAN)),
    Balance(Stage.READ, (Disposition.GIVEN,), (Disposition.READ, Disposition.UNREADABLE, Disposition.WITHHELD)),
    Balance(Stage.TAKE, (Disposition.SILVER,), (Disposition.MAPPED, Disposition.UNTAKEN)),
    Balance(Stage.MAP, (Disposition.SILVER,), (Disposition.MAPPED, Disposition.EXCLUDED)),
    Balance(Stage.MAP, (Disposition.MAPPED, Disposition.FANNED_OUT), (Disposition.MERGED, Disposition.WRITTEN)),
    Balance(
        Stage.CODE,
        (Disposition.CODED,),
        (Disposition.STANDARD, Disposition.MAPPED_TO_NO_CONCEPT, Disposition.KNOWN_UNMAPPED, Disposition.UNKNOWN),
    ),
)
"""Every equation that a ledger must satisfy."""

_Key = tuple[Stage, str, str, str]
_NOTED = {Stage.CURATE: {Disposition.IDENTITY_CONFLICT}, Stage.MAP: {Disposition.FLAGGED}}
"""What is counted beside the equations, because its rows are in them already."""

_WITH_REASON = (
    Disposition.UNMATCHED,
    Disposition.QUARANTINED,
    Disposition.OPTED_OUT,
    Disposition.ORPHAN,
    Disposition.UNREADABLE,
    Disposition.UNTAKEN,
    Disposition.EXCLUDED,
    Disposition.FLAGGED,
    Disposition.IDENTITY_CONFLICT,
    Disposition.WRITTEN,
)


def check_balance(ledger: Iterable[LedgerRow]) -> None:
    """Check that no row was lost or invented.

    Raises LedgerError, which lists every entity and rule whose sides differ, with the counts of both sides.
    """
    rows = tuple(ledger)
    faults = [*_malformed(rows), *_unbalanced(rows), *_not_passed_on(rows)]
    if faults:
        lines = "\n".join(f"  {fault}" for fault in faults)
        raise LedgerError(f"the ledger does not balance in {counted(len(faults), 'place')}; nothing is released\n{lines}")


def _place(stage: str, source: str, entity: str, rule: str) -> str:
    return f"{stage} {source}.{entity}" + (f" rule {rule}" if rule else "")


def _malformed(ledger: tuple[LedgerRow, ...]) -> Iterable[str]:
    balanced = {stage: {d for b in BALANCES if b.stage is stage for d in b.left + b.right} for stage in Stage}
    allowed = {stage: dispositions | _NOTED.get(stage, set()) for stage, dispositions in balanced.items()}
    for row in ledger:
        place = _place(row.stage, row.source, row.entity, row.rule)
        if row.disposition not in allowed[row.stage]:
            yield f"{place}: {row.disposition} does not belong to this stage"
        if row.rows < 0:
            yield f"{place}: {row.disposition} is negative ({row.rows})"
        if row.disposition in _WITH_REASON and not row.reason:
            yield f"{place}: {row.disposition} ({row.rows} rows) lacks a reason"


def _totals(ledger: Iterable[LedgerRow]) -> dict[_Key, dict[Disposition, int]]:
    totals: dict[_Key, dict[Disposition, int]] = defaultdict(lambda: defaultdict(int))
    for row in ledger:
        rule = "" if row.stage is Stage.TAKE else row.rule
        totals[row.stage, row.source, row.entity, rule][row.disposition] += row.rows
    return totals


def _unbalanced(ledger: tuple[LedgerRow, ...]) -> Iterable[str]:
    for key, totals in sorted(_totals(ledger).items()):
        for balance in BALANCES:
            if balance.stage is not key[0]:
                continue
            left, right = (sum(totals.get(d, 0) for d in side) for side in (balance.left, balance.right))
            if left != right:
                shown = [", ".join(f"{d} {totals.get(d, 0)}" for d in side) for side in (balance.left, balance.right)]
                yield f"{_place(*key)}: {left} in, {right} accounted for ({shown[0]} against {shown[1]})"


def _not_passed_on(ledger: tuple[LedgerRow, ...]) -> Iterable[str]:
    """What did not read all the rows which curate passed on, if both stages are in the ledger: rules, or a whole entity."""
    totals = _totals(ledger)
    passed_on = {key[1:3]: counts.get(Disposition.CURRENT, 0) for key, counts in totals.items() if key[0] is Stage.CURATE}
    for (stage, source, entity, rule), counts in sorted(totals.items()):
        if stage in (Stage.TAKE, Stage.MAP) and (source, entity) in passed_on:
            shown = counts.get(Disposition.SILVER, 0)
            if shown != passed_on[source, entity]:
                yield f"{_place(stage, source, entity, rule)}: shown {shown} of {passed_on[source, entity]} silver rows"
    asked = {key[1:3] for key in totals if key[0] is Stage.TAKE}
    for place in sorted(passed_on.keys() - asked if asked else ()):
        if passed_on[place]:
            yield f"{_place(Stage.TAKE, *place, '')}: shown 0 of {passed_on[place]} silver rows"


def totals_by(ledger: Iterable[LedgerRow], *columns: str) -> dict[tuple[str, ...], int]:
    """The sum of rows by the named columns of the ledger, ordered by their values."""
    totals: dict[tuple[str, ...], int] = defaultdict(int)
    for row in ledger:
        totals[tuple(str(getattr(row, column)) for column in columns)] += row.rows
    return dict(sorted(totals.items()))
