"""List the runs: times, rows, tables made, and how each ended."""

import logging
from datetime import datetime
from typing import Annotated

import typer

from jobs.command import DEFAULT_CONF_DIR, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.logs import json_lines as for_machines
from jobs.output import show_table
from pipelines.progress import Field
from pipelines.run_log import NEXT_STEPS, Run, RunState, last_runs

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def runs(
    last: Annotated[int, typer.Option(min=1, help="How many runs, the newest ones.")] = 20,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """List the runs, the oldest first: times, rows, tables made, and how each ended.

    A run that was killed is shown as stopped. One that was refused because another was under way is no run: it did nothing.
    """
    found = last_runs(settings_of(env, conf_dir, overrides, reads_restricted=True).storage.restricted, last)
    if not found:
        log.info("there is no run yet: nhs-omop run makes one")
        return
    show_table("runs", [facts_of(run) if for_machines() else summary_of(run) for run in found])


def summary_of(run: Run) -> dict[str, Field]:
    """A run as a row for people: what belongs together in one column."""
    record, tables = run.record, run.record.tables
    stages = ", ".join(f"{time.step} {time.seconds:,.1f}" for time in record.stages)
    return {
        "run": record.run_id,
        "run_date": record.run_date.isoformat(),
        "started_utc": f"{record.started:%Y-%m-%d %H:%M:%S}",
        "ended_utc": f"{record.ended:%Y-%m-%d %H:%M:%S}" if record.ended else None,
        "seconds": _rounded(record.seconds),
        "of_these": stages,
        "new_rows": record.new_rows,
        "tables": f"{tables.whole} whole, {tables.for_touched} for touched, {tables.current} current" if tables else "",
        "touched": record.touched,
        "peak_gib": _rounded(record.peak_gib),
        "outcome": outcome_of(run),
    }


def facts_of(run: Run) -> dict[str, Field]:
    """A run as an object for machines: every fact in a field of its own."""
    record, tables = run.record, run.record.tables
    return {
        "run": record.run_id,
        "run_date": record.run_date.isoformat(),
        "version": record.version,
        "full": record.full,
        "selected": " ".join(record.selected),
        **times_of(run),
        **{f"{time.step}_seconds": _rounded(time.seconds) for time in record.stages},
        "new_deliveries": record.new_deliveries,
        "set_aside": record.set_aside,
        "new_rows": record.new_rows,
        "tables_whole": tables.whole if tables else None,
        "tables_for_touched": tables.for_touched if tables else None,
        "tables_current": tables.current if tables else None,
        "touched": record.touched,
        "peak_gib": _rounded(record.peak_gib),
        **ending_of(run),
    }


def times_of(run: Run) -> dict[str, Field]:
    """When a run began and ended, in UTC, and how many seconds that was."""
    record = run.record
    return {"started": _moment(record.started), "ended": _moment(record.ended), "seconds": _rounded(record.seconds)}


def ending_of(run: Run) -> dict[str, Field]:
    """What a run has come to, at which stage, and what to do next."""
    record, failure = run.record, run.record.failure
    return {
        "state": run.state.value,
        "stage": record.stage,
        "release": record.release_id,
        "error": failure.error if failure else None,
        "exit_code": failure.exit_code if failure else None,
        "message": failure.message if failure else None,
        "next_step": failure.next_step if failure else NEXT_STEPS.get(run.state),
    }


def outcome_of(run: Run) -> str:
    """What a run has come to, in a few words."""
    record, failure = run.record, run.record.failure
    match run.state:
        case RunState.RELEASED:
            return f"released {record.release_id}"
        case RunState.UNCHANGED:
            return f"unchanged: {record.release_id} stays"
        case RunState.MADE:
            return f"made {' '.join(record.selected)}"
        case RunState.FAILED if failure:
            return f"failed at {record.stage}: {failure.error}, exit code {failure.exit_code}"
    return f"{run.state.value} at {record.stage}"


def _moment(moment: datetime | None) -> str | None:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}" if moment else None


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 2)


if __name__ == "__main__":
    start(app)
