"""From a row of a release back: the rule, the concept map, the silver row, the file and line, and the delivery."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from pipelines.contracts.cdm import CODE_BUCKET, PROVENANCE_COLUMNS, RECORDER, CdmTable
from pipelines.contracts.source import SILVER_COLUMNS, WITHHELD
from pipelines.contracts.zones import Zone
from pipelines.errors import NothingToTraceError, perhaps_meant
from pipelines.mapping.spec import FIELDS, Target
from pipelines.omop.codes import LOCAL_ORIGIN
from pipelines.omop.declared import LOCAL_MAPS, row_table
from pipelines.progress import Field
from pipelines.tracing.derivations import key_columns, origins_of, without_records
from pipelines.tracing.lake import Lake, Record, shown
from pipelines.tracing.origins import Origin, Origins, table_of_id
from pipelines.tracing.places import NOT_IN_SILVER, Place, line_of, path_of, places_of
from pipelines.tracing.sections import Section, facts

CODE_MAP: Final = "code_map"


def trace_row(lake: Lake, table_name: str, row_id: int | None, limit: int) -> list[Section]:
    """The steps from a row, or from the rows that an id names, to the lines it comes from.

    `row_id` is None for the rows of a table without ids. Raises NothingToTraceError where there is no such table or row.
    """
    table = _table(lake, table_name)
    rows = _rows(lake, table, row_id)
    sections = [_row_section(lake, table, rows[:limit], len(rows))]
    sections += _concepts(lake, table, rows[:limit])
    found = [origins_of(lake, table, row, limit) for row in rows[:limit]] if rows else [without_records(table)]
    first = tuple(dict.fromkeys(origin for origins in found for origin in origins.first))[:limit]
    total = found[0].total if len(found) == 1 else len({origin for origins in found for origin in origins.first})
    origins = Origins(first, total, found[0].how)
    places = places_of(lake, origins.first)
    sections.append(_origins_section(lake, origins, places))
    if len(origins.first) == 1 and origins.total == 1:
        sections += _of_one(lake, origins.first[0], places)
    return sections


def _table(lake: Lake, name: str) -> CdmTable:
    wanted = name.lower().removeprefix("omop.").removeprefix("vocabulary.")
    if wanted in lake.tables:
        return lake.tables[wanted]
    hint = perhaps_meant(wanted, lake.tables) or f"; it has {', '.join(lake.tables)}"
    raise NothingToTraceError(f"release {lake.release.release_id} has no table {wanted}{hint}")


def _rows(lake: Lake, table: CdmTable, row_id: int | None) -> list[Record]:
    """The rows that an id names: one where the table has a primary key."""
    keys = key_columns(table)
    if row_id is None:
        if keys:
            raise NothingToTraceError(f"name a row of {table.name} by its {' or '.join(keys)}")
        return []
    if not keys:
        raise NothingToTraceError(f"rows of {table.name} have no id; nhs-omop trace {table.name} says what they are made from")
    for key in keys:
        rows = lake.released(table.name, {key: row_id})
        if rows:
            return rows
    elsewhere = [f"nhs-omop trace {name} {row_id}" for name in table_of_id(lake, row_id) if name != table.name]
    next_step = f"another table has: {', '.join(elsewhere)}" if elsewhere else "another release may have it: see --release"
    raise NothingToTraceError(
        f"no row of {table.name} has {' or '.join(keys)} {row_id} in release {lake.release.release_id}; {next_step}"
    )


def _row_section(lake: Lake, table: CdmTable, rows: Sequence[Record], total: int) -> Section:
    """What the rows say: what a release publishes of them, and why an end, a date or a kind of evidence is as it is."""
    hidden = [
        name
        for row in rows[:1]
        for name in row
        if name.startswith("_") and name not in (*PROVENANCE_COLUMNS, RECORDER, CODE_BUCKET)
    ]
    names = (*table.schema, *hidden)
    values = [{name.lstrip("_"): shown(row[name]) for name in names if row.get(name) is not None} for row in rows]
    if len(values) == 1:
        return facts("row", release=lake.release.release_id, omop_table=table.name, **values[0])
    if not values:
        return facts("row", release=lake.release.release_id, omop_table=table.name)
    return Section("rows", tuple(values), more=total - len(values))


_CONCEPT: Final = ("concept_id", "concept_name", "vocabulary_id", "concept_code", "domain_id", "standard_concept")


def _concepts(lake: Lake, table: CdmTable, rows: Iterable[Record]) -> list[Section]:
    """What the concepts of the rows mean."""
    if table.is_vocabulary:
        return []
    used: dict[int, str] = {}
    for row in rows:
        for column in table.columns:
            if column.is_concept and row[column.name] is not None:
                used.setdefault(row[column.name], column.name)
    known = {row["concept_id"]: row for row in lake.released("concept", {"concept_id": list(used)}, _CONCEPT)} if used else {}
    listed = [
        {"field": field, **{name: shown(known[concept][name]) for name in _CONCEPT}}
        for concept, field in used.items()
        if concept in known
    ]
    return [Section("concepts", tuple(listed))] if listed else []


def _origins_section(lake: Lake, origins: Origins, places: dict[Origin, Place]) -> Section:
    if not origins.first:
        return facts("made of", records=0, how=origins.how)
    listed = []
    for origin in origins.first:
        place = places.get(origin)
        row: dict[str, Field] = {"role": origin.role, "omop_table": origin.table, "id": shown(origin.id), "rule": origin.rule}
        if place:
            row |= {"silver_table": f"silver.{place.table}", "row_key": origin.row_key} | line_of(lake, place)
            row |= {} if place.silver else {"note": NOT_IN_SILVER}
        elif origin.rule:
            row |= {"row_key": origin.row_key, "note": "the mapping has no such rule any more"}
        listed.append({name: value for name, value in row.items() if value not in (None, "")})
    return Section("made of", tuple(listed), more=origins.total - len(listed), how=f"{origins.total}: {origins.how}")


def _of_one(lake: Lake, origin: Origin, places: dict[Origin, Place]) -> Iterator[Section]:
    """Every step of a row of one record."""
    if origin not in places:
        return
    place = places[origin]
    source, rule = lake.rules[origin.rule]
    yield facts(
        "rule",
        rule=rule.name,
        mapping=f"mappings/{source}/mapping.yaml",
        source=source,
        entity=rule.from_,
        makes=rule.to.value,
        note=rule.note,
    )
    yield from _maps(lake, origin, rule.to, source)
    silver = place.silver
    if silver is None:
        yield facts("silver row", silver_table=f"silver.{place.table}", row_key=origin.row_key, note=NOT_IN_SILVER)
        return
    yield facts(
        "silver row",
        silver_table=f"silver.{place.table}",
        row_key=origin.row_key,
        provider=silver["provider_code"],
        unreadable=silver["_flags"],
        withheld=silver[WITHHELD],
    )
    yield _values(lake, origin, place)
    yield _line(lake, place)


def _maps(lake: Lake, origin: Origin, target: Target, source: str) -> Iterator[Section]:
    """Which code each concept field was given, what it means, and which map says so."""
    stored = lake.rows(*row_table(target, source), {"_row_key": origin.row_key, "_rule": origin.rule})
    if not stored:
        return
    mapped = stored[0]
    listed: list[dict[str, Field]] = []
    for field, kind in FIELDS[target].items():
        if kind != "concept":
            continue
        vocabulary, code, stated = (mapped[f"{field}_{part}"] for part in ("vocabulary", "code", "concept_id"))
        if stated is not None:
            listed.append(
                {"field": field, "vocabulary": vocabulary, "code": code, "concept_id": stated, "map": "the rule itself"}
            )
        elif code is not None:
            listed += [{"field": field, **entry} for entry in _entries(lake, vocabulary, code)]
    if listed:
        yield Section("concept map", tuple(listed))
    judged = {name: mapped.get(f"_{name}") for name in ("set_aside", "flagged")}
    if any(judged.values()):
        yield facts("plausibility", **judged)


def _entries(lake: Lake, vocabulary: str, code: str) -> list[dict[str, Field]]:
    """The entries of the concept map for a code: Athena's, or those of a local map with its file."""
    where = {"source_vocabulary_id": vocabulary, "source_code": code}
    entries = sorted(lake.rows(Zone.INTERMEDIATE, CODE_MAP, where), key=lambda entry: entry["ordinal"])
    given: list[dict[str, Field]] = []
    for entry in entries:
        is_local = entry["map_origin"] == LOCAL_ORIGIN
        files = {row["file"] for row in lake.rows(*LOCAL_MAPS, where, ("file",))} if is_local else set()
        given.append(
            {
                "vocabulary": vocabulary,
                "code": code,
                "source_concept_id": entry["source_concept_id"],
                "concept_id": entry["target_concept_id"],
                "value_as_concept_id": entry["value_as_concept_id"],
                "map": f"{entry['map_origin'] or 'none: no map has the code'} {', '.join(sorted(files))}".rstrip(),
            }
        )
    return given or [{"vocabulary": vocabulary, "code": code, "map": "none: no map has the code"}]


def _values(lake: Lake, origin: Origin, place: Place) -> Section:
    """What silver has of the record; its contract lets no identifier into silver."""
    row = lake.rows(Zone.SILVER, place.table, {"row_key": origin.row_key})[0]
    wanted = lake.contracts[place.source].entities[place.entity].silver_columns
    read = lake.mappings[place.source].columns_read.get(place.entity, frozenset())
    listed = [
        {"column": name, "value": shown(row[name]), "mapped": "yes" if name in read else ""}
        for name in wanted
        if name not in SILVER_COLUMNS and row.get(name) is not None
    ]
    return Section("silver values", tuple(listed))


def _line(lake: Lake, place: Place) -> Section:
    if place.line is None:
        return facts(
            "line",
            note="bronze row, file, line and delivery are below the restricted root, which this account may not read",
        )
    bronze = {"bronze_table": f"bronze.{place.table}", "line": place.line["_line"]}
    file = lake.register.get(place.line["_file"])
    if file is None:
        return facts("line", **bronze, note="its delivery was withdrawn")
    return facts(
        "line",
        file=path_of(file),
        **bronze,
        delivery=f"{file.source}/{file.provider}/{file.folder}",
        extract_date=shown(file.extract_date),
        mode=file.mode,
        load=file.load_id,
    )
