"""Publishes a release as views in the catalog of Spark, pinned to the versions of its tables. No row is copied.

Each release has a schema of its own, `<schema>_<release id>`, which is complete before anything names it and never changes
afterwards. A schema has its views replaced one by one, in Spark as in Unity Catalog: there is nothing that swaps a whole one.
So `<schema>` holds a view of every table that follows the current release, each at its own moment, and last of all the one row
of `current_release`, which names the schema of the release: whoever reads from that one reads from one release only.
"""

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from pipelines.contracts.cdm import CdmTable
from pipelines.contracts.zones import Zone
from pipelines.errors import ConfigError
from pipelines.release.model import Release
from pipelines.release.published import cdm_of, chosen_release, release_folder, require_as_released
from pipelines.settings import Settings, storage_paths
from pipelines.spark_options import option_of

log = logging.getLogger(__name__)

CURRENT_RELEASE: Final = "current_release"
"""The view of one row that says which release the views of a schema are of, and which schema is that of the release."""

_SCHEMA: Final = re.compile(r"(?:([A-Za-z0-9_]+)\.)?([A-Za-z0-9_]+)")
_OF_A_RELEASE: Final = re.compile(r"[0-9]{8}_[0-9a-f]+(_[0-9]+)?")


@dataclass(frozen=True)
class CatalogSchema:
    """A schema in the catalog of Spark, of a named catalog or of the one that the session uses."""

    name: str
    catalog: str | None = None

    @classmethod
    def of(cls, text: str) -> "CatalogSchema":
        """The schema that `SCHEMA` or `CATALOG.SCHEMA` names. Raises ConfigError for anything else."""
        found = _SCHEMA.fullmatch(text)
        if found is None:
            raise ConfigError("catalog: expected SCHEMA or CATALOG.SCHEMA, of letters, digits and _")
        return cls(found[2], found[1])

    def of_release(self, release_id: str) -> "CatalogSchema":
        """The schema of one release, beside this one."""
        return CatalogSchema(f"{self.name}_{release_id.replace('-', '_')}", self.catalog)

    @property
    def sql(self) -> str:
        """The name for SQL."""
        return ".".join(f"`{part}`" for part in (self.catalog, self.name) if part)

    def view(self, name: str) -> str:
        """The name of a view of the schema, for SQL."""
        return f"{self.sql}.`{name}`"


def publish_to_catalog(
    session: SparkSession, settings: Settings, schema: CatalogSchema, release_id: str | None = None
) -> dict[str, int]:
    """Publish a release, the current one unless another is named, as views; rows by table.

    Schemas of releases that are no more are dropped.
    """
    if option_of(session, "spark.sql.catalogImplementation") == "in-memory":
        log.warning("the catalog of this Spark is in memory and ends with the session: set up a metastore for views to stay")
    release = chosen_release(settings, release_id)
    if settings.storage.catalog is None:
        require_as_released(settings, release)
    sources = {
        pin.name: storage_paths(settings).source(Zone(pin.zone), pin.name, pin.version)
        for pin in release.tables
        if pin.name in cdm_of(release)
    }
    publish_views(session, schema, release, sources, cdm_of(release))
    drop_views_of_others(session, schema, release_folder(settings).ids())
    return {pin.name: pin.rows for pin in release.tables}


def publish_views(
    session: SparkSession,
    schema: CatalogSchema,
    release: Release,
    sources: Mapping[str, str],
    cdm: Mapping[str, CdmTable],
) -> None:
    """Make the schema of a release, and let the views of `schema` follow it. Doing it again changes nothing.

    `sources` is how SQL names each table of the release at its version.
    """
    own = schema.of_release(release.release_id)
    _make_schema(session, own, f"{_comment(release)}; never changes")
    for name, table in cdm.items():
        _make_view(session, own, name, _pinned(table, sources.get(name)), release)
    _make_schema(session, schema, f"the current release of nhs-omop; {CURRENT_RELEASE} names it")
    for name in cdm:
        _make_view(session, schema, name, f"SELECT * FROM {own.view(name)}", release)  # noqa: S608 - names of ours
    facts = {"release_id": release.release_id, "schema_name": own.name, "run_date": release.run_date.isoformat()}
    row = ", ".join(f"'{value}' AS {name}" for name, value in facts.items())
    _make_view(session, schema, CURRENT_RELEASE, f"SELECT {row}", release)


def drop_views_of_others(session: SparkSession, schema: CatalogSchema, release_ids: Collection[str]) -> list[str]:
    """Drop the schemas of releases that are no more; their names. A schema that has been made by others stays."""
    kept = {schema.of_release(release_id).name for release_id in release_ids}
    within = f" IN `{schema.catalog}`" if schema.catalog else ""
    names = [row[0] for row in session.sql(f"SHOW SCHEMAS{within} LIKE '{schema.name}_*'").collect()]
    dropped = []
    for name in names:
        other = CatalogSchema(name, schema.catalog)
        is_of_a_release = _OF_A_RELEASE.fullmatch(name.removeprefix(f"{schema.name}_"))
        if is_of_a_release and name not in kept and _comment_of(session, other).startswith(_MADE_BY):
            session.sql(f"DROP SCHEMA {other.sql} CASCADE")
            dropped.append(name)
    return dropped


_MADE_BY: Final = "nhs-omop release "


def _comment(release: Release) -> str:
    return f"{_MADE_BY}{release.release_id}"


def _comment_of(session: SparkSession, schema: CatalogSchema) -> str:
    described = session.sql(f"DESCRIBE SCHEMA {schema.sql}").where(F.col("info_name") == "Comment").collect()
    return str(described[0]["info_value"]) if described else ""


def _make_schema(session: SparkSession, schema: CatalogSchema, comment: str) -> None:
    session.sql(f"CREATE SCHEMA IF NOT EXISTS {schema.sql} COMMENT '{comment}'")


def _make_view(session: SparkSession, schema: CatalogSchema, name: str, query: str, release: Release) -> None:
    session.sql(f"CREATE OR REPLACE VIEW {schema.view(name)} COMMENT '{_comment(release)}' AS {query}")


def _pinned(table: CdmTable, source: str | None) -> str:
    """The fields of the CDM of a table at its version; no row where the release has no such table."""
    if source is None:
        fields = ", ".join(f"CAST(NULL AS {column.type}) AS `{column.name}`" for column in table.columns)
        return f"SELECT {fields} WHERE false"
    fields = ", ".join(f"`{column.name}`" for column in table.columns)
    return f"SELECT {fields} FROM {source}"  # noqa: S608 - names and paths of ours
