"""Show the current release, what it rests on, and the last run."""

import logging

from jobs.command import DEFAULT_CONF_DIR, DEFAULT_ENV, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.output import show_table
from pipelines.quality.figures import unreadable
from pipelines.release.model import Release
from pipelines.release.published import chosen_release, gates_of, ledger_of, release_folder, runs_of

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def status(
    env: Env = DEFAULT_ENV, conf_dir: ConfDir = DEFAULT_CONF_DIR, overrides: Overrides = None, json_lines: JsonLines = False
) -> None:
    """Show the current release, what it rests on, and how the last run ended."""
    settings = settings_of(env, conf_dir, overrides)
    if release_folder(settings).current() is None:
        log.info("there is no release yet: nhs-omop run makes one")
    else:
        _show(chosen_release(settings))
    runs = runs_of(settings)
    if runs:
        gates = gates_of(settings, runs[-1])
        failed = sum(not gate.passed and gate.check.severity == "error" for gate in gates)
        ended = "before the gates" if not gates else f"{failed} gates failed" if failed else "all gates passed"
        show_table("last run", [{"run": runs[-1], "ended": ended}])
        values = unreadable(ledger_of(settings, runs[-1]))
        if values:
            show_table("values that could not be read", values)


def _show(release: Release) -> None:
    show_table(
        "current release",
        [
            {
                "release": release.release_id,
                "run": release.run_id,
                "run_date": release.run_date.isoformat(),
                "cdm": release.cdm_version,
                "vocabulary": release.vocabulary_version,
                "code": release.code.version,
                "people": release.pin("omop", "person").rows,
            }
        ],
    )
    newest: dict[str, str] = {}
    for extract in release.extracts:
        newest[extract.source] = max(newest.get(extract.source, ""), extract.extract_date.isoformat())
    show_table("newest extract", [{"source": source, "extract_date": day} for source, day in sorted(newest.items())])
    lists = [{"opt_out": kind, "as_at": day.isoformat()} for kind, day in sorted(release.opt_outs.items())]
    show_table("opt-out lists", lists)


if __name__ == "__main__":
    start(app)
