"""From a delivered line on: what became of it, and which rows of a release it is in, or why it is in none.

No value of the line is ever read or shown: only its place, what was decided about it and the ids of rows.
"""

import difflib
from bisect import bisect_right
from typing import Final

from pipelines.contracts.ledger import PERSON, Disposition
from pipelines.contracts.source import LINE, LOAD
from pipelines.contracts.zones import Zone
from pipelines.errors import NothingToTraceError
from pipelines.ingest.register import Registered
from pipelines.progress import Field
from pipelines.tracing.lake import Lake, Record, check_restricted, shown
from pipelines.tracing.meanings import explained
from pipelines.tracing.origins import ROWS_WITH_ID
from pipelines.tracing.places import path_of
from pipelines.tracing.sections import Section, facts
from pipelines.tracing.taken import Judge, rows_of_record

_OUTCOMES: Final = {
    Disposition.CURRENT: "it is the valid version of its record, and in silver",
    Disposition.SUPERSEDED: "a newer version of its record was delivered",
    Disposition.DUPLICATE: "its content was delivered again, in the line that counts",
    Disposition.DELETED_AT_SOURCE: "its provider does not hold the record any more",
    Disposition.QUARANTINED: "it cannot be used",
    Disposition.OPTED_OUT: "its person has opted out",
    Disposition.TEST_PATIENT: "its person is a test patient",
}


def file_named(lake: Lake, name: str) -> Registered:
    """The loaded file with a name as its delivery has it, or the end of one; a path in the landing folder has it as its end.

    Raises NothingToTraceError where none or several have it, with those that are meant perhaps.
    """
    wanted = name.strip().removeprefix("./").strip("/")
    by_path = {path_of(file): file for file in lake.register.values()}
    found = [path for path in by_path if path == wanted or path.endswith(f"/{wanted}") or wanted.endswith(f"/{path}")]
    if len(found) == 1:
        return by_path[found[0]]
    if found:
        raise NothingToTraceError(
            f"{len(found)} loaded files have this name; give one in full: {', '.join(sorted(found)[:_NAMED])}"
            + (" and others" if len(found) > _NAMED else "")
        )
    names = {file.file_name: path for path, file in by_path.items()}
    near = [
        *difflib.get_close_matches(wanted, by_path, n=3),
        *[names[near] for near in difflib.get_close_matches(wanted.rpartition("/")[2], names, n=3)],
    ]
    hint = f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else "."
    raise NothingToTraceError(
        f"no loaded file has this name{hint} Files are named SOURCE/PROVIDER/FOLDER/FILE; nhs-omop deliveries lists what is "
        "loaded, waits, is set aside or was withdrawn"
    )


_NAMED: Final = 10
"""Files that a message names at most."""


def trace_line(lake: Lake, name: str, line: int, judge: Judge) -> list[Section]:
    """What became of a line of a file, by its number in the file, the header included.

    Raises RightsError without rights to the restricted root, NothingToTraceError where there is no such file or record.
    """
    check_restricted(lake.settings)
    file = file_named(lake, name)
    version = _version(lake, file, line)
    decided = _decision(lake, file, line) or version
    sections = [
        facts(
            "line",
            file=path_of(file),
            line=line,
            rows_are_those_of=path_of(lake.register[file.same_as]) if file.same_as != file.file_id else None,
            extract_date=shown(file.extract_date),
            mode=file.mode,
            load=file.load_id,
            bronze_table=f"bronze.{file.source}_{file.entity}",
            release=lake.release.release_id,
        )
    ]
    disposition = Disposition(decided["disposition"])
    sections.append(
        facts(
            "outcome",
            outcome=disposition.value,
            meaning=_OUTCOMES.get(disposition),
            reason=decided["reason"],
            because=explained(decided["reason"]),
            **_kept_line(lake, file, version),
        )
    )
    if disposition is Disposition.CURRENT:
        table = f"silver.{file.source}_{file.entity}"
        sections.append(facts("silver row", silver_table=table, row_key=version["row_key"]))
        sections += _rows(lake, file, version["row_key"], judge)
    elif disposition is Disposition.OPTED_OUT:
        sections += _still_released(lake, version["row_key"], decided.get("person_id"))
    return sections


def _still_released(lake: Lake, row_key: str, person_id: int | None) -> list[Section]:
    """What the release has of somebody who opted out after it was made, as while runs fail: their row, and those of the record.

    Where only some rows are left out, those of the GP record or a marked one, that of the person may be there.
    """
    where = {"person_id": person_id}
    is_whole = any(row["opt_out"] for row in lake.rows(Zone.CURATION, PERSON, where, ("opt_out",)))
    released = lake.released("person", where, ("person_id",)) if is_whole else []
    rows: list[dict[str, Field]] = [{"omop_table": "person", "id": row["person_id"]} for row in released]
    for name in ROWS_WITH_ID:
        if name in lake.tables:
            found = lake.released(name, {"_row_key": row_key}, (f"{name}_id",))
            rows += [{"omop_table": name, "id": row[f"{name}_id"]} for row in found]
    return [Section("still in the release", tuple(rows), how=_STILL)] if rows else []


_STILL: Final = "it was made before; publications of it have these rows too, until a newer release is made and published"


def _version(lake: Lake, file: Registered, line: int) -> Record:
    where = {"entity": file.entity, "_file": file.same_as, "_line": line}
    columns = ("row_key", "is_winner", "disposition", "reason")
    found = lake.rows(Zone.CURATION, f"versions_{file.source}", where, columns)
    if found:
        return found[0]
    holder = lake.register[file.same_as]
    bronze = {LOAD: holder.load_id, "_file": file.same_as}
    lines = sorted(row["_line"] for row in lake.rows(Zone.BRONZE, f"{file.source}_{file.entity}", bronze, ("_line",)))
    if not lines:
        raise NothingToTraceError(f"{path_of(file)} has no records")
    if line in lines:
        raise NothingToTraceError(f"{path_of(file)}: line {line} is loaded and no run has decided about it yet: nhs-omop run")
    before = lines[max(0, bisect_right(lines, line) - 1)]
    raise NothingToTraceError(
        f"{path_of(file)}: no record begins in line {line}; its {len(lines)} records begin in lines {lines[0]} to {lines[-1]} "
        f"(the header is counted), the nearest in line {before}: --line {before}"
    )


def _decision(lake: Lake, file: Registered, line: int) -> Record | None:
    where = {"entity": file.entity, "_file": file.same_as, "_line": line}
    for name in lake.names(Zone.CURATION):
        if name.startswith(f"dispositions_{file.source}_"):
            found = lake.rows(Zone.CURATION, name, where, ("disposition", "reason", "person_id"))
            if found:
                return found[0]
    return None


def _kept_line(lake: Lake, file: Registered, version: Record) -> dict[str, Field]:
    """The line that counts in place of one that is superseded, repeated or cannot be used."""
    if version["is_winner"]:
        return {}
    where = {"entity": file.entity, "row_key": version["row_key"], "is_winner": True}
    winner = next(iter(lake.rows(Zone.CURATION, f"versions_{file.source}", where, LINE)), None)
    kept = lake.register.get(winner["_file"]) if winner else None
    return {"line_that_counts": f"{path_of(kept)} line {winner['_line']}"} if winner and kept else {}


def _rows(lake: Lake, file: Registered, row_key: str, judge: Judge) -> list[Section]:
    """The rows of the release that a record is in, or the reason of each rule that leaves it out."""
    rules = [rule for rule in lake.mappings[file.source].rules if rule.from_ == file.entity]
    looking_up = [
        rule.name
        for rule in lake.mappings[file.source].rules
        if any(lookup.entity == file.entity for lookup in rule.lookups.values())
    ]
    mapped = rows_of_record(lake, file.source, rules, row_key, judge)
    sections = [Section("rows", tuple(mapped.rows))] if mapped.rows else []
    if mapped.reasons:
        listed = tuple(
            {"rule": rule, "reason": reason, "because": explained(reason)} for rule, reason in mapped.reasons.items()
        )
        sections.append(Section("taken by no rule", listed))
    if looking_up:
        sections.append(Section("looked up by rules", tuple({"rule": name} for name in looking_up)))
    if not rules and not looking_up:
        sections.append(facts("taken by no rule", entity=file.entity, reason="no rule reads the entity"))
    return sections
