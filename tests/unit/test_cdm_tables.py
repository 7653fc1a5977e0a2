"""The tables of the CDM as OHDSI's package declares them, read into our own form."""

import pytest

from pipelines.contracts.cdm import CDM_VERSIONS, cdm_tables


@pytest.mark.parametrize("version", CDM_VERSIONS)
def test_names_are_plain_texts(version: str) -> None:
    """SQLAlchemy's are of a class of its own, with which Spark 4.0 cannot make a row."""
    names: list[object] = []
    for name, table in cdm_tables(version).items():
        names += [name, table.name, table.primary_key]
        for column in table.columns:
            names += [column.name, *(column.references or ())]
    assert {type(name) for name in names} == {str, type(None)}
