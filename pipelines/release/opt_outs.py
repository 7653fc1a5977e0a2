"""Whether an earlier release shows what may not be shown any more, because of choices and marks that came since.

A release holds nothing about who was left out of it. What it shows is compared with what curate last decided, so it does not
matter how a choice came: by a list, a code in the GP record, a mark of the source or a setting.
"""

import logging

from pipelines.contracts.ledger import DISPOSITIONS, PERSON, Disposition
from pipelines.contracts.zones import Zone
from pipelines.errors import ReleaseError
from pipelines.quality.suppression import SMALLEST_SHOWN
from pipelines.release.model import Release
from pipelines.release.published import pinned_tables, release_folder, runs_of
from pipelines.release.reading import database_in_memory, read_delta, read_pinned
from pipelines.settings import Settings, table_folders

log = logging.getLogger(__name__)


def require_nobody_left_out(settings: Settings, release: Release, *, accepted: bool) -> None:
    """See that nobody is shown who has opted out since: raises ReleaseError, or warns where that is `accepted`."""
    said = shown_though_left_out(settings, release)
    if said:
        if not accepted:
            raise ReleaseError(f"{said}; --accept-older-opt-outs takes it all the same")
        log.warning(said)


def shown_though_left_out(settings: Settings, release: Release) -> str | None:
    """What a release shows that may not be shown now, in words; None where it is nothing.

    The release made last rests on the newest choices there are of a release, and is not looked at. A restricted root that does
    not know its run was restored from an older backup, and what it decided last is older than those choices.
    """
    made_last = release_folder(settings).oldest_first()[-1]
    if release.release_id == made_last.release_id:
        return None
    nobody = f"nobody can tell here whether release {release.release_id} shows people who have opted out since"
    people = _people_left_out(settings, release)
    if people is None:
        return nobody
    if made_last.run_id not in runs_of(settings):
        return (
            f"the restricted root is older than release {made_last.release_id}, whose run {made_last.run_id} it does not know, "
            f"so that {nobody}. Restore it as it was after that run, or first make a release of what is there: nhs-omop run"
        )
    if people == 0:
        return None
    number = f"{people} people" if people >= SMALLEST_SHOWN else f"fewer than {SMALLEST_SHOWN} people"
    return f"release {release.release_id} shows {number} who have opted out since, wholly or in part, or are no longer known"


def _people_left_out(settings: Settings, release: Release) -> int | None:
    """How many people a release shows who are not to be shown now, or of whom it shows records that are not.

    None where the tables of curate cannot be read: they are in catalogs, or this account has no rights on the restricted root.
    A person who is no longer known counts: with the records went what a list could find.
    """
    if settings.storage.catalog is not None:
        return None
    folders = table_folders(settings)
    try:
        decided = [name for name in folders.names(Zone.CURATION) if name.startswith(DISPOSITIONS)]
        people, *dispositions = [read_delta(folders.path(Zone.CURATION, name)) for name in (PERSON, *decided)]
    except (OSError, ReleaseError):
        return None
    with database_in_memory(settings.engine.scratch_dir, settings.engine.memory_gib) as database:
        database.execute("CREATE TABLE left_out (_row_key VARCHAR)")
        for decisions in dispositions:
            rows = database.from_arrow(decisions).filter(f"disposition = '{Disposition.OPTED_OUT}'")
            rows.project("row_key").insert_into("left_out")
        database.execute("CREATE TABLE found (person_id BIGINT)")
        may_be_shown = database.from_arrow(people).filter("opt_out IS NULL")
        pinned = pinned_tables(settings, release)
        for table in (table for table in release.tables if table.zone == Zone.OMOP):
            shown = read_pinned(pinned[table.name])
            rows = database.from_arrow(shown)
            if table.name == "person":
                rows.join(may_be_shown, "person_id", how="anti").project("person_id").insert_into("found")
            elif "_row_key" in shown.schema.names:
                rows.join(database.table("left_out"), "_row_key", how="semi").project("person_id").insert_into("found")
        ((number,),) = database.sql("SELECT count(DISTINCT person_id) FROM found").fetchall()
        return int(number)
