from pipelines.contracts.source import SourceContract
from pipelines.mapping.pages import CDM_PAGE, CodeList, index_of, page_of
from pipelines.mapping.spec import Mapping

CONTRACT = SourceContract.model_validate(
    {
        "source": "clinic",
        "title": "Clinic",
        "entities": {
            "patient": {
                "grain": "one patient",
                "files": ["patient*.csv"],
                "key": ["number"],
                "subject": {"direct": {"nhs_number": "nhs_number", "local_id": "number"}},
                "references": {"ward_key": {"entity": "ward", "columns": ["kind"]}},
                "columns": {
                    "nhs_number": {"header": "NHS No", "identifier": "nhs_number"},
                    "number": {"identifier": "local_id"},
                    "sex": {"header": "Sex", "type": "code", "item": "sex: M | F"},
                    "scheme": {"type": "code"},
                    "diagnosis": {"type": "code", "item": "main diagnosis"},
                    "seen_on": {"type": "date"},
                    "kind": {"type": "code"},
                },
            },
            "ward": {
                "grain": "one ward",
                "files": ["w.csv"],
                "key": ["code"],
                "columns": {"code": {}, "closed_on": {"type": "date", "item": "day of closing"}, "beds": {"type": "integer"}},
            },
            "staff": {"grain": "one nurse", "files": ["s.csv"], "key": ["code"], "columns": {"code": {}}},
        },
    }
)
MAPPING = Mapping.model_validate(
    {
        "source": "clinic",
        "rules": [
            {
                "name": "clinic_diagnosis",
                "from": "patient",
                "to": "event",
                "domain": "Condition",
                "value_of": {"concept": 43530807, "note": "Allergic disposition", "unless": ["Condition", "Observation"]},
                "evidence": [
                    {"column": "scheme", "values": {"9": "suspected", "8": "suspected", "7": "history"}, "present": "coded"},
                    {"column": "place.closed_on", "present": "problem_list"},
                    "reported",
                ],
                "note": "Main diagnoses only.",
                "with": {
                    "place": {"entity": "ward", "on": "ward_key", "without": {"kind": ["X", ""]}},
                    "held_by": {"entity": "ward", "on": "row_key", "by": "patient_key"},
                },
                "where": [
                    {"column": "diagnosis", "present": True, "reason": "no_diagnosis"},
                    {"column": "kind", "in": ["A", "B"], "reason": "other_kind"},
                    {"column": "kind", "not_in": ["T"], "reason": "training"},
                    {"expression": "number_in", "args": {"text": "kind"}, "present": False, "reason": "numbered"},
                ],
                "fields": {
                    "concept": {
                        "concept": [
                            {
                                "column": "diagnosis",
                                "vocabulary": {"column": "scheme", "values": {"1": "ICD10", "2": "SNOMED"}},
                            },
                            {"code": "64572001", "vocabulary": "SNOMED"},
                        ]
                    },
                    "start_date": {"copy": "seen_on"},
                    "end_date": {"expression": "first_of", "args": {"first": "place.closed_on", "second": "seen_on"}},
                    "unit": {"concept": [{"column": "kind", "vocabulary": "Kinds"}]},
                    "date_precision": {"expression": "date_precision", "args": {"code": "kind"}},
                    "type_concept_id": {"constant": 32817, "note": "EHR"},
                },
            },
            {
                "name": "clinic_person",
                "from": "patient",
                "to": "person",
                "fields": {"gender": {"concept": [{"column": "sex", "vocabulary": "Kinds"}]}},
            },
            {"name": "clinic_person_again", "from": "patient", "to": "person", "fields": {"recorded_on": {"copy": "seen_on"}}},
        ],
    }
)
LISTS = {"Kinds": CodeList("Kinds", "kinds.csv", True, 12, 3, ("Handbook", "Letter"))}


def test_page_shows_the_rule_and_the_omop_field_of_every_field() -> None:
    page = page_of(CONTRACT, MAPPING)
    assert "| `start_date` | `seen_on` | `condition_start_date` |  |" in page
    assert "| `type_concept_id` | constant `32817` | `condition_type_concept_id` | EHR |" in page
    assert (
        "| `concept` | `diagnosis` in the vocabulary that `scheme` names (1: ICD10, 2: SNOMED), "
        "else the code `64572001` in SNOMED | "
        "`condition_concept_id`, `condition_source_value`, `condition_source_concept_id` | main diagnosis |" in page
    )


def test_page_describes_a_column_of_another_row() -> None:
    page = page_of(CONTRACT, MAPPING)
    assert "| [first_of](README.md#expressions)(`place.closed_on`, `seen_on`) | `condition_end_date` | day of closing |" in page
    named = "whose `patient_key` is `row_key`, the one with the least row key of several"
    assert f"- `held_by` is the row of [`ward`](#ward) {named}" in page
    assert "- `place` is the row of [`ward`](#ward) at `ward_key`, unless its `kind` is `X` or empty" in page


def test_page_says_of_what_a_concept_of_another_kind_is_the_value() -> None:
    assert (
        "- a concept of another domain than Condition or Observation is the value of `43530807` (Allergic disposition)"
        in page_of(CONTRACT, MAPPING)
    )


def test_page_marks_a_field_that_other_tables_have() -> None:
    assert "| `unit` | `kind` in Kinds | in tables that have it |  |" in page_of(CONTRACT, MAPPING)


def test_page_names_the_table_beside_the_cdm_that_has_a_field() -> None:
    page = page_of(CONTRACT, MAPPING)
    assert "| `date_precision` | [date_precision](README.md#expressions)(`kind`) | `event_evidence.date_precision` |  |" in page


def test_page_links_the_local_map_and_names_its_references() -> None:
    page = page_of(CONTRACT, MAPPING, LISTS)
    assert "| `unit` | `kind` in [Kinds](../../mappings/concepts/kinds.csv) |" in page
    assert "| Kinds | [Kinds](../../mappings/concepts/kinds.csv) | 12, of which 3 mean nothing | Handbook; Letter |" in page
    assert "| ICD10 | Athena |  |  |" in page


def test_picture_shows_entities_rules_and_tables() -> None:
    page = page_of(CONTRACT, MAPPING)
    picture = page[page.index("```mermaid\n") : page.index("\n```\n")].splitlines()
    assert picture[1:] == [
        "flowchart LR",
        "  subgraph delivered",
        '    e_patient["patient"]',
        '    e_ward["ward"]',
        "  end",
        '  subgraph omop["OMOP CDM"]',
        '    t_condition_occurrence[("condition_occurrence")]',
        '    t_person[("person")]',
        "  end",
        "  e_ward --o e_patient",
        '  e_patient -.->|"clinic_diagnosis"| t_condition_occurrence',
        '  e_patient -->|"2 rules"| t_person',
    ]
    assert "Kept in silver, read by no rule: `staff`." in page


def test_page_shows_which_rows_a_rule_keeps_and_the_reasons_of_the_rest() -> None:
    page = page_of(CONTRACT, MAPPING)
    assert "- only where `diagnosis` is present: the rest count as `no_diagnosis`" in page
    assert "- only where `kind` is `A` or `B`: the rest count as `other_kind`" in page
    assert "- not where `kind` is `T`: these count as `training`" in page
    assert "- only where [number_in](README.md#expressions)(`kind`) is empty: the rest count as `numbered`" in page


def test_page_shows_how_the_evidence_is_decided() -> None:
    assert (
        "- evidence: `suspected` where `scheme` is `9` or `8`, else `history` where `scheme` is `7`, "
        "else `coded` where `scheme` is any other value, else `problem_list` where `place.closed_on` is present, "
        "else `reported`" in page_of(CONTRACT, MAPPING)
    )


def test_page_names_the_table_of_rows_without_a_standard_concept() -> None:
    page = page_of(CONTRACT, MAPPING)
    assert f"[condition_occurrence]({CDM_PAGE}#condition_occurrence) while there is no standard concept" in page
    assert f"[`patient`](#patient) (one patient) to **[person]({CDM_PAGE}#person)**." in page


def test_page_marks_identifiers_and_keeps_tables_whole() -> None:
    page = page_of(CONTRACT, MAPPING)
    assert "| `nhs_number` | `NHS No` | identifier: nhs number |  |" in page
    assert "sex: M &#124; F" in page
    assert "Reference data, of no person." in page


def test_page_names_the_columns_that_no_rule_reads() -> None:
    page = page_of(CONTRACT, MAPPING)
    ward = page[page.index("### ward") : page.index("### staff")]
    assert ward.endswith("| `beds` |  | integer |  |\n\nKept in silver, read by no rule: `beds`.\n\n")
    assert page.count("read by no rule") == 2  # the other one is of entities


def test_index_lists_every_source() -> None:
    index = index_of([CONTRACT], {"clinic": MAPPING})
    assert "| [Clinic](clinic.md) | 3 | 3 |" in index
    assert "| `date_of` | The calendar day of a timestamp. |" in index
