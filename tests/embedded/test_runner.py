"""The runner on small declared tables: what it makes, in which order, what it leaves alone and what it says beforehand."""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession

from pipelines import runner as runner_module
from pipelines.contracts.tables import Affected, BelongsTo, Extent, InputChanges, Inputs, Partitions, Table, TableName
from pipelines.contracts.zones import Zone
from pipelines.errors import OmopPipelineError, SelectionError, UndeclaredInputError
from pipelines.runner import BuildState, Runner, selected
from pipelines.storage.tables import StoragePaths, TableStore

SCHEMA = {"part": "int", "value": "int"}
PARTS = (0, 1, 2)

Values = dict[int, int]


def name_of(text: str) -> TableName:
    """`silver.a` as a name; without a zone it is of the intermediate one."""
    zone, _, name = text.rpartition(".")
    return TableName(Zone(zone or "intermediate"), name)


def values(frame: DataFrame) -> Values:
    return {row["part"]: row["value"] for row in frame.toArrow().to_pylist()}


def frame_of(session: SparkSession, content: Mapping[int, int]) -> DataFrame:
    return session.createDataFrame(sorted(content.items()), "part int, value int")


@dataclass
class Lake:
    """A folder with tables, the runner over them, and the tables whose make function was called."""

    session: SparkSession
    folder: Path
    calls: list[str] = field(default_factory=list)
    workers: int = 2
    failing: set[str] = field(default_factory=set)

    @property
    def store(self) -> TableStore:
        return TableStore(self.session, StoragePaths(self.folder / "restricted", self.folder / "deidentified"))

    @property
    def runner(self) -> Runner:
        return Runner(self.store, self.folder / "state.json", self.workers)

    def table(self, text: str, *inputs: str, own: Mapping[int, int] | None = None, **options: Any) -> Table:
        """A table of three partitions; each value is its own plus those of the inputs."""
        name = name_of(text)
        named = tuple(name_of(wanted) for wanted in inputs)
        added = dict.fromkeys(PARTS, 0) | dict(own or {})

        def make(made: Inputs) -> DataFrame:
            self.calls.append(name.name)
            if name.name in self.failing:
                raise OmopPipelineError(f"{name.name} cannot be made")
            read = [values(made.read(*wanted)) for wanted in named]
            return frame_of(made.session, {part: added[part] + sum(rows[part] for rows in read) for part in PARTS})

        base: dict[str, Any] = {
            "name": name,
            "grain": "one row per part",
            "schema": SCHEMA,
            "belongs_to": BelongsTo.WHOLE,
            "make": make,
            "inputs": named,
            "parameters": repr(sorted(added.items())),
        }
        return Table(**(base | options))

    def run(self, *tables: Table, full: bool = False) -> list[str]:
        """The names of the tables that were written."""
        return [name.name for name in self.runner.run(tables, full=full)]

    def plan(self, *tables: Table, full: bool = False) -> dict[str, str]:
        return {step.name.name: step.reason for step in self.runner.plan(tables, full=full)}

    def called(self) -> list[str]:
        """The tables that were made since this was last asked, in alphabetical order."""
        calls = sorted(self.calls)
        self.calls.clear()
        return calls

    def values(self, text: str) -> Values:
        return values(self.store.read(*name_of(text)))

    def version(self, text: str) -> int | None:
        return self.store.version(*name_of(text))

    def files(self, text: str) -> dict[str, set[str]]:
        """The data files of the newest version by partition."""
        found: dict[str, set[str]] = {}
        for uri in DeltaTable(self.store.path(*name_of(text))).file_uris():
            found.setdefault(Path(uri).parent.name, set()).add(Path(uri).name)
        return found

    def recorded(self) -> dict[str, int]:
        state = BuildState.read(self.folder / "state.json")
        return {name: built.version for name, built in state.tables.items()} if state else {}


@pytest.fixture
def lake(sail: SparkSession, tmp_path: Path) -> Lake:
    return Lake(sail, tmp_path)


def chain(lake: Lake, a: int = 1, **options: Any) -> list[Table]:
    """a <- b <- c, and d beside them; `options` are those of b."""
    return [
        lake.table("c", "b"),
        lake.table("a", own={0: a}),
        lake.table("b", "a", own={1: 10}, **options),
        lake.table("silver.d", own={2: 5}),
    ]


# Order, and what a declaration has to name


def test_tables_are_made_after_their_inputs(lake: Lake) -> None:
    made = lake.run(*chain(lake))
    assert sorted(made) == ["a", "b", "c", "d"]
    assert made.index("a") < made.index("b") < made.index("c")
    assert lake.values("c") == {0: 1, 1: 10, 2: 0}
    assert lake.recorded() == {"intermediate.a": 0, "intermediate.b": 0, "intermediate.c": 0, "silver.d": 0}


@pytest.mark.parametrize("workers", [2, 3])
def test_independent_tables_are_made_at_the_same_time_up_to_the_number_of_workers(lake: Lake, workers: int) -> None:
    together = Barrier(workers, timeout=60)
    counting = Lock()
    under_way, most = 0, 0

    def make(made: Inputs) -> DataFrame:
        nonlocal under_way, most
        with counting:
            under_way += 1
            most = max(most, under_way)
        together.wait()
        with counting:
            under_way -= 1
        return frame_of(made.session, {0: 1})

    lake.workers = workers
    lake.run(*[lake.table(f"t{place}", make=make) for place in range(2 * workers)])
    assert most == workers


def test_the_longest_chain_begins_first(lake: Lake) -> None:
    lake.workers = 1
    assert lake.run(lake.table("alone"), lake.table("z"), lake.table("y", "z"), lake.table("x", "y")) == [
        "z",
        "y",
        "alone",
        "x",
    ]


def test_an_input_that_is_not_declared_cannot_be_read(lake: Lake) -> None:
    def make(made: Inputs) -> DataFrame:
        return made.read(Zone.INTERMEDIATE, "a")

    lake.run(lake.table("a"))
    says = r"^intermediate\.b reads intermediate\.a, which its declaration does not name as an input$"
    with pytest.raises(UndeclaredInputError, match=says):
        lake.run(lake.table("a"), lake.table("b", make=make))
    assert lake.version("b") is None


def test_a_comparison_cannot_read_an_input_that_is_not_declared(lake: Lake) -> None:
    def affected(changes: InputChanges) -> Affected:
        changes.now(Zone.SILVER, "d")
        return Extent.WHOLE

    lake.run(*chain(lake, affected=affected))
    with pytest.raises(UndeclaredInputError, match=r"^intermediate\.b compares silver\.d, which is not among its inputs$"):
        lake.run(*chain(lake, 2, affected=affected))


def test_a_table_declared_twice_is_refused(lake: Lake) -> None:
    with pytest.raises(UndeclaredInputError, match=r"^intermediate\.a is declared twice$"):
        lake.run(lake.table("a"), lake.table("a"))
    with pytest.raises(UndeclaredInputError, match="declared twice"):
        lake.plan(lake.table("a"), lake.table("a"))


def test_tables_that_need_each_other_are_refused(lake: Lake) -> None:
    circle = lake.table("a", "b"), lake.table("b", "a")
    with pytest.raises(UndeclaredInputError, match="tables that need each other: "):
        lake.run(*circle)
    with pytest.raises(UndeclaredInputError, match="tables that need each other: "):
        lake.plan(*circle)
    assert lake.called() == []


def test_an_input_that_nobody_makes_has_to_be_there(lake: Lake) -> None:
    with pytest.raises(OmopPipelineError, match=r"^intermediate\.b needs intermediate\.a, which is not there"):
        lake.run(lake.table("b", "a"))


def test_the_versions_of_a_run_are_those_that_it_wrote_read_or_found_current(lake: Lake) -> None:
    """Whatever else has been written since; and nothing of tables that the run does not know."""
    given = name_of("silver.given")
    lake.store.overwrite(frame_of(lake.session, dict.fromkeys(PARTS, 0)), *given, SCHEMA)
    tables = [lake.table("b", "a", "silver.given"), lake.table("a", own={0: 1})]
    lake.run(lake.table("other", "silver.given"), *tables)
    changed = [lake.table("b", "a", "silver.given", own={1: 1}), tables[1]]
    lake.run(*changed)
    for text in ("a", "b", "silver.given"):
        lake.store.overwrite(frame_of(lake.session, {0: 99}), *name_of(text), SCHEMA)
    assert [lake.version(text) for text in ("a", "b", "silver.given")] == [1, 2, 1]
    assert lake.runner.versions(changed) == {name_of("a"): 0, name_of("b"): 1, given: 0}


# What is made again


def test_current_tables_are_not_made_again(lake: Lake) -> None:
    lake.run(*chain(lake))
    lake.called()
    state = (lake.folder / "state.json").read_bytes()
    assert lake.plan(*chain(lake)) == {}
    assert lake.run(*chain(lake)) == []
    assert lake.called() == []
    assert [lake.version(name) for name in ("a", "b", "c", "silver.d")] == [0, 0, 0, 0]
    assert (lake.folder / "state.json").read_bytes() == state


def _parameters(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    return [replace(table, parameters="new") if table.name.name == "b" else table for table in chain(lake)]


def _schema(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    return chain(lake, schema={"part": "int", "value": "bigint"})


def _partitions(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    return chain(lake, partition_by=("part",))


def _input_version(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    """A new version of an input that is not in the graph of the run."""
    lake.store.overwrite(frame_of(lake.session, {0: 7, 1: 7, 2: 7}), Zone.INTERMEDIATE, "a", SCHEMA)
    return [table for table in chain(lake) if table.name.name != "a"]


def _lost_record(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    state = BuildState.read(lake.folder / "state.json")
    assert state is not None
    BuildState(tables={k: v for k, v in state.tables.items() if k != "intermediate.b"}).write(lake.folder / "state.json")
    return chain(lake)


def _foreign_commit(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    lake.store.overwrite(frame_of(lake.session, {0: 99}), Zone.INTERMEDIATE, "b", SCHEMA)
    return chain(lake)


def _lost_folder(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    shutil.rmtree(lake.store.path(Zone.INTERMEDIATE, "b"))
    return chain(lake)


def _code(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    monkeypatch.setattr(runner_module, "code_digest", lambda: "other code")
    return chain(lake)


def _additional_input(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> list[Table]:
    return [lake.table("b", "a", "silver.d", own={1: 10}) if table.name.name == "b" else table for table in chain(lake)]


CODE_CHANGED = {
    "a": "the code has changed",
    "b": "intermediate.a is made again",
    "c": "intermediate.b is made again",
    "d": "the code has changed",
}

Change = Callable[[Lake, pytest.MonkeyPatch], list[Table]]


@pytest.mark.parametrize(
    ("change", "planned", "rows"),
    [
        (_parameters, {"b": "its parameters have changed", "c": "intermediate.b is made again"}, {0: 1, 1: 10, 2: 0}),
        (_schema, {"b": "its parameters have changed", "c": "intermediate.b is made again"}, {0: 1, 1: 10, 2: 0}),
        (_partitions, {"b": "its parameters have changed", "c": "intermediate.b is made again"}, {0: 1, 1: 10, 2: 0}),
        (_additional_input, {"b": "its parameters have changed", "c": "intermediate.b is made again"}, {0: 1, 1: 10, 2: 5}),
        (_input_version, {"b": "intermediate.a has changed", "c": "intermediate.b is made again"}, {0: 7, 1: 17, 2: 7}),
        (_lost_record, {"b": "it was never made", "c": "intermediate.b is made again"}, {0: 1, 1: 10, 2: 0}),
        (_foreign_commit, {"b": "it was changed or not finished", "c": "intermediate.b is made again"}, {0: 1, 1: 10, 2: 0}),
        (_lost_folder, {"b": "it was changed or not finished", "c": "intermediate.b is made again"}, {0: 1, 1: 10, 2: 0}),
        (_code, CODE_CHANGED, {0: 1, 1: 10, 2: 0}),
    ],
    ids=lambda value: value.__name__.strip("_") if callable(value) else "-",
)
def test_a_change_makes_again_exactly_what_depends_on_it(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, change: Change, planned: dict[str, str], rows: Values
) -> None:
    lake.run(*chain(lake))
    lake.called()
    tables = change(lake, monkeypatch)
    assert lake.plan(*tables) == planned
    assert sorted(lake.run(*tables)) == sorted(planned)
    assert lake.called() == sorted(planned)
    assert lake.values("c") == rows
    assert lake.run(*tables) == []


def test_a_changed_schema_is_stored(lake: Lake) -> None:
    lake.run(*chain(lake, keeps_equal=True))
    lake.run(*chain(lake, keeps_equal=True, schema={"part": "int", "value": "bigint"}))
    assert lake.store.read(Zone.INTERMEDIATE, "b").dtypes == [("part", "int"), ("value", "bigint")]


def test_a_full_run_makes_everything(lake: Lake) -> None:
    lake.run(*chain(lake))
    lake.called()
    assert lake.plan(*chain(lake), full=True).keys() == set("abcd")
    assert sorted(lake.run(*chain(lake), full=True)) == ["a", "b", "c", "d"]
    assert [lake.version(name) for name in ("a", "b", "c", "silver.d")] == [1, 1, 1, 1]


def test_a_lost_table_counts_its_versions_anew_and_what_read_it_notices(lake: Lake) -> None:
    """Version 0 before and version 0 after are not the same table."""
    lake.run(*chain(lake))
    shutil.rmtree(lake.store.path(Zone.INTERMEDIATE, "a"))
    lake.called()
    asked: list[frozenset[TableName]] = []

    def affected(changes: InputChanges) -> Affected:
        asked.append(changes.names)
        return Extent.NOTHING

    assert lake.run(*chain(lake, 3, affected=affected)) == ["a", "b", "c"]
    assert lake.version("a") == 0
    assert lake.values("c") == {0: 3, 1: 10, 2: 0}
    assert asked == []


@pytest.mark.parametrize("put_back", ["a", "b"])
def test_an_older_copy_of_a_table_is_made_again_with_what_read_it(
    lake: Lake, put_back: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a restore of one root: the versions that follow have the numbers of others that were read."""
    lake.run(*chain(lake))
    folder, backup = Path(lake.store.path(Zone.INTERMEDIATE, put_back)), lake.folder / "backup"
    shutil.copytree(folder, backup)
    lake.run(*chain(lake, 2))
    shutil.rmtree(folder)
    shutil.copytree(backup, folder)
    lake.called()
    assert put_back in lake.plan(*chain(lake, 3))
    lake.run(*chain(lake, 3))
    assert [lake.version(name) for name in "abc"] == ([1, 2, 2] if put_back == "a" else [2, 1, 2])
    assert lake.values("c") == {0: 3, 1: 10, 2: 0}, "c was made of a version of the same number"
    assert f"intermediate.{put_back} is at version 0 and 1 was made: an older copy was put back" in caplog.text


def test_a_lost_table_and_a_crash_before_it_is_recorded(lake: Lake) -> None:
    lake.run(*chain(lake))
    shutil.rmtree(lake.store.path(Zone.INTERMEDIATE, "a"))
    with pytest.raises(CrashError):
        CrashingRunner(lake.store, lake.folder / "state.json", 1, crash_at=1).run(chain(lake, 3))
    assert lake.version("a") == 0
    lake.run(*chain(lake, 3))
    assert lake.values("c") == {0: 3, 1: 10, 2: 0}


def test_what_was_made_is_known_until_it_is_removed(lake: Lake) -> None:
    """Also what read a table that is removed: it is still there, and made again as a whole if anything asks for it."""

    def affected(_changes: InputChanges) -> Affected:
        raise AssertionError("asked of which rows a table differs that is not there")

    lake.run(*chain(lake))
    lake.runner.drop([name_of("a")])
    assert sorted(map(str, lake.runner.known_tables())) == ["intermediate.b", "intermediate.c", "silver.d"]
    assert lake.plan(*chain(lake)) == {
        "a": "it was never made",
        "b": "intermediate.a is made again",
        "c": "intermediate.b is made again",
    }
    assert lake.runner.plan(chain(lake)[2:3])[0].reason == "what it was made from is gone or was replaced"
    assert lake.run(*chain(lake, 3, affected=affected)) == ["a", "b", "c"]
    assert lake.values("c") == {0: 3, 1: 10, 2: 0}
    assert (lake.version("a"), lake.version("b")) == (0, 1)
    lake.runner.drop(lake.runner.known_tables())
    assert lake.runner.known_tables() == []
    assert [lake.version(name) for name in ("a", "b", "c", "silver.d")] == [None] * 4


# How much of a table is made again


def test_a_table_that_comes_out_equal_keeps_its_version_and_stops_what_reads_it(lake: Lake) -> None:
    lake.run(*chain(lake, keeps_equal=True))
    lake.called()
    tables = [replace(table, parameters="new") if table.name.name == "b" else table for table in chain(lake, keeps_equal=True)]
    assert list(lake.plan(*tables)) == ["b", "c"]
    assert lake.run(*tables) == []
    assert lake.called() == ["b"]
    assert (lake.version("b"), lake.version("c")) == (0, 0)
    assert lake.plan(*tables) == {}
    assert lake.run(*chain(lake, 2, keeps_equal=True)) == ["a", "b", "c"]
    assert (lake.version("b"), lake.version("c")) == (1, 1)


def parts_that_differ(changes: InputChanges) -> Affected:
    """The partitions in which any changed input differs."""
    parts = {
        part
        for name in changes.names
        for part in PARTS
        if values(changes.before(*name)).get(part) != values(changes.now(*name)).get(part)
    }
    return Partitions("part", tuple(sorted(parts))) if parts else Extent.NOTHING


def test_affected_partitions_are_rewritten_and_no_others(lake: Lake) -> None:
    by_part: dict[str, Any] = {"partition_by": ("part",), "affected": parts_that_differ}
    lake.run(*chain(lake, **by_part))
    before = lake.files("b")
    lake.called()
    assert lake.run(*chain(lake, 2, **by_part)) == ["a", "b", "c"]
    after = lake.files("b")
    assert {part for part in before if before[part] != after[part]} == {"part=0"}
    assert before.keys() == after.keys() == {"part=0", "part=1", "part=2"}
    assert lake.values("b") == {0: 2, 1: 10, 2: 0}


@pytest.mark.parametrize(
    ("extent", "written", "called"),
    [(Extent.NOTHING, ["a"], ["a"]), (Extent.WHOLE, ["a", "b", "c"], ["a", "b", "c"])],
)
def test_nothing_writes_nothing_and_whole_writes_all(lake: Lake, extent: Extent, written: list[str], called: list[str]) -> None:
    by_part: dict[str, Any] = {"partition_by": ("part",), "affected": lambda changes: extent}
    lake.run(*chain(lake, **by_part))
    before = lake.files("b")
    lake.called()
    assert lake.run(*chain(lake, 2, **by_part)) == written
    assert lake.called() == called
    kept = before if extent is Extent.NOTHING else {}
    assert {part: names for part, names in lake.files("b").items() if before[part] & names} == kept
    assert lake.plan(*chain(lake, 2, **by_part)) == {}


def test_affected_is_asked_only_when_nothing_but_inputs_has_changed(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[set[str]] = []

    def affected(changes: InputChanges) -> Affected:
        asked.append({str(name) for name in changes.names})
        return Extent.WHOLE

    def tables(a: int) -> list[Table]:
        return chain(lake, a, affected=affected)

    lake.run(*tables(1))
    assert asked == []
    lake.run(*tables(2))
    assert asked == [{"intermediate.a"}]
    asked.clear()
    lake.run(*[replace(table, parameters="new") if table.name.name == "b" else table for table in tables(3)])
    lake.run(*tables(3), full=True)
    lake.store.overwrite(frame_of(lake.session, {0: 99}), Zone.INTERMEDIATE, "b", SCHEMA)
    lake.run(*tables(4))
    lake.run(*chain(lake, 5, affected=affected, schema={"part": "int", "value": "bigint"}))
    with monkeypatch.context() as other:
        other.setattr(runner_module, "code_digest", lambda: "other code")
        lake.run(*tables(6))
    assert asked == []
    assert lake.values("c") == {0: 6, 1: 10, 2: 0}


def load_of(lake: Lake, part: int, value: int) -> Table:
    replaces = Partitions("part", (part,))
    return lake.table(
        "bronze.load",
        partition_by=("part",),
        replaces=replaces,
        parameters=f"{part} {value}",
        make=lambda made: frame_of(made.session, {part: value}),
    )


def test_a_load_replaces_its_partition_only_and_may_be_repeated(lake: Lake) -> None:
    lake.run(load_of(lake, 1, 10))
    lake.run(load_of(lake, 2, 20))
    first = lake.files("bronze.load")
    assert lake.values("bronze.load") == {1: 10, 2: 20}
    lake.run(load_of(lake, 2, 21))
    assert lake.values("bronze.load") == {1: 10, 2: 21}
    assert lake.files("bronze.load")["part=1"] == first["part=1"]
    assert lake.run(load_of(lake, 2, 21)) == []
    lake.run(load_of(lake, 2, 21), full=True)
    assert lake.values("bronze.load") == {1: 10, 2: 21}
    assert lake.files("bronze.load")["part=1"] == first["part=1"]


# Failures


class CrashError(Exception):
    """The process is gone."""


@dataclass
class CrashingRunner(Runner):
    """A runner that is gone right after a number of tables were written and before the last of them is recorded."""

    crash_at: int = 0
    written: int = 0

    def _make(self, table: Table, part: Affected) -> int:
        if self.written >= self.crash_at:
            raise CrashError
        version = super()._make(table, part)
        self.written += 1
        if self.written >= self.crash_at:
            raise CrashError
        return version


def test_a_failure_is_raised_and_the_next_run_makes_only_the_rest(lake: Lake) -> None:
    lake.workers = 1
    lake.failing = {"b"}
    with pytest.raises(OmopPipelineError, match=r"^b cannot be made$"):
        lake.run(*chain(lake))
    assert lake.called() == ["a", "b"]
    assert lake.recorded() == {"intermediate.a": 0}
    lake.failing = set()
    assert lake.plan(*chain(lake)) == {
        "b": "it was never made",
        "c": "intermediate.b is made again",
        "d": "it was never made",
    }
    assert lake.run(*chain(lake)) == ["b", "c", "d"]
    assert lake.called() == ["b", "c", "d"]
    assert lake.version("a") == 0


def test_what_is_under_way_is_finished_when_something_fails(lake: Lake) -> None:
    both = Barrier(2, timeout=60)

    def failing(made: Inputs) -> DataFrame:
        both.wait()
        raise OmopPipelineError("a cannot be made")

    def slow(made: Inputs) -> DataFrame:
        both.wait()
        return frame_of(made.session, {0: 1})

    with pytest.raises(OmopPipelineError, match=r"^a cannot be made$"):
        lake.run(lake.table("a", make=failing), lake.table("b", make=slow))
    assert lake.recorded() == {"intermediate.b": 0}


def test_a_table_written_but_not_recorded_is_made_again_as_a_whole(lake: Lake) -> None:
    by_part: dict[str, Any] = {"partition_by": ("part",), "affected": parts_that_differ}
    lake.run(*chain(lake, **by_part))
    with pytest.raises(CrashError):
        CrashingRunner(lake.store, lake.folder / "state.json", 1, crash_at=2).run(chain(lake, 2, **by_part))
    assert (lake.version("a"), lake.version("b")) == (1, 1)
    assert lake.recorded() == {"intermediate.a": 1, "intermediate.b": 0, "intermediate.c": 0, "silver.d": 0}
    assert lake.plan(*chain(lake, 2, **by_part)) == {
        "b": "it was changed or not finished",
        "c": "intermediate.b is made again",
    }
    assert lake.run(*chain(lake, 2, **by_part)) == ["b", "c"]
    assert lake.values("c") == {0: 2, 1: 10, 2: 0}


# Progress and selection


def test_only_tables_that_were_written_are_reported_as_made(lake: Lake) -> None:
    heard: list[tuple[str, int, bool]] = []

    def made(own: dict[int, int]) -> list[tuple[str, int, bool]]:
        heard.clear()
        runner = lake.runner
        runner.on_made = lambda table, version, seconds: heard.append((table.name.name, version, seconds > 0))
        runner.run([lake.table("a", own=own), lake.table("b", keeps_equal=True), lake.table("c", "a")])
        return sorted(heard)

    assert made({0: 1}) == [("a", 0, True), ("b", 0, True), ("c", 0, True)]
    assert made({0: 1}) == []
    assert made({0: 2}) == [("a", 1, True), ("c", 1, True)]


def test_progress_hears_of_every_table_once(lake: Lake) -> None:
    for tables in (chain(lake), chain(lake), chain(lake, 2)):
        heard: list[str] = []
        lake.runner.run(tables, heard.append)
        assert sorted(heard) == ["intermediate.a", "intermediate.b", "intermediate.c", "silver.d"]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (["silver"], {"silver.d"}),
        (["intermediate.b"], {"intermediate.a", "intermediate.b"}),
        (["c"], {"intermediate.a", "intermediate.b", "intermediate.c"}),
        (["a", "silver"], {"intermediate.a", "silver.d"}),
        (["curate"], {"silver.d"}),
        (["d"], {"silver.d", "omop.d", "intermediate.a"}),
        ([], set()),
    ],
)
def test_zones_tables_and_bare_names_are_selected_with_what_they_need(
    sail: SparkSession, tmp_path: Path, wanted: list[str], names: set[str]
) -> None:
    lake = Lake(sail, tmp_path)
    tables = chain(lake) if "d" not in wanted else [*chain(lake), lake.table("omop.d", "a")]
    assert {str(table.name) for table in selected(tables, wanted)} == names


def test_a_selector_that_names_nothing_is_refused(lake: Lake) -> None:
    says = (
        r"^--select person: no table has this name; give a table \(omop\.person\), a zone \(bronze, intermediate, silver\) or "
    )
    with pytest.raises(SelectionError, match=says):
        selected(chain(lake), ["a", "person"])


@pytest.mark.parametrize(
    ("selector", "similar"),
    [("intermediate.aa", "a"), ("silvr", "silver"), ("curated", "curate"), ("gate", "gates"), ("bronz", "bronze")],
)
def test_a_mistyped_selector_names_what_is_similar(lake: Lake, selector: str, similar: str) -> None:
    with pytest.raises(SelectionError, match=rf"no table has this name; did you mean {similar}[ ?]"):
        selected(chain(lake), [selector])


# Whatever changes, and wherever a run ends


@dataclass(frozen=True)
class Node:
    """A table of a random graph: its inputs are earlier ones."""

    inputs: tuple[int, ...]
    kind: str


KINDS = ("plain", "keeps_equal", "affected")


@st.composite
def graphs(draw: st.DrawFn) -> list[Node]:
    size = draw(st.integers(2, 8))
    return [
        Node(
            tuple(sorted(draw(st.sets(st.integers(0, place - 1), max_size=2)))) if place else (),
            draw(st.sampled_from(KINDS)),
        )
        for place in range(size)
    ]


place = st.integers(0, 7)
changes = st.lists(
    st.one_of(
        st.tuples(st.just("bump"), place, st.sampled_from(PARTS)),
        st.tuples(st.just("run"), st.just(0), st.just(0)),
        st.tuples(st.just("crash"), st.integers(1, 4), st.just(0)),
        st.tuples(st.just("lose"), place, st.just(0)),
    ),
    max_size=6,
)


def declared(lake: Lake, graph: list[Node], own: list[Values]) -> list[Table]:
    """Values are halved, so that a bump may leave what reads it as it is."""

    def declare(place: int, node: Node) -> Table:
        inputs = tuple(name_of(f"t{number}") for number in node.inputs)

        def make(made: Inputs) -> DataFrame:
            read = [values(made.read(*name)) for name in inputs]
            return frame_of(made.session, {p: (own[place][p] + sum(rows[p] for rows in read)) // 2 for p in PARTS})

        options: dict[str, Any] = {"keeps_equal": True} if node.kind == "keeps_equal" else {}
        if node.kind == "affected":
            options = {"partition_by": ("part",), "affected": parts_that_differ}
        return replace(lake.table(f"t{place}", own=own[place], **options), make=make, inputs=inputs)

    return [declare(place, node) for place, node in enumerate(graph)]


def expected(graph: list[Node], own: list[Values]) -> list[Values]:
    """The values by plain arithmetic."""
    made: list[Values] = []
    for place, node in enumerate(graph):
        made.append({part: (own[place][part] + sum(made[other][part] for other in node.inputs)) // 2 for part in PARTS})
    return made


@contextlib.contextmanager
def new_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(graph=graphs(), happened=changes)
def test_after_any_changes_and_crashes_a_run_gives_what_a_new_folder_gives(
    sail: SparkSession, graph: list[Node], happened: list[tuple[str, int, int]]
) -> None:
    own = [{part: 3 * place + part for part in PARTS} for place in range(len(graph))]
    with new_folder() as folder, new_folder() as other:
        lake, new = Lake(sail, folder), Lake(sail, other)
        lake.run(*declared(lake, graph, own))
        for what, which, part in happened:
            tables = declared(lake, graph, own)
            if what == "bump":
                own[which % len(graph)][part] += 1
            elif what == "run":
                lake.run(*tables)
            elif what == "lose":
                shutil.rmtree(lake.store.path(*name_of(f"t{which % len(graph)}")), ignore_errors=True)
            else:
                with contextlib.suppress(CrashError):
                    CrashingRunner(lake.store, folder / "state.json", 2, crash_at=which).run(tables)
        tables = declared(lake, graph, own)
        planned = set(lake.plan(*tables))
        assert set(lake.run(*tables)) <= planned
        assert lake.plan(*tables) == {}
        new.run(*declared(new, graph, own))
        names = [f"t{place}" for place in range(len(graph))]
        assert [lake.values(name) for name in names] == [new.values(name) for name in names] == expected(graph, own)
