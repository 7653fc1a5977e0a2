"""One table of cases for files of this machine, in memory and in an object store."""

import gzip
import hashlib
import io
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from upath import UPath

from pipelines.errors import DeliveryError, OmopPipelineError, ReleaseError, StoreError
from pipelines.ingest.opening import content_of
from pipelines.release.store import Hold, ReleaseFolder
from pipelines.storage import files
from pipelines.storage.documents import Document
from pipelines.storage.files import (
    AnyPath,
    digest_of_file,
    entries_in,
    entry_at,
    is_folder,
    is_inside,
    opened,
    path_of,
    read_whole,
    remove,
    why,
    write_whole,
)
from tests.builders.object_store import ObjectStore, object_store, variables
from tests.builders.publications import RELEASE
from tests.builders.texts import random_lines

KINDS = ("local", "memory", "store")

TEXT = b"a,b\n" + random_lines(4_000_000)


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    """A store of this module."""
    with object_store() as running:
        yield running


@pytest.fixture(params=KINDS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> AnyPath:
    """An empty folder of each kind."""
    if request.param == "local":
        return tmp_path
    name = f"of-{hashlib.md5(request.node.nodeid.encode()).hexdigest()}"
    if request.param == "memory":
        return UPath(f"memory://{name}/of", protocol="memory")
    bucket: UPath = request.getfixturevalue("store").bucket(name)
    return bucket / "of"


def put(path: AnyPath, content: bytes = b"x") -> AnyPath:
    """A file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_listing_says_what_is_there_by_name(folder: AnyPath) -> None:
    put(folder / "b.csv", b"12345")
    put(folder / "a file é #1?.csv", b"")
    put(folder / "gp" / "P81001" / "x.csv")
    found = [(entry.name, entry.is_file, entry.is_folder, entry.is_link) for entry in entries_in(folder)]
    assert found == [
        ("a file é #1?.csv", True, False, False),
        ("b.csv", True, False, False),
        ("gp", False, True, False),
    ]
    assert [entry.size for entry in entries_in(folder) if entry.is_file] == [0, 5]
    assert [read_whole(entry.path) for entry in entries_in(folder) if entry.is_file] == [b"", b"12345"]
    assert entry_at(folder / "b.csv") == entries_in(folder)[1]


def test_what_is_not_there_is_empty(folder: AnyPath) -> None:
    put(folder / "b.csv")
    assert entries_in(folder / "none") == []
    assert entries_in(folder / "b.csv") == []
    assert entry_at(folder / "none") is None
    assert (is_folder(folder), is_folder(folder / "none"), is_folder(folder / "b.csv")) == (True, False, False)


def test_what_came_after_a_listing_is_in_the_next(folder: AnyPath) -> None:
    put(folder / "1" / "a")
    assert [entry.name for entry in entries_in(folder)] == ["1"]
    write_whole(folder / "1" / "b", b"")
    put(folder / "2" / "a")
    assert [entry.name for entry in entries_in(folder)] == ["1", "2"]
    assert [entry.name for entry in entries_in(folder / "1")] == ["a", "b"]


def test_the_mark_of_a_file_changes_with_its_content(folder: AnyPath) -> None:
    path = put(folder / "a", b"one")
    before = entry_at(path)
    assert entry_at(path) == before
    assert before is not None
    put(path, b"two")
    after = entry_at(path)
    assert after is not None
    assert before.mark != after.mark or before.mark == ""


def test_a_file_is_replaced_whole(folder: AnyPath) -> None:
    put(folder / "other")
    write_whole(folder / "a.json", b"old")
    write_whole(folder / "a.json", b"new and longer")
    assert read_whole(folder / "a.json") == b"new and longer"
    assert [entry.name for entry in entries_in(folder)] == ["a.json", "other"]


def test_a_file_is_read_in_pieces_and_searched(folder: AnyPath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK", 1 << 16)
    path = put(folder / "a.csv", TEXT)
    with opened(path) as stream:
        assert stream.read(5) == TEXT[:5]
        assert (stream.seek(0, 2), stream.tell(), stream.read(3)) == (len(TEXT), len(TEXT), b"")
        stream.seek(1_000_000)
        assert stream.read(70_000) == TEXT[1_000_000:1_070_000]
        stream.seek(-4, 2)
        assert stream.read() == TEXT[-4:]
    assert digest_of_file(path) == hashlib.sha256(TEXT).hexdigest()


class Note(Document):
    """A document."""

    text: str


def test_a_document_is_read_as_it_was_written(folder: AnyPath) -> None:
    path = folder / "deep" / "note.json"
    assert Note.read(path) is None
    for text in ("Ménière", "another"):
        Note(text=text).write(path)
        assert Note.read(path) == Note(text=text)
    assert [entry.name for entry in entries_in(path.parent)] == ["note.json"]
    write_whole(path, b"{")
    with pytest.raises(OmopPipelineError, match=r"note\.json: cannot be read; restore it from a backup"):
        Note.read(path)


def test_the_documents_of_releases_are_found_moved_to_and_removed(folder: AnyPath) -> None:
    releases = ReleaseFolder(folder / "releases")
    assert (releases.ids(), releases.current(), releases.holds()) == ([], None, ())
    for release_id in ("20240105-a", "20240106-b", "20240107-c"):
        releases.write(RELEASE.model_copy(update={"release_id": release_id}))
        releases.point_at(release_id, action="release", at="2024-01-07")
    releases.put_hold(Hold(release_id="20240105-a", owner="study 12", reason="it rests on it", at="2024-01-07"))
    releases.remove(["20240106-b"], at="2024-01-08", reason="of its age", day=date(2024, 1, 8))
    assert (releases.ids(), releases.current()) == (["20240105-a", "20240107-c"], "20240107-c")
    assert [removed.release_id for removed in releases.removed()] == ["20240106-b"]
    assert list(releases.held(date(2024, 1, 8))) == ["20240105-a"]
    with pytest.raises(ReleaseError, match=r"20240106-b was removed at 2024-01-08: of its age"):
        releases.read("20240106-b")


def test_a_file_is_written_where_nobody_may_change_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a mounted volume, where the platform decides who may read."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    write_whole(tmp_path / "a", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new"}


def test_what_is_not_there_can_be_removed(folder: AnyPath) -> None:
    put(folder / "a")
    remove(folder / "a")
    remove(folder / "a")
    assert entries_in(folder) == []


def zipped(content: bytes) -> bytes:
    """A zip of one file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.csv", content)
    return buffer.getvalue()


PACKED = {"x.csv": TEXT, "x.csv.gz": gzip.compress(TEXT), "x.zip": zipped(TEXT)}


@pytest.mark.parametrize("name", PACKED)
def test_a_delivered_file_is_unpacked_and_its_bytes_are_those_of_its_checksum(folder: AnyPath, name: str) -> None:
    path = put(folder / name, PACKED[name])
    assert b"".join(content_of(path, hashlib.sha256(PACKED[name]).hexdigest())) == TEXT
    with pytest.raises(DeliveryError, match="was changed after its checksum was taken"):
        list(content_of(path, "0" * 64))


@pytest.mark.parametrize("name", PACKED)
def test_a_file_that_is_replaced_while_it_is_read_is_refused_or_still_what_it_was(
    folder: AnyPath, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BLOCK", 1 << 16)
    path = put(folder / name, PACKED[name])
    blocks = content_of(path, hashlib.sha256(PACKED[name]).hexdigest())
    first = next(blocks)
    put(path, bytes(len(PACKED[name])))
    if "memory" in str(folder):  # whoever has it open keeps what was there
        assert first + b"".join(blocks) == TEXT
        return
    with pytest.raises(DeliveryError, match=r"(was changed after|was changed while|is damaged|is cut short)"):
        list(blocks)


def test_a_file_that_is_gone_since_it_was_listed_has_a_reason(folder: AnyPath) -> None:
    put(folder / "b")
    path = put(folder / "a.csv")
    (listed, _) = entries_in(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_whole(listed.path)
    with pytest.raises(DeliveryError, match=r"a\.csv: cannot be read: \S"):
        list(content_of(listed.path))


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("gs://bucket/x", "begins with s3:// or abfss://"),
        ("http://host/x", "begins with s3:// or abfss://"),
        ("s3://", "the name of a bucket"),
        ("s3:///x", "the name of a bucket"),
        ("s3://AKIA:s3cr3t@bucket/x", "URIs hold no credentials"),
        ("abfss://user:s3cr3t@account/x", "URIs hold no credentials"),
        ("abfss://c@account.dfs.core.windows.net/x", r"needs adlfs: pip install 'nhs-omop\[azure\]'"),
    ],
)
def test_what_is_no_place_is_refused_without_its_secret(place: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "find_spec", lambda package: None if package == "adlfs" else package)
    with pytest.raises(ValueError, match=said) as refused:
        path_of(place)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("s3://bucket", "s3://bucket/"),
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("S3A://bucket/a", "s3://bucket/a"),
        ("/Volumes/c/s/v/landing", "/Volumes/c/s/v/landing"),
    ],
)
def test_a_place_is_the_same_again_from_its_text(place: str, path: str) -> None:
    assert str(path_of(place)) == path
    assert path_of(str(path_of(place))) == path_of(place)
    assert str(path_of(place) / "gp" / "x y.csv") == f"{path.rstrip('/')}/gp/x y.csv"


def test_azure_is_asked_by_the_account_of_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is not installed here: this is as far as it can be tried."""
    monkeypatch.setattr(files, "find_spec", lambda package: package)
    place = path_of("abfs://extracts@account.dfs.core.windows.net/landing/")
    assert isinstance(place, UPath)
    assert place.protocol == "abfss"
    assert (place.storage_options["anon"], place.storage_options["use_listings_cache"]) == (False, False)


@pytest.mark.parametrize(
    ("path", "folder", "inside"),
    [
        ("/a/b", "/a", True),
        ("/a", "/a", True),
        ("/ab", "/a", False),
        ("/c/../a/b", "/a", True),
        ("/a/../c", "/a", False),
        ("/a", "/", True),
        ("s3://a/b/c", "s3://a/b", True),
        ("s3://a/bc", "s3://a/b", False),
        ("s3a://a/b/c", "s3://a/b", True),
        ("/a/b", "s3://a", False),
    ],
)
def test_one_place_is_inside_another(path: str, folder: str, inside: bool) -> None:
    assert is_inside(path_of(path), path_of(folder)) is inside


def test_the_empty_object_of_a_folder_is_no_file_in_it(store: ObjectStore) -> None:
    landing = store.bucket("markers") / "landing"
    for key in ("landing/", "landing/gp/", "landing/gp/P81001/"):
        landing.fs.pipe_file(f"markers/{key}", b"")
    put(landing / "gp" / "P81001" / "x.csv")
    assert [(entry.name, entry.is_folder) for entry in entries_in(landing)] == [("gp", True)]
    assert [(entry.name, entry.is_folder) for entry in entries_in(landing / "gp")] == [("P81001", True)]
    assert [(entry.name, entry.is_file) for entry in entries_in(landing / "gp" / "P81001")] == [("x.csv", True)]


def test_a_file_that_the_account_may_not_read_is_as_on_a_disk(store: ObjectStore) -> None:
    landing = store.bucket("rights") / "landing"
    put(landing / "gp" / "a.csv")
    with store.account_that_may("s3:ListBucket"):
        (listed,) = entries_in(store.place("rights/landing/gp"))
        with pytest.raises(PermissionError) as refused:
            read_whole(listed.path)
        assert why(refused.value) == "the account has no right to it"
        with pytest.raises(DeliveryError, match=r"gp/a\.csv: cannot be read: the account has no right to it"):
            list(content_of(listed.path))
        with pytest.raises(PermissionError):
            write_whole(listed.path, b"")


def test_an_account_that_may_not_list_or_is_unknown_is_no_fault_of_a_file(store: ObjectStore) -> None:
    store.bucket("closed")
    with store.account_that_may():
        with pytest.raises(StoreError, match="the account has no right to list what is there"):
            entries_in(store.place("closed/landing"))
        unknown = {"AWS_ACCESS_KEY_ID": "AKIANOBODY", "AWS_SECRET_ACCESS_KEY": "sEcr3t-too"}
        for change, code in (({"AWS_SECRET_ACCESS_KEY": "sEcr3t"}, "SignatureDoesNotMatch"), (unknown, "InvalidAccessKeyId")):
            with variables(change), pytest.raises(StoreError, match=rf"the store refuses the account \({code}\)") as refused:
                entries_in(store.place("closed/landing"))
            assert "sEcr3t" not in str(refused.value)


NO_ACCOUNT = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


@pytest.mark.parametrize(
    ("place", "change", "said"),
    [
        ("none-of-this-name/landing", {}, "s3://none-of-this-name/landing: there is no bucket or container of this name"),
        ("there/landing", NO_ACCOUNT, "there are no usable credentials"),
        ("there/landing", {"AWS_PROFILE": "nobody"}, "there are no usable credentials"),
        ("there/landing", {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}, "the store cannot be reached"),
    ],
)
def test_a_store_that_cannot_be_used_is_said_in_our_words(
    store: ObjectStore, place: str, change: dict[str, str | None], said: str
) -> None:
    if not store.place("there").fs.exists("there"):
        store.bucket("there")
    with variables(change), pytest.raises(StoreError, match=said) as refused:
        entries_in(store.place(place))
    assert "sEcr3t" not in str(refused.value)
    assert refused.value.__cause__ is None
