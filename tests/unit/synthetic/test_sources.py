"""Properties of the tables of every source module, before faults are planted."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.contracts.source import ColumnType, SourceContract, load_contracts
from pipelines.synthetic.generate import MAPPINGS_DIR, SOURCES, build_source
from pipelines.synthetic.population import SourceData, Story, World
from pipelines.synthetic.world import build_world

NOT_DELIVERED = {"_provider", "_night", "_person", "_headers"}
FORMS = {
    ColumnType.INTEGER: r"^[+-]?\d{1,15}$",
    ColumnType.DECIMAL: r"^[+-]?\d+(\.\d+)?$",
    ColumnType.DATE: r"^(\d{4}-\d\d-\d\d|\d{8}|\d\d/\d\d/\d{4}|\d\d-[A-Za-z]{3}-\d{4})",
    ColumnType.TIMESTAMP: r"^(\d{4}-\d\d-\d\d|\d{8}|\d\d/\d\d/\d{4}|\d\d-[A-Za-z]{3}-\d{4})",
    ColumnType.BOOLEAN: r"(?i)^(true|false|yes|no|y|n|1|0)$",
}


Built = tuple[SourceContract, SourceData]
"""The contract of a source and what was built by it."""


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(300, 5, 2, date(2026, 1, 5))


@pytest.fixture(scope="module", params=SOURCES)
def built(world: World, request: pytest.FixtureRequest) -> Built:
    source = request.param
    return load_contracts(MAPPINGS_DIR, (source,))[source], build_source(source, world)


def test_tables_and_columns_are_those_of_the_contract(built: Built) -> None:
    contract, data = built
    assert set(data.tables) == {name for name, entity in contract.entities.items() if entity.files}
    for name, table in data.tables.items():
        assert set(table.column_names) - NOT_DELIVERED <= set(contract.entities[name].columns), name
        assert set(contract.entities[name].key) <= set(table.column_names), name


def test_every_row_has_a_provider_a_night_and_a_person_or_none(built: Built, world: World) -> None:
    for name, table in built[1].tables.items():
        night, person = table["_night"].to_numpy(), table["_person"].to_numpy()
        assert table["_provider"].null_count == 0, name
        assert ((night >= 0) & (night < world.nights)).all(), name
        assert ((person >= -1) & (person < world.n)).all(), name


def test_texts_can_be_typed_and_required_ones_are_there(built: Built) -> None:
    contract, data = built
    for name, table in data.tables.items():
        for column_name in set(table.column_names) - NOT_DELIVERED:
            column, values = contract.entities[name].columns[column_name], table[column_name]
            assert values.type == pa.string(), f"{name}.{column_name}"
            assert not (column.required and values.null_count), f"{name}.{column_name}"
            if column.type in FORMS:
                assert pc.all(pc.match_substring_regex(values.drop_null(), FORMS[column.type])).as_py() is not False, (
                    f"{name}.{column_name}"
                )


def test_rows_of_story_people_refer_to_rows_that_are_not_later(built: Built, world: World) -> None:
    contract, data = built
    for name, table in data.tables.items():
        via = contract.entities[name].subject.via
        if via is None or not table.num_rows:
            continue
        in_story = world.population.story[table["_person"].to_numpy()] != Story.ORDINARY
        parents = data.tables[via.entity].to_pandas().groupby(["_provider", *contract.entities[via.entity].key])["_night"].min()
        keys = table.select(["_provider", *via.columns]).filter(pa.array(in_story)).to_pandas()
        nights = parents.reindex(list(keys.itertuples(index=False, name=None))).to_numpy()
        assert (nights <= table["_night"].to_numpy()[in_story]).all(), name


def test_the_rows_a_story_promises_are_of_its_people_and_in_the_history(built: Built, world: World) -> None:
    for truth in built[1].truth:
        assert world.population.story[truth.person] != Story.ORDINARY
        assert np.datetime64(truth.start_date, "D") <= world.last_day
        assert truth.start_date > date(1900, 1, 1)
