"""Identifiers in kept texts are found in every form; they and texts without a shape reach no byte of the de-identified root."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.columns.shapes import identifies
from pipelines.contracts.source import ColumnType, Entity, load_contracts
from pipelines.curate.entities import EntityOf
from pipelines.curate.rows import silver_rows
from pipelines.quality.checks import Rule
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.synthetic.nhs_numbers import valid_numbers
from tests.builders.runs import PADS
from tests.builders.worlds import NUMBERS, demo_vocabulary, loaded
from tests.e2e.identifiers import needles_of
from tests.e2e.scanner import findings
from tests.golden.cases import golden_cases

CONTRACTS = load_contracts(PACKAGED_MAPPINGS_DIR)
NUMBERS_KEPT = (ColumnType.INTEGER, ColumnType.DECIMAL)

IDENTIFYING = [
    "9990000018",
    "999 000 0018",
    "999-000-0018",
    "999.000.0018",
    "999\u00a0000\u00a00018",
    "999 - 000 - 0018",
    "999/000/0018",
    "9990 000 018",
    "99900 00018",
    "99 90 00 00 18",
    "9 9 9 0 0 0 0 0 1 8",
    "9-9-9-0-0-0-0-0-1-8",
    "999 0000018",
    "999000 0018",
    "9990000018.0",
    "NHS9990000018",
    "NHS No.9990000018",
    "(9990000018)",
    "#9990000018;",
    "seen with 9990000018, well",
    "1234567890 and 999 000 0018",
    "PR1 2AB",
    "pr1 2ab",
    "PR12AB",
    "pr12ab",
    "M1 1AE",
    "M11AE",
    "W1A 0AX",
    "w1a0ax",
    "EC1A 1BB",
    "SW1A  2AA",
    "B33 8TH",
    "CR2 6XH",
    "DN55 1PD",
    "lives at PR1 2AB.",
    "GIR 0AA",
    "someone@example.org",
    "some.one+x@nhs.example.org",
    "mail: a_b@example.org.",
    "07700 900123",
    "07700900123",
    "07700 900 123",
    "07700-900-123",
    "020 7946 0018",
    "(020) 7946 0018",
    "02079460018",
    "0161 496 0018",
    "01632 960018",
    "+44 7700 900123",
    "+447700900123",
    "+44 (0)20 7946 0018",
    "0044 7700 900123",
    "+33 1 99 00 12 34",
    "+3531 496 0018",
    "call 07700 900123 at night",
    "9.990000018E9",
    "9.990000018E+9",
    "9.990000018e+09",
    "9.990000018E09",
    "9,990,000,018",
    "result 9,990,000,018.00",
    "9.990.000.018",
    "9 990 000 018",
    "9'990'000'018",
    "9_990_000_018",
    "9990-000018",
    "9990 000018",
    "999000:0018",
    "999:000:0018",
    "999_000_0018",
    "99.90000018E8",
    "0.9990000018E10",
    "0009990000018",
    "0000009990000018",
    "NHS-0009990000018",
    "447700900123",
    "441632960018",
    "T07700900123",
    "tel07700900123",
    "07700.900123",
    "07700/900123",
    "07700_900_123",
    "01632.960.018",
    "LA1-4RP",
    "LA1_4RP",
    "LA1.4RP",
    "la1-4rp",
    "SW1A.1AA",
    "SW1A_1AA",
    "M1/1AE",
    "QQ_123456_C",
    "QQ.12.34.56.C",
    "QQ/12/34/56/C",
    "AB123456C",
    "QQ123456C",
    "qq123456c",
    "QQ 12 34 56 C",
    "QQ-12-34-56-C",
    "NI QQ123456A.",
    "22MAR1953",
    "22Mar53",
    "22-Mar-1953",
    "22 March 1953",
    "22nd Sept 1953",
    "1953MAR22",
    "D22MAR1953",
    "DOB1953-03-22",
    "DOB 22/03/1953",
    "D.O.B. 22.03.53",
    "DOB:22031953",
    "seen, dob 22/3/53",
    "D1953-03-22",
    "b.22.03.1953",
    "born 22/3/1953",
    "MAR-22-1953",
    "MAR-22-53",
    "MARCH22-1953",
    "March221953",
    "March 22nd, 1953",
    "A1953_03_22",
    "A_1953:03:22",
    "A22:03:1953",
    "A22_03_1953",
    "D19530322",
    "B-22031953",
    "born19530322",
    "19530322120000",
    "195303221200",
    "19530322T0000",
]

HARMLESS = [
    "38341003",
    "1048071000000103",
    "1119304009",
    "9990000019",
    "1-999000007",
    "123456-7890",
    "J45.9",
    "E11.9",
    "W37.1",
    "G30yz",
    "G30..",
    "X20Ae",
    "XE2aA",
    "Xa1uP",
    "14B4.",
    "9Nu0.",
    "LA07H",
    "EB03A",
    "RXN01",
    "RW3MR",
    "P81001",
    "WD06",
    "R1290",
    "E01000001",
    "10*9/L",
    "mL/min/1.73m2",
    "mmol/mol",
    "142/88",
    "< 0.05",
    "0.1234567891",
    "10.0123456789",
    "37.0999999999",
    "0-100000000",
    "0-5 5-10 10-20",
    "01022024",
    "2024-01-01",
    "2024-01-01 10:00:00",
    *[f"2024-{month:02}-{day:02} 10:{day:02}:00" for month in range(1, 13) for day in (1, 7, 19, 28)],
    *[f"{day:02}/{month:02}/2024 10:{day:02}:0{month % 10}" for month in range(1, 13) for day in (1, 7, 19, 28)],
    "20240101",
    "20240101101112",
    "01/02/2024 10:30",
    "10:30",
    "5 @ 20 mg",
    "Vitamin B12 5mg",
    "Western Moor Hospitals NHS Trust",
    "Physical Support: Access & mobility only",
    "128045006:363698007=56459004",
    "1,234,567,890",
    "9.990000019E9",
    "9.990000018",
    "9.990000018E-09",
    "9.990000018E+10",
    "99,990,000,018",
    "9,990,000,01",
    "1.2E+09",
    "AB123456",
    "AB123456E",
    "ABC123456C",
    "AB1234567C",
    "14MAR",
    "MAR",
    "1MAY5",
    "9Mar.",
    "XaMar",
    "MARCH",
    "DEC10",
    "OCT4",
    "Jun-24",
    "3 monthly",
    "10 maraviroc 300mg tablets",
    "12 marks 10",
    "T20240101",
    "WL2024-01-05-13",
    "DOB",
    "DOB1",
    "22:03:19",
    "T22:03:19",
    "2024-01-01T22:03:19",
    "9.990.000.019",
    "1.2.840.113549",
    "2.16.840.1.113883.2.1.4.1",
    "192.168.100.200",
    "0.9990000018",
    "1.0009990000018",
    "0.9990000019E10",
    "0009990000019",
    "000000123456",
    "000999000018",
    "05012345678900",
    "9990.000018",
    "9990-000019",
    "1000-200001",
    "150-400",
    "1:160",
    "44054006",
    "44771000000103",
    "441000000103",
    "440000000000",
    "14100000000001",
    "19531000000105",
    "191000000107",
    "20240101120000",
    "D20241399",
    "D1953",
    "B19531301",
    "T20240101",
    "V20240101",
    "WD_12_34_56_A1",
    "WD-12-34-56",
    "A53.03.22",
    "10^9/L",
    "x10^9/L",
    "10*12/L",
    "g/24hr",
    "umol/24h",
    "L4/5",
    "L5-S1",
    "B12-500",
    "E11.9-1",
    "G30.1",
    "LA14-2",
    "LP12345-6",
    "2345-7",
    "0142/088",
    "01.02.2024",
    "012.34",
    "012/345",
    "7700900123",
    "MAR-22",
    "MAR22",
    "March-2024",
    "DEC2024",
    "Oct 2024",
    "MAY-5-B",
    "WL2024",
    "71620000+29857009",
    "",
]


def marks(session: SparkSession, texts: list[str]) -> list[bool]:
    rows = session.createDataFrame(list(enumerate(texts)), "i int, t string").select("i", identifies(F.col("t")).alias("found"))
    return [row["found"] for row in sorted(rows.toArrow().to_pylist(), key=lambda row: row["i"])]


def test_identifiers_are_found_in_every_form(sail: SparkSession) -> None:
    assert [text for text, found in zip(IDENTIFYING, marks(sail, IDENTIFYING), strict=True) if not found] == []


def test_codes_values_units_and_dates_are_not_taken_for_identifiers(sail: SparkSession) -> None:
    assert [text for text, found in zip(HARMLESS, marks(sail, HARMLESS), strict=True) if found] == []


GROUPINGS = [(10,), (3, 3, 4), (4, 3, 3), (5, 5), (1,) * 10, (3, 7), (6, 4)]
AROUND = st.sampled_from(["", " ", "NHS", "no. ", "(", ")", ": ", ", ", "; ", "/", "x", "\n"])


@st.composite
def planted(draw: st.DrawFn) -> tuple[str, bool]:
    """A text with ten digits in some grouping, and whether these are a valid number; no 0 begins it, as a telephone number."""
    digits = str(draw(st.sampled_from(NINES)))
    valid = draw(st.booleans())
    if not valid:
        digits = digits[:9] + str((int(digits[9]) + draw(st.integers(1, 9))) % 10)
    grouping = draw(st.sampled_from(GROUPINGS))
    between = draw(st.sampled_from([" ", "-", " - ", "/"]))
    parts, place = [], 0
    for length in grouping:
        parts.append(digits[place : place + length])
        place += length
    before, after = draw(AROUND), draw(AROUND)
    return f"{before}{between.join(parts)}{after}", valid


NINES = [int(number) for number in valid_numbers()[::997]]


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(planted(), min_size=50, max_size=50))
def test_only_numbers_with_the_right_check_digit_are_found(sail: SparkSession, texts: list[tuple[str, bool]]) -> None:
    found = marks(sail, [text for text, _ in texts])
    assert [text for (text, valid), was in zip(texts, found, strict=True) if was is not valid] == []


NAME = "Zephaniah Quackenbush"

CANARIES = [
    "9990000018",
    "ref 999 000 0018",
    "PR1 2AB",
    "07700 900123",
    "someone@example.org",
    NAME,
    NAME.upper(),
    "quackenbush",
    "QUACKENBUSH, Zephaniah",
    "Mrs Z Quackenbush",
    "14 Quackenbush Lane",
    "Flat 3, Quackenbush House",
    "She lives alone and her daughter rang about the asthma",
    "1957-03-12",
    "12/03/1957",
    "12 Mar 1957",
]
"""One of each kind; the first is the number of somebody else."""


def entities() -> Iterator[EntityOf]:
    return (EntityOf(contract, name) for contract in CONTRACTS.values() for name in contract.entities)


def silver_of(session: SparkSession, entity: EntityOf, values: list[dict[str, str]]) -> list[dict[str, Any]]:
    """The silver rows of delivered rows that hold some values and nothing else, all of one person, in their order."""
    own = "_provider string, _file string, _load_id string, _reason string, _line bigint, _row_hash bigint"
    bronze = [
        (*[row.get(name) for name in entity.spec.columns], "P1", "f", "L", None, line, line) for line, row in enumerate(values)
    ]
    decided = [("current", "f", line, f"k{line}", 1) for line in range(len(values))]
    dispositions = session.createDataFrame(
        decided, "disposition string, _file string, _line bigint, row_key string, person_id bigint"
    )
    frame = session.createDataFrame(bronze, ", ".join([*(f"`{name}` string" for name in entity.spec.columns), own]))
    rows: list[dict[str, Any]] = silver_rows(frame, dispositions, entity, PADS).toArrow().to_pylist()
    return sorted(rows, key=lambda row: int(row["row_key"][1:]))


@pytest.mark.parametrize("entity", list(entities()), ids=lambda entity: entity.table)
def test_no_kept_column_takes_anything_about_somebody_over(sail: SparkSession, entity: EntityOf) -> None:
    """Every kept column of every entity of every source; each value lost is named."""
    numbers = [name for name, column in entity.spec.columns.items() if not column.identifier and column.type in NUMBERS_KEPT]
    kept = [*entity.spec.kept_texts, *(name for name in numbers if name not in entity.spec.version)]
    made = silver_of(sail, entity, [dict.fromkeys(kept, canary) for canary in CANARIES])
    assert len(made) == len(CANARIES)
    for canary, row in zip(CANARIES, made, strict=True):
        assert [(canary, name) for name in kept if row[name] is not None] == []
        lost = {name for how in ("_flags", "_withheld") for name in (row[how] or "").split(",") if name}
        assert lost >= set(kept)


def test_a_number_of_somebody_is_withheld_from_columns_of_numbers(sail: SparkSession) -> None:
    theirs = ["9990000018", "9,990,000,018", "9.990000018E9", "-9990000018", "9990000018.0"]
    others = {"9990000019": 9990000019.0, "140000000000": 140000000000.0, "7.5": 7.5}
    delivered = [{"numeric_range_low": text, "numeric_range_high": "9.5"} for text in (*theirs, *others)]
    made = silver_of(sail, EntityOf(CONTRACTS["gp"], "observation"), delivered)
    assert [row["numeric_range_low"] for row in made] == [None] * 5 + list(others.values())
    assert [row["_withheld"] for row in made] == ["numeric_range_low"] * 5 + [None] * 3
    assert {row["numeric_range_high"] for row in made} == {9.5}


def open_columns(spec: Entity) -> list[str]:
    """The kept text columns of an entity that neither make its rows' keys nor decide about them."""
    return [name for name in spec.kept_texts if name not in spec.used_columns]


def test_planted_identifiers_reach_no_byte_of_the_deidentified_root(sail: SparkSession, tmp_path: Path) -> None:
    """Golden patients of all sources with canaries in their texts, through every stage and the gates.

    Each row comes twice: with canaries where they do not decide about it, and with one in every text, keys and flags included.
    """
    deliveries: dict[tuple[str, str], dict[str, list[Mapping[str, str]]]] = {}
    taken: dict[tuple[str, str], int] = {}
    cases = [case for case in golden_cases() if len(case.sources) == 1]
    people = {case.source: case for case in reversed(cases)}
    for case in people.values():
        for other in (other for other in cases if other.source == case.source):
            for row in other.rows:
                if taken.setdefault((row.source, row.entity), 0) >= 2:
                    continue
                taken[row.source, row.entity] += 1
                number = NUMBERS[list(people).index(case.source)]
                mine = {n: v.replace(other.nhs_number, number).replace(other.local_id, "L1") for n, v in row.values.items()}
                spec = CONTRACTS[row.source].entities[row.entity]
                canaries = {
                    n: CANARIES[(i + taken[row.source, row.entity]) % len(CANARIES)] for i, n in enumerate(spec.kept_texts)
                }
                open_canaries = {n: canaries[n] for n in open_columns(spec)}
                rows = deliveries.setdefault((row.source, row.provider), {}).setdefault(row.entity, [])
                rows += [mine | open_canaries, mine | canaries]
    run, report = loaded(sail, tmp_path, demo_vocabulary(sail, tmp_path / "vocabulary"), deliveries)
    assert len({entity for tables in deliveries.values() for entity in tables}) > 30
    planted = {"grouped": {"999 000 0018"}, "postcode": {"PR1 2AB"}, "phone": {"07700 900123"}}
    planted |= {"name": {"Quackenbush", "Zephaniah"}, "birth date": {"12/03/1957", "12 Mar 1957"}}
    needles = needles_of(planted | {"number": {"9990000018", *NUMBERS}})
    assert findings(needles, run.settings.storage.restricted / "bronze")
    assert findings(needles, tmp_path / "deidentified") == []
    by_rule = [result for result in report.results if result.check.rule is Rule.CONTENTS]
    assert len(by_rule) > 10
    assert all(result.passed for result in by_rule)
    assert [result for result in report.warnings if result.check.rule is Rule.WITHHELD]
