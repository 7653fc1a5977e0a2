"""Measure each stage on generated extracts, or the load of a vocabulary: rows a second, seconds and peak memory."""

import os
import shutil
import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from pyspark.sql import functions as F

if not __package__:  # started as a script: the project's folder takes the place of this one
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from jobs.command import JsonLines, Overrides, new_app, start
from jobs.console import Field, console
from jobs.demo import demo_settings
from jobs.publish import publish_release
from jobs.steps.nightly import StageTimer, StepTime, nightly
from pipelines.contracts.zones import Zone
from pipelines.engine import open_session
from pipelines.governance.keys import demo_key_file
from pipelines.settings import Settings
from pipelines.synthetic.generate import FIRST_NIGHT, generate
from pipelines.terminology.vocabulary import MAPS_FOLDER, load, store_of
from vocab.athena import TABLES
from vocab.local_maps import ApprovedTarget, with_targets
from vocab.synthetic import CONCEPTS, write_download

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
    folder: Annotated[Path, typer.Option("--out", help="Where everything goes; what is there is removed first.")] = FOLDER,
    overrides: Overrides = None,
    json_lines: JsonLines = False,
) -> None:
    """Measure each stage on generated extracts: rows a second, seconds and peak memory of this process.

    After the last night one in a hundred of the codes in use comes to mean something else, and the release is adopted.

    With --vocabulary only the load of a synthetic Athena download is measured. At full size it takes 8 GB of disk.
    """
    shutil.rmtree(folder, ignore_errors=True)
    settings = demo_settings(folder, overrides)
    clock = StageTimer()
    if vocabulary is not None:
        _bench_vocabulary(settings, folder / "athena", vocabulary, clock)
        return
    with clock.step("generate") as counted:
        counted["rows"] = generate(people, 1, nights, folder).rows
    demo_key_file(folder / "restricted" / "demo.key")
    with clock.step("vocab load"):
        load(settings)
    nightly_times = {}
    for night in range(nights):
        outcome = nightly(settings, FIRST_NIGHT + timedelta(days=night))
        nightly_times[night + 1] = outcome.times
    console.table(
        "last night", [{"": name.replace("_", " "), "value": value} for name, value in (outcome.figures or {}).items()]
    )
    with clock.step("publish") as counted:
        counted["rows"] = sum(publish_release(settings, folder / "cdm.duckdb").values())
    retargeted, codes = _with_other_maps(settings, folder / "mappings")
    last_night = FIRST_NIGHT + timedelta(days=nights - 1)
    remap = [time for time in nightly(retargeted, last_night).times if time.step == "map"]
    before, after = clock.times[:2], clock.times[2:]
    rows = [_row("", time) for time in before]
    rows += [_row(f"night {night}: ", time) for night, times in nightly_times.items() for time in times]
    rows += [_row("", time) for time in after]
    rows += [_row(f"{codes} codes changed: ", time) for time in remap]
    console.table(f"{people:,} people on {os.cpu_count()} cores, engine {settings.engine.kind}", rows)


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
    pairs = [(one, other) for one, other in pairwise(rows) if one["target_domain_id"] == other["target_domain_id"]]
    chosen = [pair for pair in pairs if pair[0]["target_concept_id"] != pair[1]["target_concept_id"]]
    targets = [
        ApprovedTarget(one["source_vocabulary_id"], one["source_code"], "", other["target_concept_id"], "", "bench")
        for one, other in chosen[:: len(chosen) // wanted][:wanted]
    ]
    with_targets(mappings / MAPS_FOLDER, targets)
    return settings.model_copy(update={"mappings_dir": mappings}), len(targets)


def _bench_vocabulary(settings: Settings, download: Path, concepts: int, clock: StageTimer) -> None:
    with clock.step("generate") as counted, console.stage("generate download", total=len(TABLES)) as stage:
        rows = sum(write_download(download, concepts, on_progress=stage.advance).values())
        counted["rows"] = rows
    with clock.step("vocab load") as counted:
        load(settings, download)
        counted["rows"] = rows
    title = f"{concepts:,} concepts on {os.cpu_count()} cores, engine {settings.engine.kind}"
    console.table(title, [_row("", time) for time in clock.times])


def _row(prefix: str, time: StepTime) -> dict[str, Field]:
    return {
        "stage": f"{prefix}{time.step}",
        "rows_in": time.rows or None,
        "seconds": round(time.seconds, 1),
        "rows_per_second": round(time.rows / time.seconds) if time.rows else None,
        "peak_gib": round(time.peak_gib, 2),
    }


if __name__ == "__main__":
    start(app)
