"""Of an episode or attendance that comes again under another CDS identifier one record is current, with what belongs to it."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.run_context import RunContext
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.builders.landing import deliver, opt_out_lists
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


def deliveries() -> list[dict[str, list[Row]]]:
    """What comes in each night: A of every case, B of it, and that B is deleted."""
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
    return [
        {
            name: [{c: v for c, v in row.items() if c in ACUTE.entities[name].columns} for row in rows]
            for name, rows in night.items()
        }
        for night in nights
    ]


def current(run: RunContext) -> dict[str, str]:
    """The records of each case of which the diagnoses are in silver."""
    found = []
    for parent, name in PARTS.items():
        code = "code" if parent == "ecds_attendance" else "diagnosis_code"
        found += [row[code] for row in run.store.read(Zone.SILVER, f"acute_{name}").select(code).collect()]
    return {case: "".join(sorted(c[0] for c in found if int(c[1:]) == place)) for place, case in enumerate(CASES)}


def rows(run: RunContext) -> dict[str, list[Mapping[str, object]]]:
    """Every silver row without the load that brought it, by table."""
    tables = [f"acute_{name}" for both in PARTS.items() for name in both]
    found = {name: run.store.read(Zone.SILVER, name).drop("_load_id").toArrow().to_pylist() for name in tables}
    return {name: sorted(listed, key=repr) for name, listed in found.items()}


def test_one_record_of_an_episode_or_attendance_is_current_under_whatever_identifier(
    sail: SparkSession, tmp_path: Path
) -> None:
    """After each of three nights, and as one full build has it."""
    nightly, full = (run_in(sail, tmp_path / name, date(2026, 1, 6), ("acute",)) for name in ("nightly", "full"))
    for run in (nightly, full):
        opt_out_lists(run.settings.storage.landing, NIGHTS[-1], [ANNA], local=[BEN])
    first, second = dict.fromkeys(CASES, "A"), {name: after for name, (*_, after) in CASES.items()}
    for night, delivered, expected in zip(NIGHTS, deliveries(), (first, second, first), strict=True):
        for run in (nightly, full):
            deliver(run.settings.storage.landing, ACUTE, "RXN", night, delivered)
        counts = counted(ingested_and_curated(nightly))
        assert current(nightly) == expected, night
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
    ingested_and_curated(full)
    assert rows(nightly) == rows(full)
