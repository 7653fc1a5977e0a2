from pathlib import Path

import pytest
import yaml

from pipelines.contracts import yaml_files
from pipelines.contracts.yaml_files import InvalidYamlError, parse_yaml, read_yaml
from pipelines.settings import PACKAGED_MAPPINGS_DIR

FILES = sorted(PACKAGED_MAPPINGS_DIR.glob("*/*.yaml"))


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without its C loader")
def test_the_quick_loader_is_used() -> None:
    assert yaml_files._LOADER is yaml.CSafeLoader


@pytest.mark.parametrize("path", FILES[:3], ids=lambda path: f"{path.parent.name}/{path.name}")
def test_it_reads_what_the_loader_in_python_reads(path: Path) -> None:
    assert read_yaml(path) == yaml.safe_load(path.read_text(encoding="utf-8"))


def test_invalid_text_is_refused_with_its_line() -> None:
    with pytest.raises(InvalidYamlError, match=r"not valid YAML at line 2: \w+"):
        parse_yaml("a: 1\nb: ]\n")


def test_nothing_but_data_is_made() -> None:
    with pytest.raises(InvalidYamlError):
        parse_yaml("!!python/object/apply:os.getcwd []")
