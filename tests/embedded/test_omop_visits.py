"""Stays from their parts, and which visit led to which."""

from datetime import date, datetime
from typing import Any

import pytest
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.source import load_contracts
from pipelines.mapping.compile import target_schema
from pipelines.mapping.spec import Target, load_mappings
from pipelines.omop.visits import (
    AMBULANCE_VISIT_CONCEPT_ID,
    EMERGENCY_ROOM_VISIT_CONCEPT_ID,
    INPATIENT_VISIT_CONCEPT_ID,
    OUTPATIENT_VISIT_CONCEPT_ID,
    URGENT_CARE_CONCEPT_ID,
    VISITS_SCHEMA,
    days_not_believed,
    preceding,
    spells,
    with_end,
    within_visits,
)
from pipelines.settings import PACKAGED_MAPPINGS_DIR

AMBULANCE, EMERGENCY, INPATIENT = AMBULANCE_VISIT_CONCEPT_ID, EMERGENCY_ROOM_VISIT_CONCEPT_ID, INPATIENT_VISIT_CONCEPT_ID


def frame_of(session: SparkSession, schema: dict[str, str], rows: list[dict[str, Any]]) -> DataFrame:
    columns = ", ".join(f"{name} {kind}" for name, kind in schema.items())
    return session.createDataFrame([tuple(row.get(name) for name in schema) for row in rows], columns)


def part(key: str, row_key: str, order: int | None, start: str, end: str | None, **values: Any) -> dict[str, Any]:
    ended = date.fromisoformat(end) if end else None
    return {
        "key": key,
        "person_id": 1,
        "_row_key": row_key,
        "order": order,
        "start_date": date.fromisoformat(start),
        "end_date": ended,
    } | values


def collapsed(session: SparkSession, rows: list[dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    columns = ("_row_key", "start_date", "end_date", "care_site_code", "discharged_to_source_value")
    found = spells(frame_of(session, target_schema(Target.VISIT), rows)).select("key", *columns).collect()
    assert len({row[0] for row in found}) == len(found)
    return {row[0]: tuple(row)[1:] for row in found}


def test_a_spell_runs_from_the_least_start_to_the_greatest_end_of_its_parts(sail: SparkSession) -> None:
    rows = [
        part("s", "r2", 2, "2024-01-03", "2024-01-09", care_site_code="B", discharged_to_source_value="19"),
        part("s", "r1", 1, "2024-01-01", "2024-01-10", care_site_code="A", discharged_to_source_value="51"),
    ]
    assert collapsed(sail, rows) == {"s": ("r1", date(2024, 1, 1), date(2024, 1, 10), "A", "19")}


@pytest.mark.parametrize(
    ("starts", "start", "ends", "end"),
    [
        ((None, None), None, (None, None), None),
        (("2024-01-01 10:00", None), "2024-01-01 10:00", (None, "2024-01-09 12:00"), "2024-01-09 12:00"),
        ((None, "2024-01-02 10:00"), None, ("2024-01-08 12:00", None), None),
        (
            ("2024-01-01 10:00", "2024-01-02 09:00"),
            "2024-01-01 10:00",
            ("2024-01-08 12:00", "2024-01-09 09:00"),
            "2024-01-09 09:00",
        ),
    ],
)
def test_the_times_of_a_spell_are_those_of_its_first_and_last_day(
    sail: SparkSession, starts: tuple[str | None, ...], start: str | None, ends: tuple[str | None, ...], end: str | None
) -> None:
    def moment(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text) if text else None

    days = (("2024-01-01", "2024-01-08"), ("2024-01-02", "2024-01-09"))
    rows = [
        part("s", f"r{place}", place, *days[place], start_datetime=moment(starts[place]), end_datetime=moment(ends[place]))
        for place in (0, 1)
    ]
    found = spells(frame_of(sail, target_schema(Target.VISIT), rows))
    assert tuple(found.select("start_datetime", "end_datetime").collect()[0]) == (moment(start), moment(end))


def test_a_spell_whose_last_part_has_no_end_is_open(sail: SparkSession) -> None:
    rows = [part("s", "r1", 1, "2024-01-01", "2024-01-03"), part("s", "r2", 2, "2024-01-03", None)]
    assert collapsed(sail, rows)["s"][2] is None
    rows = [part("s", "r1", 1, "2024-01-01", None), part("s", "r2", 2, "2024-01-03", "2024-01-05")]
    assert collapsed(sail, rows)["s"][2] == date(2024, 1, 5)


def test_of_a_part_sent_open_and_finished_the_finished_one_ends_the_spell(sail: SparkSession) -> None:
    rows = [part("s", row_key, 1, "2024-01-01", end) for row_key, end in (("r1", None), ("r2", "2024-01-03"), ("r3", None))]
    assert collapsed(sail, rows)["s"][1:3] == (date(2024, 1, 1), date(2024, 1, 3))


def test_parts_without_an_order_are_placed_by_start_and_ten_comes_after_nine(sail: SparkSession) -> None:
    rows = [part("a", "r1", None, "2024-01-05", "2024-01-06"), part("a", "r2", None, "2024-01-01", "2024-01-02")]
    rows += [part("b", "r10", 10, "2024-01-01", None), part("b", "r9", 9, "2024-01-01", "2024-01-02")]
    found = collapsed(sail, rows)
    assert (found["a"][0], found["b"][0], found["b"][2]) == ("r2", "r9", None)


def test_a_spell_is_an_admission_if_one_of_its_parts_is_and_else_what_the_first_part_is(sail: SparkSession) -> None:
    def classed(key: str, *classes: str | None) -> list[dict[str, Any]]:
        codes = [{"patient_classification": code, "concept_code": code, "source_value": code} for code in classes]
        return [part(key, f"{key}{place}", place, "2024-01-01", "2024-01-03", **code) for place, code in enumerate(codes)]

    rows = classed("a", "2", "1") + classed("b", None, "1", "2") + classed("c", "2", "3") + classed("d", None, "8")
    found = spells(frame_of(sail, target_schema(Target.VISIT), rows)).select(
        "key", "_row_key", "patient_classification", "concept_code", "source_value"
    )
    assert sorted(map(tuple, found.collect())) == [
        ("a", "a0", "1", "1", "1"),
        ("b", "b0", "1", "1", "1"),
        ("c", "c0", "2", "2", "2"),
        ("d", "d0", None, None, None),
    ]


def test_how_a_spell_came_about_says_the_first_part_that_does(sail: SparkSession) -> None:
    def came(key: str, *ways: str | None) -> list[dict[str, Any]]:
        return [part(key, f"{key}{place}", place, "2024-01-01", "2024-01-03", came_by=way) for place, way in enumerate(ways)]

    rows = came("a", "21", "11") + came("b", None, "11", "21") + came("c", None, None) + came("d", "2A")
    found = spells(frame_of(sail, target_schema(Target.VISIT), rows)).select("key", "_row_key", "came_by")
    assert sorted(map(tuple, found.collect())) == [("a", "a0", "21"), ("b", "b0", "11"), ("c", "c0", None), ("d", "d0", "2A")]


def test_a_spell_of_which_an_end_is_unreadable_is_neither_open_nor_ended(sail: SparkSession) -> None:
    rows = [part("s", "r1", 1, "2024-01-01", None), part("s", "r2", 2, "2024-01-03", None, end_unreadable=True)]
    rows += [part("t", "r3", 1, "2024-01-01", None, end_unreadable=True), part("t", "r4", 2, "2024-01-03", "2024-01-05")]
    rows += [part("u", "r5", 1, "2024-01-01", None)]
    known = {"end_unreadable": False, "_source": "acute", "_extracted_on": date(2024, 3, 1)}
    spelled = spells(frame_of(sail, target_schema(Target.VISIT), [known | row for row in rows]))
    inpatient = spelled.withColumn("concept_target", F.lit(INPATIENT).cast("bigint"))
    found = with_end(known_until(inpatient, date(2024, 3, 1))).select("key", "end_date", "end_rule").collect()
    assert sorted(map(tuple, found)) == [
        ("s", date(2024, 1, 1), "unreadable"),
        ("t", date(2024, 1, 5), "delivered"),
        ("u", date(2024, 3, 1), "open"),
    ]


def test_a_stay_without_an_end_lasts_until_the_extract_the_last_submission_or_the_death_of_the_person(
    sail: SparkSession,
) -> None:
    known: dict[str, Any] = {
        "concept_target": INPATIENT,
        "_known_until": date(2024, 3, 1),
        "end_unreadable": False,
        "_flagged": None,
    }
    submitted: dict[str, Any] = {"_newest_month": date(2024, 2, 1)}
    stays: dict[str, dict[str, Any]] = {
        "alive": {"_died": None},
        "died": {"_died": date(2024, 2, 10)},
        "died on the first day": {"_died": date(2024, 1, 1)},
        "died on the day of the extract": {"_died": date(2024, 3, 1)},
        "died before": {"_died": date(2023, 12, 31)},
        "died later": {"_died": date(2024, 3, 2)},
        "discharged after": {"_died": date(2024, 2, 10), "end_date": date(2024, 2, 20)},
        "died at home": {"_died": date(2024, 2, 10), "concept_target": 9202},
        "ordinary": {"patient_classification": "1"},
        "for the night": {"patient_classification": "4"},
        "for a delivery": {"patient_classification": "5", "_died": date(2024, 2, 10)},
        "for the night, with an end": {"patient_classification": "4", "end_date": date(2024, 1, 2)},
        # Of submissions by month, the newest of which is that of February.
        "submitted": submitted | {"open_until": date(2024, 2, 29)},
        "submitted and died since": submitted | {"open_until": date(2024, 2, 29), "_died": date(2024, 3, 1)},
        "no longer submitted": submitted | {"open_until": date(2024, 1, 31)},
        "no longer submitted and died before": submitted | {"open_until": date(2024, 1, 31), "_died": date(2024, 1, 31)},
        "no longer submitted and died since": submitted | {"open_until": date(2024, 1, 31), "_died": date(2024, 2, 1)},
        "submitted before it began": submitted | {"open_until": date(2023, 12, 31)},
        "submitted last and discharged": submitted | {"open_until": date(2024, 1, 31), "end_date": date(2024, 1, 20)},
        "of a later month": submitted | {"open_until": date(2024, 3, 31)},
        "submitted contact": submitted | {"open_until": date(2024, 1, 31), "concept_target": 9202},
    }
    starts: dict[str, Any] = {"start_date": date(2024, 1, 1), "start_datetime": None, "end_date": None, "end_datetime": None}
    schema = {"key": "string", "concept_target": "bigint", "end_unreadable": "boolean", "_flagged": "string"}
    dates = ("start_date", "end_date", "open_until", "_known_until", "_newest_month", "_died")
    schema |= {"patient_classification": "string"} | dict.fromkeys(dates, "date")
    schema |= dict.fromkeys(("start_datetime", "end_datetime"), "timestamp")
    found = with_end(frame_of(sail, schema, [{"key": key} | known | starts | values for key, values in stays.items()]))
    assert {row.key: (row.end_date, row.end_rule) for row in found.collect()} == {
        "alive": (date(2024, 3, 1), "open"),
        "died": (date(2024, 2, 10), "died"),
        "died on the first day": (date(2024, 1, 1), "died"),
        "died on the day of the extract": (date(2024, 3, 1), "died"),
        "died before": (date(2024, 3, 1), "open"),
        "died later": (date(2024, 3, 1), "open"),
        "discharged after": (date(2024, 2, 20), "delivered"),
        "died at home": (date(2024, 1, 1), "same_day"),
        "ordinary": (date(2024, 3, 1), "open"),
        "for the night": (date(2024, 1, 1), "same_day"),
        "for a delivery": (date(2024, 1, 1), "same_day"),
        "for the night, with an end": (date(2024, 1, 2), "delivered"),
        "submitted": (date(2024, 2, 29), "open"),
        "submitted and died since": (date(2024, 3, 1), "died"),
        "no longer submitted": (date(2024, 1, 31), "last_submission"),
        "no longer submitted and died before": (date(2024, 1, 31), "died"),
        "no longer submitted and died since": (date(2024, 1, 31), "last_submission"),
        "submitted before it began": (date(2024, 1, 1), "last_submission"),
        "submitted last and discharged": (date(2024, 1, 20), "delivered"),
        "of a later month": (date(2024, 3, 1), "open"),
        "submitted contact": (date(2024, 1, 1), "same_day"),
    }


def test_only_a_hospital_spell_of_no_known_kind_is_open_without_being_a_stay(sail: SparkSession) -> None:
    contracts = load_contracts(PACKAGED_MAPPINGS_DIR, ("acute",))
    rules = load_mappings(PACKAGED_MAPPINGS_DIR, contracts)["acute"].rules
    kinds = [
        ("stay", "acute_visit_spell", INPATIENT),
        ("no known kind", "acute_visit_spell", 0),
        ("no kind", "acute_visit_spell", None),
        ("of a day", "acute_visit_spell", OUTPATIENT_VISIT_CONCEPT_ID),
        ("no spell, no known kind", "acute_visit_outpatient", 0),
    ]
    given = sail.createDataFrame(kinds, "key string, _rule string, concept_target bigint")
    day, nothing = F.lit(date(2024, 1, 1)), F.lit(None).cast("date")
    dates = {"start_date": day, "_known_until": F.lit(date(2024, 3, 1))}
    dates |= dict.fromkeys(("end_date", "open_until", "_newest_month", "_died"), nothing)
    others = dict.fromkeys(("start_datetime", "end_datetime"), F.lit(None).cast("timestamp"))
    others |= dict.fromkeys(("_flagged", "patient_classification"), F.lit(None).cast("string"))
    found = with_end(given.withColumns(dates | others | {"end_unreadable": F.lit(False)}), rules)
    assert {row.key: (row.end_date, row.end_rule) for row in found.collect()} == {
        "stay": (date(2024, 3, 1), "open"),
        "no known kind": (date(2024, 3, 1), "open"),
        "no kind": (date(2024, 3, 1), "open"),
        "of a day": (date(2024, 1, 1), "same_day"),
        "no spell, no known kind": (date(2024, 1, 1), "same_day"),
    }


def known_until(frame: DataFrame, day: date) -> DataFrame:
    """The visits of a provider whose newest extract is of a day, without submissions by month, of people who are alive."""
    nothing = {name: F.lit(None).cast("date") for name in ("_newest_month", "_died")}
    return frame.withColumns({"_known_until": F.lit(day), **nothing})


ENDS = [
    (OUTPATIENT_VISIT_CONCEPT_ID, "2024-01-08", "2024-01-08", "delivered"),  # seven days
    (OUTPATIENT_VISIT_CONCEPT_ID, "2024-01-09", "2024-01-01", "too_late"),
    (AMBULANCE, "2025-01-01", "2024-01-01", "too_late"),
    (EMERGENCY, "2024-01-03", "2024-01-03", "delivered"),
    (INPATIENT, "2024-03-10", "2024-03-10", "delivered"),
    (0, "2024-03-10", "2024-03-10", "delivered"),
]


def test_a_contact_does_not_last_for_weeks(sail: SparkSession) -> None:
    rows = [
        part(str(place), f"r{place}", None, "2024-01-01", end, end_unreadable=False)
        | {"end_datetime": datetime.fromisoformat(f"{end} 10:00:00"), "order": concept}
        for place, (concept, end, _, _) in enumerate(ENDS)
    ]
    frame = frame_of(sail, target_schema(Target.VISIT), rows).withColumn("concept_target", F.col("order"))
    found = with_end(known_until(frame, date(2026, 1, 1))).select("key", "end_date", "end_datetime", "end_rule")
    assert [(str(row.end_date), row.end_rule) for row in sorted(found.collect(), key=lambda row: row.key)] == [
        (end, rule) for _, _, end, rule in ENDS
    ]
    assert {row.end_datetime for row in found.collect() if row.end_rule == "too_late"} == {None}


def test_only_an_end_that_is_known_to_be_before_the_start_is_not_believed(sail: SparkSession) -> None:
    """Start, end of the same day, and what becomes of it."""
    at, later = "2024-01-01 08:40:00", "2024-01-01 09:00:00"
    times: dict[str, tuple[str | None, str | None, str | None, str]] = {
        "both": (at, later, later, "delivered"),
        "no end": (at, None, None, "delivered"),
        "no start": (None, at, at, "delivered"),
        "neither": (None, None, None, "delivered"),
        "backwards": (later, at, later, "before_start"),
    }

    def moment(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text) if text else None

    rows = [
        part(key, key, INPATIENT, "2024-01-01", "2024-01-01", end_unreadable=False)
        | {"start_datetime": moment(start), "end_datetime": moment(end)}
        for key, (start, end, _, _) in times.items()
    ]
    frame = frame_of(sail, target_schema(Target.VISIT), rows).withColumn("concept_target", F.col("order"))
    found = {
        row.key: (row.end_date, row.end_datetime, row.end_rule)
        for row in with_end(known_until(frame, date(2026, 1, 1))).collect()
    }
    assert found == {key: (date(2024, 1, 1), moment(end), rule) for key, (_, _, end, rule) in times.items()}


def visit(
    key: str, concept: int, start: str, end: str, person: int = 1, preceding_key: str | None = None, **values: Any
) -> dict[str, Any]:
    starts, ends = datetime.fromisoformat(start), datetime.fromisoformat(end)
    whole_day = len(start) == 10
    return {
        "key": key,
        "id": int(key),
        "person_id": person,
        "concept_id": concept,
        "start_date": starts.date(),
        "end_date": ends.date(),
        "start_datetime": None if whole_day else starts,
        "end_datetime": None if len(end) == 10 else ends,
        "preceding_key": preceding_key,
    } | values


@pytest.mark.parametrize(
    ("of_visit", "as_delivered", "found"),
    [
        # What is within seven days of the visit is as delivered, times too.
        ({}, ("2024-03-03 23:00", "2024-03-05 08:00", {}), ("2024-03-03 23:00", "2024-03-05 08:00")),
        ({}, ("2024-02-26", "2024-03-15 08:00", {}), ("2024-02-26", "2024-03-15 08:00")),
        # A day further it is not believed.
        ({}, ("2024-02-25 10:00", "2024-03-05 08:00", {}), ("2024-03-04", "2024-03-05 08:00")),
        ({}, ("2024-03-05 10:00", "2024-03-16 08:00", {}), ("2024-03-05 10:00", "2024-03-08")),
        ({}, ("2023-03-04", "2023-03-08 09:00", {}), ("2024-03-04", "2024-03-08")),
        ({}, ("2025-03-04", "2025-03-08", {}), ("2024-03-04", "2024-03-08")),
        ({}, ("2025-03-06", "2025-03-06 09:00", {"end_rule": "before_start"}), ("2024-03-04", "2024-03-04")),
        ({}, ("2014-03-06", "2014-03-06", {"end_rule": "after_extract"}), ("2024-03-04", "2024-03-04")),
        # Without an end of its own a detail ends with its visit.
        ({}, ("2024-03-06 09:00", "2026-01-05", {"end_rule": "open"}), ("2024-03-06 09:00", "2024-03-08")),
        ({}, ("2014-03-06", "2026-01-05", {"end_rule": "open"}), ("2024-03-04", "2024-03-08")),
        # The end of a visit that is open, or not believed, is no limit; the start of one that ends before it is none either.
        ({"end_rule": "open"}, ("2024-03-20", "2024-04-05", {}), ("2024-03-20", "2024-04-05")),
        ({"end_rule": "unreadable", "end_date": "2024-03-04"}, ("2024-03-20", "2024-04-05", {}), ("2024-03-20", "2024-04-05")),
        ({"end_rule": "open", "end_date": "2026-01-05"}, ("2023-03-04", "2023-03-08", {}), ("2024-03-04", "2024-03-04")),
        (
            {"end_rule": "before_start", "end_date": "2024-03-04"},
            ("2024-02-04", "2024-02-08", {}),
            ("2024-02-04", "2024-02-08"),
        ),
    ],
)
def test_a_detail_far_outside_its_visit_has_the_days_of_the_visit(
    sail: SparkSession, of_visit: dict[str, Any], as_delivered: tuple[str, str, dict[str, Any]], found: tuple[str, str]
) -> None:
    stay = visit("1", INPATIENT, "2024-03-04 10:00", "2024-03-08 15:00", end_rule="delivered")
    if "end_date" in of_visit:
        of_visit = of_visit | {"end_date": date.fromisoformat(of_visit["end_date"])}
    start, end, values = as_delivered
    detail = visit("2", INPATIENT, start, end, visit_key="1", end_rule="delivered") | values
    details, visits = (frame_of(sail, VISITS_SCHEMA, [row]) for row in (detail, stay | of_visit))
    row = within_visits(details, visits).collect()[0]
    moments = [datetime.fromisoformat(text) if len(text) > 10 else None for text in found]
    assert (row.start_date, row.end_date) == tuple(datetime.fromisoformat(text).date() for text in found)
    assert [row.start_datetime, row.end_datetime] == moments


def test_what_has_another_day_than_was_delivered_is_counted_once(sail: SparkSession) -> None:
    stay = visit("1", INPATIENT, "2024-03-04 10:00", "2024-03-08 15:00", end_rule="delivered", _rule="spell")
    long = visit("2", OUTPATIENT_VISIT_CONCEPT_ID, "2024-03-04", "2024-03-04", end_rule="too_late", _rule="clinic")
    parts = [
        visit("3", INPATIENT, "2024-02-26", "2024-03-15", end_rule="delivered"),
        visit("4", INPATIENT, "2024-02-25", "2024-03-16", end_rule="delivered"),
        visit("5", INPATIENT, "2024-03-05", "2024-03-16", end_rule="delivered"),
        visit("9", INPATIENT, "2024-02-25", "2024-03-05", end_rule="delivered"),
        visit("6", INPATIENT, "2024-03-05", "2026-01-05", end_rule="open"),
        visit("7", OUTPATIENT_VISIT_CONCEPT_ID, "2014-03-05", "2014-03-05", end_rule="too_late"),
        visit("8", INPATIENT, "2014-03-05", "2014-03-06", end_rule="delivered", person=2),
    ]
    details = [part | {"visit_key": "1", "_rule": "ward"} for part in parts]
    frames = (
        frame_of(sail, VISITS_SCHEMA, [row | {"_source": "acute", "_entity": "e"} for row in rows])
        for rows in ([stay, long], details)
    )
    found = sorted((row.source, row.entity, row.rule, row.reason, row.rows) for row in days_not_believed(*frames).collect())
    assert found == [
        ("acute", "e", "clinic", "implausible:end_too_late", 1),
        ("acute", "e", "ward", "implausible:end_too_late", 1),
        ("acute", "e", "ward", "implausible:outside_visit", 3),
    ]


def links(session: SparkSession, *rows: dict[str, Any]) -> dict[int, int]:
    found = preceding(frame_of(session, VISITS_SCHEMA, list(rows))).collect()
    assert len({row.id for row in found}) == len(found)
    return {row.id: row.preceding_id for row in found}


def test_an_admission_follows_the_latest_attendance_of_the_same_person_within_a_day_of_leaving(sail: SparkSession) -> None:
    attendances = [
        visit("1", EMERGENCY, "2024-01-01 10:00:00", "2024-01-01 12:00:00"),
        visit("2", EMERGENCY, "2024-01-01 20:00:00", "2024-01-01 22:00:00"),
        visit("3", EMERGENCY, "2024-01-01 21:00:00", "2024-01-01 23:00:00", person=2),
        visit("4", EMERGENCY, "2024-01-03 09:00:00", "2024-01-03 10:00:00"),
    ]
    within, after = "2024-01-02 21:59:00", "2024-01-02 22:01:00"
    assert links(sail, *attendances, visit("9", INPATIENT, within, "2024-01-05")) == {9: 2}
    both = "2024-01-02 09:00:00"
    assert links(sail, *attendances, visit("9", INPATIENT, both, "2024-01-05")) == {9: 2}
    assert links(sail, *attendances, visit("9", INPATIENT, after, "2024-01-05")) == {}
    assert links(sail, *attendances, visit("9", INPATIENT, "2024-01-01 11:00:00", "2024-01-05")) == {9: 1}


def test_an_admission_known_by_its_day_only_follows_an_attendance_of_that_day(sail: SparkSession) -> None:
    attendance = visit("1", EMERGENCY, "2024-01-01 20:00:00", "2024-01-01 22:00:00")
    assert links(sail, attendance, visit("9", INPATIENT, "2024-01-01", "2024-01-05")) == {9: 1}
    assert links(sail, attendance, visit("9", INPATIENT, "2023-12-31", "2024-01-05")) == {}


def test_an_attendance_follows_an_ambulance_within_six_hours(sail: SparkSession) -> None:
    ambulance = visit("1", AMBULANCE, "2024-01-01 08:00:00", "2024-01-01 09:00:00")
    near = visit("2", EMERGENCY, "2024-01-01 09:05:00", "2024-01-01 14:00:00")
    far = visit("3", EMERGENCY, "2024-01-01 15:05:00", "2024-01-01 16:00:00")
    assert links(sail, ambulance, near, far) == {2: 1}
    assert links(sail, ambulance, near, visit("4", INPATIENT, "2024-01-01 14:00:00", "2024-01-09")) == {2: 1, 4: 2}


@pytest.mark.parametrize(
    ("first", "second", "follows"),
    [
        ("2024-01-01 08:40:00", "2024-01-01 16:00:00", True),
        ("2024-01-01 08:40:00", "2024-01-01", True),
        ("2024-01-01", "2024-01-01 16:00:00", True),
        ("2024-01-01", "2024-01-01", True),
        ("2024-01-01 16:00:00", "2024-01-01 08:40:00", False),
        ("2024-01-02", "2024-01-01", False),
    ],
)
def test_a_transfer_without_a_time_is_later_than_the_stay_of_its_day(
    sail: SparkSession, first: str, second: str, follows: bool
) -> None:
    for key, later in (("1", "2"), ("2", "1")):
        rows = [
            visit(key, INPATIENT, first, "2024-01-03", came_by="21"),
            visit(later, INPATIENT, second, "2024-01-09", came_by="81"),
        ]
        assert links(sail, *rows) == ({int(later): int(key)} if follows else {})


def test_a_delivered_link_comes_before_the_rules(sail: SparkSession) -> None:
    rows = [
        visit("1", EMERGENCY, "2024-01-01 10:00:00", "2024-01-01 12:00:00"),
        visit("2", EMERGENCY, "2024-01-01 14:00:00", "2024-01-01 15:00:00"),
        visit("9", INPATIENT, "2024-01-01 16:00:00", "2024-01-05", preceding_key="1"),
        visit("8", INPATIENT, "2024-02-01 16:00:00", "2024-02-05", preceding_key="8"),
    ]
    assert links(sail, *rows) == {9: 1}


OWN: dict[str, Any] = {"care_site_code": "RXN01"}
OTHER: dict[str, Any] = {"care_site_code": "RX201"}


@pytest.mark.parametrize(
    ("came_by", "follows"),
    [
        ("21", 1),  # by the department of this trust
        ("2A", 2),  # of another one
        ("2a ", 2),
        ("81", 3),  # a transfer: the stay before, not the attendance
        ("2B", 3),
        ("22", None),  # by a GP
        ("12", None),  # planned
        ("82", None),  # born there
        ("28", 1),  # nothing is said: by time
        ("99", 1),
        ("QQ", 1),
        (None, 1),
    ],
)
def test_the_method_of_admission_comes_before_the_time(sail: SparkSession, came_by: str | None, follows: int | None) -> None:
    rows = [
        visit("1", EMERGENCY, "2024-01-05 08:00:00", "2024-01-05 09:00:00", **OWN),
        visit("2", EMERGENCY, "2024-01-05 09:30:00", "2024-01-05 10:00:00", **OTHER),
        visit("3", INPATIENT, "2024-01-01 10:00:00", "2024-01-04 15:00:00", **OTHER, came_by="12"),
        visit("9", INPATIENT, "2024-01-05 11:00:00", "2024-01-09", **OWN, came_by=came_by),
    ]
    assert links(sail, *rows) == ({} if follows is None else {9: follows})


ROAD, OWN_TRANSPORT = "1048031000000100", "1048071000000103"


@pytest.mark.parametrize(
    ("ambulance", "attendance", "follows"),
    [
        ({}, {}, True),
        ({"conveyed": True}, {}, True),
        ({"conveyed": False}, {}, False),
        ({"conveyed": False}, {"came_by": ROAD}, False),
        ({"destination_code": "RXN02"}, OWN, True),  # another site of the trust
        ({"destination_code": "RXN02"}, OTHER, False),
        ({"destination_code": "RXN02"}, {}, True),  # nobody knows which site
        ({}, {"came_by": ROAD}, True),
        ({}, {"came_by": OWN_TRANSPORT}, False),
        ({}, {"came_by": "QQ"}, True),
        ({}, {"concept_id": URGENT_CARE_CONCEPT_ID}, True),
        ({}, {"concept_id": OUTPATIENT_VISIT_CONCEPT_ID}, False),
        ({}, {"concept_id": OUTPATIENT_VISIT_CONCEPT_ID, "came_by": ROAD}, True),  # same day emergency care
    ],
)
def test_an_attendance_follows_the_ambulance_that_took_the_patient_there(
    sail: SparkSession, ambulance: dict[str, Any], attendance: dict[str, Any], follows: bool
) -> None:
    rows = [
        visit("1", AMBULANCE, "2024-01-01 08:00:00", "2024-01-01 09:00:00", **ambulance),
        visit("2", EMERGENCY, "2024-01-01 09:05:00", "2024-01-01 14:00:00") | attendance,
    ]
    assert links(sail, *rows) == ({2: 1} if follows else {})


def test_two_stays_that_begin_together_do_not_lead_to_each_other(sail: SparkSession) -> None:
    rows = [visit(key, INPATIENT, "2024-01-01 08:00:00", "2024-01-05", came_by="81") for key in ("1", "2")]
    assert links(sail, *rows) == {2: 1}
