"""What a contract may say of versions, flags and forms of values; every fault is named."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.contracts.source import SourceContract, load_contract
from pipelines.errors import ContractError


def contract(columns: dict[str, Any], **more: Any) -> SourceContract:
    """A contract with one entity of one key."""
    entity = {"grain": "one", "files": ["x"], "key": ["k"], "columns": {"k": {}} | columns} | more
    return SourceContract.model_validate({"source": "s", "title": "S", "entities": {"e": entity}})


@pytest.mark.parametrize("kind", ["integer", "code", "date", "timestamp"])
def test_versions_are_compared_by_types_that_have_an_order(kind: str) -> None:
    assert contract({"v": {"type": kind}}, version=["v"]).entities["e"].version == ("v",)


@pytest.mark.parametrize("kind", ["text", "time", "decimal", "boolean"])
def test_a_version_of_another_type_is_refused(kind: str) -> None:
    with pytest.raises(ValidationError, match=f"e.version: v is {kind}; expected integer, code"):
        contract({"v": {"type": kind}}, version=["v"])


@pytest.mark.parametrize("is_listed", [False, True], ids=["deleted", "test"])
def test_a_flag_lists_values_unless_its_column_is_of_truth_values(is_listed: bool) -> None:
    def flagged(kind: str, **flag: Any) -> SourceContract:
        return contract({"f": {"type": kind}}, **({"test": [flag]} if is_listed else {"deleted": flag}))

    flagged("boolean", column="f")
    flagged("code", column="f", values=["1"], cleared=["9"])
    for kind, values in (("boolean", ["1"]), ("code", [])):
        with pytest.raises(ValidationError, match="flag f: list values, unless"):
            flagged(kind, column="f", values=values)
    with pytest.raises(ValidationError, match="flag f: negated: only truth values have an opposite"):
        flagged("code", column="f", values=["1"], negated=True)


def test_a_negated_flag_is_a_column_of_truth_values_that_deletes_nothing() -> None:
    negated = {"column": "f", "negated": True}
    assert contract({"f": {"type": "boolean"}}, test=[negated]).entities["e"].flags
    with pytest.raises(ValidationError, match="flag f: negated: only truth values have an opposite"):
        contract({"f": {"type": "boolean"}}, deleted=negated)


@pytest.mark.parametrize(
    ("period", "version", "fault"),
    [
        ("p", ["p", "n"], None),
        (None, ["p"], None),
        ("p", ["n", "p"], "e.version: its last column is not n"),
        ("p", [], "e.version: its last column is not n"),
    ],
)
def test_of_what_has_periods_the_number_of_the_submission_is_the_last_of_the_version(
    period: str | None, version: list[str], fault: str | None
) -> None:
    columns: dict[str, Any] = {"p": {"type": "date"}, "n": {"type": "code"}, "o": {"type": "code"}}
    values = contract(columns, period=period, version=version).model_dump()
    for of, expected in (("o", fault), ("x", "e.submissions: no column x" if period else None)):
        numbered = values | {"submissions": {"of": of, "number": "n"}}
        if expected is None:
            assert SourceContract.model_validate(numbered).submissions
        else:
            with pytest.raises(ValidationError, match=expected):
                SourceContract.model_validate(numbered)


@pytest.mark.parametrize("kind", ["text", "date", "integer", "boolean"])
def test_only_a_code_has_a_width(kind: str) -> None:
    with pytest.raises(ValidationError, match="width: only a code has one"):
        contract({"c": {"type": kind, "width": 2}})


@pytest.mark.parametrize("kind", ["text", "code", "timestamp", "integer"])
def test_only_a_date_can_be_the_number_of_a_spreadsheet(kind: str) -> None:
    with pytest.raises(ValidationError, match="excel_serial: only a date can be one"):
        contract({"c": {"type": kind, "excel_serial": True}})


@pytest.mark.parametrize("column", [{"type": "date"}, {"type": "result", "shape": "result"}, {"identifier": "record_id"}])
def test_only_a_number_has_its_unit_behind_it(column: dict[str, Any]) -> None:
    contract({"c": {"type": "decimal", "units": ["kg"]}, "d": {"type": "integer", "units": ["min", "mins"]}})
    with pytest.raises(ValidationError, match="units: only a number has one behind it"):
        contract({"c": column | {"units": ["kg"]}})


@pytest.mark.parametrize("column", [{"type": "code", "shape": "code"}, {"type": "date"}, {"identifier": "record_id"}])
def test_only_words_of_a_list_and_codes_with_a_width_have_others_that_mean_the_same(column: dict[str, Any]) -> None:
    contract({"c": {"type": "code", "shape": "list", "same": {"Carer": "Unpaid carer"}}})
    contract({"c": {"type": "code", "shape": "short_code", "width": 3, "same": {"503": "599"}}})
    with pytest.raises(ValidationError, match="same: only the words of a list"):
        contract({"c": column | {"same": {"Carer": "Unpaid carer"}}})


def test_a_key_asks_a_column_that_exists() -> None:
    columns = {"k": {"key_where": {"column": "kind", "values": ["Request"]}}}
    contract(columns | {"kind": {"type": "code"}})
    with pytest.raises(ValidationError, match="key_where: no column kind"):
        contract(columns)


def test_what_comes_whole_has_a_parent_that_does_not() -> None:
    def groups(second: str, **more: Any) -> SourceContract:
        """An episode, its diagnoses, and what comes whole with a second entity."""
        column = {"k": {"identifier": "record_id"}}
        entity = {"grain": "one", "files": ["x"], "key": ["k"], "columns": column}
        parents = {"episode": None, "diagnosis": "episode", "part": second}
        entities = {
            name: entity | ({"subject": {"via": {"entity": parent, "columns": ["k"], "whole": True}}} if parent else {})
            for name, parent in parents.items()
        }
        return SourceContract.model_validate({"source": "s", "title": "S", "entities": entities} | more)

    assert groups("episode", row_by_row=["P"]).whole == {"diagnosis": "episode", "part": "episode"}
    with pytest.raises(ValidationError, match=r"part.subject.via.whole: its parent comes whole with another one"):
        groups("diagnosis")
    with pytest.raises(ValidationError, match="row_by_row: nothing comes whole with its parent"):
        contract({}, key=["k"]).model_validate(contract({}).model_dump() | {"row_by_row": ["P"]})


def test_what_is_restated_has_a_period_or_version_and_what_may_be_empty_is_there() -> None:
    direct = {"nhs_number": "n", "local_id": "k", "restated": True}
    columns: dict[str, Any] = {"k": {"identifier": "local_id"}, "n": {"identifier": "nhs_number"}, "p": {"type": "date"}}
    assert contract(columns, subject={"direct": direct}, period="p").entities["e"].period == "p"
    assert contract(columns, subject={"direct": direct}, version=["p"]).entities["e"].version == ("p",)
    with pytest.raises(ValidationError, match=r"restated: its rows have neither a period nor a version"):
        contract(columns, subject={"direct": direct})
    two = contract(columns, subject={"direct": direct}, version=["p"]).model_dump()
    two["entities"]["f"] = two["entities"]["e"] | {"version": ["p", "p"]}
    with pytest.raises(ValidationError, match="restated: e, f have other versions, so that no row is the newest"):
        SourceContract.model_validate(two)
    one_per = {"entity": "e", "columns": ["n"], "may_be_empty": ["gone"]}
    with pytest.raises(ValidationError, match="one_per: no column gone"):
        contract(columns, one_per=one_per)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "{path}: No such file or directory"),
        (
            "a: 1\na: 2\n",
            "gp/contract.yaml: not valid YAML at line 2: the key a stands twice, first at line 1; keep one of them",
        ),
        ("source: gp\ntitle: GP\n", "gp/contract.yaml: 1 fault\n  entities: Field required"),
        ("source: gp\n", "gp/contract.yaml: 2 faults\n  title: Field required\n  entities: Field required"),
    ],
    ids=["missing", "not YAML", "one fault", "two faults"],
)
def test_a_file_says_all_its_faults(text: str | None, said: str, tmp_path: Path) -> None:
    path = tmp_path / "gp" / "contract.yaml"
    path.parent.mkdir()
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ContractError) as refused:
        load_contract(path)
    assert str(refused.value) == said.format(path=path)
