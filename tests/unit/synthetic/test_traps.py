from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from pipelines.contracts.source import Entity, SourceContract
from pipelines.synthetic.formats import BYTE_ORDER_MARK, FORMATS, FileFormat, csv_bytes, encoded, file_name
from pipelines.synthetic.population import World
from pipelines.synthetic.revisions import Revisions, corrected, plant_revisions, unreferenced
from pipelines.synthetic.text import date_text, numbered
from pipelines.synthetic.traps import (
    DATE_FORMS,
    TIMESTAMP_FORMS,
    DateForm,
    Field,
    draw_number_faults,
    form_of,
    other_form,
    plant_values,
)
from pipelines.synthetic.world import build_world

ROWS = 20_000
CONTRACT = SourceContract.model_validate(
    {
        "source": "acute",
        "title": "A test",
        "entities": {
            "result": {
                "grain": "one result",
                "files": ["result*"],
                "key": ["result_id"],
                "version": ["updated"],
                "deleted": {"column": "state", "values": ["gone"]},
                "subject": {"direct": {"nhs_number": "nhs_number", "local_id": "mrn", "nhs_number_status": "status"}},
                "columns": {
                    "result_id": {"identifier": "record_id", "required": True},
                    "nhs_number": {"identifier": "nhs_number"},
                    "status": {"type": "code"},
                    "mrn": {"identifier": "local_id", "required": True},
                    "taken_on": {"type": "date"},
                    "code": {"type": "code"},
                    "value": {"type": "decimal"},
                    "state": {"type": "code"},
                    "updated": {"type": "timestamp"},
                },
            },
            "note": {
                "grain": "one note",
                "files": ["note*"],
                "key": ["note_id"],
                "subject": {"via": {"entity": "result", "columns": ["result_id"]}},
                "columns": {"note_id": {"identifier": "record_id"}, "result_id": {"identifier": "record_id"}},
            },
        },
    }
)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(2000, 3, 2, date(2026, 1, 5))


@pytest.fixture
def plot(world: World) -> Field:
    rng = np.random.default_rng(0)
    person = np.sort(rng.integers(0, world.n, ROWS)).astype(np.int32)
    days = np.datetime64("2024-01-01") + rng.integers(0, 600, ROWS)
    numbers = pa.array([number or None for number in world.population.nhs_number], pa.string())
    table = pa.table(
        {
            "result_id": numbered("R", np.arange(ROWS), 6),
            "nhs_number": numbers.take(pa.array(person)),
            "status": pa.repeat("01", ROWS),
            "mrn": pa.array(world.population.acute_mrn, pa.string()).take(pa.array(person)),
            "taken_on": date_text(days),
            "code": pa.array(world.catalogue.conditions["snomed"].to_numpy()[rng.integers(0, 20, ROWS)], pa.string()),
            "value": pa.array(np.char.mod("%.1f", rng.normal(100, 9, ROWS)), pa.string()),
            "state": pa.repeat("final", ROWS),
            "updated": date_text(days, "yyyy-MM-dd HH:mm:ss"),
            "_provider": pa.array(np.where(person % 2, "RZ1", "RZ2"), pa.string()),
            "_night": pa.array(np.zeros(ROWS, dtype=np.int8)),
            "_person": pa.array(person),
        }
    )
    return Field(world, "acute", "result", CONTRACT.entities["result"], table, np.random.default_rng(5))


def counts(plot: Field) -> dict[str, int]:
    return {trap.trap: trap.count for trap in plot.planted}


def story_rows(plot: Field, table: pa.Table) -> pa.Table:
    return table.filter(pa.array(plot.world.population.story[table["_person"].to_numpy()] > 0))


def test_values_go_wrong_at_the_stated_rates_and_never_for_story_people(plot: Field, world: World) -> None:
    clean = plot.table
    plant_values(plot, draw_number_faults(world, "acute"))
    found = counts(plot)
    assert 60 <= found["number_missing"] <= 160
    assert 10 <= found["number_status_04"] <= 90
    assert 120 <= found["number_spaced"] <= 280
    assert 35 <= found["unknown_code"] <= 40
    assert 180 <= found["other_date_form"] <= 200
    assert found["default_date"] >= 18
    assert found["future_date"] >= 8
    assert story_rows(plot, plot.table).equals(story_rows(plot, clean))


def test_what_is_counted_is_what_was_changed(plot: Field, world: World) -> None:
    clean = plot.table
    plant_values(plot, draw_number_faults(world, "acute"))
    found = counts(plot)
    for column, traps in {
        "code": ("unknown_code",),
        "taken_on": ("other_date_form", "default_date", "future_date"),
        "nhs_number": ("number_missing", "number_missing_on_row", "number_invalid", "number_placeholder", "number_spaced"),
    }.items():
        before, after = clean[column].to_pylist(), plot.table[column].to_pylist()
        assert sum(old != new for old, new in zip(before, after, strict=True)) == sum(found[trap] for trap in traps)
    assert plot.table.drop(["code", "taken_on", "nhs_number", "status"]).equals(
        clean.drop(["code", "taken_on", "nhs_number", "status"])
    )


def test_unknown_codes_are_of_the_vocabulary_of_the_column(plot: Field, world: World) -> None:
    plant_values(plot, draw_number_faults(world, "acute"))
    unknown = world.catalogue.unknown
    planted = set(plot.table["code"].to_pylist()) - set(world.catalogue.conditions["snomed"])
    assert planted <= set(unknown.loc[unknown["vocabulary"] == "SNOMED", "code"])


def test_a_number_is_wrong_on_every_row_of_its_person(plot: Field, world: World) -> None:
    faults = draw_number_faults(world, "acute")
    plant_values(plot, faults)
    for kind in ("number_missing", "number_invalid", "number_placeholder"):
        person = np.flatnonzero(faults == kind)
        rows = plot.table.filter(pa.array(np.isin(plot.person, person)))
        assert not set(rows["nhs_number"].to_pylist()) & set(world.population.nhs_number[person])


def test_few_rows_are_left_alone(world: World, plot: Field) -> None:
    few = Field(world, "acute", "result", plot.entity, plot.table.slice(1000, 40), plot.rng)
    plant_values(few, np.full(world.n, "", dtype="U20"))
    assert few.planted == []


def nightly(revisions: Revisions, night: int, *, full: bool) -> pa.Table:
    main, extra = revisions.of(night, full=full)
    return pa.concat_tables([revisions.table.filter(pa.array(main)), revisions.extras.filter(pa.array(extra))])


def test_a_later_delta_has_late_corrected_and_deleted_rows_only(plot: Field) -> None:
    revisions = plant_revisions(plot, {}, CONTRACT, None)
    found = counts(plot)
    delta = nightly(revisions, 1, full=False)
    assert delta.num_rows == found["late_arrival"] + found["late_correction"] + found["deleted_by_flag"]
    assert delta["state"].to_pylist().count("gone") == found["deleted_by_flag"]
    assert story_rows(plot, delta).num_rows == 0
    first = nightly(revisions, 0, full=True)
    assert first.num_rows == ROWS + found["duplicate_line"] + found["superseded_in_delivery"] - found["late_arrival"]


def test_a_later_snapshot_leaves_out_what_was_deleted_and_has_each_correction_once(plot: Field) -> None:
    one_provider = plot.table.set_column(plot.table.column_names.index("_provider"), "_provider", pa.repeat("RZ1", ROWS))
    whole = Field(plot.world, "acute", "result", plot.entity, one_provider, plot.rng)
    revisions = plant_revisions(whole, {}, CONTRACT, "RZ1")
    found = counts(whole)
    snapshot = nightly(revisions, 1, full=True)
    ids = snapshot["result_id"].to_pylist()
    assert len(set(ids)) == ROWS - found["deleted_by_absence"]
    assert len(ids) - len(set(ids)) == found["duplicate_line"] + found["superseded_in_delivery"]
    assert "deleted_by_flag" not in found


def test_a_correction_is_newer_and_one_higher(plot: Field) -> None:
    rows = np.array([5, 900])
    new = corrected(plot, rows, 1, keep_night=False)
    old = plot.table.take(pa.array(rows))
    assert new is not None
    assert new["updated"].to_pylist() == ["2026-01-05 23:30:00"] * 2
    assert new["_night"].to_pylist() == [1, 1]
    for after, before in zip(new["value"].to_pylist(), old["value"].to_pylist(), strict=True):
        assert float(after) == pytest.approx(float(before) + 1)


def test_rows_that_others_refer_to_are_kept(plot: Field) -> None:
    notes = pa.table({"note_id": ["N1"], "result_id": [plot.table["result_id"][7].as_py()]})
    assert unreferenced(plot, np.array([6, 7, 8]), {"note": notes}, CONTRACT).tolist() == [6, 8]


@pytest.mark.parametrize("form", [*DATE_FORMS, *TIMESTAMP_FORMS])
def test_every_form_is_recognised_and_has_others(form: DateForm) -> None:
    when = np.array(["2024-12-31T23:59:00"], dtype="datetime64[s]")
    assert form_of(date_text(when, form.name).to_pylist()) == form
    assert len({other_form(form, step) for step in range(len(DATE_FORMS))}) == len(DATE_FORMS)


def test_an_unknown_form_is_not_guessed() -> None:
    assert form_of(["31.12.2024"]) is None
    assert form_of([]) is None


@pytest.mark.parametrize("provider", sorted(FORMATS))
def test_a_file_is_the_same_bytes_each_time(provider: str) -> None:
    rows = pa.table({"name": ["Zoë", "O'Neill, Siân", None], "code": ["1", '2"', "x\ny"]})
    layout = FORMATS[provider]
    content = csv_bytes(rows, ["name", "code"], layout)
    assert encoded(content, layout, "a.csv") == encoded(content, layout, "a.csv")


def test_the_format_is_as_stated() -> None:
    rows = pa.table({"name": ["Zoë", None]})
    marked = encoded(csv_bytes(rows, ["name"], FileFormat(mark=True, line_end="\r\n")), FileFormat(mark=True), "a.csv")
    assert marked == BYTE_ORDER_MARK + "name\r\nZoë\r\n\r\n".encode()
    western = FileFormat(encoding="cp1252", delimiter="|")
    assert encoded(csv_bytes(rows, ["name"], western), western, "a.csv") == b"name\nZo\xeb\n\n"


def test_gp_files_have_five_parts() -> None:
    entity = Entity.model_validate(
        {"grain": "x", "files": ["*Admin_Patient_*"], "key": ["id"], "columns": {"id": {"identifier": "local_id"}}}
    )
    parts = file_name("gp", entity, "Y99001", date(2026, 1, 5), "").removesuffix(".csv").split("_")
    assert parts[1:4] == ["Admin", "Patient", "20260105013000"]
    assert len(parts) == 5
