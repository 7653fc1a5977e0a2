"""From delivered files to silver: every line accounted for, the right people kept, nobody's identity passed on."""

from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from pipelines.contracts.ledger import Disposition, LedgerRow, Stage
from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.errors import DeliveryError, OptOutReferenceError
from pipelines.nightly import ingest_deliveries
from pipelines.run_context import RunContext
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.synthetic.nhs_numbers import valid_numbers
from tests.builders.landing import csv_text, deliver, deliver_files, opt_out_lists
from tests.builders.runs import ingested_and_curated, run_in

GP = load_contracts(PACKAGED_MAPPINGS_DIR, ("gp",))["gp"]
ANNA, BEN, CARL, DORA = "9990000018", "9990000026", "9990000034", "9990000042"
EVE, FAY, GUS, HAL = "9990000050", "9990000069", "9990000077", "9990000085"
DAY = date(2026, 1, 5)


def patient(guid: str, number: str, **values: str) -> dict[str, str]:
    """A registered patient at a practice."""
    born = {"date_of_birth": "1950-06-07", "postcode": "PR12AB", "sex": "F", "surname": "Example", "processing_id": "1"}
    return {"organisation_guid": "ORG", "patient_guid": guid, "nhs_number": number} | born | values


def consultation(guid: str, patient_guid: str, **values: str) -> dict[str, str]:
    """A consultation of a patient."""
    row = {"organisation_guid": "ORG", "consultation_guid": guid, "patient_guid": patient_guid, "processing_id": "1"}
    return row | {"effective_date": "2025-03-04"} | values


def observation(guid: str, patient_guid: str, code: str, day: str) -> dict[str, str]:
    """A coded entry of a patient."""
    keys = {"organisation_guid": "ORG", "observation_guid": guid, "patient_guid": patient_guid, "processing_id": "1"}
    return keys | {"code_id": code, "effective_date": day}


CODES = [
    {"code_id": "1", "term": "dissent", "snomed_ct_concept_id": "827241000000103", "processing_id": "1"},
    {"code_id": "2", "term": "withdrawn", "snomed_ct_concept_id": "827261000000102", "processing_id": "1"},
    {"code_id": "3", "term": "look-alike", "read_term_id": "9nu0.", "processing_id": "1"},
]


def load(run: RunContext) -> Counter[tuple[str, str, str]]:
    """Ingest and curate; the curate ledger by entity, disposition and reason."""
    return counted(ingested_and_curated(run))


def counted(ledger: list[LedgerRow]) -> Counter[tuple[str, str, str]]:
    """Rows by entity, disposition and reason."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for row in ledger:
        assert row.stage is Stage.CURATE
        if row.disposition is not Disposition.DELIVERED:
            counts[row.entity, row.disposition.value, row.reason] += row.rows
    return counts


def silver(run: RunContext, entity: str) -> list[dict[str, Any]]:
    """The rows of a silver table."""
    rows: list[dict[str, Any]] = run.store.read(Zone.SILVER, f"gp_{entity}").toArrow().to_pylist()
    return rows


def reasons_by_local_id(run: RunContext) -> dict[str, str]:
    """Why people are left out of the GP record, by their local ids."""
    left_out, links = (run.store.read(Zone.CURATION, name) for name in ("type_one", "link"))
    return {row.local_id.partition("|")[0]: row.reason for row in left_out.join(links, on="person_id", how="inner").collect()}


def test_rows_of_kept_people_reach_silver_typed_and_without_identity(run: RunContext, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A", ANNA)], "consultation": [consultation("C1", "A")]})
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    assert load(run) == {("patient", "current", ""): 1, ("consultation", "current", ""): 1}
    person = silver(run, "patient")[0]
    contact = silver(run, "consultation")[0]
    assert (person["year_of_birth"], person["month_of_birth"], person["postcode_area"]) == (1950, 6, "PR")
    assert contact["effective_date"] == date(2025, 3, 4)
    assert contact["person_id"] == person["person_id"]
    assert 0 < person["person_id"] < 2**53
    shown = str(person) + str(contact)
    assert not [text for text in (ANNA, "Example", "PR12AB", "'A'", "'C1'", "ORG") if text in shown]


def test_every_opt_out_removes_what_it_covers(run: RunContext, landing: Path) -> None:
    people = [patient("A", ANNA), patient("B", BEN), patient("C", CARL), patient("D", DORA), patient("E", "")]
    contacts = [consultation(f"C{guid}", guid) for guid in "ABCDE"]
    deliver(landing, GP, "P81001", "20260105", {"patient": people, "consultation": contacts})
    opt_out_lists(landing, "20260105", [ANNA, BEN, CARL], [ANNA, BEN, CARL, DORA], ["999 000 0026"], [(CARL, "", "", "upheld")])
    expected = {"current": {"": 1}, "opted_out": {"local": 1, "objection": 1, "national": 1, "unverifiable": 1}}
    assert load(run) == {
        (entity, disposition, reason): count
        for entity in ("patient", "consultation")
        for disposition, reasons in expected.items()
        for reason, count in reasons.items()
    }


def test_records_that_a_practice_shares_no_more_are_left_out_until_it_does_again(run: RunContext, landing: Path) -> None:
    """A patient and a consultation of each practice. The patient of ENDED is of OTHER too, and one of its rows is deleted."""
    agreements = {
        "FREE": None,
        "OTHER": {"is_activated": "True", "disabled": "False", "deleted": "0"},
        "ENDED": {"disabled": "TRUE"},
        "GONE": {"deleted": "true"},
        "IDLE": {"is_activated": "0", "disabled": "false"},
    }
    numbers = dict(zip(agreements, (ANNA, BEN, BEN, CARL, DORA), strict=True))
    records = {
        "patient": [patient("P", numbers[place], organisation_guid=place) for place in agreements],
        "consultation": [consultation(name, "P", organisation_guid=place) for place in agreements for name in ("C1", "C2")],
    }

    def agreed(day: str, **values: str) -> list[dict[str, str]]:
        said = {"is_activated": "true", "disabled": "false", "last_modified_date": f"{day} 10:00:00"}
        return [said | {"organisation_guid": place} | (values or own) for place, own in agreements.items() if own is not None]

    opt_out_lists(landing, "20260105", [ANNA, BEN, CARL, DORA], local=[EVE])
    shared = {("patient", "current", ""): 5, ("consultation", "current", ""): 10, ("sharing_organisation", "current", ""): 4}
    deliver(landing, GP, "P81001", "20260103", records | {"sharing_organisation": agreed("2026-01-02", disabled="0")})
    assert load(run) == shared
    gone = [consultation("C2", "P", organisation_guid="ENDED", deleted="true", processing_id="2")]
    deliver(
        landing, GP, "P81001", "20260104", {"consultation": gone, "sharing_organisation": agreed("2026-01-03")}, mode="delta"
    )
    assert load(run) == {
        ("patient", "current", ""): 2,
        ("patient", "opted_out", "not_shared"): 3,
        ("consultation", "current", ""): 4,
        ("consultation", "opted_out", "not_shared"): 5,
        ("consultation", "deleted_at_source", "deleted_flag"): 1,
        ("consultation", "superseded", ""): 1,
        ("sharing_organisation", "current", ""): 4,
        ("sharing_organisation", "superseded", ""): 4,
    }
    again = agreed("2026-01-04", disabled="no")
    deliver(landing, GP, "P81001", "20260105", {"sharing_organisation": again})
    found = load(run)
    assert (found["patient", "current", ""], found["consultation", "current", ""]) == (5, 9)


def test_people_and_rows_that_their_source_marks_are_left_out(run: RunContext, landing: Path) -> None:
    first = [
        patient("A", ANNA, spine_sensitive="true"),
        patient("B", BEN, spine_sensitive="false", is_confidential="1"),
        patient("C", CARL, spine_sensitive="0", is_confidential="No"),
        patient("D", DORA, spine_sensitive="S"),
        patient("E", EVE, spine_sensitive="true", deleted="true"),
        patient("F", FAY, spine_sensitive="true", processing_id="1"),
        patient("F", FAY, spine_sensitive="", processing_id="2"),
        patient("", GUS, spine_sensitive="Y"),
    ]
    contacts = [
        consultation("C1", "A"),
        consultation("C2", "C", is_confidential="Y"),
        consultation("C3", "C", is_confidential="false"),
        consultation("C4", "C", is_confidential="perhaps"),
    ]
    elsewhere = [patient(guid, number) for guid, number in zip("ABDEFG", (ANNA, BEN, DORA, EVE, FAY, GUS), strict=True)]
    deliver(landing, GP, "P81001", "20260105", {"patient": first, "consultation": contacts})
    deliver(landing, GP, "P81002", "20260105", {"patient": elsewhere})
    opt_out_lists(landing, "20260105", [ANNA, BEN, CARL, DORA, EVE, FAY, GUS], local=[HAL])
    assert load(run) == {
        ("patient", "opted_out", "confidential"): 2 + 5,
        ("patient", "current", ""): 1 + 2,
        ("patient", "deleted_at_source", "deleted_flag"): 1,
        ("patient", "quarantined", "unreadable:spine_sensitive"): 1,
        ("patient", "quarantined", "missing:patient_guid"): 1,
        ("patient", "superseded", ""): 1,
        ("consultation", "opted_out", "confidential"): 2,
        ("consultation", "current", ""): 1,
        ("consultation", "quarantined", "unreadable:is_confidential"): 1,
    }


def test_marked_people_and_rows_stay_by_approval(sail: SparkSession, tmp_path: Path, landing: Path) -> None:
    run = run_in(sail, tmp_path, DAY, ("gp",), "opt_outs.confidential=include_with_approval", "opt_outs.approval=a test")
    people = [patient("A", ANNA, spine_sensitive="true")]
    contacts = [consultation("C1", "A", is_confidential="true")]
    deliver(landing, GP, "P81001", "20260105", {"patient": people, "consultation": contacts})
    opt_out_lists(landing, "20260105", [ANNA], local=[HAL])
    assert load(run) == {("patient", "current", ""): 1, ("consultation", "current", ""): 1}
    marks = {"spine_sensitive", "is_confidential"}
    marking = [name for name, entity in GP.entities.items() if entity.confidential]
    assert {*marking} >= {"patient", "consultation", "observation"}
    assert [name for name in marking if marks & {*GP.entities[name].silver_columns}] == []
    assert [row for name in ("patient", "consultation") for row in silver(run, name) if marks & {*row}] == []


def test_deletions_need_nothing_but_the_key(run: RunContext, landing: Path) -> None:
    """However many come at once; a row that says nothing of its record, or not whether it is deleted, deletes nothing."""
    ids = [f"C{n}" for n in range(30)]
    people = [patient("A", ANNA), patient("B", BEN)]
    contacts = [consultation(guid, "A") for guid in ids]
    deliver(landing, GP, "P81001", "20260103", {"patient": people, "consultation": contacts}, mode="delta")
    keys = [{"organisation_guid": "ORG", "consultation_guid": guid, "processing_id": "2"} for guid in (*ids[:26], "C99", "")]
    deletions = [row | {"deleted": "true"} for row in keys] + [keys[0] | {"consultation_guid": "C29", "deleted": "so"}]
    gone = {"organisation_guid": "ORG", "patient_guid": "B", "processing_id": "2", "deleted": "1"}
    deliver(landing, GP, "P81001", "20260105", {"patient": [gone], "consultation": deletions}, mode="delta")
    opt_out_lists(landing, "20260105", [ANNA, BEN], local=[HAL])
    assert load(run) == {
        ("patient", "current", ""): 1,
        ("patient", "superseded", ""): 1,
        ("patient", "deleted_at_source", "deleted_flag"): 1,
        ("consultation", "current", ""): 4,
        ("consultation", "superseded", ""): 26,
        ("consultation", "deleted_at_source", "deleted_flag"): 27,
        ("consultation", "quarantined", "missing:consultation_guid"): 1,
        ("consultation", "quarantined", "missing:patient_guid"): 1,
    }


def test_an_objection_by_local_id_removes_the_person_everywhere(run: RunContext, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A", ANNA)]})
    deliver(landing, GP, "P81002", "20260105", {"patient": [patient("Z", ANNA)]})
    opt_out_lists(landing, "20260105", [ANNA, BEN], local=[BEN], objections=[("", "P81002", "Z", "upheld")])
    assert load(run) == {("patient", "opted_out", "objection"): 2}


ENTRIES: dict[str, tuple[list[tuple[str, str]], str]] = {
    "dissent": ([("1", "2024-01-01")], "type_one"),
    "withdrawn": ([("1", "2024-01-01"), ("2", "2024-02-01")], ""),
    "dissent again": ([("2", "2024-01-01"), ("1", "2024-02-01")], "type_one"),
    "same day": ([("1", "2024-01-01"), ("2", "2024-01-01")], "type_one"),
    "undated": ([("1", ""), ("2", "2024-01-01")], "type_one"),
    "future withdrawal": ([("1", "2024-01-01"), ("2", "2027-01-01")], "type_one"),
    "look-alike": ([("3", "2024-01-01")], ""),
    "unexplained": ([("9", "2024-01-01")], "type_one_unknown"),
    "unexplained undated": ([("9", "")], "type_one_unknown"),
    "without a code": ([("4", "2024-01-01")], "type_one_unknown"),
    "unexplained, then withdrawn": ([("9", "2024-01-01"), ("2", "2024-02-01")], ""),
    "unexplained on the day": ([("9", "2024-02-01"), ("2", "2024-02-01")], "type_one_unknown"),
    "unexplained after": ([("9", "2024-03-01"), ("2", "2024-02-01")], "type_one_unknown"),
    "unexplained undated, withdrawn": ([("9", ""), ("2", "2024-02-01")], "type_one_unknown"),
    "unexplained, future withdrawal": ([("9", "2024-01-01"), ("2", "2027-01-01")], "type_one_unknown"),
    "unexplained and dissent": ([("9", "2024-01-01"), ("1", "2024-01-01")], "type_one"),
    "unexplained after the withdrawal": ([("9", "2024-03-01"), ("1", "2024-01-01"), ("2", "2024-02-01")], "type_one_unknown"),
    "national code only": ([("5", "2024-01-01")], ""),
    "no code": ([("", "2024-01-01")], ""),
    "look-alike with spaces": ([(" 3 ", "2024-01-01")], ""),
}
"""Entries of a patient, code and date, and why they are left out. Code 4 is in the dictionary without any code, 5 with a
national one only, 9 is not in it; another practice knows 4 and 9."""

DISPOSITIONS = (("current", ""), ("opted_out", "type_one"), ("opted_out", "type_one_unknown"))


def test_type_one_follows_the_latest_code_and_what_no_dictionary_explains_may_be_one(run: RunContext, landing: Path) -> None:
    """Everybody is registered at a second practice too."""
    numbers = dict(zip(ENTRIES, map(str, valid_numbers()[100 : 100 + len(ENTRIES)]), strict=True))
    rows = [
        observation(f"{case}{place}", case, code, day)
        for case, (entries, _) in ENTRIES.items()
        for place, (code, day) in enumerate(entries)
    ]
    empty = {"code_id": "4", "term": "without a code", "processing_id": "1"}
    national = {"code_id": "5", "term": "Ethnic category", "national_code": "A", "processing_id": "1"}
    elsewhere = [code | {"snomed_ct_concept_id": "271649006"} for code in (empty, empty | {"code_id": "9"})]
    here, there = ([patient(f"{case}{again}", number) for case, number in numbers.items()] for again in ("", " again"))
    mine = {"patient": here, "observation": rows, "clinical_code": [*CODES, empty, national]}
    deliver(landing, GP, "P81001", "20260105", mine)
    deliver(landing, GP, "P81002", "20260105", {"patient": there, "clinical_code": elsewhere})
    opt_out_lists(landing, "20260105", [*numbers.values()], local=[HAL])
    counts = load(run)
    left_out = {case: reason for case, (_, reason) in ENTRIES.items() if reason}
    assert reasons_by_local_id(run) == left_out | {f"{case} again": reason for case, reason in left_out.items()}
    assert [counts["patient", *kept] for kept in DISPOSITIONS] == [12, 12, 16]
    assert [counts["observation", *kept] for kept in DISPOSITIONS] == [8, 11, 14]


def test_a_withdrawal_of_type_one_counts_once_an_extract_of_its_practice_reaches_its_day(
    run: RunContext, landing: Path
) -> None:
    """Not with the day of the run, nor with an extract of another practice: a run of a later day has nothing to make."""
    withdrawn_on = {"A": "2026-01-05", "B": "2026-01-06", "C": "2026-01-07"}
    rows = [
        observation(f"{guid}{code}", guid, code, day)
        for guid, last in withdrawn_on.items()
        for code, day in (("1", "2024-01-01"), ("2", last))
    ]
    people = [patient(guid, number) for guid, number in zip(withdrawn_on, (ANNA, BEN, CARL), strict=True)]
    deliver(landing, GP, "P81001", "20260105", {"patient": people, "observation": rows, "clinical_code": CODES})
    deliver(landing, GP, "P81002", "20260106", {"patient": [patient("Z", HAL)]})
    opt_out_lists(landing, "20260105", [ANNA, BEN, CARL, HAL], local=[EVE])
    next_day, day_after = (replace(run, run_date=date(2026, 1, day)) for day in (6, 7))
    for later in (run, next_day, day_after):
        load(later)
        assert reasons_by_local_id(run) == {"B": "type_one", "C": "type_one"}
    deliver(landing, GP, "P81001", "20260107", {"patient": people[2:]}, mode="delta")
    load(replace(run, run_date=date(2026, 1, 9)))
    assert reasons_by_local_id(run) == {}


SPELLINGS: dict[str, list[tuple[str, str]]] = {
    "type_one": [
        ("read_term_id", "9Nu0."),
        ("read_term_id", "9Nu0"),
        ("read_term_id", "9Nu0-1"),
        ("read_term_id", "9Nu0.00"),
        ("read_term_id", "9Nu0.11"),
        ("read_term_id", "'XaZ89"),
        ("snomed_ct_concept_id", "827241000000103 |Dissent from secondary use|"),
        ("snomed_ct_concept_id", "827241000000103|Dissent|"),
        ("snomed_ct_concept_id", "827241000000103.0"),
        ("snomed_ct_concept_id", "'827241000000103"),
        ("snomed_ct_concept_id", '="827241000000103"'),
        ("snomed_ct_concept_id", "827,241,000,000,103"),
    ],
    "type_one_unknown": [
        ("snomed_ct_concept_id", "8.27241E+14"),
        ("snomed_ct_concept_id", "8.27241000000103E+14"),
        ("snomed_ct_concept_id", "0"),
        ("read_term_id", "-"),
        ("read_term_id", "....."),
    ],
    "": [
        ("read_term_id", "9nu0."),
        ("read_term_id", "9Nu2.-1"),
        ("read_term_id", "XaZ8A"),
        ("read_term_id", "^ESCT1305304"),
        ("snomed_ct_concept_id", "8272410000001035"),
        ("snomed_ct_concept_id", "271649006.0"),
        ("snomed_ct_concept_id", "827261000000102 |Withdrawn|"),
    ],
}
"""How a code table may write the code of an entry, by why its person is left out."""


def test_a_dissent_counts_however_its_code_is_written(run: RunContext, landing: Path) -> None:
    written = [(reason, column, code) for reason, codes in SPELLINGS.items() for column, code in codes]
    numbers = [str(number) for number in valid_numbers()[100 : 100 + len(written)]]
    rows = {
        "patient": [patient(f"P{place}", number) for place, number in enumerate(numbers)],
        "observation": [observation(f"O{place}", f"P{place}", f"C{place}", "2024-01-01") for place in range(len(written))],
        "clinical_code": [
            {"code_id": f"C{place}", "term": "x", column: code, "processing_id": "1"}
            for place, (_, column, code) in enumerate(written)
        ],
    }
    deliver(landing, GP, "P81001", "20260105", rows)
    opt_out_lists(landing, "20260105", numbers, local=[BEN])
    load(run)
    found = reasons_by_local_id(run)
    assert [(found.get(f"P{place}", ""), column, code) for place, (_, column, code) in enumerate(written)] == written


UNUSABLE: list[tuple[str, list[dict[str, str]]]] = [
    ("type_one_unknown", [{"deleted": "perhaps"}]),
    ("type_one_unknown", [{"observation_guid": ""}]),
    ("", [{"deleted": "perhaps"}, {"processing_id": "2", "deleted": "TRUE"}]),
    ("type_one", [{"deleted": "perhaps"}, {"processing_id": "2"}]),
    ("type_one", [{"deleted": "perhaps", "code_id": "2"}, {"observation_guid": "other"}]),
    ("", [{"deleted": "perhaps"}, {"observation_guid": "other", "code_id": "2", "effective_date": "2024-02-01"}]),
    ("", [{"deleted": "perhaps", "code_id": "3"}]),
]
"""Why a person is left out, and the entries by which: a dissent (code 1) unless they say otherwise."""


def test_a_dissent_in_a_row_that_cannot_be_used_may_be_one(run: RunContext, landing: Path) -> None:
    numbers = [str(number) for number in valid_numbers()[100 : 100 + len(UNUSABLE)]]
    entries = [
        observation(f"O{place}", f"P{place}", "1", "2024-01-01")
        | entry
        | ({"observation_guid": f"other{place}"} if entry.get("observation_guid") else {})
        for place, (_, entries) in enumerate(UNUSABLE)
        for entry in entries
    ]
    people = [patient(f"P{place}", number) for place, number in enumerate(numbers)]
    deliver(landing, GP, "P81001", "20260105", {"patient": people, "observation": entries, "clinical_code": CODES})
    opt_out_lists(landing, "20260105", numbers, local=[BEN])
    load(run)
    found = reasons_by_local_id(run)
    assert [(found.get(f"P{place}", ""), entries) for place, (_, entries) in enumerate(UNUSABLE)] == UNUSABLE


DISSENT = [observation("O1", "A", "1", "2024-01-01")]
EMPTY = csv_text(GP, "clinical_code", [])


@pytest.mark.parametrize(
    "dictionary", [None, (EMPTY, 0), (EMPTY + "too,few\n", 1)], ids=["none", "header only", "malformed rows only"]
)
def test_entries_without_a_dictionary_stop_before_silver(
    run: RunContext, landing: Path, dictionary: tuple[str, int] | None
) -> None:
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A", ANNA)], "observation": DISSENT})
    deliver(landing, GP, "P81002", "20260105", {"patient": [patient("Z", ANNA)], "observation": [], "clinical_code": CODES})
    if dictionary:
        deliver_files(landing, "gp", "P81001", "20260104", {"x_Coding_ClinicalCode_x.csv": dictionary})
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    with pytest.raises(OptOutReferenceError, match=r"1 providers have delivered observation and no usable row.*: P81001"):
        load(run)
    assert not run.store.exists(Zone.SILVER, "gp_patient")


def test_a_dictionary_of_an_earlier_delivery_explains_later_entries(run: RunContext, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260104", {"patient": [patient("A", ANNA)], "clinical_code": CODES}, "full")
    deliver(landing, GP, "P81001", "20260105", {"observation": DISSENT})
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    counts = load(run)
    assert (counts["patient", "opted_out", "type_one"], counts["observation", "opted_out", "type_one"]) == (1, 1)


ENTERED: dict[str, tuple[tuple[str, str], tuple[str, str], bool]] = {
    "no day": (("2024-01-01", ""), ("", "2024-02-01"), True),
    "a default day": (("2024-01-01", ""), ("1900-01-01", "1/2/2024"), True),
    "an American withdrawal": (("2024-01-01", ""), ("02/25/2024", "2024-02-25"), False),
    "an American dissent": (("01/25/2024", "2024-01-25"), ("2024-02-01", ""), False),
    "a word": (("", "soon"), ("2024-02-01", ""), False),
}
"""Day and day of entry of a dissent and of its withdrawal, and whether the patient is kept."""


def test_a_date_of_type_one_that_cannot_be_read_is_not_that_of_entry(run: RunContext, landing: Path) -> None:
    numbers = dict(zip(ENTERED, (ANNA, BEN, CARL, DORA, EVE), strict=True))
    rows = [
        observation(f"{case}{code}", case, code, day) | {"entered_date": entered}
        for case, (dissent, withdrawal, _) in ENTERED.items()
        for code, (day, entered) in (("1", dissent), ("2", withdrawal))
    ]
    people = [patient(case, number) for case, number in numbers.items()]
    deliver(landing, GP, "P81001", "20260105", {"patient": people, "observation": rows, "clinical_code": CODES})
    opt_out_lists(landing, "20260105", [*numbers.values()], local=[HAL])
    assert load(run)["patient", "current", ""] == 2
    assert reasons_by_local_id(run) == {case: "type_one" for case, (_, _, kept) in ENTERED.items() if not kept}


def test_corrections_duplicates_and_deletes_leave_one_row_each(run: RunContext, landing: Path) -> None:
    first = [consultation("C1", "A"), consultation("C2", "A"), consultation("C3", "A"), consultation("C1", "A")]
    second = [
        consultation("C1", "A", processing_id="2", effective_date="2025-03-05"),
        consultation("C2", "A", processing_id="2", deleted="TRUE"),
    ]
    deliver(landing, GP, "P81001", "20260104", {"patient": [patient("A", ANNA)], "consultation": first}, "full")
    deliver(landing, GP, "P81001", "20260105", {"consultation": second})
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    counts = load(run)
    assert counts == {
        ("patient", "current", ""): 1,
        ("consultation", "current", ""): 2,
        ("consultation", "superseded", ""): 3,
        ("consultation", "deleted_at_source", "deleted_flag"): 1,
    }
    assert {row["effective_date"] for row in silver(run, "consultation")} == {date(2025, 3, 4), date(2025, 3, 5)}


def test_a_full_delivery_deletes_what_it_no_longer_holds_and_children_follow(run: RunContext, landing: Path) -> None:
    both = {"patient": [patient("A", ANNA), patient("B", BEN)], "consultation": [consultation("C1", "B")]}
    deliver(landing, GP, "P81001", "20260104", both, "full")
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A", ANNA, processing_id="2")]}, "full")
    opt_out_lists(landing, "20260105", [ANNA, BEN], local=[CARL])
    assert load(run) == {
        ("patient", "current", ""): 1,
        ("patient", "superseded", ""): 1,
        ("patient", "deleted_at_source", "absent_from_full"): 1,
        ("consultation", "deleted_at_source", "absent_from_full"): 1,
    }


def test_what_a_full_delivery_holds_counts_whatever_earlier_ones_said_of_its_version(run: RunContext, landing: Path) -> None:
    """C1 was newer before, C2 has lost its version, C3 had none in between, C4 and the line of C6 are unusable; C5 is gone."""
    first = [
        consultation("C1", "A", processing_id="9"),
        *[consultation(f"C{place}", "A", processing_id="2") for place in range(2, 7)],
    ]
    between = [consultation("C1", "A", processing_id="10"), consultation("C3", "A", processing_id="")]
    newest = [
        consultation("C1", "A", processing_id="1", effective_date="2025-06-01"),
        consultation("C2", "A", processing_id="", effective_date="2025-06-02"),
        consultation("C3", "A", processing_id="2", effective_date="2025-06-03"),
        consultation("C4", "A", processing_id="3", deleted="perhaps"),
        consultation("C6", "A", processing_id="3"),
    ]
    broken = csv_text(GP, "consultation", newest).removesuffix("\n") + ",one too many\n"
    deliver(landing, GP, "P81001", "20260103", {"patient": [patient("A", ANNA)], "consultation": first}, "full")
    deliver(landing, GP, "P81001", "20260104", {"consultation": between})
    deliver_files(landing, "gp", "P81001", "20260105", {"x_CareRecord_Consultation_x.csv": (broken, 5)}, "full")
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    assert load(run) == {
        ("patient", "current", ""): 1,
        ("consultation", "current", ""): 5,
        ("consultation", "superseded", ""): 5,
        ("consultation", "quarantined", "unreadable:deleted"): 1,
        ("consultation", "quarantined", "malformed:too_many_fields"): 1,
        ("consultation", "deleted_at_source", "absent_from_full"): 1,
    }
    days = {row["effective_date"] for row in silver(run, "consultation")}
    assert days == {date(2025, 6, 1), date(2025, 6, 2), date(2025, 6, 3), date(2025, 3, 4)}


def test_the_same_file_again_adds_nothing_and_still_stands(run: RunContext, landing: Path) -> None:
    deliver(landing, GP, "P81001", "20260104", {"patient": [patient("A", ANNA)]}, "full")
    deliver(landing, GP, "P81001", "20260105", {"patient": [patient("A", ANNA)]}, "full")
    opt_out_lists(landing, "20260105", [ANNA], local=[BEN])
    assert load(run) == {("patient", "current", ""): 1, ("patient", "duplicate", "repeated_file"): 1}
    assert load(run) == {("patient", "current", ""): 1, ("patient", "duplicate", "repeated_file"): 1}
    assert run.store.read(Zone.BRONZE, "gp_patient").count() == 1


def test_unusable_rows_are_quarantined_with_their_reason(run: RunContext, landing: Path) -> None:
    text = csv_text(
        GP,
        "patient",
        [
            patient("A", ANNA, surname="Zo\u00eb\nExample"),
            patient("B", "9434765919"),
            patient("", BEN),
            patient("D", DORA, dummy_type="TRUE"),
        ],
    )
    text += "too,few\n"
    deliver_files(landing, "gp", "P81001", "20260105", {"x_Admin_Patient_x.csv": (text.encode("cp1252"), 5)})
    deliver(landing, GP, "P81001", "20260104", {"consultation": [consultation("C1", "GONE"), consultation("C2", "D")]})
    opt_out_lists(landing, "20260105", [ANNA, BEN], local=[CARL])
    assert load(run) == {
        ("patient", "current", ""): 1,
        ("patient", "quarantined", "real_number_outside_production"): 1,
        ("patient", "quarantined", "missing:patient_guid"): 1,
        ("patient", "quarantined", "malformed:too_few_fields"): 1,
        ("patient", "test_patient", ""): 1,
        ("consultation", "quarantined", "orphan:patient"): 1,
        ("consultation", "test_patient", ""): 1,
    }
    quarantine = run.store.read(Zone.QUARANTINE, "lines").toArrow().to_pylist()
    assert {(line["entity"], line["folder"], line["file_name"], line["line"], line["reason"]) for line in quarantine} == {
        ("patient", "20260105", "x_Admin_Patient_x.csv", 4, "real_number_outside_production"),
        ("patient", "20260105", "x_Admin_Patient_x.csv", 5, "missing:patient_guid"),
        ("patient", "20260105", "x_Admin_Patient_x.csv", 7, "malformed:too_few_fields"),
        ("consultation", "20260104", "xCareRecord_Consultation_x.csv", 2, "orphan:patient"),
    }
    malformed = run.store.read(Zone.BRONZE, "gp_patient").where("_reason is not null").toArrow().to_pylist()
    assert [(row["_line"], row["_raw"]) for row in malformed] == [(7, "too,few")]


def test_two_people_with_one_id_in_two_organisations_of_a_provider_are_two(run: RunContext, landing: Path) -> None:
    """The second has no number, so that nobody can say whether they opted out; an objection by the id reaches both."""
    others = {"organisation_guid": "OTHER", "nhs_number": "", "sex": "M", "date_of_birth": "1990-01-01"}
    people = [
        patient("A", ANNA),
        patient("A", "") | others,
        patient("B", BEN),
        patient("B", CARL) | {"organisation_guid": "OTHER"},
    ]
    contacts = [consultation("C1", "A"), consultation("C1", "A") | {"organisation_guid": "OTHER"}]
    deliver(landing, GP, "P81001", "20260105", {"patient": people, "consultation": contacts})
    opt_out_lists(landing, "20260105", [ANNA, BEN, CARL], local=[HAL], objections=[("", "P81001", "b", "upheld")])
    assert load(run) == {
        ("patient", "current", ""): 1,
        ("patient", "opted_out", "unverifiable"): 1,
        ("patient", "opted_out", "objection"): 2,
        ("consultation", "current", ""): 1,
        ("consultation", "opted_out", "unverifiable"): 1,
    }


def test_a_file_that_differs_from_its_manifest_is_rejected_and_leaves_nothing(run: RunContext, landing: Path) -> None:
    text = csv_text(GP, "patient", [patient("A", ANNA)])
    folder = deliver_files(landing, "gp", "P81001", "20260105", {"x_Admin_Patient_x.csv": (text, 2)})
    with pytest.raises(DeliveryError, match="1 records, the manifest says 2"):
        ingest_deliveries(run)
    assert run.store.paths.records(Zone.BRONZE, "gp_patient", ("_line",)) == []
    (folder / "x_Admin_Patient_x.csv").write_text(text + "\n")
    with pytest.raises(DeliveryError, match="checksum differs"):
        ingest_deliveries(run)
    assert run.register() == ()
