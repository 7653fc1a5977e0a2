import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from jobs import cli, command
from jobs.command import UNEXPECTED_EXIT_CODE, new_app, start
from jobs.console import Console
from pipelines import __version__
from pipelines.errors import OptOutStaleError

PROJECT = Path(__file__).resolve().parents[2]


def nhs_omop(*arguments: str) -> subprocess.CompletedProcess[str]:
    process = [sys.executable, "-m", "jobs.cli", *arguments]
    return subprocess.run(process, capture_output=True, text=True, cwd=PROJECT, timeout=60, check=False)


def exit_code_of(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> tuple[int | str | None, str]:
    err = StringIO()
    monkeypatch.setattr(command, "console", Console(err=err))
    app = new_app()

    @app.command()
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        start(app, [])
    return caught.value.code, err.getvalue()


def test_help_lists_every_command_with_its_summary() -> None:
    done = nhs_omop("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in cli.command_modules())


@pytest.mark.parametrize("module", cli.command_modules().values())
def test_command_has_a_summary(module: str) -> None:
    assert cli.summary_of(module).endswith(".")


@pytest.mark.parametrize("module", cli.command_modules().values())
def test_command_can_be_started_as_a_script(module: str) -> None:
    source = (PROJECT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    assert source.index("if not __package__:") < source.index("\nfrom jobs."), "the project's folder must come first"
    assert source.endswith('if __name__ == "__main__":\n    start(app)\n')


@pytest.mark.parametrize("process", [["-m", "jobs.cli", "key"], ["-m", "jobs.key"], ["jobs/key.py"]], ids=" ".join)
def test_command_runs_as_subcommand_module_and_script(process: list[str]) -> None:
    environment = {**os.environ, "PYTHONPATH": ""}
    done = subprocess.run(
        [sys.executable, *process, "--help"],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "fingerprint" in done.stdout


def test_version_is_shown() -> None:
    assert nhs_omop("--version").stdout.strip() == f"nhs-omop {__version__}"


def test_unknown_command_is_refused() -> None:
    done = nhs_omop("publsh")
    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_known_error_is_a_message_and_its_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    code, shown = exit_code_of(OptOutStaleError("the list is 22 days old"), monkeypatch)
    assert (code, shown.strip()) == (15, "the list is 22 days old")


def test_unexpected_error_shows_its_place_and_never_its_message(monkeypatch: pytest.MonkeyPatch) -> None:
    code, shown = exit_code_of(ValueError("cannot cast 'Zoe Smith'"), monkeypatch)
    assert code == UNEXPECTED_EXIT_CODE
    assert "ValueError" in shown
    assert "test_command_line.py" in shown
    assert "Smith" not in shown


def test_interrupt_has_the_customary_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    assert exit_code_of(KeyboardInterrupt(), monkeypatch)[0] == 130


def test_new_key_then_check(tmp_path: Path) -> None:
    made = nhs_omop("key", "new", "--out", str(tmp_path / "k"), "--json")
    checked = nhs_omop("key", "check", "--set", f"key={{kind: file, path: {tmp_path / 'k'}}}", "--json")
    assert json.loads(made.stderr)["fingerprint"] == json.loads(checked.stdout)["fingerprint"]
    assert (tmp_path / "k").read_text().strip() not in made.stderr + made.stdout


def test_missing_key_has_its_exit_code(tmp_path: Path) -> None:
    done = nhs_omop("key", "check", "--set", f"key={{kind: file, path: {tmp_path / 'none'}}}")
    assert done.returncode == 17
    assert "nhs-omop key new" in done.stderr


def test_console_writes_messages_as_json_lines_to_stderr() -> None:
    err = StringIO()
    console = Console(json_lines=True, err=err)
    console.warning("list is old", days=20)
    with console.stage("curate", total=1) as stage:
        stage.advance("gp_patient")
    lines = [json.loads(line) for line in err.getvalue().splitlines()]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("warning", "list is old"),
        ("info", "curate: started"),
        ("info", "curate: done"),
    ]
    assert lines[0]["days"] == 20


def test_console_writes_results_to_stdout() -> None:
    rows = [{"table": "person", "rows": 1234, "released": True}, {"table": "[death]", "rows": None}]
    people, machines = StringIO(), StringIO()
    Console(out=people).table("tables", rows)
    Console(json_lines=True, out=machines).table("tables", rows)
    assert "1,234" in people.getvalue()
    assert "[death]" in people.getvalue()
    assert [json.loads(line)["rows"] for line in machines.getvalue().splitlines()] == [1234, None]


def test_ids_and_rows_of_a_query_are_shown_as_they_are_under_a_title_that_is_not_cut() -> None:
    counted, stored = StringIO(), StringIO()
    Console(out=counted).table("a title longer than the table", [{"concept_id": 4152194, "rows": 1234}])
    Console(out=stored).table("release", [{"year": 1940}], grouped=False)
    assert "a title longer than the table" in counted.getvalue()
    assert "4152194" in counted.getvalue()
    assert "1,234" in counted.getvalue()
    assert "1940" in stored.getvalue()


def test_mappings_are_copied_once(tmp_path: Path) -> None:
    own = tmp_path / "mappings"
    assert nhs_omop("copy-mappings", str(own)).returncode == 0
    packaged = {path.relative_to(PROJECT / "mappings") for path in (PROJECT / "mappings").rglob("*.*")}
    assert {path.relative_to(own) for path in own.rglob("*.*")} == packaged
    (own / "gp" / "contract.yaml").write_text("changed")
    again = nhs_omop("copy-mappings", str(own))
    assert (again.returncode, (own / "gp" / "contract.yaml").read_text()) == (10, "changed")
