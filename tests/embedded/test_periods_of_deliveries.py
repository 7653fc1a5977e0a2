"""A month that is submitted again replaces that month, and no other."""

from datetime import date
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from pipelines.contracts.source import load_contracts
from pipelines.contracts.zones import Zone
from pipelines.nightly import ingest_deliveries
from pipelines.run_context import RunContext
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.builders.landing import deliver, opt_out_lists
from tests.builders.runs import ingested_and_curated, run_in

CONTRACTS = load_contracts(PACKAGED_MAPPINGS_DIR, ("mental_health", "community"))
MH, COMMUNITY = CONTRACTS["mental_health"], CONTRACTS["community"]
ANNA, BEN = "9990000018", "9990000026"
MARCH, APRIL = ("1512", "2026-03-31"), ("1513", "2026-04-30")

Row = dict[str, str]


def submission(number: str, month: tuple[str, str], referrals: list[str], contacts: list[str]) -> dict[str, list[Row]]:
    """What a trust submits for a month: its patient, referrals by id (with their reason), contacts by id."""
    of_month = {"uniq_month_id": month[0], "reporting_period_end_date": month[1], "uniq_submission_id": number}
    person = of_month | {"local_patient_id": "A"}
    contact = of_month | {"service_request_id": "R1", "care_cont_date": "2026-03-05"}
    return {
        "mpi": [person | {"nhs_number": ANNA, "nhs_number_status": "01", "date_of_birth": "1950-01-01"}],
        "referral": [
            person | {"service_request_id": name, "referral_request_received_date": "2026-01-02"} for name in referrals
        ],
        "care_contact": [contact | {"care_contact_id": name} for name in contacts],
    }


@pytest.fixture
def run(sail: SparkSession, tmp_path: Path) -> RunContext:
    """A run of the mental health source."""
    opt_out_lists(tmp_path / "landing", "20260601", [ANNA, BEN], local=["9990000034"])
    return run_in(sail, tmp_path, date(2026, 6, 1), ("mental_health",))


def current(run: RunContext, entity: str) -> list[tuple[str, str]]:
    """Month and submission of the current rows of an entity."""
    rows = run.store.read(Zone.SILVER, f"mental_health_{entity}").toArrow().to_pylist()
    return sorted((row["uniq_month_id"], row["uniq_submission_id"]) for row in rows)


def sent(run: RunContext, day: str, mode: str, tables: dict[str, list[Row]]) -> None:
    """Deliver and curate."""
    deliver(run.settings.storage.landing, MH, "RXN", day, tables, mode=mode)
    ingested_and_curated(run)


def test_contacts_that_a_resubmission_leaves_out_are_gone_and_other_months_stay(run: RunContext) -> None:
    sent(run, "20260410", "period", submission("1001", MARCH, ["R1"], ["K1"]))
    sent(run, "20260510", "period", submission("1002", APRIL, ["R1"], ["K2", "K3"]))
    assert current(run, "care_contact") == [("1512", "1001"), ("1513", "1002"), ("1513", "1002")]
    sent(run, "20260520", "period", submission("1003", APRIL, ["R1"], ["K2"]))
    assert current(run, "care_contact") == [("1512", "1001"), ("1513", "1003")]


def owners(run: RunContext, entity: str) -> list[tuple[str, str]]:
    """Month and NHS number of the person of the current rows of an entity."""
    link = run.store.read(Zone.CURATION, "link").toArrow().to_pylist()
    numbers = {row["person_id"]: row["linked_number"] for row in link}
    rows = run.store.read(Zone.SILVER, f"mental_health_{entity}").toArrow().to_pylist()
    return sorted((row["uniq_month_id"], numbers[row["person_id"]]) for row in rows)


def test_what_came_with_the_referral_of_another_person_is_not_taken_for_ones_own(run: RunContext) -> None:
    """R1 is Anna's in March and Ben's in April, who has a contact under it then; in May a contact of April is added."""
    march = submission("1001", MARCH, ["R1", "R2"], ["K1"])
    march["care_activity"] = [{"uniq_month_id": "1512", "care_contact_id": "K1", "care_act_id": "V1"}]
    sent(run, "20260410", "period", march)
    assert owners(run, "care_contact") == owners(run, "care_activity") == [("1512", ANNA)]
    april = submission("1002", APRIL, ["R1"], ["K2"])
    for row in (*april["mpi"], *april["referral"]):
        row |= {"local_patient_id": "B"} | ({"nhs_number": BEN} if "nhs_number" in row else {})
    sent(run, "20260510", "period", april)
    assert owners(run, "referral") == [("1512", ANNA), ("1513", BEN)]
    assert owners(run, "care_contact") == [("1513", BEN)]
    assert owners(run, "care_activity") == []
    sent(run, "20260511", "delta", {"care_contact": [april["care_contact"][0] | {"care_contact_id": "K3"}]})
    assert owners(run, "care_contact") == [("1513", BEN)] * 2


def test_a_month_is_the_same_however_its_number_is_written(run: RunContext) -> None:
    sent(run, "20260410", "period", submission("1001", MARCH, ["R1"], ["K1"]))
    sent(run, "20260520", "period", submission("1003", (" 01512.0 ", MARCH[1]), ["R1"], ["K2"]))
    assert [submitted for _, submitted in current(run, "care_contact")] == ["1003"]


def test_a_record_that_an_earlier_month_still_has_falls_back_to_it(run: RunContext) -> None:
    sent(run, "20260410", "period", submission("1001", MARCH, ["R1", "R2"], []))
    sent(run, "20260510", "period", submission("1002", APRIL, ["R1", "R2"], []))
    assert current(run, "referral") == [("1513", "1002"), ("1513", "1002")]
    sent(run, "20260520", "period", submission("1003", APRIL, ["R1"], []))
    assert current(run, "referral") == [("1512", "1001"), ("1513", "1003")]


@pytest.mark.parametrize(
    ("mode", "contacts"),
    [("delta", [("1512", "1001"), ("1513", "1002"), ("1513", "1003")]), ("full", [("1513", "1003")])],
)
def test_by_key_and_whole_are_as_they_were(run: RunContext, mode: str, contacts: list[tuple[str, str]]) -> None:
    sent(run, "20260410", "delta", submission("1001", MARCH, ["R1"], ["K1"]))
    sent(run, "20260510", "delta", submission("1002", APRIL, ["R1"], ["K2", "K3"]))
    sent(run, "20260520", mode, submission("1003", APRIL, ["R1"], ["K2"]))
    assert current(run, "care_contact") == contacts


def test_a_submission_of_several_months_replaces_each_of_them(run: RunContext) -> None:
    march, april = submission("1001", MARCH, ["R1"], ["K1", "K2"]), submission("1001", APRIL, ["R1"], ["K3"])
    sent(run, "20260510", "period", {name: march[name] + april[name] for name in march})
    assert current(run, "care_contact") == [("1512", "1001"), ("1512", "1001"), ("1513", "1001")]
    sent(run, "20260520", "period", submission("1002", MARCH, ["R1"], ["K1"]))
    assert current(run, "care_contact") == [("1512", "1002"), ("1513", "1001")]


def test_a_month_whose_contacts_are_all_gone_is_replaced_by_an_empty_file(run: RunContext) -> None:
    sent(run, "20260510", "period", submission("1001", APRIL, ["R1"], ["K1", "K2"]))
    sent(run, "20260520", "period", submission("1002", APRIL, ["R1"], []))
    assert current(run, "care_contact") == []


MAY, JUNE = "2024-05-31", "2024-06-30"


def services(
    landing: Path, provider: str, day: str, *referrals: tuple[str, str], patient: str = "", mode: str = "period"
) -> None:
    """A delivery of a community provider: a patient, of the period of the first referral, and referrals with their periods."""
    person = {"local_patient_id": "A", "nhs_number": ANNA, "nhs_number_status": "01", "person_birth_date": "1950-01-01"}
    rows = [
        {"local_patient_id": "A", "service_request_id": name, "referral_request_received_date": f"2024-04-0{name[1:]}"}
        | {"rp_end_date": period}
        for name, period in referrals
    ]
    mpi = [person | {"rp_end_date": patient or referrals[0][1]}]
    deliver(landing, COMMUNITY, provider, day, {"mpi": mpi, "referral": rows}, mode=mode)


def referrals_of(run: RunContext) -> dict[str, str]:
    """The current referrals of each provider: the numbers of their names."""
    rows = run.store.read(Zone.SILVER, "community_referral").toArrow().to_pylist()
    found: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: row["referral_request_received_date"]):
        found[row["provider_code"]] = found.get(row["provider_code"], "") + str(row["referral_request_received_date"].day)
    return found


def test_a_submission_dated_before_one_of_the_same_month_in_an_earlier_folder_is_set_aside(
    sail: SparkSession, tmp_path: Path
) -> None:
    """It would count for nothing, whether that one is loaded or new. One of another month, or with the right day, is taken."""
    landing = tmp_path / "landing"
    run = run_in(sail, tmp_path, date(2024, 9, 1), ("community",))
    for provider, period in (("RA", JUNE), ("RB", MAY), ("RC", JUNE)):
        services(landing, provider, "20240810", ("R1", JUNE), ("R2", JUNE))
        services(landing, provider, "20240812", ("R1", period))
        written = landing / "community" / provider / "20240812" / "manifest.json"
        if provider != "RC":
            written.write_text(written.read_text().replace("2024-08-12", "2024-07-12"))
    fault = (
        "its extract date is 2024-07-12, before that of a submission of the same period in the earlier folder 20240810 "
        "(2024-08-10): it would count for nothing"
    )
    for _ in ("new", "loaded"):
        assert [(entry.provider, entry.faults) for entry in ingest_deliveries(run).set_aside] == [("RA", (fault,))]


WRITTEN = {"RA": "30-JUN-2024", "RB": "30-Jun-24", "RC": "30JUN2024", "RD": "30 June 2024", "RE": "2024-06-29T23:00:00Z"}
UNREADABLE = {"RX": "30/06/24", "RY": "45473"}


def test_a_period_is_the_same_however_it_is_written_and_one_that_cannot_be_read_is_seen(
    sail: SparkSession, tmp_path: Path
) -> None:
    """Of each provider June comes again with one referral less. One that writes two months in two ways is taken."""
    landing = tmp_path / "landing"
    opt_out_lists(landing, "20240901", [ANNA, BEN], local=["9990000034"])
    run = run_in(sail, tmp_path, date(2024, 9, 1), ("community",))
    for provider, written in (WRITTEN | UNREADABLE).items():
        services(landing, provider, "20240710", ("R1", JUNE), ("R2", JUNE))
        services(landing, provider, "20240810", ("R1", written))
    services(landing, "RM", "20240610", *[(f"R{n}", "31-MAY-2024") for n in (1, 2)], patient=MAY)
    services(landing, "RN", "20240710", ("R1", JUNE), ("R2", ""), ("R3", "30/06/24"))
    services(landing, "RO", "20240610", ("R1", MAY), ("R2", MAY))
    services(landing, "RO", "20240710", ("R1", JUNE), ("R2", ""))
    services(landing, "RO", "20240810", ("R1", MAY))
    services(landing, "RF", "20240710", ("R1", JUNE), ("R2", ""), mode="full")
    ledger = ingested_and_curated(run)
    assert referrals_of(run) == dict.fromkeys(WRITTEN, "1") | dict.fromkeys([*UNREADABLE, "RM", "RO", "RF"], "12") | {"RN": "1"}
    fault = "mode period, but no record has a value that can be read in RP_EndDate, which says of which period it is"
    assert {entry.provider: entry.faults for entry in ingest_deliveries(run).set_aside} == dict.fromkeys(UNREADABLE, (fault,))
    quarantined = sorted((row.entity, row.reason, row.rows) for row in ledger if row.disposition == "quarantined")
    assert quarantined == [("referral", "missing:rp_end_date", 2), ("referral", "unreadable:rp_end_date", 1)]
    periods = {(file.provider, file.folder): file.by_period for file in run.register() if file.entity == "referral"}
    assert periods["RB", "20240810"] == {JUNE: 1}
    assert periods["RM", "20240610"] == {MAY: 2}
    assert periods["RN", "20240710"] == {JUNE: 1}
    # What has no period is of its submission: once that comes again, it no longer keeps what was there before.
    services(landing, "RO", "20240811", ("R1", JUNE))
    ingested_and_curated(run)
    assert referrals_of(run)["RO"] == "1"


def taken(run: RunContext, day: str, mode: str, tables: dict[str, list[Row]]) -> tuple[str, ...]:
    """Deliver and ingest; the faults of the delivery, none where it is loaded."""
    deliver(run.settings.storage.landing, MH, "RXN", day, tables, mode=mode)
    found = {entry.folder: entry.faults for entry in ingest_deliveries(run).set_aside}
    return found.get(day, ())


def test_a_submission_that_lost_records_of_a_month_is_set_aside(run: RunContext) -> None:
    """Each month against the delivery that submitted it last, by whatever mode but changes."""
    many, few = [f"K{n}" for n in range(40)], [f"K{n}" for n in range(19)]
    march, april = submission("1001", MARCH, ["R1"], many), submission("1001", APRIL, ["R1"], many)
    assert taken(run, "20260410", "period", march) == ()
    assert taken(run, "20260510", "full", {name: march[name] + april[name] for name in march}) == ()
    april["care_contact"][7]["uniq_month_id"] = MARCH[0]
    lost = "at most 50% may be gone"
    assert taken(run, "20260511", "period", april) == (
        f"care_contact of period 1512: 1 records, its last submission had 40; {lost}",
    )
    assert taken(run, "20260512", "period", submission("1002", APRIL, ["R1"], few)) == (
        f"care_contact of period 1513: 19 records, its last submission had 40; {lost}",
    )
    assert taken(run, "20260513", "period", submission("1003", APRIL, ["R1"], [])) == (
        "care_contact of period 1513: no record, its last submission had 40",
    )
    assert taken(run, "20260514", "delta", submission("1004", APRIL, ["R1"], few)) == ()
    assert taken(run, "20260515", "period", submission("1005", APRIL, ["R1"], many[:20])) == ()
    assert taken(run, "20260516", "period", submission("1006", APRIL, ["R1"], many[:10])) == ()
    assert taken(run, "20260517", "period", submission("1007", APRIL, ["R1"], [])) == ()


def test_a_submission_that_does_not_say_its_month_is_set_aside(run: RunContext) -> None:
    fault = "mode period, but no record has a value that can be read in UniqMonthID, which says of which period it is"
    assert taken(run, "20260410", "period", submission("1001", MARCH, ["R1"], ["K1"])) == ()
    for day, written in (("20260510", ""), ("20260511", " "), ("20260512", "NULL"), ("20260513", "n/a")):
        assert taken(run, day, "period", submission("1001", (written, "2026-04-30"), ["R1"], ["K1"])) == (fault,)
    assert taken(run, "20260514", "period", {"mpi": [], "referral": []}) == (fault,)
    mixed = submission("1001", APRIL, ["R1"], ["K1"])
    mixed["care_contact"][0]["uniq_month_id"] = ""
    assert taken(run, "20260515", "period", mixed) == ()


def test_the_register_has_the_months_of_each_file(run: RunContext) -> None:
    deliver(run.settings.storage.landing, MH, "RXN", "20260510", submission("1001", APRIL, ["R1"], []), mode="period")
    ingest_deliveries(run)
    assert {file.entity: (file.periods, file.by_period) for file in run.register()} == {
        "mpi": (("1513",), {"1513": 1}),
        "referral": (("1513",), {"1513": 1}),
        "care_contact": ((), {}),
    }
