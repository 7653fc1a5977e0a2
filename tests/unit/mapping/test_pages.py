from pipelines.contracts.source import SourceContract
from pipelines.mapping.pages import index_of, page_of
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
            "ward": {"grain": "one ward", "files": ["w.csv"], "key": ["code"], "columns": {"code": {}}},
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
                "note": "Main diagnoses only.",
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
                    "type_concept_id": {"constant": 32817, "note": "EHR"},
                },
            }
        ],
    }
)


def test_page_says_how_each_field_is_filled() -> None:
    page = page_of(CONTRACT, MAPPING)
    assert "| `start_date` | `seen_on` |  |" in page
    assert "| `type_concept_id` | constant `32817` | EHR |" in page
    assert (
        "| `concept` | `diagnosis` in the vocabulary that `scheme` names (1: ICD10, 2: SNOMED), "
        "else the code `64572001` in SNOMED | main diagnosis |" in page
    )


def test_page_says_which_rows_a_rule_takes_and_how_others_count() -> None:
    page = page_of(CONTRACT, MAPPING)
    assert "- only where `diagnosis` is present: the rest count as `no_diagnosis`" in page
    assert "- only where `kind` is `A` or `B`: the rest count as `other_kind`" in page
    assert "- not where `kind` is `T`: these count as `training`" in page
    assert "- only where number_in(`kind`) is empty: the rest count as `numbered`" in page


def test_page_says_where_a_row_goes_without_a_standard_concept() -> None:
    assert "Condition while there is no standard concept" in page_of(CONTRACT, MAPPING)


def test_page_marks_identifiers_and_keeps_tables_whole() -> None:
    page = page_of(CONTRACT, MAPPING)
    assert "| `nhs_number` | `NHS No` | identifier: nhs number |  |" in page
    assert "sex: M &#124; F" in page
    assert "Reference data, of no person." in page


def test_index_lists_every_source() -> None:
    assert "| [Clinic](clinic.md) | 2 | 1 |" in index_of([CONTRACT], {"clinic": MAPPING})
