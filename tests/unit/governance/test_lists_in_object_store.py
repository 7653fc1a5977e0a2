"""Opt-out lists in an object store are those of a folder, and what the store withholds stops the run."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from pipelines.errors import OptOutInvalidError, OptOutMissingError
from pipelines.governance.opt_out_lists import OptOutPolicy, read_opt_outs
from tests.builders.landing import opt_out_lists
from tests.builders.object_store import ObjectStore, object_store

DAY = date(2026, 1, 20)
POLICY = OptOutPolicy(max_age_days=21, least_national_share=0.0, most_national_share=1.0, max_shrinkage=0.2)
ANNA, BEN = "9990000018", "9990000026"


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    """A store of this module."""
    with object_store() as running:
        yield running


def test_lists_are_the_same_as_from_a_folder(store: ObjectStore, tmp_path: Path) -> None:
    opt_out_lists(tmp_path / "landing", "20260120", [ANNA], [ANNA, BEN])
    bucket = store.bucket("lists")
    store.copy(tmp_path / "landing", bucket / "landing")
    from_store = read_opt_outs(bucket / "landing", POLICY, DAY)
    assert from_store == read_opt_outs(tmp_path / "landing", POLICY, DAY)
    assert from_store.numbers_allowed == (ANNA,)


def test_lists_that_came_meanwhile_are_seen(store: ObjectStore, tmp_path: Path) -> None:
    landing = store.bucket("newer") / "landing"
    for day in (18, 19):
        opt_out_lists(tmp_path / "landing", f"202601{day}", [ANNA], [ANNA, BEN])
        store.copy(tmp_path / "landing", landing)
        assert {facts.as_at for facts in read_opt_outs(landing, POLICY, DAY).facts} == {date(2026, 1, day)}


def test_a_list_that_is_missing_or_withheld_stops_the_run(store: ObjectStore) -> None:
    landing = store.bucket("withheld") / "landing"
    with pytest.raises(OptOutMissingError, match="the national opt-out list is missing"):
        read_opt_outs(landing, POLICY, DAY)
    opt_out_lists(landing, "20260118", [ANNA], [ANNA, BEN])
    place = store.place("withheld/landing")
    with store.account_that_may("s3:ListBucket"):
        said = r"^optouts/national/20260118/manifest\.json: cannot be read: the account has no right to it"
        with pytest.raises(OptOutInvalidError, match=said):
            read_opt_outs(place, POLICY, DAY)
