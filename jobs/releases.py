"""List the releases, the current one marked."""

import sys
from pathlib import Path

if not __package__:  # started as a script: the project's folder takes the place of this one
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from jobs.command import DEFAULT_CONF_DIR, DEFAULT_ENV, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.console import console
from pipelines.release.model import release_of
from pipelines.release.published import release_folder

app = new_app()


@app.command()
def releases(
    env: Env = DEFAULT_ENV, conf_dir: ConfDir = DEFAULT_CONF_DIR, overrides: Overrides = None, json_lines: JsonLines = False
) -> None:
    """List the releases, the oldest first, and every move of the pointer that readers follow."""
    folder = release_folder(settings_of(env, conf_dir, overrides))
    current = folder.current()
    rows = []
    for release_id in folder.ids():
        release = release_of(folder.read(release_id))
        rows.append(
            {
                "release": release_id,
                "current": "yes" if release_id == current else "",
                "run_date": release.run_date.isoformat(),
                "cdm": release.cdm_version,
                "vocabulary": release.vocabulary_version,
                "code": release.code.version,
                "people": release.pin("omop", "person").rows,
                "rows": sum(table.rows for table in release.tables if table.zone == "omop"),
                "warnings": release.gates.warnings,
            }
        )
    if not rows:
        console.info("there is no release yet: nhs-omop run makes one")
        return
    console.table("releases", rows)
    console.table("moves of the current release", folder.moves())


if __name__ == "__main__":
    start(app)
