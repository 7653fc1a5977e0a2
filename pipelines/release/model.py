"""A release: an immutable set of table versions under one id, with everything that decided its content."""

import hashlib
import json
from collections.abc import Mapping
from datetime import date
from typing import Any, ClassVar, Final

from pipelines.contracts.models import Frozen
from pipelines.errors import ReleaseError
from pipelines.storage.documents import Document

_FINGERPRINT_IN_ID: Final = 8


class TablePin(Frozen):
    """One table as it was released: its zone, its name, its Delta version, and how many rows that version has.

    `files` is a digest of its files; None for a table of a catalog, and in a release of an earlier version of nhs-omop.
    """

    zone: str
    name: str
    version: int
    rows: int
    files: str | None = None

    def is_same(self, other: "TablePin") -> bool:
        """Whether two pins have the same content; one that names no files is only as sure as its version."""
        return self == other.model_copy(update={"files": other.files if self.files else None})


class Extract(Frozen):
    """The newest delivery of a provider that a release includes."""

    source: str
    provider: str
    extract_date: date


class Code(Frozen):
    """The code that made a release: the version of the package and, in a checkout, the commit."""

    version: str
    commit: str | None = None


class Gates(Frozen):
    """The number of checks, of failed ones (0 in a release), of warnings, and of failures that were waived."""

    checks: int
    failed: int
    warnings: int
    waived: int = 0


class Release(Document):
    """The document of a release. `key_id` is a short one-way mark of the key; nothing can be computed from it.

    `opt_outs` has the as-at date of every opt-out list applied. `input_fingerprint` is the result of `fingerprint_of`.
    """

    MODE: ClassVar[int] = 0o644

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
        """The version of a table in the release. Raises ReleaseError if the release does not have the table."""
        for table in self.tables:
            if (table.zone, table.name) == (zone, name):
                return table
        raise ReleaseError(f"release {self.release_id} has no table {zone}.{name}")


def fingerprint_of(inputs: Mapping[str, Any]) -> str:
    """SHA-256 over everything that decides the content of a release: equal inputs give an equal fingerprint.

    `inputs` is plain data: digests of deliveries and opt-out lists, configuration, key id, vocabulary, mappings, code.
    The order of keys does not matter; the order of lists does.
    """
    return hashlib.sha256(json.dumps(inputs, sort_keys=True, default=str).encode()).hexdigest()


def release_id_of(run_date: date, input_fingerprint: str) -> str:
    """The id of a release: the run date and the first digits of the fingerprint of its inputs."""
    return f"{run_date:%Y%m%d}-{input_fingerprint[:_FINGERPRINT_IN_ID]}"
