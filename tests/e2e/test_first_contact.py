"""`doctor` on a lakehouse that is as it should be, and ids that a narrow pipe does not cut."""

from collections.abc import Callable

import pytest

from tests.e2e.test_runs import ended
from tests.e2e.world import LAST_NIGHT, DemoWorld


@pytest.fixture
def shown(world: DemoWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command writes to a pipe of 40 columns."""
    monkeypatch.setenv("COLUMNS", "40")

    def shown(*arguments: str) -> str:
        code = ended(world, *arguments)
        said = capsys.readouterr()
        assert code == 0, said.err
        return said.out

    return shown


def test_the_demo_is_as_it_should_be(world: DemoWorld, shown: Callable[..., str]) -> None:
    found = shown("doctor", "--date", LAST_NIGHT.isoformat(), "--engine")
    lines = [[cell.strip() for cell in line.split("│")[1:4]] for line in found.splitlines() if line.startswith("│")]
    assert "fault" not in {state for state, _, _ in lines}
    said = {what: text for _, what, text in lines}
    assert said["vocabulary"] == "v5.0 30-AUG-24 (demo)"
    assert said["national opt-outs"].endswith("days old")
    assert "nothing is made with it yet" not in said["key"]
    assert said["restricted"] == f"{world.folder / 'restricted'}, for this account only"
    assert said["engine"] == "starts"


def test_no_id_is_cut_in_a_narrow_pipe(world: DemoWorld, shown: Callable[..., str]) -> None:
    release = world.outcomes[-1].release_id
    for arguments in (["status"], ["runs"], ["releases", "list"]):
        assert release in shown(*arguments), arguments
    assert str(world.folder / "landing") in shown("doctor", "--date", LAST_NIGHT.isoformat())
    deliveries = shown("deliveries")
    assert all(
        folder.parent.name in deliveries and folder.name in deliveries for folder in (world.folder / "landing/gp").glob("*/*")
    )
