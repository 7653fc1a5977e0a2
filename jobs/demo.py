"""Show everything at once: generated extracts of six sources, two nights, to a DuckDB file."""

import logging
import resource
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from jobs.command import JsonLines, new_app, start, writing
from jobs.output import show_facts, show_table
from jobs.publish import publish_release
from jobs.stages import stage
from pipelines.nightly import RunResult, nightly
from pipelines.settings import Settings, load_settings
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.synthetic.generate import FIRST_NIGHT, SOURCES, generate
from pipelines.terminology.vocabulary import load

log = logging.getLogger(__name__)

app = new_app()

FOLDER = Path("demo")
KIB = 1024


@app.command()
def demo(
    people: Annotated[int, typer.Option(min=50, help="How many people.")] = 1000,
    nights: Annotated[int, typer.Option(min=1, help="How many nightly deliveries.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same extracts.")] = 1,
    folder: Annotated[Path, typer.Option("--out", help="Where everything goes; what is there is used again.")] = FOLDER,
    json_lines: JsonLines = False,
) -> None:
    """Show everything at once: generated extracts of six sources, two nights, to a DuckDB file.

    The extracts are made once and used again by the next call; remove the folder to begin anew.
    """
    begun = perf_counter()
    settings = demo_settings(folder)
    if not (folder / "landing").exists():
        with stage("generate extracts", total=len(SOURCES) + 2) as on_progress, writing(folder):
            generate(people, seed, nights, folder, lambda message, _done, _total: on_progress(message))
    demo_key_file(folder / "restricted" / "demo.key")
    load(settings)
    for night in range(nights):
        day = FIRST_NIGHT + timedelta(days=night)
        log.info(f"night {night + 1}: {day.isoformat()}")
        outcome = nightly(settings, day, show_stage=stage)
    publish_release(settings, folder / "cdm.duckdb")
    _show(outcome, folder, perf_counter() - begun)


def demo_settings(folder: Path, overrides: list[str] | None = None) -> Settings:
    """The demo environment with everything below a folder."""
    places = [f"storage.{name}={folder / name}" for name in ("landing", "restricted", "deidentified")]
    return load_settings("demo", overrides=[*places, f"key.path={folder / 'restricted' / 'demo.key'}", *(overrides or ())])


def _show(outcome: RunResult, folder: Path, seconds: float) -> None:
    show_facts("last night", {"release": outcome.release_id, **(outcome.figures or {})})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / KIB / KIB
    places = {
        "deliveries and opt-out lists": folder / "landing",
        "bronze, curation, quarantine, ledger (identifiable)": folder / "restricted",
        "silver, OMOP, releases (de-identified)": folder / "deidentified",
        "the release for analysts": folder / "cdm.duckdb",
        "what was planted": folder / "truth",
    }
    show_table("where things are", [{"what": what, "where": str(where)} for what, where in places.items()])
    log.info("done", extra={"seconds": round(seconds, 1), "peak_memory_gib": round(peak, 2)})
    log.info('look into it: export NHS_OMOP_ENV=demo; nhs-omop query "SELECT count(*) FROM person"; nhs-omop report')


if __name__ == "__main__":
    start(app)
