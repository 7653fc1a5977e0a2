"""Follows docs/onboarding.md: the extract of a new practice is onboarded by changing YAML and CSV only.

The changed lines of the contract and the rows of the code map are read from the document, so the document is tested itself.
`python -m tests.e2e.test_onboarding DIR` writes the delivery of the document, to try it by hand.
"""

import csv
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import pytest
from deltalake import DeltaTable

from pipelines.contracts.source import SourceContract, load_contract
from pipelines.errors import DeliveryError
from pipelines.settings import PACKAGED_CONF_DIR, PACKAGED_MAPPINGS_DIR
from pipelines.synthetic.nhs_numbers import valid_numbers
from tests.builders.landing import Row, csv_text, deliver_files, opt_out_lists
from tests.conftest import PROJECT
from tests.e2e.test_rerun import LOGS
from vocab.local_maps import read_local_maps

pytestmark = [pytest.mark.embedded, pytest.mark.deep]

DOCUMENT = PROJECT / "docs" / "onboarding.md"
DAY = date(2026, 1, 5)
PROVIDER = "Y90001"
PEOPLE = 12
WEEKS = 9

RENAMED = {"patient": ("NhsNumber", "NHSNo"), "observation": ("EffectiveDate", "EventDate")}
"""The names of two columns in the new system, by entity."""

CODES = (
    {"code_id": "1", "term": "Systolic blood pressure", "snomed_ct_concept_id": "271649006"},
    {"code_id": "2", "term": "Diastolic blood pressure", "snomed_ct_concept_id": "271650006"},
    {"code_id": "3", "term": "Body weight", "snomed_ct_concept_id": "27113001"},
    {"code_id": "4", "term": "Systolic blood pressure, home device", "read_term_id": "EMISNQHB1"},
    {"code_id": "5", "term": "Medication review by practice pharmacist", "read_term_id": "EMISNQMR2"},
    {"code_id": "6", "term": "Anxiety (social prescriber)", "read_term_id": "EMISNQAX3"},
)
"""The clinical codes of the practice; the last three are local codes."""

WEEKLY = {"1": ("142", "mmHg"), "2": ("88", "mmHg"), "3": ("71.5", "kg")}
"""Value and unit of the weekly measurements of every patient, by code."""

MAPPED_AGAIN = (
    *("measurement", "measurement_harmonised", "observation", "procedure_occurrence", "condition_occurrence"),
    *("observation_period", "condition_era", "drug_era", "dose_era", "episode_event", "event_evidence", "fact_relationship"),
    *("same_fact", "cdm_source", "metadata"),
)
"""What the third run writes: the events that the local codes leave and reach, what is derived from events (a code that gives
measurements tells of contacts), and the tables that name the release."""

LOCAL = {"4": PEOPLE, "5": 9, "6": 3}
"""The number of people by local code; each has it once."""


def tables() -> dict[str, list[Row]]:
    """The rows of the delivery by entity, all values as delivered."""
    practice = {"organisation_guid": "ORG-1", "processing_id": "1"}
    people = [f"PAT-{number:03}" for number in range(PEOPLE)]
    patients: list[Row] = [
        practice
        | {"patient_guid": guid, "nhs_number": number, "sex": "FM"[place % 2], "date_of_birth": f"{1940 + place}-03-02"}
        | {"patient_type_description": "Regular", "date_of_registration": "2015-06-01"}
        for place, (guid, number) in enumerate(zip(people, nhs_numbers(), strict=True))
    ]
    seen = {"effective_date_precision": "YMD", "observation_type": "Observation"}
    entries = [
        practice | seen | {"patient_guid": guid, "code_id": code, "value": value, "numeric_unit": unit, "effective_date": day}
        for guid in people
        for day in (f"{DAY - timedelta(weeks=week):%Y-%m-%d}" for week in range(WEEKS))
        for code, (value, unit) in WEEKLY.items()
    ]
    entries += [
        practice
        | seen
        | {"patient_guid": guid, "code_id": code, "effective_date": "2025-12-01"}
        | ({"value": "131", "numeric_unit": "mmHg"} if code == "4" else {})
        for code, many in LOCAL.items()
        for guid in people[:many]
    ]
    return {
        "organisation": [
            practice | {"organisation_name": "Moorside Surgery", "ods_code": PROVIDER, "organisation_type": "GP Practice"}
        ],
        "patient": patients,
        "clinical_code": [{**code, "emis_code_category_description": "Conditions", "processing_id": "1"} for code in CODES],
        "observation": [entry | {"observation_guid": f"OBS-{place:04}"} for place, entry in enumerate(entries)],
    }


def nhs_numbers() -> list[str]:
    """The NHS numbers of the practice's patients."""
    return [str(number) for number in valid_numbers()[100 : 100 + PEOPLE]]


def deliver_practice(landing: Path) -> None:
    """The delivery of the practice with its own column names, and opt-out lists that keep its patients."""
    contract = load_contract(PACKAGED_MAPPINGS_DIR / "gp" / "contract.yaml")
    files = {}
    for entity, rows in tables().items():
        text = csv_text(contract, entity, rows)
        if entity in RENAMED:
            header, _, rest = text.partition("\n")
            ours, theirs = RENAMED[entity]
            text = re.sub(rf"\b{ours}\b", theirs, header) + "\n" + rest
        files[_file_name(contract, entity)] = (text, len(rows))
    deliver_files(landing, "gp", PROVIDER, f"{DAY:%Y%m%d}", files, mode="full")
    stranger = str(valid_numbers()[99])
    opt_out_lists(landing, f"{DAY:%Y%m%d}", nhs_numbers(), [*nhs_numbers(), stranger])


def _file_name(contract: SourceContract, entity: str) -> str:
    table = contract.entities[entity].files[0].strip("*_")
    return f"1_{table}_{DAY:%Y%m%d}_{PROVIDER}.csv"


@dataclass
class Walk:
    """The folder of a person who onboards a practice, the output of each command, and the changed settings and mappings.

    `loaded_at_first` are the tables after the first run, `mapped_again` the tables that the third run has written.
    """

    folder: Path
    output: dict[str, str] = field(default_factory=dict)
    exit_codes: dict[str, int] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    loaded_at_first: list[Path] = field(default_factory=list)
    mapped_again: set[str] = field(default_factory=set)

    def versions(self) -> dict[str, int]:
        """The newest version of every table that holds delivered or mapped rows; not of the logs of what has changed."""
        zones = ("bronze", "curation", "silver", "omop")
        logs = [log for zone in zones for log in self.folder.glob(f"*/{zone}/*/_delta_log")]
        logs += self.folder.glob("*/intermediate/stem_*/_delta_log")
        tables = [log.parent for log in logs if not log.parent.name.startswith(LOGS)]
        return {f"{table.parent.name}.{table.name}": DeltaTable(str(table)).version() for table in tables}

    def does(self, step: str, *arguments: str) -> str:
        """Run `nhs-omop` in the folder; returns the output of both streams."""
        environment = {"PYTHONPATH": str(PROJECT), "NHS_OMOP_CONF_DIR": "conf", "NHS_OMOP_ENV": "practice", "COLUMNS": "130"}
        done = subprocess.run(
            [sys.executable, "-m", "jobs.cli", *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=os.environ | environment,
            timeout=300,
            check=False,
        )
        self.output[step] = done.stderr + done.stdout
        self.exit_codes[step] = done.returncode
        return self.output[step]

    def rows(self, sql: str) -> list[dict[str, str]]:
        """The rows that `nhs-omop query` prints."""
        return list(csv.DictReader(self.does("query", "query", sql, "--csv").splitlines()))

    def digests(self, *folders: str) -> dict[str, str]:
        """The content of every file in the given folders."""
        files = (path for folder in folders for path in sorted((self.folder / folder).rglob("*")) if path.is_file())
        return {str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def blocks(kind: str) -> list[str]:
    """The fenced blocks of a kind in the document."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def change_contract(path: Path) -> None:
    """Apply the diff of the document to the contract: each line with a minus becomes the line with a plus after it."""
    text = path.read_text(encoding="utf-8")
    lines = "".join(blocks("diff")).splitlines()
    for old, new in zip(lines[::2], lines[1::2], strict=True):
        assert (old[0], new[0]) == ("-", "+")
        assert text.count(old[1:] + "\n") == 1, f"not in the contract: {old}"
        text = text.replace(old[1:] + "\n", new[1:] + "\n")
    path.write_text(text, encoding="utf-8")


def add_codes(path: Path) -> None:
    """Add to a code map the rows that the document shows."""
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(blocks("csv")))


def approve(path: Path) -> None:
    """Approve in a file for Usagi the targets that the document chooses, as a person does by hand."""
    chosen = {row[0]: row[4] for row in csv.reader("".join(blocks("csv")).splitlines())}
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row |= {"conceptId": chosen[row["sourceCode"].upper()], "mappingStatus": "APPROVED", "statusSetBy": "A Coder"}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    """All steps of the document in order."""
    walk = Walk(tmp_path_factory.mktemp("onboarding"))
    (walk.folder / "conf").mkdir()
    shutil.copy(PACKAGED_CONF_DIR / "base.yaml", walk.folder / "conf")
    (walk.folder / "conf" / "practice.yaml").write_text("".join(blocks("yaml")), encoding="utf-8")
    walk.does("copy", "copy-mappings", "mappings")
    walk.does("key", "key", "new", "--out", "restricted/practice.key")
    walk.does("load", "vocab", "load")
    before = walk.digests("conf", "mappings")
    (walk.folder / "landing").mkdir(mode=0o700)
    deliver_practice(walk.folder / "landing")
    run = ("run", "--date", f"{DAY:%Y-%m-%d}")
    walk.does("first", *run)
    walk.loaded_at_first = [path for zone in ("bronze", "silver", "omop") for path in walk.folder.glob(f"*/{zone}/*")]
    change_contract(walk.folder / "mappings" / "gp" / "contract.yaml")
    walk.does("second", *run)
    walk.does("unmapped", "vocab", "unmapped")
    walk.does("before", "query", "SELECT observation_source_value, observation_concept_id FROM observation", "--csv")
    shutil.copytree(walk.folder / "mappings", walk.folder / "by_usagi")
    add_codes(walk.folder / "mappings" / "concepts" / "emis_local.csv")
    walk.does("to_usagi", "vocab", "unmapped", "--to-usagi", "codes.csv")
    approve(walk.folder / "codes.csv")
    walk.does("from_usagi", "vocab", "unmapped", "--from-usagi", "codes.csv", "--mappings-dir", "by_usagi", "--apply")
    versions = walk.versions()
    walk.does("third", *run)
    walk.mapped_again = {name for name, version in walk.versions().items() if versions.get(name) != version}
    after = walk.digests("conf", "mappings")
    walk.changed = sorted(name for name in before | after if after.get(name) != before.get(name))
    return walk


def test_the_first_run_stops_and_names_files_columns_and_the_next_step(walk: Walk) -> None:
    assert walk.exit_codes["first"] == DeliveryError.exit_code
    assert walk.output["first"] == blocks("text")[0]
    assert walk.loaded_at_first == []
    assert not any(number in walk.output["first"] for number in nhs_numbers())


def test_with_two_aliases_the_second_run_has_everyone(walk: Walk) -> None:
    assert [walk.exit_codes[step] for step in ("copy", "key", "load", "second")] == [0, 0, 0, 0], walk.output["second"]
    assert walk.rows("SELECT year_of_birth FROM person ORDER BY 1") == [{"year_of_birth": str(1940 + n)} for n in range(12)]
    periods = walk.rows(
        "SELECT DISTINCT observation_period_start_date AS s, observation_period_end_date AS e FROM observation_period"
    )
    assert periods == [{"s": "2015-06-01", "e": "2026-01-05"}]


def test_the_work_list_shows_the_three_codes_with_small_numbers_hidden(walk: Walk) -> None:
    lines = [re.split(r" *│ *", line) for line in walk.output["unmapped"].splitlines() if "│ EMIS Local" in line]
    assert [(line[2], line[4], line[6], line[7]) for line in lines] == [
        ("emisnqhb1", "gp", "12", "12"),
        ("emisnqmr2", "gp", "9", "9"),
        ("emisnqax3", "gp", "*", "*"),
    ]


def test_until_they_are_mapped_they_are_observations_with_concept_0(walk: Walk) -> None:
    found = Counter(walk.output["before"].splitlines()[1:])
    assert found == {"EMISNQHB1,0": 12, "EMISNQMR2,0": 9, "EMISNQAX3,0": 3}


def test_the_third_run_maps_again_from_the_stored_stem(walk: Walk) -> None:
    assert walk.exit_codes["third"] == 0
    assert {f"omop.{name}" for name in MAPPED_AGAIN} == walk.mapped_again
    assert "intermediate.stem_gp" in walk.versions()


@pytest.mark.parametrize(
    ("table", "prefix", "row"),
    [
        (
            "measurement",
            "measurement",
            {"concept": "3004249", "source": "EMISNQHB1", "day": "2025-12-01", "type": "32817", "rows": "12"},
        ),
        (
            "procedure_occurrence",
            "procedure",
            {"concept": "4057411", "source": "EMISNQMR2", "day": "2025-12-01", "type": "32817", "rows": "9"},
        ),
        (
            "condition_occurrence",
            "condition",
            {"concept": "442077", "source": "EMISNQAX3", "day": "2025-12-01", "type": "32817", "rows": "3"},
        ),
    ],
)
def test_each_local_code_is_in_the_table_of_its_concept(walk: Walk, table: str, prefix: str, row: dict[str, str]) -> None:
    day = f"{prefix}_start_date" if prefix == "condition" else f"{prefix}_date"
    assert walk.rows(
        f"SELECT {prefix}_concept_id AS concept, {prefix}_source_value AS source, {day} AS day, "
        f"{prefix}_type_concept_id AS type, count(DISTINCT person_id) AS rows "
        f"FROM {table} WHERE {prefix}_source_value LIKE 'EMIS%' GROUP BY ALL"
    ) == [row]


def test_values_units_and_days_of_the_other_entries_are_there(walk: Walk) -> None:
    found = walk.rows(
        "SELECT measurement_concept_id AS concept, value_as_number AS value, unit_concept_id AS unit, count(*) AS rows, "
        "min(measurement_date) AS first FROM measurement GROUP BY ALL ORDER BY 1, 2"
    )
    assert [list(row.values()) for row in found] == [
        ["3004249", "131.0", "8876", "12", "2025-12-01"],
        ["3004249", "142.0", "8876", "108", "2025-11-10"],
        ["3012888", "88.0", "8876", "108", "2025-11-10"],
        ["3025315", "71.5", "9529", "108", "2025-11-10"],
    ]
    assert walk.rows("SELECT count(*) AS rows FROM observation") == [{"rows": "0"}]


def test_only_a_contract_and_a_code_map_were_changed(walk: Walk) -> None:
    assert walk.changed == ["mappings/concepts/emis_local.csv", "mappings/gp/contract.yaml"]


def test_usagi_brings_the_same_map(walk: Walk) -> None:
    assert re.search(r"3 rows added to \S*/by_usagi/concepts/emis_local\.csv", walk.output["from_usagi"])
    by_hand, by_usagi = (
        {
            (row.source_code.upper(), row.target_concept_id, row.status)
            for row in read_local_maps(walk.folder / name / "concepts")
        }
        for name in ("mappings", "by_usagi")
    )
    assert by_usagi == by_hand


if __name__ == "__main__":
    deliver_practice(Path(sys.argv[1]))
