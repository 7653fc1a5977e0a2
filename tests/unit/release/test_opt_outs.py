"""Releases that show people who are left out now: what curate decided last decides, not the days of lists."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from pipelines.release.model import TablePin
from pipelines.release.opt_outs import shown_though_left_out
from pipelines.release.published import release_folder
from pipelines.settings import Settings, load_settings
from tests.builders.publications import RELEASE

OLD = RELEASE.model_copy(
    update={
        "tables": (
            TablePin(zone="omop", name="observation", version=0, rows=4),
            TablePin(zone="omop", name="person", version=0, rows=9),
            TablePin(zone="vocabulary", name="concept", version=0, rows=0),
        ),
    }
)
NEW = RELEASE.model_copy(update={"release_id": "20240106-bbbbbbbb", "run_id": "r2"})
RECORDS = {"a": 1, "b": 2, "c": 3, "c2": 3}
"""The records that the old release shows, and of which of its nine people they are."""

NOT_LEFT_OUT: Mapping[int, str | None] = dict.fromkeys(range(1, 10))
FEW = f"release {OLD.release_id} shows fewer than 8 people who have opted out since, wholly or in part, or are no longer known"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings("demo", overrides=[f"storage.{n}={tmp_path / n}" for n in ("deidentified", "restricted")])
    folder = release_folder(settings)
    for release in (OLD, NEW):
        folder.write(release)
        folder.point_at(release.release_id, action="release", at="t")
    write(tmp_path / "deidentified" / "omop" / "person", {"person_id": [*range(1, 10)]})
    write(tmp_path / "restricted" / "ledger" / "rows", {"run_id": [OLD.run_id, NEW.run_id]})
    observations: dict[str, Sequence[object]] = {"person_id": [*RECORDS.values()], "_row_key": [*RECORDS]}
    write(tmp_path / "deidentified" / "omop" / "observation", observations)
    return settings


def write(folder: Path, columns: Mapping[str, Sequence[object]]) -> None:
    """A Delta table of a few rows."""
    kinds = {"person_id": pa.int64()}
    write_deltalake(str(folder), pa.table({name: pa.array(v, kinds.get(name, pa.string())) for name, v in columns.items()}))


def decided(settings: Settings, people: Mapping[int, str | None], records: Mapping[str, str]) -> None:
    """What curate decided last: the opt-out of each person, and what became of records."""
    curation = Path(str(settings.storage.restricted)) / "curation"
    write(curation / "person", {"person_id": [*people], "opt_out": [*people.values()]})
    for source, keys in {"gp_1": [*records][::2], "acute_0": [*records][1::2]}.items():
        rows = {"row_key": keys, "disposition": [records[key] for key in keys]}
        write(curation / f"dispositions_{source}", rows)


@pytest.mark.parametrize(
    ("people", "records", "said"),
    [
        (NOT_LEFT_OUT, dict.fromkeys(RECORDS, "current"), None),
        (NOT_LEFT_OUT, {}, None),
        ({**NOT_LEFT_OUT, 4: "local"}, dict.fromkeys(RECORDS, "current"), FEW),
        ({**NOT_LEFT_OUT, 4: "confidential"}, {}, FEW),
        (NOT_LEFT_OUT, {"a": "current", "b": "opted_out"}, FEW),  # by a Type 1 code, or marked alone
        (NOT_LEFT_OUT, {"b": "opted_out", "a": "current"}, FEW),
        (NOT_LEFT_OUT, {"a": "deleted_at_source", "b": "superseded", "c": "quarantined"}, None),
        (NOT_LEFT_OUT, {"not shown": "opted_out"}, None),
        ({**NOT_LEFT_OUT, 10: "national"}, {}, None),
        ({n: None for n in NOT_LEFT_OUT if n != 7}, {}, FEW),  # everything of theirs was deleted
        (
            {n: "national" for n in NOT_LEFT_OUT if n != 9},
            {"c": "opted_out", "c2": "opted_out"},
            FEW.replace("fewer than 8", "9"),
        ),
    ],
)
def test_an_earlier_release_is_compared_with_who_may_be_shown_now(
    settings: Settings, people: Mapping[int, str | None], records: Mapping[str, str], said: str | None
) -> None:
    decided(settings, people, records)
    assert shown_though_left_out(settings, OLD) == said
    assert shown_though_left_out(settings, NEW) is None


def test_where_what_was_decided_cannot_be_read_nobody_can_tell(settings: Settings) -> None:
    said = f"nobody can tell here whether release {OLD.release_id} shows people who have opted out since"
    assert shown_though_left_out(settings, OLD) == said
    assert shown_though_left_out(settings, NEW) is None


def test_what_a_restricted_root_decided_before_the_last_release_is_not_compared(settings: Settings) -> None:
    """As after a restore of that root alone: nobody had opted out in the backup."""
    decided(settings, NOT_LEFT_OUT, {})
    folder = Path(str(settings.storage.restricted)) / "ledger" / "rows"
    write_deltalake(str(folder), pa.table({"run_id": [OLD.run_id]}), mode="overwrite")
    said = shown_though_left_out(settings, OLD)
    assert said is not None
    assert said.startswith(
        f"the restricted root is older than release {NEW.release_id}, whose run r2 it does not know, so that nobody can"
    )
    assert shown_though_left_out(settings, NEW) is None
