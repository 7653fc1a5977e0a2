"""Entries of opt-out lists as people write them: whom they reach, and how many reach nobody and why."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession

from pipelines.contracts.ledger import Disposition, LedgerRow, check_balance
from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.curate.tables import curate_tables
from pipelines.declaring import curate_inputs
from pipelines.governance.opt_out_lists import read_opt_outs
from pipelines.nightly import ingest_deliveries
from pipelines.run_ledger import opt_out_ledger
from pipelines.runner import selected
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.synthetic.nhs_numbers import valid_numbers
from tests.builders.landing import deliver, opt_out_lists
from tests.builders.runs import POLICY, RUN_ID, run_in

SOURCES = ("acute", "community", "gp")
CONTRACTS = load_contracts(PACKAGED_MAPPINGS_DIR, SOURCES)
DAY = date(2026, 1, 5)
ANNA, BEN, CARL, DORA, STRANGER = "9990000018", "9990000026", "9990000034", "9990000042", "9990000050"
GUID = "{0A1B2C3D-0000-4E5F-8A9B-00000000000A}"

Objection = tuple[str, str, str, str]


def by_place(provider: str, local_id: str) -> Objection:
    """An upheld objection that names a provider and its local id."""
    return "", provider, local_id, "upheld"


def curated(
    session: SparkSession,
    folder: Path,
    objections: Sequence[Objection],
    local: Sequence[str],
    ids: Sequence[tuple[str, str]],
) -> tuple[set[str], dict[tuple[str, str, str], int]]:
    """The people who are left out (provider and local id), and the entries of the lists by list, outcome and reason.

    RXN delivers a result for each local id and number, RXP the same ids without numbers, a practice one patient.
    """
    results = [result(f"R{at}", local_id, number) for at, (local_id, number) in enumerate(ids)]
    unnumbered = [row | {"nhs_number": ""} for row in results]
    return left_out_of(session, folder, {"RXN": results, "RXP": unnumbered}, objections, local)


def result(result_id: str, local_id: str, number: str, **values: str) -> dict[str, str]:
    """A result of the laboratory."""
    keys = {"result_id": result_id, "local_patient_identifier": local_id, "nhs_number": number}
    return keys | {"collected_datetime": "2025-03-04T10:00:00"} | values


def left_out_of(
    session: SparkSession,
    folder: Path,
    results: Mapping[str, Sequence[dict[str, str]]],
    objections: Sequence[Objection],
    local: Sequence[str],
    refused: Sequence[str] = (),
) -> tuple[set[str], dict[tuple[str, str, str], int]]:
    """What `curated` gives, of the results of some trusts and one patient of a practice. `refused` are opted out nationally."""
    run = run_in(session, folder, DAY, SOURCES, "opt_outs.unverifiable=include_with_approval", "opt_outs.approval=test")
    landing = run.settings.storage.landing
    for trust, rows in results.items():
        deliver(landing, CONTRACTS["acute"], trust, "20260105", {"pathology_result": rows})
    deliver(landing, CONTRACTS["gp"], "P81001", "20260105", {"patient": [patient(DORA)]})
    numbers = {number for rows in results.values() for row in rows if (number := row["nhs_number"])}
    asked = sorted(numbers | {DORA})
    allowed = [number for number in asked if number not in refused]
    opt_out_lists(landing, "20260105", allowed, asked, local=local, objections=objections)
    ingest_deliveries(run)
    lists = read_opt_outs(landing, POLICY, DAY)
    ready = replace(run, inputs=replace(run.inputs, opt_outs=lists))
    tables = curate_tables(curate_inputs(ready, ready.register()))
    ready.runner.run(selected(tables, ["curation.person", "ledger.opt_out_entries"]))
    people = {
        row["person_id"] for row in run.store.read(Zone.CURATION, "person").toArrow().to_pylist() if row["opt_out"] is not None
    }
    links = run.store.read(Zone.CURATION, "link").toArrow().to_pylist()
    ledger: list[LedgerRow] = opt_out_ledger(ready, RUN_ID)
    check_balance(ledger)
    left_out = {f"{row['_provider']} {row['local_id'].partition('|')[0]}" for row in links if row["person_id"] in people}
    counts = {(row.entity, str(row.disposition), row.reason): row.rows for row in ledger}
    return left_out, {key: rows for key, rows in counts.items() if key[1] != Disposition.LISTED}


def patient(number: str) -> dict[str, str]:
    """A patient of the practice."""
    values = {"organisation_guid": "ORG", "patient_guid": GUID, "nhs_number": number, "processing_id": "1"}
    return values | {"date_of_birth": "1950-06-07", "sex": "F"}


RXN_IDS = (("0012345", ANNA), ("A77b", BEN), ("000", CARL))

REACHES = [
    ([by_place("rxn", "0012345")], {"RXN 0012345"}),
    ([by_place("RXN", "12345")], {"RXN 0012345"}),
    ([by_place("RXN", "12345.0")], {"RXN 0012345"}),
    ([by_place(" Rxn ", "00012345")], {"RXN 0012345"}),
    ([by_place("R X N", "001 2345")], {"RXN 0012345"}),
    ([by_place("rxn\u00a0", "\u200b12345\u2009")], {"RXN 0012345"}),
    ([by_place("RXN00", "12345")], {"RXN 0012345"}),
    ([by_place("rxn 00\u2066", "123\u00ad45\u202e")], {"RXN 0012345"}),
    ([by_place("rXn", "a77B")], {"RXN A77b"}),
    ([by_place("rxp", "0A77B"), by_place("rxn", "77b")], {"RXP A77b"}),
    ([by_place("P81001", GUID.lower())], {f"P81001 {GUID}"}),
    ([by_place("p81001", GUID.strip("{}"))], {f"P81001 {GUID}"}),
    ([by_place("p81001", GUID.strip("{}").replace("-", "").lower())], {f"P81001 {GUID}"}),
    ([by_place("P81001", "12345"), by_place("RXN", GUID)], set()),
    ([by_place("RXN", "0"), by_place("RXN", "000"), by_place("RXN", "123450")], set()),
]


@pytest.mark.parametrize(("objections", "left_out"), REACHES)
def test_an_objection_reaches_its_person_however_it_is_written(
    sail: SparkSession, tmp_path: Path, objections: list[Objection], left_out: set[str]
) -> None:
    found, counts = curated(sail, tmp_path, objections, [STRANGER], RXN_IDS)
    assert found == left_out
    assert counts["local", "unmatched", "number_unknown"] == 1
    assert counts.get(("objection", "matched", ""), 0) == len(left_out)
    assert counts.get(("objection", "unmatched", "local_id_unknown"), 0) == len(objections) - len(left_out)


def test_entries_that_match_nobody_are_counted_by_kind(sail: SparkSession, tmp_path: Path) -> None:
    objections = [
        (ANNA, "", "", "upheld"),
        (STRANGER, "", "", "upheld"),
        (STRANGER, "RXN", "0012345", "upheld"),
        (STRANGER, "RXN", "nobody", "upheld"),
        by_place("RXN", "A77b"),
        by_place("RXQ", "0012345"),
        by_place("RXN01", "0012345"),
        by_place("RXN", "99"),
        (CARL, "RXN", "99", "refused"),
    ]
    left_out, counts = curated(sail, tmp_path, objections, [CARL, STRANGER, DORA], RXN_IDS)
    assert left_out == {"RXN 0012345", "RXN A77b", "RXN ", f"P81001 {GUID}"}  # 000 names nobody, its number does
    assert counts == {
        ("local", "matched", ""): 2,
        ("local", "unmatched", "number_unknown"): 1,
        ("objection", "matched", ""): 3,
        ("objection", "unmatched", "number_unknown"): 2,
        ("objection", "unmatched", "provider_unknown"): 2,
        ("objection", "unmatched", "local_id_unknown"): 1,
    }


def test_ids_that_differ_in_zeros_stay_two_people_and_one_objection_reaches_both(sail: SparkSession, tmp_path: Path) -> None:
    ids = (("0012345", ANNA), ("12345", BEN), ("12345X", CARL))
    left_out, counts = curated(sail, tmp_path, [by_place("RXN", "012345")], [], ids)
    assert left_out == {"RXN 0012345", "RXN 12345"}
    assert counts == {("objection", "matched", ""): 1}


spellings = st.tuples(
    st.sampled_from(["RXN", "rxn", "Rxn ", " rXN"]),
    st.integers(0, 3),
    st.sampled_from(["7", "70", "12345", "ab1", "AB1", "b-9", "9.1", "x1" * 6]),
    st.sampled_from(["", " ", "\u00a0", "\t"]),
)


@settings(max_examples=6, deadline=None, derandomize=True, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(
    st.lists(spellings, min_size=1, max_size=6),
    st.lists(st.sampled_from(["7", "0070", "00012345", "AB1", "b-9", "X1" * 6]), unique=True, min_size=1, max_size=4),
)
def test_entries_are_compared_as_a_plain_account_says(
    sail: SparkSession, written: list[tuple[str, int, str, str]], ids: list[str]
) -> None:
    """RXN is an acute trust: case, blanks and leading zeros do not count."""
    objections = [by_place(provider, "0" * zeros + local_id + blank) for provider, zeros, local_id, blank in written]
    wanted = {re.sub(r"\s", "", local_id).upper().lstrip("0") for _, _, local_id, _ in objections}
    with tempfile.TemporaryDirectory() as folder:
        numbers = (ANNA, BEN, CARL, STRANGER)
        left_out, counts = curated(sail, Path(folder), objections, [], tuple(zip(ids, numbers, strict=False)))
    assert left_out == {f"RXN {local_id}" for local_id in ids if local_id.upper().lstrip("0") in wanted}
    there = {local_id.upper().lstrip("0") for local_id in ids}
    matched = sum(re.sub(r"\s", "", local_id).upper().lstrip("0") in there for _, _, local_id, _ in objections)
    assert counts.get(("objection", "matched", ""), 0) == matched
    assert counts.get(("objection", "unmatched", "local_id_unknown"), 0) == len(objections) - matched


def test_an_entry_reaches_its_person_by_a_number_that_was_corrected_or_is_not_trusted(
    sail: SparkSession, tmp_path: Path
) -> None:
    """L1, L2 and L6 had other numbers before, those of L3, L4 and L7 were not traced (04) or are to be resolved (05).

    L8 has another number that came back from the national check, as theirs did.
    """
    old, new = {"record_last_updated": "2025-03-05 10:00:00"}, {"record_last_updated": "2025-03-06 10:00:00"}
    first, second, third, fourth, fifth, sixth, last = (str(number) for number in valid_numbers()[100:107])
    results = [
        result("R1", "L1", first, **old),
        result("R1", "L1", ANNA, **new),
        result("R2", "L2", second, **old),
        result("R2", "L2", BEN, **new),
        result("R3", "L3", third, nhs_number_status="04"),
        result("R4", "L4", fourth, nhs_number_status="05"),
        result("R5", "L5", CARL, **new),
        result("R6", "L6", fifth, **old),
        result("R6", "L6", "9990000069", **new),
        result("R7", "L7", sixth, nhs_number_status="04"),
        result("R8", "L8", last, **old),
        result("R8", "L8", "9990000077", **new),
    ]
    objections = [(second, "", "", "upheld"), (fourth, "", "", "upheld")]
    left_out, counts = left_out_of(sail, tmp_path, {"RXN": results}, objections, [first, third, STRANGER], [fifth, sixth])
    assert left_out == {"RXN L1", "RXN L2", "RXN L3", "RXN L4", "RXN L6", "RXN L7"}
    assert counts == {
        ("local", "matched", ""): 2,
        ("local", "unmatched", "number_unknown"): 1,
        ("objection", "matched", ""): 2,
    }


def stated(result_id: str, *said: tuple[str, ...], **last: str) -> list[dict[str, str]]:
    """The versions of a result, the oldest first: local id, number and its status. `last` are further values of the last."""
    rows = [
        result(result_id, local_id, number, nhs_number_status="".join(status), record_last_updated=f"2025-03-05 1{at}:00:00")
        for at, (local_id, number, *status) in enumerate(said)
    ]
    return [*rows[:-1], rows[-1] | last]


N = [str(number) for number in valid_numbers()[100:130]]

FORMER_IDENTITIES: dict[str, tuple[list[dict[str, str]], str, set[str]]] = {
    # trust: what it delivered, the local id or number by which somebody is to be left out, and the local ids that are
    "RA1": (stated("R", ("H1", N[0]), ("H2", N[0])), "H1", {"H2"}),
    "RA2": (stated("R", ("H1", ""), ("H2", "")), "h1", {"H2"}),
    "RA3": (stated("R", ("H1", N[1]), ("H2", N[1]), ("H3", N[1])), "H1", {"H3"}),
    "RA4": (stated("R", ("", N[2]), ("", N[3])), N[2], {""}),
    "RA5": (stated("R", ("H1", N[4]), ("H2", N[5])), N[4], {"H2"}),
    "RA6": (stated("R", ("H1", N[6]), ("H2", N[7])), "H1", {"H2"}),
    "RA7": (stated("R", ("H1", N[8]), ("H2", "")), N[8], {"H2"}),
    "RA8": (stated("R", ("", N[9], "04"), ("", N[10], "01")), N[9], {""}),
    # The record that the hospital merged is deleted, and the person still has another.
    "RA9": (stated("R", ("H1", N[11]), result_status="deleted") + stated("Q", ("H2", N[11])), "H1", {"H2"}),
    # The former local id is still somebody else's: both are left out, and nobody besides.
    "RB1": (
        stated("R", ("H1", N[12]), ("H2", N[13])) + stated("Q", ("H1", N[14])) + stated("P", ("H3", N[15])),
        "H1",
        {"H1", "H2"},
    ),
    # What was corrected was not the person's; the person who has the number now is left out by it, and by no other.
    "RB2": (stated("R", ("H1", N[16]), ("H2", N[17])) + stated("Q", ("H1", N[18])), N[17], {"H2"}),
    # Nobody is shown of a row that names nobody.
    "RB3": (stated("R", ("", N[19], "04")), N[19], set()),
}


def test_an_entry_reaches_its_person_by_all_that_a_record_ever_said(sail: SparkSession, tmp_path: Path) -> None:
    results = {trust: rows for trust, (rows, _, _) in FORMER_IDENTITIES.items()}
    objections = [by_place(trust, entry) for trust, (_, entry, _) in FORMER_IDENTITIES.items() if not entry.isdigit()]
    numbers = [entry for _, entry, _ in FORMER_IDENTITIES.values() if entry.isdigit()]
    left_out, counts = left_out_of(sail, tmp_path, results, objections, numbers)
    assert left_out == {f"{trust} {local_id}" for trust, (_, _, ids) in FORMER_IDENTITIES.items() for local_id in ids}
    assert counts == {
        ("local", "matched", ""): len(numbers) - 1,
        ("local", "unmatched", "number_unknown"): 1,
        ("objection", "matched", ""): len(objections),
    }
