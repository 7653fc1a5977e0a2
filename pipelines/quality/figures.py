"""The figures of a run that people are shown: from the ledger and the gates.

Numbers below `smallest_shown` are hidden, with those that would give them away; 1 hides none.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.contracts.ledger import BALANCES, IMPLAUSIBLE, ORPHAN, UNREADABLE, Disposition, LedgerRow, Stage, totals_by
from pipelines.quality.gates import GateResult, Verdict
from pipelines.quality.suppression import (
    HIDDEN,
    SMALLEST_SHOWN,
    TOTAL,
    Counts,
    Suppressed,
    rounded,
    shown,
    suppressed,
    suppressed_breakdowns,
    suppressed_together,
)

Figure = dict[str, str | int | float]


@dataclass(frozen=True, slots=True)
class RowFigures:
    """What became of the delivered rows, and why some were kept back or set aside; the numbers agree.

    `flow` has one row per source, `opted_out` and `quarantined` have one per reason, with a column per source; the last row of
    each is of all together.
    """

    flow: list[Figure]
    opted_out: list[Figure]
    quarantined: list[Figure]


def row_figures(ledger: Iterable[LedgerRow], smallest_shown: int = SMALLEST_SHOWN) -> RowFigures:
    """The outcomes of the delivered rows, and the reasons of two of them."""
    rows = tuple(ledger)
    shown = _shown_together(rows, smallest_shown)
    return RowFigures(
        flow=[{"source": source, **_renamed(cells)} for source, cells in shown.get("flow", {}).items()],
        opted_out=_named("reason", shown.get(Disposition.OPTED_OUT, {})),
        quarantined=_named("reason", shown.get(Disposition.QUARANTINED, {})),
    )


def _shown_together(ledger: tuple[LedgerRow, ...], smallest_shown: int) -> dict[str, Suppressed]:
    """The outcomes of the delivered rows (`flow`), the reasons of two of them, and what became of the silver rows (`silver`).

    The sums of the reasons and of the silver rows are numbers of the flow. So they are hidden together: else a number that one
    table hides could be taken from another. A table without a count is left out.
    """
    flow, silver = _outcomes(ledger), _silver_counts(ledger)
    parts = {part: _by_reason(ledger, part) for part in (Disposition.OPTED_OUT, Disposition.QUARANTINED)} if flow else {}
    counts: dict[str, Counts] = {"flow": flow, **{str(part): by_reason for part, by_reason in parts.items()}, "silver": silver}
    broken_down = {str(part): ("flow", str(part)) for part in parts}
    current = Counter({source: cells[Disposition.CURRENT] for source, cells in flow.items()})
    if sum((Counter(cells) for cells in silver.values()), Counter()) == current:
        broken_down["silver"] = "flow", str(Disposition.CURRENT)
    return suppressed_together({name: table for name, table in counts.items() if table}, broken_down, smallest_shown)


def _silver_counts(ledger: Iterable[LedgerRow]) -> dict[str, dict[str, int]]:
    """Silver rows, each once: a row per source, entity, outcome and reason, whose only column is the source."""
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    for row in ledger:
        if row.stage is Stage.TAKE and row.disposition is not Disposition.SILVER:
            counts[row.source, row.entity, str(row.disposition), row.reason] += row.rows
    return {_BETWEEN.join(place): {place[0]: rows} for place, rows in sorted(counts.items())}


_BETWEEN = "\t"
"""What stands between the parts of a name of a silver outcome."""


def _outcomes(ledger: Iterable[LedgerRow]) -> dict[str, dict[str, int]]:
    """Delivered rows by source and outcome."""
    left = next(balance.right for balance in BALANCES if balance.stage is Stage.CURATE)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(map(str, left), 0))
    for row in ledger:
        if row.stage is Stage.CURATE and row.disposition in left:
            counts[row.source][str(row.disposition)] += row.rows
    return dict(sorted(counts.items()))


def _shown(name: str, counts: Counts, smallest_shown: int) -> list[Figure]:
    """A row per key of the counts, in order, and one of all together; none if nothing was counted."""
    return _named(name, suppressed(dict(sorted(counts.items())), smallest_shown) if counts else {})


def _named(name: str, shown: Suppressed) -> list[Figure]:
    return [{name: key, **cells} for key, cells in shown.items()]


def _renamed(cells: dict[str, int | str]) -> Figure:
    """The total of a row is what was delivered; it stands first."""
    return {str(Disposition.DELIVERED): cells[TOTAL], **{name: n for name, n in cells.items() if name != TOTAL}}


def reasons(ledger: Iterable[LedgerRow], disposition: Disposition, smallest_shown: int = SMALLEST_SHOWN) -> list[Figure]:
    """Rows of a disposition by reason: one row per reason, one column per source."""
    return _shown("reason", _by_reason(ledger, disposition), smallest_shown)


def _by_reason(ledger: Iterable[LedgerRow], disposition: Disposition) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    chosen = [row for row in ledger if row.disposition is disposition and row.rows]
    for source in sorted({row.source for row in chosen}):
        for row in chosen:
            if row.source == source:
                counts[row.reason][source] = counts[row.reason].get(source, 0) + row.rows
    return dict(sorted(counts.items()))


def silver_outcomes(ledger: Iterable[LedgerRow], smallest_shown: int = SMALLEST_SHOWN) -> list[Figure]:
    """What became of the silver rows, each counted once: one row per source, entity, outcome and reason, then one per source.

    The rows of a source add up to its last one. `omop_rows` is what all rules made of the rows of the entity that are mapped.
    """
    rows = tuple(ledger)
    written = totals_by((row for row in rows if row.disposition is Disposition.WRITTEN), "source", "entity")
    shown = _shown_together(rows, smallest_shown).get("silver", {})
    figures: list[Figure] = []
    for source in sorted(shown.get(TOTAL, {}).keys() - {TOTAL}):
        for name, cells in shown.items():
            place = (source, TOTAL, "", "") if name == TOTAL else name.split(_BETWEEN)
            if place[0] != source:
                continue
            _, entity, outcome, reason = place
            made: int | str = ""
            if outcome == Disposition.MAPPED:
                made = _beside(written.get((source, entity), 0), cells[source], smallest_shown)
            figures.append(
                {
                    "source": source,
                    "entity": entity,
                    "outcome": outcome,
                    "reason": reason,
                    "rows": cells[source],
                    "omop_rows": made,
                }
            )
    return figures


def _beside(number: int, beside: int | str, smallest_shown: int) -> int | str:
    """A number that stands beside another: hidden where that is, or where it is small itself."""
    return HIDDEN if beside == HIDDEN else shown(number, smallest_shown)


def untaken_values(
    ledger: Iterable[LedgerRow], counted: Iterable[Mapping[str, Any]], smallest_shown: int = SMALLEST_SHOWN
) -> list[Figure]:
    """The rows that no rule takes by the values of closed lists: one row per source, entity, reason, column and value.

    `counted` are the stored rows of `ledger.silver_rows`, which are of the last run: nothing is shown of a ledger that they do
    not fit. A reason whose number of rows is hidden has no values, nor has a column whose values that number would give away.
    """
    rows = [record for record in counted if record["disposition"] == Disposition.UNTAKEN]
    totals: dict[tuple[str, ...], int] = defaultdict(int)
    values: dict[tuple[str, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for record in rows:
        place = record["source"], record["entity"], record["reason"]
        if record["column"]:
            values[(*place, record["column"])][record["value"]] += record["rows"]
        else:
            totals[place] += record["rows"]
    ledger = tuple(ledger)
    if totals != totals_by((row for row in ledger if row.disposition is Disposition.UNTAKEN), "source", "entity", "reason"):
        return []
    names = ("source", "entity", "reason")
    shown = {tuple(row[name] for name in names) for row in silver_outcomes(ledger, smallest_shown) if row["rows"] != HIDDEN}
    columns = {
        place: suppressed_breakdowns(totals[place[:3]], [dict(sorted(by_value.items()))], smallest_shown)
        for place, by_value in sorted(values.items())
        if place[:3] in shown
    }
    return [
        {**dict(zip((*names, "column"), place, strict=True)), "value": value, "rows": rows}
        for place, (total, (by_value,)) in columns.items()
        if total != HIDDEN
        for value, rows in by_value.items()
    ]


def opt_out_entries(ledger: Iterable[LedgerRow], smallest_shown: int = SMALLEST_SHOWN) -> list[Figure]:
    """The entries of each opt-out list: how many match somebody, and how many nobody and why."""
    counts: dict[str, dict[str, int]] = defaultdict(dict)
    for row in ledger:
        if row.disposition in (Disposition.MATCHED, Disposition.UNMATCHED):
            outcome = row.reason or str(row.disposition)
            counts[row.entity][outcome] = counts[row.entity].get(outcome, 0) + row.rows
    return _shown("list", counts, smallest_shown)


def orphans(ledger: Iterable[LedgerRow], smallest_shown: int = SMALLEST_SHOWN) -> list[Figure]:
    """Rows whose other row is missing: one row per source, entity, provider and reference, the last one of all together."""
    missing = [row for row in ledger if row.disposition is Disposition.ORPHAN and row.rows]
    places = {f"{row.source}.{row.entity}@{row.provider} {row.reason}": row for row in missing}
    cells = suppressed({name: {"rows": places[name].rows} for name in sorted(places)}, smallest_shown) if places else {}
    return [
        {
            "source": places[name].source if name in places else TOTAL,
            "entity": places[name].entity if name in places else "",
            "provider": places[name].provider if name in places else "",
            "reference": places[name].reason.removeprefix(ORPHAN) if name in places else "",
            "rows": shown["rows"],
        }
        for name, shown in cells.items()
    ]


def unreadable(ledger: Iterable[LedgerRow], smallest_shown: int = SMALLEST_SHOWN) -> list[Figure]:
    """Values that could not be read: one row per source, provider, entity and column, the last one of all together."""
    counts = {
        (row.source, row.provider, row.entity, row.reason.removeprefix(UNREADABLE)): row.rows
        for row in ledger
        if row.disposition is Disposition.UNREADABLE
    }
    places = {" ".join(place): place for place in sorted(counts)}
    cells = suppressed({name: {"values": counts[place]} for name, place in places.items()}, smallest_shown) if counts else {}
    names = ("source", "provider", "entity", "column")
    return [
        {**dict(zip(names, places.get(name, (TOTAL, "", "", "")), strict=True)), "values": shown["values"]}
        for name, shown in cells.items()
    ]


def doubts(ledger: Iterable[LedgerRow]) -> dict[str, list[Figure]]:
    """What a run found that cannot be, by title: people with an identity conflict, implausible rows by what became of them."""
    rows = tuple(ledger)
    implausible = [row for row in rows if row.reason.startswith(IMPLAUSIBLE)]
    tables = {
        "people with an identity conflict": reasons(rows, Disposition.IDENTITY_CONFLICT),
        "implausible rows set aside": reasons(implausible, Disposition.EXCLUDED),
        "implausible rows published": reasons(implausible, Disposition.FLAGGED),
    }
    return {title: shown for title, shown in tables.items() if shown}


def coding(ledger: Iterable[LedgerRow], smallest_shown: int = SMALLEST_SHOWN) -> list[Figure]:
    """How the coded rows of each source fared, and the share of them that has a standard concept."""
    outcomes = next(balance.right for balance in BALANCES if balance.stage is Stage.CODE)
    counts: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(map(str, outcomes), 0))
    for row in ledger:
        if row.stage is Stage.CODE and row.disposition in outcomes:
            counts[row.source][str(row.disposition)] += row.rows
    exact = {**counts, TOTAL: {str(o): sum(cells[str(o)] for cells in counts.values()) for o in outcomes}}
    rows = suppressed(dict(sorted(counts.items())), smallest_shown) if counts else {}
    return [
        {"source": source, "coded": cells.pop(TOTAL), **cells, "mapped": _percentage(exact[source], cells, smallest_shown)}
        for source, cells in rows.items()
    ]


def _percentage(exact: dict[str, int], shown: dict[str, int | str], smallest_shown: int) -> str:
    """The share with a standard concept; to whole per cent where a number of the row is hidden. Only all are 100 %."""
    coded = sum(exact.values())
    if coded < smallest_shown:
        return HIDDEN if coded else ""
    standard = exact[str(Disposition.STANDARD)]
    share = f"{standard / coded:.{0 if HIDDEN in shown.values() else 1}%}"
    return f">99{share.removeprefix('100').replace('.0', '.9')}" if share.startswith("100") and standard < coded else share


def same_facts(counts: Iterable[tuple[str, str, int]], smallest_shown: int = SMALLEST_SHOWN) -> list[Figure]:
    """Rows that say what a row of another recorder says: one row per table, one column per confidence.

    `counts` are tables, confidences and rows.
    """
    cells: dict[str, dict[str, int]] = defaultdict(dict)
    for table, confidence, rows in counts:
        cells[table][confidence] = rows
    return _shown("table", cells, smallest_shown)


def run_figures(ledger: Iterable[LedgerRow], smallest_shown: int = SMALLEST_SHOWN) -> Figure:
    """The numbers of a run, one for each kind of row, as the report has them: none that it hides follows from these.

    Those that are no total of its tables are in tens.
    """
    rows = tuple(ledger)
    flow, entries = _last(row_figures(rows, smallest_shown).flow), _last(opt_out_entries(rows, smallest_shown))
    listed, matched = entries.get(TOTAL, 0), entries.get(str(Disposition.MATCHED), 0)
    sums: dict[Disposition, int] = defaultdict(int)
    for row in rows:
        sums[row.disposition] += row.rows
    implausible = sum(row.rows for row in rows if row.stage is Stage.MAP and row.reason.startswith(IMPLAUSIBLE))
    return {
        "rows_in": flow.get(str(Disposition.DELIVERED), 0),
        "current": flow.get(str(Disposition.CURRENT), 0),
        "opted_out": flow.get(str(Disposition.OPTED_OUT), 0),
        "quarantined": flow.get(str(Disposition.QUARANTINED), 0),
        "orphans": _last(orphans(rows, smallest_shown)).get("rows", 0),
        "opt_out_entries": listed,
        "opt_out_entries_unmatched": listed - matched if isinstance(listed, int) and isinstance(matched, int) else HIDDEN,
        "unreadable": _last(unreadable(rows, smallest_shown)).get("values", 0),
        "withheld": rounded(sums[Disposition.WITHHELD], smallest_shown),
        "mapped": _last(coding(rows, smallest_shown)).get("mapped", ""),
        "identity_conflicts": _last(reasons(rows, Disposition.IDENTITY_CONFLICT, smallest_shown)).get(TOTAL, 0),
        "implausible": rounded(implausible, smallest_shown),
        "taken_by_no_rule": rounded(sums[Disposition.UNTAKEN], smallest_shown),
        "omop_rows": rounded(sums[Disposition.WRITTEN], smallest_shown),
    }


def _last(figures: Sequence[Figure]) -> Figure:
    """The row of all together; empty where nothing was counted."""
    return figures[-1] if figures else {}


def gate_figures(results: Sequence[GateResult]) -> list[Figure]:
    """The checks by zone: how many were made, how many failed, how many warned, how many failures are waived."""
    zones = list(dict.fromkeys(result.check.zone for result in results))
    return [
        {
            "zone": str(zone),
            "checks": sum(result.check.zone is zone for result in results),
            "failed": sum(r.check.zone is zone and r.verdict is Verdict.FAILED for r in results),
            "warnings": sum(r.check.zone is zone and r.verdict is Verdict.WARNED for r in results),
            "waived": sum(r.check.zone is zone and r.verdict is Verdict.WAIVED for r in results),
        }
        for zone in zones
    ]
