"""Finds, checks and reads opt-out lists. Any doubt about a list stops the run before silver is changed.

`landing/optouts/<kind>/<day>/` contains the files of one list and their `manifest.json`. The newest folder up to the run date
is used; `<day>` is `yyyymmdd` or `yyyy-mm-dd`. A folder or file of any other name is refused, because it could be the newest
list.
"""

import csv
import hashlib
import io
import logging
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import Field

from pipelines.contracts.delivered_names import shown, some
from pipelines.contracts.models import Frozen
from pipelines.contracts.number_spellings import APOSTROPHE, BLANKS, ROUNDED, TEXT_OF_SPREADSHEET
from pipelines.contracts.source import normalise_header
from pipelines.errors import (
    OPT_OUT_ERRORS,
    ConfigError,
    DeliveryError,
    OptOutEmptyError,
    OptOutInvalidError,
    OptOutMissingError,
    OptOutStaleError,
)
from pipelines.governance.nhs_numbers import nhs_number_in
from pipelines.ingest.landing import LARGEST_LIST, MANIFEST, Day, by_name, is_junk, manifest_in, plain
from pipelines.storage import files
from pipelines.storage.documents import digest_of
from pipelines.storage.files import AnyPath, Entry

log = logging.getLogger(__name__)

KINDS = ("national", "local", "objection")
NATIONAL_RESPONSE, NATIONAL_REQUEST = "response.dat", "request.dat"
LOCAL_LIST, OBJECTION_LIST = "local.csv", "objections.csv"
FILES = {"national": (NATIONAL_RESPONSE, NATIONAL_REQUEST), "local": (LOCAL_LIST,), "objection": (OBJECTION_LIST,)}

_COLUMNS = {
    LOCAL_LIST: ("nhs_number", "opted_out_on"),
    OBJECTION_LIST: ("nhs_number", "provider", "local_id", "decision", "decided_on"),
}
_OPTIONAL = ("opted_out_on", "decided_on")
_FOLDER = re.compile(r"([0-9]{4})([-_.]?)([0-9]{2})\2([0-9]{2})")

_LARGEST = 1 << 30
"""Bytes of a file of a list. The numbers of everybody in England take less."""

_SMALL_LIST = 200
"""With fewer submitted numbers than this the share is not meaningful and is not checked."""


class ListFile(Frozen):
    """One file of a list: its name, its number of entries without the header line, and its SHA-256."""

    name: str
    rows: int = Field(ge=0, strict=True)
    sha256: str = Field(pattern="^[0-9A-Fa-f]{64}$")


class ListManifest(Frozen):
    """The manifest of a list: its kind, its as-at date, and its files.

    `none_stated_by` names who says that truly nobody is on the list; an empty list is refused without it.
    """

    kind: Literal["national", "local", "objection"]
    as_at: Day
    files: tuple[ListFile, ...]
    none_stated_by: str | None = Field(default=None, pattern=r"\S")


@dataclass(frozen=True)
class OptOutPolicy:
    """What is plausible of a list.

    `max_age_days` is its greatest age. `least_national_share` to `most_national_share` is the share of the submitted numbers
    that the national response leaves out. `max_shrinkage` is the share of its people that a list may lose against the one
    last used; one person may always leave.
    """

    max_age_days: int
    least_national_share: float
    most_national_share: float
    max_shrinkage: float


class UsedList(NamedTuple):
    """What is remembered of the list of a kind that was used last: its as-at date and how many people it left out."""

    as_at: date
    left_out: int | None = None


@dataclass(frozen=True)
class ListFacts:
    """The audit record of a list.

    `sha256` is the digest of its files together, `entries` their number, `left_out` the number of people that it leaves out.
    """

    kind: str
    as_at: date
    sha256: str
    entries: int
    left_out: int


@dataclass(frozen=True, repr=False)
class OptOutFiles:
    """The content of all lists of a run; repr does not show it.

    Of the numbers that the national check was asked for, `numbers_allowed` came back and `numbers_refused` did not. An
    objection is an NHS number, or a provider with its local id, or both; what is not given is empty.
    """

    numbers_allowed: tuple[str, ...]
    numbers_refused: tuple[str, ...]
    numbers_opted_out_locally: tuple[str, ...]
    objections: tuple[tuple[str, str, str], ...]
    facts: tuple[ListFacts, ...]


@dataclass(frozen=True, repr=False)
class _Delivered:
    """A list whose folder, manifest and files belong together; `contents` has the bytes of each file, read once."""

    where: str
    manifest: ListManifest
    contents: Mapping[str, bytes]

    @property
    def stated_none(self) -> bool:
        """Whether somebody answers for it that the list leaves out nobody."""
        return self.manifest.none_stated_by is not None

    def announced(self, name: str) -> int:
        """The number of entries of a file by the manifest."""
        return next(file.rows for file in self.manifest.files if file.name == name)


def read_opt_outs(
    landing: AnyPath,
    policy: OptOutPolicy,
    run_date: date,
    last_used: Mapping[str, UsedList] | None = None,
    today: date | None = None,
) -> OptOutFiles:
    """Read and check every list.

    `last_used` has the lists that the last run used, by kind. Folders of later days than the run date wait; later than
    `today` (unless given: the run date) as well, they are refused. Raises OptOutMissingError, OptOutEmptyError,
    OptOutStaleError or OptOutInvalidError, which name the list, the file and the next step, never an entry; ConfigError where
    there is no landing folder.
    """
    if isinstance(landing, Path) and not landing.is_dir():
        raise ConfigError(f"storage.landing: there is no folder {landing}; correct the setting, or make the folder")
    place, latest = landing / "optouts", max(run_date, today or run_date)
    _refuse_others(_there(place), KINDS, "landing/optouts")
    folders = {kind: _newest(place / kind, kind, run_date, latest) for kind in KINDS}
    lists = {kind: _delivered(folder, kind) for kind, folder in folders.items()}
    before = last_used or {}
    for kind, delivered in lists.items():
        _check_age(delivered, policy, run_date, before.get(kind))
        _check_days(delivered, folders[kind].path)
    allowed, submitted = _national(lists["national"], policy)
    local = _local_numbers(lists["local"])
    upheld, objections = _objections(lists["objection"])
    refused = tuple(sorted(set(submitted) - set(allowed)))
    left_out = {"national": len(refused), "local": len(set(local)), "objection": len(set(upheld))}
    for kind, delivered in lists.items():
        _check_shrinkage(delivered, left_out[kind], before.get(kind), policy)
    entries = {"national": len(allowed), "local": len(local), "objection": objections}
    facts = tuple(
        ListFacts(kind, found.manifest.as_at, _digest(found.manifest), entries[kind], left_out[kind])
        for kind, found in lists.items()
    )
    return OptOutFiles(allowed, refused, local, upheld, facts)


def days_delivered(landing: AnyPath, day: date) -> dict[str, date]:
    """The day of the newest list of each kind up to a day, by its folder: neither is a manifest opened nor a list read.

    A kind of which there is none, or whose folders a run would refuse, is left out.
    """
    found: dict[str, date] = {}
    for kind in KINDS:
        with suppress(*OPT_OUT_ERRORS):
            newest = _day_of(_newest(landing / "optouts" / kind, kind, day, day).name)
            if newest is not None:
                found[kind] = newest
    return found


def _digest(manifest: ListManifest) -> str:
    return digest_of(*[text for file in sorted(manifest.files, key=_name) for text in (file.name, file.sha256.casefold())])


def _name(file: ListFile) -> str:
    return file.name


def _there(folder: AnyPath) -> dict[str, Entry]:
    """What is in a folder and is no junk, by name. Raises OptOutInvalidError where it may not be read."""
    try:
        return by_name(entry for entry in files.entries_in(folder) if not is_junk(entry.name))
    except OSError as error:
        raise OptOutInvalidError(f"{folder}: cannot be read: {files.why(error)}; check who may read it") from error


def _refuse_others(there: Mapping[str, Entry], known: Sequence[str], where: str) -> None:
    """Refuse names that are not known, and links."""
    others = [name for name in there if name not in set(known)]
    if others:
        raise OptOutInvalidError(
            f"{where}: {len(others)} names are not understood and could be a list: {some(others)}; expected "
            f"{', '.join(known)}. Rename them or move them out of the folder"
        )
    _refuse_links(there, known, where)


def _refuse_links(there: Mapping[str, Entry], known: Iterable[str], where: str) -> None:
    linked = [name for name in known if name in there and there[name].is_link]
    if linked:
        raise OptOutInvalidError(f"{where}: {some(linked)} is a link to another place; deliver the list itself")


def _newest(folder: AnyPath, kind: str, run_date: date, latest: date) -> Entry:
    where = f"landing/optouts/{kind}"
    days: dict[date, Entry] = {}
    for name, entry in _there(folder).items():
        day = _day_of(name) if entry.is_folder else None
        if day is None:
            raise OptOutInvalidError(
                f"{where}/{shown(name)}: not understood, and could be the newest list; name the folder of a list <yyyymmdd> or "
                "<yyyy-mm-dd>, or move it out of the landing folder"
            )
        if day > latest:
            raise OptOutInvalidError(f"{where}/{name}: is of a day in the future; correct the name of the folder")
        if day in days:
            raise OptOutInvalidError(f"{where}: {days[day].name} and {name} are of the same day; leave the one that counts")
        days[day] = entry
    reached = [day for day in days if day <= run_date]
    if not reached:
        step = f"there is {days[min(days)].name}: {_LATER}" if days else "put the list there, then run again"
        raise OptOutMissingError(
            f"the {kind} opt-out list is missing: expected a folder {where}/<yyyymmdd> up to the run date {run_date}; {step}"
        )
    return days[max(reached)]


_LATER: Final = "the run is of a day before it: give a later --date, or correct the clock of the machine"


def _day_of(name: str) -> date | None:
    """The day that a folder is named after; None for any other name."""
    found = _FOLDER.fullmatch(name)
    try:
        return date(int(found[1]), int(found[3]), int(found[4])) if found else None
    except ValueError:
        return None


def _delivered(folder: Entry, kind: str) -> _Delivered:
    """The list in a folder, its files read and equal to its manifest."""
    where = f"optouts/{kind}/{folder.name}"
    if folder.is_link:
        raise OptOutInvalidError(f"{where}: is a link to another place; deliver the list itself")
    there = _called_as_known(_there(folder.path), kind)
    _refuse_links(there, (*FILES[kind], MANIFEST), where)
    paths = {name: entry.path for name, entry in there.items() if entry.is_file}
    if MANIFEST not in paths:
        raise OptOutMissingError(f"{where}: {MANIFEST} is missing; deliver the {kind} list again with its manifest")
    manifest = _manifest(paths[MANIFEST], where)
    if manifest.kind != kind:
        raise OptOutInvalidError(f"{where}/{MANIFEST}: is of another kind of list")
    announced = [file.model_copy(update={"name": file_of_list(file.name, kind) or file.name}) for file in manifest.files]
    manifest = manifest.model_copy(update={"files": tuple(announced)})
    names = [file.name for file in manifest.files]
    lacking = [name for name in FILES[kind] if name not in names or name not in paths]
    if lacking:
        raise OptOutMissingError(f"{where}: {some(lacking)} is missing from the folder or its manifest; deliver the list again")
    if len(names) != len(FILES[kind]):
        raise OptOutInvalidError(
            f"{where}/{MANIFEST}: announces {len(names)} files, and the {kind} list has {len(FILES[kind])}: "
            f"{', '.join(FILES[kind])}; put all entries into them and deliver the list again"
        )
    _refuse_others(there, (*FILES[kind], MANIFEST), where)
    contents = {file.name: _content(paths[file.name], file.sha256, where) for file in manifest.files}
    return _Delivered(where, manifest, contents)


def file_of_list(name: str, kind: str) -> str | None:
    """The file of a list that a name means, in whatever case it is written; None where it is none of them."""
    return next((known for known in FILES[kind] if plain(known) == plain(name)), None)


def _called_as_known(there: Mapping[str, Entry], kind: str) -> dict[str, Entry]:
    """What is in the folder of a list, its files under their usual names; of several that mean one file none is renamed."""
    means = {name: file_of_list(name, kind) for name in there}
    times = Counter(means.values())
    names = {name: known for name, known in means.items() if known and times[known] == 1}
    return {names.get(name, name): entry for name, entry in there.items()}


def read_file(path: AnyPath, largest: int = _LARGEST) -> bytes:
    """The content of a file of a list.

    Raises OptOutMissingError where it is gone, OptOutInvalidError where it is withheld or larger than it may be.
    """
    where = "/".join(path.parts[-4:])
    try:
        there = files.entry_at(path)
        if there and there.size > largest:
            raise OptOutInvalidError(f"{where}: is larger than {largest >> 20} MiB, so it is none; deliver the list again")
        return files.read_whole(path)
    except FileNotFoundError as error:
        raise OptOutMissingError(f"{where}: is not there, or no longer; deliver the list again") from error
    except OSError as error:
        raise OptOutInvalidError(f"{where}: cannot be read: {files.why(error)}; check who may read it") from error


def _manifest(path: AnyPath, where: str) -> ListManifest:
    try:
        manifest, unknown = manifest_in(read_file(path, LARGEST_LIST), ListManifest)
    except DeliveryError as error:
        raise OptOutInvalidError(f"{where}/{MANIFEST}: {error}") from error
    if unknown:
        log.warning("%s/%s: keys that mean nothing here: %s", where, MANIFEST, some(unknown))
    return manifest


def _content(path: AnyPath, sha256: str, where: str) -> bytes:
    content = read_file(path)
    if not content:
        raise OptOutEmptyError(
            f"{where}/{path.name}: the file is empty, which would let everyone or no one through; deliver the list again"
        )
    if hashlib.sha256(content).hexdigest() != sha256.casefold():
        raise OptOutInvalidError(f"{where}/{path.name}: checksum differs from the manifest; deliver the list again")
    return content


def _check_age(delivered: _Delivered, policy: OptOutPolicy, run_date: date, last_used: UsedList | None) -> None:
    where, as_at, kind = delivered.where, delivered.manifest.as_at, delivered.manifest.kind
    age = run_date - as_at
    if age < timedelta(0):
        raise OptOutStaleError(f"{where}: as at a day after the run date; check the list's manifest")
    if age > timedelta(days=policy.max_age_days):
        raise OptOutStaleError(
            f"{where}: {age.days} days old, at most {policy.max_age_days} are allowed; fetch a new {kind} list, then run again"
        )
    if last_used and as_at < last_used.as_at:
        step = _LATER if last_used.as_at > run_date else "fetch the newest one"
        raise OptOutStaleError(f"{where}: older than the {kind} list that the last run used; {step}")


def _check_days(delivered: _Delivered, folder: AnyPath) -> None:
    """Refuse a list that only the name of its folder makes the newest, or whose as-at date makes it look newer than it is."""
    where, as_at = delivered.where, delivered.manifest.as_at
    if as_at > (_day_of(folder.name) or as_at):
        raise OptOutInvalidError(f"{where}: as at a day after the day of its folder; correct one of them")
    for name, entry in _there(folder.parent).items():
        day = _day_of(name)
        if name == folder.name or day is None or not as_at < day <= (_day_of(folder.name) or day):
            continue
        written = _there(entry.path).get(MANIFEST)
        if written is None:
            continue
        _refuse_links({MANIFEST: written}, (MANIFEST,), f"optouts/{delivered.manifest.kind}/{name}")
        try:
            earlier, _ = manifest_in(read_file(written.path, LARGEST_LIST), ListManifest)
        except (DeliveryError, OptOutMissingError):
            continue
        if as_at < earlier.as_at <= day:
            raise OptOutInvalidError(f"{where}: is older than the list in {name}, by their as-at dates; correct the folders")


def _check_shrinkage(delivered: _Delivered, left_out: int, last_used: UsedList | None, policy: OptOutPolicy) -> None:
    """Refuse a list that leaves out far fewer people than the last one: most likely it was cut short."""
    before = last_used.left_out if last_used else None
    if before is None or before - left_out <= max(1, int(policy.max_shrinkage * before)):
        return
    raise OptOutInvalidError(
        f"{delivered.where}: leaves out {left_out} people, {before} before; at most {policy.max_shrinkage:.0%} may leave a "
        "list at once. Check that it is complete; if it is, allow it with --set opt_outs.max_shrinkage=SHARE for one run"
    )


def entries_in(name: str, content: bytes, where: str) -> int:
    """The entries in a file of a list, by the reader that a run uses; `name` is one of FILES, `where` names its folder.

    Raises OptOutInvalidError or OptOutEmptyError where it cannot be read to its end.
    """
    if name in (NATIONAL_RESPONSE, NATIONAL_REQUEST):
        return len(_numbers(name, content, where))
    return len(_entries(name, content, where))


def _text(name: str, content: bytes, where: str) -> str:
    try:
        return re.sub("\x1a[\x1a\r\n]*\\Z", "", content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise OptOutInvalidError(f"{where}/{name}: is not UTF-8 text; export the list again as UTF-8") from error


def _check_count(delivered: _Delivered, name: str, entries: int) -> None:
    announced = delivered.announced(name)
    if entries != announced:
        raise OptOutInvalidError(
            f"{delivered.where}/{name}: has {entries} entries, its manifest says {announced}; deliver the list again, whole"
        )


def _numbers(name: str, content: bytes, where: str) -> tuple[str, ...]:
    """The numbers of a file, one per line, with or without a comma at the end of the line."""
    lines = [line.strip().removesuffix(",").strip() for line in re.split("\r\n|\n|\r", _text(name, content, where))]
    written = [line for line in lines if line]
    if not written:
        raise OptOutEmptyError(f"{where}/{name}: no number in it; ask for the national check again")
    numbers = [number for number in map(nhs_number_in, written) if number]
    if len(numbers) != len(written):
        raise OptOutInvalidError(
            f"{where}/{name}: {len(written) - len(numbers)} of {len(written)} lines are no NHS numbers (ten digits, "
            "the last one the check digit); a receipt or an error report is no answer"
        )
    return tuple(numbers)


def _counted_numbers(delivered: _Delivered, name: str) -> tuple[str, ...]:
    """The numbers of a file that has as many of them as its manifest says."""
    numbers = _numbers(name, delivered.contents[name], delivered.where)
    _check_count(delivered, name, len(numbers))
    return numbers


def _national(delivered: _Delivered, policy: OptOutPolicy) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The numbers that the national check allows, and those that it was asked for."""
    allowed, submitted = (_counted_numbers(delivered, name) for name in (NATIONAL_RESPONSE, NATIONAL_REQUEST))
    where, asked = f"{delivered.where}/{NATIONAL_RESPONSE}", set(submitted)
    surplus = sum(number not in asked for number in allowed)
    if surplus:
        raise OptOutInvalidError(f"{where}: {surplus} numbers were never submitted; it answers another request")
    share = 1 - len(set(allowed)) / len(asked)
    if delivered.stated_none:
        if share:
            raise OptOutInvalidError(_contradicted(where))
        return allowed, submitted
    if not share:
        raise OptOutInvalidError(
            f"{where}: has every submitted number, as if it were the request itself. Deliver the answer; if truly nobody is "
            "opted out, say in the manifest who states it (none_stated_by)"
        )
    if len(asked) >= _SMALL_LIST and not policy.least_national_share <= share <= policy.most_national_share:
        raise OptOutInvalidError(
            f"{where}: {share:.1%} of {len(asked)} submitted numbers are opted out; plausible is "
            f"{policy.least_national_share:.1%} to {policy.most_national_share:.1%}. Check that the answer is complete"
        )
    return allowed, submitted


def _contradicted(where: str) -> str:
    return f"{where}: leaves people out, although its manifest states that the list leaves out nobody; correct the manifest"


def _entries(name: str, content: bytes, folder: str) -> list[dict[str, str]]:
    """The entries of a CSV list by column; columns that it does not have are empty."""
    where, columns = f"{folder}/{name}", _COLUMNS[name]
    records = list(_records(_text(name, content, folder), where))
    if not records:
        raise OptOutEmptyError(f"{where}: has no header line; deliver the list again")
    known = {normalise_header(column): column for column in columns}
    header = [known.get(normalise_header(text)) for text in records[0]]
    missing = [column for column in columns if column not in header and column not in _OPTIONAL]
    if missing:
        raise OptOutInvalidError(f"{where}: columns are missing: {', '.join(missing)}")
    if None in header or len(set(header)) != len(header):
        raise OptOutInvalidError(
            f"{where}: its header has columns twice or that the list does not have; expected: {', '.join(columns)}"
        )
    wrong = sum(len(record) != len(header) for record in records)
    if wrong:
        raise OptOutInvalidError(f"{where}: {wrong} of {len(records) - 1} entries have not as many fields as the header")
    return [
        dict.fromkeys(columns, "") | {str(column): _value(text) for column, text in zip(header, record, strict=True)}
        for record in records[1:]
    ]


def _value(text: str) -> str:
    """The text of a field, without what spreadsheets put around digits."""
    return re.sub(TEXT_OF_SPREADSHEET, r"\1", text.strip()).strip(BLANKS).lstrip(APOSTROPHE + BLANKS)


def _stated_entries(delivered: _Delivered, name: str) -> list[dict[str, str]]:
    """The entries of a CSV list that is empty only where somebody states it."""
    where = f"{delivered.where}/{name}"
    rows = _entries(name, delivered.contents[name], delivered.where)
    if rows and delivered.stated_none:
        raise OptOutInvalidError(_contradicted(where))
    if not rows and not delivered.stated_none:
        raise OptOutEmptyError(
            f"{where}: no entry in it, which would let everyone through. Deliver the list again; if there truly is none, say "
            "in the manifest who states it (none_stated_by)"
        )
    return rows


def _records(text: str, where: str) -> Iterator[list[str]]:
    """The records of strict CSV, each on a line of its own; empty lines are left out.

    A quote that is not closed, or is closed in a later entry, would hide the entries between.
    """
    reader, line = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True), 0
    try:
        for record in reader:
            if reader.line_num != line + 1:
                raise OptOutInvalidError(f"{where}: an entry goes over several lines from line {line + 1}; correct its quotes")
            line = reader.line_num
            if record:
                yield record
    except csv.Error as error:
        raise OptOutInvalidError(f"{where}: is not CSV from line {line + 1}; correct its quotes") from error


def _local_numbers(delivered: _Delivered) -> tuple[str, ...]:
    rows = _stated_entries(delivered, LOCAL_LIST)
    numbers = _checked_numbers(delivered, LOCAL_LIST, [row["nhs_number"] for row in rows])
    _check_count(delivered, LOCAL_LIST, len(rows))
    return numbers


def _checked_numbers(delivered: _Delivered, name: str, written: Sequence[str]) -> tuple[str, ...]:
    numbers = [number for number in map(nhs_number_in, written) if number]
    if len(numbers) != len(written):
        raise OptOutInvalidError(
            f"{delivered.where}/{name}: {len(written) - len(numbers)} of {len(written)} entries are no NHS numbers (ten "
            "digits, the last one the check digit); correct the list"
        )
    return tuple(numbers)


def _objections(delivered: _Delivered) -> tuple[tuple[tuple[str, str, str], ...], int]:
    """The upheld objections, and the number of all objections."""
    rows = _stated_entries(delivered, OBJECTION_LIST)
    wrong = sum(
        row["decision"].casefold() not in ("upheld", "refused")
        or not (row["nhs_number"] or (row["provider"] and row["local_id"] and not re.fullmatch(ROUNDED, row["local_id"])))
        for row in rows
    )
    if wrong:
        raise OptOutInvalidError(
            f"{delivered.where}/{OBJECTION_LIST}: {wrong} of {len(rows)} entries lack a decision (upheld or refused) or a "
            "person (an NHS number, or a provider with its local id, not rounded as 1E+09 is); correct the list"
        )
    numbers = iter(_checked_numbers(delivered, OBJECTION_LIST, [row["nhs_number"] for row in rows if row["nhs_number"]]))
    people = [(next(numbers) if row["nhs_number"] else "", row["provider"], row["local_id"]) for row in rows]
    _check_count(delivered, OBJECTION_LIST, len(rows))
    upheld = [person for person, row in zip(people, rows, strict=True) if row["decision"].casefold() == "upheld"]
    return tuple(upheld), len(rows)


def entries_listed(lists: OptOutFiles) -> dict[tuple[str, str], int]:
    """The entries that leave somebody out, by the kind of the list and how they name the person (`number` or `local_id`)."""
    listed = Counter({("local", "number"): len(lists.numbers_opted_out_locally)})
    listed.update(("objection", "number" if number else "local_id") for number, _, _ in lists.objections)
    return dict(listed)
