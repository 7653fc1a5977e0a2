"""Write a release where analysts can use it: a DuckDB file, Parquet files, a PostgreSQL schema, or views in a catalog."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from jobs.command import (
    DEFAULT_CONF_DIR,
    ConfDir,
    Env,
    JsonLines,
    Overrides,
    ended_by_signals,
    new_app,
    place_of,
    refuse_inside_roots,
    settings_of,
    start,
    writing,
)
from jobs.output import show_table
from jobs.stages import stage
from pipelines.contracts.derived import published_tables
from pipelines.engine_settings import EngineKind
from pipelines.errors import ConfigError
from pipelines.progress import OnProgress
from pipelines.release.opt_outs import require_nobody_left_out
from pipelines.release.publish.duckdb_file import publish_duckdb, require_replaceable
from pipelines.release.publish.parquet_folder import publish_parquet
from pipelines.release.publish.publication import Publication
from pipelines.release.published import chosen_release, pinned_tables
from pipelines.settings import Settings

app = new_app()

FORMS = "duckdb:PATH, parquet:FOLDER, postgresql://USER@HOST:PORT/DATABASE or catalog:SCHEMA"
"""What `--to` takes."""

CdmVersion = Literal["5.4", "5.5"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where to publish: `kind` is duckdb, parquet, postgresql or catalog; `place` a path or URI, the whole URL, or a schema."""

    kind: str
    place: str


@app.command()
def publish(
    to: Annotated[str, typer.Option("--to", metavar="TARGET", help=f"Where to write: {FORMS}.")],
    release_id: Annotated[str | None, typer.Option("--release", help="A release; the current one unless given.")] = None,
    version: Annotated[
        CdmVersion | None, typer.Option("--as", help="Version of the CDM; by default that of the release.")
    ] = None,
    webapi_sql: Annotated[
        Path | None, typer.Option("--webapi-sql", help="Also write SQL that makes the schema known to OHDSI's WebAPI.")
    ] = None,
    older_opt_outs: Annotated[
        bool, typer.Option("--accept-older-opt-outs", help="Publish it although people have opted out since.")
    ] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Write a release where analysts can use it: the tables of the CDM with its columns only, vocabulary and derived tables.

    What is there is replaced as a whole when the new one is complete. A failure leaves it as it is. catalog:SCHEMA makes views
    of the pinned versions in the catalog of Spark, one after the other, and copies no row.
    Where a release shows people who have opted out since, publishing it needs --accept-older-opt-outs.
    """
    target, settings = target_of(to), settings_of(env, conf_dir, overrides)
    if webapi_sql and target.kind != "postgresql":
        raise ConfigError("--webapi-sql: WebAPI reads PostgreSQL; give --to postgresql://...")
    release = chosen_release(settings, release_id)
    require_nobody_left_out(settings, release, accepted=older_opt_outs)
    if webapi_sql:
        # Written first: where that fails nothing is published, and of a publication that fails it says nothing untrue.
        with writing(webapi_sql):
            webapi_sql.write_text(sql_for_webapi(settings, target.place), encoding="utf-8")
    rows = publish_to(settings, target, release.release_id, version)
    show_table(f"{target.kind}: {target.place}", [{"table": name, "rows": n} for name, n in rows.items() if n])


def publish_release(settings: Settings, target: Path, release_id: str | None = None) -> dict[str, int]:
    """Write a release, the current one unless another is named, to a DuckDB file; rows by table."""
    return publish_to(settings, Target("duckdb", str(target)), release_id)


def publish_to(
    settings: Settings, target: Target, release_id: str | None = None, version: CdmVersion | None = None
) -> dict[str, int]:
    """Write a release, the current one unless another is named, in its version of the CDM or another; rows by table."""
    if target.kind == "catalog":
        return _publish_catalog(settings, target.place, release_id, version)
    if target.kind != "postgresql":
        refuse_inside_roots(settings, place_of(target.place), "--to")
    publication = publication_of(settings, release_id, version)
    parts = len(publication.tables) * (2 if target.kind == "postgresql" else 1)
    with stage(f"publish {publication.release.release_id}", parts) as on_progress, ended_by_signals():
        if target.kind == "postgresql":
            return _publish_postgresql(settings, target.place, publication, on_progress)
        return _publish_files(settings, target, publication, on_progress)


def _publish_files(settings: Settings, target: Target, publication: Publication, on_progress: OnProgress) -> dict[str, int]:
    place, scratch = place_of(target.place), settings.engine.scratch_dir
    with writing(place):
        if isinstance(place, Path) and not place.parent.is_dir():
            raise FileNotFoundError(place.parent)  # a folder that is made by the way could be read by everybody
        if target.kind == "parquet":
            return publish_parquet(place, publication, on_progress, scratch)
        # What a link leads to is replaced, else its rows would stay where someone may read them.
        file = place.resolve() if isinstance(place, Path) else place
        require_replaceable(file)
        indexes = settings.publish.duckdb_indexes
        return publish_duckdb(file, publication, indexes=indexes, scratch=scratch, on_progress=on_progress)


def publication_of(settings: Settings, release_id: str | None = None, version: CdmVersion | None = None) -> Publication:
    """What is published of a release."""
    # Imported here because the declarations of the tables bring pyspark.
    from pipelines.dictionary import published_grains
    from pipelines.mapping.plausibility import load_plausibility

    release = chosen_release(settings, release_id)
    cdm_version = version or release.cdm_version
    return Publication(
        release=release,
        cdm_version=cdm_version,
        tables=published_tables(cdm_version),
        pinned=pinned_tables(settings, release),
        grains=published_grains(cdm_version, load_plausibility(settings.mappings_dir)),
        memory_gib=settings.engine.memory_gib,
    )


def _publish_catalog(settings: Settings, schema: str, release_id: str | None, version: CdmVersion | None) -> dict[str, int]:
    if settings.engine.kind is EngineKind.SAIL:
        raise ConfigError("--to catalog: the embedded engine keeps no catalog; set engine.kind to spark or remote")
    if version is not None:
        raise ConfigError("--as: views have the CDM version of their release")
    from pipelines.engine import open_session  # brings the engine, which the other forms do not need
    from pipelines.release.publish.catalog_views import CatalogSchema, publish_to_catalog

    named = CatalogSchema.of(schema)
    with open_session(settings.engine) as session:
        return publish_to_catalog(session, settings, named, release_id)


def _publish_postgresql(settings: Settings, url: str, publication: Publication, on_progress: OnProgress) -> dict[str, int]:
    with _with_client():
        from pipelines.release.publish.postgresql_schema import PostgresqlSchema, publish_postgresql
    chosen = settings.publish
    password = chosen.password.resolve().decode().strip() if chosen.password else None
    return publish_postgresql(PostgresqlSchema(url, chosen.cdm_schema, chosen.readers, password), publication, on_progress)


def sql_for_webapi(settings: Settings, url: str) -> str:
    """The SQL that makes the schema of a publication known to WebAPI."""
    with _with_client():
        from pipelines.release.publish.postgresql_schema import PostgresqlSchema
        from pipelines.release.publish.webapi import webapi_sql

    chosen = settings.publish
    return webapi_sql(PostgresqlSchema(url, chosen.cdm_schema, chosen.readers), settings.cdm_holder)


@contextmanager
def _with_client() -> Iterator[None]:
    """Raises ConfigError where what the block imports needs the client of PostgreSQL, and it is not installed."""
    try:
        yield
    except ImportError as error:
        raise ConfigError("PostgreSQL needs its client: pip install 'nhs-omop[postgresql]'") from error


def target_of(text: str) -> Target:
    """The target that a text names. Raises ConfigError for anything else."""
    kind, separator, place = text.partition(":")
    if kind in ("postgresql", "postgres") and place.startswith("//"):
        return Target("postgresql", text)
    if kind not in ("duckdb", "parquet", "catalog") or not separator or not place:
        raise ConfigError(f"--to: expected {FORMS}")
    return Target(kind, place)


if __name__ == "__main__":
    start(app)
