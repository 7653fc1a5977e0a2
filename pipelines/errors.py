"""Every error that a user can see, with the exit code that identifies its cause.

A message names file, table, column, rule and count, what was expected and the next step. It never contains a cell
value, an NHS number or key material.
"""

from vocab.errors import VocabularyError


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
    """A quality gate failed; nothing was published."""

    exit_code = 21


class ReleaseError(OmopPipelineError):
    """There is no such release, or it cannot be read."""

    exit_code = 22


class EngineError(OmopPipelineError):
    """The engine cannot be started or reached."""

    exit_code = 23


class SelectionError(OmopPipelineError):
    """A selection names no table."""

    exit_code = 24


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


class UndeclaredInputError(Exception):
    """A declaration of a table is wrong: a fault of the software, not of its input."""


USER_ERRORS = (OmopPipelineError, VocabularyError)
