"""Schemas of names and Spark types in the form that Spark takes."""

from collections.abc import Mapping


def ddl_of(schema: Mapping[str, str]) -> str:
    """A schema of names and Spark types as the DDL text that `createDataFrame` takes; names are quoted."""
    return ", ".join(f"`{name}` {kind}" for name, kind in schema.items())
