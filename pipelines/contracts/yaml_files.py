"""Reads YAML by PyYAML's C loader where it was built with it: it takes a tenth of the time of the loader in Python."""

from pathlib import Path
from typing import Any, Final

import yaml

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_MERGE: Final = "tag:yaml.org,2002:merge"
"""The tag of `<<`."""


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
    """The content of a text. Raises InvalidYamlError, also where a key stands twice: PyYAML would drop what the first has."""
    try:
        loader = _LOADER(text)
        try:
            document = loader.get_single_node()
            _refuse_repeated_keys(loader, document)
            return None if document is None else loader.construct_document(document)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise InvalidYamlError(error) from error


def _refuse_repeated_keys(loader: Any, document: yaml.Node | None) -> None:
    """Raises YAMLError at the first key that its mapping has already. What `<<` merges is not written there, and may repeat."""
    left, seen = [document], set()
    while left:
        node = left.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))  # an alias is the node that its anchor names
        if isinstance(node, yaml.SequenceNode):
            left += node.value
            continue
        keys: dict[Any, yaml.Node] = {}
        for key, value in node.value:
            left.append(value)
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                first = keys.setdefault(loader.construct_object(key), key)
                if first is not key:
                    problem = f"the key {key.value} stands twice, first at line {first.start_mark.line + 1}; keep one of them"
                    raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key.start_mark)
