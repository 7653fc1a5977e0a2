"""Reads the files that are a model each, as those of contracts and mappings; all faults of a file are said at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.contracts.yaml_files import InvalidYamlError, read_yaml
from pipelines.errors import ContractError, counted

Model = TypeVar("Model", bound=BaseModel)

COPY_IT = "copy it from the packaged mappings"
"""What to do where a file is missing that does not depend on the sources."""


def read_model(path: Path, model: type[Model], where: str, if_missing: str = "") -> Model:
    """A YAML file as a model.

    Raises ContractError, which lists every fault with its field and what was expected. `where` is how messages name the file;
    `if_missing` is what to do where it cannot be opened.
    """
    try:
        return model.model_validate(read_yaml(path))
    except OSError as error:
        raise ContractError(f"{path}: {error.strerror}{if_missing and f'; {if_missing}'}") from error
    except InvalidYamlError as error:
        raise ContractError(f"{where}: {error}") from error
    except ValidationError as error:
        raise faulty(where, faults_in(error)) from error


def faults_in(error: ValidationError) -> list[str]:
    """The field and the message of each fault that a model has found."""
    return [f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors()]


def faulty(where: str, faults: Sequence[str]) -> ContractError:
    """The error that lists the faults of a file."""
    return ContractError(f"{where}: {counted(len(faults), 'fault')}\n" + "\n".join(f"  {fault}" for fault in faults))
