"""A month that is submitted again replaces that month, and no other."""

from datetime import date
from pathlib import Path
from typing import NamedTuple

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
    return mental_health(sail, tmp_path)


def mental_health(session: SparkSession, folder: Path) -> RunContext:
    """A run of the mental health source, with lists that let everybody through."""
    opt_out_lists(folder / "landing", "20260601", [ANNA, BEN], local=["9990000034"])
    return run_in(session, folder, date(2026, 6, 1), ("mental_health",))


Tables = dict[str, list[Row]]
Found = list[tuple[str, str]]


class Sent(NamedTuple):
    """A delivery, and what is current after its day: month and submission of each row, or month and NHS number."""

    day: str
    mode: str
    tables: Tables
    rows: dict[str, Found]


class Trust(NamedTuple):
    """What a trust sends, and which column of its rows tells them apart within a month."""

    sent: list[Sent]
    by: str = "uniq_submission_id"


def of_several(*months: Tables) -> Tables:
    """One delivery of several months."""
    return {name: [row for month in months for row in month[name]] for name in months[0]}


def with_activity(tables: Tables) -> Tables:
    """The same with an activity under the first contact."""
    return tables | {"care_activity": [{"uniq_month_id": "1512", "care_contact_id": "K1", "care_act_id": "V1"}]}


def of_ben(tables: Tables) -> Tables:
    """The same patient and referrals, but as those of Ben."""
    theirs = {"local_patient_id": "B"}
    return tables | {
        "mpi": [row | theirs | {"nhs_number": BEN} for row in tables["mpi"]],
        "referral": [row | theirs for row in tables["referral"]],
    }


def by_key(mode: str, contacts: Found) -> Trust:
    """Two months by changes, and the second again in another way."""
    return Trust(
        [
            Sent("20260410", "delta", submission("1001", MARCH, ["R1"], ["K1"]), {}),
            Sent("20260510", "delta", submission("1002", APRIL, ["R1"], ["K2", "K3"]), {}),
            Sent("20260520", mode, submission("1003", APRIL, ["R1"], ["K2"]), {"care_contact": contacts}),
        ]
    )


def both_of(first: Tables, second: Tables, *trusts: str) -> Tables:
    """Two submissions in one delivery, as extracts for commissioners have them: each row with the trust that submitted it."""
    stated = list(zip((first, second), trusts, strict=True))
    return {name: [row | {"org_id_prov": trust} for tables, trust in stated for row in tables[name]] for name in first}


def two_of_a_month(mode: str, *numbers: str) -> Trust:
    """999 and 1003 of April in one delivery. 1003 withdraws a referral, a contact and all activities; March stays."""
    april = {"999": submission("999", APRIL, ["R1", "R2"], ["K2", "K3"]), "1003": submission("1003", APRIL, ["R1"], ["K2"])}
    of_999 = {"uniq_month_id": "1513", "reporting_period_end_date": "2026-04-30", "uniq_submission_id": "999"}
    activities = {"999": [of_999 | {"care_contact_id": "K2", "care_act_id": "V1"}], "1003": []}
    first, second = (april[number] | {"care_activity": activities[number]} for number in numbers)
    march = submission("998", MARCH, ["R1"], ["K1"]) | {"care_activity": []}
    of_march = {name: [row | {"org_id_prov": "RXN"} for row in rows] for name, rows in march.items()}
    current = [("1512", "998"), ("1513", "1003")]
    expected: dict[str, Found] = {"care_contact": current, "referral": current[1:], "mpi": current, "care_activity": []}
    return Trust([Sent("20260520", mode, of_several(of_march, both_of(first, second, "RXN", "rxn ")), expected)])


def side_by_side(*trusts: str, few: bool = False) -> Trust:
    """Two numbers of submission of a month in one delivery: of two trusts, of nobody, or of all rows of one trust but a few."""
    first, second = submission("999", APRIL, ["R1"], ["K2"]), submission("1003", APRIL, ["R1"], ["K3"])
    second |= {"mpi": [], "referral": []} if few else {}
    contacts = [("1513", "1003"), ("1513", "999")]
    return Trust([Sent("20260520", "period", both_of(first, second, *trusts), {"care_contact": contacts})])


TRUSTS = {
    "contacts that a resubmission leaves out are gone and other months stay": Trust(
        [
            Sent("20260410", "period", submission("1001", MARCH, ["R1"], ["K1"]), {}),
            Sent(
                "20260510",
                "period",
                submission("1002", APRIL, ["R1"], ["K2", "K3"]),
                {"care_contact": [("1512", "1001"), ("1513", "1002"), ("1513", "1002")]},
            ),
            Sent(
                "20260520",
                "period",
                submission("1003", APRIL, ["R1"], ["K2"]),
                {"care_contact": [("1512", "1001"), ("1513", "1003")]},
            ),
        ]
    ),
    # R1 is Anna's in March and Ben's in April, who has a contact under it then; in May a contact of April is added.
    "what came with the referral of another person is not taken for ones own": Trust(
        [
            Sent(
                "20260410",
                "period",
                with_activity(submission("1001", MARCH, ["R1", "R2"], ["K1"])),
                {"care_contact": [("1512", ANNA)], "care_activity": [("1512", ANNA)]},
            ),
            Sent(
                "20260510",
                "period",
                of_ben(submission("1002", APRIL, ["R1"], ["K2"])),
                {"referral": [("1512", ANNA), ("1513", BEN)], "care_contact": [("1513", BEN)], "care_activity": []},
            ),
            Sent(
                "20260511",
                "delta",
                {"care_contact": submission("1002", APRIL, ["R1"], ["K3"])["care_contact"]},
                {"care_contact": [("1513", BEN)] * 2},
            ),
        ],
        by="person_id",
    ),
    "a month is the same however its number is written": Trust(
        [
            Sent("20260410", "period", submission("1001", MARCH, ["R1"], ["K1"]), {}),
            Sent(
                "20260520",
                "period",
                submission("1003", (" 01512.0 ", MARCH[1]), ["R1"], ["K2"]),
                {"care_contact": [("01512.0", "1003")]},
            ),
        ]
    ),
    "a record that an earlier month still has falls back to it": Trust(
        [
            Sent("20260410", "period", submission("1001", MARCH, ["R1", "R2"], []), {}),
            Sent(
                "20260510",
                "period",
                submission("1002", APRIL, ["R1", "R2"], []),
                {"referral": [("1513", "1002"), ("1513", "1002")]},
            ),
            Sent(
                "20260520",
                "period",
                submission("1003", APRIL, ["R1"], []),
                {"referral": [("1512", "1001"), ("1513", "1003")]},
            ),
        ]
    ),
    "by key as it was": by_key("delta", [("1512", "1001"), ("1513", "1002"), ("1513", "1003")]),
    "whole as it was": by_key("full", [("1513", "1003")]),
    "a submission of several months replaces each of them": Trust(
        [
            Sent(
                "20260510",
                "period",
                of_several(submission("1001", MARCH, ["R1"], ["K1", "K2"]), submission("1001", APRIL, ["R1"], ["K3"])),
                {"care_contact": [("1512", "1001"), ("1512", "1001"), ("1513", "1001")]},
            ),
            Sent(
                "20260520",
                "period",
                submission("1002", MARCH, ["R1"], ["K1"]),
                {"care_contact": [("1512", "1002"), ("1513", "1001")]},
            ),
        ]
    ),
    "a month whose contacts are all gone is replaced by an empty file": Trust(
        [
            Sent("20260510", "period", submission("1001", APRIL, ["R1"], ["K1", "K2"]), {}),
            Sent("20260520", "period", submission("1002", APRIL, ["R1"], []), {"care_contact": []}),
        ]
    ),
    "of two submissions in a period the last counts": two_of_a_month("period", "999", "1003"),
    "of two submissions in a period the last counts, whatever the order": two_of_a_month("period", "1003", "999"),
    "of two submissions in a full extract the last counts": two_of_a_month("full", "999", "1003"),
    "of two submissions in changes the last counts": two_of_a_month("delta", "999", "1003"),
    "of two submissions in changes the last counts, whatever the order": two_of_a_month("delta", "1003", "999"),
    "submissions of two trusts in one delivery do not replace each other": side_by_side("RXN", "RMH"),
    "submissions of nobody do not replace each other": side_by_side("", ""),
    "a few rows with another number replace nothing": side_by_side("RXN", "RXN", few=True),
}
"""What trusts send, each for itself: their deliveries of a day come in one run."""

PROVIDERS = {name: f"RX{place}" for place, name in enumerate(TRUSTS)}


def current(run: RunContext, entity: str) -> dict[str, Found]:
    """Month and what tells them apart of the current rows of an entity, by provider."""
    link = run.store.read(Zone.CURATION, "link").toArrow().to_pylist()
    numbers = {row["person_id"]: row["linked_number"] for row in link}
    columns = {PROVIDERS[name]: trust.by for name, trust in TRUSTS.items()}
    found: dict[str, Found] = {}
    for row in run.store.read(Zone.SILVER, f"mental_health_{entity}").toArrow().to_pylist():
        by = columns[row["provider_code"]]
        value = numbers[row["person_id"]] if by == "person_id" else row[by]
        found.setdefault(row["provider_code"], []).append((row["uniq_month_id"], value))
    return {provider: sorted(rows) for provider, rows in found.items()}


@pytest.fixture(scope="module")
def days(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Found]]:
    """The current rows after each day, by day and entity."""
    run = mental_health(sail, tmp_path_factory.mktemp("trusts"))
    found: dict[tuple[str, str], dict[str, Found]] = {}
    for day in sorted({sent.day for trust in TRUSTS.values() for sent in trust.sent}):
        of_day = [(PROVIDERS[name], sent) for name, trust in TRUSTS.items() for sent in trust.sent if sent.day == day]
        for provider, sent in of_day:
            deliver(run.settings.storage.landing, MH, provider, day, sent.tables, mode=sent.mode)
        ingested_and_curated(run)
        found |= {(day, entity): current(run, entity) for entity in {name for _, sent in of_day for name in sent.rows}}
    return found


@pytest.mark.parametrize("name", TRUSTS)
def test_what_is_current_after_each_delivery(days: dict[tuple[str, str], dict[str, Found]], name: str) -> None:
    expected = {(sent.day, entity): rows for sent in TRUSTS[name].sent for entity, rows in sent.rows.items()}
    assert {at: days[at].get(PROVIDERS[name], []) for at in expected} == expected


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


def taken(run: RunContext, mode: str, deliveries: dict[str, Tables]) -> dict[str, tuple[str, ...]]:
    """Deliver by day and ingest; the faults of each of them, none where it is loaded."""
    for day, tables in deliveries.items():
        deliver(run.settings.storage.landing, MH, "RXN", day, tables, mode=mode)
    found = {entry.folder: entry.faults for entry in ingest_deliveries(run).set_aside}
    return {day: found.get(day, ()) for day in deliveries}


def test_a_submission_that_lost_records_of_a_month_is_set_aside(run: RunContext) -> None:
    """Each month against the delivery that submitted it last, by whatever mode but changes."""
    many, few = [f"K{n}" for n in range(40)], [f"K{n}" for n in range(19)]
    march, april = submission("1001", MARCH, ["R1"], many), submission("1001", APRIL, ["R1"], many)
    deliver(run.settings.storage.landing, MH, "RXN", "20260410", march, mode="period")
    both = of_several(march, april)
    assert taken(run, "full", {"20260510": both}) == {"20260510": ()}
    assert {file.folder for file in run.register()} == {"20260410", "20260510"}
    moved = submission("1001", APRIL, ["R1"], many)
    moved["care_contact"][7]["uniq_month_id"] = MARCH[0]
    lost = "at most 50% may be gone"
    submitted = {
        "20260511": moved,
        "20260512": submission("1002", APRIL, ["R1"], few),
        "20260513": submission("1003", APRIL, ["R1"], []),
    }
    assert taken(run, "period", submitted) == {
        "20260511": (f"care_contact of period 1512: 1 records, its last submission had 40; {lost}",),
        "20260512": (f"care_contact of period 1513: 19 records, its last submission had 40; {lost}",),
        "20260513": ("care_contact of period 1513: no record, its last submission had 40",),
    }
    assert taken(run, "delta", {"20260514": submission("1004", APRIL, ["R1"], few)}) == {"20260514": ()}
    for day, left in (("20260515", 20), ("20260516", 10), ("20260517", 0)):
        assert taken(run, "period", {day: submission(f"of {day}", APRIL, ["R1"], many[:left])}) == {day: ()}


def test_a_submission_that_does_not_say_its_month_is_set_aside(run: RunContext) -> None:
    fault = "mode period, but no record has a value that can be read in UniqMonthID, which says of which period it is"
    written = {"20260510": "", "20260511": " ", "20260512": "NULL", "20260513": "n/a"}
    unsaid = {day: submission("1001", (text, "2026-04-30"), ["R1"], ["K1"]) for day, text in written.items()}
    unsaid["20260514"] = {"mpi": [], "referral": []}
    mixed = submission("1001", APRIL, ["R1"], ["K1"])
    mixed["care_contact"][0]["uniq_month_id"] = ""
    said = {"20260410": submission("1001", MARCH, ["R1"], ["K1"]), "20260515": mixed}
    expected = dict.fromkeys(said, ()) | dict.fromkeys(unsaid, (fault,))
    assert taken(run, "period", said | unsaid) == expected


def test_the_register_has_the_months_of_each_file(run: RunContext) -> None:
    deliver(run.settings.storage.landing, MH, "RXN", "20260510", submission("1001", APRIL, ["R1"], []), mode="period")
    ingest_deliveries(run)
    assert {file.entity: (file.periods, file.by_period) for file in run.register()} == {
        "mpi": (("1513",), {"1513": 1}),
        "referral": (("1513",), {"1513": 1}),
        "care_contact": ((), {}),
    }
