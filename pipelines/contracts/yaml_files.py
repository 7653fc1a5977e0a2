"""Reads YAML by PyYAML's C loader where it was built with it: it takes a tenth of the time of the loader in Python."""

from pathlib import Path
from typing import Any

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class InvalidYamlError(Exception):
    """A text is not valid YAML; the message says at which line and why."""

    def __init__(self, error: yaml.YAMLError) -> None:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = "" if line is None else f" at line {line + 1}"
        super().__init__(f"not valid YAML{where}: {getattr(error, 'problem', None) or 'unreadable'}")


def read_yaml(path: Path) -> Any:
    """The content of a file. Raises InvalidYamlError, or OSError where the file cannot be read."""
    return parse_yaml(path.read_text(encoding="utf-8"))


def parse_yaml(text: str) -> Any:
    """The content of a text. Raises InvalidYamlError."""
    try:
        return yaml.load(text, _LOADER)  # noqa: S506 - the loader is a safe one
    except yaml.YAMLError as error:
        raise InvalidYamlError(error) from error
