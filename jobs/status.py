"""Show what is running, waiting, set aside, failed and released, with the next step."""

import logging
from datetime import date
from typing import TYPE_CHECKING

from jobs.command import DEFAULT_CONF_DIR, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.deliveries import history_of, not_loaded, shown_delivery
from jobs.output import show_facts, show_table
from jobs.runs import ending_of, times_of
from pipelines.progress import Field
from pipelines.run_lock import holder_of
from pipelines.run_log import RunState, last_runs
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.ingest.history import DeliveryFacts
    from pipelines.quality.gates import GateResult
    from pipelines.release.model import Release

log = logging.getLogger(__name__)

MOST_SHOWN = 20

app = new_app()


@app.command()
def status(
    env: Env = None, conf_dir: ConfDir = DEFAULT_CONF_DIR, overrides: Overrides = None, json_lines: JsonLines = False
) -> None:
    """Show what is running, waiting, set aside, failed and released, with the next step."""
    from pipelines.release.published import chosen_release, release_folder

    settings = settings_of(env, conf_dir, overrides, reads_restricted=True)
    today = date.today()
    release = chosen_release(settings) if release_folder(settings).current() else None
    _show_running(settings)
    if release is None:
        log.info("there is no release yet: nhs-omop run makes one")
    else:
        _show_release(release, today)
    held = release_folder(settings).held_rollback()
    if held is not None:
        show_table("a rollback holds until nhs-omop rollback --lift", [held.model_dump(include={"release_id", "at", "reason"})])
    lists = opt_out_lists(settings, release, today)
    if lists:
        show_table("opt-out lists", lists)
    _show_last_run(settings)
    _show_what_is_to_be_done(settings, today)


def _show_running(settings: Settings) -> None:
    """The command that holds the lock, if there is one."""
    holder = holder_of(settings.storage.restricted)
    if holder is not None:
        run = next((run for run in last_runs(settings.storage.restricted, 1) if run.state is RunState.RUNNING), None)
        at = {"run": run.record.run_id, "stage": run.record.stage} if run else {}
        show_table("running", [{**holder.model_dump(exclude={"form"}), **at}])


def opt_out_lists(settings: Settings, release: "Release | None", today: date) -> list[dict[str, Field]]:
    """The opt-out lists of the current release, those that a run used last, and the newest ones with their age."""
    from pipelines.governance.opt_out_lists import days_delivered
    from pipelines.run_inputs import lists_used

    policy, used, delivered = settings.opt_outs, lists_used(settings), days_delivered(settings.storage.landing, today)
    released = release.opt_outs if release else {}
    rows: list[dict[str, Field]] = []
    for kind in sorted({*used, *released}):
        row: dict[str, Field] = {
            "opt_out": kind,
            "in_release": str(released.get(kind, "")),
            "last_used": str(used.get(kind, "")),
            "delivered": str(delivered.get(kind, "")),
        }
        newest = delivered.get(kind, used.get(kind))
        if newest is not None:
            age = (today - newest).days
            row["age_days"] = age
            if age > policy.max_age_days:
                row["next_step"] = "too old: fetch a new one, a run stops without it"
            elif age >= policy.warn_at_days:
                row["next_step"] = f"fetch a new one within {policy.max_age_days - age} days"
            elif kind in used and newest > used[kind]:
                row["next_step"] = "nhs-omop run: it uses the one that was delivered"
        rows.append(row)
    return rows


def _show_last_run(settings: Settings) -> None:
    """How the last run ended, and what is doubtful in the rows of the last one that came to its ledger."""
    from pipelines.quality.figures import doubts, opt_out_entries, unreadable
    from pipelines.release.published import ledger_of, runs_of

    for run in last_runs(settings.storage.restricted, 1):
        facts = {"run": run.record.run_id, "run_date": run.record.run_date.isoformat(), **times_of(run), **ending_of(run)}
        show_facts("last run", {name: value for name, value in facts.items() if value is not None})
    for run_id in runs_of(settings)[-1:]:
        ledger = ledger_of(settings, run_id)
        _show_gates(settings, run_id)
        show_table("entries of opt-out lists, and why some match nobody", opt_out_entries(ledger))
        for title, rows in {**doubts(ledger), "values that could not be read": unreadable(ledger)}.items():
            if rows:
                show_table(title, rows)


def _show_gates(settings: Settings, run_id: str) -> None:
    """The checks of a run that stop a release, are waived or only warn, as they were judged in it."""
    from pipelines.quality.written import in_order
    from pipelines.release.published import gates_of

    broken = [result for result in in_order(gates_of(settings, run_id)) if not result.passed]
    if broken:
        show_table("gates that do not pass", [_gate(result) for result in broken[:MOST_SHOWN]])
    if len(broken) > MOST_SHOWN:
        log.info("nhs-omop gate lists all that do not pass", extra={"checks": len(broken)})


def _gate(result: "GateResult") -> dict[str, Field]:
    row: dict[str, Field] = {"verdict": str(result.verdict), "check": str(result.check)}
    if result.waiver is None:
        return row
    expired = {"next_step": "its waiver has ended: renew it, or correct mapping or data"} if result.has_expired else {}
    return row | {"waived_until": result.waiver.until.isoformat(), "owner": result.waiver.owner} | expired


def _show_what_is_to_be_done(settings: Settings, today: date) -> None:
    """The tables that the next run makes again as far as that is known, and the deliveries that are not loaded."""
    from pipelines.run_context import tables_not_current

    outdated = tables_not_current(settings)
    if outdated:
        rows: list[dict[str, Field]] = [{"why": why, "tables": outdated[why]} for why in sorted(outdated)]
        show_table("tables that the next run makes again", rows)
    unloaded = not_loaded(history_of(settings, today))
    if unloaded:
        shown = [{"delivery": str(entry.place), "state": entry.state.value, **_why(entry)} for entry in unloaded[:MOST_SHOWN]]
        show_table("deliveries that are not loaded", shown)
        if len(unloaded) > MOST_SHOWN:
            log.info("nhs-omop deliveries lists all that are not loaded", extra={"deliveries": len(unloaded)})


def _why(entry: "DeliveryFacts") -> dict[str, Field]:
    return {name: value for name, value in shown_delivery(entry).items() if name in ("since", "reason", "next_step")}


def _show_release(release: "Release", today: date) -> None:
    show_table(
        "current release",
        [
            {
                "release": release.release_id,
                "run": release.run_id,
                "run_date": release.run_date.isoformat(),
                "age_days": (today - release.run_date).days,
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


if __name__ == "__main__":
    start(app)
