import json
import stat
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ReleaseError
from pipelines.release.model import (
    Code,
    Extract,
    Gates,
    Release,
    TablePin,
    fingerprint_of,
    release_id_of,
)
from pipelines.release.report.markdown import markdown
from pipelines.release.report.sections import Section
from pipelines.release.store import POINTER, Hold, Move, Pointer, ReleaseFolder

RELEASE = Release(
    release_id="20240105-0123abcd",
    run_id="r1",
    run_date=date(2024, 1, 5),
    cdm_version="5.4",
    vocabulary_version="demo",
    code=Code(version="0.1.0", commit="abc"),
    configuration="c" * 64,
    key_id="k1",
    extracts=(Extract(source="gp", provider="P1", extract_date=date(2024, 1, 4)),),
    opt_outs={"national": date(2024, 1, 3), "local": date(2024, 1, 1)},
    input_fingerprint="0123abcd" * 8,
    gates=Gates(checks=10, failed=0, warnings=1),
    tables=(
        TablePin(zone="omop", name="death", version=1, rows=0),
        TablePin(zone="omop", name="person", version=3, rows=10),
    ),
)


def other(release_id: str) -> Release:
    """A release that differs by its id only."""
    return RELEASE.model_copy(update={"release_id": release_id})


def test_a_release_read_from_its_document_is_equal_and_everyone_may_read_it(tmp_path: Path) -> None:
    folder = ReleaseFolder(tmp_path / "releases")
    folder.write(RELEASE)
    assert folder.read(RELEASE.release_id) == RELEASE
    assert stat.S_IMODE((folder.root / f"{RELEASE.release_id}.json").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run_id": None}, "cannot be read; restore it from a backup"),
        ({"unheard_of": 1}, "cannot be read; restore it from a backup"),
        ({"form": 2}, "was written in form 2, this version reads form 1"),
    ],
)
def test_a_document_that_is_not_a_release_of_this_form_is_refused(
    folder: ReleaseFolder, change: dict[str, object], said: str
) -> None:
    path = folder.root / "20240105-a.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | change), encoding="utf-8")
    with pytest.raises(ReleaseError, match=rf"20240105-a\.json: {said}"):
        folder.read("20240105-a")


def test_pins_are_found_by_zone_and_name() -> None:
    assert RELEASE.pin("omop", "person").version == 3
    with pytest.raises(ReleaseError, match=r"no table omop\.visit_occurrence"):
        RELEASE.pin("omop", "visit_occurrence")


def test_the_id_is_made_of_run_date_and_inputs() -> None:
    fingerprint = fingerprint_of({"deliveries": ["a", "b"], "run_date": date(2024, 1, 5)})
    assert fingerprint == fingerprint_of({"run_date": date(2024, 1, 5), "deliveries": ["a", "b"]})
    assert fingerprint != fingerprint_of({"run_date": date(2024, 1, 5), "deliveries": ["b", "a"]})
    assert release_id_of(date(2024, 1, 5), fingerprint) == f"20240105-{fingerprint[:8]}"


@pytest.fixture
def folder(tmp_path: Path) -> ReleaseFolder:
    folder = ReleaseFolder(tmp_path / "releases")
    for release_id in ("20240105-a", "20240106-b"):
        folder.write(other(release_id))
        folder.point_at(release_id, action="publish", at="2024-01-06T01:00:00+00:00")
    return folder


def test_an_empty_folder_has_no_release(tmp_path: Path) -> None:
    folder = ReleaseFolder(tmp_path / "nowhere")
    assert (folder.ids(), folder.current(), folder.moves()) == ([], None, ())
    with pytest.raises(ReleaseError, match="releases: none"):
        folder.read("20240105-a")


def test_the_pointer_names_the_last_one_and_keeps_its_moves(folder: ReleaseFolder) -> None:
    folder.point_at("20240105-a", action="rollback", at="2024-01-06T02:00:00+00:00", reason="wrong map")
    assert folder.current() == "20240105-a"
    assert [(move.release_id, move.action) for move in folder.moves()] == [
        ("20240105-a", "publish"),
        ("20240106-b", "publish"),
        ("20240105-a", "rollback"),
    ]


def test_a_rollback_holds_until_it_is_lifted(folder: ReleaseFolder) -> None:
    assert folder.held_rollback() is None
    with pytest.raises(ReleaseError, match="no rollback holds"):
        folder.lift_rollback(at="now", reason="r")
    folder.point_at("20240105-a", action="rollback", at="t1", reason="wrong map")
    held = folder.held_rollback()
    assert held is not None
    assert (held.release_id, held.at, held.reason) == ("20240105-a", "t1", "wrong map")
    assert folder.lift_rollback(at="t2", reason="map corrected") == held
    assert (folder.held_rollback(), folder.current()) == (None, "20240105-a")
    assert [(move.action, move.reason) for move in folder.moves()[2:]] == [("rollback", "wrong map"), ("lift", "map corrected")]
    folder.point_at("20240106-b", action="release", at="t3")
    assert (folder.held_rollback(), folder.current()) == (None, "20240106-b")


def test_pointing_at_the_current_release_again_changes_nothing(folder: ReleaseFolder) -> None:
    before = (folder.root / POINTER).read_bytes()
    folder.point_at("20240106-b", action="publish", at="later")
    assert (folder.root / POINTER).read_bytes() == before


def test_the_pointer_never_names_a_release_that_is_not_there(folder: ReleaseFolder) -> None:
    with pytest.raises(ReleaseError):
        folder.point_at("20240107-c", action="publish", at="now")
    assert folder.current() == "20240106-b"


def test_a_release_is_immutable(folder: ReleaseFolder) -> None:
    folder.write(other("20240105-a").model_copy(update={"run_id": "changed"}))
    assert folder.read("20240105-a").run_id == "r1"


def test_other_tables_under_the_id_of_a_release_get_a_number(folder: ReleaseFolder) -> None:
    """Whatever was made again on a day of the same inputs; written once more it stays what it was, as after a kill."""
    numbered = {}
    for version in (4, 5, 4):
        pins = (RELEASE.tables[0], RELEASE.tables[1].model_copy(update={"version": version}))
        again = other("20240105-a").model_copy(update={"run_id": f"20240105-0000{version}", "tables": pins})
        numbered[version] = folder.write(again).release_id
        assert folder.read(numbered[version]) == again.model_copy(update={"release_id": numbered[version]})
    assert numbered == {4: "20240105-a-2", 5: "20240105-a-3"}
    assert folder.write(other("20240105-a")).release_id == "20240105-a"
    folder.remove(["20240105-a", "20240105-a-2"], at="t", reason="r", day=date(2024, 1, 6))
    assert folder.write(other("20240105-a")).release_id == "20240105-a-4", "an id that is gone is used again"


ONE_DAY = {"20240107-c": 1, "20240107-a": 2, "20240107-d": 3, "20240107-b": 4}
"""Releases of one day, whose ids say nothing of their order, with the numbers of the runs that made them."""


@pytest.mark.parametrize(
    ("moves", "before"),
    [
        ("release c, release a, release d, release b", {"b": "d", "d": "a", "a": "c", "c": None}),
        # A release that runs only made while a rollback held is the one after that which was made before it.
        ("release c, release a, rollback c", {"c": None, "a": "c", "d": "a", "b": "d"}),
        # Readers saw c before b, not d, which was made before it; going back from c goes further.
        ("release a, release c, release d, rollback c, lift c, release b", {"b": "c", "d": "c", "c": "a"}),
        ("release c, release a, rollback c, lift c, release a", {"a": "c", "c": None}),
        ("release a, release x, release b", {"b": "a"}),  # x has been removed
    ],
)
def test_the_release_before_is_the_one_that_readers_saw_before(
    tmp_path: Path, moves: str, before: dict[str, str | None]
) -> None:
    folder = ReleaseFolder(tmp_path / "releases")
    for release_id, run in ONE_DAY.items():
        folder.write(other(release_id).model_copy(update={"run_id": f"20240107-{run:05}"}))
    assert [release.release_id for release in folder.oldest_first()] == list(ONE_DAY)
    made = [move.split() for move in moves.split(", ")]
    Pointer(moves=tuple(Move(release_id=f"20240107-{letter}", action=action, at="t") for action, letter in made)).write(
        folder.root / POINTER
    )
    for letter, expected in before.items():
        if expected is None:
            with pytest.raises(ReleaseError, match=f"there is no release before 20240107-{letter}"):
                folder.before(f"20240107-{letter}")
        else:
            assert folder.before(f"20240107-{letter}") == f"20240107-{expected}", letter


def test_a_write_that_is_cut_short_leaves_the_old_pointer(folder: ReleaseFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        folder.point_at("20240105-a", action="rollback", at="now")
    assert folder.current() == "20240106-b"
    assert sorted(path.name for path in folder.root.iterdir()) == ["20240105-a.json", "20240106-b.json", POINTER]


def test_a_damaged_pointer_is_an_error_with_its_path(folder: ReleaseFolder) -> None:
    (folder.root / POINTER).write_text("{")
    with pytest.raises(ReleaseError, match="current: cannot be read"):
        folder.current()


def test_a_current_release_without_its_document_is_said(folder: ReleaseFolder) -> None:
    current = folder.current()
    assert current is not None
    (folder.root / f"{current}.json").unlink()
    with pytest.raises(ReleaseError, match=f"the document of the current release {current} is gone: restore it from a backup"):
        folder.read(current)


def test_the_report_is_one_page_of_markdown() -> None:
    page = markdown(
        "Run r1",
        {"release": "20240105-a", "people": 1000},
        [
            Section("Rows", [{"source": "gp", "rows": 1200}, {"source": "a|b<i>&\x1b[1m", "rows": "*"}], note="A note."),
            Section("Faults", []),
        ],
    )
    assert page == (
        "# Run r1\n\n- release: 20240105-a\n- people: 1,000\n\n## Rows\n\nA note.\n\n"
        "| source | rows |\n| --- | ---: |\n| gp | 1,200 |\n| a\\|b&lt;i&gt;&amp;?[1m | \\* |\n\n## Faults\n\nNone.\n"
    )


def test_removed_releases_are_gone_and_the_current_one_stays(tmp_path: Path) -> None:
    folder = ReleaseFolder(tmp_path / "releases")
    ids = ["20240105-aaaaaaaa", "20240106-bbbbbbbb", "20240107-cccccccc"]
    for release_id in ids:
        folder.write(other(release_id))
    folder.point_at(ids[1], action="release", at="2024-01-06")
    gone: dict[str, Any] = {"at": "2024-01-08T02:00:00+00:00", "reason": "a wrong map", "day": date(2024, 1, 8)}
    folder.remove([ids[0]], **gone)
    assert folder.ids() == ids[1:]
    with pytest.raises(ReleaseError, match="is the current one and stays"):
        folder.remove([ids[2], ids[1]], **gone)
    with pytest.raises(
        ReleaseError, match=rf"release {ids[0]} was removed at 2024-01-08T02:00:00\+00:00: a wrong map; releases: "
    ):
        folder.remove([ids[2], ids[0]], **gone)
    assert (folder.ids(), folder.current()) == (ids[1:], ids[1])
    assert [removed.release_id for removed in folder.removed()] == [ids[0]]


def hold(release_id: str, owner: str, until: date | None = None, at: str = "t1") -> Hold:
    return Hold(release_id=release_id, owner=owner, reason="it rests on it", at=at, until=until)


def test_each_owner_holds_a_release_until_the_last_day_or_until_that_is_lifted(folder: ReleaseFolder) -> None:
    held, last = "20240105-a", date(2024, 3, 31)
    folder.put_hold(hold(held, "study 12", last))
    folder.put_hold(hold(held, "study 40"))
    owners = {day: [found.owner for found in folder.held(day).get(held, ())] for day in (last, date(2024, 4, 1))}
    assert owners == {last: ["study 12", "study 40"], date(2024, 4, 1): ["study 40"]}
    folder.put_hold(hold(held, "study 12", date(2024, 6, 30), at="t2"))
    assert [(found.owner, found.until) for found in folder.held(last)[held]] == [
        ("study 40", None),
        ("study 12", date(2024, 6, 30)),
    ]
    folder.lift_hold(held, "study 40", at="t3", reason="published", day=last)
    assert [(found.owner, found.lifted_at, found.lifted_because) for found in folder.holds()] == [
        ("study 12", "t2", "replaced by another hold"),
        ("study 40", "t3", "published"),
        ("study 12", None, None),
    ]
    assert folder.held(date(2024, 7, 1)) == {}


@pytest.mark.parametrize(
    ("release_id", "owner", "said"),
    [
        ("20240105-a", "study 40", "does not hold release 20240105-a; it is held for study 12"),
        ("20240106-b", "study 12", "does not hold release 20240106-b; nobody holds it"),
    ],
)
def test_a_hold_that_there_is_not_cannot_be_lifted(folder: ReleaseFolder, release_id: str, owner: str, said: str) -> None:
    folder.put_hold(hold("20240105-a", "study 12"))
    with pytest.raises(ReleaseError, match=said):
        folder.lift_hold(release_id, owner, at="t2", reason="r", day=date(2024, 1, 7))


def test_a_release_that_is_held_is_not_removed_and_one_that_is_not_there_cannot_be_held(folder: ReleaseFolder) -> None:
    folder.put_hold(hold("20240105-a", "study 12", date(2024, 3, 31)))
    gone: dict[str, Any] = {"at": "t2", "reason": "r"}
    with pytest.raises(ReleaseError, match="20240105-a is held for study 12 and stays; nhs-omop releases hold --lift"):
        folder.remove(["20240105-a"], **gone, day=date(2024, 3, 31))
    with pytest.raises(ReleaseError, match="no such release"):
        folder.put_hold(hold("20240107-c", "study 12"))
    folder.remove(["20240105-a"], **gone, day=date(2024, 4, 1))
    assert folder.ids() == ["20240106-b"]
