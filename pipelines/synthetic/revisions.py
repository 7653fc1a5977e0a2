"""Plans how rows change over deliveries: sent twice, late, corrected or deleted.

A delivery of a night has three kinds of rows: original rows, which are delivered once; `extras`, which are additional; and, in
full snapshots of a provider, everything that is still true on that night.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.contracts.source import ColumnType, SourceContract
from pipelines.synthetic.text import date_text
from pipelines.synthetic.traps import REVISION_SHARES, Field, form_of, put

NEVER = 127


@dataclass(frozen=True)
class Revisions:
    """The rows of one entity over all nights.

    `night` and `gone_from` belong to `table`: the first night that has the row, and the first night whose snapshot
    no longer has it. `extras` are complete rows with their own `_night`.
    """

    table: pa.Table
    night: np.ndarray
    gone_from: np.ndarray
    extras: pa.Table

    def of(self, night: int, *, full: bool) -> tuple[np.ndarray, np.ndarray]:
        """Masks of the rows of the table and of the extras that a delivery has on a night."""
        extra_night = self.extras["_night"].to_numpy()
        if full:
            return (self.night <= night) & (self.gone_from > night), extra_night <= night
        return self.night == night, extra_night == night


def unreferenced(plot: Field, rows: np.ndarray, tables: Mapping[str, pa.Table], contract: SourceContract) -> np.ndarray:
    """The rows that no other row of the source refers to, so that they may be late or deleted."""
    for child, entity in contract.entities.items():
        links = [(link.entity, link.columns[-1]) for link in entity.references.values()]
        if entity.subject.via:
            links.append((entity.subject.via.entity, entity.subject.via.columns[-1]))
        for parent, column in links:
            if parent != plot.name or child not in tables or column not in tables[child].column_names:
                continue
            keys = plot.table[plot.entity.key[-1]].take(pa.array(rows)).combine_chunks()
            referring = tables[child][column]
            used = pc.unique(referring.filter(pc.is_in(referring, value_set=keys)))
            rows = rows[~pc.is_in(keys, value_set=used).to_numpy(zero_copy_only=False)]
    return rows


def plant_revisions(
    plot: Field, tables: Mapping[str, pa.Table], contract: SourceContract, full_provider: str | None
) -> Revisions:
    """Draw what happens to rows after they were first sent; at most one such change per row."""
    night = plot.table["_night"].to_numpy().astype(np.int8)
    gone_from = np.full(plot.table.num_rows, NEVER, dtype=np.int8)
    drawn = plot.rng.permutation(plot.draw(sum(REVISION_SHARES.values()) * plot.world.nights))
    parts = iter(_cut(drawn, int(plot.ordinary.sum()), plot.world.nights))
    extras = [plot.table.slice(0, 0)]

    extras.append(plot.table.take(pa.array(next(parts))))
    plot.note("duplicate_line", extras[-1].num_rows)
    superseding = corrected(plot, next(parts), 0, keep_night=True)
    if superseding is not None:
        extras.append(superseding)
        plot.note("superseded_in_delivery", superseding.num_rows)
    for later in range(1, plot.world.nights):
        late, correct, delete = (rows[night[rows] < later] for rows in (next(parts), next(parts), next(parts)))
        late = unreferenced(plot, late, tables, contract)
        if plot.name in contract.whole.values():  # It would take back what is not sent again with it.
            correct = unreferenced(plot, correct, tables, contract)
        night[late] = later
        plot.note("late_arrival", len(late))
        correction = corrected(plot, correct, later, keep_night=False)
        if correction is not None:
            extras.append(correction)
            gone_from[correct] = later
            plot.note("late_correction", correction.num_rows)
        extras.append(_deleted(plot, unreferenced(plot, delete, tables, contract), later, gone_from, full_provider))
    return Revisions(plot.table, night, gone_from, pa.concat_tables(extras).combine_chunks())


def _cut(drawn: np.ndarray, rows: int, nights: int) -> list[np.ndarray]:
    """The drawn rows in disjoint parts: duplicates, superseded, then per later night late ones, corrections, deletes."""
    later = ("late_arrival", "late_correction", "deleted")
    names = ["duplicate_line", "superseded_in_delivery", *(name for _ in range(1, nights) for name in later)]
    sizes = [max(1, round(REVISION_SHARES[name] * rows)) for name in names]
    return np.split(drawn, np.cumsum(sizes))[: len(names)]


def corrected(plot: Field, rows: np.ndarray, night: int, *, keep_night: bool) -> pa.Table | None:
    """New versions of rows: a changed number and a higher version; None if no column says which version is newer."""
    entity = plot.entity
    copies = plot.table.take(pa.array(rows))
    copies, raised = raise_version(copies, plot, night)
    if keep_night and not raised:
        return None
    kinds = (ColumnType.DECIMAL, ColumnType.RESULT, ColumnType.INTEGER)
    numbers = [name for name in plot.free_columns(*kinds) if copies[name].null_count < len(rows)]
    if numbers:
        column = min(numbers, key=lambda name: (copies[name].null_count, list(entity.columns).index(name)))
        copies = put(copies, column, np.arange(len(rows)), [_one_more(value) for value in copies[column].to_pylist()])
    return copies if keep_night else _on_night(copies, night)


def raise_version(rows: pa.Table, plot: Field, night: int) -> tuple[pa.Table, bool]:
    """Rows with a higher version than before, and whether the entity has a version."""
    evening = np.datetime64(plot.world.first_night, "D").astype("datetime64[s]") + night * 86400 - 1800
    everywhere = np.arange(rows.num_rows)
    raised = False
    for name in plot.entity.version:
        if name not in rows.column_names or rows[name].null_count or not rows.num_rows:
            continue
        texts = rows[name].to_pylist()
        if all(text.isdigit() for text in texts) and plot.entity.columns[name].type is not ColumnType.DATE:
            rows = put(rows, name, everywhere, [str(int(text) + 1).zfill(len(text)) for text in texts])
            raised = True
        elif plot.entity.columns[name].type is ColumnType.TIMESTAMP and (form := form_of(texts)) is not None:
            rows = put(rows, name, everywhere, date_text(np.full(rows.num_rows, evening), form.name).to_pylist())
            raised = raised or "H" in form.name
    return rows, raised


def _one_more(value: str | None) -> str | None:
    """A number increased by one, with as many decimals; other texts are unchanged."""
    if value is None or not value.replace(".", "", 1).isdigit():
        return value
    decimals = len(value.partition(".")[2])
    return f"{float(value) + 1:.{decimals}f}"


def _deleted(plot: Field, rows: np.ndarray, night: int, gone_from: np.ndarray, full_provider: str | None) -> pa.Table:
    """Deletes of one night: a flagged row if the contract has a flag; a missing row in snapshots of the full provider."""
    providers = plot.table["_provider"].take(pa.array(rows)).to_numpy(zero_copy_only=False)
    missing = rows[providers == full_provider]
    gone_from[missing] = night
    plot.note("deleted_by_absence", len(missing))
    flag = plot.entity.deleted
    flagged = rows[providers != full_provider]
    if flag is None or flag.column not in plot.table.column_names:
        return plot.table.slice(0, 0)
    copies, _ = raise_version(plot.table.take(pa.array(flagged)), plot, night)
    copies = put(copies, flag.column, np.arange(len(flagged)), [next(iter(flag.values), "TRUE")] * len(flagged))
    plot.note("deleted_by_flag", len(flagged))
    return _on_night(copies, night)


def _on_night(rows: pa.Table, night: int) -> pa.Table:
    nights = pa.array(np.full(rows.num_rows, night, dtype=np.int8), rows.schema.field("_night").type)
    return rows.set_column(rows.column_names.index("_night"), "_night", nights)
