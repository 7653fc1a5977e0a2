"""Write a release where analysts can use it: --to duckdb:PATH or catalog:SCHEMA."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.command import DEFAULT_CONF_DIR, DEFAULT_ENV, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.output import show_table
from jobs.stages import stage
from pipelines.engine_settings import EngineKind
from pipelines.errors import ConfigError
from pipelines.release.publish.duckdb_file import publish_duckdb
from pipelines.release.published import cdm_of, chosen_release, pinned_tables
from pipelines.settings import Settings

app = new_app()

CATALOG = "catalog:"
"""What `--to` begins with for views in the catalog of Spark."""

Target = Annotated[
    str, typer.Option("--to", metavar="TARGET", help="Where to write: duckdb:PATH, or catalog:SCHEMA for views in Spark.")
]


@app.command()
def publish(
    to: Target,
    release_id: Annotated[str | None, typer.Option("--release", help="A release; the current one unless given.")] = None,
    env: Env = DEFAULT_ENV,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Write a release where analysts can use it: the tables of the CDM, with its columns only.

    catalog:SCHEMA makes views of the pinned versions in the catalog of Spark and copies no row.
    """
    settings = settings_of(env, conf_dir, overrides)
    if to.startswith(CATALOG):
        rows = publish_catalog(settings, to.removeprefix(CATALOG), release_id)
    else:
        rows = publish_release(settings, target_of(to), release_id)
    show_table(to, [{"table": name, "rows": n} for name, n in rows.items() if n])


def publish_release(settings: Settings, target: Path, release_id: str | None = None) -> dict[str, int]:
    """Write a release, the current one unless another is named, to a DuckDB file; rows by table."""
    release = chosen_release(settings, release_id)
    with stage(f"publish {release.release_id}"):
        tables = pinned_tables(settings, release)
        return publish_duckdb(target, tables, cdm_of(release), f"nhs-omop release {release.release_id}")


def publish_catalog(settings: Settings, schema: str, release_id: str | None = None) -> dict[str, int]:
    """Make views of a release in the catalog of Spark; rows by table. Raises ConfigError where the engine has no catalog."""
    if settings.engine.kind is EngineKind.SAIL:
        raise ConfigError("--to catalog: the embedded engine keeps no catalog; set engine.kind to spark or remote")
    from pipelines.engine import open_session  # brings the engine, which the other forms do not need
    from pipelines.release.publish.catalog_views import CatalogSchema, publish_to_catalog

    named = CatalogSchema.of(schema)
    with open_session(settings.engine) as session:
        return publish_to_catalog(session, settings, named, release_id)


def target_of(text: str) -> Path:
    """The file of a `duckdb:PATH`. Raises ConfigError for anything else."""
    kind, separator, place = text.partition(":")
    if kind != "duckdb" or not separator or not place:
        raise ConfigError("--to: expected duckdb:PATH, for example duckdb:cdm.duckdb")
    return Path(place)


if __name__ == "__main__":
    start(app)
