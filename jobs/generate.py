"""Write synthetic extracts of six sources, with opt-out lists and the truth about what was planted."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from jobs.command import JsonLines, MappingsDir, new_app, start, writing
from jobs.output import show_table
from jobs.stages import stage
from pipelines.settings import PACKAGED_MAPPINGS_DIR
from pipelines.synthetic import generate as synthetic
from pipelines.synthetic.world import FEWEST_PEOPLE

app = new_app()

FIRST_NIGHT = datetime.combine(synthetic.FIRST_NIGHT, datetime.min.time())


@app.command()
def generate(
    out: Annotated[Path, typer.Option("--out", help="Folder for landing/ and truth/.")],
    people: Annotated[int, typer.Option(min=FEWEST_PEOPLE, help="How many people.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files, byte for byte.")] = 1,
    nights: Annotated[int, typer.Option(min=1, help="How many nightly deliveries.")] = 2,
    first_night: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day of the first delivery.")] = FIRST_NIGHT,
    replace: Annotated[bool, typer.Option("--replace", help="Replace extracts that are there.")] = False,
    mappings_dir: MappingsDir = None,
    json_lines: JsonLines = False,
) -> None:
    """Write synthetic extracts of six sources, with opt-out lists and the truth about what was planted."""
    with writing(out), stage("generate", total=len(synthetic.SOURCES) + 2) as on_progress:
        made = synthetic.generate(
            people,
            seed,
            nights,
            out,
            lambda message, _done, _total: on_progress(message),
            first_night=first_night.date(),
            mappings_dir=mappings_dir or PACKAGED_MAPPINGS_DIR,
            replace=replace,
        )
    counts = {"people": made.people, "nights": nights, "files": made.files, "rows": made.rows}
    show_table("generated", [{**counts, "landing": str(made.landing), "truth": str(made.truth)}])


if __name__ == "__main__":
    start(app)
