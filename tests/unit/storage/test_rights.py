"""Rights of what a run makes, for every umask of the account."""

import os
import stat
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from pipelines.diagnosis import State, findings
from pipelines.errors import RightsError
from pipelines.nightly import _writing
from pipelines.settings import PACKAGED_CONF_DIR, load_settings
from pipelines.storage.documents import Document
from pipelines.storage.rights import make_private, others_may_read, others_may_write, private_files, share

NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can become another user")


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o002, 0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """An account with this umask."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_a_new_root_is_for_its_owner_only(tmp_path: Path, umask: int) -> None:
    make_private(tmp_path / "a" / "restricted")
    assert rights(tmp_path / "a" / "restricted") == 0o700
    make_private(tmp_path / "a" / "restricted")


@pytest.mark.parametrize("mode", [0o755, 0o750, 0o770, 0o777, 0o701, 0o704, 0o702, 0o710, 0o720, 0o740, 0o1777], ids=oct)
def test_a_root_on_which_others_have_any_right_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(RightsError, match=rf"chmod -R go= {tmp_path}") as refused:
        make_private(tmp_path)
    assert refused.value.exit_code == 31
    assert rights(tmp_path) == mode


@pytest.mark.parametrize("mode", [0o700, 0o1700])
def test_a_private_root_is_taken(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    make_private(tmp_path)


@needs_root
@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_a_root_of_another_account_is_refused_to_root_too(tmp_path: Path, mode: int) -> None:
    """Root may enter everything, and would read and leave files in what is another account's."""
    tmp_path.chmod(mode)
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(RightsError, match="belongs to another account"):
        make_private(tmp_path)


def test_a_root_is_taken_where_the_platform_shows_a_fixed_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is made there belongs to that owner too: a mounted volume, on which the platform decides."""
    monkeypatch.setattr(os, "geteuid", lambda: NOBODY)
    make_private(tmp_path)


def test_an_own_root_that_cannot_be_written_to_is_not_said_to_be_of_another_account(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o700)
    monkeypatch.setattr(os, "access", lambda place, _: Path(place) != tmp_path)  # root may write whatever the mode
    with pytest.raises(RightsError, match=f"^{tmp_path} cannot be written to: mount it for writing, or chmod u\\+rwx"):
        make_private(tmp_path)


def test_a_deidentified_root_that_cannot_be_written_to_stops_a_run_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that is mounted to be read only, of which the engine says nothing that may be shown. `doctor` says the same."""
    places = {name: tmp_path / name for name in ("landing", "restricted", "deidentified")}
    settings = load_settings("test", PACKAGED_CONF_DIR, [f"storage.{name}={place}" for name, place in places.items()])
    places["deidentified"].mkdir()
    monkeypatch.setattr(os, "access", lambda place, _: Path(place) != places["deidentified"])
    said = f"{places['deidentified']} cannot be written to: mount it for writing"
    with pytest.raises(RightsError, match=f"^{said}"), _writing(settings):
        pytest.fail("the run went on")
    found = {finding.what: finding for finding in findings(settings, date(2026, 1, 5))}["deidentified"]
    assert (found.state, found.found.startswith(said)) == (State.FAULT, True)


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RightsError, match="file"):
        make_private(tmp_path / "file" / "restricted")


def test_what_is_made_within_is_private_and_the_umask_comes_back(tmp_path: Path, umask: int) -> None:
    with private_files():
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder" / "file").touch()
    assert (rights(tmp_path / "folder"), rights(tmp_path / "folder" / "file")) == (0o700, 0o600)
    (tmp_path / "later").touch()
    assert rights(tmp_path / "later") == 0o666 & ~umask


@pytest.mark.parametrize(
    ("root", "folder", "file"),
    [
        (0o755, 0o755, 0o644),
        (0o750, 0o750, 0o640),
        (0o700, 0o700, 0o600),
        (0o775, 0o755, 0o644),
        (0o711, 0o711, 0o600),
        (0o701, 0o701, 0o600),
    ],
    ids=oct,
)
def test_who_may_enter_the_root_may_read_what_is_in_it(tmp_path: Path, root: int, folder: int, file: int) -> None:
    outside = tmp_path / "outside"
    outside.touch(mode=0o600)
    shared = tmp_path / "deidentified"
    with private_files():
        (shared / "omop" / "person" / "_delta_log").mkdir(parents=True)
        (shared / "omop" / "person" / "_delta_log" / "0.json").touch()
        (shared / "omop" / "open").touch()
    (shared / "omop" / "open").chmod(0o666)
    (shared / "link").symlink_to(outside)
    (shared / "lost").symlink_to(tmp_path / "nowhere")
    shared.chmod(root)
    share(shared, tmp_path / "restricted")
    assert rights(shared / "omop" / "person" / "_delta_log") == folder
    assert rights(shared / "omop" / "person" / "_delta_log" / "0.json") == file
    assert rights(shared / "omop" / "open") == file | 0o022
    assert rights(outside) == 0o600


@pytest.mark.parametrize("place", ["deidentified/restricted", "link/restricted", "x/../deidentified/restricted", "."])
def test_what_holds_identity_is_never_shared(tmp_path: Path, place: str) -> None:
    """Whatever the configuration said: a link may have been changed since."""
    shared = tmp_path / "deidentified"
    (shared / "restricted" / "bronze").mkdir(parents=True)
    (tmp_path / "link").symlink_to(shared)
    (shared / "restricted").chmod(0o700)
    shared.chmod(0o755)
    with pytest.raises(RightsError, match="which others may read"):
        share(shared, tmp_path / place)
    assert rights(shared / "restricted") == 0o700


@pytest.mark.parametrize(
    ("mode", "others", "writes"),
    [
        *((mode, True, False) for mode in (0o755, 0o705)),
        *((mode, True, True) for mode in (0o703, 0o702, 0o777, 0o1777)),
        *((mode, False, False) for mode in (0o750, 0o700, 0o770)),
    ],
)
def test_rights_of_strangers_are_seen(tmp_path: Path, mode: int, others: bool, writes: bool) -> None:
    landing, restricted = tmp_path / "landing", tmp_path / "restricted"
    landing.mkdir()
    landing.chmod(mode)
    make_private(restricted)
    assert (others_may_read(landing, restricted), others_may_write(landing, restricted)) == (others, writes)
    assert not others_may_read(tmp_path / "nowhere", restricted)
    restricted.chmod(0o777)  # as on a mounted volume, where every folder has this mode
    assert not others_may_read(landing, restricted)
    assert not others_may_write(landing, restricted)


@pytest.mark.parametrize(("mode", "warnings"), [(0o755, 0), (0o777, 1)])
def test_a_run_warns_where_every_user_may_change_what_analysts_read(
    tmp_path: Path, mode: int, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "deidentified").mkdir()
    (tmp_path / "deidentified").chmod(mode)
    places = [f"storage.{name}={tmp_path / name}" for name in ("landing", "restricted", "deidentified")]
    with _writing(load_settings("test", PACKAGED_CONF_DIR, places)):
        pass
    said = f"other users may change what analysts read; run: chmod -R o-w {tmp_path / 'deidentified'}"
    assert [record.getMessage() for record in caplog.records] == [said] * warnings


class Note(Document):
    """A document for the restricted root."""

    text: str


@needs_root
def test_another_user_reads_and_lists_nothing(tmp_path: Path) -> None:
    for parent in (tmp_path, *tmp_path.parents[:3]):
        parent.chmod(0o755)
    root = tmp_path / "restricted"
    make_private(root)
    Note(text="x").write(root / "state.json")
    open_to_all = tmp_path / "open.json"
    open_to_all.write_text("y")
    open_to_all.chmod(0o644)
    read = subprocess.run(
        ["cat", open_to_all], user=NOBODY, group=NOBODY, extra_groups=[], check=True, capture_output=True, text=True
    )
    assert read.stdout == "y"  # so it is the mode that stops this user, and not the place
    for command in (["ls", str(root)], ["cat", str(root / "state.json")]):
        tried = subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], check=False, capture_output=True, text=True)
        assert tried.returncode != 0
        assert (tried.stdout, "Permission denied" in tried.stderr) == ("", True)
