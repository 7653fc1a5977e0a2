"""Small JSON documents beside the tables: what the lakehouse has to remember between runs."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.errors import OmopPipelineError


def read_document(path: Path) -> dict[str, Any]:
    """The document; empty where there is none. Raises OmopPipelineError if it cannot be read."""
    if not path.exists():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OmopPipelineError(f"{path}: cannot be read; restore it from a backup") from error
    return content


def write_document(path: Path, content: Mapping[str, Any]) -> None:
    """Write the document whole, in the place of the old one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    unfinished = path.with_name(f".{path.name}.part")
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, sort_keys=True, default=str)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


def digest_of_files(paths: Mapping[str, Path]) -> str:
    """SHA-256 over files and the names they are known by; the order does not matter."""
    whole = hashlib.sha256()
    for name, path in sorted(paths.items()):
        with path.open("rb") as file:
            whole.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()
