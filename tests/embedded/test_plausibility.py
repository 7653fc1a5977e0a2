"""What cannot be: which rule a mapped row breaks, and what of it is still published."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.errors import ContractError
from pipelines.mapping.compile import HAS_OTHER_DAY, JUDGEMENT, kept_schema
from pipelines.mapping.plausibility import (
    BIRTH_YEARS,
    Action,
    AmountRule,
    flagged_counts,
    judged,
    load_plausibility,
    set_aside_rows,
    sound,
)
from pipelines.mapping.spec import Target
from pipelines.omop.drugs import with_course, with_latest_end
from pipelines.omop.events import drug_end_date, drug_end_rule
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from vocab.schemas import ddl_of

RULES = load_plausibility(PACKAGED_MAPPINGS_DIR)
EXTRACTED = date(2026, 1, 5)
BORN = 1950


def day(text: str) -> date:
    return date.fromisoformat(text)


def mapped(session: SparkSession, target: Target, rows: list[dict[str, Any]]) -> DataFrame:
    """Mapped rows of somebody born in BORN whose file was extracted on EXTRACTED, unless a row says otherwise."""
    years = {} if target is Target.PERSON else BIRTH_YEARS
    schema = kept_schema(target) | {"_extracted_on": "date"} | years
    common = {"_extracted_on": EXTRACTED, "first_birth_year": BORN, "last_birth_year": BORN, "person_id": 1}
    return session.createDataFrame(
        [tuple((common | {"_row_key": str(place)} | row).get(name) for name in schema) for place, row in enumerate(rows)],
        ddl_of(schema),
    )


def found(session: SparkSession, target: Target, rows: list[dict[str, Any]], *columns: str) -> list[tuple[Any, ...]]:
    """The judgement of each row, and some columns of what is published of it."""
    seen = judged(mapped(session, target, rows), target, RULES).select("_row_key", "_set_aside", "_flagged", *columns)
    return [tuple(row)[1:] for row in sorted(seen.collect(), key=lambda row: int(row._row_key))]


STARTS = [
    ("2026-01-05", None),  # on the day of the extract
    ("2026-01-06", "start_after_extract"),
    ("2026-02-01", "start_after_extract"),
    ("2064-01-01", "start_after_extract"),
    ("2099-12-31", "start_after_extract"),
    ("9999-12-31", "start_after_extract"),
    ("1950-01-01", None),
    ("1949-12-31", None),  # born in the year that follows: antenatal care
    ("1949-03-27", None),  # 280 days before 1 January
    ("1949-03-26", "before_birth"),
    ("1900-01-01", "before_birth"),
    ("1753-01-01", "before_birth"),
    ("0202-03-04", "before_birth"),
    ("0001-01-01", "before_birth"),
]


@pytest.mark.parametrize("target", [Target.EVENT, Target.VISIT, Target.VISIT_DETAIL, Target.EPISODE])
def test_what_starts_after_its_extract_or_long_before_birth_is_set_aside(sail: SparkSession, target: Target) -> None:
    rows = [{"start_date": day(start)} for start, _ in STARTS]
    assert found(sail, target, rows) == [(rule, None) for _, rule in STARTS]


def test_a_moment_after_the_extract_counts_like_a_day(sail: SparkSession) -> None:
    """The midnight at which the day of the extract ends is of that day: it was delivered as 24:00."""
    judgements = [
        (datetime(2026, 1, 5, 0, 0), None),
        (datetime(2026, 1, 5, 23, 59), None),
        (datetime(2026, 1, 6, 0, 0), None),
        (datetime(2026, 1, 6, 0, 1), "start_after_extract"),
        (datetime(2026, 1, 7, 0, 0), "start_after_extract"),
    ]
    rows = [{"start_date": day("2026-01-05"), "start_datetime": moment} for moment, _ in judgements]
    assert found(sail, Target.EVENT, rows) == [(rule, None) for _, rule in judgements]
    next_day = {"start_date": day("2026-01-06"), "start_datetime": datetime(2026, 1, 6, 0, 0)}
    assert found(sail, Target.EVENT, [next_day]) == [("start_after_extract", None)]


def test_a_file_of_an_unknown_day_is_judged_by_birth_alone(sail: SparkSession) -> None:
    rows = [{"start_date": day(start), "_extracted_on": None} for start in ("2024-01-01", "0202-03-04")]
    assert found(sail, Target.EVENT, rows) == [(None, None), ("before_birth", None)]


DEATHS = [
    ("2025-02-02", 1950, None),
    ("1950-01-01", 1950, None),
    ("1949-12-31", 1950, "death_before_birth"),
    ("1924-06-01", 1950, "death_before_birth"),
    ("0202-03-04", 1950, "death_before_birth"),
    ("2026-01-06", 1950, "start_after_extract"),
    ("2099-01-01", 1950, "start_after_extract"),
    ("2020-06-01", 1900, None),  # 120
    ("2021-06-01", 1900, "age_above"),
    ("1992-01-01", 1880, None),  # long dead, at 112
]


def test_deaths(sail: SparkSession) -> None:
    rows = [{"death_date": day(on), "first_birth_year": born, "last_birth_year": born} for on, born, _ in DEATHS]
    assert found(sail, Target.DEATH, rows) == [(rule, None) for _, _, rule in DEATHS]


PEOPLE = [
    (1850, "born_long_ago"),
    (1875, "born_long_ago"),
    (1876, None),
    (1900, None),
    (2026, None),
    (2027, "born_after_extract"),
    (2064, "born_after_extract"),
    (202, "born_long_ago"),
    (1, "born_long_ago"),
    (9999, "born_after_extract"),
    (None, None),
]


def test_people(sail: SparkSession) -> None:
    assert found(sail, Target.PERSON, [{"year_of_birth": year} for year, _ in PEOPLE]) == [(rule, None) for _, rule in PEOPLE]


def test_doubt_about_the_year_of_birth_is_in_favour_of_the_row(sail: SparkSession) -> None:
    years = [(1950, 1950), (1900, 1950), (1850, 1850)]
    rows = [
        {"start_date": day(start), "first_birth_year": first, "last_birth_year": last}
        for start in ("2024-01-01", "1930-01-01")
        for first, last in years
    ]
    expected = [None, None, "age_above", "before_birth", None, None]
    assert found(sail, Target.EVENT, rows) == [(rule, None) for rule in expected]


@pytest.mark.parametrize(("target", "field"), [(Target.EVENT, "start_date"), (Target.DEATH, "death_date")])
def test_a_day_that_was_not_believed_is_flagged(sail: SparkSession, target: Target, field: str) -> None:
    rows = [{field: day("2025-12-01"), HAS_OTHER_DAY: has_other} for has_other in (True, False, None)]
    assert found(sail, target, rows, field) == [
        (None, "day_not_believed", day("2025-12-01")),
        (None, None, day("2025-12-01")),
        (None, None, day("2025-12-01")),
    ]


ENDS = [
    ("2026-01-05", None, "2026-01-05"),
    ("2026-01-06", "end_after_extract", None),
    ("2064-03-08", "end_after_extract", None),
    ("9999-12-31", "end_after_extract", None),
    ("2025-12-01", None, "2025-12-01"),
    ("2025-11-30", "end_before_start", "2025-11-30"),
    ("2024-12-01", "end_before_start", "2024-12-01"),
    ("0202-01-01", "end_before_start", "0202-01-01"),
    (None, None, None),
]


@pytest.mark.parametrize("target", [Target.EVENT, Target.VISIT, Target.VISIT_DETAIL, Target.DEATH])
def test_an_end_or_death_at_the_midnight_after_the_extract_is_of_its_day(sail: SparkSession, target: Target) -> None:
    """A moment that is one value with its day: delivered as 24:00 of the day of the extract, of the day before, and later."""
    name = "death" if target is Target.DEATH else "end"
    midnights = [datetime(2026, 1, number) for number in (6, 5, 7)]
    later = datetime(2026, 1, 6, 0, 1)
    rows = [
        {"start_date": day("2025-12-01"), f"{name}_date": moment.date(), f"{name}_datetime": moment}
        for moment in (*midnights, later)
    ]
    seen = [shown[2:] for shown in found(sail, target, rows, f"{name}_date", f"{name}_datetime")]
    assert seen[:2] == [(day("2026-01-05"), midnights[0]), (day("2026-01-05"), midnights[1])]
    broken = [[rule for rule in row[:2] if rule] for row in found(sail, target, rows)]
    after = "start_after_extract" if target is Target.DEATH else "end_after_extract"
    assert broken == [[], [], [after], [after]]


@pytest.mark.parametrize("target", [Target.EVENT, Target.EPISODE, Target.OBSERVATION_PERIOD])
def test_an_end_after_the_extract_is_flagged_and_not_published(sail: SparkSession, target: Target) -> None:
    rows = [{"start_date": day("2025-12-01"), "end_date": day(end) if end else None} for end, _, _ in ENDS]
    expected = [(None, flag, day(shown) if shown else None) for _, flag, shown in ENDS]
    assert found(sail, target, rows, "end_date") == expected


@pytest.mark.parametrize("target", [Target.VISIT, Target.VISIT_DETAIL])
def test_a_visit_that_ends_after_the_extract_ends_when_it_starts(sail: SparkSession, target: Target) -> None:
    start, moment = day("2025-12-01"), datetime(2025, 12, 1, 9, 30)
    rows = [
        {"start_date": start, "start_datetime": moment, "end_date": day("2064-03-08"), "end_datetime": datetime(2064, 3, 8)},
        {"start_date": start, "start_datetime": moment, "end_date": start, "end_datetime": datetime(2064, 3, 8)},
        {"start_date": start, "end_date": day("2025-12-04")},
    ]
    late = (None, "end_after_extract", start, moment)
    assert found(sail, target, rows, "end_date", "end_datetime") == [late, late, (None, None, day("2025-12-04"), None)]


def test_a_drug_is_not_taken_after_the_extract(sail: SparkSession) -> None:
    """Delivered end, days supplied: what is published as end, verbatim end, and by which rule."""
    rows: list[dict[str, Any]] = [
        {"start_date": day("2025-12-20"), "end_date": day("2025-12-31"), "verbatim_end_date": day("2025-12-31")},
        {"start_date": day("2025-12-20"), "end_date": day("2064-01-01"), "verbatim_end_date": day("2064-01-01")},
        {"start_date": day("2025-12-20"), "end_date": day("2064-01-01"), "days_supply": 7},
        {"start_date": day("2025-12-20"), "days_supply": 28},
        {"start_date": day("2026-01-05"), "days_supply": 28},
        {"start_date": day("2025-12-20")},
    ]
    given = {"_target_concept_id": F.lit(0), "_source": F.lit("gp"), "_provider": F.lit("P1")}
    seen = judged(mapped(sail, Target.EVENT, rows), Target.EVENT, RULES).withColumns(given)
    strength = "drug_concept_id bigint, amount_value double, amount_unit_concept_id bigint, invalid_reason string"
    strengths, deaths = sail.createDataFrame([], strength), sail.createDataFrame([], "person_id bigint, death_date date")
    extracts = seen.select("_source", "_provider", F.col("_extracted_on").alias("_known_until")).distinct()
    ends = (
        with_course(with_latest_end(seen, deaths, extracts), strengths, seen)
        .select("_row_key", drug_end_date().alias("end"), drug_end_rule().alias("rule"), "verbatim_end_date")
        .collect()
    )
    assert [tuple(row)[1:] for row in sorted(ends, key=lambda row: int(row[0]))] == [
        (day("2025-12-31"), "delivered", day("2025-12-31")),
        (day("2025-12-20"), "same_day", None),
        (day("2025-12-26"), "days_supplied", None),
        (day("2026-01-05"), "days_supplied", None),
        (day("2026-01-05"), "days_supplied", None),
        (day("2025-12-20"), "same_day", None),
    ]


VALUES = [
    ("cm", -1.0, None, "negative_length"),
    ("CM", -0.1, None, "negative_length"),
    ("metres", -1.7, None, "negative_length"),
    ("cm", 0.0, None, None),
    ("cm", 172.5, None, None),
    ("kg", -70.0, None, "negative_mass"),
    ("kg", 70.0, None, None),
    ("/min", -60.0, "negative_rate", None),
    ("beats/min", -1.0, "negative_rate", None),
    ("/min", 60.0, None, None),
    ("%", 1000.0, None, None),
    ("%", 1000.5, None, "percentage_out_of_range"),
    ("%", -100.5, None, "percentage_out_of_range"),
    ("%", -3.0, None, None),
    ("mmol/L", -2.5, None, None),  # base excess
    (None, -5.0, None, None),
    ("cm", None, None, None),
]


def test_values_are_judged_by_what_their_unit_can_be(sail: SparkSession) -> None:
    rows = [{"start_date": day("2025-12-01"), "unit_code": unit, "value_as_number": value} for unit, value, _, _ in VALUES]
    assert found(sail, Target.EVENT, rows) == [(aside, flag) for _, _, aside, flag in VALUES]


AMOUNTS = [
    # quantity and days as delivered, the flag, and both as published
    (28.0, 28, None, 28.0, 28),
    (0.0, 28, "quantity_not_positive", None, 28),
    (-28.0, None, "quantity_not_positive", None, None),
    (0.05, 1, None, 0.05, 1),
    (28.0, 0, "days_supply_out_of_range", 28.0, None),
    (28.0, -1, "days_supply_out_of_range", 28.0, None),
    (28.0, 3650, None, 28.0, 3650),
    (28.0, 9999, "days_supply_out_of_range", 28.0, None),
    (0.0, 0, "quantity_not_positive", None, None),
    (None, None, None, None, None),
]


def test_an_amount_that_cannot_be_is_counted_and_not_published(sail: SparkSession) -> None:
    rows = [{"start_date": day("2025-12-01"), "quantity": amount, "days_supply": days} for amount, days, *_ in AMOUNTS]
    assert found(sail, Target.EVENT, rows, "quantity", "days_supply") == [
        (None, flag, amount, days) for _, _, flag, amount, days in AMOUNTS
    ]


def test_every_rule_on_an_amount_counts(sail: SparkSession) -> None:
    bounds = {"too_few": {"least": 1.0}, "too_many": {"most": 90.0}}
    amounts = {name: AmountRule(action=Action.FLAG, field="days_supply", note="", **bound) for name, bound in bounds.items()}
    rows = mapped(sail, Target.EVENT, [{"start_date": day("2025-12-01"), "days_supply": days} for days in (0, 28, 91)])
    seen = judged(rows, Target.EVENT, RULES.model_copy(update={"amounts": amounts})).select("_flagged", "days_supply")
    assert {tuple(row) for row in seen.collect()} == {("too_few", None), (None, 28), ("too_many", None)}


TEXTS: list[tuple[str | None, float | None, str | None, str | None]] = [
    # delivered value, its number, the code of a value, the flag
    ("98.6 F", None, None, "unit_unclear"),
    ("<180 lb", None, None, "unit_unclear"),
    ("7.2 L", None, None, "unit_unclear"),
    ("81 kg", 81.0, None, None),
    ("5-10", None, None, "number_not_read"),
    ("7,2", None, None, "number_not_read"),
    ("~7", None, None, "number_not_read"),
    ("1/2", None, None, "number_not_read"),
    ("120/80 mmHg", None, None, "number_not_read"),
    ("120/80", 80.0, None, None),
    ("3 or more", None, None, "number_not_read"),
    ("15/15", None, None, "number_not_read"),
    ("GCS 15", None, None, "number_not_read"),
    ("Score: 12", None, None, "number_not_read"),
    ("less than 5", None, None, "number_not_read"),
    ("GCS 15/15", 15.0, None, None),
    ("Grade 3", None, "Grade 3", None),
    ("9.1", 9.0, None, "numbers_differ"),
    ("9.1", 10.0, None, "numbers_differ"),
    ("9.0", 9.0, None, None),
    ("<9", 9.0, None, None),
    ("248234008", 1.0, None, None),  # alert: a code, and what it counts
    ("1+", None, "+", None),
    ("9", None, None, None),  # not known, on a scale of HoNOS
    ("21", None, None, None),  # a code
    ("Positive", None, None, None),
    ("++", None, None, None),
    (None, None, None, None),
]


def test_values_with_a_number_which_was_not_read_or_is_another_one_are_counted(sail: SparkSession) -> None:
    rows = [
        {"start_date": day("2025-12-01"), "value_source_value": text, "value_as_number": number, "value_code": code}
        for text, number, code, _ in TEXTS
    ]
    assert found(sail, Target.EVENT, rows) == [(None, flag) for _, _, _, flag in TEXTS]


def test_sound_rows_and_counts_are_all_rows(sail: SparkSession) -> None:
    place = {"_source": "gp", "_entity": "entry", "_rule": "r"}
    starts = [*["2024-01-01"] * 3, "2099-01-01", "2099-01-01", "0202-03-04"]
    rows = [place | {"start_date": day(start), "end_date": day("2024-01-01")} for start in starts]
    rows.append(place | {"start_date": day("2024-02-01"), "end_date": day("2024-01-01")})
    seen = judged(mapped(sail, Target.EVENT, rows), Target.EVENT, RULES)
    assert sound(seen).count() == 4
    aside = set_aside_rows([seen, seen]).groupBy("source", "entity", "rule", "reason").count().collect()
    assert sorted(tuple(row) for row in aside) == [
        ("gp", "entry", "r", "implausible:before_birth", 2),
        ("gp", "entry", "r", "implausible:start_after_extract", 4),
    ]
    flagged = flagged_counts([seen, seen]).select("source", "entity", "rule", "reason", "rows").collect()
    assert [tuple(row) for row in flagged] == [("gp", "entry", "r", "implausible:end_before_start", 2)]


dates = st.one_of(st.none(), st.dates(date(1, 1, 1), date(9999, 12, 31)), st.dates(date(2025, 6, 1), date(2026, 6, 1)))
moments = st.one_of(st.none(), st.dates(date(1800, 1, 1), date(2200, 1, 1)), st.dates(date(2025, 6, 1), date(2026, 6, 1)))


@settings(max_examples=6, deadline=None)
@given(st.lists(st.tuples(st.dates(date(1900, 1, 1), date(2030, 1, 1)), dates, dates, moments), min_size=40, max_size=60))
def test_no_published_day_is_after_the_extract(
    sail: SparkSession, given_days: list[tuple[date, date | None, date | None, date | None]]
) -> None:
    rows: list[dict[str, Any]] = [
        {"start_date": start, "end_date": end, "verbatim_end_date": verbatim}
        | {"end_datetime": datetime(later.year, later.month, later.day, 12) if later else None}
        for start, end, verbatim, later in given_days
    ]
    published = sound(judged(mapped(sail, Target.EVENT, rows), Target.EVENT, RULES)).collect()
    assert [int(row._row_key) for row in published] == [
        place for place, (start, *_) in enumerate(given_days) if date(1949, 3, 27) <= start <= EXTRACTED
    ]
    for row in published:
        _, end, verbatim, later = given_days[int(row._row_key)]
        is_late = max(end or EXTRACTED, later or EXTRACTED) > EXTRACTED
        assert row.end_date == (None if is_late else end)
        assert (row.end_datetime is None) == (is_late or later is None)
        assert row.verbatim_end_date == (verbatim if verbatim and verbatim <= EXTRACTED else None)


def test_what_is_judged_ends_with_the_judgement(sail: SparkSession) -> None:
    seen = judged(mapped(sail, Target.EVENT, [{"start_date": EXTRACTED - timedelta(1)}]), Target.EVENT, RULES)
    assert seen.columns[-3:] == list(JUDGEMENT)


WRONG = [
    ({"start_after_extract": {"action": "flag"}}, "only set_aside"),
    ({"start_after_extract": {"to": ["event"]}}, "start_after_extract: visit is missing"),
    ({"end_after_extract": {"to": ["event", "visit"]}}, "end_after_extract: episode is missing"),
    ({"age_above": {"years": None}}, "age_above: give years"),
    ({"before_birth": {"years": 3}}, "before_birth: has no years"),
    ({"before_birth": {"to": ["person"]}}, "before_birth: does not apply to person"),
    ({"born_long_ago": {"to": ["event"]}}, "born_long_ago: does not apply to event"),
    ({"day_not_believed": {"to": ["visit"]}}, "day_not_believed: does not apply to visit"),
    ({"end_before_start": {"to": ["death"]}}, "end_before_start: does not apply to death"),
    ({"death_before_birth": {"to": ["event"]}}, "death_before_birth: does not apply to event"),
    ({"before_birth": {"tolerance_days": -1}}, "greater than or equal to 0"),
    ({"before_birth": {"action": "delete"}}, "'flag' or 'set_aside'"),
]


@pytest.mark.parametrize(("changes", "fault"), WRONG)
def test_rules_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], fault: str) -> None:
    content = yaml.safe_load((PACKAGED_MAPPINGS_DIR / "plausibility.yaml").read_text(encoding="utf-8"))
    for name, change in changes.items():
        content["rules"][name] |= change
    (tmp_path / "plausibility.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ContractError, match=fault):
        load_plausibility(tmp_path)


UNITS = [
    ({"least": 2, "most": 1}, "least is greater than most"),
    ({"least": None}, "give least, most or both"),
    ({"codes": []}, "at least 1 item"),
]


@pytest.mark.parametrize(("change", "fault"), UNITS)
def test_rules_on_units_that_do_not_fit_are_refused(tmp_path: Path, change: dict[str, Any], fault: str) -> None:
    content = yaml.safe_load((PACKAGED_MAPPINGS_DIR / "plausibility.yaml").read_text(encoding="utf-8"))
    content["units"]["negative_length"] |= change
    (tmp_path / "plausibility.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ContractError, match=fault):
        load_plausibility(tmp_path)


def test_a_rule_on_amounts_with_the_name_of_another_is_refused(tmp_path: Path) -> None:
    content = yaml.safe_load((PACKAGED_MAPPINGS_DIR / "plausibility.yaml").read_text(encoding="utf-8"))
    content["amounts"]["negative_mass"] = content["amounts"]["days_supply_out_of_range"]
    (tmp_path / "plausibility.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ContractError, match="negative_mass: another rule has this name"):
        load_plausibility(tmp_path)


def test_mappings_without_rules_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match="copy it from the packaged mappings"):
        load_plausibility(tmp_path)
