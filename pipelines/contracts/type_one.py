"""Reads the list of codes for dissent from the use of GP data (`mappings/opt_outs/type1.yaml`)."""

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from pipelines.contracts.models import Frozen
from pipelines.contracts.source import SourceContract
from pipelines.contracts.yaml_files import InvalidYamlError, read_yaml
from pipelines.errors import OptOutEmptyError, OptOutInvalidError, OptOutMissingError


class TypeOneCode(Frozen):
    """One code, and whether it records a dissent or its withdrawal."""

    vocabulary: str
    code: str
    meaning: Literal["dissent", "withdrawn"]
    note: str = ""


class Record(Frozen):
    """Where the codes are recorded: the entity, its code column, and its date columns, the clinical date first."""

    entity: str
    code: str
    dates: tuple[str, ...]


class Dictionary(Frozen):
    """The code table that the record's codes refer to: its key column and, by vocabulary, the column with the code.

    `others` are columns with codes of lists that have no opt-out. A row without any code explains nothing.
    """

    entity: str
    code: str
    columns: dict[str, str]
    others: tuple[str, ...] = ()


class TypeOneCodes(Frozen):
    """The list with its release, and the source it is read from. It applies to the rows of that source only."""

    source: str
    release: str
    observation: Record
    dictionary: Dictionary
    codes: tuple[TypeOneCode, ...]

    def faults(self, contract: SourceContract) -> list[str]:
        """Every name that the source's contract does not know."""
        wanted = {
            self.observation.entity: (self.observation.code, *self.observation.dates),
            self.dictionary.entity: (self.dictionary.code, *self.dictionary.columns.values(), *self.dictionary.others),
        }
        faults = []
        for entity, columns in wanted.items():
            known = contract.entities[entity].columns if entity in contract.entities else {}
            faults += [f"{entity}: {column} is not in the contract" for column in columns if column not in known]
        return faults


def load_type_one_codes(path: Path, contract: SourceContract) -> TypeOneCodes:
    """Read the list and check it against its source's contract.

    Raises OptOutMissingError, OptOutEmptyError or OptOutInvalidError: without this list nobody's dissent can be seen.
    """
    if not path.is_file():
        raise OptOutMissingError(f"Type 1 code list {path.name} is missing; put the approved list at the configured path")
    try:
        codes = TypeOneCodes.model_validate(read_yaml(path))
    except (OSError, InvalidYamlError, ValidationError) as error:
        fields = (
            [".".join(map(str, e["loc"])) or "expected sections at the top level" for e in error.errors()]
            if isinstance(error, ValidationError)
            else [str(error)]
        )
        raise OptOutInvalidError(f"Type 1 code list {path.name} cannot be read: {', '.join(fields)}") from error
    if not any(code.meaning == "dissent" for code in codes.codes):
        raise OptOutEmptyError(f"Type 1 code list {path.name} names no dissent code; nobody would be left out")
    faults = codes.faults(contract)
    if faults:
        raise OptOutInvalidError(f"Type 1 code list {path.name}: " + "; ".join(faults))
    return codes
