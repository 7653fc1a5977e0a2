"""The lines that could not be used: where each was delivered and which rule it breaks, never what it holds."""

from dataclasses import dataclass
from typing import Final

from pipelines.contracts.zones import Zone
from pipelines.curate.tables import LINES
from pipelines.progress import Field
from pipelines.release.reading import read_delta
from pipelines.settings import Settings, table_folders
from pipelines.tracing.lake import check_restricted
from pipelines.tracing.meanings import RULES, beginning_of, explained, rule_of

_PLACES: Final = ("source", "entity", "provider", "reason")


@dataclass(frozen=True, slots=True)
class Quarantined:
    """The chosen lines counted by place and reason, the first of them one by one, and how many there are."""

    by_reason: list[dict[str, Field]]
    lines: list[dict[str, Field]]
    total: int


def quarantined(
    settings: Settings, limit: int, source: str | None = None, provider: str | None = None, reason: str | None = None
) -> Quarantined:
    """The lines that the newest run could not use, those of a source, a provider or a reason if one is given.

    A reason is given whole (`missing:nhs_number`) or as its rule (`missing`). Raises RightsError without rights to the
    restricted root, ReleaseError before the first run.
    """
    from pyarrow import compute
    from pyarrow.dataset import field

    paths = table_folders(settings)
    check_restricted(settings)
    if paths.version(Zone.QUARANTINE, LINES) is None:
        return Quarantined([], [], 0)
    chosen = compute.scalar(True)
    for name, value in (("source", source), ("provider", provider)):
        chosen = chosen if value is None else chosen & (field(name) == value)
    if reason is not None:
        chosen = chosen & ((field("reason") == reason) | compute.starts_with(field("reason"), beginning_of(reason)))
    order = [*_PLACES, "folder", "file_name", "line"]
    rows = read_delta(paths.path(Zone.QUARANTINE, LINES)).to_table(columns=order, filter=chosen)
    counted = rows.group_by(list(_PLACES)).aggregate([([], "count_all")])
    ordered = counted.sort_by([("count_all", "descending"), *((name, "ascending") for name in _PLACES)])
    first = rows.sort_by([(name, "ascending") for name in order]).slice(0, limit)
    return Quarantined(
        [
            {name: row[name] for name in _PLACES} | {"lines": row["count_all"], "because": explained(row["reason"])}
            for row in ordered.to_pylist()
        ],
        [_shown(row) for row in first.to_pylist()],
        rows.num_rows,
    )


def is_reason(text: str) -> bool:
    """Whether lines can have a reason, or any that begins with it, as far as its rule says."""
    return rule_of(text) in RULES


def _shown(row: dict[str, str]) -> dict[str, Field]:
    rule, column = rule_of(row["reason"]), row["reason"].partition(":")[2]
    return {
        "file": f"{row['source']}/{row['provider']}/{row['folder']}/{row['file_name']}",
        "line": row["line"],
        "entity": row["entity"],
        "rule": rule,
        "column": column if rule in ("missing", "unreadable") else "",
        "reason": row["reason"],
    }
