"""A run gives the same tables whether its deliveries are in a folder or in an object store, on a real S3 server."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from jobs.cli import main
from pipelines.nightly import nightly
from pipelines.settings import Settings
from pipelines.synthetic.demo_key import demo_key_file
from pipelines.synthetic.generate import FIRST_NIGHT, generate
from pipelines.terminology.vocabulary import load
from tests.builders.object_store import ObjectStore, object_store
from tests.builders.runs import settings_in
from tests.e2e.world import DemoWorld

pytestmark = pytest.mark.embedded

PEOPLE, SEED = 24, 3


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    """A store of this module."""
    with object_store() as running:
        yield running


def test_every_table_is_the_same(store: ObjectStore, tmp_path: Path, sail: object) -> None:
    import time
    t=time.time()
    generate(PEOPLE, SEED, 1, tmp_path / "made")
    print("gen", time.time()-t); t=time.time()
    bucket = store.bucket("same-tables")
    store.copy(tmp_path / "made" / "landing", bucket / "landing")
    print("copy", time.time()-t); t=time.time()
    for name, landing in (("folder", tmp_path / "made" / "landing"), ("store", bucket / "landing")):
        settings = settings_in(tmp_path / name, f"storage.landing={landing}", f"key.path={tmp_path / name / 'restricted' / 'demo.key'}")
        demo_key_file(tmp_path / name / "restricted" / "demo.key")
        load(settings)
        print("load", time.time()-t); t=time.time()
        print(nightly(settings, FIRST_NIGHT))
        print(name, time.time()-t); t=time.time()
