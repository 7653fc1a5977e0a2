"""Small JSON documents beside the tables: what the lakehouse has to remember between runs.

Each is a pydantic model with the version of its form, and states what is to be done where it cannot be read. A document of
another version is not guessed at: it is refused, or counts as not there if it is an earlier one that stops nothing.
"""

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.errors import DocumentError
from pipelines.storage.files import AnyPath, read_whole, why, write_whole

log = logging.getLogger(__name__)


class Lost(NamedTuple):
    """What is to be done where a document is damaged. With `stops` nothing goes on until then, else it counts as not there."""

    step: str
    stops: bool = True


class Document(BaseModel):
    """Base of the documents: the version of the form that the code reads and writes, the file's rights, what if it is lost."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    FORM: ClassVar[int] = 1
    MODE: ClassVar[int] = 0o600
    LOST: ClassVar[Lost] = Lost("restore it from a backup")

    form: int = 1

    @classmethod
    def read(cls, path: AnyPath) -> Self | None:
        """The document; None where there is none, or where one that stops nothing is damaged, with a warning.

        Raises DocumentError if it cannot be read or has another form.
        """
        return cls._read(path, passes_over=not cls.LOST.stops)

    @classmethod
    def checked(cls, path: AnyPath) -> Self | None:
        """The document, or None; raises DocumentError where it is damaged, also if it stops nothing."""
        return cls._read(path, passes_over=False)

    @classmethod
    def _read(cls, path: AnyPath, *, passes_over: bool) -> Self | None:
        try:
            content = read_whole(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DocumentError(f"{path}: {why(error)}; check who may read it") from error
        form = _form_of(content, cls.FORM)  # before the fields, which another form may have others of
        of_another = f"was written in form {form}, this version reads form {cls.FORM}"
        if form > cls.FORM or (form < cls.FORM and cls.LOST.stops):
            raise DocumentError(f"{path}: {of_another}; use the version of nhs-omop that wrote it")
        try:
            if form == cls.FORM:
                return cls.model_validate_json(content)
            fault = of_another
        except ValidationError:
            fault = "cannot be read"
        counts = "" if cls.LOST.stops else ", and counts as not there"
        said = f"{path}: {fault}{counts}; {cls.LOST.step}"
        if passes_over:
            log.warning(said)
            return None
        raise DocumentError(said, stops=cls.LOST.stops)

    def write(self, path: AnyPath) -> None:
        """Replace the stored document as a whole, also when the machine stops in between."""
        if isinstance(path, Path):
            # A private document may be the first thing below the restricted root: then it makes the root private too.
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o755 if self.MODE & 0o044 else 0o700)
        write_whole(path, f"{self.model_dump_json(indent=1)}\n".encode(), self.MODE)


class _Form(BaseModel):
    """What every form of a document has."""

    form: int


def _form_of(content: bytes, unless_said: int) -> int:
    """The form that a document says it has."""
    try:
        return _Form.model_validate_json(content).form
    except ValidationError:
        return unless_said


def digest_of_files(paths: Mapping[str, Path]) -> str:
    """SHA-256 over files and the names they are known by; the order does not matter."""
    whole = hashlib.sha256()
    for name, path in sorted(paths.items()):
        with path.open("rb") as file:
            whole.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()


def digest_of(*parts: str) -> str:
    """SHA-256 of some texts, each with its length, so that no two lists of texts give one digest."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(f"{len(part)}:{part}".encode())
    return whole.hexdigest()
