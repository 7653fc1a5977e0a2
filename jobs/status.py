"""Show the current release, what it rests on, the last run, and the deliveries that are not loaded."""

import logging
from datetime import date
from typing import TYPE_CHECKING

from jobs.command import DEFAULT_CONF_DIR, DEFAULT_ENV, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.deliveries import history_of, not_loaded, shown_delivery
from jobs.output import show_table
from pipelines.progress import Field
from pipelines.quality.figures import doubts, opt_out_entries, unreadable
from pipelines.release.model import Release
from pipelines.release.published import chosen_release, gates_of, ledger_of, release_folder, runs_of

if TYPE_CHECKING:
    from pipelines.ingest.history import DeliveryFacts

log = logging.getLogger(__name__)

MOST_SHOWN = 20

app = new_app()


@app.command()
def status(
    env: Env = DEFAULT_ENV, conf_dir: ConfDir = DEFAULT_CONF_DIR, overrides: Overrides = None, json_lines: JsonLines = False
) -> None:
    """Show the current release, what it rests on, how the last run ended, and the deliveries that are not loaded."""
    settings = settings_of(env, conf_dir, overrides)
    if release_folder(settings).current() is None:
        log.info("there is no release yet: nhs-omop run makes one")
    else:
        _show(chosen_release(settings))
    held = release_folder(settings).hold()
    if held is not None:
        show_table("a rollback holds until nhs-omop rollback --lift", [held.model_dump(include={"release_id", "at", "reason"})])
    runs = runs_of(settings)
    if runs:
        gates = gates_of(settings, runs[-1])
        failed = sum(not gate.passed and gate.check.severity == "error" for gate in gates)
        ended = "before the gates" if not gates else f"{failed} gates failed" if failed else "all gates passed"
        show_table("last run", [{"run": runs[-1], "ended": ended}])
        show_table("entries of opt-out lists, and why some match nobody", opt_out_entries(ledger_of(settings, runs[-1])))
        for title, rows in doubts(ledger_of(settings, runs[-1])).items():
            show_table(title, rows)
        values = unreadable(ledger_of(settings, runs[-1]))
        if values:
            show_table("values that could not be read", values)
    unloaded = not_loaded(history_of(settings, date.today()))
    if unloaded:
        shown = [{"delivery": str(entry.place), "state": entry.state.value, **_why(entry)} for entry in unloaded[:MOST_SHOWN]]
        show_table("deliveries that are not loaded", shown)
        if len(unloaded) > MOST_SHOWN:
            log.info("nhs-omop deliveries lists all that are not loaded", extra={"deliveries": len(unloaded)})


def _why(entry: "DeliveryFacts") -> dict[str, Field]:
    return {name: value for name, value in shown_delivery(entry).items() if name in ("since", "reason", "next_step")}


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
