"""Write a release where analysts can use it: --to duckdb:PATH."""

from pathlib import Path
from typing import Annotated

import typer

from jobs.command import DEFAULT_CONF_DIR, DEFAULT_ENV, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.output import show_table
from jobs.stages import stage
from pipelines.errors import ConfigError
from pipelines.release.publish.duckdb_file import publish_duckdb
from pipelines.release.published import cdm_of, chosen_release, pinned_tables
from pipelines.settings import Settings

app = new_app()

Target = Annotated[str, typer.Option("--to", metavar="duckdb:PATH", help="Where to write: duckdb:PATH.")]


@app.command()
def publish(
    to: Target,
    release_id: Annotated[str | None, typer.Option("--release", help="A release; the current one unless given.")] = None,
    env: Env = DEFAULT_ENV,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Write a release where analysts can use it: the tables of the CDM, with its columns only."""
    target = target_of(to)
    rows = publish_release(settings_of(env, conf_dir, overrides), target, release_id)
    show_table(str(target), [{"table": name, "rows": n} for name, n in rows.items() if n])


def publish_release(settings: Settings, target: Path, release_id: str | None = None) -> dict[str, int]:
    """Write a release, the current one unless another is named, to a DuckDB file; rows by table."""
    release = chosen_release(settings, release_id)
    with stage(f"publish {release.release_id}"):
        tables = pinned_tables(settings, release)
        return publish_duckdb(target, tables, cdm_of(release), f"nhs-omop release {release.release_id}")


def target_of(text: str) -> Path:
    """The file of a `duckdb:PATH`. Raises ConfigError for anything else."""
    kind, separator, place = text.partition(":")
    if kind != "duckdb" or not separator or not place:
        raise ConfigError("--to: expected duckdb:PATH, for example duckdb:cdm.duckdb")
    return Path(place)


if __name__ == "__main__":
    start(app)
