from pathlib import Path

import pytest
import yaml

from pipelines.contracts import yaml_files
from pipelines.contracts.yaml_files import InvalidYamlError, parse_yaml, read_yaml
from pipelines.settings import PACKAGED_MAPPINGS_DIR

FILES = sorted(PACKAGED_MAPPINGS_DIR.glob("*/*.yaml"))


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="PyYAML was built without its C loader")
def test_the_quick_loader_is_used() -> None:
    assert issubclass(yaml_files._Loader, yaml.CSafeLoader)


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("gp: 2010-02-30", "at line 1: expected a day or a time that there is"),
        ("a: 1\ngp: 2010-13-01", "at line 2: expected a day or a time that there is"),
        ("2001-02-29: a", "at line 1: expected a day or a time that there is"),
        ("a: 2001-01-01 00:00:00 +99:99", "at line 1: expected a day or a time that there is"),
        ("a: !!timestamp x", "at line 1: expected a day or a time that there is"),
        ("a: " + "9" * 10_000, "at line 1: expected a whole number"),
        ("a:\n- !!int x", "at line 2: expected a whole number"),
        ("a: !!int ''", "at line 1: expected a whole number"),
        ("a: !!float x", "at line 1: expected a number"),
        ("a: !!bool x", "at line 1: expected true or false"),
        ("a: 1\nb: \x00", "at line 2: a character that no text has; save the file as UTF-8"),
        ("a: \udcff", ": a letter that is not UTF-8"),
        ("a: " + "[" * 100_000, "at line 1: more than 100 lists and mappings are inside each other"),
        ("[" * 100_000 + "]" * 100_000, "at line 1: more than 100 lists and mappings"),
        ("- " * 50_000 + "a", "at line 1: more than 100 lists and mappings"),
        ("\n".join(" " * depth + "a:" for depth in range(200)), "at line 101: more than 100 lists and mappings"),
    ],
    ids=lambda given: given[:20],
)
def test_a_value_that_is_none_of_its_kind_is_refused_with_its_line(text: str, said: str) -> None:
    with pytest.raises(InvalidYamlError, match=f"^not valid YAML ?{said}"):
        parse_yaml(text)


def test_what_is_large_but_not_deep_is_read() -> None:
    assert parse_yaml("[" * 99 + "]" * 99)
    assert parse_yaml("a: " + "x" * 20_000) == {"a": "x" * 20_000}
    assert len(parse_yaml("- {code: [a]}\n" * 6_000)) == 6_000
