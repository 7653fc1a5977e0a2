"""Suites are read as Great Expectations reads them, and every fault of every file is reported at once."""

import json
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from pipelines.contracts.derived import published_tables
from pipelines.contracts.source import load_contracts
from pipelines.contracts.tables import TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import ConfigError
from pipelines.quality.checks import Check, Rule, Severity
from pipelines.quality.checks import Zone as CheckedZone
from pipelines.quality.expectations.suites import Columns, known_columns, library, read_expectations
from pipelines.settings import PACKAGED_MAPPINGS_DIR, load_settings

SUITE = """\
name: births
meta: {tables: [omop.person, vocabulary.concept]}
expectations:
  - type: expect_table_row_count_to_be_between
    kwargs: {min_value: 1}
"""


@pytest.fixture(scope="module")
def columns() -> Columns:
    return known_columns(load_contracts(PACKAGED_MAPPINGS_DIR, ("gp",)), published_tables("5.4"))


def test_a_suite_asks_every_table_that_it_names(tmp_path: Path, columns: Columns) -> None:
    (tmp_path / "births.yaml").write_text(SUITE, encoding="utf-8")
    found = read_expectations(tmp_path, columns)
    assert [(e.table, e.text, e.place) for e in found] == [
        (table, "expect_table_row_count_to_be_between(min_value=1)", f"births.yaml: expectation 1 ({found[0].type})")
        for table in (TableName(Zone.OMOP, "person"), TableName(Zone.VOCABULARY, "concept"))
    ]


def test_what_the_library_exports_is_a_suite(tmp_path: Path, columns: Columns) -> None:
    gx = library()
    asked = [
        gx.expectations.ExpectColumnValuesToBeBetween(
            column="birth_datetime", min_value=date(1900, 1, 1), mostly=0.98, severity="warning"
        ),
        gx.expectations.ExpectColumnValuesToBeInSet(column="gender_concept_id", value_set=[0, 8507, 8532], severity="info"),
        gx.expectations.ExpectColumnValuesToBeUnique(column="person_id"),
    ]
    suite = gx.ExpectationSuite(name="people", expectations=asked, meta={"tables": ["omop.person"]})
    (tmp_path / "people.json").write_text(json.dumps(suite.to_json_dict()), encoding="utf-8")
    assert [e.check for e in read_expectations(tmp_path, columns)] == [
        Check(CheckedZone.OMOP, "person", Rule.EXPECTATION, text, tolerance=tolerance, severity=severity)
        for text, tolerance, severity in [
            (
                'people: expect_column_values_to_be_between(column=birth_datetime, min_value="1900-01-01", mostly=0.98)',
                0.02,
                Severity.WARN,
            ),
            (
                "people: expect_column_values_to_be_in_set(column=gender_concept_id, value_set=[0, 8507, 8532])",
                0.0,
                Severity.WARN,
            ),
            ("people: expect_column_values_to_be_unique(column=person_id)", 0.0, Severity.ERROR),
        ]
    ]


def test_long_arguments_are_shortened_to_what_tells_them_apart(tmp_path: Path, columns: Columns) -> None:
    entries = "".join(
        f"  - {{type: expect_column_values_to_be_in_set, kwargs: {{column: person_id, value_set: {[*range(50), last]}}}}}\n"
        for last in (98, 99)
    )
    (tmp_path / "s.yaml").write_text("name: s\nmeta: {tables: [omop.person]}\nexpectations:\n" + entries, encoding="utf-8")
    texts = [e.text for e in read_expectations(tmp_path, columns)]
    assert len(set(texts)) == 2
    assert max(map(len, texts)) < 150


FAULTY = {
    "a.yaml": "name: a\nmeta: {tables: [omop.persn]}\nexpectations: []\n",
    "b.yaml": "expectations: 3\nowner: us\n",
    "c.yaml": "name: [unclosed\n",
    "d.yaml": """\
name: d
meta: {tables: [silver.gp_patient, omop.person]}
expectations:
  - {type: expect_colum_values_to_be_null, kwargs: {column: person_id}}
  - {type: expect_column_values_to_be_between, kwargs: {column: person_id, min_vlue: 1, max_value: 3}}
  - {type: expect_column_values_to_be_null, kwargs: {column: person_id}, severity: fatal}
  - {type: expect_column_values_to_be_null, kwargs: {column: ethnicity_concept_id}}
  - {type: expect_column_values_to_be_between, kwargs: {column: person_id, min_value: {$PARAMETER: least}}}
  - expect_column_values_to_be_null
  - {type: expect_column_values_to_be_null, kwargs: {column: person_id, mostly: 2}}
  - {type: expect_column_values_to_be_null, kwargs: {column: person_id}, notes: first}
  - {type: expect_column_values_to_be_null, kwargs: {column: person_id}, notes: again}
""",
    "e.yaml": """\
name: e
meta: {tables: [bronze.gp_patient]}
expectations:
  - {type: expect_column_values_to_be_between, kwargs: {column: patient_guid, min_value: 1}}
""",
}


def test_every_fault_of_every_file_is_reported_at_once(tmp_path: Path, columns: Columns) -> None:
    for name, text in FAULTY.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        read_expectations(tmp_path, columns)
    lines = str(refused.value).splitlines()
    assert lines[0] == f"{tmp_path}: {len(lines) - 1} faults in expectation suites"
    assert [line.strip() for line in lines[1:]] == [
        "a.yaml: meta.tables: there is no table omop.persn; write zone.table, such as omop.person",
        "b.yaml: unknown key owner",
        "b.yaml: name: expected the name of the suite",
        "b.yaml: expectations: expected a list",
        "b.yaml: meta.tables: expected the tables that have to meet the suite, such as [omop.person]",
        "c.yaml: not valid YAML at line 2: did not find expected ',' or ']'",
        "d.yaml: expectation 1 (expect_colum_values_to_be_null): expect_colum_values_to_be_null not found",
        "d.yaml: expectation 2 (expect_column_values_to_be_between): min_vlue: extra fields not permitted",
        "d.yaml: expectation 3 (expect_column_values_to_be_null): Invalid severity 'fatal'. "
        "Must be one of: critical, warning, info",
        "d.yaml: expectation 4 (expect_column_values_to_be_null): silver.gp_patient has no column ethnicity_concept_id",
        "d.yaml: expectation 5 (expect_column_values_to_be_between): $PARAMETER is not filled in here; write the value",
        "d.yaml: expectation 6: expected a type and kwargs",
        "d.yaml: expectation 7 (expect_column_values_to_be_null): mostly: ensure this value is less than or equal to 1.0",
        "d.yaml: expectation 7 (expect_column_values_to_be_null): mostly: value is not a valid dict",
        "e.yaml: expectation 1 (expect_column_values_to_be_between): patient_guid of bronze.gp_patient is a string, "
        "which cannot be compared with these bounds",
        "d.yaml: expectation 9 (expect_column_values_to_be_null): silver.gp_patient has the same in d.yaml, expectation 8",
        "d.yaml: expectation 9 (expect_column_values_to_be_null): omop.person has the same in d.yaml, expectation 8",
    ]


def test_without_a_suite_and_lineage_their_libraries_are_not_imported(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from pipelines.quality.expectations.suites import read_expectations;"
        f"import pipelines.nightly; assert read_expectations(Path({str(tmp_path)!r}), {{}}) == ();"
        "sys.exit(bool({'great_expectations', 'openlineage'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_suites_are_where_the_configuration_is(tmp_path: Path) -> None:
    packaged = load_settings("demo")
    assert [path.name for path in packaged.expectations_dir.iterdir()] == ["README.md"]
    for name in ("base", "demo"):
        text = (packaged.expectations_dir.parents[1] / f"{name}.yaml").read_text(encoding="utf-8")
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    assert load_settings("demo", tmp_path).expectations_dir == tmp_path / "quality" / "expectations"
    (tmp_path / "suites").mkdir()
    elsewhere = load_settings("demo", tmp_path, [f"expectations_dir={tmp_path}/suites"])
    assert elsewhere.expectations_dir == tmp_path / "suites"
