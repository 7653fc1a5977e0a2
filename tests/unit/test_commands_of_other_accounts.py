"""What a command says that reads the restricted root, where its account may not."""

import os
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from jobs import accept, check, deliveries, doctor, gate, plan, report, runs, status, verify, vocab, withdraw
from pipelines.errors import RightsError
from pipelines.storage.rights import require_readable

COMMANDS: dict[str, tuple[ModuleType, tuple[str, ...]]] = {
    "accept": (accept, ("gp/P81001/20260105",)),
    "check": (check, ("landing/gp/P81001/20260105",)),
    "deliveries": (deliveries, ()),
    "doctor": (doctor, ()),
    "gate": (gate, ()),
    "plan": (plan, ()),
    "report": (report, ()),
    "runs": (runs, ()),
    "status": (status, ()),
    "verify": (verify, ()),
    "vocab diff": (vocab, ("diff", "loaded", "athena")),
    "vocab unmapped": (vocab, ("unmapped",)),
    "withdraw": (withdraw, ("gp/P81001/20260105",)),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_next_step_is_said(name: str, tmp_path: Path) -> None:
    """Root may enter every folder, but not a file."""
    restricted = tmp_path / "restricted"
    restricted.touch(mode=0o600)
    module, arguments = COMMANDS[name]
    places = [f"--set=storage.{place}={tmp_path / place}" for place in ("landing", "restricted", "deidentified")]
    error = CliRunner().invoke(module.app, [*arguments, "--env", "test", *places]).exception
    assert isinstance(error, RightsError)
    assert str(error) == (
        f"{restricted} cannot be read by this account; ask for the rights, or run this command as the account that runs "
        "the load"
    )


def test_another_account_may_not_read_a_private_folder_nor_below_one(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another account")
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    require_readable(private)
    require_readable(tmp_path / "none")
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        refused = 0
        for place in (private, private / "restricted"):
            try:
                require_readable(place)
            except RightsError:
                refused += 1
        os._exit(refused)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
