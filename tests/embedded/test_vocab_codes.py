"""Codes as deliveries write them, and the forms in which they are searched for."""

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from vocab.codes import broader_forms, normal_form, normalise

NORMAL_FORMS = [
    ("ICD10", "J459", "J45.9"),
    ("ICD10", "J45.9", "J45.9"),
    ("ICD10", " j45 9 ", "J45.9"),
    ("ICD10", "I10X", "I10"),
    ("ICD10", "I10", "I10"),
    ("ICD10", "I10X-", "I10"),
    ("ICD10", "A09-", "A09"),
    ("ICD10", "A170D", "A17.0"),
    ("ICD10", "G01XA", "G01"),
    ("ICD10", "H360 A", "H36.0"),
    ("ICD10", "E103†", "E10.3"),
    ("ICD10", "H36.0*", "H36.0"),
    ("ICD10", "M7702", "M77.02"),
    ("ICD10", "M8000-D", "M80.00"),
    ("ICD10", "M77.02", "M77.02"),
    ("ICD10", "T08X0", "T08"),
    ("ICD10", "T08XX", "T08"),
    ("ICD10", "W37X", "W37"),
    ("ICD10", "G632\u2021", "G63.2"),
    ("ICD10", "G63.2\u2020*", "G63.2"),
    ("ICD10", "M80003", "M80003"),
    ("ICD10", "M8000/3", "M8000/3"),
    ("ICD10", "W0190", "W01.90"),
    ("ICD10", "W316", "W31.6"),
    ("ICD10", "R69X6", "R69"),
    ("ICD10", "M00-M25", "M00-M25"),
    ("ICD10", "not coded", "NOTCODED"),
    ("ICD10", "  ", None),
    ("ICD10", "", None),
    ("ICD10", None, None),
    ("OPCS4", "W371", "W37.1"),
    ("OPCS4", "w37.1", "W37.1"),
    ("OPCS4", "X62.-", "X62"),
    ("OPCS4", "X62&", "X62"),
    ("OPCS4", "Z942 ", "Z94.2"),
    ("OPCS4", "&", None),
    ("ICD10", "----", None),
    ("Read", "2469.", "2469.00"),
    ("Read", "2469.00", "2469.00"),
    ("Read", "A2", "A2...00"),
    ("Read", "G20..-1", "G20..00"),
    ("Read", "G20..11", "G20..11"),
    ("Read", "Eu02z", "Eu02z00"),
    ("Read", "Eu02z16", "Eu02z16"),
    ("Read", "13JW", "13JW.00"),
    ("Read", "EMISNQ12", "EMISNQ12"),
    ("CTV3", "XaZ8A", "XaZ8A"),
    ("CTV3", "Xa9B", "Xa9B."),
    ("CTV3", "xaz8a", "xaz8a"),
    ("CTV3", "XaZ8A00", "XaZ8A"),
    ("CTV3", "Xa9B.00", "Xa9B."),
    ("CTV3", "G20..00", "G20.."),
    ("CTV3", "3723000", "3723000"),
    ("CTV3", "XaZ8A11", "XaZ8A11"),
    ("Read", "G3000", "G300000"),
    ("Read", "C10F00", "C10F00"),
    ("Read", "9N1C11", "9N1C11"),
    ("SNOMED", " 195967001 ", "195967001"),
    ("SNOMED", "195967001 |Asthma|", "195967001"),
    ("SNOMED", "71388002:363589002=73761001", "71388002"),
    ("SNOMED", "=== 71388002 |Procedure| : 363589002 = 73761001", "71388002"),
    ("SNOMED", "{71388002:{363589002=73761001}}", "71388002"),
    ("SNOMED", "<<<71388002:363589002=73761001", "71388002"),
    ("SNOMED", "421720008+7946007", "421720008"),
    ("SNOMED", "195967001.0", "195967001"),
    ("SNOMED", "000195967001", "195967001"),
    ("SNOMED", "0", "0"),
    ("SNOMED", "301485011", "301485011"),
    ("SNOMED", "1.04803E+15", "1.04803E+15"),
    ("SNOMED", "1048031000000100", "1048031000000100"),
    ("dm+d", "39113611000001102", "39113611000001102"),
    ("dm+d", "039113611000001102.0", "39113611000001102"),
    ("dm+d", "paracetamol", "paracetamol"),
    ("LOINC", "la11882-0 ", "LA11882-0"),
    ("UCUM", " mm[Hg]", "mm[Hg]"),
    ("UCUM", "Cel", "Cel"),
    ("NHS Ethnic Category", "a", "A"),
    ("NHS Ethnic Category", "99", "99"),
    ("NHS CLD Service Component", " Home  Support\u00a0", "home support"),
    ("NHS Unit", "mL/min/1.73M2", "ml/min/1.73m2"),
    ("NHS Unit", "mL/min/1.73m\u00b2", "ml/min/1.73m2"),
    ("NHS Unit", "\u00b5mol/L", "umol/l"),
    ("NHS Unit", "\u03bcmol/L", "umol/l"),
    ("NHS Unit", "\u00b0C", "deg c"),
    ("NHS Unit", "\u00b0 C", "deg c"),
    ("NHS Unit", "\u2103", "c"),
    ("NHS Unit", "\u00b0", "deg"),
    ("NHS Unit", "10\u2079/L", "10^9/l"),
    ("NHS Unit", "x10\u00b9\u00b2/L", "x10^12/l"),
    ("NHS Unit", "10^9/L", "10^9/l"),
    ("NHS Unit", "\u00d710\u2079/L", "x10^9/l"),
    ("NHS Unit", "\u00d710^9/L", "x10^9/l"),
    ("NHS Unit", "\u00baC", "deg c"),
    ("NHS Unit", "\u02da C", "deg c"),
    ("AMPDS", "17D03", "17d03"),
    ("A list of the site", "Über", "über"),
]

BROADER: list[tuple[str, str, list[str | None]]] = [
    ("ICD10", "M7702", ["M77.0", "M77"]),
    ("ICD10", "J459", [None, "J45"]),
    ("ICD10", "I10X", [None, None]),
    ("ICD10", "W316", [None, "W31"]),
    ("ICD10", "W0190", [None, "W01"]),
    ("ICD10", "Y3469", [None, "Y34"]),
    ("ICD10", "M80003", [None, None]),
    ("ICD10", "M8000/3", [None, None]),
    ("ICD10", "E10.3+G63.2*", [None, None]),
    ("ICD10", "A419;J459", [None, None]),
    ("ICD10", "COVID", [None, None]),
    ("ICD10", "T08XX", [None, None]),
    ("ICD10", "Y8312", ["Y83.1", "Y83"]),
    ("ICD10", "V2991", ["V29.9", "V29"]),
    ("Read", "G20..11", ["G20..00"]),
    ("Read", "G20..", [None]),
    ("Read", "Eu32z1A", ["Eu32z00"]),
    ("Read", "3723001", [None]),
    ("CTV3", "XaZ8A11", []),
    ("NHS Ethnic Category", "A1", ["A"]),
    ("NHS Ethnic Category", "99", [None]),
    ("NHS Ethnic Category", "gA", ["G"]),
    ("NHS Ethnic Category", "N1", ["N"]),
    ("NHS Ethnic Category", "DA", ["D"]),
    ("NHS Ethnic Category", "rb", ["R"]),
    ("NHS Ethnic Category", "NA", [None]),
    ("NHS Ethnic Category", "nk", [None]),
    ("NHS Ethnic Category", "NS", [None]),
    ("NHS Ethnic Category", "No", [None]),
    ("NHS Ethnic Category", "DK", [None]),
    ("NHS Ethnic Category", "rf", [None]),
    ("NHS Ethnic Group", "dk", [None]),
    ("NHS Ethnic Category", "A10", ["A"]),
    ("NHS Ethnic Category", "Not stated", [None]),
    ("NHS Ethnic Category", "Black", [None]),
    ("NHS Ethnic Category", "Z", [None]),
    ("NHS Ethnic Group", "D1", ["d"]),
    ("NHS Ethnic Group", "ga", ["g"]),
    ("NHS Ethnic Group", "Other ethnic group: Any other ethnic group", [None]),
    ("AMPDS", "06D01", ["06"]),
    ("AMPDS", "06", [None]),
    ("OPCS4", "W371", []),
    ("SNOMED", "195967001", []),
]


def test_codes_take_the_form_of_their_vocabulary(sail: SparkSession) -> None:
    rows = sail.createDataFrame(list(enumerate(code for _, code, _ in NORMAL_FORMS)), "n int, code string")
    forms = [F.when(F.col("n") == n, normalise(vocabulary, F.col("code"))) for n, (vocabulary, _, _) in enumerate(NORMAL_FORMS)]
    found = {row.n: row.form for row in rows.select("n", F.coalesce(*forms).alias("form")).collect()}
    assert [(v, c, found[n]) for n, (v, c, _) in enumerate(NORMAL_FORMS)] == NORMAL_FORMS


def test_normalising_twice_changes_nothing(sail: SparkSession) -> None:
    cases = [(n, vocabulary, normal) for n, (vocabulary, _, normal) in enumerate(NORMAL_FORMS) if normal is not None]
    rows = sail.createDataFrame(cases, "n int, vocabulary string, code string")
    again = rows.select("n", normal_form(F.col("vocabulary"), F.col("code")).alias("form")).collect()
    assert {row.n: row.form for row in again} == {n: normal for n, _, normal in cases}


def test_less_specific_codes_follow_the_normalised_code(sail: SparkSession) -> None:
    cases = [(n, vocabulary, code) for n, (vocabulary, code, _) in enumerate(BROADER)]
    rows = sail.createDataFrame(cases, "n int, vocabulary string, code string")
    columns = broader_forms(F.col("vocabulary"), normal_form(F.col("vocabulary"), F.col("code")))
    found = {row.n: [row.c0, row.c1] for row in rows.select("n", *[c.alias(f"c{i}") for i, c in enumerate(columns)]).collect()}
    assert found == {n: [*expected, None, None][:2] for n, (_, _, expected) in enumerate(BROADER)}


@pytest.mark.parametrize("vocabulary", ["ICD10", "SNOMED", "Read", "NHS Unit"])
def test_a_missing_code_stays_missing(sail: SparkSession, vocabulary: str) -> None:
    rows = sail.createDataFrame([(None,), ("",), (" \t",)], "code string")
    normal = normal_form(F.lit(vocabulary), F.col("code"))
    forms = [normalise(vocabulary, F.col("code")), normal, *broader_forms(F.lit(vocabulary), normal)]
    assert all(
        value is None for row in rows.select(*[f.alias(f"c{i}") for i, f in enumerate(forms)]).collect() for value in row
    )
