"""National code sets: every map has references, and a code that it lacks is counted in every field that may contain it.

The golden patients of `national_codes.yaml` deliver the code QQ in every field of a national set and expect its value kept
without a concept.
"""

from collections import Counter, defaultdict

import pytest

from pipelines.mapping.spec import VocabularyBy
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from tests.golden.cases import golden_mappings
from tests.golden.lakehouse import Published
from vocab.local_maps import APPROVED, declared_vocabularies, read_local_maps

UNKNOWN = "QQ"

NATIONAL_SETS = (
    "NHS Gender",
    "NHS Ethnic Category",
    "NHS Admission Method",
    "NHS Admission Source",
    "NHS Discharge Method",
    "NHS Discharge Destination",
    "NHS Patient Classification",
    "NHS Treatment Function",
    "NHS Main Specialty",
    "NHS Consultation Mechanism",
    "NHS ECDS Department Type",
    "NHS ECDS Arrival Mode",
    "NHS ECDS Discharge Destination",
    "NHS MHA Legal Status",
    "NHS MHSDS Accommodation Type",
    "NHS Employment Status",
    "NHS CLD Ethnicity",
    "NHS CLD Service Component",
    "NHS CLD Assessment Type",
    "NHS CLD Primary Support Reason",
    "NHS CLD Accommodation Status",
    "NHS CLD Employment Status",
)

EVENT_TYPE = "NHS CLD Event Type"

KNOWN_BY_CONDITION = {"social_care_assessment", "social_care_request", "social_care_review"}
"""Rules that take one event type each; unknown types are mapped by `social_care_unknown_event`."""

USES = sorted(
    {
        (code.vocabulary, source, rule.name, field)
        for source, mapping in golden_mappings().items()
        for rule in mapping.rules
        for field, how in rule.fields.items()
        for code in how.concept or ()
        if not isinstance(code.vocabulary, VocabularyBy)
        and code.vocabulary in (*NATIONAL_SETS, EVENT_TYPE)
        and (code.vocabulary != EVENT_TYPE or rule.name not in KNOWN_BY_CONDITION)
    }
)
"""Vocabulary, source, rule and field of every use of a national code set."""


@pytest.mark.parametrize("vocabulary", NATIONAL_SETS)
def test_every_set_is_a_map_with_its_source_and_used(vocabulary: str) -> None:
    folder = PACKAGED_MAPPINGS_DIR / "concepts"
    maps = [row for row in read_local_maps(folder) if row.source_vocabulary_id == vocabulary and row.status == APPROVED]
    assert maps
    assert all(row.reference for row in maps)
    assert vocabulary in declared_vocabularies(folder) or vocabulary == "NHS Ethnic Category"
    assert vocabulary in {use[0] for use in USES}


@pytest.mark.parametrize("use", USES, ids=["-".join(use[1:]) for use in USES])
def test_an_unknown_code_is_in_the_work_list_with_its_rows(use: tuple[str, str, str, str], published: Published) -> None:
    listed = [row for row in published.unmapped if (row["vocabulary"], row["source"], row["rule"], row["field"]) == use]
    found = [row for row in listed if row["code"].upper() == UNKNOWN]
    assert [row["is_known"] for row in found] == [False]
    assert found[0]["rows"] >= 1


@pytest.mark.parametrize("rule", ["acute_visit_outpatient", "community_visit_contact", "mental_health_visit_contact"])
def test_an_unknown_attendance_counts_apart_from_a_missed_one(rule: str, published: Published) -> None:
    excluded = {
        row["reason"]: row["rows"] for row in published.ledger if row["rule"] == rule and row["disposition"] == "excluded"
    }
    assert excluded["attendance_unknown"] >= 1
    assert excluded["not_attended"] >= 1


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ("social_care_visual_impairment", "impairment_unknown"),
        ("social_care_hearing_impairment", "impairment_unknown"),
        ("social_care_dementia", "dementia_unknown"),
        ("social_care_autism", "autism_unknown"),
        ("social_care_has_unpaid_carer", "carer_unknown"),
    ],
)
def test_an_answer_that_no_list_has_counts_apart_from_a_no(rule: str, reason: str, published: Published) -> None:
    """One golden patient of each answers QQ, several answer no."""
    excluded = {row["reason"]: row["rows"] for row in published.ledger if row["rule"] == rule}
    assert excluded[reason] == 1


def test_a_code_of_an_unknown_scheme_is_in_the_work_list(published: Published) -> None:
    listed = [row for row in published.unmapped if row["vocabulary"] == "unknown scheme CTV3"]
    assert [(row["code"], row["rule"], row["field"], row["rows"], row["people"]) for row in listed] == [
        ("77", "ambulance_impression", "concept", 1, 1)
    ]


def test_the_work_list_adds_up_to_what_the_ledger_calls_open(published: Published) -> None:
    """For every rule of events; the golden patients have codes of every kind, unlike generated extracts."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for row in published.ledger:
        if row["stage"] == "code":
            rows[row["disposition"]][row["rule"]] += row["rows"]
    listed: Counter[str] = Counter()
    for row in published.unmapped:
        if row["field"] == "concept" and row["rule"] in rows["coded"]:
            listed[row["rule"]] += row["rows"]
    assert rows["known_unmapped"] + rows["unknown"] == listed
    assert rows["standard"] + rows["mapped_to_no_concept"] + listed == rows["coded"]
    assert all(rows[kind] for kind in ("standard", "mapped_to_no_concept", "known_unmapped", "unknown"))


def test_a_code_mapped_to_no_concept_is_not_in_the_work_list(published: Published) -> None:
    rule = "mental_health_accommodation"  # its golden patients have 98, of which the map says that it is any other
    no_concept = [
        row["rows"] for row in published.ledger if (row["rule"], row["disposition"]) == (rule, "mapped_to_no_concept")
    ]
    assert no_concept == [1]
    assert {row["code"] for row in published.unmapped if row["rule"] == rule} >= {"qq"}
    assert "98" not in {row["code"] for row in published.unmapped if row["rule"] == rule}
