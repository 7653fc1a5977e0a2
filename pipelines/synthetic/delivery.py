"""Writes tables as deliveries: one folder per source, provider and night, with its files and its manifest."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipelines.contracts.source import SourceContract
from pipelines.synthetic.formats import csv_bytes, csv_line, encoded, file_name, format_of, headers_of
from pipelines.synthetic.malformed import draw_odd_rows, odd_files
from pipelines.synthetic.population import World
from pipelines.synthetic.revisions import Revisions, plant_revisions
from pipelines.synthetic.traps import Field, Planted, plant_values

FULL_PROVIDERS = {"gp": "Y99002"}
"""The provider by source that sends everything again every night; all other providers send new and changed rows only."""
ODD_PROVIDERS = {
    "gp": "Y99001",
    "acute": "RZ1",
    "mental_health": "RZM",
    "community": "RZC",
    "ambulance": "RZX",
    "social_care": "991",
}
"""The provider whose first delivery has malformed lines."""


@dataclass(frozen=True)
class Delivered:
    """One file of a delivery; `part` is empty for the main file of an entity."""

    source: str
    entity: str
    provider: str
    night: int
    name: str
    part: str
    rows: int
    sha256: str


def day_of(world: World, night: int) -> date:
    """The extract date of a night."""
    return world.first_night + timedelta(days=night)


def folder_of(landing: Path, world: World, source: str, provider: str, night: int) -> Path:
    """The folder of one delivery."""
    return landing / source / provider / day_of(world, night).strftime("%Y%m%d")


def deliver_entity(
    world: World,
    contract: SourceContract,
    name: str,
    tables: Mapping[str, pa.Table],
    number_faults: np.ndarray,
    landing: Path,
) -> tuple[list[Delivered], list[Planted]]:
    """Write all files of one entity, for every provider and night, with the traps planted."""
    source = contract.source
    entity = contract.entities[name]
    plot = Field(world, source, name, entity, tables[name], world.rng(f"traps.{source}.{name}"))
    columns = [column for column in entity.columns if column in plot.table.column_names]
    plant_values(plot, number_faults)
    odd = draw_odd_rows(plot, ODD_PROVIDERS[source])
    plot.ordinary[odd] = False
    revisions = plant_revisions(plot, tables, contract, FULL_PROVIDERS.get(source))
    writer = _Writer(world, contract, name, columns, landing)
    for provider, main_rows, extra_rows in _by_provider(revisions):
        for night in range(world.nights):
            full = night == 0 or provider == FULL_PROVIDERS.get(source)
            whole, with_extras = revisions.of(night, full=full)
            moved = odd if night == 0 and provider == ODD_PROVIDERS[source] else np.empty(0, dtype=np.int64)
            chosen = np.setdiff1d(main_rows[whole[main_rows]], moved, assume_unique=True)
            rows = _selected(revisions, chosen, extra_rows[with_extras[extra_rows]])
            writer.write_rows(provider, night, rows)
            for file in odd_files(plot, moved, columns, format_of(provider)) if len(moved) else []:
                writer.write(provider, night, file.part, "", file.content, file.records)
    for trap in sorted({trap for file in writer.files for trap in format_of(file.provider).traps}):
        plot.note(f"file:{trap}", sum(trap in format_of(file.provider).traps for file in writer.files))
    return writer.files, plot.planted


def _by_provider(revisions: Revisions) -> Iterable[tuple[str, np.ndarray, np.ndarray]]:
    """Each provider with the positions of its rows in the table and in the extras."""
    table, extras = revisions.table, revisions.extras
    for provider in sorted(table["_provider"].unique().to_pylist()):
        yield provider, _equal(table["_provider"], provider), _equal(extras["_provider"], provider)


def _equal(column: pa.ChunkedArray, value: str) -> np.ndarray:
    codes = column.combine_chunks().dictionary_encode()
    names = codes.dictionary.to_pylist()
    position = names.index(value) if value in names else -1
    return np.flatnonzero(codes.indices.to_numpy() == position)


def _selected(revisions: Revisions, main_rows: np.ndarray, extra_rows: np.ndarray) -> pa.Table:
    main = revisions.table.take(pa.array(main_rows))
    return pa.concat_tables([main, revisions.extras.take(pa.array(extra_rows))])


class _Writer:
    """Writes the files of one entity and keeps the list of them."""

    def __init__(self, world: World, contract: SourceContract, name: str, columns: list[str], landing: Path) -> None:
        self.world = world
        self.source = contract.source
        self.name = name
        self.entity = contract.entities[name]
        self.columns = columns
        self.landing = landing
        self.files: list[Delivered] = []

    def write_rows(self, provider: str, night: int, rows: pa.Table) -> None:
        """Write rows to a file, and those of another header variant to a file each; no rows, no file."""
        if "_headers" in rows.column_names:
            variants = rows["_headers"].fill_null("").combine_chunks()
        else:
            variants = pa.repeat("", rows.num_rows)
        for variant in sorted(variants.unique().to_pylist()):
            mine = rows.filter(pa.compute.equal(variants, variant)).select(self.columns)
            headers = headers_of(self.entity, self.columns, format_of(provider), variant)
            content = csv_bytes(mine, headers, format_of(provider))
            self.write(provider, night, variant, variant, content, mine.num_rows, with_header=True)

    def write(
        self, provider: str, night: int, part: str, variant: str, content: bytes, rows: int, *, with_header: bool = False
    ) -> None:
        """Write one file of UTF-8 content in the provider's format."""
        layout = format_of(provider)
        if not with_header:
            content = csv_line(headers_of(self.entity, self.columns, layout, variant), layout) + content
        name = file_name(self.source, self.entity, provider, day_of(self.world, night), part)
        delivered = encoded(content, layout, name)
        if layout.compression:
            name = f"{name}.{layout.compression}"
        folder = folder_of(self.landing, self.world, self.source, provider, night)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(delivered)
        digest = hashlib.sha256(delivered).hexdigest()
        self.files.append(Delivered(self.source, self.name, provider, night, name, part, rows, digest))


def resubmit(world: World, contract: SourceContract, files: list[Delivered], landing: Path) -> list[Delivered]:
    """Send one file of the first night again, unchanged, on each later night: the smallest main file of people's rows."""
    full = FULL_PROVIDERS.get(contract.source)
    about_people = [name for name, entity in contract.entities.items() if entity.subject.via or entity.subject.direct]
    main = [file for file in files if file.night == 0 and not file.part and file.entity in about_people]
    first = [file for file in main if file.provider != full]
    if not first:
        return []
    again = min(first, key=lambda file: (file.rows, file.name))
    content = (folder_of(landing, world, again.source, again.provider, 0) / again.name).read_bytes()
    copies = []
    for night in range(1, world.nights):
        folder = folder_of(landing, world, again.source, again.provider, night)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / again.name).write_bytes(content)
        copies.append(Delivered(again.source, again.entity, again.provider, night, again.name, "", again.rows, again.sha256))
    return copies


def write_manifests(world: World, source: str, files: list[Delivered], landing: Path) -> None:
    """One manifest per delivery of a source: what was delivered, how many records, and whether it replaces everything."""
    for provider, night in sorted({(file.provider, file.night) for file in files}):
        mine = sorted((file for file in files if (file.provider, file.night) == (provider, night)), key=lambda file: file.name)
        full = night == 0 or provider == FULL_PROVIDERS.get(source)
        manifest = {
            "source": source,
            "provider": provider,
            "extract_date": day_of(world, night).isoformat(),
            "mode": "full" if full else "delta",
            "files": [{"name": file.name, "rows": file.rows, "sha256": file.sha256} for file in mine],
        }
        write_json(folder_of(landing, world, source, provider, night) / "manifest.json", manifest)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write an indented JSON file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
