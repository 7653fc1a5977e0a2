"""What a release is against the one that readers see: what it lost, means that moved, old extracts. Plain arithmetic."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.contracts.gate_policy import ChangeLimits
from pipelines.contracts.ledger import Disposition, LedgerRow, Stage
from pipelines.quality.checks import Check, Rule, Severity, Zone
from pipelines.quality.gates import ROWS_TO_JUDGE, Measured, by_disposition
from pipelines.quality.release_figures import FigureKind

SHOWN_MONTHS = 5
"""Months that a result names; it counts all of them."""

Counts = Mapping[str, int]


@dataclass(frozen=True)
class Mean:
    """The mean of some values and their standard deviation."""

    values: int
    mean: float
    spread: float


@dataclass(frozen=True)
class Figures:
    """The figures of one release, as they are compared.

    Rows by table, and by source over all tables; rows by (source, table) and month; people by table; coded rows and those with
    a standard concept by (source, vocabulary); means by (table, item).
    """

    rows: Counts
    rows_of_sources: Counts
    months: Mapping[tuple[str, str], Counts]
    people: Counts
    mapped: Mapping[tuple[str, str], tuple[int, int]]
    means: Mapping[tuple[str, str], Mean]

    @classmethod
    def of(cls, records: Iterable[Mapping[str, Any]]) -> "Figures":
        """The figures of stored records (FIGURE_SCHEMA)."""
        rows, of_sources, people = defaultdict[str, int](int), defaultdict[str, int](int), dict[str, int]()
        months: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
        mapped: dict[tuple[str, str], tuple[int, int]] = {}
        means: dict[tuple[str, str], Mean] = {}
        for record in records:
            table, source, item, number = (record[name] for name in ("table", "source", "item", "rows"))
            match FigureKind(record["figure"]):
                case FigureKind.ROWS:
                    rows[table] += number
                case FigureKind.MONTH:
                    rows[table] += number
                    of_sources[source] += number
                    months[source, table][item] = number
                case FigureKind.PEOPLE:
                    people[table] = number
                case FigureKind.MAPPED:
                    mapped[source, item] = number, record["part"]
                case FigureKind.VALUE | FigureKind.STAY:
                    means[table, item] = Mean(number, record["mean"], record["spread"] or 0.0)
        return cls(dict(rows), dict(of_sources), dict(months), people, mapped, means)


def people_check(now: Figures) -> Measured:
    """That there is anybody: a CDM of nobody is never released."""
    nobody = not now.rows.get("person")
    return Measured(Check(Zone.OMOP, "person", Rule.PEOPLE), 1, int(nobody), "nobody is in the CDM" if nobody else "")


def change_checks(now: Figures, before: Figures, limits: ChangeLimits) -> Iterator[Measured]:
    """What `now` has lost of `before`; what had fewer than the least numbers is passed over."""
    for table, rows in sorted(before.rows.items()):
        if rows >= limits.least_rows:
            yield _lost(Check(Zone.OMOP, table, Rule.ROWS_LOST), rows, now.rows.get(table, 0))
    for source, rows in sorted(before.rows_of_sources.items()):
        if rows >= limits.least_rows:
            yield _lost(Check(Zone.RUN, source, Rule.ROWS_LOST), rows, now.rows_of_sources.get(source, 0))
    for table, people in sorted(before.people.items()):
        if people >= limits.least_people:
            yield _lost(Check(Zone.OMOP, table, Rule.PEOPLE_LOST), people, now.people.get(table, 0))
    yield from _months(now, before, limits)
    yield from _mapped(now, before, limits)
    yield from _means(now, before, limits)


def untaken_checks(now: Iterable[LedgerRow], before: Iterable[LedgerRow]) -> Iterator[Measured]:
    """Rows of an entity that no rule takes, beyond their share in the ledger before.

    An entity that is new, or has fewer than ROWS_TO_JUDGE rows now or then, is not judged.
    """
    former = by_disposition(before, Stage.TAKE, "source", "entity")
    for key, rows in by_disposition(now, Stage.TAKE, "source", "entity").items():
        then, silver = former.get(key, {}), rows[Disposition.SILVER]
        if min(silver, then.get(Disposition.SILVER, 0)) >= ROWS_TO_JUDGE:
            share, untaken = then.get(Disposition.UNTAKEN, 0) / then[Disposition.SILVER], rows[Disposition.UNTAKEN]
            detail = f"{share:.1%} before, {untaken / silver:.1%} now"
            yield Measured(
                Check(Zone.RUN, "_".join(key), Rule.UNTAKEN), silver, max(0, untaken - round(silver * share)), detail
            )


def _lost(check: Check, before: int, now: int) -> Measured:
    return Measured(check, before, max(0, before - now), f"{before} before, {now} now")


def _months(now: Figures, before: Figures, limits: ChangeLimits) -> Iterator[Measured]:
    for place, rows in sorted(before.months.items()):
        judged = {month: n for month, n in sorted(rows.items()) if month and n >= limits.least_month_rows}
        found = now.months.get(place, {})
        lost = [month for month, n in judged.items() if found.get(month, 0) < n * (1 - limits.month_loss)]
        if judged:
            named = [f"{month}: {judged[month]} before, {found.get(month, 0)} now" for month in lost[-SHOWN_MONTHS:]]
            yield Measured(Check(Zone.RUN, place[0], Rule.MONTHS_LOST, place[1]), len(judged), len(lost), "; ".join(named))


def _mapped(now: Figures, before: Figures, limits: ChangeLimits) -> Iterator[Measured]:
    for (source, vocabulary), (rows, mapped) in sorted(before.mapped.items()):
        rows_now, mapped_now = now.mapped.get((source, vocabulary), (0, 0))
        if min(rows, rows_now) >= limits.least_rows:
            expected = round(rows_now * mapped / rows)
            detail = f"{mapped / rows:.1%} before, {mapped_now / rows_now:.1%} now"
            fewer = max(0, expected - mapped_now)
            yield Measured(Check(Zone.RUN, source, Rule.MAPPED_FELL, vocabulary), rows_now, fewer, detail)


def _means(now: Figures, before: Figures, limits: ChangeLimits) -> Iterator[Measured]:
    for (table, item), then in sorted(before.means.items()):
        today = now.means.get((table, item), Mean(0, 0.0, 0.0))
        if min(then.values, today.values) >= limits.least_values:
            # Where values lie around zero a share of their mean is nothing: then it is the spread that says what is far.
            far = limits.mean_move * max(abs(then.mean), then.spread, today.spread)
            moved = today.values if abs(today.mean - then.mean) > far else 0
            detail = f"mean {then.mean:g} before, {today.mean:g} now"
            yield Measured(Check(Zone.OMOP, table, Rule.MEAN_MOVED, item), today.values, moved, detail)


def age_checks(newest: Mapping[tuple[str, str], date], day: date, limits: ChangeLimits) -> Iterator[Measured]:
    """How old the newest extract of each source and provider is, where anything is said of its age."""
    for (source, provider), extracted in sorted(newest.items()):
        most, age = limits.oldest_allowed(source, provider), (day - extracted).days
        if most is not None:
            check = Check(Zone.RUN, f"{source}@{provider}", Rule.EXTRACT_AGE, severity=Severity.WARN)
            yield Measured(check, 1, int(age > most), f"of {extracted}, {age} days old, {most} allowed")
