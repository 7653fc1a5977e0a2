"""Generates extracts of all six sources for a number of people and nights: a landing folder and its truth folder."""

import importlib
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.contracts.source import SourceContract, load_contracts
from pipelines.errors import ConfigError
from pipelines.synthetic import delivery
from pipelines.synthetic.delivery import Delivered, deliver_entity, write_manifests
from pipelines.synthetic.opt_outs import draw_opt_outs, write_opt_outs
from pipelines.synthetic.population import SourceData, Truth, World
from pipelines.synthetic.traps import Planted, draw_number_faults
from pipelines.synthetic.truth import write_truth
from pipelines.synthetic.world import build_world

SOURCES = ("gp", "acute", "mental_health", "community", "ambulance", "social_care")
FIRST_NIGHT = date(2026, 1, 5)
MAPPINGS_DIR = Path(__file__).parents[2] / "mappings"
WRITERS = 2

Progress = Callable[[str, int, int], None]
"""Called with the name of the finished step, the number of finished steps and the number of all steps."""


@dataclass(frozen=True)
class Generated:
    """Summary of a generation."""

    people: int
    rows: int
    files: int
    landing: Path
    truth: Path


def silent(message: str, done: int, total: int) -> None:
    """Do nothing; for callers that do not show progress."""


def generate(
    people: int,
    seed: int,
    nights: int,
    out: Path,
    progress: Progress = silent,
    *,
    first_night: date = FIRST_NIGHT,
    sources: Sequence[str] = SOURCES,
    mappings_dir: Path = MAPPINGS_DIR,
    replace: bool = False,
) -> Generated:
    """Write `out/landing` and `out/truth`; the same bytes for the same arguments.

    Raises ConfigError if the folders exist and may not be replaced, or if a number is out of range.
    """
    landing, truth = out / "landing", out / "truth"
    _make_room(landing, truth, replace=replace)
    landing.mkdir(parents=True, exist_ok=True, mode=0o700)
    contracts = load_contracts(mappings_dir, tuple(sources))
    steps = len(sources) + 2
    world = build_world(people, seed, nights, first_night)
    progress("people", 1, steps)

    faults = {source: draw_number_faults(world, source) for source in sources}
    opt_outs = draw_opt_outs(world)
    planted = write_opt_outs(world, opt_outs, landing)
    truths: list[Truth] = []
    files: list[Delivered] = []
    with ThreadPoolExecutor(WRITERS) as pool:
        for step, source in enumerate(sources, start=2):
            data = build_source(source, world)
            truths += data.truth
            tables = _without_test_patients(world, contracts[source], data.tables)
            delivered, found = _deliver(pool, world, contracts[source], tables, faults[source], landing)
            files += delivered
            planted += found
            progress(source, step, steps)
    write_truth(world, opt_outs, truths, planted, faults, truth)
    progress("truth", steps, steps)
    return Generated(people, sum(file.rows for file in files), len(files), landing, truth)


def build_source(source: str, world: World) -> SourceData:
    """Everything that a source has of a world, before faults are planted."""
    module = importlib.import_module(f"pipelines.synthetic.sources.{source}")
    data: SourceData = module.build(world)
    return data


def _without_test_patients(world: World, contract: SourceContract, tables: dict[str, pa.Table]) -> dict[str, pa.Table]:
    """The tables of a source. Sources without a flag for test patients get no rows of the test patient."""
    if any(entity.test for entity in contract.entities.values()):
        return tables
    made_up = pa.array(np.flatnonzero(world.population.test_patient), pa.int32())
    return {name: table.filter(pc.invert(pc.is_in(table["_person"], made_up))) for name, table in tables.items()}


def _deliver(
    pool: ThreadPoolExecutor,
    world: World,
    contract: SourceContract,
    tables: dict[str, pa.Table],
    faults: np.ndarray,
    landing: Path,
) -> tuple[list[Delivered], list[Planted]]:
    """Write all deliveries of one source, a few entities at a time; Arrow releases the interpreter lock."""
    tasks: list[Future[tuple[list[Delivered], list[Planted]]]] = [
        pool.submit(deliver_entity, world, contract, name, tables, faults, landing) for name in sorted(tables)
    ]
    files = [file for task in tasks for file in task.result()[0]]
    planted = [trap for task in tasks for trap in task.result()[1]]
    again = delivery.resubmit(world, contract, files, landing)
    planted += [Planted("file:resubmitted", file.source, file.entity, 1) for file in again]
    write_manifests(world, contract.source, files + again, landing)
    return files + again, planted


def _make_room(landing: Path, truth: Path, *, replace: bool) -> None:
    there = [folder for folder in (landing, truth) if folder.exists() and any(folder.iterdir())]
    if there and not replace:
        raise ConfigError(f"{there[0]}: already there; give another folder, or ask to replace it")
    for folder in there:
        shutil.rmtree(folder)
