"""Column expressions on values that providers really send, with every expectation written out."""

import hashlib
import hmac
from collections.abc import Sequence

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.choices import first_true, is_true, once
from pipelines.columns.keyed import Pads, hmac_hex, id_of, message_of, message_of_known, row_key
from pipelines.columns.nhs_number import digits_of, is_in_test_range, is_valid
from pipelines.columns.text import is_one_of, names_nobody, postcode_area, trimmed
from pipelines.contracts.derived import published_tables
from pipelines.governance.keys import Key, hmac_pads
from pipelines.governance.nhs_numbers import nhs_number_in
from pipelines.ingest.empty_values import is_empty
from pipelines.omop.conform import conform


def evaluated(session: SparkSession, texts: Sequence[str | None], expression: Column) -> list[object]:
    """The expression over a column `t` of texts, in their order."""
    return in_order(numbered(session, texts), expression)


def numbered(session: SparkSession, texts: Sequence[str | None]) -> DataFrame:
    """Texts as a column `t`, with their places as `i`."""
    return session.createDataFrame(list(enumerate(texts)), "i int, t string")


def in_order(numbered_texts: DataFrame, expression: Column) -> list[object]:
    """The expression over numbered texts, in their order."""
    rows = numbered_texts.select("i", expression.alias("value"))
    return [row["value"] for row in sorted(rows.toArrow().to_pylist(), key=lambda row: row["i"])]


def test_the_first_true_condition_chooses(sail: SparkSession) -> None:
    texts = ["a", "ab", "b", "c", None]
    t = F.col("t")
    cases = [(t.contains("b"), F.lit("has b")), (t.startswith("a"), F.lit("begins with a"))]
    assert evaluated(sail, texts, first_true(cases, t)) == ["begins with a", "has b", "has b", "c", None]
    assert evaluated(sail, texts, first_true(cases)) == ["begins with a", "has b", "has b", None, None]
    assert evaluated(sail, texts, first_true([], t)) == texts
    assert evaluated(sail, texts, first_true([(t.isNull(), F.lit("none"))], F.upper(t))) == ["A", "AB", "B", "C", "none"]


def test_a_condition_that_is_null_is_not_true(sail: SparkSession) -> None:
    assert evaluated(sail, ["a", "b", None], is_true(F.col("t") == "a")) == [True, False, False]
    assert evaluated(sail, ["a", "b", None], ~is_true(F.col("t") == "a")) == [False, True, True]


def test_a_value_that_is_named_several_times_is_one_value(sail: SparkSession) -> None:
    doubled = once(F.upper("t"), lambda text: F.when(text == "A", F.concat(text, text, F.col("i"))).otherwise(text))
    assert evaluated(sail, ["a", "b", None], doubled) == ["AA0", "B", None]


IDENTIFIERS = {
    "nobody": ("UNKNOWN", "Unknown Unknown", "unknown-male", "Not known", "NOT_KNOWN", "N/K", "nk", "N/A", "Anon", "UNK"),
    "nobody either": ("0", "000000", "0.0", "00-00", "-", "???", "X", "xxxx", "Not recorded", "NO ID", "TBC", "unidentified"),
    "nobody in other words": (
        *("undefined", "Missing", "[unknown]", "(null null)", "not provided", "NOT FOUND", "No NHS number", "Redacted"),
        *("*unborn*", "Baby", "test patient", "DUMMY", "temp", "TBA", "n.a.", "None recorded", "xxxx-xxxx", "untraced"),
        "{00000000-0000-0000}",
        *("#REF!", "#VALUE!", "#DIV/0!", "#name?", "#NULL!", "nan", "NaN", "<NA>"),
    ),
    "many": ("9.43E+09", "1E+05", "1.23457e+11", "'9.99E+09"),
    "somebody": (
        "1",
        "10",
        "0012",
        "A0",
        "NK1",
        "UNKNOWN7",
        "X1",
        "NA123",
        "anon-4",
        "K-0",
        "Nilson",
        "Newman",
        "test1",
        "TEMP-3",
        "Tempest",
        "0a",
        "{0000-0001}",
        "00A0",
        "9",
        "tbc1",
        "9.430000018E+09",
        "1E05",
        "E+05",
        None,
    ),
}
"""Local identifiers as providers send them, by whom they name."""


def test_what_stands_in_place_of_an_identifier_names_nobody(sail: SparkSession) -> None:
    for whom, written in IDENTIFIERS.items():
        expected = [None if text is None else whom != "somebody" for text in written]
        assert evaluated(sail, written, names_nobody(F.col("t"))) == expected, whom


SOURCE_VALUES = {
    "Same day\r\nemergency care": "Same day emergency care",
    "one\ttwo\u2028three\x07": "one two three",
    "Fall from a ladder, landed on the left side of it again": "Fall from a ladder, landed on the left side of it",
    f"{'x' * 49}\n{'y' * 9}": "x" * 49,
    "x" * 51: "x" * 50,
    "caf\u00e9 \u00b5g": "caf\u00e9 \u00b5g",
    "plain": "plain",
    None: None,
}
"""What is published of texts in a column of 50 characters."""


def test_source_values_are_of_one_line_and_end_where_their_words_do(sail: SparkSession) -> None:
    table = published_tables("5.4")["observation"]
    texts = ("observation_source_value", "unit_source_value", "value_as_string")
    rows = conform(
        numbered(sail, list(SOURCE_VALUES)), {"observation_id": F.col("i")} | dict.fromkeys(texts, F.col("t")), table
    )
    found = sorted(rows.select("observation_id", *texts).toArrow().to_pylist(), key=lambda row: row["observation_id"])
    assert [row["observation_source_value"] for row in found] == list(SOURCE_VALUES.values())
    assert [row["unit_source_value"] for row in found] == list(SOURCE_VALUES.values())
    assert [row["value_as_string"] for row in found] == [text and text[:60] for text in SOURCE_VALUES]


def test_texts_for_a_missing_value_are_null(sail: SparkSession) -> None:
    missing = ["", "  ", "NULL", "null", "n/a", "N/A", "#N/A", " #n/a ", "None", "NONE\r\n", None]
    missing += ["\\N", "(null)", "[NULL]", "<null>", "\x00\x00", "'", "''", " '\u00a0", "'NULL"]
    there = {"\u00a0x\t": "x", " y ": "y", "nulls": "nulls", "a none": "a none", "n a": "n a", "##N/A": "##N/A", "0": "0"}
    there |= {text: text for text in ("-", ".", "NA", "NaN", "N", "\\n\\n", "#REF!", "(nulls)", "O'", "a'b")} | {"A1\x00": "A1"}
    there |= {"'0123": "0123", "\u00a0'0123\u00a0": "0123", "' 0123": "0123", "'0'": "0'"}
    assert evaluated(sail, missing, trimmed(F.col("t"))) == [None] * len(missing)
    assert evaluated(sail, list(there), trimmed(F.col("t"))) == list(there.values())
    assert is_empty(pa.array([*missing, *there])).to_pylist() == [True] * len(missing) + [False] * len(there)


def test_flags_compare_without_case_and_a_missing_value_raises_none(sail: SparkSession) -> None:
    assert evaluated(sail, ["true", " TRUE ", "1", "", None], is_one_of(trimmed(F.col("t")), ("TRUE", "1"))) == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_values_of_lists_compare_without_regard_to_how_their_words_are_joined(sail: SparkSession) -> None:
    texts = ["entered-in-error", "Entered in error", "ENTERED_IN_ERROR", "entered  in\u00a0error", "Entered\u2013in\u2013Error"]
    others = ["entered", "in error", "error entered in", "no", "", None]
    listed = is_one_of(trimmed(F.col("t")), ("entered-in-error", "void"))
    assert evaluated(sail, [*texts, *others], listed) == [True] * len(texts) + [False] * len(others)
    assert evaluated(sail, ["", None, "final", "void"], is_one_of(trimmed(F.col("t")), ("", "Final"))) == [
        True,
        True,
        True,
        False,
    ]


def test_a_postcode_gives_its_area_only(sail: SparkSession) -> None:
    areas = {
        "PR1 2AB": "PR",
        "pr12ab": "PR",
        "EC1A 1BB": "EC",
        "M1 1AA": "M",
        "PR1  2AB": "PR",
        "M1   1AA": "M",
        "M1\u00a01AA": "M",
        "PR1\t2AB": "PR",
        "PR1\u20032AB": "PR",
        "PR1-2AB": "PR",
        "PR 1 2AB.": "PR",
        "S W 1 A 1 A A": "SW",
    }
    none = ["ZZ99 3VZ", "PR1", "nowhere", None, "PR1 2", "PR1 2AB, England", "PR1,2AB", "GIR 0AA"]
    assert evaluated(sail, [*areas, *none], postcode_area(F.col("t"))) == [*areas.values(), *[None] * len(none)]


def test_nhs_numbers_are_checked_by_modulus_11_and_placeholders_are_none(sail: SparkSession) -> None:
    expected = {
        "9434765919": True,
        "943 476 5919": True,
        "943-476-5919": True,
        "4505577104": True,
        "9990000018": True,
        "9990000018.0": True,
        "9990000018.00": True,
        "'9990000018": True,
        "\u2019999 000 0018\u2019": True,
        "999\u200d000\u200b0018": True,
        "\ufeff999\u00a0000\u202f0018": True,
        "999\u2013000\u20110018": True,
        "999\t000\u30000018": True,
        "9.990000018E+09": True,
        "9.990000018e9": True,
        "9.99000002E+09": False,
        "9.99E+09": False,
        "999/000/0018": True,
        "9990/000/018": False,
        "9434765918": False,
        "9990000001": False,
        "0000000000": False,
        "9999999999": False,
        "1000000001": False,
        "123": False,
        "ABCDEFGHIJ": False,
    }
    digits = digits_of(F.col("t"))
    assert evaluated(sail, [*expected, None], is_valid(digits)) == [*expected.values(), False]
    assert evaluated(sail, ["401023213", "9990000018", "4505577104"], digits) == ["0401023213", "9990000018", "4505577104"]
    assert evaluated(sail, ["9990000018", "4505577104"], is_in_test_range(digits)) == [True, False]


SPELLINGS = (
    *("9990000018", " 999 000 0018 ", "999-000-0018", "999\u2011000\u20130018", "'9990000018", "\u20189990000018\u2019"),
    *('="9990000018"', "=9990000018", '"9990000018"', "9990000018.0", "9990000018.000", "9990000018.", "9.990000018E9"),
    *("9.990000018E+09", "9990000018\u200e", "\ufeff9990000018", "999\u00a0000\u20090018", "9990000018\u00ad", "9990000018\r"),
    *("\u201c9990000018\u201d", "9990000018\x00", "009990000018", "000 999 000 0018", "000009990000018.0"),
    *("\u202a9990000018\u202c", "\u20669990000018\u2069", "999.000.0018", "999 / 000 / 0018", "999_000_0018"),
    *("9,990,000,018", "9,990,000,018.00"),
)
NO_SPELLINGS = (
    *("99900000180", "999000001", "9.99E+09", "9.99000002E+09", "NHS9990000018", "9990000018/1", "999.0000018", "0000000000"),
    *("999,000,0018", "99.900.00018", "999.000.0019", "9,990,000,01", "9,99,00,00,018", "999.000.0018.0"),
    *("10009990000018", "00999000001", "09990000018"),
    *("9990000019", "\uff19\uff19\uff19\uff10\uff10\uff10\uff10\uff10\uff11\uff18", "(9990000018)", "+9990000018", ""),
    *("-", '=""'),
)


def test_a_number_has_one_reading_in_deliveries_and_on_opt_out_lists(sail: SparkSession) -> None:
    texts = [*SPELLINGS, *NO_SPELLINGS]
    digits = digits_of(F.col("t"))
    delivered = evaluated(sail, texts, F.when(is_valid(digits), digits))
    assert delivered == [nhs_number_in(text) for text in texts]
    assert delivered == ["9990000018"] * len(SPELLINGS) + [None] * len(NO_SPELLINGS)


@given(st.lists(st.text("0159.,/eE+'\"= -\u200e\u2011\u00a0x", max_size=16), min_size=50, max_size=200))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_the_same_number_or_none_in_both(sail: SparkSession, texts: list[str]) -> None:
    written = [*texts, *[f"99900{text}00018" for text in texts]]
    digits = digits_of(F.col("t"))
    assert evaluated(sail, written, F.when(is_valid(digits), digits)) == [nhs_number_in(text) for text in written]


JEFE = b"Jefe".ljust(64, b"\0")
RFC_4231_CASE_2 = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


def test_hmac_is_that_of_rfc_4231(sail: SparkSession) -> None:
    pads = Pads({"row": (bytes(b ^ 0x36 for b in JEFE), bytes(b ^ 0x5C for b in JEFE))})
    frame = pads.joined_to(sail.createDataFrame([("what do ya want for nothing?",)], "t string"))
    assert frame.select(hmac_hex(F.col("t"), "row").alias("h")).toArrow().to_pylist() == [{"h": RFC_4231_CASE_2}]


def test_hmac_of_columns_equals_that_of_python_and_the_key_stays_out_of_the_plan(
    sail: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    key = Key(bytes(range(40)))
    pads = Pads({"row": hmac_pads(key)})
    texts = ["", "a", "Zo\u00eb", "x" * 200]
    frame = pads.joined_to(sail.createDataFrame(list(enumerate(texts)), "i int, t string"))
    hashed = frame.select("i", hmac_hex(F.col("t"), "row").alias("h"))
    found = {row["i"]: row["h"] for row in hashed.toArrow().to_pylist()}
    assert [found[i] for i in range(4)] == [hmac.new(key.material, t.encode(), hashlib.sha256).hexdigest() for t in texts]
    hashed.explain(True)
    plan = capsys.readouterr().out
    inner, outer = hmac_pads(key)
    assert not [secret for secret in (key.material, inner, outer) if secret.hex() in plan or str(secret)[2:-1] in plan]


def test_parts_of_a_name_cannot_be_mistaken_for_one_another(sail: SparkSession) -> None:
    rows = [("a", None, "b"), ("a", "b", None), ("a", "", "b"), ("ab", None, ""), ("a1:b", None, None)]
    frame = sail.createDataFrame(rows, "x string, y string, z string")
    names = frame.select(message_of([F.col(name) for name in "xyz"]).alias("m")).toArrow()["m"].to_pylist()
    assert names == ["1:a-:1:b", "1:a1:b-:", "1:a0:1:b", "2:ab-:0:", "4:a1:b-:-:"]
    named = frame.select(message_of_known([F.col(name) for name in "xyz"]).alias("m")).toArrow()["m"].to_pylist()
    assert named == [None, None, "1:a0:1:b", None, None]


def test_row_keys_differ_by_source_entity_provider_and_key_and_ids_stay_below_2_to_the_52(sail: SparkSession) -> None:
    pads = Pads({"row": hmac_pads(Key(bytes(range(40))))})
    frame = pads.joined_to(sail.createDataFrame([("P1", "1"), ("P2", "1"), ("P1", "2")], "p string, k string"))
    named = (("gp", "a"), ("gp", "b"), ("mh", "a"))
    keys = [row_key(message_of([F.lit(source), F.lit(entity), F.col("p"), F.col("k")])) for source, entity in named]
    made = frame.select(F.explode(F.array(*keys)).alias("key")).select("key", id_of(F.col("key")).alias("id"))
    rows = made.toArrow().to_pylist()
    assert len({row["key"] for row in rows}) == len({row["id"] for row in rows}) == 9
    assert {len(row["key"]) for row in rows} == {32}
    assert all(0 < row["id"] < 2**52 for row in rows)
