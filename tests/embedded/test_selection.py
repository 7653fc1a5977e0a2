"""Tables that are made again only for what a log names: small tables of people, on real Delta."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from pipelines.columns.frames import differences, union_all
from pipelines.contracts.tables import CHANGE, BelongsTo, InputChanges, Inputs, Log, Selection, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.runner import Runner
from pipelines.storage.tables import StoragePaths, TableStore
from vocab.schemas import ddl_of

ROWS, NAMES, OTHER = (TableName(Zone.SILVER, name) for name in ("rows", "names", "other"))
LOG, LATER_LOG = (TableName(Zone.CURATION, name) for name in ("log", "later_log"))
SUMS, SHOWN = TableName(Zone.INTERMEDIATE, "sums"), TableName(Zone.OMOP, "shown")
PEOPLE = TableName(Zone.CURATION, "people")

ROW_SCHEMA = {"person_id": "bigint", "code": "string", "value": "bigint"}
NAME_SCHEMA = {"code": "string", "name": "string"}
LOG_SCHEMA = {"person_id": "bigint", "code": "string", CHANGE: "bigint"}
"""A person is named once for each code, as touched persons are for each reason."""

Row = tuple[int, str, int]


def nobody(made: Inputs) -> DataFrame:
    return made.session.createDataFrame([], ddl_of(LOG_SCHEMA))


@dataclass
class Lake:
    """People's rows, the sums of their values by code, and the sums with the names of the codes."""

    session: SparkSession
    folder: Path
    most: float = 1000.0
    read: dict[str, list[set[int]]] = field(default_factory=dict)

    @property
    def store(self) -> TableStore:
        return TableStore(self.session, StoragePaths(self.folder / "restricted", self.folder / "deidentified"))

    def delivered(self, rows: Iterable[Row], names: Mapping[str, str]) -> None:
        self.store.overwrite(self.session.createDataFrame(sorted(rows), ddl_of(ROW_SCHEMA)), *ROWS, ROW_SCHEMA)
        self.store.overwrite(self.session.createDataFrame(sorted(names.items()), ddl_of(NAME_SCHEMA)), *NAMES, NAME_SCHEMA)

    def tables(self) -> list[Table]:
        def of_rows(changes: InputChanges) -> DataFrame:
            changed = differences(changes.before(*ROWS), changes.now(*ROWS), tuple(ROW_SCHEMA))
            return changed.select("person_id", "code").distinct()

        def of_names(changes: InputChanges) -> DataFrame:
            found = [changes.added(*LOG).drop(CHANGE)] if LOG in changes.names else []
            if NAMES in changes.names:
                changed = differences(changes.before(*NAMES), changes.now(*NAMES), tuple(NAME_SCHEMA)).select("code")
                found.append(changes.now(*ROWS).join(changed.distinct(), on="code", how="left_semi").drop("value"))
            return union_all(found).distinct()

        def sums(made: Inputs) -> DataFrame:
            rows = self._noted("sums", made.read(*ROWS))
            return rows.groupBy("person_id", "code").agg(F.sum("value").alias("value"))

        def shown(made: Inputs) -> DataFrame:
            rows = self._noted("shown", made.read(*SUMS))
            return rows.join(made.read(*NAMES), on="code", how="left").select("person_id", "code", "value", "name")

        def people(made: Inputs) -> DataFrame:
            return made.read(*ROWS).select("person_id").distinct()

        by_person: dict[str, Any] = {"belongs_to": BelongsTo.PERSON}
        log = Log(of_rows, (ROWS,), of=PEOPLE, most=self.most)
        later = Log(of_names, (LOG, NAMES), of=PEOPLE, most=self.most)
        shown_schema = ROW_SCHEMA | {"name": "string"}
        parts = (CHANGE,)
        return [
            Table(PEOPLE, "a person", {"person_id": "bigint"}, make=people, inputs=(ROWS,), **by_person),
            Table(LOG, "a change", LOG_SCHEMA, make=nobody, inputs=(ROWS, PEOPLE), partition_by=parts, log=log, **by_person),
            Table(SUMS, "a code", ROW_SCHEMA, make=sums, inputs=(ROWS,), selection=Selection(LOG, (ROWS,)), **by_person),
            Table(
                LATER_LOG,
                "a change",
                LOG_SCHEMA,
                make=nobody,
                inputs=(LOG, NAMES, ROWS, PEOPLE),
                partition_by=parts,
                log=later,
                **by_person,
            ),
            Table(
                SHOWN,
                "a code",
                shown_schema,
                make=shown,
                inputs=(SUMS, NAMES),
                selection=Selection(LATER_LOG, (SUMS,)),
                **by_person,
            ),
        ]

    def _noted(self, name: str, frame: DataFrame) -> DataFrame:
        """A frame of which the people are noted."""
        self.read.setdefault(name, []).append(set(frame.select("person_id").toArrow()["person_id"].to_pylist()))
        return frame

    def run(self, *tables: Table, full: bool = False) -> dict[str, list[set[int]]]:
        """Bring the tables up to date; whose rows each function was given."""
        self.read.clear()
        Runner(self.store, self.folder / "state.json", 1).run(tables or self.tables(), full=full)
        return dict(self.read)

    def shown(self) -> list[tuple[object, ...]]:
        return sorted(tuple(row) for row in self.store.read(*SHOWN).collect())


@pytest.fixture
def lake(sail: SparkSession, tmp_path: Path) -> Lake:
    return Lake(sail, tmp_path)


FIRST = [(1, "a", 1), (1, "a", 2), (2, "a", 5), (3, "b", 7)]
NAMED = {"a": "apple", "b": "bean"}


def test_only_the_people_whose_rows_have_changed_are_made_again(lake: Lake) -> None:
    lake.delivered(FIRST, NAMED)
    assert lake.run() == {"sums": [{1, 2, 3}], "shown": [{1, 2, 3}]}
    lake.delivered([*FIRST, (2, "b", 1)], NAMED)
    assert lake.run() == {"sums": [{2}], "shown": [{2}]}
    assert lake.shown() == [(1, "a", 3, "apple"), (2, "a", 5, "apple"), (2, "b", 1, "bean"), (3, "b", 7, "bean")]
    assert lake.run() == {}


def test_who_has_lost_all_rows_is_gone_and_who_is_new_is_there(lake: Lake) -> None:
    lake.delivered(FIRST, NAMED)
    lake.run()
    lake.delivered([(1, "a", 1), (1, "a", 2), (3, "b", 7), (4, "c", 9)], NAMED)
    assert lake.run() == {"sums": [{4}], "shown": [{4}]}
    assert lake.shown() == [(1, "a", 3, "apple"), (3, "b", 7, "bean"), (4, "c", 9, None)]


def test_a_changed_name_makes_again_only_the_table_that_reads_it_and_only_for_who_has_the_code(lake: Lake) -> None:
    lake.delivered(FIRST, NAMED)
    lake.run()
    lake.delivered(FIRST, {"a": "almond", "b": "bean"})
    assert lake.run() == {"shown": [{1, 2}]}
    assert [row[3] for row in lake.shown()] == ["almond", "almond", "bean"]


def test_a_table_that_was_left_out_of_a_run_takes_the_changes_of_both(lake: Lake) -> None:
    lake.delivered(FIRST, NAMED)
    lake.run()
    lake.delivered([*FIRST, (1, "b", 1)], NAMED)
    assert lake.run(*lake.tables()[:3]) == {"sums": [{1}]}
    lake.delivered([*FIRST, (1, "b", 1), (3, "a", 1)], NAMED)
    assert lake.run() == {"sums": [{3}], "shown": [{1, 3}]}


def test_above_the_share_everything_is_made_whole_with_the_reason_and_then_people_again(
    lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pipelines.runner")
    lake.most = 0.4
    lake.delivered(FIRST, NAMED)
    lake.run()
    lake.delivered([(1, "a", 4), (2, "a", 6), (3, "b", 7)], NAMED)  # two of three people
    assert lake.run() == {"sums": [{1, 2, 3}], "shown": [{1, 2, 3}]}
    said = ["curation.log: more than 40% of curation.people have changed; what is made from it is made whole"]
    assert caplog.messages == said
    lake.delivered([(1, "a", 4), (2, "a", 6), (3, "a", 1), (3, "b", 8)], NAMED)  # one of them, for two codes
    assert lake.run() == {"sums": [{3}], "shown": [{3}]}
    assert caplog.messages == said


def test_an_input_is_narrowed_by_what_it_has_of_the_log(sail: SparkSession, tmp_path: Path) -> None:
    """Lines have no key, and what is made of them says of no row which line it was."""
    store = TableStore(sail, StoragePaths(tmp_path / "restricted", tmp_path / "deidentified"))
    lines, decided = TableName(Zone.BRONZE, "lines"), TableName(Zone.CURATION, "decided")
    line_schema, decided_schema = {"line": "bigint", "text": "string"}, {"line": "bigint", "key": "string"}
    log_schema, read = decided_schema | {CHANGE: "bigint"}, []

    def named(changes: InputChanges) -> DataFrame:
        return differences(changes.before(*decided), changes.now(*decided), tuple(decided_schema))

    def shown(made: Inputs) -> DataFrame:
        read.append(sorted(row.line for row in made.read(*lines).collect()))
        return made.read(*lines).join(made.read(*decided), on="line", how="inner").select("key", "text")

    tables = [
        Table(
            name=LOG,
            grain="a change",
            schema=log_schema,
            belongs_to=BelongsTo.LOAD,
            make=lambda made: made.session.createDataFrame([], ddl_of(log_schema)),
            inputs=(decided, lines),
            partition_by=(CHANGE,),
            log=Log(named, (decided, lines), of=lines, most=1.0, by=("line",)),
        ),
        Table(
            name=SHOWN,
            grain="a key",
            schema={"key": "string", "text": "string"},
            belongs_to=BelongsTo.PERSON,
            make=shown,
            inputs=(lines, decided),
            selection=Selection(LOG, (decided,), ("key",), {lines: ("line",)}),
        ),
    ]

    def night(texts: Mapping[int, str], keys: Mapping[int, str]) -> list[tuple[str, str]]:
        store.overwrite(sail.createDataFrame(sorted(texts.items()), ddl_of(line_schema)), *lines, line_schema)
        store.overwrite(sail.createDataFrame(sorted(keys.items()), ddl_of(decided_schema)), *decided, decided_schema)
        Runner(store, tmp_path / "state.json", 1).run(tables)
        return sorted(tuple(row) for row in store.read(*SHOWN).collect())

    texts = {1: "one", 2: "two", 3: "three"}
    assert night(texts, {1: "a", 2: "b", 3: "c"}) == [("a", "one"), ("b", "two"), ("c", "three")]
    assert night(texts | {4: "new"}, {1: "a", 4: "b"}) == [("a", "one"), ("b", "new")]  # b came again, c has gone
    assert read == [[1, 2, 3], [2, 3, 4]]


def test_a_change_that_no_log_accounts_for_makes_a_table_whole_and_those_that_read_it(lake: Lake) -> None:
    def tables() -> list[Table]:
        def with_other(made: Inputs) -> DataFrame:
            made.read(*OTHER)
            return sums.make(made)

        people, log, sums, *others = lake.tables()
        return [people, log, replace(sums, inputs=(*sums.inputs, OTHER), make=with_other), *others]

    lake.delivered(FIRST, NAMED)
    for content in (1, 2):
        lake.store.overwrite(lake.session.range(content), *OTHER, {"id": "bigint"})
        assert lake.run(*tables()) == {"sums": [{1, 2, 3}], "shown": [{1, 2, 3}]}


def test_a_table_made_whole_for_its_parameters_makes_those_that_read_it_whole(lake: Lake) -> None:
    lake.delivered(FIRST, NAMED)
    lake.run()
    people, log, sums, *others = lake.tables()
    assert lake.run(people, log, replace(sums, parameters="changed"), *others) == {"sums": [{1, 2, 3}], "shown": [{1, 2, 3}]}


def test_with_full_everything_is_made_whole(lake: Lake) -> None:
    lake.delivered(FIRST, NAMED)
    lake.run()
    assert lake.run(full=True) == {"sums": [{1, 2, 3}], "shown": [{1, 2, 3}]}
    lake.delivered([*FIRST, (2, "b", 1)], NAMED)
    assert lake.run() == {"sums": [{2}], "shown": [{2}]}


rows = st.lists(st.tuples(st.integers(1, 4), st.sampled_from("abc"), st.integers(0, 2)), max_size=6)
names = st.dictionaries(st.sampled_from("abc"), st.sampled_from(("x", "y")), max_size=3)


@settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.tuples(rows, names, st.booleans()), min_size=2, max_size=4))
def test_after_any_nights_the_tables_are_those_of_one_full_build(
    sail: SparkSession, tmp_path_factory: pytest.TempPathFactory, nights: list[tuple[list[Row], dict[str, str], bool]]
) -> None:
    lake, whole = (Lake(sail, tmp_path_factory.mktemp(name)) for name in ("nights", "full"))
    for delivered, named, is_partial in nights:
        lake.delivered(delivered, named)
        lake.run(*(lake.tables()[:3] if is_partial else ()))
    lake.run()
    whole.delivered(*nights[-1][:2])
    whole.run()
    assert lake.shown() == whole.shown()
