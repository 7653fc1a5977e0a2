"""A run gives the same tables whether its deliveries are in a folder or in an object store, on a real S3 server."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession
from upath import UPath

from jobs.cli import main
from pipelines.nightly import nightly
from pipelines.settings import Settings
from pipelines.storage.files import entries_in, entry_at
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.synthetic.generate import FIRST_NIGHT, generate
from pipelines.terminology.vocabulary import load
from tests.builders.object_store import ObjectStore, object_store, variables
from tests.builders.runs import settings_in

pytestmark = pytest.mark.embedded

PEOPLE, SEED = 24, 3
SOURCES = ("ambulance",)


@dataclass(frozen=True)
class Loaded:
    """Two lakehouses with the same deliveries: of one they are in a folder, of the other in a store."""

    folder: Path
    landing: UPath
    store: ObjectStore

    def tables(self, lake: str) -> dict[str, Path]:
        """The Delta tables of a lakehouse by zone and name."""
        found = sorted((self.folder / lake).glob("*/*/*/_delta_log"))
        return {f"{log.parent.parent.name}.{log.parent.name}": log.parent for log in found}


@pytest.fixture(scope="module")
def loaded(sail: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """A night of one source, from a folder and from a store."""
    folder = tmp_path_factory.mktemp("landings")
    generate(PEOPLE, SEED, 1, folder)
    with object_store() as store:
        landing = store.bucket("deliveries") / "sde" / "landing"
        store.copy(folder / "landing", landing)
        for lake, place in (("from_folder", folder / "landing"), ("from_store", landing)):
            settings = settings_for(folder / lake, place)
            demo_key_file(folder / lake / "restricted" / "demo.key")
            load(settings)
            nightly(settings, FIRST_NIGHT)
        yield Loaded(folder, landing, store)


def settings_for(folder: Path, landing: Path | UPath) -> Settings:
    """The settings of a lakehouse whose deliveries are somewhere else."""
    key = f"key.path={folder / 'restricted' / 'demo.key'}"
    return settings_in(folder, f"storage.landing={landing}", key, f"run.sources=[{', '.join(SOURCES)}]")


def rows(table: Path) -> list[str]:
    """The rows of a table as text, in order."""
    return sorted(DeltaTable(str(table)).to_pandas().astype(str).agg("|".join, axis=1))


def test_every_table_is_the_same(loaded: Loaded) -> None:
    from_folder, from_store = loaded.tables("from_folder"), loaded.tables("from_store")
    assert list(from_store) == list(from_folder)
    assert len(from_store) > 100
    assert [name for name, table in from_folder.items() if rows(table) != rows(from_store[name])] == []


def options(loaded: Loaded, **changed: str) -> list[str]:
    """The lakehouse from the store as options of a command that is called in this process."""
    lake = loaded.folder / "from_store"
    chosen = {
        "storage.landing": str(loaded.landing),
        "storage.restricted": str(lake / "restricted"),
        "storage.deidentified": str(lake / "deidentified"),
        "key.path": str(lake / "restricted" / "demo.key"),
        "run.sources": f"[{', '.join(SOURCES)}]",
        "engine.shared_network": "a test that goes on after the command",
    }
    return [f"--set={name}={value}" for name, value in (chosen | changed).items()]


def command(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code of a command and what it said."""
    try:
        main([*arguments, "--json"])
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out + said.err


DAY = f"{FIRST_NIGHT:%Y%m%d}"


def test_the_next_run_finds_nothing_new(loaded: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: DeltaTable(str(table)).version() for name, table in loaded.tables("from_store").items()}
    code, said = command(capsys, "run", "--date", f"{FIRST_NIGHT}", *options(loaded))
    assert code == 0, said
    assert {name: DeltaTable(str(table)).version() for name, table in loaded.tables("from_store").items()} == before


def test_deliveries_are_listed_checked_and_announced_where_they_are(loaded: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    (provider,) = loaded.landing.joinpath("ambulance").iterdir()
    new = loaded.landing / "ambulance" / provider.name / f"{FIRST_NIGHT + timedelta(days=1):%Y%m%d}"
    for file in (provider / DAY).iterdir():
        if file.name != "manifest.json":
            (new / file.name).write_bytes(file.read_bytes())
    place, later = str(new), ("--date", f"{FIRST_NIGHT + timedelta(days=1)}")
    code, said = command(capsys, "check", place, *later, *options(loaded))
    assert (code, "no manifest.json" in said) == (12, True), said
    code, said = command(capsys, "manifest", place, "--mode", "full", *options(loaded))
    assert code == 0, said
    assert f"{place}/manifest.json" in said
    code, said = command(capsys, "manifest", place, "--mode", "full", *options(loaded))
    assert (code, "is there already; --replace writes it again" in said) == (12, True), said
    code, said = command(capsys, "check", place, *later, *options(loaded))
    assert code == 0, said
    code, said = command(capsys, "deliveries", *later, *options(loaded))
    assert (code, "no run has looked at it yet" in said) == (0, True), said
    new.fs.rm(new.path, recursive=True)


def test_doctor_looks_at_the_store(loaded: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    on = ("--date", f"{FIRST_NIGHT}")
    code, said = command(capsys, "doctor", *on, *options(loaded))
    assert (code, f"{loaded.landing}, 7 folders" in said) == (0, True), said
    code, said = command(capsys, "doctor", *on, *options(loaded, **{"storage.landing": "s3://no-such-bucket/landing"}))
    assert (code, said.count("there is no bucket or container of this name") > 2) == (32, True), said


def test_a_release_is_published_into_the_store(loaded: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    out = loaded.landing.parent / "out"
    code, said = command(capsys, "publish", "--to", f"duckdb:{out}/cdm.duckdb", *options(loaded))
    assert code == 0, said
    code, said = command(capsys, "publish", "--to", f"parquet:{out}", *options(loaded))
    assert code == 0, said
    (loaded.folder / "cdm.duckdb").write_bytes((out / "cdm.duckdb").read_bytes())
    (release,) = (entry.name for entry in entries_in(out) if entry.is_folder)
    (loaded.folder / "person.parquet").write_bytes((out / release / "person.parquet").read_bytes())
    people = len(rows(loaded.tables("from_store")["omop.person"]))
    with duckdb.connect(str(loaded.folder / "cdm.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM person").fetchall() == [(people,)]
    assert len(duckdb.read_parquet(str(loaded.folder / "person.parquet")).fetchall()) == people > 0
    assert entry_at(out / release / "manifest.json") is not None
    with loaded.store.account_that_may("s3:ListBucket"):
        code, said = command(capsys, "publish", "--to", f"duckdb:{out}/other.duckdb", *options(loaded))
    assert (code, "other.duckdb: cannot be written: the account has no right to it" in said) == (22, True), said
    code, said = command(capsys, "publish", "--to", "duckdb:s3://no-such-bucket/cdm.duckdb", *options(loaded))
    assert (code, "there is no bucket or container of this name" in said) == (32, True), said


NO_ACCOUNT = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


@pytest.mark.parametrize(
    ("landing", "account", "code", "shown"),
    [
        ("s3://no-such-bucket/landing", {}, 32, "there is no bucket or container of this name"),
        ("s3://deliveries/sde/nothing", {}, 13, "the national opt-out list is missing"),
        (
            "s3://deliveries/sde/landing",
            NO_ACCOUNT,
            32,
            "no usable credentials",
        ),
        ("s3://deliveries/sde/landing", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 32, "the store cannot be reached"),
        ("s3://AKIA:s3cr3t@deliveries/landing", {}, 10, "URIs hold no credentials"),
        ("gs://deliveries/landing", {}, 10, "begins with s3:// or abfss://"),
    ],
)
def test_what_a_store_refuses_ends_a_run_with_its_own_code(
    loaded: Loaded,
    capsys: pytest.CaptureFixture[str],
    landing: str,
    account: dict[str, str | None],
    code: int,
    shown: str,
) -> None:
    with variables({"AWS_MAX_ATTEMPTS": "1"} | account):
        ended, said = command(capsys, "run", "--date", f"{FIRST_NIGHT}", *options(loaded, **{"storage.landing": landing}))
    assert (ended, shown in said) == (code, True), said
    assert "Traceback" not in said
    assert "s3cr3t" not in said.casefold()
