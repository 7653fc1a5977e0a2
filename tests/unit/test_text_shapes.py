"""What each shape of kept texts takes, and what none does; every kept text of every contract has one."""

import csv
import re
from itertools import product
from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.contracts.shapes import IN_LOWER_CASE, LABELS, NO_LABEL, Shape, pattern_of
from pipelines.contracts.source import Column, load_contract, load_contracts
from pipelines.errors import ContractError
from pipelines.mapping.spec import load_mappings
from pipelines.settings import PACKAGED_MAPPINGS_DIR

CONTRACTS = load_contracts(PACKAGED_MAPPINGS_DIR)


def fits(shape: Shape, text: str, values: tuple[str, ...] = ()) -> bool:
    """The same test in Python: the patterns use only what all three engines of expressions share."""
    seen = text.lower() if shape in IN_LOWER_CASE else text
    if shape in LABELS and re.search(NO_LABEL, seen):
        return False
    return re.search(pattern_of(shape, values), seen) is not None


TAKEN = {
    Shape.SHORT_CODE: ["Y", "N", "01", "2A", "99", "9", "2.0", "99X", "A01", "R0260", "130", "QQ", "U", "Yes", "unknown", "en"],
    Shape.CODE: [
        "06D01",
        "Dx0111",
        "RO197",
        "S0B",
        "N6A",
        "1.2.840.10008.5.1.4.1.1.1.1",
        "718-7",
        "CT",
        "TOT",
        "EMIS_12",
        "4621",
    ],
    Shape.LOCAL_CODE: [
        "K",
        "NA",
        "CREA",
        "LYMPH",
        "TROPT",
        "HBA1C",
        "FT4",
        "UE_NA",
        "WD12",
        "Ward 4A",
        "AMU",
        "MHW03",
        "14682-9",
    ],
    Shape.ORGANISATION_CODE: [
        "P81001",
        "p81001",
        "Y99003",
        "RXN",
        "RXN01",
        "RWEAA",
        "RHQNG",
        "R1HKH",
        "99X",
        "QWO",
        "503",
        "1-999000009",
    ],
    Shape.NUMBER: ["1", "1501", "7001505", "1777541000006100", "-1", "12", "1501.0", "99999999", "19991399"],
    Shape.SNOMED: [
        "38341003",
        "1104051000000101",
        "322236009",
        "39113611000001102",
        "195967001 |Asthma|",
        "230690007:246112005=24484000",
        "409063005:{363589002=35489007}",
        "71620000+29857009",
        "===443730003:363702006=35489007",
        "<<< 443730003 |Interpersonal psychotherapy| : { 408730004 |Procedure context| = 385658003 |Done| }",
        "{443730003:{408730004=410521004}}",
        "01",
        "QQ",
        "-1"[1:],
    ],
    Shape.CLINICAL_CODE: [
        "I10X",
        "J45.9",
        "E119",
        "G309D",
        "F43.1",
        "L899",
        "X403",
        "W37.1",
        "X292&",
        "&",
        "-",
        "G30..",
        "G30yz",
        "14B4.",
        "9Nu0.",
        "XE2aA",
        "Xa1uP",
        "XaBVJ",
        "XaJVi",
        "Xa9Bs",
        "Eu32z",
        "TC...",
        "bxd..",
        "65KZ.",
        "H33..",
        "A2",
        "C10-1",
        "EMISNQSM1",
        "ESCTHV105",
        "8302-2",
        "314076",
        "Y1234",
        "38341003",
    ],
    Shape.UUID: ["3edac2e3-d223-6fae-d515-daf96ef6bc76", "3EDAC2E3D2236FAED515DAF96EF6BC76"],
    Shape.LIST: [
        *(
            "TTO",
            "TTA",
            "To take out",
            "Not done",
            "Superseded",
            "Comorbidities",
            "Coded Observation",
            "Coded Scored Assessment",
        ),
        "Regular",
        "Immediately Necessary",
        "2 Week Wait",
        "Face to face",
        "White: English, Welsh, Scottish, Northern Irish or British",
        "Black, Black British, Caribbean or African: African",
        "Short term support: ST-Max",
        "NFA: Self-funded client or under 12wk disregard",
        "Registered care home",
        "35\u201349",
        "100+",
        "Visual impairment \u2013 severity unknown",
        "entered-in-error",
        "SNOMED CT",
        "S&C",
        "M",
        "Q",
        "Double crewed ambulance",
        "Allergy and adverse reactions",
        "Tenant: Local authority or other social housing provider",
        "999",
        "DMD",
    ],
    Shape.MEASURE: [
        *("uIU/mL", "kUA/L", "INR", "mg/L FEU", "ng/mL FEU", "cfu/mL", "points", "IV bolus", "Subcut", "Nasal cannula"),
        "mmol/L",
        "mmHg",
        "mm[Hg]",
        "10*9/L",
        "10^9/l",
        "*10 12/l",
        "mL/min/1.73m2",
        "mL/min/1.73*2",
        "\u00b5mol/L",
        "\u03bcg/L",
        "\u03bcmol/L",
        "10\u2079/L",
        "x10\u00b9\u00b2/L",
        "\u00b0C",
        "\u00baC",
        "\u02daC",
        "\u00d710\u2079/L",
        "\u00d7 10^12/L",
        "\u2103",
        "%",
        "{beats}/min",
        "mg(Alb)/mmol(Creat)",
        "deg C",
        "% of Hb",
        "tablet",
        "capsules",
        "5ml spoon"[:3],
        "Oral",
        "By mouth",
        "left eye",
        "IV",
        "intravenous (central)",
        "26643006",
        "dose(s)",
        "[stone_av]"[1:6],
        "units per week",
        "/100 WBCs",
    ],
    Shape.RESULT: [
        *(
            "Escherichia coli",
            "E. coli",
            "Staph. aureus isolated",
            "MRSA not isolated",
            "C. difficile toxin positive",
            "Not calculated",
        ),
        *("SARS-CoV-2 RNA not detected", "Influenza A detected", "Cancelled", "Not applicable"),
        "5.6",
        "<5",
        "> 90",
        "\u2264 0.3",
        "142/88",
        "1:160",
        "10-20",
        "1,234.5",
        "1.2E+03",
        "+",
        "+++",
        "Positive",
        "NOT DETECTED",
        "neg",
        "Trace",
        "Haemolysed",
        "Alert",
        "V",
        "A",
        "CVPU",
        "248234008",
        "422768004",
        "refused",
        "not done",
        "not measured",
        "5.6 mmol/L",
        "O Rh D positive",
        "-0.5",
        "0.1234567891",
        "12000000",
    ],
    Shape.DOSE: ["5", "0.00", "1,000", "5mg", "5 mg", "2 puffs", "1 tablet(s)", "5-10 mg", "1/2", "<5mg", "5mg/5ml", "120/80"],
    Shape.SAMPLE: [
        *(
            "SST",
            "HVS",
            "High vaginal swab",
            "MRSA screen",
            "Venous blood gas",
            "ABG",
            "BAL",
            "Line tip",
            "Viral swab",
            "Not stated",
        ),
        "Serum",
        "EDTA blood",
        "Mid-stream urine",
        "mid-stream  URINE",
        "24 hour urine",
        "CSF",
        "119364003",
        "Throat swab",
    ],
    Shape.TERM: [
        "Asthma",
        "Essential hypertension",
        "Type 2 diabetes mellitus",
        "Alzheimer's disease",
        "Crohn's disease",
        "H/O: stroke",
        "Haemoglobin A1c",
        "Appendicectomy",
        "Serum creatinine",
        "Ethnic category",
        "COVID-19",
        "Ex-smoker",
        "Systolic blood pressure",
        "Tonsillectomy",
        "No known allergies",
    ],
    Shape.MEDICINE: [
        "Paracetamol 500mg tablets",
        "Insulin glargine",
        "Salbutamol",
        "Adrenaline",
        "Entonox",
        "Ramipril",
        "Amoxicillin 250mg/5ml oral suspension",
        "Aspirin 300mg",
        "Atorvastatin",
        "Oxygen",
        "Emollient cream",
        "COVID-19 vaccination (Comirnaty)",
        "Co-codamol 30mg/500mg tablets",
        # Names alone, as hospitals prescribe: substances, and what wards call by its brand
        *(
            "Warfarin",
            "Gentamicin",
            "Meropenem",
            "Tacrolimus",
            "Noradrenaline",
            "Propofol",
            "Zopiclone",
            "Trazodone",
            "Mirtazapine",
        ),
        *(
            "Tranexamic acid",
            "Folinic acid",
            "Letrozole",
            "Carboplatin",
            "Teicoplanin",
            "Labetalol",
            "Ofloxacin",
            "Co-danthramer",
        ),
        *("Actrapid", "Tazocin", "Hartmanns", "Plasma-Lyte", "Anti-D", "Oramorph", "Laxido", "Pabrinex", "Sando-K", "MST"),
    ],
    Shape.ORGANISATION: [
        "Riverside Surgery",
        "Northern Vale Hospitals NHS Trust",
        "Royal Example Hospital",
        "The Example Medical Centre",
        "St Example's Hospice",
        "Example County Council",
        "Example & Partners Health Centre",
        "PCP7483",
    ],
}

NAMES = [
    "Margaret Thistlewood",
    "Thistlewood",
    "THISTLEWOOD",
    "thistlewood",
    "Thistlewood, Margaret",
    "Mrs Thistlewood",
    "M. Thistlewood",
    "O'Brien",
    "Smith-Jones",
    "Siobh\u00e1n",
    "Deepak Sharma",
    "Parkinson",
    "Middleton",
    "Cardwell",
    "Armstrong",
    "Coughlan",
    "Livingstone",
    "Jean-Luc Picard",
]
ADDRESSES = ["14 Acacia Avenue", "Rose Cottage, Mill Lane", "Flat 3, 12 High Street", "12 High Street, Preston", "Preston"]
SENTENCES = [
    "Patient says she feels unwell",
    "lives alone with her dog",
    "Mother rang, wants a call back about his asthma",
    "seen by daughter Jane; refused",
    "He was told to take paracetamol",
    "My wife said the surgery would ring",
]
BIRTHS = [
    "12/03/1957",
    "1957-03-12",
    "19570312",
    "12031957",
    "12-Mar-1957",
    "12.03.1957",
    "12 March 1957",
    "DOB 12/03/57",
    "1957-03-12 00:00:00",
]


@pytest.mark.parametrize(("shape", "text"), [(shape, text) for shape, texts in TAKEN.items() for text in texts])
def test_a_shape_takes_what_extracts_have(shape: Shape, text: str) -> None:
    assert fits(shape, text)


def test_every_shape_has_examples() -> None:
    assert set(Shape) - set(TAKEN) == {Shape.LISTED, Shape.ANSWER}


@pytest.mark.parametrize(("shape", "text"), list(product(Shape, [*NAMES, *ADDRESSES, *SENTENCES, *BIRTHS])))
def test_no_shape_takes_a_name_an_address_a_sentence_or_a_date_of_birth(shape: Shape, text: str) -> None:
    assert not fits(shape, text, ("A", "B C"))


FORMULAS = [
    "=HYPERLINK(A1,asthma)",
    "= Sum(A1:A9) asthma",
    "=cmd|' /C calc'!A0 asthma",
    "=1+cmd|' /C calc'!A0 asthma",
    "+1+cmd|' /C calc'!A0 5mg tablet",
    "-2+3+WEBSERVICE(A1) hospital",
    "@SUM(A1) asthma",
    "=\n\tcmd|' /C calc'!A0 asthma",
    "-1\r\n+cmd|' /C calc'!A0 asthma",
]


@pytest.mark.parametrize(("shape", "text"), list(product(Shape, FORMULAS)))
def test_no_shape_takes_a_formula_that_calls_something(shape: Shape, text: str) -> None:
    """What is published and what mappers review is opened in spreadsheets."""
    assert not fits(shape, text)


@pytest.mark.parametrize("text", ["=5 mg", "= 5.1 mmol/L", "-2", "+44", "-asthma", "+asthma (mild)"])
def test_an_answer_may_begin_with_a_sign(text: str) -> None:
    assert fits(Shape.ANSWER, text)


def test_listed_values_are_taken_in_any_case_and_nothing_else() -> None:
    for text, taken in (("Ymd", True), ("a.b", True), ("aXb", False), ("ymdt", False), ("", False)):
        assert fits(Shape.LISTED, text, ("YMD", "A.B")) is taken
    assert fits(Shape.CLINICAL_CODE, "qaly", ("QALY",))


def test_codes_of_local_maps_have_the_shape_of_their_columns() -> None:
    """The maps of units, routes and samples: their codes are texts of the columns with these shapes."""
    shapes = {
        "nhs_unit": Shape.MEASURE,
        "nhs_route": Shape.MEASURE,
        "nhs_specimen_type": Shape.SAMPLE,
        "nhs_result_value": Shape.RESULT,
        "nhs_local_pathology": Shape.LOCAL_CODE,
    }
    shapes |= {path.stem: Shape.LIST for path in (PACKAGED_MAPPINGS_DIR / "concepts").glob("nhs_cld_*.csv")}
    shapes |= {"emis_consultation_source": Shape.LIST, "emis_contact_mode": Shape.LIST, "emis_problem_status": Shape.LIST}
    shapes |= {"emis_job_category": Shape.CODE, "emis_local": Shape.CLINICAL_CODE}
    for name, shape in shapes.items():
        with (PACKAGED_MAPPINGS_DIR / "concepts" / f"{name}.csv").open(encoding="utf-8") as lines:
            codes = [row["source_code"] for row in csv.DictReader(lines)]
        assert [code for code in codes if not fits(shape, code)] == [], name


def test_values_that_rules_name_have_the_shape_of_their_columns() -> None:
    """A value without it would be unreadable, or withheld, before a rule could choose or refuse rows by it."""
    misshapen = []
    for source, mapping in load_mappings(PACKAGED_MAPPINGS_DIR, CONTRACTS).items():
        for rule in mapping.rules:
            entities = {"": rule.from_} | {alias: lookup.entity for alias, lookup in rule.lookups.items()}
            for condition in rule.where:
                alias, _, name = (condition.column or "").rpartition(".")
                column = CONTRACTS[source].entities[entities[alias]].columns.get(name)
                if column is not None and column.shape is not None:
                    named = [value for value in (*(condition.in_ or ()), *(condition.not_in or ())) if value]
                    misshapen += [(rule.name, name, text) for text in named if not fits(column.shape, text, column.values)]
    assert misshapen == []


EMIS_LISTS = {
    ("clinical_code", "emis_code_category_description"): (
        "Administration, documents and attachments|Biological values|Body structure|Conditions, operations and procedures"
        "|Cytology/Histology|Diagnostics|HMP|KC60|Microbiology|Nationality|Nursing problem domain|Pathology specimen"
        "|Problem rating scale for outcomes|Religion|Symptoms and Findings|Trade/Branch|Unset"
    ),
    (
        "patient",
        "patient_type_description",
    ): "Regular|Walk-In Patient|Yellow Fever|Vasectomy|Coronary Health Checks|Acupuncture",
    ("observation", "observation_type"): "Allergy|Annotated image|Document|Family history|Immunisation|Value|Diary",
    ("consultation", "consultation_source_term"): (
        "Awaiting clinical code migration to EMIS Web|Scanned document|Externally entered note|Mail from patient|OOH report"
        "|E-mail sent to patient|Outbound referral|Telephone call to relative/carer|Case conference|Discharge details"
        "|Consultation via video conference|Twilight visit note|Follow up attendance face to face"
    ),
    ("appointment_slot", "mode_of_contact"): (
        "Face to Face (Surgery)|Face to Face (Home Visit)|Telephone/Audio|Video with Audio"
        "|Written (Including Online)|Not an Appointment"
    ),
    ("observation", "numeric_unit"): "10*9/L|INR|Wks|ng/ml FEU|out of 30|Lit/min",
}
"""What EMIS Web has in some lists, of the sources that contract and mapping name."""


@pytest.mark.parametrize(("entity", "column"), list(EMIS_LISTS))
def test_lists_of_a_gp_system_are_read(entity: str, column: str) -> None:
    declared = CONTRACTS["gp"].entities[entity].columns[column]
    assert declared.shape is not None
    texts = EMIS_LISTS[entity, column].split("|")
    assert [text for text in texts if not fits(declared.shape, text, declared.values)] == []


def test_a_contract_with_a_kept_text_without_a_shape_is_refused(tmp_path: Path) -> None:
    """Every such column is named; identifiers and what is read as a date or a number need none."""
    path = tmp_path / "s" / "contract.yaml"
    path.parent.mkdir()
    columns = "{k: {identifier: local_id}, day: {type: date}, good: {shape: code}, typed: {}, code: {type: code}, "
    columns += "seen: {type: result}}"
    path.write_text(f"{{source: s, title: S, entities: {{e: {{grain: g, files: [x], key: [k], columns: {columns}}}}}}}")
    with pytest.raises(ContractError) as refused:
        load_contract(path)
    assert "s/contract.yaml: 3 faults" in str(refused.value)
    for name in ("typed", "code", "seen"):
        assert f"entities.e.columns.{name}: no shape; a kept text has one of short_code, code, " in str(refused.value)


def test_a_column_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """Else the second would be read alone, and the column would no longer be an identifier."""
    path = tmp_path / "s" / "contract.yaml"
    path.parent.mkdir()
    columns = "{k: {identifier: local_id}, k: {shape: code}}"
    path.write_text(f"{{source: s, title: S, entities: {{e: {{grain: g, files: [x], key: [k], columns: {columns}}}}}}}")
    with pytest.raises(ContractError, match=r"s/contract\.yaml: not valid YAML at line 1: the key k stands twice"):
        load_contract(path)


@pytest.mark.parametrize(
    ("column", "fault"),
    [
        ({"type": "date", "shape": "code"}, "shape: only a text, code or result"),
        ({"identifier": "name", "shape": "code"}, "shape: only a text, code or result"),
        ({"values": ["A"]}, "values: they go with a shape"),
        ({"shape": "listed"}, "values: a listed column lists them"),
    ],
)
def test_a_shape_that_cannot_be_is_refused(column: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        Column.model_validate(column)


def test_every_kept_text_of_the_packaged_contracts_has_a_shape() -> None:
    shapeless = [
        (source, name, column)
        for source, contract in CONTRACTS.items()
        for name, entity in contract.entities.items()
        for column in entity.kept_texts
        if entity.columns[column].shape is None
    ]
    assert shapeless == []
