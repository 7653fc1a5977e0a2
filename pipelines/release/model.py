"""A release: an immutable set of table versions under one id, with everything that made it what it is."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import ReleaseError

_FINGERPRINT_IN_ID: Final = 8


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class TablePin(_Frozen):
    """One table as it was released: its zone, its name, its Delta version and how many rows that version has."""

    zone: str
    name: str
    version: int
    rows: int


class Extract(_Frozen):
    """The newest delivery of a provider that a release rests on."""

    source: str
    provider: str
    extract_date: date


class Code(_Frozen):
    """The code that made a release: the version of the package and, in a checkout, the commit."""

    version: str
    commit: str | None = None


class Gates(_Frozen):
    """How many checks were made, and how many of them only warned. A release has no failed check."""

    checks: int
    failed: int
    warnings: int


class Release(_Frozen):
    """The document of a release. `key_id` is a short one-way mark of the key; nothing can be computed from it.

    `opt_outs` gives the as-at date of every opt-out list applied. `input_fingerprint` is that of `fingerprint_of`.
    """

    release_id: str
    run_id: str
    run_date: date
    cdm_version: str
    vocabulary_version: str
    code: Code
    configuration: str
    key_id: str
    extracts: tuple[Extract, ...]
    opt_outs: dict[str, date]
    input_fingerprint: str
    gates: Gates
    tables: tuple[TablePin, ...]

    def pin(self, zone: str, name: str) -> TablePin:
        """The pinned version of a table. Raises ReleaseError if the release does not have it."""
        for table in self.tables:
            if (table.zone, table.name) == (zone, name):
                return table
        raise ReleaseError(f"release {self.release_id} has no table {zone}.{name}")

    def document(self) -> dict[str, Any]:
        """The stored form."""
        return self.model_dump(mode="json")


def release_of(document: Mapping[str, Any]) -> Release:
    """The release that a stored document describes. Raises ReleaseError if it is not one."""
    try:
        return Release.model_validate(document)
    except ValidationError as error:
        fields = ", ".join(sorted({str(fault["loc"][0]) if fault["loc"] else "document" for fault in error.errors()}))
        raise ReleaseError(f"the release document does not fit this version of the code: {fields}") from error


def fingerprint_of(inputs: Mapping[str, Any]) -> str:
    """SHA-256 over everything that decides what a release holds: the same inputs give the same fingerprint.

    `inputs` is plain data: digests of deliveries and opt-out lists, configuration, key id, vocabulary, mappings, code.
    The order of keys does not matter; that of lists does.
    """
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def release_id_of(run_date: date, input_fingerprint: str) -> str:
    """The id of a release: the run date and the first digits of the fingerprint of its inputs."""
    return f"{run_date:%Y%m%d}-{input_fingerprint[:_FINGERPRINT_IN_ID]}"


def earlier_opt_outs(release: Release, than: Release) -> list[str]:
    """Kinds of opt-out list that `release` applied at an earlier date than `than` did, or not at all."""
    return sorted(kind for kind, as_at in than.opt_outs.items() if release.opt_outs.get(kind, date.min) < as_at)


def pins(versions: Iterable[tuple[str, str, int, int]]) -> tuple[TablePin, ...]:
    """Pins from (zone, name, version, rows), in a fixed order."""
    return tuple(TablePin(zone=z, name=n, version=v, rows=r) for z, n, v, r in sorted(versions))
