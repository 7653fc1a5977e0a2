"""Delivered files are opened whole, or refused by name."""

import bz2
import gzip
import hashlib
import io
import lzma
import random
import re
import zipfile
import zlib
from pathlib import Path

import pytest

from pipelines.errors import DeliveryError
from pipelines.ingest import opening
from pipelines.ingest.opening import content_of
from tests.builders.texts import random_lines

PLAIN = b"a,b,c\n" + b"".join(b"%d,%d,some text\n" % (number, number * 7919) for number in range(4000))


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip of files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def encrypted(archive: bytes) -> bytes:
    """The archive with the mark of a password in both of its headers."""
    local, central = archive.index(b"PK\x03\x04") + 6, archive.index(b"PK\x01\x02") + 8
    marked = bytearray(archive)
    marked[local] |= 1
    marked[central] |= 1
    return bytes(marked)


def delivered(folder: Path, name: str, content: bytes) -> Path:
    path = folder / "gp" / "P81001" / "20260105" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


GZIP, ZIP = gzip.compress(PLAIN), zipped(("x.csv", PLAIN))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", PLAIN),
        ("x.csv.gz", GZIP),
        ("x.CSV.GZ", GZIP),
        ("x.csv.gz", gzip.compress(PLAIN[:1000]) + gzip.compress(PLAIN[1000:])),
        ("x.csv.gz", gzip.compress(b"") + GZIP),
        ("x.csv.gz", GZIP + b"\0" * 3_000_000),
        ("x.zip", ZIP),
        ("x.csv.zip", zipped(("folder/", b""), ("folder/x.csv", PLAIN))),
        ("x.zip", zipped(("x.csv", PLAIN), method=zipfile.ZIP_STORED)),
        ("x.zip", zipped(("x.csv", PLAIN), method=zipfile.ZIP_BZIP2)),
        ("x.zip", zipped(("x.csv", PLAIN), method=zipfile.ZIP_LZMA)),
    ],
)
def test_the_content_is_what_was_packed(tmp_path: Path, name: str, content: bytes) -> None:
    path = delivered(tmp_path, name, content)
    assert b"".join(content_of(path, hashlib.sha256(content).hexdigest())) == PLAIN


@pytest.mark.parametrize("header", ["PAR1,PAR2", "BZh,b", "7z,Rar!", "<5,>5", "{a},b", "PK,b"])
def test_a_header_that_only_looks_like_another_format_is_read(tmp_path: Path, header: str) -> None:
    content = f"{header}\n1,2\n".encode()
    assert b"".join(content_of(delivered(tmp_path, "x.csv", content))) == content


REFUSED = {
    "gzip cut short": ("x.csv.gz", GZIP[:-200], "the gzip file is cut short"),
    "gzip without its check sum": ("x.csv.gz", GZIP[:-8], "the gzip file is cut short"),
    "gzip of no bytes": ("x.csv.gz", b"", "the gzip file is cut short"),
    "gzip with a wrong check sum": ("x.csv.gz", GZIP[:-8] + bytes(8), "the gzip file is damaged"),
    "gzip with a changed byte": ("x.csv.gz", GZIP[:900] + bytes([GZIP[900] ^ 255]) + GZIP[901:], "the gzip file is damaged"),
    "something after gzip": ("x.csv.gz", GZIP + b"garbage", "the gzip file is damaged"),
    "text named as gzip": ("x.csv.gz", PLAIN, "the gzip file is damaged"),
    "gzip in gzip": ("x.csv.gz", gzip.compress(GZIP), "the content is compressed by gzip"),
    "zip cut short": ("x.zip", ZIP[:-30], "the zip file is damaged"),
    "zip with a changed byte": ("x.zip", ZIP[:900] + bytes([ZIP[900] ^ 255]) + ZIP[901:], "the zip file is damaged"),
    "text named as zip": ("x.zip", PLAIN, "the zip file is damaged"),
    "zip of no bytes": ("x.zip", b"", "the zip file is damaged"),
    "encrypted zip": ("x.zip", encrypted(ZIP), "the zip file is encrypted"),
    "zip of two files": ("x.zip", zipped(("x.csv", PLAIN), ("y.csv", PLAIN)), "must hold exactly one file; found 2"),
    "zip of a Mac": (
        "x.zip",
        zipped(("x.csv", PLAIN), ("__MACOSX/._x.csv", b"\0\5\x16\7")),
        "must hold exactly one file; found 2, 1 of them in __MACOSX/ as a Mac adds them",
    ),
    "zip without a file": ("x.zip", zipped(), "must hold exactly one file; found 0"),
    "gzip named as text": ("x.csv", GZIP, "the content is compressed by gzip"),
    "workbook named as text": ("x.csv", ZIP, "the content is a zip archive or a workbook"),
    "bzip2": ("x.csv.bz2", bz2.compress(PLAIN), "the content is compressed by bzip2"),
    "fast bzip2": ("x.csv", bz2.compress(PLAIN, 1), "the content is compressed by bzip2"),
    "xz in gzip": ("x.csv.gz", gzip.compress(lzma.compress(PLAIN)), "the content is compressed by xz"),
    "zstd": ("x.csv.zst", b"\x28\xb5\x2f\xfd\x24" + bytes(50), "the content is compressed by zstd"),
    "lz4": ("x.csv", b"\x04\x22\x4d\x18" + bytes(50), "the content is compressed by lz4"),
    "7z": ("x.csv", b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(50), "the content is a 7z archive"),
    "rar": ("x.csv", b"Rar!\x1a\x07\x01\x00" + bytes(50), "the content is a rar archive"),
    "PGP": ("x.csv", b"-----BEGIN PGP MESSAGE-----\n\nhQ", "the content is encrypted or signed by PGP"),
    "Parquet": ("x.csv", b"PAR1\x15\x04" + bytes(50), "the content is a Parquet file"),
    "rich text": ("x.csv", b"{\\rtf1\\ansi a,b}", "the content is a document in rich text"),
    "a web page": ("x.csv", b"\xef\xbb\xbf\r\n<!DOCTYPE html>\n<p>Sign in</p>", "the content is a web page"),
    "a plain web page": ("x.csv", b"<HTML><body>503</body></HTML>", "the content is a web page"),
    "XML": ("x.csv", b'<?xml version="1.0"?><rows/>', "the content is an XML document"),
    "old workbook": ("x.csv", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "a document of an office program"),
}


@pytest.mark.parametrize(("name", "content", "rule"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_whole_is_refused_by_its_name(tmp_path: Path, name: str, content: bytes, rule: str) -> None:
    path = delivered(tmp_path, name, content)
    with pytest.raises(DeliveryError, match=rf"^gp/P81001/20260105/{re.escape(name)}: .*{re.escape(rule)}"):
        list(content_of(path))


@pytest.mark.parametrize(
    ("pack", "name"),
    [(gzip.compress, "x.csv.gz"), (lambda content: zipped(("x.csv", content)), "x.zip")],
    ids=["gzip", "zip"],
)
def test_an_archive_damaged_anywhere_gives_its_content_or_is_refused(tmp_path: Path, pack: object, name: str) -> None:
    assert callable(pack)
    whole = pack(PLAIN[:2000])
    generator = random.Random(1)
    refused = 0
    for _ in range(600):
        damaged = bytearray(whole)
        match generator.randrange(3):
            case 0:
                damaged[generator.randrange(len(damaged))] = generator.randrange(256)
            case 1:
                del damaged[generator.randrange(len(damaged)) :]
            case _:
                start = generator.randrange(len(damaged))
                del damaged[start : start + generator.randrange(1, 20)]
        path = delivered(tmp_path, name, bytes(damaged))
        try:
            assert b"".join(content_of(path)) == PLAIN[:2000]
        except DeliveryError as error:
            assert re.match(rf"gp/P81001/20260105/{name}: (the (gzip|zip) file is|a zip must hold)", str(error))
            refused += 1
    assert refused > 400


def bomb(size: int) -> bytes:
    """A gzip file that grows about a thousand times."""
    packer = zlib.compressobj(9, wbits=31)
    block = bytes(1 << 20)
    return b"".join(packer.compress(block) for _ in range(size >> 20)) + packer.flush()


@pytest.mark.parametrize("name", ["x.csv.gz", "x.zip"])
def test_a_file_that_grows_beyond_measure_is_refused_before_it_has(tmp_path: Path, name: str) -> None:
    size = 200 << 20
    content = bomb(size) if name.endswith("gz") else zipped(("x.csv", bytes(size)))
    taken = 0
    with pytest.raises(DeliveryError, match="the content is more than 200 times the compressed file"):
        for block in content_of(delivered(tmp_path, name, content)):
            taken += len(block)
            assert len(block) <= opening.BLOCK
    assert taken <= opening.CONTENT_ALWAYS_TAKEN


def test_a_small_file_may_grow_as_it_likes(tmp_path: Path) -> None:
    text = b"a,b,c\n" + b"1,2,3\n" * 2_000_000
    path = delivered(tmp_path, "x.csv.gz", gzip.compress(text))
    assert path.stat().st_size * opening.MOST_GROWTH < len(text)
    assert sum(map(len, content_of(path))) == len(text)


LONG = b"a,b\n" + random_lines(4_000_000)
PACKED = {"x.csv": LONG, "x.csv.gz": gzip.compress(LONG), "x.zip": zipped(("x.csv", LONG))}


@pytest.mark.parametrize("name", PACKED)
def test_a_file_that_was_changed_after_its_checksum_was_taken_is_refused(tmp_path: Path, name: str) -> None:
    path = delivered(tmp_path, name, PACKED[name])
    with pytest.raises(DeliveryError, match=rf"^gp/P81001/20260105/{name}: was changed after its checksum was taken"):
        list(content_of(path, hashlib.sha256(PLAIN).hexdigest()))


@pytest.mark.parametrize("name", PACKED)
def test_a_file_that_is_changed_while_it_is_read_is_refused(tmp_path: Path, name: str) -> None:
    path = delivered(tmp_path, name, PACKED[name])
    blocks = content_of(path, hashlib.sha256(PACKED[name]).hexdigest())
    next(blocks)
    with path.open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"x")
    with pytest.raises(DeliveryError, match=rf"^gp/P81001/20260105/{name}: (was changed after|the gzip file is damaged)"):
        list(blocks)


@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.zip"])
def test_the_system_says_why_a_file_cannot_be_read(tmp_path: Path, name: str) -> None:
    path = delivered(tmp_path, name, b"")
    path.unlink()
    with pytest.raises(DeliveryError, match=rf"^gp/P81001/20260105/{name}: cannot be read: No such file or directory"):
        list(content_of(path))
    path.mkdir()
    with pytest.raises(DeliveryError, match=rf"^gp/P81001/20260105/{name}: cannot be read: Is a directory"):
        list(content_of(path))
