"""What is different between two releases, counted on small Delta tables that are written without an engine."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pipelines.errors import ReleaseError
from pipelines.release.comparing import compare
from pipelines.release.difference import NOT_GIVEN, Difference, Part
from pipelines.release.model import Release, TablePin
from pipelines.settings import Settings, load_settings
from tests.unit.release.test_release import RELEASE

CONDITION = {
    "condition_occurrence_id": pa.int64(),
    "person_id": pa.int64(),
    "condition_concept_id": pa.int64(),
    "condition_start_date": pa.date32(),
    "condition_end_date": pa.date32(),
    "_source": pa.string(),
    "_row_key": pa.string(),
}
EVIDENCE = {"person_id": pa.int64(), "event_id": pa.int64(), "evidence": pa.string()}
CONCEPT = {"concept_id": pa.int64(), "concept_name": pa.string()}

ASTHMA, DIABETES = 317009, 201826
MAY, JUNE = date(2024, 5, 3), date(2024, 6, 9)

Row = tuple[object, ...]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_in(tmp_path)


def settings_in(folder: Path) -> Settings:
    places = {name: folder / name for name in ("landing", "restricted", "deidentified")}
    return load_settings("test", overrides=[f"storage.{name}={place}" for name, place in places.items()])


def write(settings: Settings, place: str, schema: dict[str, pa.DataType], rows: Sequence[Row], mode: str = "overwrite") -> int:
    """A new version of a table below the de-identified root, in a file of its own; its number."""
    path = Path(str(settings.storage.deidentified), place)
    path.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist([dict(zip(schema, row, strict=True)) for row in rows], schema=pa.schema(schema))
    write_deltalake(path, table, mode=mode, schema_mode="overwrite" if mode == "overwrite" else None)  # type: ignore[call-overload]
    return DeltaTable(path).version()


def release(**versions: int | None) -> Release:
    """A release that pins some tables."""
    pins = (
        TablePin(zone="vocabulary" if name == "concept" else "omop", name=name, version=version, rows=1)
        for name, version in versions.items()
        if version is not None
    )
    return RELEASE.model_copy(update={"tables": tuple(pins)})


def condition(
    key: int,
    concept: int = ASTHMA,
    day: date | None = MAY,
    end: date | None = None,
    source: str = "gp",
    person: int | None = None,
) -> Row:
    """A condition; of a person of its own unless another is given."""
    return key, key if person is None else person, concept, day, end, source, f"k{key}"


def compared(settings: Settings, before: Sequence[Row], after: Sequence[Row]) -> Difference:
    """What is different between two versions of the conditions."""
    versions = [write(settings, "omop/condition_occurrence", CONDITION, rows) for rows in (before, after)]
    concept = write(settings, "vocabulary/concept", CONCEPT, [(ASTHMA, "Asthma"), (DIABETES, "Diabetes")])
    return compare(settings, *(release(condition_occurrence=version, concept=concept) for version in versions))


def test_rows_are_added_removed_and_changed_by_their_ids_and_fields(settings: Settings) -> None:
    before = [condition(1), condition(2), condition(3), condition(4, DIABETES, JUNE, source="acute")]
    after = [
        condition(1),
        condition(2, end=JUNE),  # changed
        (*condition(3)[:-1], "another row of the source"),  # a hidden column is no field of the CDM
        condition(5, DIABETES, None),  # added; 4 is removed
        condition(6, source="acute"),
    ]
    found = compared(settings, before, after)
    table = "condition_occurrence"
    assert found.tables == (Part(table, "", added=2, removed=1, changed=1),)
    assert {*found.sources} == {Part(table, "gp", 1, 0, 1), Part(table, "acute", 1, 1, 0)}
    assert {*found.months} == {
        Part(table, "2024-05", 1, 0, 1),
        Part(table, "2024-06", 0, 1, 0),
        Part(table, NOT_GIVEN, 1, 0, 0),
    }
    assert {*found.concepts} == {Part(table, str(ASTHMA), 1, 0, 1), Part(table, str(DIABETES), 1, 1, 0)}
    assert found.names == {str(ASTHMA): "Asthma", str(DIABETES): "Diabetes"}
    assert found.vocabulary == ()


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([(1, 7, "coded"), (1, 7, "coded")], [(1, 7, "coded")], (0, 1, 0)),
        ([(1, 7, "coded")], [(1, 7, "history")], (1, 1, 0)),
        ([(1, None, None)], [(1, None, None), (1, None, None), (2, 7, "coded")], (2, 0, 0)),
        ([(1, 7, "coded"), (2, 7, "coded")], [(2, 7, "coded"), (1, 7, "coded")], None),
    ],
    ids=["a copy less", "other content", "more", "another order"],
)
def test_rows_without_an_id_are_compared_by_content(
    settings: Settings, before: list[Row], after: list[Row], expected: tuple[int, int, int] | None
) -> None:
    old, new = (write(settings, "omop/event_evidence", EVIDENCE, rows) for rows in (before, after))
    found = compare(settings, release(event_evidence=old), release(event_evidence=new))
    assert found.tables == (() if expected is None else (Part("event_evidence", "", *expected),))
    assert (found.sources, found.months, found.concepts) == ((), (), ())


def test_files_that_both_versions_have_are_not_read(settings: Settings) -> None:
    old = write(settings, "omop/condition_occurrence", CONDITION, [condition(1), condition(2)])
    new = write(settings, "omop/condition_occurrence", CONDITION, [condition(3)], mode="append")
    concept = write(settings, "vocabulary/concept", CONCEPT, [(ASTHMA, "Asthma")])
    for file in DeltaTable(str(settings.storage.deidentified / "omop/condition_occurrence"), version=old).file_uris():
        Path(file.removeprefix("file://")).unlink()
    found = compare(settings, *(release(condition_occurrence=version, concept=concept) for version in (old, new)))
    assert found.tables == (Part("condition_occurrence", "", 1, 0, 0),)
    same = compare(settings, *(release(condition_occurrence=new, concept=concept) for _ in range(2)))
    assert same.tables == ()


def test_a_table_and_a_field_may_be_in_one_of_the_releases_only(settings: Settings) -> None:
    short = {name: kind for name, kind in CONDITION.items() if name != "condition_end_date"}
    rows = [condition(1), condition(2, end=JUNE)]
    old = write(settings, "omop/condition_occurrence", short, [(*row[:4], *row[5:]) for row in rows])
    new = write(settings, "omop/condition_occurrence", CONDITION, rows)
    evidence = write(settings, "omop/event_evidence", EVIDENCE, [(1, 7, "coded")])
    concept = write(settings, "vocabulary/concept", CONCEPT, [(ASTHMA, "Asthma")])
    found = compare(
        settings,
        release(condition_occurrence=old, event_evidence=evidence, concept=concept),
        release(condition_occurrence=new, concept=concept),
    )
    assert found.tables == (Part("condition_occurrence", "", 0, 0, 1), Part("event_evidence", "", 0, 1, 0))


def test_vocabulary_tables_are_compared_by_version(settings: Settings) -> None:
    found = compare(settings, release(concept=1), release(concept=4))
    assert [(table.table, table.before, table.after) for table in found.vocabulary] == [("concept", 1, 4)]


def test_a_version_that_is_gone_is_an_error(settings: Settings) -> None:
    with pytest.raises(
        ReleaseError, match=r"condition_occurrence at version 5 cannot be read; was the folder moved or vacuumed"
    ):
        compare(settings, release(), release(condition_occurrence=5))


def test_small_numbers_are_hidden_with_what_would_give_them_away(settings: Settings) -> None:
    after = [condition(key, source="gp" if key < 20 else "acute" if key < 23 else "ambulance") for key in range(40)]
    found = compared(settings, [condition(100)], after).suppressed()
    assert found.tables == (Part("condition_occurrence", "", 40, "*", 0),)
    assert {part.value: part.added for part in found.sources} == {"gp": 20, "acute": "*", "ambulance": "*"}
    assert {part.value: part.removed for part in found.sources} == {"gp": "*", "acute": 0, "ambulance": 0}
    assert [(part.added, part.removed) for part in found.months] == [(40, "*")]


EPILEPSY = 380378
FEW, MANY = range(1000, 1030), range(2000, 2060)


@pytest.mark.parametrize(
    ("removed", "shown", "by_concept", "links"),
    [
        pytest.param(
            [condition(key, person=11) for key in FEW],
            "*",
            {ASTHMA: "*"},
            "*",
            id="one person has left, with thirty rows",
        ),
        pytest.param(
            [condition(key, DIABETES if key % 2 else ASTHMA, person=key % 7) for key in FEW],
            "*",
            {ASTHMA: "*", DIABETES: "*"},
            "*",
            id="seven people have left",
        ),
        pytest.param(
            [*(condition(key, DIABETES, person=11) for key in FEW), *(condition(key) for key in MANY)],
            90,
            {ASTHMA: "*", DIABETES: "*"},
            50,
            id="one disease is that of one person, and the other would tell how often",
        ),
        pytest.param(
            [
                *(condition(key, DIABETES, person=11) for key in FEW),
                *(condition(key, EPILEPSY, person=12) for key in range(10, 19)),
                *(condition(key) for key in MANY),
            ],
            99,
            {ASTHMA: "*", DIABETES: "*", EPILEPSY: "*"},
            50,
            id="what is hidden together is of two people, so that more is hidden",
        ),
        pytest.param([condition(key) for key in MANY], 60, {ASTHMA: 60}, 50, id="sixty people"),
    ],
)
def test_rows_of_few_people_are_hidden_however_many_they_are(
    settings: Settings, removed: list[Row], shown: int | str, by_concept: dict[int, int | str], links: int | str
) -> None:
    """`fact_relationship` names no person."""
    facts = {name: pa.int64() for name in ("domain_concept_id_1", "fact_id_1", "domain_concept_id_2", "fact_id_2")}
    versions = []
    for conditions, linked in ((removed, range(50)), ([], range(0))):
        pins = {
            "condition_occurrence": write(
                settings, "omop/condition_occurrence", CONDITION, [condition(1, person=1), *conditions]
            )
        }
        pins["fact_relationship"] = write(settings, "omop/fact_relationship", facts, [(21, fact, 36, fact) for fact in linked])
        pins["concept"] = write(settings, "vocabulary/concept", CONCEPT, [(ASTHMA, "Asthma")])
        versions.append(release(**pins))
    found = compare(settings, *versions).suppressed()
    assert {part.table: part.removed for part in found.tables} == {"condition_occurrence": shown, "fact_relationship": links}
    assert {part.concept_id: part.removed for part in found.concepts} == by_concept
    assert {part.removed for part in found.months} == {shown}


def test_a_total_does_not_tell_how_many_rows_each_hidden_concept_has() -> None:
    """Nine concepts with a row each: the nine of the table, its source and its month would say so."""
    table = "condition_occurrence"
    concepts = tuple(Part(table, f"{concept}", 1, 0, 0) for concept in range(9))
    found = Difference((Part(table, "", 9, 30, 0),), (Part(table, "gp", 9, 30, 0),), (), concepts, {}, ()).suppressed()
    assert found.tables == (Part(table, "", "*", 30, 0),)
    assert found.sources == (Part(table, "gp", "*", 30, 0),)
    assert {part.added for part in found.concepts} == {"*"}


def test_the_table_of_the_evidence_of_all_events_does_not_give_one_of_theirs_away() -> None:
    """72 added - 9 - 43 - 16 would be the 4 of observation. No number of removed rows is small."""
    added = {"condition_occurrence": 9, "drug_exposure": 43, "event_evidence": 72, "measurement": 16, "observation": 4}
    tables = tuple(Part(name, "", number, number + 10, 0) for name, number in added.items())
    found = Difference(tables, (), (), (), {}, ()).suppressed()
    assert {part.table: (part.added, part.removed) for part in found.tables} == {
        "condition_occurrence": (9, 19),
        "drug_exposure": (43, 53),
        "event_evidence": ("*", 82),
        "measurement": (16, 26),
        "observation": ("*", 14),
    }


ROWS = st.dictionaries(
    st.integers(1, 6),
    st.tuples(st.sampled_from([ASTHMA, DIABETES]), st.sampled_from([MAY, JUNE, None]), st.sampled_from(["gp", "acute"])),
)


@examples(max_examples=8, deadline=None)
@given(before=ROWS, after=ROWS)
def test_the_parts_are_those_of_a_plain_comparison(
    before: dict[int, tuple[int, date | None, str]],
    after: dict[int, tuple[int, date | None, str]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    old, new = (
        [condition(key, concept, day, source=source) for key, (concept, day, source) in rows.items()]
        for rows in (before, after)
    )
    found = compared(settings_in(tmp_path_factory.mktemp("lake")), old, new)
    expected: Counter[tuple[str, str]] = Counter()
    for key in {*before, *after}:
        said = [rows[key][:2] if key in rows else None for rows in (before, after)]  # the source is no field of the CDM
        if said[0] != said[1]:
            kind = "added" if key not in before else "removed" if key not in after else "changed"
            expected[after.get(key, before.get(key, (0, None, "")))[2], kind] += 1
    counted = {(part.value, kind): getattr(part, kind) for part in found.sources for kind in ("added", "removed", "changed")}
    assert {place: n for place, n in counted.items() if n} == dict(expected)
    for parts in (found.sources, found.months, found.concepts):
        for kind in ("added", "removed", "changed"):
            assert sum(getattr(part, kind) for part in parts) == sum(getattr(part, kind) for part in found.tables)
