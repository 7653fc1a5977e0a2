"""Make an earlier release the current one again."""

import logging
from datetime import UTC, datetime
from typing import Annotated

import typer

from jobs.command import DEFAULT_CONF_DIR, ConfDir, Env, JsonLines, Overrides, new_app, said, settings_of, start
from pipelines.release.opt_outs import require_nobody_left_out
from pipelines.release.published import chosen_release, release_folder, require_as_released
from pipelines.release.store import ROLLBACK
from pipelines.run_lock import run_lock
from pipelines.settings import Settings

log = logging.getLogger(__name__)

app = new_app()


@app.command()
def rollback(
    reason: Annotated[str, typer.Option("--reason", help="Why; kept with the move. Name nobody in it.")],
    release_id: Annotated[str | None, typer.Argument(help="A release; the one before the current unless given.")] = None,
    older_opt_outs: Annotated[
        bool, typer.Option("--accept-older-opt-outs", help="Go back although people have opted out since.")
    ] = False,
    lift: Annotated[bool, typer.Option("--lift", help="End the hold: the next run makes its release current again.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Make an earlier release the current one again, and hold it there until --lift. Nothing is deleted.

    While it holds, runs go on: they build, judge and make releases, which readers do not see. --lift ends that, and the next
    run makes its release current.
    Where an earlier release shows people who have opted out since, going back to it needs --accept-older-opt-outs.
    """
    reason = said(reason, "the end of a rollback needs a reason" if lift else "a rollback needs a reason", "--reason")
    settings = settings_of(env, conf_dir, overrides)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    with run_lock(settings.storage.restricted, "rollback"):
        if lift:
            held = release_folder(settings).lift_rollback(at=at, reason=reason)
            log.info(f"the rollback of {held.at} no longer holds; the next nhs-omop run makes its release current")
        else:
            _go_back(settings, release_id, older_opt_outs, at, reason)


def _go_back(settings: Settings, release_id: str | None, older_opt_outs: bool, at: str, reason: str) -> None:
    folder = release_folder(settings)
    current = chosen_release(settings)
    target = chosen_release(settings, release_id or folder.before(current.release_id))
    require_as_released(settings, target)
    require_nobody_left_out(settings, target, accepted=older_opt_outs)
    folder.point_at(target.release_id, action=ROLLBACK, at=at, reason=reason)
    log.info(f"readers see release {target.release_id} until nhs-omop rollback --lift", extra={"before": current.release_id})


if __name__ == "__main__":
    start(app)
