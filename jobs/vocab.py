"""Load vocabularies, and work on the codes that they do not map."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.command import (
    DEFAULT_CONF_DIR,
    ConfDir,
    Env,
    JsonLines,
    MappingsDir,
    Overrides,
    enclose,
    new_app,
    settings_of,
    start,
    writing,
)
from jobs.output import show_table
from jobs.stages import stage
from pipelines.errors import ConfigError, ReleaseError, counted
from pipelines.progress import Field
from pipelines.release.published import chosen_run
from pipelines.settings import Settings

if TYPE_CHECKING:
    from pipelines.terminology.work_list import Review

log = logging.getLogger(__name__)

app = new_app("Load vocabularies, and work on the codes that they do not map.")


@app.callback()
def _group() -> None:
    """Load vocabularies, and work on the codes that they do not map."""


@app.command("load")
def load_command(
    download: Annotated[
        Path | None,
        typer.Argument(help="Folder or zip of an Athena download. Unless given, the configured one, else the demonstration."),
    ] = None,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Load a vocabulary in Athena's file format, with the concepts of this project added.

    The download is checked as a whole first. Loading the one that is loaded changes nothing.
    """
    settings: Settings = settings_of(env, conf_dir, overrides, mappings_dir)
    enclose(settings)
    from pipelines.terminology.vocabulary import (
        load,
        warn_of_open_faults,
    )  # brings the engine, as the other imports within functions do
    from vocab.load import LOADED

    with stage("load vocabulary", total=len(LOADED)) as on_progress:
        loaded = load(settings, download, on_progress)
    for warning in loaded.warnings:
        log.warning(warning)
    if loaded.retired:
        log.warning(f"{loaded.retired} concepts of this project have an equivalent in this vocabulary, which is used instead")
    warn_of_open_faults(loaded.open_faults)
    if loaded.unfit:
        log.warning(
            f"{len(loaded.unfit)} local maps, constants of mappings and analytes have no valid standard concept in this "
            "vocabulary: with such a map no run starts, with such a constant none releases, such an analyte is not harmonised"
        )
        show_table("what does not fit", [misfit.as_row() for misfit in loaded.unfit])
    show_table("vocabulary", [{"release": loaded.release, "vocabularies": len(loaded.vocabularies), "new": loaded.is_new}])


@app.command("check")
def check_command(
    broader: Annotated[bool, typer.Option("--broader", help="List the maps that lose a part of their text, too.")] = False,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Check that maps mean what their codes mean: no target more specific than its text, units that fit what was measured.

    Shows local concepts, too, for which the loaded vocabulary may have a standard concept. Exits with 18 if a fault is open.
    """
    settings = settings_of(env, conf_dir, overrides, mappings_dir)
    enclose(settings)
    from pipelines.engine import open_session
    from pipelines.terminology.meaning_report import check_meaning
    from pipelines.terminology.vocabulary import LoadedVocabulary, store_of, vocabulary_path
    from vocab.errors import VocabularyError

    loaded = LoadedVocabulary.read(vocabulary_path(settings))
    if loaded is None:
        raise VocabularyError("no vocabulary is loaded; load one with: nhs-omop vocab load [DIR of an Athena download]")
    with open_session(settings.engine) as session, stage("check what maps mean"):
        found = check_meaning(store_of(session, settings), settings, loaded.replaced)
    show_table("checked", [found.summary()])
    _show("maps, constants and analytes without a valid standard concept", [misfit.as_row() for misfit in found.unfit], None)
    _show("maps that say something else than their codes", found.map_rows(), None)
    _show("constants that say more than their notes", [constant.as_row() for constant in found.constants], None)
    _show("results whose unit does not fit", [unit.as_row() for unit in found.units], None)
    _show("concepts of this project with candidates", [concept.as_row() for concept in found.local_concepts], None)
    if broader:
        _show("maps that are less specific than their text", found.broader_rows(), None)
    if found.faults:
        raise VocabularyError(
            f"{counted(found.faults, 'open fault')} of meaning; correct them, or have them reviewed in the map file"
        )


@app.command("unmapped")
def unmapped_command(
    to_usagi: Annotated[Path | None, typer.Option("--to-usagi", help="Write the list as a file that Usagi opens.")] = None,
    from_usagi: Annotated[
        Path | None, typer.Option("--from-usagi", help="Show what the approved rows of a file that Usagi saved bring.")
    ] = None,
    write: Annotated[bool, typer.Option("--apply", help="With --from-usagi: put them into the local maps.")] = False,
    vocabulary: Annotated[
        str | None, typer.Option(help="With --from-usagi: the vocabulary of codes whose row does not name one.")
    ] = None,
    suggestions: Annotated[int, typer.Option(min=0, max=20, help="Candidates by name for each code.")] = 3,
    top: Annotated[int, typer.Option(min=1, help="How many codes to show, those with most rows first.")] = 50,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """List the codes of the last run without a standard concept: the work of whoever maps codes.

    Rows and people from 1 to 7 are hidden. The codes themselves are shown, so treat the list as the data it comes from.
    """
    if write and from_usagi is None:
        raise ConfigError("--apply needs --from-usagi FILE")
    settings = settings_of(env, conf_dir, overrides, mappings_dir, reads_restricted=True)
    enclose(settings)
    from pipelines.engine import open_session
    from pipelines.terminology.vocabulary import store_of
    from pipelines.terminology.work_list import apply, for_usagi, review, work_list
    from vocab.usagi import read_usagi, write_usagi

    _require_run(settings)
    approvals = read_usagi(from_usagi, vocabulary) if from_usagi else None
    with open_session(settings.engine) as session:
        store = store_of(session, settings)
        if approvals is None:
            with stage("list unmapped codes"):
                items = work_list(store, settings, suggestions)
            if to_usagi is not None:
                with writing(to_usagi):
                    written = write_usagi(to_usagi, for_usagi(items))
                log.info(f"{written} codes written to {to_usagi}")
            else:
                brief = None if json_lines else 1
                _show("codes without a standard concept", [item.as_row(brief) for item in items], None if json_lines else top)
            return
        with stage("review approved targets"):
            found = review(store, settings, approvals)
    _show_review(found)
    if not write:
        log.info("nothing was changed; --apply puts these rows into the local maps")
        return
    for file, rows in sorted(apply(settings, found.gains).items()):
        log.info(f"{rows} rows added to {settings.mappings_dir / 'concepts' / file}")
    log.info("the next nhs-omop run uses them")


@app.command("diff")
def diff_command(
    old: Annotated[str, typer.Argument(metavar="OLD", help="Folder or zip of an Athena download, or the word loaded.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The same, for the vocabulary to compare with.")],
    top: Annotated[int, typer.Option(min=1, help="How many codes to show, losses first.")] = 50,
    env: Env = None,
    conf_dir: ConfDir = DEFAULT_CONF_DIR,
    mappings_dir: MappingsDir = None,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Show what another vocabulary would change for the codes of the last run, before it is adopted.

    Losses, gains, other targets, and targets that move to another domain; with the rows and people they touch, 1 to 7 hidden.
    """
    settings = settings_of(env, conf_dir, overrides, mappings_dir, reads_restricted=True)
    enclose(settings)
    from pipelines.engine import open_session
    from pipelines.terminology.vocabulary import LoadedVocabulary, store_of, vocabulary_path
    from pipelines.terminology.vocabulary_diff import difference

    _require_run(settings)
    known = LoadedVocabulary.read(vocabulary_path(settings))
    with open_session(settings.engine) as session, stage("compare vocabularies", total=5) as on_progress:
        found = difference(store_of(session, settings), settings, (old, new), known, on_progress)
    log.info(f"{found.old_release} -> {found.new_release}: {len(found.changes)} of {found.codes} codes in use change")
    show_table("changes", found.summary())
    _show("changed codes", [changed.as_row() for changed in found.changes], None if json_lines else top)
    _show("what does not fit the new vocabulary", [misfit.as_row() for misfit in found.unfit], None)


def _require_run(settings: Settings) -> None:
    """Raise ReleaseError before the first run, which finds the codes in use."""
    if chosen_run(settings, None) is None:
        raise ReleaseError("there is no run yet: nhs-omop run makes one")


def _show_review(found: "Review") -> None:
    for reason, rows in sorted(found.left_out.items()):
        log.warning(f"{rows} rows are left out: {reason}")
    _show("approved targets and what they bring", [gain.as_row() for gain in found.gains], None)


def _show(title: str, rows: list[dict[str, Field]], most: int | None) -> None:
    if not rows:
        log.info(f"{title}: none")
        return
    show_table(title, rows[:most])
    if most is not None and len(rows) > most:
        log.warning(f"the first {most} of {len(rows)} are shown; --top or --json shows more")


if __name__ == "__main__":
    start(app)
