"""Reads YAML by PyYAML's C loader where it was built with it: it takes a tenth of the time of the loader in Python."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import yaml

from vocab.written_files import InvalidTextError, read_text

_MERGE: Final = "tag:yaml.org,2002:merge"
"""The tag of `<<`."""

_DEEPEST: Final = 100
"""How many lists and mappings may be inside each other."""

_TOO_DEEP: Final = f"more than {_DEEPEST} lists and mappings are inside each other"

_SURELY_NOT_TOO_DEEP: Final = 10_000
"""The C loader of PyYAML 6.0.3 ends the process where 50,000 are inside each other; each takes a bracket or a column."""

_EXPECTED: Final = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "timestamp": "a day or a time that there is, such as 2026-01-31",
}
"""The kinds of values of which PyYAML raises an error without a place if what is written is none."""


_Loader: Any = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
"""A loader of its own, which also says where a value is none of its kind."""


def _checked(construct: Callable[[Any, yaml.Node], Any], expected: str) -> Callable[[Any, yaml.Node], Any]:
    def constructed(loader: Any, node: yaml.Node) -> Any:
        try:
            return construct(loader, node)
        except (ValueError, LookupError, AttributeError) as error:
            raise _refused(f"expected {expected}", node.start_mark) from error

    return constructed


for _kind, _what in _EXPECTED.items():
    _Loader.add_constructor(
        f"tag:yaml.org,2002:{_kind}", _checked(getattr(yaml.constructor.SafeConstructor, f"construct_yaml_{_kind}"), _what)
    )


class InvalidYamlError(Exception):
    """A text is not valid YAML; the message says at which line and why."""

    def __init__(self, line: int | None, problem: str) -> None:
        where = "" if line is None else f" at line {line}"
        super().__init__(f"not valid YAML{where}: {problem}")


def read_yaml(path: Path) -> Any:
    """The content of a file. Raises InvalidYamlError, or OSError where the file cannot be read."""
    try:
        return parse_yaml(read_text(path))
    except InvalidTextError as error:
        raise InvalidYamlError(error.line, error.reason) from error


def parse_yaml(text: str) -> Any:
    """The content of a text. Raises InvalidYamlError, also where a key stands twice: PyYAML would drop what the first has."""
    try:
        _refuse_what_ends_the_process(text)
        loader = _Loader(text)
        try:
            document = loader.get_single_node()
            _refuse_repeats_and_depth(loader, document)
            return None if document is None else loader.construct_document(document)
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.encode()[: error.position].count(b"\n") + 1
        raise InvalidYamlError(line, "a character that no text has; save the file as UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise InvalidYamlError(mark and mark.line + 1, getattr(error, "problem", None) or "unreadable") from error
    except UnicodeEncodeError as error:
        raise InvalidYamlError(None, "a letter that is not UTF-8") from error
    except RecursionError as error:
        raise InvalidYamlError(None, _TOO_DEEP) from error


def _refused(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.constructor.ConstructorError(problem=problem, problem_mark=mark)


def _refuse_what_ends_the_process(text: str) -> None:
    """Raises YAMLError where so many lists and mappings are inside each other that the C loader would have no stack left."""
    if sum(map(text.count, "[{")) + max(map(len, text.splitlines()), default=0) <= _SURELY_NOT_TOO_DEEP:
        return
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _refused(_TOO_DEEP, event.start_mark)


def _refuse_repeats_and_depth(loader: Any, document: yaml.Node | None) -> None:
    """Raises YAMLError at the first key that its mapping has already, and where too many nodes are inside each other.

    What `<<` merges is not written there, and may repeat.
    """
    left, seen = [(document, 1)], set()
    while left:
        node, depth = left.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))  # an alias is the node that its anchor names
        if depth > _DEEPEST:
            raise _refused(_TOO_DEEP, node.start_mark)
        if isinstance(node, yaml.SequenceNode):
            left += [(item, depth + 1) for item in node.value]
            continue
        keys: dict[Any, yaml.Node] = {}
        for key, value in node.value:
            left.append((value, depth + 1))
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                first = keys.setdefault(loader.construct_object(key), key)
                if first is not key:
                    line = first.start_mark.line + 1
                    raise _refused(f"the key {key.value} stands twice, first at line {line}; keep one of them", key.start_mark)
