"""What cannot be read is counted by provider, entity and column, and nothing is derived from it."""

from datetime import date
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.ledger import Disposition, Stage, check_balance
from pipelines.contracts.source import SourceContract, load_contracts
from pipelines.contracts.zones import Zone
from pipelines.curate.entities import EntityOf
from pipelines.curate.records import record_rows
from pipelines.curate.versions import FILE_SCHEMA, version_rows
from pipelines.run_context import RunContext
from pipelines.run_ledger import value_ledger
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.builders.landing import deliver, opt_out_lists
from tests.builders.runs import PADS, RUN_ID, ingested_and_curated, run_in
from tests.embedded.test_curate import ANNA, BEN, CARL, DAY, DORA, GP, consultation, load, patient, silver
from vocab.schemas import ddl_of

ACUTE = load_contracts(PACKAGED_MAPPINGS_DIR, ("acute",))["acute"]


def test_unreadable_values_are_null_named_and_counted_by_provider_entity_and_column(run: RunContext, landing: Path) -> None:
    first = [
        patient("A", ANNA, date_of_death="4/3/2024", date_of_birth="7/6/1931"),
        patient("B", BEN, date_of_death="03/25/2024", date_of_registration="soon"),
        patient("C", CARL, date_of_death="9999-12-31", date_of_birth="31/02/1950"),
    ]
    second = [patient("D", DORA, date_of_death="not known", date_of_registration="1/4/2020")]
    deliver(landing, GP, "P81001", "20260105", {"patient": first})
    deliver(
        landing, GP, "P81002", "20260105", {"patient": second, "consultation": [consultation("X", "D", effective_date="??")]}
    )
    opt_out_lists(landing, "20260105", [ANNA, BEN, CARL, DORA], local=["9990000050"])
    ledger = [*ingested_and_curated(run), *value_ledger(run, RUN_ID)]
    check_balance(ledger)
    values = {(row.provider, row.entity, row.disposition, row.reason): row.rows for row in ledger if row.stage is Stage.READ}
    given, read, unreadable = Disposition.GIVEN, Disposition.READ, Disposition.UNREADABLE
    assert values == {
        ("P81001", "patient", given, "date_of_birth"): 3,
        ("P81001", "patient", read, "date_of_birth"): 2,
        ("P81001", "patient", unreadable, "unreadable:date_of_birth"): 1,
        ("P81001", "patient", given, "date_of_death"): 2,
        ("P81001", "patient", read, "date_of_death"): 1,
        ("P81001", "patient", unreadable, "unreadable:date_of_death"): 1,
        ("P81001", "patient", given, "date_of_registration"): 1,
        ("P81001", "patient", read, "date_of_registration"): 0,
        ("P81001", "patient", unreadable, "unreadable:date_of_registration"): 1,
        ("P81002", "patient", given, "date_of_death"): 1,
        ("P81002", "patient", read, "date_of_death"): 0,
        ("P81002", "patient", unreadable, "unreadable:date_of_death"): 1,
        ("P81002", "consultation", given, "effective_date"): 1,
        ("P81002", "consultation", read, "effective_date"): 0,
        ("P81002", "consultation", unreadable, "unreadable:effective_date"): 1,
    }
    found = {
        (row["date_of_death"], row["date_of_registration"], row["year_of_birth"], row["_flags"])
        for row in silver(run, "patient")
    }
    assert found == {
        (date(2024, 3, 4), None, 1931, None),
        (None, None, 1950, "date_of_death,date_of_registration"),
        (None, None, None, "date_of_birth"),
        (None, date(2020, 4, 1), 1950, "date_of_death"),
    }


def test_where_everything_can_be_read_the_ledger_has_no_values(run: RunContext, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A", ANNA, date_of_death="1900-01-01")]})
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    load(run)
    assert value_ledger(run, RUN_ID) == []


DELETED = ("TRUE", "true", " True ", "T", "y", "Yes", "1", "1.0", "-1", "\u00a0TRUE")
NOT_DELETED = ("FALSE", "f", "N", "no", "0", "0.0", "", "NULL")
UNREADABLE_FLAGS = ("2", "deleted", "?", "X", "TRUEE", "tru", "01.02.2024", "yes please", "x1", "TRUE FALSE")


def test_a_deleted_flag_counts_in_every_spelling_and_one_that_says_neither_is_not_taken(run: RunContext, landing: Path) -> None:
    flags = (*DELETED, *NOT_DELETED, *UNREADABLE_FLAGS)
    rows = [consultation(f"C{place}", "A", deleted=flag) for place, flag in enumerate(flags)]
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A", ANNA)], "consultation": rows})
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    counts = load(run)
    assert counts["consultation", "deleted_at_source", "deleted_flag"] == len(DELETED)
    assert counts["consultation", "current", ""] == len(NOT_DELETED)
    assert counts["consultation", "quarantined", "unreadable:deleted"] == len(UNREADABLE_FLAGS)


def test_a_record_made_for_tests_is_one_in_every_spelling(run: RunContext, landing: Path) -> None:
    people = [
        patient(f"P{place}", ANNA, dummy_type=flag) for place, flag in enumerate(("TRUE", "y", "1.0", "FALSE", "", "huh"))
    ]
    deliver(landing, GP, "P81001", "20260105", {"patient": people})
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    assert load(run) == {
        ("patient", "test_patient", ""): 3,
        ("patient", "current", ""): 2,
        ("patient", "quarantined", "unreadable:dummy_type"): 1,
    }


TRUSTED = ("01", "1", "1.0", " 02", "3", "06", "007", "8", "")
NOT_TRUSTED = ("04", "4", "4.0", "004", " 4", "05", "5", "09", "0", "X", "99", "verified", "4?", "1a")


def test_a_number_is_linked_only_where_its_status_is_one_to_trust(sail: SparkSession, tmp_path: Path, landing: Path) -> None:
    run = run_in(sail, tmp_path, DAY, ("acute",))
    rows = [
        {
            "observation_id": f"V{place}",
            "nhs_number": ANNA,
            "nhs_number_status": status,
            "local_patient_identifier": f"L{place}",
            "observation_datetime": "4/3/2024 9:05",
            "record_last_updated": "2024-03-04",
        }
        for place, status in enumerate((*TRUSTED, *NOT_TRUSTED))
    ]
    deliver(landing, ACUTE, "RXN", "20260105", {"vital_sign": rows})
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    ledger = ingested_and_curated(run)
    counts = {(row.disposition, row.reason): row.rows for row in ledger if row.disposition is not Disposition.DELIVERED}
    assert counts == {
        (Disposition.CURRENT, ""): len(TRUSTED),
        (Disposition.OPTED_OUT, "unverifiable"): len(NOT_TRUSTED),
    }


def test_a_required_value_that_is_unreadable_is_not_one_that_is_missing(
    sail: SparkSession, tmp_path: Path, landing: Path
) -> None:
    run = run_in(sail, tmp_path, DAY, ("acute",))
    moments = ("4/3/2024 24:00", "", "1900-01-01", "03/25/2024 10:00", "10:00", "soon")
    rows = [
        {"observation_id": f"V{place}", "nhs_number": ANNA, "observation_datetime": moment}
        for place, moment in enumerate(moments)
    ]
    rows += [
        {"observation_id": rounded, "nhs_number": ANNA, "observation_datetime": f"2024-03-0{day}"}
        for day, rounded in enumerate(("9.43E+09", "9.43E+09", "1E+11", "'1.23457E+11"), start=1)
    ]
    deliver(landing, ACUTE, "RXN", "20260105", {"vital_sign": rows})
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    ledger = ingested_and_curated(run)
    counts = {(row.disposition, row.reason): row.rows for row in ledger if row.disposition is not Disposition.DELIVERED}
    assert counts == {
        (Disposition.CURRENT, ""): 1,
        (Disposition.QUARANTINED, "missing:observation_datetime"): 2,
        (Disposition.QUARANTINED, "unreadable:observation_datetime"): 3,
        (Disposition.QUARANTINED, "unreadable:observation_id"): 4,
    }
    kept = run.store.read(Zone.SILVER, "acute_vital_sign").toArrow().to_pylist()
    assert [row["observation_datetime"].strftime("%Y-%m-%d %H:%M") for row in kept] == ["2024-03-05 00:00"]


ONE_IS_NEWER = [
    ("999999", "1000000", ""),
    ("9", "10", ""),
    ("1E+05", "100001", ""),
    ("100,000", "100001", ""),
    ("99999999999999999999", "100000000000000000000", ""),
    ("007", "8.0", ""),
    ("", "100001", "unknown_version"),
    ("latest", "1", "unknown_version"),
    ("-5", "1", "unknown_version"),
    ("1" * 39, "1", "unknown_version"),
]
"""Older, newer, and why the older one is superseded if not for its version."""
NONE_IS_NEWER = [
    ("", "", "unknown_version"),
    ("huh", "?", "unknown_version"),
    ("100001", "1.00001E+05", "same_version"),
    ("5", "05", "same_version"),
]


def test_the_newest_version_counts_however_it_is_written_then_the_delivery(run: RunContext, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260103", {"patient": [patient("A", ANNA)]})
    in_order = [*ONE_IS_NEWER, *NONE_IS_NEWER]
    first, second = [], []
    for place, (older, newer, _) in enumerate([*in_order, *ONE_IS_NEWER]):
        rows = [
            consultation(f"C{place}", "A", processing_id=version, effective_date=f"{year}-01-{place + 1:02}")
            for year, version in ((2020, older), (2021, newer))
        ]
        early, late = rows if place < len(in_order) else rows[::-1]
        first.append(early)
        second.append(late)
    deliver(landing, GP, "P81001", "20260104", {"consultation": first})
    deliver(landing, GP, "P81001", "20260105", {"consultation": second})
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    counts = load(run)
    assert {(key[1:], n) for key, n in counts.items() if key[0] == "consultation"} == {
        (("current", ""), 24),
        (("superseded", ""), 12),
        (("superseded", "unknown_version"), 10),
        (("superseded", "same_version"), 2),
    }
    assert {row["effective_date"] for row in silver(run, "consultation")} == {date(2021, 1, day + 1) for day in range(24)}


VERSIONED = SourceContract.model_validate(
    {
        "source": "s",
        "title": "S",
        "entities": {
            "e": {
                "grain": "one",
                "files": ["x"],
                "key": ["k"],
                "version": ["until", "submission"],
                "columns": {"k": {}, "until": {"type": "date"}, "submission": {"type": "code"}},
            }
        },
    }
)

SUPERSEDED = [
    (("2024-03-31", ""), ("2024-04-30", "5"), None),
    (("2024-03-31", "x"), ("2024-03-31", "5"), "unknown_version"),
    (("", "5"), ("2024-03-31", "5"), "unknown_version"),
    (("", "5"), ("2024-03-31", ""), "unknown_version"),
    (("", ""), ("", "5"), "unknown_version"),
    (("", "5"), ("", "6"), None),
    (("", ""), ("", ""), "unknown_version"),
    (("2024-03-31", "5"), ("2024-04-30", ""), None),
    (("2024-03-31", "5"), ("31/3/2024", "6"), None),
    (("2024-03-31", "5"), ("31/3/2024", "05"), "same_version"),
]
"""The versions of an older row and of the newest one, and why the older one is superseded if not for its version."""


def test_only_the_first_part_that_differs_says_why_a_row_is_superseded(sail: SparkSession) -> None:
    rows = [(f"k{place}", *version) for place, (*versions, _) in enumerate(SUPERSEDED) for version in versions]
    found = judged_versions(sail, rows).where("disposition = 'superseded'").orderBy("_line").toArrow().to_pylist()
    assert [(row["_line"], row["reason"]) for row in found] == [
        (2 * place, reason) for place, (_, _, reason) in enumerate(SUPERSEDED)
    ]


def judged_versions(sail: SparkSession, rows: list[tuple[str, str, str]]) -> DataFrame:
    """The rows (key, until, submission) of VERSIONED with what became of each; the number of a row is its line."""
    bronze = sail.createDataFrame(
        [("P", "f", line, "l", line, None, *row) for line, row in enumerate(rows)],
        "_provider string, _file string, _line bigint, _load_id string, _row_hash bigint, _reason string, k string, "
        "until string, submission string",
    )
    files = sail.createDataFrame([("f", "20260105", True, False, "", "")], ddl_of(FILE_SCHEMA))
    return version_rows(record_rows({"e": bronze}, [EntityOf(VERSIONED, "e")], PADS), files)


dates = st.sampled_from(("2024-03-31", "30/04/2024", "30-APR-24", "31/3/2024", "", "soon", "9999-12-31"))
numbers = st.one_of(st.integers(0, 10**25).map(str), st.sampled_from(("", "x", "1E+05", "100000", "9", "10")))
PLAIN = {"2024-03-31": 1, "31/3/2024": 1, "30/04/2024": 2, "30-APR-24": 2}


def plain_version(row: tuple[str, str]) -> tuple[int, float]:
    """The version of a row by a plain account: -1 for a part that is missing or unreadable."""
    until, submission = row
    number = {"": -1, "x": -1, "1E+05": 100000}.get(submission)
    return PLAIN.get(until, -1), int(submission) if number is None else number


@settings(max_examples=10, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(dates, numbers), min_size=1, max_size=8))
def test_the_winner_is_that_of_a_plain_comparison(sail: SparkSession, rows: list[tuple[str, str]]) -> None:
    judged = judged_versions(sail, [("k", *row) for row in rows])
    found = judged.where("is_winner").toArrow()["_line"].to_pylist()
    best = max(range(len(rows)), key=lambda line: (plain_version(rows[line]), line))
    assert found == [best]
