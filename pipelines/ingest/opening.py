"""The content of a delivered file, decompressed and in blocks, whatever its size.

What cannot be opened or is not whole raises DeliveryError with the place of the file (source, provider, folder, name) and
what is wrong with it.
"""

import errno
import hashlib
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from pipelines.contracts.delivered_names import shown
from pipelines.errors import DeliveryError
from pipelines.storage.files import AnyPath, opened, why

BLOCK = 1 << 20
"""Bytes that are read and passed on at a time."""

CONTENT_ALWAYS_TAKEN = 64 << 20
"""A compressed file may grow to so many bytes whatever its size is."""

MOST_GROWTH = 200
"""Above CONTENT_ALWAYS_TAKEN, content is at most so many times its compressed file. Extracts grow 5 to 50 times; deflate can
do 1032."""

LARGEST_CONTENT = 64 << 30
"""The most bytes that the content of a compressed file may have."""

CANNOT_BE_READ = "cannot be read"
"""What is wrong with a file that the system or its store does not give: another day it may be read."""

_NOT_TEXT = {
    b"PK\x03\x04": "a zip archive or a workbook",
    b"\x1f\x8b": "compressed by gzip",
    b"BZh[1-9]1AY&SY": "compressed by bzip2",
    b"\xfd7zXZ\x00": "compressed by xz",
    rb"\x28\xb5\x2f\xfd": "compressed by zstd",
    b"\x04\x22\x4d\x18": "compressed by lz4",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a rar archive",
    b"-----BEGIN PGP ": "encrypted or signed by PGP",
    rb"PAR1[\x00-\x08\x0e-\x1f]": "a Parquet file",
    b"\xd0\xcf\x11\xe0": "a document of an office program",
    b"%PDF": "a PDF document",
    rb"{\\rtf": "a document in rich text",
    b"(?:\xef\xbb\xbf)?\\s*(?i:<!doctype html|<html)": "a web page, perhaps the message of a server",
    b"(?:\xef\xbb\xbf)?\\s*<\\?xml": "an XML document",
}
"""How content begins that is no table of text, as regular expressions."""

_FOR_MACS = "__MACOSX/"
_GZIP = 31
_DAMAGED_ZIP = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""What the standard library raises on archives that are damaged, or made in a way that it does not know."""


def place_of(path: AnyPath) -> str:
    """How messages name a delivered file: source, provider, folder and name."""
    return "/".join(map(shown, path.parts[-4:]))


def content_of(path: AnyPath, sha256: str | None = None) -> Iterator[bytes]:
    """The decompressed content of a plain, gzip or zip file, in blocks of at most BLOCK bytes.

    With `sha256` the bytes that are read are hashed: content that is not what the checksum was taken of is an error, whether
    the file was changed before it was read or meanwhile.

    Raises DeliveryError where the file cannot be read, is damaged, grows beyond all measure, is no text, or has another
    SHA-256; StoreError where its store does not answer.
    """
    place = place_of(path)
    try:
        with opened(path) as stream:
            compressed = path.suffix.casefold() in (".gz", ".zip")
            size = stream.seek(0, 2) if compressed else None
            stream.seek(0)
            read = _Hashed(stream)
            yield from _checked(_decompressed(read, path), place, size)
            if sha256 is not None and read.sha256() != sha256:
                raise DeliveryError(f"{place}: was changed after its checksum was taken; deliver it again, whole")
    except OSError as error:
        raise DeliveryError(f"{place}: {CANNOT_BE_READ}: {why(error)}") from error


def _checked(blocks: Iterator[bytes], place: str, size: int | None) -> Iterator[bytes]:
    """The blocks, as long as they can be the content of an extract. `size` is that of the compressed file."""
    taken = 0
    for block in blocks:
        if not taken:
            found = next((what for start, what in _NOT_TEXT.items() if re.match(start, block)), None)
            if found:
                raise DeliveryError(f"{place}: the content is {found}, not text with a header; deliver it as CSV")
        taken += len(block)
        if size is not None and taken > LARGEST_CONTENT:
            raise DeliveryError(f"{place}: the content is larger than {LARGEST_CONTENT >> 30} GiB; deliver it in parts")
        if size is not None and taken > max(CONTENT_ALWAYS_TAKEN, MOST_GROWTH * size):
            raise DeliveryError(f"{place}: the content is more than {MOST_GROWTH} times the compressed file; it is not taken")
        yield block


def _decompressed(stream: "_Hashed", path: AnyPath) -> Iterator[bytes]:
    match path.suffix.casefold():
        case ".gz":
            return _gunzipped(stream, place_of(path))
        case ".zip":
            return _unzipped(stream.searched(), place_of(path))
        case _:
            return iter(lambda: stream.read(BLOCK), b"")


def _gunzipped(stream: "_Hashed", place: str) -> Iterator[bytes]:
    """All members of a gzip file, one after the other. Zeros after a member are padding."""
    member = zlib.decompressobj(_GZIP)
    piece = stream.read(BLOCK)
    while piece:
        if member.eof:
            piece = piece.lstrip(b"\0")
            if not piece:
                piece = stream.read(BLOCK)
                continue
            member = zlib.decompressobj(_GZIP)
        try:
            block = member.decompress(piece, BLOCK)
        except zlib.error as error:
            raise DeliveryError(f"{place}: the gzip file is damaged; deliver it again") from error
        if block:
            yield block
        piece = member.unused_data or member.unconsumed_tail or stream.read(BLOCK)
    if not member.eof:
        raise DeliveryError(f"{place}: the gzip file is cut short; deliver it again")


def _unzipped(stream: BinaryIO, place: str) -> Iterator[bytes]:
    """The one file of a zip archive."""
    try:
        with zipfile.ZipFile(stream) as archive, archive.open(_only_member(archive, place)) as content:
            while block := content.read(BLOCK):
                yield block
    except (*_DAMAGED_ZIP, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # EINVAL: a place before the file's start
            raise
        raise DeliveryError(f"{place}: the zip file is damaged or of an unknown kind; deliver it again") from error


def _only_member(archive: zipfile.ZipFile, place: str) -> zipfile.ZipInfo:
    members = [member for member in archive.infolist() if not member.is_dir()]
    if len(members) != 1:
        for_macs = sum(member.filename.startswith(_FOR_MACS) for member in members)
        also = f", {for_macs} of them in {_FOR_MACS} as a Mac adds them" if for_macs else ""
        raise DeliveryError(f"{place}: a zip must hold exactly one file; found {len(members)}{also}")
    if members[0].flag_bits & 0x1:
        raise DeliveryError(f"{place}: the zip file is encrypted; deliver it without a password")
    return members[0]


class _Hashed:
    """A file that is hashed as it is read. One that is searched in, as a zip is, is read a second time for that."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._is_searched = False

    def read(self, size: int) -> bytes:
        """The next bytes."""
        block = self._stream.read(size)
        self._digest.update(block)
        return block

    def searched(self) -> BinaryIO:
        """The file itself, for who does not read it from its start to its end."""
        self._is_searched = True
        return self._stream

    def sha256(self) -> str:
        """The SHA-256 of the whole file, once it has been read."""
        if self._is_searched:
            self._stream.seek(0)
        while self.read(BLOCK):
            pass
        return self._digest.hexdigest()
