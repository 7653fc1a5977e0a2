"""A year of deliveries of a practice and of a trust, with all that goes wrong, and what counts after each of them."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

from pyspark.sql import SparkSession

from pipelines.contracts.source import SourceContract, load_contracts
from pipelines.contracts.zones import Zone
from pipelines.ingest.delivery_log import Withdrawn, read_set_aside, store_withdrawal
from pipelines.ingest.landing import day_of
from pipelines.run_context import RunContext
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.builders.landing import deliver, deliver_files, opt_out_lists
from tests.builders.runs import ingested_and_curated, run_in

CONTRACTS = load_contracts(PACKAGED_MAPPINGS_DIR, ("gp", "mental_health"))
GP, MH = CONTRACTS["gp"], CONTRACTS["mental_health"]
NUMBERS = {"A": "9990000018", "B": "9990000026", "C": "9990000034", "D": "9990000042", "E": "9990000050"}
LABELS = {name: f"2000-01-{place:02}" for place, name in enumerate(NUMBERS, 1)}
"""The day of registration is in silver and tells the patients apart."""

Change = Callable[["Year"], None]


class Year:
    """A landing folder over a year, and the run of each day."""

    def __init__(self, session: SparkSession, folder: Path, source: str) -> None:
        """Begin with lists that let everybody through."""
        self.landing = folder / "landing"
        self.run = run_in(session, folder, date(2026, 1, 1), (source,))
        self.source = source

    def on(self, day: str, change: Change) -> RunContext:
        """Make a change and run on its day, with the lists of that day."""
        change(self)
        run_date = day_of(day)
        assert run_date
        opt_out_lists(self.landing, day, list(NUMBERS.values()), local=["9990000069"])
        self.run = replace(self.run, run_date=run_date)
        ingested_and_curated(self.run)
        return self.run

    def set_aside(self) -> list[str]:
        """The folders that the run of this day has set aside."""
        stored = read_set_aside(self.run.settings.storage.restricted)
        return sorted((entry.folder for entry in stored), key=lambda name: (len(name), name))

    def withdraw(self, folder: str) -> None:
        """Take a delivery back."""
        files = [file for file in self.run.register() if file.folder == folder]
        entry = Withdrawn.of_loaded(files, "sent by mistake", date(2026, 12, 31))
        store_withdrawal(self.run.settings.storage.restricted, entry)


def patients(day: str, people: str, mode: str, *, without: str = "", folder: str = "") -> Change:
    """A delivery of patients: `A` is alive, `a` has died, `-A` is deleted; the processing id grows with the day."""

    def change(year: Year) -> None:
        rows = []
        for name in people.replace("-", " -").split() if "-" in people else people:
            key = name.strip("-").upper()
            row = {"organisation_guid": "ORG", "patient_guid": key, "nhs_number": NUMBERS[key], "processing_id": day}
            row |= {"date_of_birth": "1950-01-01", "date_of_registration": LABELS[key]}
            row |= {"date_of_death": "2025-12-31"} if name.islower() else {}
            rows.append(row | ({"deleted": "TRUE"} if name.startswith("-") else {}))
        contract = without_column(GP, "patient", without) if without else GP
        made = deliver(year.landing, contract, "P81001", day, {"patient": rows}, mode)
        if folder:
            made.rename(made.with_name(folder))

    return change


def without_column(contract: SourceContract, entity: str, column: str) -> SourceContract:
    """A contract whose files lack a column."""
    spec = contract.entities[entity]
    columns = {name: declared for name, declared in spec.columns.items() if name != column}
    return contract.model_copy(update={"entities": {entity: spec.model_copy(update={"columns": columns})}})


def corrected(day: str, people: str) -> Change:
    """Other contents in the folder of a delivery that was loaded."""

    def change(year: Year) -> None:
        shutil.rmtree(year.landing / "gp" / "P81001" / day)
        patients(day, people, "full")(year)

    return change


def nothing(year: Year) -> None:
    """A day without a delivery."""


RESUB, LOST, USED, EMPTY = "20260311_resub", "20260405", "20260406", "20260505"
"""The folders of the deliveries that are set aside."""

PRACTICE: list[tuple[str, str, Change, str, list[str]]] = [
    ("20260105", "the first full extract", patients("20260105", "ABc", "full"), "ABc", []),
    ("20260210", "a gap", nothing, "ABc", []),
    ("20260310", "a change", patients("20260310", "D", "delta"), "ABcD", []),
    ("20260311", "in a folder of another name", patients("20260311", "E", "delta", folder=RESUB), "ABcD", [RESUB]),
    (LOST, "without the dates of death", patients(LOST, "ABCD", "full", without="date_of_death"), "ABcD", [LOST, RESUB]),
    (USED, "a whole one", patients(USED, "AbcD", "full"), "AbcD", [LOST, RESUB]),
    (EMPTY, "an empty one", patients(EMPTY, "", "full"), "AbcD", [LOST, EMPTY, RESUB]),
    ("20260605", "a death", patients("20260605", "a", "delta"), "abcD", [LOST, EMPTY, RESUB]),
    ("20260606", "which was a mistake", lambda year: year.withdraw("20260605"), "AbcD", [LOST, EMPTY, RESUB]),
    ("20260805", "other contents in a used folder", corrected(USED, "AbcDE"), "AbcD", [LOST, USED, EMPTY, RESUB]),
    ("20260806", "the former ones withdrawn", lambda year: year.withdraw(USED), "AbcDE", [LOST, EMPTY, RESUB]),
    ("20260905", "a deletion", patients("20260905", "-D", "delta"), "AbcE", [LOST, EMPTY, RESUB]),
    ("20261205", "a last full extract", patients("20261205", "AbE", "full"), "AbE", [LOST, EMPTY, RESUB]),
]


def held(run: RunContext) -> str:
    """The current patients by their labels; in lower case those who have died."""
    names = {date.fromisoformat(day): name for name, day in LABELS.items()}
    rows = run.store.read(Zone.SILVER, "gp_patient").toArrow().to_pylist()
    found = {names[row["date_of_registration"]]: row["date_of_death"] for row in rows}
    return "".join(name.lower() if died else name for name, died in sorted(found.items()))


def test_a_year_of_a_practice(sail: SparkSession, tmp_path: Path) -> None:
    year = Year(sail, tmp_path, "gp")
    happened = []
    for day, what, change, _, _ in PRACTICE:
        run = year.on(day, change)
        happened.append((day, what, held(run), year.set_aside()))
    assert happened == [(day, what, people, set_aside) for day, what, _, people, set_aside in PRACTICE]


JANUARY, FEBRUARY, APRIL, MAY = ((str(1509 + n), f"2026-{n:02}-28") for n in (1, 2, 4, 5))


def month(day: str, of_month: tuple[str, str], contacts: list[int]) -> Change:
    """What a trust submits for a month: a patient, a referral, and contacts, which are told apart by their days."""

    def change(year: Year) -> None:
        row = {"uniq_month_id": of_month[0], "reporting_period_end_date": of_month[1], "uniq_submission_id": day}
        person = row | {"local_patient_id": "A"}
        contact = row | {"service_request_id": "R"}
        tables = {
            "mpi": [person | {"nhs_number": NUMBERS["A"], "nhs_number_status": "01", "date_of_birth": "1950-01-01"}],
            "referral": [person | {"service_request_id": "R", "referral_request_received_date": "2025-12-01"}],
            "care_contact": [contact | {"care_contact_id": f"K{n}", "care_cont_date": f"2026-01-{n:02}"} for n in contacts],
        }
        deliver(year.landing, MH, "RXN", day, tables, mode="period")

    return change


def damaged(day: str) -> Change:
    """A submission with a file that is no table."""

    def change(year: Year) -> None:
        deliver_files(year.landing, "mental_health", "RXN", day, {"MHS201CareContact.csv": ("", 0)}, "period")

    return change


TRUST: list[tuple[str, str, Change, list[int], list[str]]] = [
    ("20260210", "January", month("20260210", JANUARY, [1, 2]), [1, 2], []),
    ("20260310", "February", month("20260310", FEBRUARY, [3]), [1, 2, 3], []),
    ("20260410", "no March", nothing, [1, 2, 3], []),
    ("20260510", "April", month("20260510", APRIL, [4, 5]), [1, 2, 3, 4, 5], []),
    ("20260520", "January again, with one contact less", month("20260520", JANUARY, [1]), [1, 3, 4, 5], []),
    ("20260521", "a damaged one", damaged("20260521"), [1, 3, 4, 5], ["20260521"]),
    ("20260610", "April again, without a contact", month("20260610", APRIL, []), [1, 3], ["20260521"]),
    ("20260611", "which was a mistake", lambda year: year.withdraw("20260610"), [1, 3, 4, 5], ["20260521"]),
    ("20260710", "May", month("20260710", MAY, [6]), [1, 3, 4, 5, 6], ["20260521"]),
]


def test_a_year_of_a_trust(sail: SparkSession, tmp_path: Path) -> None:
    year = Year(sail, tmp_path, "mental_health")
    happened = []
    for day, what, change, _, _ in TRUST:
        run = year.on(day, change)
        rows = run.store.read(Zone.SILVER, "mental_health_care_contact").toArrow().to_pylist()
        happened.append((day, what, sorted(row["care_cont_date"].day for row in rows), year.set_aside()))
    assert happened == [(day, what, contacts, set_aside) for day, what, _, contacts, set_aside in TRUST]
