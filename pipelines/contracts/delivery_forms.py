"""How those providers deliver who do not send our manifest: what their control files say, and when a file is whole."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from pydantic import Field, model_validator

from pipelines.contracts.models import Frozen

Mode = Literal["full", "delta", "period"]
"""How a delivery replaces what came before: all of it, by the key of its records, or the reporting periods that it has."""


class Stated(StrEnum):
    """What a control file says of a file: its name, its data records, or a checksum of its bytes in hexadecimal."""

    NAME = "name"
    RECORDS = "records"
    MD5 = "md5"
    SHA1 = "sha1"
    SHA256 = "sha256"
    SHA512 = "sha512"

    @property
    def digits(self) -> int:
        """The length of a checksum; 0 for what is none."""
        return {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}.get(self.value, 0)


_COUNT = re.compile("[0-9]{1,12}|[0-9]{1,3}(,[0-9]{3}){1,3}")


def count_in(text: str) -> int | None:
    """The number that a control file or trailer states, with or without a comma at thousands; None where it is none."""
    return int(text.replace(",", "")) if _COUNT.fullmatch(text) else None


class ControlFile(Frozen):
    """The control files of a delivery: text with a line for each delivered file.

    `files` are patterns (`*`) of their names, matched ignoring case. With `header` the first line names the columns and
    `columns` says what they are called; without, `columns` gives their positions, from 1. `delimiter: blanks` is any run of
    blanks, as `sha256sum` writes it. Without a column for the name a control file is about one file, which is called like it
    without its last suffix (`patients.csv.md5`). `besides` are the lines that its counts have besides the data records: 1 with
    the header, 2 with a trailer too.
    """

    files: tuple[str, ...] = Field(min_length=1)
    delimiter: Literal[",", "|", ";", "\t", "blanks"] = ","
    header: bool = True
    columns: dict[Stated, str | int] = Field(min_length=1)
    besides: int = Field(default=0, ge=0, le=9)

    @property
    def counts_or_checks(self) -> bool:
        """Whether it says more than the names of the files."""
        return any(stated is not Stated.NAME for stated in self.columns)

    @model_validator(mode="after")
    def columns_fit_the_header(self) -> "ControlFile":
        """Refuse columns that are given in the other way, or twice."""
        if self.header and not all(isinstance(column, str) and column.strip() for column in self.columns.values()):
            raise ValueError("columns: expected the header of each; for positions set header: false")
        if not self.header and not all(isinstance(column, int) and column >= 1 for column in self.columns.values()):
            raise ValueError("columns: expected the position of each, from 1, as there is no header")
        if len(set(map(str, self.columns.values()))) < len(self.columns):
            raise ValueError("columns: one column is given for two things")
        if self.columns.keys() == {Stated.NAME} and self.besides:
            raise ValueError("besides: it has no column of records")
        return self


class Trailer(Frozen):
    """The last line of every file, which is no record but counts them.

    Its first field is `begins`, ignoring case, and the field at position `records` (from 1) is the count; it is delimited as
    the file is. `besides` are the lines that the count has besides the data records.
    """

    begins: str = Field(pattern=r"\S")
    records: int = Field(ge=2)
    besides: int = Field(default=0, ge=0, le=9)


class Whole(StrEnum):
    """A sign that a file has not been cut short, where nobody has stated its records or its checksum."""

    LINE_END = "line_end"
    """Its last line has a line end."""
    ALL_FIELDS = "all_fields"
    """No record is malformed: each has as many fields as the header, and every quoted field is closed."""


@dataclass(frozen=True)
class Ending:
    """How the content of a file has to end."""

    trailer: Trailer | None = None
    complete: frozenset[Whole] = frozenset()


ANY_END = Ending()


class DeliveryForm(Frozen):
    """How some providers of a source deliver when there is no manifest; where there is one, it counts.

    `providers` are those that it holds for, all others of the source if none is named. `mode` is that of every delivery. The
    extract date is the day that the folder is called by. Delivered are the files that its control files list, or, without
    `control`, all files in the folder. `complete` are signs that a file has to show; a `trailer` is expected with a manifest
    too. `needs` are entities of which every delivery must have a file: a folder that is still being filled looks whole
    otherwise.
    """

    providers: tuple[str, ...] = ()
    mode: Mode
    control: ControlFile | None = None
    trailer: Trailer | None = None
    complete: tuple[Whole, ...] = ()
    needs: tuple[str, ...] = ()

    @model_validator(mode="after")
    def says_when_a_file_is_whole(self) -> "DeliveryForm":
        """Refuse a form by which a file that was cut short could be taken for a whole one."""
        if not (self.trailer or self.complete or (self.control and self.control.counts_or_checks)):
            signs = ", ".join(Whole)
            raise ValueError(
                "nothing says when a file is whole: give control with records or a checksum, trailer, or complete "
                f"with one of {signs}"
            )
        return self
