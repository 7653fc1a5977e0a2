"""Every error that a user can see, with the exit code that identifies its cause.

A message names file, table, column, rule and count, what was expected and the next step. It never contains a cell
value, an NHS number or key material. What of any other error may be shown is here too: its class and place.
"""

import errno
import traceback
from collections.abc import Collection
from difflib import get_close_matches

from vocab.errors import VocabularyError

UNEXPECTED_EXIT_CODE = 70

EXIT_CODES_PAGE = "docs/exit-codes.md"
"""Says of every error what happened and what to do. Its anchors are the names of the errors in lower case."""


class OmopPipelineError(Exception):
    """Base of the errors shown to users without a traceback."""

    exit_code = 1


class ConfigError(OmopPipelineError):
    """The configuration cannot be used."""

    exit_code = 10


class ContractError(OmopPipelineError):
    """A source contract or a mapping file is wrong."""

    exit_code = 11


class DeliveryError(OmopPipelineError):
    """Nothing could be loaded, or a delivery that a command was given does not match its manifest or its contract."""

    exit_code = 12


class RequiredSourceError(DeliveryError):
    """A source that a release cannot do without is not there, or too old; nothing was released."""


class OptOutMissingError(OmopPipelineError):
    """A required opt-out list is not there."""

    exit_code = 13


class OptOutEmptyError(OmopPipelineError):
    """An opt-out list is there but has no entry."""

    exit_code = 14


class OptOutStaleError(OmopPipelineError):
    """An opt-out list is older than the policy allows, in the future, or older than the one last used."""

    exit_code = 15


class OptOutInvalidError(OmopPipelineError):
    """An opt-out list cannot be parsed or does not fit its request, checksum or plausible range."""

    exit_code = 16


class KeyMissingError(OmopPipelineError):
    """There is no usable pseudonymisation key."""

    exit_code = 17


class KeyChangedError(OmopPipelineError):
    """The key differs from the key of the identifiers already published."""

    exit_code = 19


class LedgerError(OmopPipelineError):
    """Rows in and rows out do not balance."""

    exit_code = 20


class QualityGateError(OmopPipelineError):
    """A quality gate failed; nothing was published.

    `can_be_waived` says whether a waiver could accept any of what failed.
    """

    exit_code = 21

    def __init__(self, message: str, *, can_be_waived: bool = False) -> None:
        super().__init__(message)
        self.can_be_waived = can_be_waived


class ReleaseError(OmopPipelineError):
    """There is no such release, or it cannot be read or published."""

    exit_code = 22


class EngineError(OmopPipelineError):
    """The engine cannot be started or reached."""

    exit_code = 23


class SelectionError(OmopPipelineError):
    """A selection names no table."""

    exit_code = 24


class NothingToTraceError(SelectionError):
    """There is no such table, row, file or line to trace."""


class OptOutReferenceError(OmopPipelineError):
    """What an opt-out is read from is missing at a provider, so that nobody's opt-out can be seen there."""

    exit_code = 25


class OptOutChangedError(OmopPipelineError):
    """An opt-out list has changed since the run read it, or another run has used a newer one; nothing is released."""

    exit_code = 26


class UpkeepError(OmopPipelineError):
    """Some tables could not be kept up; no row and no release is affected."""

    exit_code = 27


OPT_OUT_ERRORS = (OptOutMissingError, OptOutEmptyError, OptOutStaleError, OptOutInvalidError)
"""What can be wrong with an opt-out list."""


class RunUnderWayError(OmopPipelineError):
    """Another command is writing to the same lakehouse."""

    exit_code = 30


class RightsError(OmopPipelineError):
    """Other users of the machine have rights on what is for the load only."""

    exit_code = 31


class StoreError(OmopPipelineError):
    """An object store cannot be reached, has no such bucket, or refuses the account."""

    exit_code = 32


class DocumentError(OmopPipelineError):
    """A document in which the lakehouse remembers something, or the log of a table, cannot be read.

    Without `stops` a run goes on without the document.
    """

    exit_code = 33

    def __init__(self, message: str, *, stops: bool = True) -> None:
        super().__init__(message)
        self.stops = stops


class DifferenceError(OmopPipelineError):
    """Tables of the lakehouse are not what a rebuild from what was delivered gives."""

    exit_code = 40


class NotCurrentError(OmopPipelineError):
    """The lakehouse has not been made from what it would be made from now, so a rebuild would say nothing about it."""

    exit_code = 41


class UndeclaredInputError(Exception):
    """A declaration of a table is wrong: a fault of the software, not of its input."""


USER_ERRORS = (OmopPipelineError, VocabularyError)


_HIGHEST_FRAMES = 12
_NO_SPACE = "No space left on device"
_SAID_BY_ENGINES = (
    "Resources exhausted",
    "Not enough memory",
    "OutOfMemoryError",
    _NO_SPACE,
    "Too many open files",
    "No such file or directory",
    "Permission denied",
    "Connection refused",
    "Connection reset",
    "Deadline Exceeded",
    "Object Store error",
    "Object at location",
    "IO error",
    "Arrow error",
    "Parquet error",
    "Schema error",
    "Divide by zero",
    "Arithmetic overflow",
    "ConcurrentAppendException",
    "ConcurrentModificationException",
    "SparkOutOfMemoryError",
    "FileNotFoundException",
)
"""Words of engines that say what kind of fault it is, and nothing of any row."""
_WITHOUT_VALUES = (ImportError, NameError, AttributeError)


def exit_code_of(error: Exception) -> int:
    """The exit code that says what kind of error ended a command."""
    return error.exit_code if isinstance(error, USER_ERRORS) else UNEXPECTED_EXIT_CODE


def page_of(error: Exception) -> str:
    """Where the documentation explains an error."""
    name = type(error).__name__ if isinstance(error, USER_ERRORS) else "unexpected"
    return f"{EXIT_CODES_PAGE}#{name.lower()}"


def counted(number: int, noun: str) -> str:
    """A number of things in a message: `1 fault`, `2 faults`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def perhaps_meant(wanted: str, known: Collection[str]) -> str:
    """What to add to a message about a name that there is not: the most similar ones; empty if none is similar."""
    near = get_close_matches(wanted, known, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def is_out_of_space(error: BaseException) -> bool:
    """Whether an error says that a disk, or what an account may have of it, is full."""
    of_system = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return of_system or _NO_SPACE.casefold() in str(error).casefold()


def shown_message(error: Exception) -> str:
    """What may be shown and kept of an error.

    Of an error that users can meet it is the message. Of any other it is class and place: engines put the values of rows into
    their messages. Of those only the engine's own words for a kind of fault are shown, and of an error of the operating system
    its own words and the path.
    """
    if isinstance(error, USER_ERRORS):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)[-_HIGHEST_FRAMES:]
    places = "\n".join(f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames)
    kinds = [words for words in _SAID_BY_ENGINES if words.casefold() in str(error).casefold()]
    but_for = f", but for: {'; '.join(kinds)}" if kinds else ""
    what = f"its message may hold values of rows and is left out{but_for}"
    if isinstance(error, _WITHOUT_VALUES):
        what = str(error)
    elif isinstance(error, OSError) and error.strerror:
        what = ": ".join([error.strerror, *(str(name) for name in (error.filename, error.filename2) if name)])
    said = f"unexpected {type(error).__name__}: {what}\n{places}"
    return f"a disk is full; {_FREE_SPACE}, then run the command again\n{said}" if is_out_of_space(error) else said


_FREE_SPACE = "free space below the storage roots and engine.scratch_dir"


_A_WAIVER = "a waiver into a .yaml file of the folder quality beside base.yaml (docs/gates.md#waivers)"


def next_step_after(error: Exception) -> str:
    """What to do about a run that ended with an error, beside what the message says."""
    match error:
        case LedgerError():
            return "report it: this is a fault of the software"
        case QualityGateError():
            waiver = f", or write {_A_WAIVER}" if error.can_be_waived else ""
            return f"nhs-omop gate --full shows what failed; correct mapping or data{waiver}, then nhs-omop run"
        case OmopPipelineError() | VocabularyError():
            return "do what the message says, then nhs-omop run"
        case _ if is_out_of_space(error):
            return f"{_FREE_SPACE}, then nhs-omop run: it goes on where it stopped"
        case _:
            return "report class and place, then nhs-omop run: it goes on where it stopped"
