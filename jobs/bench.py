"""Measure each stage on generated extracts, or the load of a vocabulary: rows a second, seconds and peak memory."""

import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from pyspark.sql import functions as F

from jobs.command import JsonLines, Overrides, new_app, start, writing
from jobs.demo import demo_settings
from jobs.output import show_table
from jobs.publish import publish_release
from jobs.stages import stage
from pipelines.contracts.zones import Zone
from pipelines.engine import open_session
from pipelines.measuring.no_logic_limit import Limit, measure_limit
from pipelines.measuring.revisions import checkout_in, checkout_of, this_checkout
from pipelines.measuring.stage_timer import StageTimer, StepTime
from pipelines.measuring.turns import Turns, in_turn, nights_from, ratio_rows, run_rows
from pipelines.nightly import nightly
from pipelines.progress import Field
from pipelines.settings import Settings
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.synthetic.generate import FIRST_NIGHT, generate
from pipelines.terminology.vocabulary import MAPS_FOLDER, load, store_of
from vocab.athena import TABLES
from vocab.local_maps import ApprovedTarget, with_targets
from vocab.synthetic import CONCEPTS, write_download

log = logging.getLogger(__name__)

app = new_app()

FOLDER = Path("build/bench")
CODES_PER_CHANGE = 100


@app.command()
def bench(
    people: Annotated[int, typer.Option(min=50, help="How many people.")] = 20_000,
    nights: Annotated[int, typer.Option(min=1, help="How many nightly deliveries.")] = 2,
    vocabulary: Annotated[
        int | None,
        typer.Option(metavar="CONCEPTS", min=1000, help=f"Measure a vocabulary's load instead; {CONCEPTS} is full size."),
    ] = None,
    versus: Annotated[
        str | None,
        typer.Option("--vs", metavar="REVISION", help="Measure whole runs of this and another revision (or checkout) in turn."),
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="With --vs: how many turns.")] = 2,
    folder: Annotated[Path, typer.Option("--out", help="Where everything goes; what is there is removed first.")] = FOLDER,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Measure each stage on generated extracts: rows a second, seconds and peak memory of this process.

    After the last night one in a hundred of the codes in use comes to mean something else, and the release is adopted.

    The no-logic limit is what it takes to read all delivered files as text and write them as Parquet: no program that reads
    them can be faster, and the column `to limit` says how many times that a stage took.

    With --vocabulary only the load of a synthetic Athena download is measured. At full size it takes 8 GB of disk.
    With --vs only `nhs-omop run` as a process is measured, night by night on new lakes, of both revisions in turn.
    """
    shutil.rmtree(folder, ignore_errors=True)
    settings = demo_settings(folder, overrides)
    clock = StageTimer()
    if vocabulary is not None:
        _bench_vocabulary(settings, folder / "athena", vocabulary, clock)
        return
    with clock.step("generate") as counted, writing(folder):
        counted["rows"] = generate(people, 1, nights, folder).rows
    demo_key_file(folder / "restricted" / "demo.key")
    if versus is not None:
        _bench_against(versus, folder, Turns(folder, nights_from(FIRST_NIGHT, nights), repeat, overrides or ()))
        return
    with clock.step("vocab load"):
        load(settings)
    nightly_times = {}
    for night in range(nights):
        outcome = nightly(settings, FIRST_NIGHT + timedelta(days=night))
        nightly_times[night + 1] = outcome.times
    show_table("last night", [{"": name.replace("_", " "), "value": value} for name, value in (outcome.figures or {}).items()])
    with clock.step("publish") as counted:
        counted["rows"] = sum(publish_release(settings, folder / "cdm.duckdb").values())
    retargeted, codes = _with_other_maps(settings, folder / "mappings")
    last_night = FIRST_NIGHT + timedelta(days=nights - 1)
    remap = [time for time in nightly(retargeted, last_night).times if time.step == "map"]
    limit = measure_limit(folder / "landing", folder / "limit")
    before, after = clock.times[:2], clock.times[2:]
    rows = [_row("", time) for time in before]
    for night, times in nightly_times.items():
        rows += [_row(f"night {night}: ", time, limit) for time in (*times, _whole("whole", [times]))]
    rows += [_row("", _whole("all nights", list(nightly_times.values())), limit)]
    rows += [_row("", time) for time in after]
    rows += [_row(f"{codes} codes changed: ", time, limit) for time in remap]
    rows += [_row("", StepTime("no-logic limit", limit.rows, limit.seconds, 0.0), limit)]
    show_table(f"{people:,} people on {os.cpu_count()} cores, engine {settings.engine.kind}", rows)


def _whole(name: str, nights: Sequence[Sequence[StepTime]]) -> StepTime:
    """Some nights as a whole: the rows that came into their first stages, the seconds of all stages, the highest peak."""
    stages = [time for times in nights for time in times]
    rows = sum(times[0].rows for times in nights if times)
    return StepTime(name, rows, sum(time.seconds for time in stages), max((time.peak_gib for time in stages), default=0.0))


def _bench_against(revision: str, folder: Path, turns: Turns) -> None:
    """Show the runs of this revision and another in turn, and the ratios of their times."""
    is_folder = (Path(revision) / "jobs").is_dir()
    with nullcontext(checkout_in(Path(revision))) if is_folder else checkout_of(revision) as other:
        revisions = {revision: other, "this": this_checkout()}
        with stage("runs in turn", len(revisions) * len(turns.days) * turns.repeat) as on_progress:
            runs = in_turn(revisions, turns, folder / "turns", on_progress)
    limit = measure_limit(folder / "landing", folder / "limit")
    show_table(f"`nhs-omop run` as a process, on {os.cpu_count()} cores", run_rows(runs))
    show_table(f"this revision over {revision}", ratio_rows(runs, revision, "this", limit.seconds))
    log.info("no-logic limit", extra={"files": limit.files, "rows": limit.rows, "seconds": round(limit.seconds, 2)})


def _with_other_maps(settings: Settings, mappings: Path) -> tuple[Settings, int]:
    """Settings with local maps by which one in CODES_PER_CHANGE of the codes in use has the target of another; how many."""
    shutil.copytree(settings.mappings_dir, mappings)
    with open_session(settings.engine) as session:
        store = store_of(session, settings)
        code_map = store.read(Zone.INTERMEDIATE, "code_map")
        events = store.read(Zone.INTERMEDIATE, "routes").select("vocabulary", "code").distinct()
        on = (F.col("source_vocabulary_id") == F.col("vocabulary")) & (F.col("source_code") == F.col("code"))
        mapped = code_map.where("map_origin = 'athena' AND ordinal = 0").join(events, on=on, how="left_semi")
        rows = mapped.orderBy("target_domain_id", "source_vocabulary_id", "source_code").toArrow().to_pylist()
        wanted = -(-code_map.select("source_vocabulary_id", "source_code").distinct().count() // CODES_PER_CHANGE)
    pairs = [(row, after) for row, after in pairwise(rows) if row["target_domain_id"] == after["target_domain_id"]]
    chosen = [pair for pair in pairs if pair[0]["target_concept_id"] != pair[1]["target_concept_id"]]
    targets = [
        ApprovedTarget(row["source_vocabulary_id"], row["source_code"], "", after["target_concept_id"], "", "bench")
        for row, after in chosen[:: len(chosen) // wanted][:wanted]
    ]
    with_targets(mappings / MAPS_FOLDER, targets)
    return settings.model_copy(update={"mappings_dir": mappings}), len(targets)


def _bench_vocabulary(settings: Settings, download: Path, concepts: int, clock: StageTimer) -> None:
    with clock.step("generate") as counted, stage("generate download", len(TABLES)) as on_progress:
        rows = sum(write_download(download, concepts, on_progress=on_progress).values())
        counted["rows"] = rows
    with clock.step("vocab load") as counted:
        load(settings, download)
        counted["rows"] = rows
    title = f"{concepts:,} concepts on {os.cpu_count()} cores, engine {settings.engine.kind}"
    show_table(title, [_row("", time) for time in clock.times])


def _row(prefix: str, time: StepTime, limit: Limit | None = None) -> dict[str, Field]:
    """What a step took, and with `limit` how many times the no-logic limit that is."""
    return {
        "stage": f"{prefix}{time.step}",
        "rows_in": time.rows or None,
        "seconds": round(time.seconds, 1),
        "rows_per_second": round(time.rows / time.seconds) if time.rows else None,
        "peak_gib": round(time.peak_gib, 2) or None,
        "to_limit": round(time.seconds / limit.seconds, 2) if limit else None,
    }


if __name__ == "__main__":
    start(app)
