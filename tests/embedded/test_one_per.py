"""What comes again of the Commissioning Data Set: under another identifier, or under its own with other diagnoses.

Of an episode or attendance under another CDS identifier one record is current, with what belongs to it. One that is sent again
under its own replaces the former whole: CDS UPDATE TYPE 9 is an "original or replacement" (NHS Data Dictionary).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.judging import measures_of_run
from pipelines.quality.checks import Rule
from pipelines.quality.gates import Verdict, judge
from pipelines.quality.written import sentence
from pipelines.run_context import RunContext
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.builders.landing import deliver, opt_out_lists
from tests.builders.policies import policy
from tests.builders.runs import ingested_and_curated, run_in
from tests.embedded.test_curate import ANNA, BEN, counted

ACUTE = load_contracts(PACKAGED_MAPPINGS_DIR, ("acute",))["acute"]
NIGHTS = ("20260104", "20260105", "20260106")
PARTS = {"apc_episode": "apc_diagnosis", "op_attendance": "op_diagnosis", "ecds_attendance": "ecds_coded_item"}

Row = dict[str, str]

PERSON = {"nhs_number": ANNA, "nhs_number_status": "01", "local_patient_identifier": "1", "cds_update_type": "9"}
KINDS: dict[str, Row] = {
    "apc_episode": {
        "hospital_provider_spell_number": "S1",
        "episode_number": "1",
        "admission_date": "2025-03-04",
        "episode_start_date": "2025-03-04",
        "episode_end_date": "2025-03-08",
    },
    "op_attendance": {
        "attendance_identifier": "T1",
        "appointment_date": "2025-04-02",
        "attended_code": "5",
        "treatment_function_code": "300",
    },
    "ecds_attendance": {
        "attendance_identifier": "T1",
        "arrival_datetime": "2025-05-01 10:00:00",
        "departure_datetime": "2025-05-01 14:00:00",
    },
}
GONE: Row = {"cds_update_type": "1", "cds_applicable_datetime": "2025-09-09 00:00:00"}

CASES: dict[str, tuple[str, Row, Row, str]] = {
    "sent again": ("apc_episode", {}, {}, "B"),
    "sent again, older": ("apc_episode", {}, {"cds_applicable_datetime": "2025-05-01 00:00:00"}, "A"),
    "sent again, unfinished": ("apc_episode", {}, {"episode_end_date": ""}, "A"),
    "sent again, without an end in the words of the system": ("apc_episode", {}, {"episode_end_date": "1900-01-01"}, "A"),
    "finished after it was sent unfinished": ("apc_episode", {"episode_end_date": ""}, {}, "B"),
    "written in another way": ("apc_episode", {}, {"episode_number": "01.0", "episode_start_date": "04/03/2025"}, "B"),
    "the next episode": ("apc_episode", {}, {"episode_number": "2"}, "AB"),
    "an episode of another day": ("apc_episode", {}, {"episode_start_date": "2025-03-05"}, "AB"),
    "another spell": ("apc_episode", {}, {"hospital_provider_spell_number": "other"}, "AB"),
    "without a number": ("apc_episode", {"episode_number": ""}, {"episode_number": ""}, "AB"),
    "of a number that is not known": ("apc_episode", {"episode_number": "99"}, {"episode_number": "99"}, "AB"),
    "of a number that does not apply": ("apc_episode", {"episode_number": "98.0"}, {"episode_number": "098"}, "AB"),
    "an appointment sent again": ("op_attendance", {}, {"attended_code": "6"}, "B"),
    "an appointment of another clinic": ("op_attendance", {}, {"treatment_function_code": "130"}, "AB"),
    "an appointment of a clinic that is not known": ("op_attendance", {}, {"treatment_function_code": ""}, "AB"),
    "an appointment of another day": ("op_attendance", {}, {"appointment_date": "2025-04-09"}, "AB"),
    "an attendance sent again": ("ecds_attendance", {}, {"arrival_datetime": "01/05/2025 09:50"}, "B"),
    "an attendance sent again while it lasts": ("ecds_attendance", {}, {"departure_datetime": ""}, "A"),
    "an attendance of another day": ("ecds_attendance", {}, {"arrival_datetime": "2025-05-02 10:00:00"}, "AB"),
}
"""What comes on the second night after a record A of the first: the entity, what A and B say otherwise, and what is current."""


Night = tuple[str, str]
"""The versions in which a record is sent (a figure each; `-`: deleted, `x`: a row that cannot be used; empty: not sent), and
the codes that come with it, at the place of their letter; a small one is a row without the code that it needs."""

WHOLE: dict[str, tuple[str, tuple[Night, Night, Night], tuple[str, str, str]]] = {
    "with fewer": ("apc_episode", (("1", "AB"), ("2", "A"), ("", "")), ("AB", "A", "A")),
    "with none": ("apc_episode", (("1", "AB"), ("2", ""), ("", "")), ("AB", "", "")),
    "with others": ("apc_episode", (("1", "AB"), ("2", "C"), ("3", "AB")), ("AB", "C", "AB")),
    "in an older state": ("apc_episode", (("2", "A"), ("1", "AB"), ("", "")), ("A", "A", "A")),
    "in states out of order": ("apc_episode", (("1", "A"), ("3", "AB"), ("2", "ABC")), ("A", "AB", "AB")),
    "twice in one delivery": ("apc_episode", (("1", "AB"), ("23", "AC"), ("", "")), ("AB", "AC", "AC")),
    "twice in the first delivery": ("apc_episode", (("12", "AB"), ("", ""), ("3", "B")), ("AB", "AB", "B")),
    "not at all, a code of it alone": ("apc_episode", (("1", "A"), ("", "B"), ("", "")), ("A", "AB", "AB")),
    "after a code of it alone": ("apc_episode", (("1", "A"), ("", "B"), ("2", "A")), ("A", "AB", "A")),
    "after its codes": ("apc_episode", (("", "AB"), ("1", ""), ("", "")), ("", "AB", "AB")),
    "deleted, and then again": ("apc_episode", (("1", "AB"), ("2-", ""), ("3", "A")), ("AB", "", "A")),
    "in a row that cannot be used": ("apc_episode", (("1", "AB"), ("2x", "A"), ("", "")), ("AB", "AB", "AB")),
    "with a code that cannot be read": ("apc_episode", (("1", "AB"), ("2", "Ab"), ("", "")), ("AB", "AB", "AB")),
    "an appointment with fewer": ("op_attendance", (("1", "AB"), ("2", "A"), ("", "")), ("AB", "A", "A")),
    "an appointment without a file of codes": ("op_attendance", (("1", "AB"), ("", ""), ("2", "")), ("AB", "AB", "AB")),
    "an attendance with fewer": ("ecds_attendance", (("1", "AB"), ("2", "B"), ("3", "A")), ("AB", "B", "A")),
}
"""What comes of a record in each night, and the codes that are in silver after it. The last has no file of `op_diagnosis`."""

FIRST_WHOLE = 50
ROW_BY_ROW = "RJZ"
"""A provider of whom the contract says that it sends changed rows alone."""


def whole_rows(night: int) -> dict[str, list[Row]]:
    """The rows of WHOLE that come in a night."""
    rows: dict[str, list[Row]] = {}
    for place, (entity, nights, _) in enumerate(WHOLE.values(), start=FIRST_WHOLE):
        versions, codes = nights[night]
        number = "hospital_provider_spell_number" if "episode" in entity else "attendance_identifier"
        key = {"cds_unique_identifier": f"W{place}"}
        for version in filter(str.isdigit, versions):
            row = PERSON | KINDS[entity] | {number: f"N{place}"} | key
            row |= {"cds_applicable_datetime": f"2025-06-0{version} 00:00:00"}
            row |= {"cds_update_type": "1"} if "-" in versions else {}
            row |= {"admission_date": "soon"} if "x" in versions else {}
            rows.setdefault(entity, []).append(row)
        code = "code" if entity == "ecds_attendance" else "diagnosis_code"
        sequence = "sequence" if entity == "ecds_attendance" else "diagnosis_sequence"
        for letter in codes:
            value = f"{letter}{place}" if letter.isupper() else ""
            # What is newest by its own account belongs to a state of the record that has been replaced.
            changed = {"record_last_updated": f"2025-0{9 - night}-01 00:00:00"}
            part = {sequence: str("ABC".index(letter.upper()) + 1), "item_type": "DIAGNOSIS", code: value}
            rows.setdefault(PARTS[entity], []).append(key | part | changed)
    return rows


CHANGED_ALONE = "RCH"
"""A provider that sends changed rows alone, and of whom the contract does not say so."""


STOPPED = (
    "withdrawn_share on run.acute_apc_diagnosis@RCH: 18 of 24, 50.0% allowed "
    "(if RCH sends changed rows alone, name it in row_by_row of the contract acute)"
)


def changed_alone(night: int) -> dict[str, list[Row]]:
    """Six episodes with four diagnoses each, and on the second night the episodes anew, each with one of its diagnoses."""
    episodes, diagnoses = [], []
    for place in range(6 if night < 2 else 0):
        key = {"cds_unique_identifier": f"C{place}"}
        applicable = {"cds_applicable_datetime": f"2025-06-0{night + 1} 00:00:00"}
        episodes.append(PERSON | KINDS["apc_episode"] | {"hospital_provider_spell_number": f"C{place}"} | key | applicable)
        for sequence in range(1, 5 if night == 0 else 2):
            diagnoses.append(key | {"diagnosis_sequence": str(sequence), "diagnosis_code": f"D{night}{sequence}"})
    return {"apc_episode": episodes, "apc_diagnosis": diagnoses} if episodes else {}


def of_changed_alone(run: RunContext) -> list[str]:
    """What the gates of a run say of rows that did not come again with their record, where it stops a release."""
    unmapped = replace(run, inputs=replace(run.inputs, contracts={}))  # which columns a rule reads is not asked here
    results = judge(measures_of_run(unmapped, run.register(), (), []), policy()).results
    of_such = [result for result in results if result.check.rule is Rule.WITHDRAWN]
    return [sentence(result, full=True) for result in of_such if result.verdict is Verdict.FAILED]


def deliveries() -> list[dict[str, list[Row]]]:
    """What comes in each night: A of every case, B of it, and that B is deleted; and all of WHOLE."""
    nights: list[dict[str, list[Row]]] = [{} for _ in NIGHTS]
    for place, (entity, first, second, _) in enumerate(CASES.values()):
        number = "hospital_provider_spell_number" if "episode" in entity else "attendance_identifier"
        common = PERSON | KINDS[entity] | {number: f"N{place}"}
        for night, (record, values) in enumerate((("A", first), ("B", second))):
            key = {"cds_unique_identifier": f"{place}{record}"}
            applicable = {"cds_applicable_datetime": f"2025-06-0{night + 1} 00:00:00"}
            nights[night].setdefault(entity, []).append(common | key | applicable | values)
            code = "code" if entity == "ecds_attendance" else "diagnosis_code"
            sequence = "sequence" if entity == "ecds_attendance" else "diagnosis_sequence"
            part = key | {sequence: "1", "item_type": "DIAGNOSIS", code: f"{record}{place:02d}"}
            nights[night].setdefault(PARTS[entity], []).append(part)
        nights[2].setdefault(entity, []).append({"cds_unique_identifier": f"{place}B", **GONE})
    for night, delivered in enumerate(nights):
        for name, listed in whole_rows(night).items():
            delivered.setdefault(name, []).extend(listed)
    return [
        {
            name: [{c: v for c, v in row.items() if c in ACUTE.entities[name].columns} for row in rows]
            for name, rows in night.items()
        }
        for night in nights
    ]


def current(run: RunContext, provider: str = "RXN") -> dict[str, str]:
    """The records of each of CASES of which the diagnoses are in silver, and the codes of each of WHOLE."""
    found: list[str] = []
    for parent, name in PARTS.items():
        code = "code" if parent == "ecds_attendance" else "diagnosis_code"
        rows = run.store.read(Zone.SILVER, f"acute_{name}").select("provider_code", code).collect()
        found += [row[code] for row in rows if row["provider_code"] == provider]
    places = dict(enumerate(CASES)) | dict(enumerate(WHOLE, start=FIRST_WHOLE))
    return {case: "".join(sorted(c[0] for c in found if int(c[1:]) == place)) for place, case in places.items()}


def rows(run: RunContext) -> dict[str, list[Mapping[str, object]]]:
    """Every silver row without the load that brought it, by table."""
    tables = [f"acute_{name}" for both in PARTS.items() for name in both]
    found = {name: run.store.read(Zone.SILVER, name).drop("_load_id").toArrow().to_pylist() for name in tables}
    return {name: sorted(listed, key=repr) for name, listed in found.items()}


def sent_row_by_row(run: RunContext) -> RunContext:
    """The run, with what the contract of acute trusts says of ROW_BY_ROW."""
    contract = run.inputs.contracts["acute"].model_copy(update={"row_by_row": (ROW_BY_ROW,)})
    return replace(run, inputs=replace(run.inputs, contracts={"acute": contract}))


def test_one_record_of_an_episode_or_attendance_is_current_with_what_came_with_it_last(
    sail: SparkSession, tmp_path: Path
) -> None:
    """After each of three nights, and as one full build has it."""
    nightly, full = (
        sent_row_by_row(run_in(sail, tmp_path / name, date(2026, 1, 6), ("acute",))) for name in ("nightly", "full")
    )
    for run in (nightly, full):
        opt_out_lists(run.settings.storage.landing, NIGHTS[-1], [ANNA], local=[BEN])
    first, second = dict.fromkeys(CASES, "A"), {name: after for name, (*_, after) in CASES.items()}
    for place, (night, delivered, expected) in enumerate(zip(NIGHTS, deliveries(), (first, second, first), strict=True)):
        by_row = {name: [row for row in rows if "W5" in row["cds_unique_identifier"]] for name, rows in delivered.items()}
        for run in (nightly, full):
            deliver(run.settings.storage.landing, ACUTE, "RXN", night, delivered)
            deliver(run.settings.storage.landing, ACUTE, ROW_BY_ROW, night, by_row)
            if alone := changed_alone(place):
                deliver(run.settings.storage.landing, ACUTE, CHANGED_ALONE, night, alone)
        counts = counted(ingested_and_curated(nightly))
        assert current(nightly) == expected | {name: after[place] for name, (*_, after) in WHOLE.items()}, night
        assert current(nightly, ROW_BY_ROW)["with fewer"] == "AB"
        assert of_changed_alone(nightly) == ([] if place == 0 else [STOPPED])
        if night == NIGHTS[1]:
            older = {name: counts[name, "superseded", "other_key"] for both in PARTS.items() for name in both}
            assert older == {
                "apc_episode": 6,
                "apc_diagnosis": 6,
                "op_attendance": 1,
                "op_diagnosis": 1,
                "ecds_attendance": 2,
                "ecds_coded_item": 2,
            }
            withdrawn = {name: counts[name, "deleted_at_source", "absent_from_record"] for name in PARTS.values()}
            assert withdrawn == {"apc_diagnosis": 7 + 18, "op_diagnosis": 1, "ecds_coded_item": 1}
    ingested_and_curated(full)
    assert rows(nightly) == rows(full)
