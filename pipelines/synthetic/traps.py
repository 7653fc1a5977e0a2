"""Plants the faults of real extracts at fixed rates into rows of ordinary people.

Rows of story people and reference data are never changed, and every planted fault is counted for `truth/planted.csv`.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.contracts.source import ColumnType, Entity
from pipelines.synthetic.nhs_numbers import break_check_digit
from pipelines.synthetic.population import Catalogue, Story, World
from pipelines.synthetic.text import date_text

NUMBER_FAULTS = {"number_missing": 0.005, "number_invalid": 0.003, "number_placeholder": 0.002, "number_status_04": 0.002}
"""Share of people whose NHS number is wrong in one source, on every row."""
NUMBER_SPACED = "number_spaced"
NUMBER_SPACED_SHARE = 0.01
"""Share of people whose NHS number one source writes with spaces or dashes; the number itself is correct."""

ROW_SHARES = {
    "number_missing_on_row": 0.001,
    "unknown_code": 0.002,
    "other_date_form": 0.01,
    "default_date": 0.001,
    "future_date": 0.0005,
}
"""Share of the rows of each entity that get a fault in one value."""

REVISION_SHARES = {
    "duplicate_line": 0.002,
    "superseded_in_delivery": 0.001,
    "late_arrival": 0.002,
    "late_correction": 0.003,
    "deleted": 0.001,
}
"""Share of the rows of each entity that are sent again, late, corrected or deleted."""

FEWEST_ROWS = 50
"""An entity with fewer rows of ordinary people gets no faults."""
PLACEHOLDERS = np.array(["0000000000", "9999999999", "1111111111", "1000000001"])
DEFAULT_DATES = np.array(["1900-01-01", "9999-12-31"], dtype="datetime64[D]")
FUTURE_YEARS = 40
NOT_TRACED, TRACE_REQUIRED, NOT_MATCHED = "02", "03", "04"


class DateForm(NamedTuple):
    """A format of dates or times: its name here and its strptime format."""

    name: str
    strptime: str


DATE_FORMS = (
    DateForm("yyyy-MM-dd", "%Y-%m-%d"),
    DateForm("dd/MM/yyyy", "%d/%m/%Y"),
    DateForm("yyyyMMdd", "%Y%m%d"),
    DateForm("dd-MMM-yyyy", "%d-%b-%Y"),
)
TIME_FORMS = (DateForm("HH:mm:ss", "%H:%M:%S"), DateForm("HH:mm", "%H:%M"))
TIMESTAMP_FORMS = tuple(
    DateForm(f"{day.name}{gap}{time.name}", f"{day.strptime}{gap}{time.strptime}")
    for day in DATE_FORMS
    for gap in (" ", "T")
    for time in TIME_FORMS
)


@dataclass(frozen=True)
class Planted:
    """The number of faults of a kind that were planted in one entity."""

    trap: str
    source: str
    entity: str
    count: int


@dataclass
class Field:
    """The rows of one entity in which faults may be planted, and the count of planted faults."""

    world: World
    source: str
    name: str
    entity: Entity
    table: pa.Table
    rng: np.random.Generator
    planted: list[Planted] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Find the rows of ordinary people."""
        self.person = self.table["_person"].to_numpy()
        in_story = self.world.population.story != Story.ORDINARY
        self.ordinary = (self.person >= 0) & ~in_story[self.person]

    def note(self, trap: str, count: int) -> None:
        """Count faults that were planted."""
        if count:
            self.planted.append(Planted(trap, self.source, self.name, count))

    def draw(self, share: float) -> np.ndarray:
        """A sorted sample of the rows of ordinary people, at least one; empty if there are too few such rows."""
        rows = int(self.ordinary.sum())
        if rows < FEWEST_ROWS:
            return np.empty(0, dtype=np.int64)
        wanted = max(1, round(share * rows))
        drawn = np.unique(self.rng.integers(0, len(self.ordinary), 2 * wanted + 20))
        return np.sort(self.rng.permutation(drawn[self.ordinary[drawn]])[:wanted])

    def put(self, column: str, rows: np.ndarray, values: np.ndarray | list[str | None]) -> None:
        """Write values into some rows (in order) of a column."""
        self.table = put(self.table, column, rows, values)

    def filled(self, column: str, rows: np.ndarray) -> np.ndarray:
        """The subset of rows in which a column is not empty."""
        valid = self.table[column].take(pa.array(rows)).is_valid().to_numpy()
        filled: np.ndarray = rows[valid.astype(bool)]
        return filled

    def free_columns(self, *kinds: ColumnType, required: bool = False) -> list[str]:
        """Delivered columns of some types that may be changed without changing the key, person or state of the row.

        Required columns are included only on request.
        """
        entity = self.entity
        fixed = {*entity.key, *entity.version, *(flag.column for flag in entity.flags)}
        fixed |= {name for link in entity.references.values() for name in link.columns}
        return [
            name
            for name, column in entity.columns.items()
            if column.type in kinds
            and not column.identifier
            and (required or not column.required)
            and name not in fixed
            and name in self.table.column_names
        ]


def put(table: pa.Table, column: str, rows: np.ndarray, values: np.ndarray | list[str | None]) -> pa.Table:
    """The table with values written into some rows (in order) of a column."""
    mask = np.zeros(table.num_rows, dtype=bool)
    mask[rows] = True
    texts = pa.array(list(values), table.schema.field(column).type)
    changed = pc.replace_with_mask(table[column].combine_chunks(), pa.array(mask), texts)
    return table.set_column(table.column_names.index(column), column, changed)


def plant_values(plot: Field, number_faults: np.ndarray) -> None:
    """Plant the faults in single values: numbers, codes and dates."""
    _plant_number_faults(plot, number_faults)
    _plant_unknown_codes(plot)
    _plant_dates(plot)


def draw_number_faults(world: World, source: str) -> np.ndarray:
    """The fault of each person's NHS number in one source; empty for a correct number."""
    rng = world.rng(f"traps.numbers.{source}")
    population = world.population
    faults = np.full(len(population), "", dtype="U20")
    candidates = rng.permutation(np.flatnonzero((population.story == Story.ORDINARY) & (population.nhs_number != "")))
    at = 0
    for name, share in (NUMBER_FAULTS | {NUMBER_SPACED: NUMBER_SPACED_SHARE}).items():
        wanted = max(1, round(share * len(population)))
        faults[candidates[at : at + wanted]] = name
        at += wanted
    return faults


def _plant_number_faults(plot: Field, faults: np.ndarray) -> None:
    direct = plot.entity.subject.direct
    if direct is None or direct.nhs_number not in plot.table.column_names:
        return
    wrong = np.flatnonzero(plot.ordinary & (faults != "")[plot.person])
    wrong = plot.filled(direct.nhs_number, wrong)
    kinds = faults[plot.person[wrong]]
    right = plot.world.population.nhs_number[plot.person[wrong]]
    written: dict[str, np.ndarray] = {
        "number_missing": np.full(len(wrong), None),
        "number_invalid": break_check_digit(right),
        "number_placeholder": PLACEHOLDERS[plot.person[wrong] % len(PLACEHOLDERS)],
        "number_status_04": right,
        NUMBER_SPACED: _spaced(right),
    }
    has_status = direct.nhs_number_status in plot.table.column_names
    statuses = {"number_missing": TRACE_REQUIRED, "number_invalid": NOT_TRACED, "number_status_04": NOT_MATCHED}
    for kind, numbers in written.items():
        chosen = kinds == kind
        if not chosen.any() or (kind == "number_status_04" and not has_status):
            continue
        plot.put(direct.nhs_number, wrong[chosen], list(numbers[chosen]))
        if has_status and kind in statuses:
            plot.put(str(direct.nhs_number_status), wrong[chosen], [statuses[kind]] * int(chosen.sum()))
        plot.note(kind, int(chosen.sum()))
    rows = plot.filled(direct.nhs_number, plot.draw(ROW_SHARES["number_missing_on_row"]))
    rows = rows[faults[plot.person[rows]] == ""]
    plot.put(direct.nhs_number, rows, [None] * len(rows))
    plot.note("number_missing_on_row", len(rows))


def _spaced(numbers: np.ndarray) -> np.ndarray:
    """Numbers with separators: 999 123 4567 or 999-123-4567."""
    marks = np.where(np.arange(len(numbers)) % 2 == 0, " ", "-")
    return np.array([f"{n[:3]}{mark}{n[3:6]}{mark}{n[6:]}" for n, mark in zip(numbers, marks, strict=True)], dtype="U12")


def _plant_unknown_codes(plot: Field) -> None:
    vocabularies = known_codes(plot.world.catalogue)
    unknown = plot.world.catalogue.unknown
    for column in plot.free_columns(ColumnType.CODE, required=True):
        vocabulary = _vocabulary_of(plot.table[column], vocabularies)
        codes = unknown.loc[unknown["vocabulary"] == vocabulary, "code"].to_numpy()
        if len(codes):
            rows = plot.filled(column, plot.draw(ROW_SHARES["unknown_code"]))
            plot.put(column, rows, codes[plot.rng.integers(0, len(codes), len(rows))])
            plot.note("unknown_code", len(rows))


def known_codes(catalogue: Catalogue) -> dict[str, set[str]]:
    """The codes of the catalogue by vocabulary."""
    columns = {"SNOMED": "snomed", "ICD10": "icd10", "OPCS4": "opcs4", "Read": "read", "dm+d": "dmd"}
    columns["NHS Local Pathology"] = "local_code"
    tables = [table for name, table in vars(catalogue).items() if name != "unknown"]
    return {
        vocabulary: {code for table in tables if column in table for code in table[column]} - {""}
        for vocabulary, column in columns.items()
    }


_SAMPLE = 2000
"""How many values of a column say of which vocabulary it is."""


def _vocabulary_of(values: pa.ChunkedArray, vocabularies: dict[str, set[str]]) -> str:
    """The vocabulary of most of the first codes of a column; empty where none has most of them."""
    seen = {_unpadded(code) for code in pc.unique(values.slice(0, _SAMPLE).drop_null()).to_pylist()}
    shares = {name: len(seen & codes) / max(1, len(seen)) for name, codes in vocabularies.items()}
    best = max(shares, key=lambda name: shares[name])
    return best if shares[best] > 0.5 else ""


def _unpadded(code: str) -> str:
    """A code without the dot, filler and dagger that ICD-10 and OPCS-4 codes may come with."""
    return code.replace(".", "").rstrip("XAD*+- ") if code[1:3].isdigit() else code


def _plant_dates(plot: Field) -> None:
    columns = [name for name in plot.free_columns(ColumnType.DATE, ColumnType.TIMESTAMP) if "death" not in name]
    if not columns:
        return
    column = min(columns, key=lambda name: plot.table[name].null_count)
    used = np.empty(0, dtype=np.int64)
    for trap in ("other_date_form", "default_date", "future_date"):
        rows = np.setdiff1d(plot.filled(column, plot.draw(ROW_SHARES[trap])), used)
        texts = plot.table[column].take(pa.array(rows)).to_pylist()
        form = form_of(texts)
        if form is None:
            return
        days = parse_dates(texts, form)
        if trap == "default_date":
            days = DEFAULT_DATES[np.arange(len(rows)) % len(DEFAULT_DATES)].astype("datetime64[s]")
        elif trap == "future_date":
            days = days + np.timedelta64(FUTURE_YEARS * 365, "D").astype("timedelta64[s]")
        else:
            form = other_form(form, int(plot.rng.integers(1, len(DATE_FORMS))))
        rows, days = rows[~np.isnat(days)], days[~np.isnat(days)]
        plot.put(column, rows, date_text(days, form.name).to_pylist())
        plot.note(trap, len(rows))
        used = np.union1d(used, rows)


def form_of(texts: list[str]) -> DateForm | None:
    """The format of the first of some dates or times."""
    return next((form for form in (*DATE_FORMS, *TIMESTAMP_FORMS) if texts and _parses(texts[0], form)), None)


def _parses(text: str, form: DateForm) -> bool:
    return len(text) == len(form.name) and not pd.isna(pd.to_datetime(text, format=form.strptime, errors="coerce"))


def parse_dates(texts: list[str], form: DateForm) -> np.ndarray:
    """Dates or times written in one form; NaT for what is not."""
    moments = pd.to_datetime(pd.Series(texts, dtype=object), format=form.strptime, errors="coerce")
    parsed: np.ndarray = moments.to_numpy("datetime64[s]")
    return parsed


def other_form(form: DateForm, step: int) -> DateForm:
    """Another format for the same value: the day in the format `step` places later in the list, the time unchanged."""
    position = next(at for at, day in enumerate(DATE_FORMS) if form.name.startswith(day.name))
    day, replacement = DATE_FORMS[position], DATE_FORMS[(position + step) % len(DATE_FORMS)]
    return DateForm(
        form.name.replace(day.name, replacement.name, 1), form.strptime.replace(day.strptime, replacement.strptime, 1)
    )
