"""A delivery against what its provider sent before: lost columns, lost records, lost values.

Like is compared with like: full extracts with full extracts, a period with its last submission, changes with changes. A first
full extract cannot have fewer records than the largest delivery before it, and a column that is missing is looked for in
whatever came last.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from pipelines.contracts.deliveries import DeliveryLimits, WhenExceeded
from pipelines.contracts.source import Entity

COMPARED = 5
"""The number of past deliveries whose records are taken together to know the usual share of values."""


@dataclass(frozen=True)
class Content:
    """What a delivery held of one entity: its records, and how many of them had a value in each column that was there.

    `periods` are the records of each reporting period that it replaces; None where they are not known.
    """

    mode: str
    rows: int
    filled: Mapping[str, int]
    periods: Mapping[str, int | None] = field(default_factory=dict)


@dataclass
class Drift:
    """What is unusual about a delivery: what stops it, and what is only said."""

    stops: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, fault: str, action: WhenExceeded) -> None:
        """Enter a fault by what its limit does."""
        if action is WhenExceeded.STOP:
            self.stops.append(fault)
        elif action is WhenExceeded.WARN:
            self.warnings.append(fault)


def compare(
    name: str,
    spec: Entity,
    new: Content,
    past: Sequence[Content],
    limits: DeliveryLimits,
    submitted: Mapping[str, int | None] = MappingProxyType({}),
) -> Drift:
    """What is unusual about the content of an entity, after past deliveries of its provider (the oldest first).

    `submitted` are the records that each reporting period had when it was last submitted, where they are known.
    """
    drift = Drift()
    lost = _lost_columns(spec, new, past)
    if lost:
        drift.add(f"{name}: columns that had values in earlier deliveries are missing: {', '.join(lost)}", limits.lost_column)
    alike = [content for content in past if content.mode == new.mode]
    most = alike[-1].rows if alike else max((content.rows for content in past), default=0)
    if new.mode == "full" and most:
        said = "the last full extract" if alike else "the largest earlier delivery"
        _compare_rows(name, new.rows, most, said, limits, drift, with_growth=bool(alike))
    elif new.mode == "period":
        for period, rows in sorted(new.periods.items()):
            if rows is not None and (past_rows := submitted.get(period) or 0) >= limits.fewest_records:
                _compare_rows(f"{name} of period {period}", rows, past_rows, "its last submission", limits, drift)
    _compare_values(name, spec, new, alike[-COMPARED:], limits, drift)
    return drift


def lost_files(delivered: Collection[str], past: Sequence[Mapping[str, int]], limits: DeliveryLimits) -> list[str]:
    """What to say of entities of which a full extract or a submission has no file, though each of the last ones had records.

    `past` are their records by entity, the oldest first. Nothing of such an entity is replaced, so what came before counts on.
    """
    last = past[-COMPARED:]
    lost = [
        name
        for name, rows in (last[-1] if last else {}).items()
        if name not in delivered and rows >= limits.fewest_records and all(earlier.get(name) for earlier in last)
    ]
    return [f"{name}: no file, the last had {last[-1][name]} records; what came before counts on" for name in sorted(lost)]


def _lost_columns(spec: Entity, new: Content, past: Sequence[Content]) -> list[str]:
    """Columns that the last delivery still had and that had values before: a small delivery may have none in a column."""
    last = next((content for content in reversed(past) if content.rows), None)
    if last is None:
        return []
    used = {name for content in past for name, filled in content.filled.items() if filled and name in last.filled}
    return [column.header or name for name, column in spec.columns.items() if name in used and name not in new.filled]


def _compare_rows(
    name: str, new: int, last: int, said: str, limits: DeliveryLimits, drift: Drift, *, with_growth: bool = True
) -> None:
    """The records of a full extract or of a period against those that it replaces: it deletes what it does not have."""
    counts = f"{new} records, {said} had {last}"
    if not new:
        drift.add(f"{name}: no record, {said} had {last}", limits.empty_full)
    elif last >= limits.fewest_records and new < last * (1 - limits.max_shrinkage):
        drift.add(f"{name}: {counts}; at most {limits.max_shrinkage:.0%} may be gone", WhenExceeded.STOP)
    elif with_growth and new >= limits.fewest_records and new > last * (1 + limits.max_growth):
        drift.add(f"{name}: {counts}; at most {limits.max_growth:.0%} more are usual", WhenExceeded.WARN)


def _compare_values(
    name: str, spec: Entity, new: Content, past: Sequence[Content], limits: DeliveryLimits, drift: Drift
) -> None:
    for column, filled in new.filled.items():
        before = [content for content in past if column in content.filled]
        rows = sum(content.rows for content in before)
        if column not in spec.columns or min(rows, new.rows) < limits.fewest_records:
            continue
        usual = sum(content.filled[column] for content in before) / rows
        share = filled / new.rows
        if usual - share > limits.max_more_empty:
            header = spec.columns[column].header or column
            fault = f"{name}: {1 - share:.0%} of the records have no {header}, usual are {1 - usual:.0%}"
            drift.add(f"{fault}; at most {limits.max_more_empty:.0%} more are allowed", WhenExceeded.STOP)
