"""One interface to files, wherever they are: on this machine, on a mounted volume, or in an object store.

A place is a path or a URI such as `s3://bucket/landing`. The text of a URI is enough to open a file anywhere: who may read it
says the chain of credentials of the platform, where its store is its usual variables. Code names files by `AnyPath`, which has
the names and parts of pathlib either way; whatever looks at a file or opens it is here.

A store has no folders, links or rights of files, and cannot rename: a folder is there as long as a file is below it, and a
file is written by one upload, which readers see once it is complete.
"""

import errno
import hashlib
import io
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

from upath import UPath

from pipelines.errors import StoreError
from pipelines.scratch import scratch_folder

AnyPath = Path | UPath
"""A path of this machine, or one in an object store."""

BLOCK: Final = 8 << 20
"""Bytes that are fetched from a store at a time: of a file that is being read two of them are in memory at most."""


_PIECE: Final = 1 << 20

_UNFINISHED: Final = ".unfinished-"
"""What the folder is named in which something is made beside its place."""


class _Store(NamedTuple):
    """How a kind of store is reached: the package that does it, our extra that installs it, and options of the package."""

    package: str
    extra: str
    options: Mapping[str, Any] = {}


STORES: Final = {"s3": _Store("s3fs", "s3"), "abfss": _Store("adlfs", "azure", {"anon": False})}
"""The stores that URIs may name, by the scheme. Unless told otherwise, adlfs asks as nobody before it looks for an account."""

_SAME_STORE: Final = {"s3a": "s3", "abfs": "abfss"}
"""Other names of a scheme. What engines call s3a is s3."""

_URI: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)

_OF_CLIENTS: Final = ("botocore", "aiobotocore", "aiohttp", "s3fs", "azure", "adlfs", "msal")
"""The packages whose errors are not of Python's own kinds."""

_NO_SUCH_STORE: Final = ("NoSuchBucket", "ContainerNotFound")
_CHANGED: Final = ("PreconditionFailed", "InvalidRange", "412", "416")
_NO_RIGHT: Final = ("AccessDenied", "AllAccessDisabled", "AuthorizationPermissionMismatch", "403", "")
"""Codes of a store for a file that the account may not read; every other refusal is of the account itself."""


class Entry(NamedTuple):
    """What is in a folder: a file, a folder, a link (and then what it leads to), or none of them.

    `size` is in bytes. `mark` changes with the content: the time of change in nanoseconds, or what the store gives for it,
    which is empty where it gives nothing.
    """

    path: AnyPath
    is_file: bool = False
    is_folder: bool = False
    is_link: bool = False
    size: int = 0
    mark: int | str = 0

    @property
    def name(self) -> str:
        """The name in its folder."""
        return self.path.name


def path_of(place: str) -> AnyPath:
    """The path that a text names: one of this machine, made absolute, or that of a URI.

    Raises ValueError, which never repeats what could be a secret, for a URI that no store here has, or where the package that
    reaches its store is not installed.
    """
    found = _URI.fullmatch(place)
    if found is None:
        return Path(place).absolute()
    scheme, rest = found[1].casefold(), found[2]
    scheme = _SAME_STORE.get(scheme, scheme)
    if scheme not in STORES:
        raise ValueError(f"expected a path, or a URI that begins with {_schemes()}")
    bucket = rest.partition("/")[0]
    if not bucket or ":" in bucket or ("@" in bucket and scheme == "s3"):
        raise ValueError(f"{scheme}: expected the name of a bucket or container and nothing secret: URIs hold no credentials")
    store = STORES[scheme]
    if find_spec(store.package) is None:
        raise ValueError(f"{scheme}:// needs {store.package}: pip install 'nhs-omop[{store.extra}]'")
    # Whoever lists a folder twice, as a run does with the opt-out lists, has to see what has changed.
    return UPath(f"{scheme}://{rest.rstrip('/')}", protocol=scheme, use_listings_cache=False, **store.options)


def _schemes() -> str:
    return " or ".join(f"{scheme}://" for scheme in STORES)


def in_store(path: AnyPath) -> bool:
    """Whether a path is in an object store."""
    return not isinstance(path, Path)


def is_inside(path: AnyPath, folder: AnyPath) -> bool:
    """Whether a path is a folder or below it. On this machine `..` and links are followed."""
    return f"{_real(path)}/".startswith(f"{_real(folder).rstrip('/')}/")


def _real(path: AnyPath) -> str:
    return os.path.realpath(path) if isinstance(path, Path) else str(path)


def is_folder(path: AnyPath) -> bool:
    """Whether there is a folder: in a store something has to be in it."""
    return path.is_dir() if isinstance(path, Path) else bool(entries_in(path))


def entries_in(folder: AnyPath) -> list[Entry]:
    """What is in a folder, by name, from one listing; nothing where there is no folder.

    Raises OSError where a folder of this machine may not be read; StoreError where its store cannot be reached, has no such
    bucket, or does not let the account list it.
    """
    if isinstance(folder, Path):
        return _local_entries(folder)
    with _errors_of(folder):
        try:
            listed: list[Mapping[str, object]] = folder.fs.ls(folder.path, detail=True)
        except NotADirectoryError:
            return []
        except FileNotFoundError as error:
            if _code(error) in _NO_SUCH_STORE:
                raise
            return []
        except PermissionError as error:
            if _code(error) in _NO_RIGHT:
                raise StoreError(f"{folder}: the account has no right to list what is there") from None
            raise
    here = folder.path.rstrip("/")
    found = {str(info["name"]).rstrip("/").rpartition("/")[2]: info for info in listed if _below(info, here)}
    return [_stored(folder / name, info) for name, info in sorted(found.items())]


def _below(info: Mapping[str, object], folder: str) -> bool:
    """Whether a listed object is below the folder: it may be the folder's own empty object, or a file of its name."""
    return str(info["name"]).rstrip("/") != folder


def _local_entries(folder: Path) -> list[Entry]:
    try:
        with os.scandir(folder) as found:
            return sorted(entry for name in [there.name for there in found] if (entry := _local(folder / name)))
    except (FileNotFoundError, NotADirectoryError):
        return []


def files_below(folder: AnyPath) -> Iterator[Entry]:
    """Every file below a folder, by folders; links are not followed. Raises OSError or StoreError as `entries_in` does."""
    for entry in entries_in(folder):
        if entry.is_link:
            continue
        if entry.is_folder:
            yield from files_below(entry.path)
        elif entry.is_file:
            yield entry


def entry_at(path: AnyPath) -> Entry | None:
    """What is at a path; None where there is nothing. Raises OSError or StoreError as `entries_in` does."""
    if isinstance(path, Path):
        return _local(path)
    with _errors_of(path):
        try:
            return _stored(path, path.fs.info(path.path))
        except FileNotFoundError:
            return None


def _local(path: Path) -> Entry | None:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return Entry(path, path.is_file(), path.is_dir(), path.is_symlink(), found.st_size, found.st_mtime_ns)


def _stored(path: AnyPath, info: Mapping[str, object]) -> Entry:
    is_folder = info["type"] == "directory"
    mark = str(next((info[name] for name in ("ETag", "etag", "LastModified") if info.get(name)), ""))
    return Entry(path, is_file=not is_folder, is_folder=is_folder, size=int(str(info.get("size") or 0)), mark=mark)


@contextmanager
def opened(path: AnyPath) -> Iterator[BinaryIO]:
    """A file to be read and searched in, in bounded memory. Raises OSError, or StoreError where its store cannot be reached."""
    if isinstance(path, Path):
        with path.open("rb") as stream:
            yield stream
        return
    with _errors_of(path):
        stored = path.fs.open(path.path, "rb", block_size=BLOCK, cache_type="readahead")
    with stored:
        yield cast(BinaryIO, _Stored(stored, path))


def read_whole(path: AnyPath) -> bytes:
    """The content of a small file. Raises OSError, or StoreError where its store cannot be reached."""
    if isinstance(path, Path):
        return path.read_bytes()
    with _errors_of(path):
        return bytes(path.fs.cat_file(path.path))


def digest_of_file(path: AnyPath, kind: str = "sha256") -> str:
    """The checksum of a file's bytes, read in pieces. Raises OSError or StoreError as `opened` does."""
    digest = hashlib.new(kind, usedforsecurity=False)
    with opened(path) as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def write_whole(path: AnyPath, content: bytes, mode: int | None = None) -> None:
    """Write a file, or replace it, as a whole: readers find the old content or the new one, also when the machine stops.

    `mode` are its rights on this machine; without it whoever may read its folder may read the file.
    """
    if not isinstance(path, Path):
        with _errors_of(path):
            path.fs.pipe_file(path.path, content)
        return
    rights = path.parent.stat().st_mode & 0o666 if mode is None else mode
    descriptor, unfinished = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):  # on a mounted volume, where the platform decides who may read; a file of ours can be changed
            Path(unfinished).chmod(rights)
        Path(unfinished).replace(path)
    except BaseException:
        Path(unfinished).unlink(missing_ok=True)
        raise


def remove(path: AnyPath) -> None:
    """Remove a file, if it is there."""
    if isinstance(path, Path):
        path.unlink(missing_ok=True)
        return
    with suppress(FileNotFoundError), _errors_of(path):
        path.fs.rm_file(path.path)


def make_folder(path: AnyPath, mode: int = 0o777) -> None:
    """Make a folder with those above it; in a store nothing has to be made."""
    if isinstance(path, Path):
        path.mkdir(parents=True, exist_ok=True, mode=mode)


@contextmanager
def made_whole(target: AnyPath, scratch: Path | None = None, last: str = "") -> Iterator[Path]:
    """Where to make a file, or a folder of files, that takes its place as a whole when the block has ended without an error.

    On this machine it is made beside its place and renamed: a file replaces the one that is there, a folder needs a free place.
    What killed processes have left there unfinished is removed first.
    For a store it is made below `scratch`, or below the folder of the system, and copied, file by file. `last` is the file by
    which readers see that the folder is complete.
    """
    if isinstance(target, Path):
        is_new = not target.parent.exists()
        target.parent.mkdir(exist_ok=True)
        try:
            with scratch_folder(target.parent, _UNFINISHED) as beside:
                unfinished = beside / target.name
                yield unfinished
                unfinished.replace(target)
        except BaseException:
            if is_new:
                with suppress(OSError):  # another has put something there meanwhile
                    target.parent.rmdir()
            raise
        return
    entries_in(target.parent)  # what the store refuses is said before the work
    with scratch_folder(scratch) as folder:
        unfinished = folder / target.name
        yield unfinished
        made = [unfinished] if unfinished.is_file() else sorted(path for path in unfinished.rglob("*") if path.is_file())
        for path in sorted(made, key=lambda path: path.name == last):
            place = target / path.relative_to(unfinished).as_posix() if path != unfinished else target
            with _errors_of(place):
                place.fs.put_file(str(path), place.path)


def why(error: OSError) -> str:
    """Why a file cannot be read, without a value of it."""
    return error.strerror or type(error).__name__


class _Stored(io.BufferedIOBase):
    """A file of a store whose errors are those of a local one."""

    def __init__(self, stream: BinaryIO, path: UPath) -> None:
        self._stream = stream
        self._path = path

    def readable(self) -> bool:
        """It can be read."""
        return True

    def seekable(self) -> bool:
        """It can be searched in."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        with _errors_of(self._path):
            return self._stream.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a place."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        """The place."""
        return self._stream.tell()


@contextmanager
def _errors_of(path: UPath) -> Iterator[None]:
    """Errors of a store as errors of files, in our own words: those of a store may hold what is not to be shown.

    What concerns one file is an OSError as of a local one. What concerns the store or the account is a StoreError.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, PermissionError) as error:
        raise _as_of_a_file(error, path) from None
    except OSError as error:
        if _code(error) in _CHANGED or type(error).__name__ == "FileExpired":
            raise OSError(errno.EBUSY, "it was changed while it was being read", str(path)) from None
        raise StoreError(f"{path}: the store does not answer as it should ({_code(error) or type(error).__name__})") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _OF_CLIENTS:
            raise
        raise _of_the_client(error, path) from None


def _as_of_a_file(error: OSError, path: UPath) -> Exception:
    code = _code(error)
    match error:
        case FileNotFoundError() if code in _NO_SUCH_STORE:
            return StoreError(f"{path}: there is no bucket or container of this name")
        case FileNotFoundError():
            return FileNotFoundError(errno.ENOENT, "there is no such file", str(path))
        case FileExistsError():
            return FileExistsError(errno.EEXIST, "it is there already", str(path))
        case _ if code in _NO_RIGHT:
            return PermissionError(errno.EACCES, "the account has no right to it", str(path))
    return StoreError(f"{path}: the store refuses the account ({code}); see to its credentials")


def _of_the_client(error: Exception, path: UPath) -> StoreError:
    name = type(error).__name__
    if any(word in name for word in ("Credential", "Token", "Profile", "Authentication")):
        return StoreError(f"{path}: there are no usable credentials ({name}); see docs/configuration.md#files-in-object-stores")
    return StoreError(f"{path}: the store cannot be reached ({name}); see to network and endpoint, then try again")


def _code(error: BaseException) -> str:
    """The code that a store gave for an error; empty where it is not known."""
    said = error.__cause__ or error.__context__
    response = getattr(said, "response", None)
    if isinstance(response, Mapping):
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(said, "error_code", None) or "")
