"""What one delivery is: its folder, what is said of it, and its files.

A delivery is one folder `landing/<source>/<provider>/<yyyymmdd>`. It is taken whole or not at all. What it has to hold says its
`manifest.json`; where there is none and the contract allows it, control files of the sender, or the folder itself.
"""

import codecs
import fnmatch
import hashlib
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from pipelines.contracts.delivered_names import is_like_a_header, shown, some
from pipelines.contracts.delivery_forms import ANY_END, ControlFile, DeliveryForm, Ending, Mode, Stated, Whole
from pipelines.contracts.models import Frozen
from pipelines.contracts.source import SourceContract
from pipelines.errors import DeliveryError
from pipelines.ingest.checksums import Checksum, Checksums
from pipelines.ingest.control_files import Listed, listed_by
from pipelines.storage.files import AnyPath, Entry, entries_in, read_whole

MANIFEST = "manifest.json"
SAID_BY_MANIFEST, SAID_BY_CONTROL_FILE = "the manifest", "the control file"
NO_MANIFEST = f"no {MANIFEST}"
NO_CONTROL_FILE = f"no control file and no {MANIFEST}"
NO_FILE = "there is no file in it"
NOTHING_DELIVERED = (NO_MANIFEST, NO_CONTROL_FILE, NO_FILE)
"""The faults of a folder that is no delivery, or no longer one."""

TRANSFER_UNDER_WAY = "a transfer is under way"
"""How the fault begins of a folder that is still being filled."""

UNFINISHED = (
    "filepart",
    "part",
    "partial",
    "crdownload",
    "download",
    "opdownload",
    "tmp",
    "temp",
    "incomplete",
    "inprogress",
    "writing",
    "_copying_",
)
"""Suffixes under which programs write a file that is still to come (WinSCP, browsers, curl, Hadoop), in lower case."""

KEPT_BESIDE = ("bak", "old", "orig", "md5", "sha1", "sha256", "sha512")
"""Suffixes of what is kept beside a file and is none of its data: an earlier version, or a checksum that no contract names."""

FIRST_EXTRACT = date(1990, 1, 1)
"""No system made extracts before; an earlier day is one that some system writes for none."""

LARGEST_LIST = 16 << 20
"""Bytes of a manifest or control file."""

JUNK = (
    ".ds_store",
    "._*",
    ".spotlight-v100",
    ".trashes",
    ".snapshot",
    ".fseventsd",
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "~$*",
    ".~lock.*#",
    "$recycle.bin",
    "system volume information",
    ".directory",
    ".nfs*",
    "@eadir",
    "lost+found",
)
"""What desktops, file servers and office programs leave behind, in lower case; none of it is ever data."""

_PATH = re.compile(r"[/\\\x00]|^[A-Za-z]:")
_END_OF_TEXT = "\x1a\x00 \t\r\n"
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """What is in a folder by name. The manifest has its usual name, in whatever case a system that knows no case wrote it."""
    there = {entry.name: entry for entry in entries}
    written = [name for name in there if name.casefold() == MANIFEST]
    if len(written) == 1:
        there[MANIFEST] = there.pop(written[0])
    return there


def is_junk(name: str) -> bool:
    """Whether an entry is what a desktop, a file server or an office program left behind."""
    return any(fnmatch.fnmatchcase(name.casefold(), pattern) for pattern in JUNK)


def _lower(value: Any) -> Any:
    return value.strip().casefold() if isinstance(value, str) else value


def _day(value: Any) -> Any:
    """A day written `2026-01-05` or `20260105`; a number is none, which pydantic takes for seconds."""
    if isinstance(value, str) and (found := re.match("([0-9]{4})-?([0-9]{2})-?([0-9]{2})$", value)):
        return "-".join(found.groups())
    if not isinstance(value, date) and not (isinstance(value, str) and re.match("[0-9]{4}-[0-9]{2}-[0-9]{2}T", value)):
        raise ValueError("expected a day")
    return value


Day = Annotated[date, BeforeValidator(_day)]


def _number(value: Any) -> Any:
    """Anything but true and false, which pydantic takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


class ManifestFile(Frozen):
    """One file a manifest announces: its name, its data records and its SHA-256 as delivered, in either case."""

    name: str
    rows: Annotated[int, BeforeValidator(_number), Field(ge=0)]
    sha256: Annotated[str, BeforeValidator(_lower)]


class Manifest(Frozen):
    """What a provider says of a delivery."""

    source: str
    provider: str
    extract_date: Day
    mode: Annotated[Mode, BeforeValidator(_lower)]
    files: tuple[ManifestFile, ...]


class DeliveryName(NamedTuple):
    """The place of a delivery in the landing folder. Provider and folder are empty where only a part of it is there."""

    source: str
    provider: str = ""
    folder: str = ""

    def __str__(self) -> str:
        """How messages name it."""
        return "/".join(shown(part) for part in self if part)


@dataclass(frozen=True)
class File:
    """One delivered file, the entity it feeds and its identity in bronze.

    `rows` are its data records if somebody states them; `checksums` are those that somebody states, and `sha256` is of its
    bytes whether it is stated or not, empty for a file that is not there.
    """

    entity: str
    path: AnyPath
    file_id: str
    rows: int | None
    sha256: str
    checksums: tuple[Checksum, ...] = ()
    ending: Ending = ANY_END


@dataclass(frozen=True)
class Delivery:
    """One delivery folder and what is said of it.

    `said_by` is how messages name where the files are listed, `control_files` are the names of control files in the folder,
    `unknown_keys` keys of a manifest that mean nothing to us, `passed_over` the names of files of which nothing is loaded.
    """

    delivery_id: str
    source: str
    provider: str
    folder: AnyPath
    extract_date: date
    mode: str
    files: tuple[File, ...]
    said_by: str
    control_files: tuple[str, ...] = ()
    unknown_keys: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    @property
    def place(self) -> DeliveryName:
        """Where it is in the landing folder."""
        return DeliveryName(self.source, self.provider, self.folder.name)

    @property
    def name(self) -> str:
        """How messages name it."""
        return str(self.place)

    @property
    def rows(self) -> int | None:
        """The data records that are announced; None where nobody states those of each file."""
        stated = [file.rows for file in self.files if file.rows is not None]
        return sum(stated) if len(stated) == len(self.files) else None


def _digest(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]


def day_of(folder: str) -> date | None:
    """The day that the name of a folder gives (yyyymmdd); None where it gives none."""
    if not re.fullmatch("[0-9]{8}", folder):
        return None
    try:
        return datetime.strptime(folder, "%Y%m%d").date()
    except ValueError:
        return None


def entity_of(name: str, contract: SourceContract) -> str | None:
    """The entity whose file patterns match a file name; None when none or several do."""
    matches = [entity for entity, spec in contract.entities.items() if _matches(name, spec.files)]
    return matches[0] if len(matches) == 1 else None


def is_passed_over(name: str, contract: SourceContract) -> bool:
    """Whether the contract says that nothing is loaded of a file, by its name."""
    return entity_of(name, contract) is None and _matches(name, contract.passed_over)


def is_unfinished(name: str, contract: SourceContract) -> bool:
    """Whether a file is one of an entity under the name that it has while it is still coming: hidden, or with a suffix."""
    stem, _, suffix = name.rpartition(".")
    return _is_of_entity(stem if suffix.casefold() in UNFINISHED else name if name.startswith(".") else "", contract)


def is_kept_beside(name: str, contract: SourceContract) -> bool:
    """Whether a file lies beside one of an entity, is called like it, and is none of its data."""
    stem, _, suffix = name.rpartition(".")
    return _is_of_entity(stem if suffix.casefold() in KEPT_BESIDE else name[:-1] if name.endswith("~") else "", contract)


def _is_of_entity(name: str, contract: SourceContract) -> bool:
    return bool(name) and any(_matches(name, spec.files) for spec in contract.entities.values())


def _matches(name: str, patterns: Iterable[str]) -> bool:
    lowered = name.casefold()
    return any(fnmatch.fnmatchcase(lowered, pattern.casefold()) for pattern in patterns)


def control_files_of(entries: Iterable[Entry], form: DeliveryForm | None) -> list[Entry]:
    """The control files among what is in the folder of a delivery; none where its form has none."""
    patterns = [pattern.casefold() for pattern in form.control.files] if form and form.control else []
    return [
        entry
        for entry in entries
        if not is_junk(entry.name) and any(fnmatch.fnmatchcase(entry.name.casefold(), pattern) for pattern in patterns)
    ]


AManifest = TypeVar("AManifest", bound=BaseModel)


def manifest_in(content: bytes, kind: type[AManifest]) -> tuple[AManifest, tuple[str, ...]]:
    """A manifest, and the keys in it that the model does not have; these are left out.

    Editors on Windows put a byte order mark before the JSON, or write UTF-16: both are read. Raises DeliveryError, which
    names the fields that are missing, wrong or written twice, never a value.
    """
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        stated = json.loads(content.decode(encoding).rstrip(_END_OF_TEXT), object_pairs_hook=_each_once)
    except (ValueError, RecursionError) as error:
        raise DeliveryError("not a manifest: it is no JSON") from error
    if not isinstance(stated, dict):
        raise DeliveryError("not a manifest: expected one JSON object")
    known, unknown = _known(stated, kind.model_fields)
    if isinstance(known.get("files"), list):
        files = [_known(file, ManifestFile.model_fields) if isinstance(file, dict) else (file, []) for file in known["files"]]
        known["files"] = [file for file, _ in files]
        unknown += [f"files.{name}" for _, names in files for name in names]
    try:
        manifest = kind.model_validate_json(json.dumps(known))
    except ValidationError as error:
        fields = ", ".join(dict.fromkeys(".".join(map(str, fault["loc"])) or "file" for fault in error.errors()))
        raise DeliveryError(f"not a manifest; wrong or missing: {fields}") from error
    return manifest, tuple(dict.fromkeys(map(_shown_key, unknown)))


def _each_once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises DeliveryError where a key stands twice: one of its values would be lost."""
    found = Counter(name for name, _ in pairs)
    twice = dict.fromkeys(_shown_key(name) for name, times in found.items() if times > 1)
    if twice:
        raise DeliveryError(f"not a manifest; written twice: {', '.join(twice)}")
    return dict(pairs)


def _shown_key(name: str) -> str:
    return name if is_like_a_header(name) else "an unusual key"


def _known(stated: Mapping[str, Any], fields: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    known = {name: value for name, value in stated.items() if name in fields}
    return known, [name for name in stated if name not in fields]


@dataclass(frozen=True)
class _Statement:
    """What is said of a delivery: by whom, which files, the day and mode, and a mark that changes with what is said.

    `signs` and `needs` are what the contract asks of it, because there is no manifest. `beside` are the names of files that lie
    beside those that are listed, and are ignored.
    """

    said_by: str
    files: tuple[Listed, ...]
    extract_date: date
    mode: Mode
    mark: str
    unknown_keys: tuple[str, ...] = ()
    signs: frozenset[Whole] = frozenset()
    needs: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def read_delivery(folder: AnyPath, contract: SourceContract, checksums: Checksums | None = None) -> Delivery:
    """Read what is said of one delivery. `checksums` takes the SHA-256 of files of which nobody states it.

    Raises DeliveryError if nothing says what the delivery has to hold, if that is unreadable, contradicts itself, is of
    another source or provider, names a file outside the folder, or a file that no entity of the contract takes.
    """
    known, provider = checksums or Checksums(), folder.parent.name
    form = contract.form_of(provider)
    there = by_name(entries_in(folder))
    control = control_files_of(there.values(), form)
    statement = _statement(folder, there, contract, form, control)
    ending = Ending(form.trailer if form else None, statement.signs)
    where = f"mappings/{contract.source}/contract.yaml"
    files, unknown = [], []
    passed_over = (*statement.beside, *(name for name in there if is_passed_over(name, contract)))
    for listed in statement.files:
        if is_passed_over(listed.name, contract):
            continue
        entity = entity_of(listed.name, contract)
        if entity is None:
            unknown.append(listed.name)
            continue
        stated_sha256 = next((stated.digest for stated in listed.checksums if stated.kind is Stated.SHA256), None)
        sha256 = stated_sha256 or known.of(there.get(listed.name))
        file_id = _digest(contract.source, provider, folder.name, listed.name, sha256)
        files.append(File(entity, folder / listed.name, file_id, listed.rows, sha256, listed.checksums, ending))
    if statement.mode == "period" and not any(contract.entities[file.entity].period for file in files):
        raise DeliveryError(f"{statement.said_by}: mode period, but no entity of its files has a period in {where}")
    if unknown:
        raise DeliveryError(f"{len(unknown)} files match no entity of {where}, nor its passed_over: {some(unknown)}")
    lacking = {*statement.needs} - {file.entity for file in files}
    if lacking:
        raise DeliveryError(f"no file of {some(lacking)}, which every delivery needs by {where}; perhaps more is to come")
    # A manifest has the checksum of every file; other statements may have none, so that the files themselves mark a change.
    marks = [] if statement.said_by == SAID_BY_MANIFEST else sorted(file.file_id for file in files)
    return Delivery(
        _digest(contract.source, provider, folder.name, statement.mark, *marks),
        contract.source,
        provider,
        folder,
        statement.extract_date,
        statement.mode,
        tuple(files),
        statement.said_by,
        tuple(entry.name for entry in control),
        statement.unknown_keys,
        passed_over,
    )


def _statement(
    folder: AnyPath,
    there: Mapping[str, Entry],
    contract: SourceContract,
    form: DeliveryForm | None,
    control: Sequence[Entry],
) -> _Statement:
    """What is said of the files in a folder, by the manifest, by control files, or by the folder itself."""
    manifest = _by_manifest(folder, there, contract)
    if form is None:
        if manifest is None:
            raise DeliveryError(NO_MANIFEST)
        return manifest
    by_control = _by_control_files(folder, there, control, form, form.control) if form.control and control else None
    if manifest:
        return _agreed(manifest, by_control) if by_control else manifest
    if form.control and not by_control:
        raise DeliveryError(NO_CONTROL_FILE)
    statement = by_control or _by_folder(folder, there, contract, form)
    if not any(file.name in there and there[file.name].is_file for file in statement.files):
        raise DeliveryError(NO_FILE)
    return statement


def _by_manifest(folder: AnyPath, there: Mapping[str, Entry], contract: SourceContract) -> _Statement | None:
    """What the manifest says; None where there is none."""
    file = there.get(MANIFEST)
    if file is not None and file.is_link:
        raise DeliveryError(f"{MANIFEST} is a symbolic link; only files that lie in the folder are read")
    if file is None or not file.is_file:
        return None
    content = _content_of_list(file)
    try:
        manifest, unknown_keys = manifest_in(content, Manifest)
    except DeliveryError as error:
        raise DeliveryError(f"{MANIFEST}: {error}") from error
    if (manifest.source, manifest.provider) != (contract.source, folder.parent.name):
        raise DeliveryError(f"{MANIFEST}: source or provider differs from the folder it lies in")
    if manifest.extract_date < FIRST_EXTRACT:
        raise DeliveryError(f"{MANIFEST}: its extract date {manifest.extract_date} is before {FIRST_EXTRACT.year}")
    if not manifest.files:
        raise DeliveryError(f"{MANIFEST}: announces no file")
    _check_names(MANIFEST, [file.name for file in manifest.files])
    files = tuple(
        Listed(file.name, file.rows, (Checksum(Stated.SHA256, file.sha256, SAID_BY_MANIFEST),)) for file in manifest.files
    )
    mark = hashlib.sha256(content).hexdigest()
    return _Statement(SAID_BY_MANIFEST, _called_as_in(there, files), manifest.extract_date, manifest.mode, mark, unknown_keys)


def _by_control_files(
    folder: AnyPath, there: Mapping[str, Entry], entries: Sequence[Entry], form: DeliveryForm, control: ControlFile
) -> _Statement:
    """What the control files of the sender say."""
    links = [entry.name for entry in entries if entry.is_link or not entry.is_file]
    if links:
        raise DeliveryError(f"{some(links)}: no plain file; only files that lie in the folder are read")
    contents = [_content_of_list(entry) for entry in entries]
    files = listed_by([entry.name for entry in entries], contents, control)
    _check_names(SAID_BY_CONTROL_FILE, [file.name for file in files])
    mark = _digest(*(hashlib.sha256(content).hexdigest() for content in contents))
    return _by_contract(folder, form, SAID_BY_CONTROL_FILE, _called_as_in(there, files), mark)


def _content_of_list(file: Entry) -> bytes:
    """The content of a manifest or control file. One that is too large for a list of files is not read."""
    if file.size > LARGEST_LIST:
        raise DeliveryError(f"{shown(file.name)}: lists no files: it is larger than {LARGEST_LIST >> 20} MiB")
    return read_whole(file.path)


def _by_folder(folder: AnyPath, there: Mapping[str, Entry], contract: SourceContract, form: DeliveryForm) -> _Statement:
    """The files that are in the folder, where nobody says which there should be."""
    names = [name for name, entry in there.items() if entry.is_file and not is_junk(name)]
    unreadable = _unreadable(names)
    if unreadable:
        raise DeliveryError(unreadable)
    unfinished = [name for name in names if is_unfinished(name, contract)]
    if unfinished:
        raise DeliveryError(f"{TRANSFER_UNDER_WAY}: {some(unfinished)}")
    beside = tuple(name for name in names if is_kept_beside(name, contract))
    files = tuple(Listed(name) for name in names if name not in beside)
    return replace(_by_contract(folder, form, "the folder when it was looked at", files, ""), beside=beside)


def _by_contract(folder: AnyPath, form: DeliveryForm, said_by: str, files: tuple[Listed, ...], mark: str) -> _Statement:
    """A statement of which the contract gives the mode, and the name of the folder the day."""
    extract_date = day_of(folder.name)
    if extract_date is None:
        raise DeliveryError("there is no manifest and the name of the folder is not a day written yyyymmdd")
    return _Statement(said_by, files, extract_date, form.mode, mark, signs=frozenset(form.complete), needs=form.needs)


def _agreed(manifest: _Statement, control: _Statement) -> _Statement:
    """What a manifest says, with the checksums of the control file too. Raises DeliveryError where they contradict."""
    by_control = {file.name: file for file in control.files}
    names = {file.name for file in manifest.files}
    faults = [
        f"{len(others)} files are not in {said_by}: {some(others)}"
        for others, said_by in ((names - by_control.keys(), control.said_by), (by_control.keys() - names, manifest.said_by))
        if others
    ]
    files = []
    for file in manifest.files:
        other = by_control.get(file.name, Listed(file.name))
        if other.rows not in (None, file.rows):
            faults.append(f"{shown(file.name)}: {manifest.said_by} says {file.rows} records, {control.said_by} {other.rows}")
        files.append(Listed(file.name, file.rows, (*file.checksums, *other.checksums)))
    if faults:
        raise DeliveryError(f"{manifest.said_by} and {control.said_by} differ: {'; '.join(faults)}")
    return replace(manifest, files=tuple(files))


def _called_as_in(there: Mapping[str, Entry], files: Iterable[Listed]) -> tuple[Listed, ...]:
    """Listed files under the names that they have in the folder, if these differ in case or in how accents are written.

    Windows and macOS do not tell such names apart, so that what lists the files may call them otherwise than what copied them.
    """
    alike: dict[str, list[str]] = defaultdict(list)
    for name in there:
        alike[plain(name)].append(name)
    found = {file.name: alike[plain(file.name)] for file in files if file.name not in there}
    return tuple(file._replace(name=found[file.name][0]) if len(found.get(file.name, ())) == 1 else file for file in files)


def plain(name: str) -> str:
    """A name as systems see it that know neither case nor two ways to write an accent."""
    return unicodedata.normalize("NFC", name).casefold()


def _check_names(said_by: str, names: list[str]) -> None:
    """Refuse names that lead out of the folder or into another one, and files that are announced twice."""
    faults = []
    paths = [name for name in names if name in ("", ".", "..") or _PATH.search(name)]
    if paths:
        faults.append(f"{len(paths)} names are paths, where only the name of a file in this folder is allowed: {some(paths)}")
    unreadable = _unreadable(names)
    faults += [unreadable] if unreadable else []
    bare = [plain(name) for name in names]
    twice = {name for name in names if bare.count(plain(name)) > 1}
    if twice:
        faults.append(f"{len(twice)} files are announced more than once: {some(twice)}")
    if faults:
        raise DeliveryError(f"{said_by}: {'; '.join(faults)}")


def _unreadable(names: Iterable[str]) -> str:
    """The fault of names that are no Unicode, and so cannot be kept or shown; empty if there are none."""
    wrong = [name for name in names if any("\ud800" <= letter <= "\udfff" for letter in name)]
    return f"{len(wrong)} names are in an unknown encoding: {some(wrong)}; deliver the files with other names" if wrong else ""
