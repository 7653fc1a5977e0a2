"""Whose tables are made again, reason by reason: the rules of the logs on small frames."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import pytest
from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.tables import TableName
from pipelines.contracts.touched import TOUCHED_BY_CODES, TOUCHED_BY_PLACES
from pipelines.contracts.zones import Zone
from pipelines.curate.touched import changed_rows, of_changed_files, of_changed_references, of_changed_rows
from pipelines.omop.declared import NEWEST_MONTHS, PERSONS, UNOBSERVED, VISIT_DETAILS, VISITS
from pipelines.omop.episodes import NEWEST_MONTHS_SCHEMA
from tests.unit.test_selections import declared
from vocab.schemas import ddl_of

DECIDED = "_file string, _line bigint, row_key string, person_id bigint, disposition string"
SHARED = "row_key string, name string, _load_id string, _file string"
FILES = "_file string, _extracted_on date"

FIRST, SECOND = date(2026, 1, 5), date(2026, 1, 6)


def named(frame: DataFrame) -> list[tuple[object, ...]]:
    return sorted(tuple(row) for row in frame.collect())


def test_a_delivered_row_has_changed_that_comes_goes_or_is_of_another_record_or_person(sail: SparkSession) -> None:
    before = [
        ("f", 1, "same", 1, "current"),
        ("f", 2, "goes", 2, "current"),
        ("f", 3, "moves", 3, "current"),
        ("f", 4, "comes", 4, "opted_out"),
        ("f", 5, "never", 5, "opted_out"),
        ("f", 6, "nobody", None, "current"),
        ("f", 7, "old_key", 7, "current"),
    ]
    now = [
        ("f", 1, "same", 1, "current"),
        ("f", 2, "goes", 2, "superseded"),
        ("f", 3, "moves", 33, "current"),
        ("f", 4, "comes", 4, "current"),
        ("f", 5, "never", 55, "quarantined"),
        ("f", 7, "new_key", 7, "current"),
    ]
    changed = changed_rows([sail.createDataFrame(before, DECIDED)], [sail.createDataFrame(now, DECIDED)], sail)
    assert named(changed.drop("_file").fillna(0)) == [
        (2, "goes", 2),
        (3, "moves", 3),
        (3, "moves", 33),
        (4, "comes", 4),
        (6, "nobody", 0),
        (7, "new_key", 7),
        (7, "old_key", 7),
    ]
    people = [(2, "row"), (3, "row"), (4, "row"), (7, "row"), (7, "row"), (33, "row")]
    assert named(of_changed_rows(changed)) == people


def test_who_refers_to_a_shared_row_that_says_something_else_is_touched(sail: SparkSession) -> None:
    before = sail.createDataFrame(
        [("same", "a", "1", "f"), ("again", "b", "1", "f"), ("other", "c", "1", "f"), ("gone", "d", "1", "f")], SHARED
    )
    now = sail.createDataFrame(
        [("same", "a", "1", "f"), ("again", "b", "2", "g"), ("other", "C", "1", "f"), ("new", "e", "2", "g")], SHARED
    )
    keys = ("same", "again", "other", "gone", "new", None)
    rows = sail.createDataFrame([*enumerate(keys, start=1)], "person_id bigint, code_key string")
    (found,) = of_changed_references(before, now, [(rows, "code_key")], "gp_clinical_code")
    assert named(found) == [(3, "gp_clinical_code"), (4, "gp_clinical_code"), (5, "gp_clinical_code")]


def test_who_has_current_rows_of_a_file_that_was_delivered_again_is_touched(sail: SparkSession) -> None:
    before = sail.createDataFrame([("same", FIRST), ("again", FIRST), ("gone", FIRST)], FILES)
    now = sail.createDataFrame([("same", FIRST), ("again", SECOND), ("new", SECOND)], FILES)
    rows = [
        ("same", 1, "a", 1, "current"),
        ("again", 1, "b", 2, "current"),
        ("again", 2, "c", 3, "superseded"),
        ("again", 3, "d", None, "current"),
        ("new", 1, "e", 4, "current"),
        ("gone", 1, "f", 5, "superseded"),
    ]
    assert named(of_changed_files(before, now, [sail.createDataFrame(rows, DECIDED)])) == [(2, "file")]


@dataclass(frozen=True)
class Frames:
    """Changed inputs as frames: as they were, and any input as it is."""

    session: SparkSession
    were: Mapping[TableName, DataFrame]
    are: Mapping[TableName, DataFrame]

    @property
    def names(self) -> frozenset[TableName]:
        return frozenset(self.were)

    def before(self, zone: Zone, name: str) -> DataFrame:
        return self.were[TableName(zone, name)]

    def now(self, zone: Zone, name: str) -> DataFrame:
        return self.are[TableName(zone, name)]

    def added(self, zone: Zone, name: str) -> DataFrame:
        raise AssertionError((zone, name))


STEMS = tuple(name for name in declared() if name.name.startswith("stem_"))
REFERRING = {
    "care_site": (PERSONS, VISITS, VISIT_DETAILS),
    "location": (PERSONS,),
    "provider": (VISITS, VISIT_DETAILS, *STEMS),
}
"""The tables that refer to each kind of place."""


def touched(log: TableName, changes: Frames) -> list[tuple[object, ...]]:
    declaration = declared()[log].log
    assert declaration is not None
    return named(declaration.named(changes))


def test_who_is_in_a_period_now_or_was_before_is_touched(sail: SparkSession) -> None:
    before, now = (sail.createDataFrame([(1,), (person,)], "person_id bigint") for person in (2, 3))
    changes = Frames(sail, {UNOBSERVED: before}, {UNOBSERVED: now})
    assert touched(TOUCHED_BY_PLACES, changes) == [(2, "period"), (3, "period")]


@pytest.mark.parametrize(
    ("kind", "written"), [("care_site", "care_site_code"), ("location", "postcode_area"), ("provider", "provider_key")]
)
def test_who_refers_to_a_place_with_another_id_is_touched(sail: SparkSession, kind: str, written: str) -> None:
    place, schema = TableName(Zone.OMOP, kind), f"{kind}_source_value string, {kind}_id bigint, name string"
    before = sail.createDataFrame([("SAME", 1, "a"), ("NAMED", 2, "b"), ("MOVED", 3, "c"), ("GONE", 4, "d")], schema)
    now = sail.createDataFrame([("SAME", 1, "a"), ("NAMED", 2, "B"), ("MOVED", 33, "c"), ("NEW", 5, "e")], schema)
    searched = (PERSONS, *REFERRING["provider"])
    references = sail.createDataFrame(
        [*enumerate(("SAME", "NAMED", "MOVED", "GONE", "NEW"), start=1)], f"person_id bigint, {written} string"
    )
    nobody = references.limit(0)
    for name in searched:
        changes = Frames(sail, {place: before}, dict.fromkeys(searched, nobody) | {place: now, name: references})
        of_changed = [(3, kind), (4, kind), (5, kind)] if name in REFERRING[kind] else []
        assert touched(TOUCHED_BY_PLACES, changes) == of_changed, name


def test_who_is_no_longer_in_the_newest_month_or_is_so_again_is_touched(sail: SparkSession) -> None:
    """Stays and episodes without an end, and stays of which the end is planned."""
    schema = (
        "person_id bigint, end_date date, open_until date, _flagged string, _source string, _provider string, _entity string"
    )
    january, february, march = date(2026, 1, 31), date(2026, 2, 28), date(2026, 3, 31)
    place, other = ("mental_health", "R", "referral"), ("mental_health", "X", "referral")
    planned = "end_after_extract"
    rows = [
        (1, None, january, None, *place),  # gone by February already
        (2, None, february, None, *place),  # gone by March
        (3, None, march, None, *place),
        (4, january, february, None, *place),  # has ended
        (5, date(2026, 9, 1), february, planned, *place),
        (6, None, None, None, *place),  # nobody says until when it was open
        (7, None, february, None, *other),  # a provider whose newest month stays
    ]
    before, now = (
        sail.createDataFrame([(*place, month), (*other, march)], ddl_of(NEWEST_MONTHS_SCHEMA)) for month in (february, march)
    )
    stays = [TableName(Zone.INTERMEDIATE, name) for name in ("visit_rows", "visit_detail_rows", "episode_rows")]
    none = sail.createDataFrame([], schema)
    for name in stays:
        frames = dict.fromkeys(stays, none) | {name: sail.createDataFrame(rows, schema)}
        for was, becomes in ((before, now), (now, before)):
            changes = Frames(sail, {NEWEST_MONTHS: was}, frames | {NEWEST_MONTHS: becomes})
            assert touched(TOUCHED_BY_CODES, changes) == [(2, "stay"), (5, "stay")], name
