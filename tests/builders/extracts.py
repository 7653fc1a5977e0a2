"""The extracts that mapped rows are judged by, and the log of touched persons, as curate would have stored them."""

from collections.abc import Iterable, Mapping
from datetime import date

from pyspark.sql import DataFrame, SparkSession

from pipelines.contracts.touched import (
    EXTRACT_SCHEMA,
    NEWEST_EXTRACTS,
    NEWEST_SCHEMA,
    TOUCHED,
    TOUCHED_SCHEMA,
    extracts_of,
)
from pipelines.contracts.zones import Zone
from pipelines.storage.tables import TableStore
from vocab.schemas import ddl_of

PEOPLE = {"person_id": "bigint"}


def newest_extracts(session: SparkSession, days: Mapping[tuple[str, str], date]) -> DataFrame:
    """NEWEST_SCHEMA from the day of each source and provider."""
    return session.createDataFrame([(*place, day) for place, day in days.items()], ddl_of(NEWEST_SCHEMA))


def store_extracts(store: TableStore, files: Mapping[str, tuple[str, date]], providers: Iterable[tuple[str, str]]) -> None:
    """Store, by source, the one file with its day, the same day as the newest of its providers, and logs without entries."""
    for source, (file, day) in files.items():
        frame = store.session.createDataFrame([(file, day)], ddl_of(EXTRACT_SCHEMA))
        store.overwrite(frame, *extracts_of(source), EXTRACT_SCHEMA)
    newest = newest_extracts(store.session, {place: files[place[0]][1] for place in providers})
    store.overwrite(newest, *NEWEST_EXTRACTS, NEWEST_SCHEMA)
    store.overwrite(store.session.createDataFrame([], ddl_of(TOUCHED_SCHEMA)), *TOUCHED, TOUCHED_SCHEMA)
    store.overwrite(store.session.createDataFrame([], ddl_of(PEOPLE)), Zone.CURATION, "person", PEOPLE)
