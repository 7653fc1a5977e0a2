"""What the terms of clinical codes say: an immunisation that was not given, no allergy, a relative."""

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.columns.terms import about_relatives, immunisation_given, no_allergy_said

GIVEN = [
    "Seasonal influenza vaccination",
    "First pneumococcal conjugate vaccination",
    "Measles mumps rubella vaccination - second dose",
    "Influenza vaccination given by other healthcare provider",
    "Booster hepatitis B (rDNA) vaccination",
    "Tetanus vaccination NOS",
    "Notified of vaccination",
    None,
]
NOT_GIVEN = [
    "Influenza vaccination declined",
    "MMR vaccination REFUSED",
    "Refuses immunisation",
    "Seasonal influenza vaccination contraindicated",
    "Influenza vaccination contra-indicated",
    "Immunisation consent given",
    "Immunisation consent not given",
    "No consent - influenza imm.",
    "Influenza vaccination not indicated",
    "Rotavirus vaccination not done",
    "Did not attend child immunisation",
    "DNA - Did not attend immunisation",
    "Invited for shingles vaccination",
    "Meningitis C vaccination offered",
    "Pertussis vaccination due",
    "Adverse reaction to influenza vaccine",
    "Unvaccinated",
    "No record of tetanus vaccination",
    "Vaccination advice",
]
ABOUT_ALLERGY = {
    "No known allergies": True,
    "No known drug allergies": True,
    "Nil known drug sensitivities": True,
    "No known adverse drug reactions": True,
    "Not allergic to penicillin": True,
    "Not known to be allergic to latex": True,
    "Penicillin allergy excluded": True,
    "Allergy status unknown": True,
    "Penicillin allergy": False,
    "Allergy to nitrous oxide": False,
    "Northern cashew allergy": False,
    "Notified allergic reaction": False,
    None: False,
}
ABOUT_RELATIVES = {
    "FH: Asthma": True,
    "fh :Stroke": True,
    "F/H of stroke": True,
    "Family history of diabetes": True,
    "Family history unknown": True,
    "No family history of diabetes": True,
    "No significant family history": True,
    "No FH: Diabetes mellitus": True,
    "FH - Familial hypercholesterolaemia": False,
    "Family therapy": False,
    "Asthma": False,
    None: False,
}
NONE_KNOWN = ["716186003"]


def test_an_immunisation_is_given_unless_its_term_says_otherwise(sail: SparkSession) -> None:
    rows = [(term, "Immunisations") for term in (*GIVEN, *NOT_GIVEN)] + [("Influenza vaccination", "Procedure code")]
    frame = sail.createDataFrame(rows, "term string, category string")
    found = frame.select("term", immunisation_given(F.col("category"), F.col("term"))).collect()
    assert [tuple(row) for row in found] == [
        *[(term, True) for term in GIVEN],
        *[(term, False) for term in NOT_GIVEN],
        ("Influenza vaccination", False),
    ]


def test_terms_say_that_there_is_no_allergy(sail: SparkSession) -> None:
    frame = sail.createDataFrame([(term, None) for term in ABOUT_ALLERGY] + [(None, "716186003")], "term string, code string")
    found = frame.select("term", no_allergy_said(F.col("code"), F.col("term"), NONE_KNOWN)).collect()
    assert [tuple(row) for row in found] == [*ABOUT_ALLERGY.items(), (None, True)]


@pytest.mark.parametrize("category", ["Conditions", None])
def test_terms_say_that_they_are_about_relatives(sail: SparkSession, category: str | None) -> None:
    frame = sail.createDataFrame([(term, category) for term in ABOUT_RELATIVES], "term string, category string")
    found = frame.select("term", about_relatives(F.col("category"), F.col("term"))).collect()
    assert [tuple(row) for row in found] == list(ABOUT_RELATIVES.items())
