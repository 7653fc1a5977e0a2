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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "opt_outs: {max_age_days: 7}\nrun: {}\nopt_outs: {warn_at_days: 5}\n",
            "line 3: the key opt_outs stands twice, .*line 1;",
        ),
        (
            "columns:\n  nhs: {identifier: nhs_number}\n  nhs: {}\n",
            "line 3: the key nhs stands twice, first at line 2; keep one",
        ),
        ("- {a: 1}\n- b: [{c: {d: 1, e: 2, d: 1}}]\n", "line 2: the key d stands twice, first at line 2"),
        ("1: a\n0x1: b\n", "line 2: the key 0x1 stands twice"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n  d: 1\n  d: 2\n", "line 5: the key d stands twice"),
    ],
)
def test_a_key_that_stands_twice_is_refused_with_its_lines(text: str, said: str) -> None:
    with pytest.raises(InvalidYamlError, match=said):
        parse_yaml(text)


def test_what_is_merged_may_be_written_again() -> None:
    text = "a: &x {b: 1, c: 2}\nd: {<<: *x, b: 3}\ne: {<<: *x, c: 4}\nf: [*x, *x]\n1: i\n'1': t\n"
    own = {"d": {"b": 3, "c": 2}, "e": {"b": 1, "c": 4}, "f": [{"b": 1, "c": 2}] * 2, 1: "i", "1": "t"}
    assert parse_yaml(text) == {"a": {"b": 1, "c": 2}, **own}
    assert parse_yaml("") is None


def test_nothing_but_data_is_made() -> None:
    with pytest.raises(InvalidYamlError):
        parse_yaml("!!python/object/apply:os.getcwd []")
