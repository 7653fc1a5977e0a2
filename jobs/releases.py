"""List the releases, show one, compare two, hold one whatever its age, or remove one.

Without a subcommand they are listed. nhs-omop rollback makes an earlier one the current one again.
"""

import logging
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from jobs.command import DEFAULT_CONF_DIR, ConfDir, Env, JsonLines, Overrides, new_app, said, settings_of, start
from jobs.logs import json_lines as for_machines
from jobs.output import show_facts, show_table
from pipelines.errors import ConfigError, RightsError
from pipelines.progress import Field
from pipelines.release.model import Release
from pipelines.release.opt_outs import shown_though_left_out
from pipelines.release.published import chosen_release, gates_of, release_folder
from pipelines.release.store import Hold
from pipelines.run_lock import run_lock
from pipelines.settings import Settings
from pipelines.storage.rights import may_read

if TYPE_CHECKING:
    from pipelines.upkeep.retained import Retained

log = logging.getLogger(__name__)


class _ListsByDefault(TyperGroup):
    """Lists the releases where no subcommand is named."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, after `list` where they begin with one of its options or there are none."""
        bare = not args or (args[0].startswith("-") and args[0] != "--help")
        return super().parse_args(ctx, ["list", *args] if bare else args)


app = new_app(__doc__, cls=_ListsByDefault)

Id = Annotated[str, typer.Argument(metavar="RELEASE", help="The id of a release.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept with it. Name no patient in it.")]


@app.command("list")
def list_releases(
    sizes: Annotated[bool, typer.Option("--sizes", help="What each keeps on disk, and what nothing else keeps.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """List the releases, the oldest first, why each is kept, and every move of the pointer that readers follow."""
    settings = settings_of(env, conf_dir, overrides)
    folder = release_folder(settings)
    if not folder.ids():
        log.info("there is no release yet: nhs-omop run makes one")
        return
    from pipelines.upkeep.retained import reasons_to_keep, retained  # brings Spark's names, which other commands do not need

    reasons, kept = reasons_to_keep(settings, _today()), retained(settings) if sizes else {}
    rows = []
    for release_id, kept_for in reasons.items():
        row = _summary(folder.read(release_id)) | {"kept_as": ", ".join(kept_for) or "goes with the next upkeep"}
        rows.append(row | (_on_disk(kept[release_id]) if kept else {}))
    show_table("releases", rows)
    show_table("moves of the current release", [move.model_dump() for move in folder.moves()])
    held = folder.held(_today())
    if held:
        show_table("holds", [_hold(hold) for holds in held.values() for hold in holds])


@app.command()
def show(
    release_id: Annotated[str | None, typer.Argument(metavar="RELEASE", help="The current one unless given.")] = None,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Show all of one release: what it was made from, its tables, its gates, why it is kept and what it keeps on disk.

    Who may read the restricted root is told whether it shows people who have opted out since.
    """
    settings = settings_of(env, conf_dir, overrides)
    release = chosen_release(settings, release_id)
    from pipelines.upkeep.retained import reasons_to_keep, retained

    reasons = reasons_to_keep(settings, _today())[release.release_id]
    facts: dict[str, Field] = {
        **_summary(release),
        "kept_as": ", ".join(reasons) or "goes with the next upkeep",
        "run": release.run_id,
        "commit": release.code.commit,
        "configuration": release.configuration,
        "key": release.key_id,
        "inputs": release.input_fingerprint,
        "checks": release.gates.checks,
    }
    if settings.storage.catalog is None:  # a catalog sees to the files of its tables itself
        facts |= _on_disk(retained(settings)[release.release_id])
    show_facts(f"release {release.release_id}", facts)
    lists = [{"list": kind, "as_at": as_at.isoformat()} for kind, as_at in sorted(release.opt_outs.items())]
    tables = [{"zone": pin.zone, "name": pin.name, "version": pin.version, "rows": pin.rows} for pin in release.tables]
    warnings = [
        {"rule": str(r.check.rule), "of": f"{r.check.zone}.{r.check.table}", "column": r.check.column}
        for r in (gates_of(settings, release.run_id) if may_read(settings.storage.restricted) else ())
        if not r.passed
    ]
    holds = [_hold(hold) for hold in release_folder(settings).holds() if hold.release_id == release.release_id]
    extracts = [extract.model_dump(mode="json") for extract in release.extracts]
    parts = {"opt-out lists": lists, "newest extracts": extracts, "warnings": warnings, "holds": holds, "tables": tables}
    for title, rows in parts.items():
        if rows:
            show_table(title, rows)
    if may_read(settings.storage.restricted):
        left_out = shown_though_left_out(settings, release)
        if left_out:
            log.warning(left_out)
    else:
        log.info(
            "the warnings of its gates, and whether it shows people who have opted out since, are for who may read %s",
            settings.storage.restricted,
        )


@app.command()
def diff(
    before: Annotated[
        str | None, typer.Argument(metavar="BEFORE", help="A release; the one before the other unless given.")
    ] = None,
    after: Annotated[str | None, typer.Argument(metavar="AFTER", help="A release; the current one unless given.")] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="How many sources, months and concepts; --json has all.")] = 20,
    exact: Annotated[bool, typer.Option("--exact", help="Small numbers too; for who may read the restricted root.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Compare two releases: rows added, removed and changed, by table, source, month and concept.

    A row is added or removed by its id, and changed where a field of the CDM is different. Numbers from 1 to 7, those of rows
    of fewer than 8 people, and those that would give them away, are shown as *.
    """
    settings = settings_of(env, conf_dir, overrides)
    if exact and not may_read(settings.storage.restricted):
        raise RightsError(f"--exact is for who may read {settings.storage.restricted}; leave it out")
    new = chosen_release(settings, after)
    old = chosen_release(settings, before or release_folder(settings).before(new.release_id))
    from pipelines.release.comparing import compare  # brings DuckDB, which the other commands do not need

    found = compare(settings, old, new)
    shown = (found if exact else found.suppressed()).shown(None if for_machines() else top)
    for title, rows in shown.items():
        if rows:
            show_table(title, rows)
    facts: dict[str, Field] = {"before": old.release_id, "after": new.release_id, "different_tables": len(found.tables)}
    show_facts("diff", facts | {"different_vocabulary_tables": len(found.vocabulary)})


@app.command()
def hold(
    release_id: Id,
    owner: Annotated[
        str, typer.Option("--owner", help="For whom: a team, a study. Each owner has a hold of its own. Name nobody in it.")
    ],
    reason: Reason,
    until: Annotated[
        datetime | None, typer.Option("--until", formats=["%Y-%m-%d"], help="The last day; until it is lifted unless given.")
    ] = None,
    lift: Annotated[bool, typer.Option("--lift", help="End the hold of this owner.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Keep a release whatever its age, with its versions of tables, or --lift that. Readers go on seeing the current one."""
    reason = said(reason, "the end of a hold needs a reason" if lift else "a hold needs a reason", "--reason")
    owner = owner if lift else said(owner, "a hold needs an owner", "--owner")
    settings = settings_of(env, conf_dir, overrides)
    now = datetime.now(UTC)
    at = now.isoformat(timespec="seconds")
    last = until.date() if until else None
    if lift and last:
        raise ConfigError("--until: leave it out with --lift, which ends the hold at once")
    if last and last < now.date():
        raise ConfigError(f"--until: {last} has passed; give today or a later day")
    with run_lock(settings.storage.restricted, "releases hold"):
        folder = release_folder(settings)
        if lift:
            folder.lift_hold(release_id, owner, at=at, reason=reason, day=now.date())
            log.info(f"release {release_id} is no longer held for {owner}")
        else:
            folder.put_hold(Hold(release_id=release_id, owner=owner, reason=reason, at=at, until=last))
            _say_held(settings, release_id, owner, last)


@app.command()
def expire(
    release_ids: Annotated[list[str], typer.Argument(metavar="RELEASE...", help="The ids of releases.")],
    reason: Reason,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Remove releases now, whatever their age: never the current one, never one that is held.

    Nobody can read them any more. Their rows leave the disk with the next nhs-omop upkeep after upkeep.keep_days.
    """
    reason = said(reason, "the removal of releases needs a reason", "--reason")
    settings = settings_of(env, conf_dir, overrides)
    now, removed = datetime.now(UTC), tuple(dict.fromkeys(release_ids))
    with run_lock(settings.storage.restricted, "releases expire"):
        folder = release_folder(settings)
        folder.remove(removed, at=now.isoformat(timespec="seconds"), reason=reason, day=now.date())
    log.info("removed; nhs-omop upkeep takes what only they kept off the disk", extra={"releases": len(removed)})


def _summary(release: Release) -> dict[str, Field]:
    return {
        "release": release.release_id,
        "run_date": release.run_date.isoformat(),
        "cdm": release.cdm_version,
        "vocabulary": release.vocabulary_version,
        "code": release.code.version,
        "people": release.pin("omop", "person").rows,
        "rows": sum(table.rows for table in release.tables if table.zone == "omop"),
        "warnings": release.gates.warnings,
    }


def _on_disk(kept: "Retained") -> dict[str, Field]:
    alone = {"versions_kept_by_it_alone": kept.versions_alone, "bytes_kept_by_it_alone": kept.bytes_alone}
    return {"bytes": kept.size, **alone}


def _today() -> date:
    return datetime.now(UTC).date()


def _hold(hold: Hold) -> dict[str, Field]:
    return {name: value for name, value in hold.model_dump(mode="json").items() if value is not None}


def _say_held(settings: Settings, release_id: str, owner: str, until: date | None) -> None:
    log.info(f"release {release_id} is held for {owner} {f'up to {until}' if until else 'until that is lifted'}")
    shown = shown_though_left_out(settings, chosen_release(settings, release_id))
    if shown:
        log.warning(f"{shown}; it keeps their rows for as long as it is held")


if __name__ == "__main__":
    start(app)
