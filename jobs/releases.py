"""List the releases, the current one marked."""

import logging

from jobs.command import DEFAULT_CONF_DIR, DEFAULT_ENV, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.output import show_table
from pipelines.release.published import release_folder

log = logging.getLogger(__name__)

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
        release = folder.read(release_id)
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
        log.info("there is no release yet: nhs-omop run makes one")
        return
    show_table("releases", rows)
    show_table("moves of the current release", [move.model_dump() for move in folder.moves()])


if __name__ == "__main__":
    start(app)
