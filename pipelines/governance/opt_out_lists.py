"""Finds, checks and reads opt-out lists. Any doubt about a list stops the run before silver is changed.

`landing/optouts/<kind>/<yyyymmdd>/` contains the files of one list and their `manifest.json`. The newest folder up to the run
date is used.
"""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pipelines.contracts.models import Frozen
from pipelines.contracts.source import normalise_header
from pipelines.errors import OptOutEmptyError, OptOutInvalidError, OptOutMissingError, OptOutStaleError
from pipelines.ingest.landing import MANIFEST, ManifestFile, sha256_of

KINDS = ("national", "local", "objection")
NATIONAL_RESPONSE, NATIONAL_REQUEST = "response.dat", "request.dat"
LOCAL_LIST, OBJECTION_LIST = "local.csv", "objections.csv"
FILES = {"national": (NATIONAL_RESPONSE, NATIONAL_REQUEST), "local": (LOCAL_LIST,), "objection": (OBJECTION_LIST,)}

_NUMBER = re.compile(r"[0-9]{10}")
_SMALL_LIST = 200
"""With fewer submitted numbers than this the share is not meaningful and is not checked."""


class ListManifest(Frozen):
    """The manifest of a list: its kind, its as-at date, and its files."""

    kind: Literal["national", "local", "objection"]
    as_at: date
    files: tuple[ManifestFile, ...]


@dataclass(frozen=True)
class OptOutPolicy:
    """The maximum age of a list in days, and the plausible share of submitted numbers that the response leaves out."""

    max_age_days: int
    least_national_share: float
    most_national_share: float


@dataclass(frozen=True)
class ListFacts:
    """The audit record of a list: kind, as-at date, SHA-256 of its files together and the number of entries."""

    kind: str
    as_at: date
    sha256: str
    entries: int


@dataclass(frozen=True, repr=False)
class OptOutFiles:
    """The content of all lists of a run; repr does not show it."""

    numbers_allowed: tuple[str, ...]
    numbers_opted_out_locally: tuple[str, ...]
    objections: tuple[tuple[str, str, str], ...]
    facts: tuple[ListFacts, ...]


def read_opt_outs(landing: Path, policy: OptOutPolicy, run_date: date, last_used: dict[str, date] | None = None) -> OptOutFiles:
    """Read and check every list.

    `last_used` has the as-at dates of the lists that the last run used, by kind. Raises OptOutMissingError, OptOutEmptyError,
    OptOutStaleError or OptOutInvalidError, which name the list, the file and the next step, never an entry.
    """
    folders = {kind: _newest(landing / "optouts" / kind, kind, run_date) for kind in KINDS}
    before = last_used or {}
    manifests = {kind: _checked_manifest(folder, kind, policy, run_date, before.get(kind)) for kind, folder in folders.items()}
    allowed = _numbers(folders["national"] / NATIONAL_RESPONSE)
    _check_response(allowed, _numbers(folders["national"] / NATIONAL_REQUEST), policy)
    local = _table(folders["local"] / LOCAL_LIST, ("nhs_number",))
    objections = _table(folders["objection"] / OBJECTION_LIST, ("nhs_number", "provider", "local_id", "decision"))
    local_numbers = _list_numbers([row["nhs_number"] for row in local], LOCAL_LIST)
    upheld = tuple(_upheld(objections))
    facts = tuple(
        ListFacts(kind, manifest.as_at, "".join(sorted(file.sha256 for file in manifest.files))[:64], entries)
        for (kind, manifest), entries in zip(manifests.items(), (len(allowed), len(local), len(objections)), strict=True)
    )
    return OptOutFiles(allowed, local_numbers, upheld, facts)


def _newest(folder: Path, kind: str, run_date: date) -> Path:
    limit = f"{run_date:%Y%m%d}"
    days = [path for path in folder.glob("[0-9]*") if path.is_dir() and path.name <= limit] if folder.is_dir() else []
    if not days:
        raise OptOutMissingError(
            f"the {kind} opt-out list is missing: expected a folder landing/optouts/{kind}/<yyyymmdd> up to the run date; "
            "put the list there, then run again"
        )
    return max(days, key=lambda path: path.name)


def _checked_manifest(folder: Path, kind: str, policy: OptOutPolicy, run_date: date, last_used: date | None) -> ListManifest:
    where = f"optouts/{kind}/{folder.name}"
    path = folder / MANIFEST
    if not path.is_file():
        raise OptOutMissingError(f"{where}: {MANIFEST} is missing; deliver the {kind} list again with its manifest")
    try:
        manifest = ListManifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, fault["loc"])) or "file" for fault in error.errors())
        raise OptOutInvalidError(f"{where}/{MANIFEST}: cannot be read; wrong or missing: {fields}") from error
    if manifest.kind != kind:
        raise OptOutInvalidError(f"{where}/{MANIFEST}: is of another kind of list")
    announced = {file.name: file for file in manifest.files}
    for name in FILES[kind]:
        _check_file(folder / name, announced.get(name), where)
    age = run_date - manifest.as_at
    if age < timedelta(0):
        raise OptOutStaleError(f"{where}: as at a day after the run date; check the list's manifest")
    if age > timedelta(days=policy.max_age_days):
        raise OptOutStaleError(
            f"{where}: {age.days} days old, at most {policy.max_age_days} are allowed; fetch a new {kind} list, then run again"
        )
    if last_used and manifest.as_at < last_used:
        raise OptOutStaleError(f"{where}: older than the {kind} list that the last run used; fetch the newest one")
    return manifest


def _check_file(path: Path, announced: ManifestFile | None, where: str) -> None:
    if announced is None or not path.is_file():
        raise OptOutMissingError(f"{where}: {path.name} is missing from the folder or its manifest; deliver the list again")
    if path.stat().st_size == 0:
        raise OptOutEmptyError(
            f"{where}/{path.name}: the file is empty, which would let everyone or no one through; deliver the list again"
        )
    if sha256_of(path) != announced.sha256:
        raise OptOutInvalidError(f"{where}/{path.name}: checksum differs from the manifest; deliver the list again")


def _numbers(path: Path) -> tuple[str, ...]:
    """The ten-digit numbers of a file, one per line, with or without a comma at the end of the line."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    lines = [line.strip().rstrip(",").strip() for line in text.splitlines()]
    numbers = [line for line in lines if line]
    if not numbers:
        raise OptOutEmptyError(f"{path.name}: no number in it; ask for the national check again")
    wrong = sum(not _NUMBER.fullmatch(number) for number in numbers)
    if wrong:
        raise OptOutInvalidError(
            f"{path.name}: {wrong} of {len(numbers)} lines are no NHS numbers; a receipt or an error report is no answer"
        )
    return tuple(numbers)


def _check_response(allowed: tuple[str, ...], submitted: tuple[str, ...], policy: OptOutPolicy) -> None:
    asked = set(submitted)
    surplus = sum(number not in asked for number in allowed)
    if surplus:
        raise OptOutInvalidError(f"{NATIONAL_RESPONSE}: {surplus} numbers were never submitted; it answers another request")
    share = 1 - len(set(allowed)) / len(asked)
    if len(asked) >= _SMALL_LIST and not policy.least_national_share <= share <= policy.most_national_share:
        raise OptOutInvalidError(
            f"{NATIONAL_RESPONSE}: {share:.1%} of {len(asked)} submitted numbers are opted out; plausible is "
            f"{policy.least_national_share:.1%} to {policy.most_national_share:.1%}. Check that the answer is complete"
        )


def _table(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    reader = csv.DictReader(io.StringIO(text))
    headers = {normalise_header(header): header for header in reader.fieldnames or ()}
    missing = [name for name in needed if normalise_header(name) not in headers]
    if missing:
        raise OptOutInvalidError(f"{path.name}: columns are missing: {', '.join(missing)}")
    rows = [{name: (row.get(headers[normalise_header(name)]) or "").strip() for name in needed} for row in reader]
    if not rows:
        raise OptOutEmptyError(f"{path.name}: no entry in it, which would let everyone through; deliver the list again")
    return rows


def _list_numbers(values: Iterable[str], file: str) -> tuple[str, ...]:
    numbers = [re.sub(r"[ \u00a0-]", "", value) for value in values]
    wrong = sum(not _NUMBER.fullmatch(number) for number in numbers)
    if wrong:
        raise OptOutInvalidError(f"{file}: {wrong} of {len(numbers)} entries are no NHS numbers; correct the list")
    return tuple(numbers)


def _upheld(objections: list[dict[str, str]]) -> Iterable[tuple[str, str, str]]:
    wrong = sum(row["decision"].casefold() not in ("upheld", "refused") for row in objections)
    wrong += sum(not row["nhs_number"] and not (row["provider"] and row["local_id"]) for row in objections)
    if wrong:
        raise OptOutInvalidError(
            f"{OBJECTION_LIST}: {wrong} of {len(objections)} entries lack a decision (upheld or refused) or a person"
        )
    upheld = [row for row in objections if row["decision"].casefold() == "upheld"]
    numbers = iter(_list_numbers([row["nhs_number"] for row in upheld if row["nhs_number"]], OBJECTION_LIST))
    for row in upheld:
        yield (next(numbers) if row["nhs_number"] else "", row["provider"], row["local_id"])
