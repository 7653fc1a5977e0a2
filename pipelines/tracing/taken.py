"""The rows of a release that one record of silver is in, by the rules that took it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from pipelines.contracts.cdm import ROUTED_TABLES
from pipelines.contracts.ledger import IMPLAUSIBLE
from pipelines.contracts.zones import Zone
from pipelines.mapping.compile import PERSON_BOUND, groups_events
from pipelines.mapping.counts import DEDUPLICATED
from pipelines.mapping.outcomes import UNKNOWN_PERSON, UNOBSERVED_PERSON
from pipelines.mapping.spec import EXPECTED_DAYS, MOMENTS, Rule, Target
from pipelines.omop.declared import DEATHS, KNOWN, UNOBSERVED, VISIT_DETAILS, VISITS, row_table
from pipelines.omop.periods import OUTSIDE
from pipelines.progress import Field
from pipelines.tracing.lake import Lake, Record
from pipelines.tracing.reasons import KEPT, Judged

Judge = Callable[[str, Sequence[Rule], str], Judged]
"""Asks rules of a source about the row of silver with a key; opens an engine."""

Row = tuple[str, int]
"""A table and the id of a row of it."""

NOT_RELEASED: Final = "not in this release: it was taken after the release was made, or another row counts"


@dataclass(frozen=True, slots=True)
class Taken:
    """The rows that a record is in, each with its rule, and the reasons of rules where no rule took it."""

    rows: list[dict[str, Field]] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)


def rows_of_record(lake: Lake, source: str, rules: Sequence[Rule], row_key: str, judge: Judge) -> Taken:
    """What the rules for its entity made of a record.

    The rules themselves are asked only where no rule took it, or where one may have taken it for part of another event.
    """
    taken = Taken()
    names = {rule.name: rule for rule in rules}
    for table in dict.fromkeys(row_table(rule.to, source) for rule in rules):
        for mapped in lake.rows(*table, {"_row_key": row_key, "_rule": list(names)}):
            taken.rows.extend(_shown(lake, names[mapped["_rule"]], mapped))
    missing = [rule for rule in rules if rule.name not in {row["rule"] for row in taken.rows}]
    grouping = [rule for rule in missing if groups_events(rule)]
    asked = grouping if taken.rows else missing
    if not asked:
        return taken
    judged = judge(source, asked, row_key)
    for rule in grouping:
        if judged.reasons.get(rule.name) == KEPT:
            taken.rows.extend(_part_of_event(lake, source, rule, judged.event_keys[rule.name], row_key))
    if not taken.rows:
        for name, reason in judged.reasons.items():
            taken.reasons[name] = reason or _person_reason(lake, names[name], source, row_key)
    return taken


def _person_reason(lake: Lake, rule: Rule, source: str, row_key: str) -> str:
    """Why a row that a rule would take is not there: its person is not in the CDM."""
    if rule.to not in PERSON_BOUND - {Target.PERSON}:
        return NOT_RELEASED
    silver = lake.rows(Zone.SILVER, f"{source}_{rule.from_}", {"row_key": row_key}, ("person_id",))
    is_known = bool(silver) and bool(lake.rows(*KNOWN, {"person_id": silver[0]["person_id"]}, ("person_id",)))
    return NOT_RELEASED if is_known else UNKNOWN_PERSON


def _shown(lake: Lake, rule: Rule, mapped: Record) -> list[dict[str, Field]]:
    """The rows of the release that a mapped row is in, or one line that says why it is in none."""
    head: dict[str, Field] = {"rule": rule.name, "makes": rule.to.value}
    if mapped.get("_set_aside"):
        return [head | {"note": f"{IMPLAUSIBLE}{mapped['_set_aside']}"}]
    flagged: dict[str, Field] = {"note": f"{IMPLAUSIBLE}{mapped['_flagged']}, flagged"} if mapped.get("_flagged") else {}
    rows, missing = _ROWS[rule.to](lake, mapped)
    if rows:
        return [head | {"omop_table": table, "id": row_id} | flagged for table, row_id in rows]
    is_unobserved = rule.to in PERSON_BOUND and lake.rows(*UNOBSERVED, {"person_id": mapped["person_id"]})
    return [head | {"note": UNOBSERVED_PERSON if is_unobserved else missing}]


def _part_of_event(lake: Lake, source: str, rule: Rule, key: str, row_key: str) -> list[dict[str, Field]]:
    """The event that a record is part of, which is kept as another record."""
    silver = lake.rows(Zone.SILVER, f"{source}_{rule.from_}", {"row_key": row_key}, ("person_id",))
    where = {"key": key, "person_id": silver[0]["person_id"], "_rule": rule.name}
    kept = lake.rows(*row_table(rule.to, source), where)
    return [row | {"note": DEDUPLICATED} for mapped in kept for row in _shown(lake, rule, mapped)]


_Found = tuple[list[Row], str]
"""The rows of the release, and what is the matter where there is none."""


def _ids(lake: Lake, table: str, id_column: str, **where: object) -> list[Row]:
    if table not in lake.tables:
        return []
    return [(table, row[id_column]) for row in lake.released(table, where, (id_column,))]


def _event(lake: Lake, mapped: Record) -> _Found:
    own = {"_row_key": mapped["_row_key"], "_rule": mapped["_rule"]}
    return [row for table in ROUTED_TABLES for row in _ids(lake, table, f"{table}_id", **own)], NOT_RELEASED


def _visit(lake: Lake, mapped: Record) -> _Found:
    visits = lake.rows(*VISITS, {"key": mapped["key"], "person_id": mapped["person_id"]}, ("id",))
    ids = [visit["id"] for visit in visits]
    return _ids(lake, "visit_occurrence", "visit_occurrence_id", visit_occurrence_id=ids), NOT_RELEASED


def _visit_detail(lake: Lake, mapped: Record) -> _Found:
    details = lake.rows(*VISIT_DETAILS, {"key": mapped["key"], "person_id": mapped["person_id"]}, ("id",))
    ids = [detail["id"] for detail in details]
    return _ids(lake, "visit_detail", "visit_detail_id", visit_detail_id=ids), "visit_missing"


def _person(lake: Lake, mapped: Record) -> _Found:
    return _ids(lake, "person", "person_id", person_id=mapped["person_id"]), UNKNOWN_PERSON


def _death(lake: Lake, mapped: Record) -> _Found:
    where = {"person_id": mapped["person_id"], "_row_key": mapped["_row_key"], "_rule": mapped["_rule"]}
    stated = lake.rows(*DEATHS, where, ("is_chosen",))
    table = "death" if any(death["is_chosen"] for death in stated) else "death_record"
    return list(dict.fromkeys(_ids(lake, table, "person_id", person_id=mapped["person_id"]))), NOT_RELEASED


def _registration(lake: Lake, mapped: Record) -> _Found:
    columns = ("observation_period_start_date", "observation_period_end_date", "observation_period_id")
    periods = lake.released("observation_period", {"person_id": mapped["person_id"]}, columns)
    within = [
        ("observation_period", period["observation_period_id"])
        for period in periods
        if mapped["start_date"] <= period["observation_period_end_date"]
        and (mapped["end_date"] is None or mapped["end_date"] >= period["observation_period_start_date"])
    ]
    return within, OUTSIDE


def _provider(lake: Lake, mapped: Record) -> _Found:
    return _ids(lake, "provider", "provider_id", provider_source_value=mapped["_row_key"]), NOT_RELEASED


def _care_site(lake: Lake, mapped: Record) -> _Found:
    code = (mapped["care_site_code"] or "").strip().upper()
    return _ids(lake, "care_site", "care_site_id", care_site_source_value=code), "no person, visit or member of staff names it"


def _episode(lake: Lake, mapped: Record) -> _Found:
    own = {"_row_key": mapped["_row_key"], "_rule": mapped["_rule"]}
    return _ids(lake, "episode", "episode_id", **own), NOT_RELEASED


def _timing(lake: Lake, mapped: Record) -> _Found:
    visits = lake.rows(*VISITS, {"key": mapped["visit_key"], "person_id": mapped["person_id"]}, ("id",))
    milestones = [name for name in (*MOMENTS, *EXPECTED_DAYS) if mapped.get(name) is not None]
    ids = [visit["id"] for visit in visits]
    rows = _ids(lake, "visit_timing", "visit_occurrence_id", visit_occurrence_id=ids, milestone=milestones)
    return list(dict.fromkeys(rows)), "it has no milestone, or its visit is not there"


_ROWS: Final[dict[Target, Callable[[Lake, Record], _Found]]] = {
    Target.EVENT: _event,
    Target.VISIT: _visit,
    Target.VISIT_DETAIL: _visit_detail,
    Target.PERSON: _person,
    Target.DEATH: _death,
    Target.OBSERVATION_PERIOD: _registration,
    Target.PROVIDER: _provider,
    Target.CARE_SITE: _care_site,
    Target.EPISODE: _episode,
    Target.VISIT_TIMING: _timing,
}
