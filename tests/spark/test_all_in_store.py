"""Tables by name in catalogs, deliveries and documents in an object store: Apache Spark leaves what Sail leaves in folders.

By its name the first test of its folder that starts a JVM: programs that Spark starts have the variables with which its JVM
began, and these name the store.
"""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from upath import UPath

from jobs.publish import Target, publish_to
from pipelines.engine import open_session
from pipelines.nightly import nightly
from pipelines.quality.gates import Verdict
from pipelines.release.published import chosen_release, gates_of, ledger_of
from pipelines.settings import Settings, load_settings
from pipelines.storage.files import entries_in, write_whole
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.synthetic.generate import FIRST_NIGHT, generate
from pipelines.terminology.vocabulary import load
from tests.builders.object_store import object_store
from tests.builders.policies import limit
from tests.conftest import Engines
from tests.spark.test_catalog import all_rows, tables, unlike
from tests.spark.test_nights_on_spark import on_spark

pytestmark = [pytest.mark.deep, pytest.mark.timeout(3600)]

PEOPLE, SEED, NIGHTS = 20, 7, 1
CATALOG = {"identifiable": "spark_catalog", "deidentified": "spark_catalog", "schema_prefix": "sde_"}
"""Apache Spark has one catalog that knows Delta tables, so that both kinds of zones are in it here."""


def settings_of(folder: Path, *more: str) -> Settings:
    places = [f"storage.{name}={folder / name}" for name in ("restricted", "deidentified")]
    shared = [f"storage.landing={folder.parent / 'landing'}", f"key.path={folder.parent / 'demo.key'}"]
    wide = ["run.sources=[ambulance]", "opt_outs.national_share.least=0", limit("orphan_share", 1)]
    return load_settings("demo", overrides=[*places, *shared, *wide, *more])


@pytest.fixture
def bucket() -> Iterator[UPath]:
    """A bucket for deliveries and documents."""
    with object_store() as store:
        yield store.bucket("of-a-lake")


def test_a_lake_in_catalogs_with_its_files_in_a_store_is_a_lake_in_folders(
    java: None, engines: Engines, tmp_path: Path, bucket: UPath
) -> None:
    engines.close()
    generate(PEOPLE, SEED, NIGHTS, tmp_path)
    for file in sorted(path for path in (tmp_path / "landing").rglob("*") if path.is_file()):
        write_whole(bucket / file.relative_to(tmp_path).as_posix(), file.read_bytes())
    demo_key_file(tmp_path / "demo.key")
    in_folders = settings_of(tmp_path / "folders")
    nights = [FIRST_NIGHT + timedelta(night) for night in range(NIGHTS)]
    load(in_folders)
    for night in nights:
        nightly(in_folders, night)
    with open_session(in_folders.engine) as session:
        expected = dict(all_rows(session, in_folders, tables(in_folders)))

    places = [f"storage.landing={bucket / 'landing'}", f"storage.deidentified={bucket / 'documents'}"]
    in_catalogs = settings_of(tmp_path / "catalogs", f"storage.catalog={json.dumps(CATALOG)}", *on_spark(), *places)
    with open_session(in_catalogs.engine, little=True) as session:
        load(in_catalogs)
        for night in nights:
            nightly(in_catalogs, night)
        assert unlike(all_rows(session, in_catalogs, tables(in_catalogs)), expected) == {}
        assert not [*(tmp_path / "catalogs").rglob("_delta_log")]
        assert not (tmp_path / "catalogs" / "deidentified").exists()
        assert [entry.name for entry in entries_in(bucket / "documents")] == ["releases", "vocabulary"]
        release = chosen_release(in_catalogs)
        assert [gate for gate in gates_of(in_catalogs, release.run_id) if gate.verdict is Verdict.FAILED] == []
        assert len(gates_of(in_catalogs, release.run_id)) > 1000
        assert ledger_of(in_catalogs, release.run_id)
        published = publish_to(in_catalogs, Target("catalog", "spark_catalog.analysts"))
        assert (
            session.table("spark_catalog.analysts.person").count() == published["person"] == release.pin("omop", "person").rows
        )
        described = session.sql("DESCRIBE TABLE EXTENDED spark_catalog.sde_omop.person").collect()
        assert {row["col_name"]: row["data_type"] for row in described}["Comment"].startswith("one row per")
