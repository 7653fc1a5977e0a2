"""Rows that cannot be about one person: which are found, how they are counted, and what becomes of them."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from pipelines.contracts.ledger import Disposition
from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.curate.linkage import (
    SAID_SCHEMA,
    UNKNOWN_BIRTH_DATES,
    identity_conflicts,
    linked_identities,
    stated_identities,
)
from pipelines.curate.tables import CONFLICTS, LINK
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.synthetic.nhs_numbers import valid_numbers
from tests.builders.landing import deliver, opt_out_lists
from tests.builders.runs import PADS, ingested_and_curated, run_in
from tests.embedded.test_curate import ANNA, BEN, CARL, DORA, GP, consultation, counted, patient

CONTRACTS = load_contracts(PACKAGED_MAPPINGS_DIR, ("acute", "ambulance", "mental_health", "social_care"))
ACUTE, AMBULANCE, MENTAL_HEALTH, COUNCIL = CONTRACTS.values()
DAY = date(2026, 1, 5)
BORN, OTHER = "1990-03-04", "2024-11-30"

Said = tuple[str, str, str, str | None, str | None]
"""Provider, local identifier, NHS number, birth date and sex that a row states."""


def conflicts(session: SparkSession, said: list[Said], status: str = "01") -> dict[tuple[str, str, str], str | None]:
    """The conflict of each identity: provider, local identifier and number. A sex behind `says ` is the gender declared."""
    schema = ", ".join(f"{name} string" for name in SAID_SCHEMA)
    rows = []
    for provider, local, number, born, sex in said:
        kinds = (None, sex.removeprefix("says ")) if sex and sex.startswith("says ") else (sex, None)
        rows.append(("gp", provider, local, number, status, born, *kinds, None, None))
    identities = stated_identities([session.createDataFrame(rows, schema)], production=False)
    found = linked_identities(identities, PADS).select("_provider", "local_id", "nhs_number", "conflict").collect()
    return {(row[0], row[1], row[2]): row[3] for row in found}


CASES: dict[str, tuple[list[Said], list[str | None]]] = {
    "two children with one number": (
        [("P1", "A", ANNA, "2015-03-01", "M"), ("P1", "B", ANNA, "2017-06-02", "F")],
        ["birth_date,sex", "birth_date,sex"],
    ),
    "a baby under the number of the mother, at another provider": (
        [("P1", "A", ANNA, BORN, "F"), ("RXN", "1", ANNA, OTHER, "F")],
        ["birth_date", "birth_date"],
    ),
    "twins with one number and different sexes": (
        [("P1", "A", ANNA, OTHER, "M"), ("P1", "B", ANNA, OTHER, "F")],
        ["sex", "sex"],
    ),
    "twins with numbers of their own": ([("P1", "A", ANNA, OTHER, "M"), ("P1", "B", BEN, OTHER, "M")], [None, None]),
    "one local identifier with two numbers": (
        [("RXN", "1", ANNA, BORN, "F"), ("RXN", "1", BEN, BORN, "F")],
        ["numbers_of_local_id", "numbers_of_local_id"],
    ),
    "one local identifier with two numbers, and a row without one": (
        [("RXN", "1", ANNA, BORN, "F"), ("RXN", "1", BEN, BORN, "F"), ("RXN", "1", "", BORN, "F")],
        ["numbers_of_local_id"] * 3,
    ),
    "one local identifier of two people": (
        [("RXN", "1", ANNA, BORN, "F"), ("RXN", "1", BEN, OTHER, "M")],
        ["birth_date,sex,numbers_of_local_id"] * 2,
    ),
    "a local identifier without a number that two people have": (
        [("RXN", "1", "", BORN, "F"), ("RXN", "1", "", OTHER, "F")],
        ["birth_date"],
    ),
    "a row without a number that is another person's": (
        [("RXN", "1", ANNA, BORN, "F"), ("RXN", "1", "", OTHER, "F")],
        ["birth_date", "birth_date"],
    ),
    "one local identifier at two providers": ([("RXN", "1", ANNA, BORN, "F"), ("RJZ", "1", BEN, OTHER, "M")], [None, None]),
    "the same said twice, in other words": (
        [
            ("P1", "A", ANNA, BORN, "F"),
            ("RXN", "1", ANNA, BORN, "2"),
            ("L1", "x", ANNA, BORN, "female"),
            ("R", "2", ANNA, BORN, "2.0"),
        ],
        [None] * 4,
    ),
    "two sexes as a spreadsheet writes them": (
        [("RXN", "1", ANNA, BORN, "1.0"), ("RJZ", "2", ANNA, BORN, "2")],
        ["sex", "sex"],
    ),
    "a sex that is not known": (
        [
            ("P1", "A", ANNA, BORN, "F"),
            ("P2", "B", ANNA, BORN, "U"),
            ("P3", "C", ANNA, BORN, "9"),
            ("P4", "D", ANNA, BORN, None),
        ],
        [None] * 4,
    ),
    "a birth date that is not known": (
        [("P1", "A", ANNA, BORN, "F"), ("P2", "B", ANNA, None, "F"), ("P3", "C", ANNA, UNKNOWN_BIRTH_DATES[1], "F")],
        [None] * 3,
    ),
    "a gender that is not the sex on record": (
        [("P1", "A", ANNA, BORN, "F"), ("RXN", "1", ANNA, BORN, "says 1"), ("P1", "A", ANNA, BORN, "says 1")],
        [None, None],
    ),
    "a gender declared otherwise at another provider": (
        [("RXN", "1", ANNA, BORN, "says 1"), ("RMH", "1", ANNA, BORN, "says 2")],
        [None, None],
    ),
    "twins with one number at a hospital, and a practice": (
        [("RXN", "1", ANNA, OTHER, "says 1"), ("RXN", "2", ANNA, OTHER, "says 2"), ("P1", "A", ANNA, OTHER, "F")],
        ["gender", "gender", None],
    ),
    "two genders of one local identifier": (
        [("RXN", "1", "", BORN, "says 1"), ("RXN", "1", "", BORN, "says 2")],
        ["gender"],
    ),
    "two genders, one of them not known": (
        [("RXN", "1", ANNA, BORN, "says 1"), ("RXN", "1", ANNA, BORN, "says X"), ("RXN", "2", ANNA, BORN, "says 9")],
        [None, None],
    ),
    "people without a number are not compared with each other": (
        [("P1", "A", "", BORN, "F"), ("P1", "B", "", OTHER, "M")],
        [None, None],
    ),
    "a number that fails its check digit is nobody's": (
        [("P1", "A", "9990000019", BORN, "F"), ("P1", "B", "9990000019", OTHER, "M")],
        [None, None],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_conflicts(sail: SparkSession, name: str) -> None:
    said, expected = CASES[name]
    found = conflicts(sail, said)
    usable = ["" if number == "9990000019" else number for _, _, number, _, _ in said]
    keys = [(provider, local, number) for (provider, local, _, _, _), number in zip(said, usable, strict=True)]
    assert [found[key] for key in dict.fromkeys(keys)] == expected


def test_a_doubtful_number_is_compared_with_nobody(sail: SparkSession) -> None:
    said: list[Said] = [("RXN", "1", ANNA, BORN, "F"), ("RXN", "2", ANNA, OTHER, "M")]
    assert set(conflicts(sail, said, status="04").values()) == {None}


@settings(max_examples=8, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["P1", "P2"]),
            st.sampled_from(["A", "B", ""]),
            st.sampled_from([ANNA, BEN, ""]),
            st.sampled_from([BORN, OTHER, None]),
            st.sampled_from(["M", "2", "U", None]),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_an_identity_has_a_conflict_if_its_number_or_its_local_identifier_has_one(sail: SparkSession, said: list[Said]) -> None:
    def differ(rows: list[Said], place: int, known: set[str | None]) -> bool:
        return len({row[place] for row in rows} & known) > 1

    found = conflicts(sail, said)
    for (provider, local, number), conflict in found.items():
        of_local = [row for row in said if row[0] == provider and row[1] == local] if local else []
        numbers = {row[2] for row in of_local} - {""}
        linked = number or (next(iter(numbers)) if len(numbers) == 1 else "")
        groups = [of_local, [row for row in said if row[2] == linked] if linked else []]
        kinds = []
        if any(differ(group, 3, {BORN, OTHER}) for group in groups):
            kinds.append("birth_date")
        if any(differ(group, 4, {"M", "2"}) for group in groups):
            kinds.append("sex")
        if len(numbers) > 1:
            kinds.append("numbers_of_local_id")
        assert conflict == (",".join(kinds) or None)


def test_people_are_listed_by_key_once_for_each_provider_and_conflict(sail: SparkSession) -> None:
    schema = ", ".join(f"{name} string" for name in SAID_SCHEMA)
    rows = [
        ("gp", "P1", "A", ANNA, None, BORN, "F", None, None, None),
        ("gp", "P1", "B", ANNA, None, OTHER, "F", None, None, None),
        ("acute", "RXN", "1", ANNA, "01", BORN, None, "2", None, None),
        ("gp", "P1", "C", CARL, None, BORN, "F", None, None, None),
    ]
    links = linked_identities(stated_identities([sail.createDataFrame(rows, schema)], production=False), PADS)
    listed = identity_conflicts(links).collect()
    assert sorted((row.source, row.provider, row.conflict) for row in listed) == [
        ("acute", "RXN", "birth_date"),
        ("gp", "P1", "birth_date"),
    ]
    assert len({row.person_key for row in listed}) == 1
    assert not [row for row in listed if ANNA in str(row) or BORN in str(row)]


PEOPLE = [
    patient("A", ANNA, date_of_birth="2015-03-01", sex="M"),
    patient("B", ANNA, date_of_birth="2017-06-02", sex="F"),
    patient("C", CARL),
    patient("D", DORA),
]


def curated(
    session: SparkSession, folder: Path, policy: str
) -> tuple[dict[tuple[str, str, str], int], list[dict[str, Any]], int]:
    """The ledger, the quarantined lines and the number of current patients, with two children under one number."""
    landing = folder / "landing"
    contacts = [consultation(f"C{guid}", guid) for guid in "ABCD"]
    deliver(landing, GP, "P81001", "20260105", {"patient": PEOPLE, "consultation": contacts})
    opt_out_lists(landing, "20260105", [ANNA, CARL], [ANNA, CARL], [DORA])
    run = run_in(session, folder, DAY, ("gp",), f"person.on_conflict={policy}")
    counts = counted(ingested_and_curated(run))
    lines = run.store.read(Zone.QUARANTINE, "lines").toArrow().to_pylist()
    assert run.store.read(Zone.CURATION, CONFLICTS).count() == 1
    return counts, lines, run.store.read(Zone.SILVER, "gp_patient").select("person_id").distinct().count()


def test_set_aside_their_rows_are_quarantined_with_all_that_belongs_to_them(sail: SparkSession, tmp_path: Path) -> None:
    counts, lines, people = curated(sail, tmp_path, "set_aside")
    reason = "identity_conflict:birth_date,sex"
    assert counts == {
        ("", "identity_conflict", "P81001:birth_date,sex"): 1,
        ("patient", "quarantined", reason): 2,
        ("patient", "current", ""): 1,
        ("patient", "opted_out", "local"): 1,
        ("consultation", "quarantined", reason): 2,
        ("consultation", "current", ""): 1,
        ("consultation", "opted_out", "local"): 1,
    }
    assert sorted((line["entity"], line["line"], line["reason"]) for line in lines) == [
        ("consultation", 2, reason),
        ("consultation", 3, reason),
        ("patient", 2, reason),
        ("patient", 3, reason),
    ]
    assert people == 1


def test_linked_they_are_counted_and_kept(sail: SparkSession, tmp_path: Path) -> None:
    counts, lines, people = curated(sail, tmp_path, "link")
    assert counts["", Disposition.IDENTITY_CONFLICT.value, "P81001:birth_date,sex"] == 1
    assert counts["patient", "current", ""] == 3
    assert (lines, people) == ([], 2)


def test_a_birth_date_that_was_corrected_is_no_conflict(sail: SparkSession, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    wrong, right = (
        patient("A", ANNA, date_of_birth="1905-06-07"),
        patient("A", ANNA, date_of_birth="1950-06-07", processing_id="2"),
    )
    deliver(landing, GP, "P81001", "20260104", {"patient": [wrong]})
    deliver(landing, GP, "P81001", "20260105", {"patient": [right]})
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    counts = counted(ingested_and_curated(run_in(sail, tmp_path, DAY, ("gp",))))
    assert counts == {("patient", "current", ""): 1, ("patient", "superseded", ""): 1}


SUBMITTED: dict[str, tuple[dict[str, str], dict[str, str], str | None]] = {
    "a birth date corrected": ({"date_of_birth": "1905-06-07"}, {}, None),
    "a sex corrected": ({"gender": "Male"}, {}, None),
    "both, not known now": ({"gender": "Male", "date_of_birth": "1905-06-07"}, {"gender": "", "date_of_birth": ""}, None),
    "said by the newer period alone": ({}, {}, None),
    "two births in one period": (
        {"date_of_birth": "1905-06-07", "reporting_period_end_date": "31/12/2025"},
        {},
        "birth_date",
    ),
    "an older row without the number": ({"date_of_birth": "1905-06-07", "nhs_number": ""}, {}, "birth_date"),
    "an older row under another local identifier": (
        {"date_of_birth": "1905-06-07", "la_person_unique_identifier": "other"},
        {},
        "birth_date",
    ),
    "an older row with another number": ({"nhs_number": BEN}, {}, "numbers_of_local_id"),
}
"""What a row of an earlier period of a council says otherwise, what one of the newest does, and the conflict of the latter."""


WRONG = {"born": "1905-06-07"}
FORMER = {f"former {place}": str(number) for place, number in enumerate(valid_numbers()[760:770])}
"""Numbers that people had before they were corrected, by what STATED calls them."""
STATED: dict[str, tuple[list[tuple[str, int, str, dict[str, str]]], str | None]] = {
    "a birth date corrected by an attendance": ([("apc_episode", 0, "1", WRONG), ("op_attendance", 1, "2", {})], None),
    "another gender since": ([("ecds_attendance", 0, "1", {"sex": "1"}), ("apc_episode", 1, "2", {})], None),
    "two genders in one version": ([("ecds_attendance", 1, "1", {"sex": "1"}), ("apc_episode", 1, "1", {})], "gender"),
    "another gender in another service": ([("ecds_attendance", 0, "1", {"sex": "1"}), ("mpi", 1, "1509", {})], None),
    "corrected within a delivery": ([("apc_episode", 1, "1", WRONG), ("ecds_attendance", 1, "2", {})], None),
    "an older state comes later": ([("apc_episode", 0, "2", {}), ("op_attendance", 1, "1", WRONG)], None),
    "corrected, by delivery": ([("apc_episode", 0, "", WRONG), ("apc_episode", 1, "", {})], None),
    "two births in one delivery": ([("apc_episode", 1, "", WRONG), ("op_attendance", 1, "", {})], "birth_date"),
    "two births in one version": ([("apc_episode", 1, "1", WRONG), ("op_attendance", 1, "1", {})], "birth_date"),
    "without a number": (
        [("apc_episode", 0, "1", WRONG | {"nhs": ""}), ("op_attendance", 1, "2", {"nhs": ""})],
        "birth_date",
    ),
    "without a number that is valid": (
        [("apc_episode", 0, "1", WRONG | {"nhs": "9990000019"}), ("op_attendance", 1, "2", {"nhs": "9990000019"})],
        "birth_date",
    ),
    "without a local identifier": (
        [("apc_episode", 0, "1", WRONG | {"local": ""}), ("op_attendance", 1, "2", {"local": ""}), ("mpi", 1, "1509", {})],
        "birth_date",
    ),
    "nothing said of it since": (
        [("apc_episode", 0, "1", WRONG), ("op_attendance", 1, "2", {"born": "", "sex": "9"}), ("mpi", 1, "1509", {})],
        "birth_date",
    ),
    "a month corrected by the next": ([("mpi", 0, "1509", WRONG), ("mpi", 1, "1510", {})], None),
    "an older month delivered later": ([("mpi", 0, "1510", {}), ("mpi", 1, "1509", WRONG)], None),
    "a month submitted again": ([("mpi", 0, "1509", WRONG), ("mpi", 1, "1509", {})], None),
    "a birth date corrected at the next contact with a crew": (
        [("patient_contact", 0, "1", WRONG), ("patient_contact", 1, "2", {})],
        None,
    ),
    "two births at one moment of a crew": (
        [("patient_contact", 1, "1", WRONG), ("patient_contact", 1, "1", {})],
        "birth_date",
    ),
    "another number at the next contact with a crew, which does not trace it": (
        [("patient_contact", 0, "1", {"nhs": "former 9"}), ("patient_contact", 1, "2", {})],
        "numbers_of_local_id",
    ),
    "a number corrected": ([("apc_episode", 0, "1", {"nhs": "former 0"}), ("op_attendance", 1, "2", {})], None),
    "a number corrected in the next month": ([("mpi", 0, "1509", {"nhs": "former 1"}), ("mpi", 1, "1510", {})], None),
    "a number corrected, and rows without": (
        [("apc_episode", 0, "1", {"nhs": "former 2"}), ("apc_episode", 0, "3", {"nhs": ""}), ("op_attendance", 1, "2", {})],
        None,
    ),
    "another number, not traced": (
        [("apc_episode", 0, "1", {"nhs": "former 3"}), ("op_attendance", 1, "2", {"status": "03"})],
        "numbers_of_local_id",
    ),
    "another number since, and the former after it": (
        [
            ("apc_episode", 0, "1", {"nhs": "former 4"}),
            ("op_attendance", 1, "2", {}),
            ("op_attendance", 1, "3", {"nhs": "former 4"}),
        ],
        "numbers_of_local_id",
    ),
    "another number in one version": (
        [("apc_episode", 1, "1", {"nhs": "former 5"}), ("op_attendance", 1, "1", {})],
        "numbers_of_local_id",
    ),
    "another number, born on another day": (
        [("apc_episode", 0, "1", {"nhs": "former 6"} | WRONG), ("op_attendance", 1, "2", {})],
        "birth_date,numbers_of_local_id",
    ),
    "another number, born on a day that is not said": (
        [("apc_episode", 0, "1", {"nhs": "former 7", "born": ""}), ("op_attendance", 1, "2", {})],
        "numbers_of_local_id",
    ),
    "another number, which others state too": (
        [("apc_episode", 0, "1", {"nhs": "former 8"}), ("op_attendance", 1, "2", {}), ("mpi", 1, "1509", {"nhs": "former 8"})],
        "numbers_of_local_id",
    ),
}
"""What rows say of a person: entity, night, version (or month) and what is said otherwise. Then the conflict, of the person."""


def stated_rows(night: int, numbers: Mapping[str, str]) -> dict[str, list[dict[str, str]]]:
    """The rows of STATED that come in a night, by entity."""
    rows: dict[str, list[dict[str, str]]] = {}
    for place, (case, (said, _)) in enumerate(STATED.items()):
        for line, (entity, on, version, otherwise) in enumerate(said):
            says = {"born": "1950-06-07", "sex": "2", "nhs": numbers[case], "local": case, "status": "01"} | otherwise
            number = FORMER.get(says["nhs"], says["nhs"])
            named = {"nhs_number": number, "nhs_number_status": says["status"], "person_birth_date": says["born"]}
            if entity == "patient_contact":
                row = named | {"local_patient_id": says["local"], "date_of_birth": says["born"], "sex": "UMF"[int(says["sex"])]}
                row |= {"epcr_id": f"{place}-{line}", "call_id": f"{place}-{line}", "incident_ts": "2025-03-04 10:00:00"}
                row |= {"last_updated": f"2025-06-0{version} 00:00:00"}
            elif entity == "mpi":
                row = named | {"local_patient_id": says["local"], "gender": says["sex"], "uniq_month_id": version}
            else:
                row = named | {"local_patient_identifier": says["local"], "gender_code": says["sex"], "cds_update_type": "9"}
                row |= {"cds_unique_identifier": f"{place}-{line}", "attendance_identifier": f"{place}-{line}"}
                row |= {"hospital_provider_spell_number": f"{place}-{line}", "arrival_datetime": "2025-03-04 10:00:00"}
                row |= dict.fromkeys(("admission_date", "episode_start_date", "appointment_date"), "2025-03-04")
                row |= {"cds_applicable_datetime": f"2025-06-0{version} 00:00:00" if version else ""}
            if on == night:
                rows.setdefault(entity, []).append(row)
    return rows


def test_the_newest_record_of_a_hospital_or_month_says_who_a_person_is(sail: SparkSession, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    numbers = dict(zip(STATED, [str(number) for number in valid_numbers()[720 : 720 + len(STATED)]], strict=True))
    for night, day in enumerate(("20260104", "20260105")):
        rows = stated_rows(night, numbers)
        for contract, provider in ((ACUTE, "RXN"), (MENTAL_HEALTH, "RMH"), (AMBULANCE, "RX6")):
            own = {
                entity: [{name: value for name, value in row.items() if name in contract.entities[entity].columns} for row in r]
                for entity, r in rows.items()
                if entity in contract.entities
            }
            deliver(landing, contract, provider, day, own)
    opted_out = FORMER["former 1"]
    opt_out_lists(landing, "20260105", [*numbers.values(), BEN], local=[CARL, opted_out])
    run = run_in(sail, tmp_path, DAY, ("acute", "ambulance", "mental_health"))
    ingested_and_curated(run)
    links = run.store.read(Zone.CURATION, LINK).toArrow().to_pylist()
    case_of = {number: case for case, number in numbers.items()}
    found: dict[str, set[str | None]] = {}
    for link in links:
        found.setdefault(link["local_id"] or case_of[link["nhs_number"]], set()).add(link["conflict"])
    elsewhere = {"another number, which others state too": {None}}  # at the trust that knows one number only
    assert found == {case: {conflict} | elsewhere.get(case, set()) for case, (_, conflict) in STATED.items()}
    corrected = [case for case in STATED if case.startswith("a number corrected")]
    people = {case: {link["person_id"] for link in links if link["local_id"] == case} for case in corrected}
    assert {case: len(ids) for case, ids in people.items()} == dict.fromkeys(corrected, 1)
    linked = {link["linked_number"] for link in links if link["local_id"] in corrected}
    assert linked == {numbers[case] for case in corrected}
    left_out = run.store.read(Zone.CURATION, "person").where("opt_out = 'local'").toArrow()["person_id"].to_pylist()
    assert set(left_out) == people["a number corrected in the next month"]


def test_the_newest_submission_of_a_council_says_who_a_person_is(sail: SparkSession, tmp_path: Path) -> None:
    landing, numbers = tmp_path / "landing", [str(number) for number in valid_numbers()[700 : 700 + len(SUBMITTED)]]
    earlier, newest = [], []
    for number, (case, (before, now, _)) in zip(numbers, SUBMITTED.items(), strict=True):
        person = {"nhs_number": number, "la_person_unique_identifier": case, "client_type": "Service user"}
        person |= {"gender": "Female", "date_of_birth": "1950-06-07", "event_type": "Review"}
        start, now_start = {"event_start_date": "2024-05-01"}, {"event_start_date": "2025-05-01"}
        earlier.append(person | start | {"reporting_period_end_date": "31/12/2024"} | before)
        newest.append(person | now_start | {"reporting_period_end_date": "2025-12-31"} | now)
    deliver(landing, COUNCIL, "994", "20260104", {"cld": earlier})
    deliver(landing, COUNCIL, "994", "20260105", {"cld": newest})
    opt_out_lists(landing, "20260105", [*numbers, BEN], local=[CARL])
    run = run_in(sail, tmp_path, DAY, ("social_care",))
    ingested_and_curated(run)
    links = run.store.read(Zone.CURATION, LINK).toArrow().to_pylist()
    known = {link["local_id"].partition("|")[0]: link["conflict"] for link in links if link["nhs_number"] in numbers}
    found = {case: known[case] for case in SUBMITTED}
    assert found == {case: conflict for case, (_, _, conflict) in SUBMITTED.items()}


def test_what_national_data_sets_call_gender_is_not_compared_as_the_sex_on_record() -> None:
    """Gender of Client Level Data too is what a person says: it may be another than the sex that a practice has."""
    contracts = load_contracts(PACKAGED_MAPPINGS_DIR, ("acute", "ambulance", "community", "gp", "mental_health", "social_care"))
    named = [entity.subject.direct for contract in contracts.values() for entity in contract.entities.values()]
    compared = {(direct.sex, direct.gender) for direct in named if direct}
    assert compared == {("sex", None), (None, "gender_code"), (None, "gender"), (None, None)}


def test_a_hospital_and_a_practice_that_contradict_each_other_are_both_counted(sail: SparkSession, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    episode = {"cds_unique_identifier": "E1", "cds_update_type": "9", "cds_applicable_datetime": "2025-03-20 00:00:00"}
    episode |= {"nhs_number": ANNA, "nhs_number_status": "01", "local_patient_identifier": "1", "person_birth_date": OTHER}
    episode |= {"gender_code": "2", "hospital_provider_spell_number": "S1", "admission_date": "2025-03-04"}
    episode |= {"episode_start_date": "2025-03-04", "episode_number": "1"}
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A", ANNA), patient("C", CARL)]})
    deliver(landing, ACUTE, "RXN", "20260105", {"apc_episode": [episode]})
    opt_out_lists(landing, "20260105", [ANNA, CARL], local=[BEN])
    counts = counted(ingested_and_curated(run_in(sail, tmp_path, DAY, ("gp", "acute"))))
    assert counts == {
        ("", "identity_conflict", "P81001:birth_date"): 1,
        ("", "identity_conflict", "RXN:birth_date"): 1,
        ("patient", "quarantined", "identity_conflict:birth_date"): 1,
        ("patient", "current", ""): 1,
        ("apc_episode", "quarantined", "identity_conflict:birth_date"): 1,
    }
