"""Deliveries and opt-out lists as providers send them, from the few values a test cares about."""

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import overload

from pipelines.contracts.source import SourceContract
from pipelines.storage.files import AnyPath

Row = Mapping[str, str]


def csv_text(contract: SourceContract, entity: str, rows: Sequence[Row]) -> str:
    """The rows with the real headers of the entity; columns that a row lacks are empty."""
    columns = contract.entities[entity].columns
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.header or name for name, column in columns.items()])
    writer.writerows([[row.get(name, "") for name in columns] for row in rows])
    return text.getvalue()


def file_name(contract: SourceContract, entity: str) -> str:
    """A file name that matches the first pattern of the entity."""
    return contract.entities[entity].files[0].replace("*", "x")


Rows = Mapping[str, Sequence[Row]]
Files = Mapping[str, tuple[str | bytes, int]]


@overload
def deliver(landing: Path, contract: SourceContract, provider: str, day: str, tables: Rows, mode: str = "delta") -> Path: ...
@overload
def deliver(
    landing: AnyPath, contract: SourceContract, provider: str, day: str, tables: Rows, mode: str = "delta"
) -> AnyPath: ...
def deliver(
    landing: AnyPath,
    contract: SourceContract,
    provider: str,
    day: str,
    tables: Mapping[str, Sequence[Row]],
    mode: str = "delta",
) -> AnyPath:
    """Write one delivery of rows by entity on a day (yyyymmdd); returns its folder."""
    files = {
        file_name(contract, entity).removesuffix(".csv") + ".csv": (csv_text(contract, entity, rows), len(rows))
        for entity, rows in tables.items()
    }
    return deliver_files(landing, contract.source, provider, day, files, mode)


@overload
def deliver_files(landing: Path, source: str, provider: str, day: str, files: Files, mode: str = "delta") -> Path: ...
@overload
def deliver_files(landing: AnyPath, source: str, provider: str, day: str, files: Files, mode: str = "delta") -> AnyPath: ...
def deliver_files(landing: AnyPath, source: str, provider: str, day: str, files: Files, mode: str = "delta") -> AnyPath:
    """Write one delivery of files (name, content, number of data records); returns its folder."""
    folder = landing / source / provider / day
    folder.mkdir(parents=True)
    announced = []
    for name, (content, rows) in files.items():
        raw = content.encode() if isinstance(content, str) else content
        (folder / name).write_bytes(raw)
        announced.append({"name": name, "rows": rows, "sha256": hashlib.sha256(raw).hexdigest()})
    manifest = {"source": source, "provider": provider, "extract_date": _iso(day), "mode": mode, "files": announced}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def opt_out_lists(
    landing: AnyPath,
    day: str,
    allowed: Sequence[str],
    submitted: Sequence[str] = (),
    local: Sequence[str] = ("9990000018",),
    objections: Sequence[tuple[str, str, str, str]] = (("9990000026", "", "", "refused"),),
) -> None:
    """Write all three lists as at a day. `submitted` defaults to the allowed numbers; lists of nobody are stated to be so."""
    numbers = "".join(f"{number},\n" for number in allowed)
    asked = "".join(f"{number},\n" for number in submitted or allowed)
    all_allowed = set(allowed) == set(submitted or allowed)
    _list(landing, "national", day, {"response.dat": numbers, "request.dat": asked}, nobody=all_allowed)
    entries = "nhs_number,opted_out_on\n" + "".join(f"{n},2025-01-01\n" for n in local)
    _list(landing, "local", day, {"local.csv": entries}, nobody=not local)
    lines = "".join(",".join(objection) + ",2025-01-01\n" for objection in objections)
    entries = "nhs_number,provider,local_id,decision,decided_on\n" + lines
    _list(landing, "objection", day, {"objections.csv": entries}, nobody=not objections)


def also_allowed(landing: AnyPath, day: str, numbers: Sequence[str]) -> None:
    """Add numbers to the existing national lists, as submitted and as allowed."""
    folder = landing / "optouts" / "national" / day
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        path = folder / file["name"]
        raw = path.read_bytes() + "".join(f"{number},\n" for number in numbers).encode()
        path.write_bytes(raw)
        file |= {"rows": file["rows"] + len(numbers), "sha256": hashlib.sha256(raw).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _list(landing: AnyPath, kind: str, day: str, files: Mapping[str, str], *, nobody: bool) -> None:
    folder = landing / "optouts" / kind / day
    folder.mkdir(parents=True)
    announced = []
    for name, text in files.items():
        (folder / name).write_text(text)
        rows = len(text.splitlines()) - (not name.endswith(".dat"))
        announced.append({"name": name, "rows": rows, "sha256": hashlib.sha256(text.encode()).hexdigest()})
    manifest = {"kind": kind, "as_at": _iso(day), "files": announced} | ({"none_stated_by": "test"} if nobody else {})
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _iso(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"
