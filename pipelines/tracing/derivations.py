"""How the rows of each table are made of records, or of other rows of the release.

A row of most tables says itself which record and rule it is of. A visit is also of the other parts of its spell; a person, an
observation period, an era, a place and the rows of derived tables are of several records or rows, which are found by what made
them so.
"""

import re
from collections.abc import Callable, Iterator
from typing import Final

from pipelines.contracts.cdm import EVENT_TABLES, CdmTable
from pipelines.contracts.derived import DERIVED_TABLES
from pipelines.contracts.zones import Zone
from pipelines.mapping.spec import Target
from pipelines.omop.declared import DEATHS, PERIODS, ROW_TABLES, VISIT_DETAILS, VISITS
from pipelines.omop.periods import CONTACT_TABLES
from pipelines.tracing.eras import condition_era, dose_era, drug_era
from pipelines.tracing.lake import Between, Lake, Record
from pipelines.tracing.origins import MAPPED, ROWS_WITH_ID, SOUND, Key, Origins, listed, mapped, own, table_of_id, through

VISIT_TABLES: Final = {
    "visit_occurrence": (VISITS, Target.VISIT),
    "visit_detail": (VISIT_DETAILS, Target.VISIT_DETAIL),
}
"""The tables of visits: where their keys are stored, and the target of the mapped rows that are their parts."""

_ONE_RECORD: Final = "one record, by the rule that took it"


def origins_of(lake: Lake, table: CdmTable, row: Record, limit: int) -> Origins:
    """What a row of a table is made of, at most `limit` of it."""
    if table.name in _SPECIAL:
        return _SPECIAL[table.name](lake, row, limit)
    if table.name in EVENT_TABLES:
        return Origins((own(row),), 1, _ONE_RECORD)
    refers = list(_referred(lake, table, row))
    if refers:
        return through(lake, refers, limit, "the rows that it names")
    if "person_id" in table.schema:
        how = "rows of the person, and it does not say which; these records describe the person"
        return mapped(lake, Target.PERSON, {"person_id": row["person_id"]} | SOUND, limit, how)
    return without_records(table)


def without_records(table: CdmTable) -> Origins:
    """What a row is made of that is of no record."""
    if table.name in DERIVED_TABLES:
        return Origins((), 0, "other tables of the release; docs/graph.md names them")
    how = "the vocabulary release, local concepts and local maps" if table.is_vocabulary else "settings and the vocabulary"
    return Origins((), 0, f"{how}: no delivered row has part in it")


def key_columns(table: CdmTable) -> tuple[str, ...]:
    """The columns by one of which a row is asked for: the primary key, else every id that is no concept, else the person."""
    if table.primary_key:
        return (table.primary_key,) if table.column(table.primary_key).type == "bigint" else ()
    ids = [
        column.name
        for column in table.columns
        if column.type == "bigint" and _ID.search(column.name) and "concept_id" not in column.name
    ]
    return tuple(name for name in ids if name != "person_id") or tuple(ids)


_ID: Final = re.compile(r"_id(_[12])?$")


def _visit(name: str) -> Callable[[Lake, Record, int], Origins]:
    stored, target = VISIT_TABLES[name]

    def parts(lake: Lake, row: Record, limit: int) -> Origins:
        keys = lake.rows(*stored, {"id": row[f"{name}_id"]}, ("key", "person_id"))
        if not keys:
            return Origins((own(row),), 1, _ONE_RECORD)
        found, total = lake.some(Zone.INTERMEDIATE, ROW_TABLES[target], keys[0] | SOUND, MAPPED, limit)
        how = _ONE_RECORD if total == 1 else "its parts, which name the same spell"
        return listed(found, total, how, lambda part: "first part" if part["_row_key"] == row["_row_key"] and total > 1 else "")

    return parts


def _person(lake: Lake, row: Record, limit: int) -> Origins:
    how = "every record that describes the person; each attribute is from the first that knows it"
    return mapped(lake, Target.PERSON, {"person_id": row["person_id"]} | SOUND, limit, how)


def _death(lake: Lake, row: Record, limit: int) -> Origins:
    rows = lake.rows(*DEATHS, {"person_id": row["person_id"]}, ("is_chosen", *MAPPED))
    chosen_first = sorted(rows, key=lambda death: not death["is_chosen"])
    how = "the records that state the death; the death table has the chosen one"
    return listed(chosen_first[:limit], len(rows), how, lambda death: "chosen" if death["is_chosen"] else "not chosen")


def _death_record(lake: Lake, row: Record, limit: int) -> Origins:
    where = {"person_id": row["person_id"], "death_date": row["death_date"], "_rule": row["mapping_rule"]}
    rows = lake.rows(*DEATHS, where | {"is_chosen": bool(row["is_chosen"])}, MAPPED)
    return listed(rows[:limit], len(rows), "the record that states the death")


def _observation_period(lake: Lake, row: Record, limit: int) -> Origins:
    person, start, end = (row[name] for name in ("person_id", *_PERIOD))
    periods = lake.rows(*PERIODS, {"person_id": person, "start_date": start})
    if periods and periods[0]["_rule"]:
        registered = lake.rows(Zone.INTERMEDIATE, ROW_TABLES[Target.OBSERVATION_PERIOD], {"person_id": person} | SOUND)
        within = [spell for spell in registered if spell["start_date"] <= end and (spell["end_date"] or end) >= start]
        return listed(within[:limit], len(within), "the registrations of the person in it")
    contacts: list[Key] = []
    for name in ("visit_occurrence", *CONTACT_TABLES):
        day = _START_OF[name]
        found = lake.released(name, {"person_id": person, day: Between(start, end)}, (day, f"{name}_id"))
        contacts += [(name, contact[f"{name}_id"]) for contact in found]
    return through(lake, contacts, limit, "the contacts of the person in it")


_PERIOD: Final = ("observation_period_start_date", "observation_period_end_date")

_START_OF: Final = {
    "visit_occurrence": "visit_start_date",
    "drug_exposure": "drug_exposure_start_date",
    "measurement": "measurement_date",
    "procedure_occurrence": "procedure_date",
}


def _care_site(lake: Lake, row: Record, limit: int) -> Origins:
    code = row["care_site_source_value"]
    described = lake.rows(Zone.INTERMEDIATE, ROW_TABLES[Target.CARE_SITE], {}, (*MAPPED, "care_site_code"))
    describing = [site for site in described if (site["care_site_code"] or "").strip().upper() == code]
    if describing:
        return listed(describing[:limit], len(describing), "the records that describe the organisation")
    named = [
        (name, naming[f"{name}_id"])
        for name in ("visit_occurrence", "visit_detail", "provider", "person")
        for naming in lake.released(name, {"care_site_id": row["care_site_id"]}, (f"{name}_id",))
    ]
    return through(lake, named, limit, "no record describes the organisation; these rows name it")


def _location(lake: Lake, row: Record, limit: int) -> Origins:
    area = {"postcode_area": row["location_source_value"]}
    sites = mapped(lake, Target.CARE_SITE, area, limit, "")
    people = mapped(lake, Target.PERSON, area | SOUND, limit - len(sites.first), "")
    how = "the records of organisations, then those of people, with the postcode area"
    return Origins((*sites.first, *people.first), sites.total + people.total, how)


def _provider(lake: Lake, row: Record, limit: int) -> Origins:
    where = {"_row_key": row["provider_source_value"]}
    return mapped(lake, Target.PROVIDER, where, limit, "the record that describes the member of staff")


def _observability(lake: Lake, row: Record, limit: int) -> Origins:
    where: Record = {"person_id": row["person_id"], "_source": row["source"], "_provider": row["provider"]} | SOUND
    if row["basis"] == "registration":
        return mapped(lake, Target.OBSERVATION_PERIOD, where, limit, "the registrations of the person with the provider")
    how = "the records of the person from the provider; the span is that of what the provider has delivered"
    return mapped(lake, Target.PERSON, where, limit, how)


def _visit_timing(lake: Lake, row: Record, limit: int) -> Origins:
    keys = lake.rows(*VISITS, {"id": row["visit_occurrence_id"]}, ("key", "person_id"))
    if not keys:
        return Origins((), 0, "records of the visit, which is not there any more")
    where: Record = {"visit_key": keys[0]["key"], "person_id": keys[0]["person_id"]}
    wanted = (*MAPPED, row["milestone"])
    found = lake.rows(Zone.INTERMEDIATE, ROW_TABLES[Target.VISIT_TIMING], where, wanted)
    stating = [record for record in found if record[row["milestone"]] is not None]
    return listed(stating[:limit], len(stating), "the records of the visit that have the milestone; the earliest counts")


def _spell(lake: Lake, row: Record, limit: int) -> Origins:
    members = lake.released(
        "continuous_inpatient_spell_visit",
        {"continuous_inpatient_spell_id": row["continuous_inpatient_spell_id"]},
        ("visit_number", "visit_occurrence_id"),
    )
    keys = [("visit_occurrence", member["visit_occurrence_id"]) for member in members]
    return through(lake, keys, limit, "the visits that it joins, in their order")


_SPECIAL: Final[dict[str, Callable[[Lake, Record, int], Origins]]] = {
    **{name: _visit(name) for name in VISIT_TABLES},
    "person": _person,
    "death": _death,
    "death_record": _death_record,
    "observation_period": _observation_period,
    "condition_era": condition_era,
    "drug_era": drug_era,
    "dose_era": dose_era,
    "care_site": _care_site,
    "location": _location,
    "provider": _provider,
    "observability": _observability,
    "visit_timing": _visit_timing,
    "continuous_inpatient_spell": _spell,
}
"""The tables whose rows do not say themselves which records they are of."""


def _referred(lake: Lake, table: CdmTable, row: Record) -> Iterator[Key]:
    """The rows of tables with records that a row names: by a reference, by `event_table`, or by an id alone."""
    for column in table.columns:
        value = row[column.name]
        if value is None or column.name == "person_id":
            continue
        target = column.references[0] if column.references else ""
        if target in ROWS_WITH_ID:
            yield target, value
        elif column.name in ("event_id", "other_event_id", "fact_id_1", "fact_id_2"):
            named = row.get("event_table")
            yield from ((name, value) for name in ([named] if named else table_of_id(lake, value)))
