"""No identifier after curate, and no key anywhere: all bytes are searched for every delivered identifier."""

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from pipelines.governance.keys import derive, hmac_pads
from pipelines.settings import SOURCES
from pipelines.synthetic.demo_key import DEMO_KEY
from tests.e2e.identifiers import PEOPLE_COLUMNS, SHORTEST, needles_of, secrets_in
from tests.e2e.scanner import Haystack, Needles, column_bytes, findings, haystacks
from tests.e2e.world import DemoWorld


def test_needles_are_of_all_people_and_sources(world: DemoWorld, needles: Needles) -> None:
    people = world.truth("people")
    numbers = {person["nhs_number"] for person in people} - {""}
    assert len(numbers) >= len(people) - 5
    assert needles.anywhere["people.nhs_number"] == numbers
    assert needles.words["people.surname"] >= {person["surname"] for person in people if len(person["surname"]) >= SHORTEST}
    sources = {kind.partition(".")[0] for kind in needles.anywhere}
    assert sources == {"people", *SOURCES}
    assert sum(map(len, needles.anywhere.values())) > 10_000


def test_they_are_in_the_restricted_root(world: DemoWorld, needles: Needles) -> None:
    """The scan works: in bronze it must find nearly every kind."""
    found = {finding.partition(" in ")[0] for finding in findings(needles, world.folder / "restricted" / "bronze")}
    assert found >= {kind for kind in needles.anywhere if not kind.startswith("people.")}
    assert found >= {f"people.{column}" for column in PEOPLE_COLUMNS}


def test_nothing_identifies_under_the_deidentified_root(world: DemoWorld, needles: Needles) -> None:
    found = findings(needles, world.folder / "deidentified")
    assert not found, f"{len(found)} findings, the first: {found[:10]}"


def test_nothing_identifies_in_the_published_file(world: DemoWorld, needles: Needles) -> None:
    found = set()
    with duckdb.connect(str(world.duckdb), read_only=True) as release:
        for (table,) in release.execute("SELECT table_name FROM information_schema.tables").fetchall():
            rows = release.table(table).to_arrow_table()
            for column in rows.column_names:
                kinds = needles.kinds_in(Haystack("", column_bytes(rows[column]), True))
                found |= {f"{kind} in {table}.{column}" for kind in kinds}
    assert not found


def test_nothing_identifies_in_what_was_said(world: DemoWorld, needles: Needles) -> None:
    output = world.log.read_bytes()
    assert b"make tables: done" in output
    assert not needles.kinds_in(Haystack("", output, True))


NUMBER, SURNAME, GUID = "9991234563", "O'Zzyx", "A65C1BB9-43A6-4BEE-81D8-B5B59D02DE44"
PLANTED = needles_of({"number": {NUMBER}, "surname": {SURNAME}, "guid": {GUID}, "mrn": {"HZ77123"}})


def _delta(folder: Path, **values: object) -> Path:
    path = folder / "table"
    write_deltalake(str(path), pa.table({name: [value] for name, value in values.items()}))
    return path


def _parquet(folder: Path, column: pa.Array, **options: object) -> None:
    pq.write_table(pa.table({"value": column}), folder / "some.parquet", **options)


def _checkpoint(folder: Path) -> None:
    """Values that are only in the statistics which a checkpoint keeps of a deleted file."""
    table = _delta(folder, name=SURNAME)
    DeltaTable(str(table)).create_checkpoint()
    for path in [*table.glob("*.parquet"), *(table / "_delta_log").glob("*.json")]:
        path.unlink()


def _log_statistics(folder: Path) -> None:
    for path in _delta(folder, name=SURNAME).glob("*.parquet"):
        path.unlink()


def _footer(folder: Path) -> None:
    _parquet(folder, pa.array([1]).cast(pa.int64()))
    table = pq.read_table(folder / "some.parquet").replace_schema_metadata({"note": f"of {SURNAME}"})
    pq.write_table(table, folder / "some.parquet")


def _folder(folder: Path) -> None:
    (folder / f"name={SURNAME}").mkdir()
    (folder / f"name={SURNAME}" / "x").touch()


def _zstd(folder: Path) -> None:
    filler = [f"{place} and some more text" for place in range(2000)]
    _parquet(folder, pa.array([*filler, f"key={NUMBER};", *filler]), compression="zstd", use_dictionary=False)


WAYS_TO_WRITE: dict[str, Callable[[bytes], bytes | str]] = {
    "bytes": bytes,
    "hexadecimal": bytes.hex,
    "capitals": lambda secret: secret.hex().upper(),
    "base64": lambda secret: base64.b64encode(secret).decode(),
}

PLANTS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "compressed text": ("number", _zstd),
    "whole number": ("number", lambda folder: _parquet(folder, pa.array([int(NUMBER)]))),
    "decimal number": ("number", lambda folder: _parquet(folder, pa.array([float(NUMBER)]))),
    "binary": ("mrn", lambda folder: _parquet(folder, pa.array([b"\x00HZ77123\xff"]))),
    "list of structs": ("guid", lambda folder: _parquet(folder, pa.array([[{"inner": GUID.lower()}]]))),
    "spaced number": ("number", lambda folder: _parquet(folder, pa.array(["999 123 4563"]))),
    "name in a sentence": ("surname", lambda folder: _parquet(folder, pa.array(["seen with MRS O'ZZYX, at home"]))),
    "footer": ("surname", _footer),
    "statistics in the log": ("surname", _log_statistics),
    "checkpoint": ("surname", _checkpoint),
    "file name": ("guid", lambda folder: (folder / f"of_{GUID}.bin").write_bytes(b"")),
    "folder name": ("surname", _folder),
    "document": ("mrn", lambda folder: (folder / "x.json").write_text(json.dumps({"a": ["hz77123"]}))),
    "packed file": ("guid", lambda folder: (folder / "x.csv.gz").write_bytes(gzip.compress(f"a,{GUID}\n".encode()))),
    "document without a suffix": ("surname", lambda folder: (folder / "current").write_text(f'{{"by": "{SURNAME}"}}')),
}


@pytest.mark.parametrize("place", PLANTS)
def test_the_scan_finds_a_planted_value(place: str, tmp_path: Path) -> None:
    kind, plant = PLANTS[place]
    _delta(tmp_path / "clean", name="Zzy", number=9991234562)
    assert not findings(PLANTED, tmp_path)
    (tmp_path / "planted").mkdir()
    plant(tmp_path / "planted")
    assert {finding.partition(" in ")[0] for finding in findings(PLANTED, tmp_path)} == {kind}


SAID_OF_FILES = (
    '{"add":{"path":"a.parquet","size":123456,"modificationTime":123456}}',
    '{"remove":{"path":"a.parquet","size":123456,"deletionTimestamp":123456}}',
    '{"commitInfo":{"timestamp":123456,"operationMetrics":{"numAddedBytes":123456,"scanTimeMs":123456,"numOutputRows":123456}}}',
)


@pytest.mark.parametrize("said", SAID_OF_FILES)
def test_what_the_engine_counts_of_files_is_no_identifier(tmp_path: Path, said: str) -> None:
    log = tmp_path / "_delta_log"
    log.mkdir()
    code = needles_of({"code": {"123456"}})
    entry = log / f"{0:020}.json"
    entry.write_text(said)
    assert findings(code, tmp_path) == []
    entry.write_text('{"add":{"path":"a.parquet","size":7,"stats":"{\\"maxValues\\":{\\"code\\":123456}}"}}')
    assert findings(code, tmp_path) == [f"code in _delta_log/{entry.name}"]


def test_the_key_is_nowhere_but_in_its_file(world: DemoWorld) -> None:
    key_file = world.folder / "restricted" / "demo.key"
    assert secrets_in(key_file.read_bytes()) == {"key in hexadecimal"}
    found = [
        f"{name} in {path.relative_to(world.folder)}{haystack.where}"
        for root in ("restricted", "deidentified")
        for path in sorted((world.folder / root).rglob("*"))
        if path.is_file() and path != key_file
        for haystack in haystacks(path, world.folder)
        for name in secrets_in(haystack.content)
    ]
    assert not found


def test_the_key_is_not_in_what_was_said(world: DemoWorld) -> None:
    assert not secrets_in(world.log.read_bytes())


@pytest.mark.parametrize("way", WAYS_TO_WRITE)
@pytest.mark.parametrize("secret", [DEMO_KEY.material, hmac_pads(derive(DEMO_KEY, "row"))[0]], ids=["key", "pad"])
def test_a_planted_key_is_found(secret: bytes, way: str, tmp_path: Path) -> None:
    _parquet(tmp_path, pa.array([WAYS_TO_WRITE[way](secret)]), compression="zstd")
    found = [name for haystack in haystacks(tmp_path / "some.parquet", tmp_path) for name in secrets_in(haystack.content)]
    assert found
