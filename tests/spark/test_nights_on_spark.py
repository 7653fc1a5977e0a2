"""Five nights of the canary on Apache Spark with Delta.

After each the rows are the written-out ones, and all tables are those of the embedded engine.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from pipelines.nightly import nightly
from pipelines.terminology.vocabulary import load
from tests.builders.nights import Lake, Morning
from tests.conftest import PROJECT, Engines
from tests.e2e.test_canary_nights import APPROVED, STORY
from tests.spark.conftest import Lakes
from tests.spark.test_engine_parity import rows

FIVE = replace(STORY, nights=tuple(STORY.nights[place] for place in (0, 1, 3, 4, 5)))
"""The first load, opting out, opting in with a correction, a deletion, a merge."""

pytestmark = [pytest.mark.deep, pytest.mark.timeout(3 * 3600)]


def on_spark() -> tuple[str, ...]:
    """The settings that run a load on local Spark."""
    engine = {
        "kind": "spark",
        "master": "local[2]",
        "memory_gib": 3,
        "jars_dir": os.environ.get("NHS_OMOP_JARS", str(PROJECT / ".jars")),
    }
    return tuple(f"engine.{name}={json.dumps(value)}" for name, value in engine.items())


def mornings(lake: Lake) -> Iterator[Morning]:
    """What there is after each night, which is run when it is asked for."""
    lake.begin()
    load(lake.settings)
    for night in FIVE.nights:
        lake.receive(night)
        nightly(lake.settings, night.day)
        yield lake.look(night)


def unlike(lakes: Lakes) -> dict[str, str]:
    """The tables that differ between the engines, with the first difference."""
    on_both = lakes.tables(lakes.sail) & lakes.tables(lakes.spark)
    found = dict.fromkeys((lakes.tables(lakes.sail) | lakes.tables(lakes.spark)) - on_both, "on one engine only")
    for table in sorted(on_both):
        try:
            pd.testing.assert_frame_equal(rows(lakes.sail, table), rows(lakes.spark, table), check_exact=True)
        except AssertionError as error:
            found[table] = str(error).splitlines()[0]
    return found


def test_five_nights_on_spark(java: None, engines: Engines, tmp_path: Path) -> None:
    engines.close()
    embedded = []
    for morning in mornings(Lake(tmp_path / "sail", FIVE, APPROVED)):
        shutil.copytree(tmp_path / "sail", tmp_path / f"{morning.night.day}")
        embedded.append(morning)
    spark = mornings(Lake(tmp_path / "spark", FIVE, (*APPROVED, *on_spark())))
    for of_sail, of_spark in zip(embedded, spark, strict=True):
        for morning in (of_sail, of_spark):
            assert not morning.differences, "\n".join(morning.differences)
            assert morning.persons == morning.night.persons
        assert of_spark.rows == of_sail.rows
        assert unlike(Lakes(tmp_path / f"{of_sail.night.day}", tmp_path / "spark")) == {}, of_sail.night.what
