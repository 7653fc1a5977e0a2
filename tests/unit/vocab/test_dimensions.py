"""Dimensions of units, as OMOP has them and as systems write them, and of the properties of LOINC."""

import csv

import pytest

from vocab.dimensions import Dimension, dimension_of_property, dimension_of_text, dimension_of_unit
from vocab.load import DEMO_DIR

NUMBER: Dimension = frozenset()
PER_VOLUME = ("length", -3)


@pytest.mark.parametrize(
    ("ucum", "dimension"),
    [
        ("mmol/L", {("moles", 1), PER_VOLUME}),
        ("ug/L", {("mass", 1), PER_VOLUME}),
        ("mg/mmol{creat}", {("mass", 1), ("moles", -1)}),
        ("mmol/mol", NUMBER),
        ("10*9/L", {PER_VOLUME}),
        ("10*6/mm3", {PER_VOLUME}),
        ("10*-3.[iU]/L", {("activity", 1), PER_VOLUME}),
        ("mL/min/1.73.m2", {("length", 1), ("time", -1)}),
        ("mL/min/(173.10*-2.m2)", {("length", 1), ("time", -1)}),
        ("/(24.h)", {("time", -1)}),
        ("wk", {("time", 1)}),
        ("kg/m2", {("mass", 1), ("length", -2)}),
        ("mm[Hg]", {("pressure", 1)}),
        ("%{of'HGB}", NUMBER),
        ("min", {("time", 1)}),
        ("[score]", None),
        ("ml/cm [H2O]", None),
    ],
)
def test_units_of_ucum(ucum: str, dimension: set[tuple[str, int]] | None) -> None:
    assert dimension_of_unit(ucum) == dimension


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("mmol/litre", {("moles", 1), PER_VOLUME}),
        ("MICROGRAM/L", {("mass", 1), PER_VOLUME}),
        ("x10^9/L", {PER_VOLUME}),
        ("10 12/L", {PER_VOLUME}),
        ("X1012/L", {PER_VOLUME}),
        ("10/9L", {PER_VOLUME}),
        ("10^9", NUMBER),
        ("per day", {("time", -1)}),
        ("a day", {("time", -1)}),
        ("/wk", {("time", -1)}),
        ("{units}/wk", {("time", -1)}),
        ("days", {("time", 1)}),
        ("mm in 1 hr", {("length", 1), ("time", -1)}),
        ("ml/min/1.73sq.m.", {("length", 1), ("time", -1)}),
        ("mg(Alb)/mmol(Creat)", {("mass", 1), ("moles", -1)}),
        ("i.u./l", {("activity", 1), PER_VOLUME}),
        ("m[iU]/L", {("activity", 1), PER_VOLUME}),
        ("(ppm)", NUMBER),
        ("mm(Hg)", None),
        ("deg C", None),
        ("x10^9l", None),
        ("", NUMBER),
    ],
)
def test_units_as_systems_write_them(text: str, dimension: set[tuple[str, int]] | None) -> None:
    assert dimension_of_text(text) == dimension


@pytest.mark.parametrize(
    ("name", "dimension"),
    [
        ("Urea [Moles/volume] in Serum or Plasma", {("moles", 1), PER_VOLUME}),
        ("Urea nitrogen [Mass/volume] in Serum or Plasma", {("mass", 1), PER_VOLUME}),
        ("Albumin/Creatinine [Mass Ratio] in Urine", NUMBER),
        ("Albumin/Creatinine [Ratio] in Urine", None),
        ("Body weight", None),
        ("Alcohol Use Disorder Identification Test - Consumption [AUDIT-C]", None),
    ],
)
def test_properties_of_loinc(name: str, dimension: set[tuple[str, int]] | None) -> None:
    assert dimension_of_property(name) == dimension


def test_a_unit_has_the_dimension_of_its_name_in_omop() -> None:
    """Every unit of the demonstration whose code is read; the others are few and have no dimension to compare."""
    with (DEMO_DIR / "CONCEPT.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row["vocabulary_id"] == "UCUM"]
    unread = {row["concept_name"] for row in rows if dimension_of_unit(row["concept_code"]) is None}
    assert len(rows) == 163
    assert unread == {
        "M (anti-prothrombin IgG concentration) unit", "O.D. ratio", "per low powered field", "per high power field", "second",
        "Didot's point", "millibar per centimeter of water", "score",
    }  # fmt: skip
