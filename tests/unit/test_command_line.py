import json
import os
import re
import subprocess
import sys
import traceback
from importlib import import_module
from pathlib import Path

import pytest
import typer

from jobs import cli, command
from jobs.command import new_app, start
from pipelines import __version__
from pipelines.errors import UNEXPECTED_EXIT_CODE, OptOutStaleError

PROJECT = Path(__file__).resolve().parents[2]


def nhs_omop(*arguments: str) -> subprocess.CompletedProcess[str]:
    process = [sys.executable, "-m", "jobs.cli", *arguments]
    return subprocess.run(process, capture_output=True, text=True, cwd=PROJECT, timeout=60, check=False)


def ended(fail_with: BaseException | None, capsys: pytest.CaptureFixture[str]) -> tuple[BaseException | None, str]:
    """What a command raises that itself raises this error, or nothing; and what is shown."""
    app = new_app()

    @app.command()
    def command() -> None:
        if fail_with is not None:
            raise fail_with

    raised: BaseException | None = None
    try:
        start(app, [])
    except BaseException as error:
        raised = error
    return raised, capsys.readouterr().err


def exit_code_of(error: BaseException, capsys: pytest.CaptureFixture[str]) -> tuple[int | str | None, str]:
    raised, shown = ended(error, capsys)
    assert isinstance(raised, SystemExit)
    return raised.code, shown


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={**os.environ, **variables},
        timeout=60,
        check=False,
    )


def completed(words: str, word: int) -> list[str]:
    """What bash is given to complete a word of a command line."""
    variables = {"_NHS_OMOP_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(word)}
    return python("from jobs.cli import main; main()", **variables).stdout.split()


def test_help_lists_every_command_with_its_summary() -> None:
    done = nhs_omop("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_command_is_there_with_the_summary_of_its_module(name: str) -> None:
    module = import_module(cli.COMMANDS[name].module)
    assert isinstance(module.app, typer.Typer)
    assert (module.__doc__ or "").splitlines()[0] == cli.COMMANDS[name].summary


def test_every_module_with_an_app_is_a_command() -> None:
    modules = {
        f"jobs.{path.stem}"
        for path in (PROJECT / "jobs").glob("*.py")
        if re.search(r"^app = ", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {command.module for command in cli.COMMANDS.values()} == modules


HEAVY = ("pyspark", "pandas", "great_expectations", "duckdb", "deltalake", "pyarrow", "sqlalchemy")


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], ["run", "--help"], ["status", "--help"], ["deliveries", "--help"], ["key", "check", "--help"]],
    ids=" ".join,
)
def test_help_imports_no_engine(arguments: list[str]) -> None:
    code = f"import sys; from jobs.cli import main; main({arguments}); print('loaded', *sys.modules)"
    loaded = python(code).stdout.splitlines()[-1].split()
    assert loaded[0] == "loaded"
    assert not {*HEAVY} & {*loaded}


@pytest.mark.parametrize("module", ["query", "publish", "releases", "rollback"])
def test_commands_that_read_releases_do_without_spark(module: str) -> None:
    loaded = python(f"import sys, jobs.{module}; print(*sys.modules)").stdout.split()
    assert f"jobs.{module}" in loaded
    assert "pyspark" not in loaded


def test_help_imports_no_command() -> None:
    loaded = python("import sys; from jobs.cli import main; main(['--help']); print(*sys.modules)").stdout.split()
    assert not {command.module for command in cli.COMMANDS.values()} & {*loaded}


@pytest.mark.parametrize("process", [["-m", "jobs.cli", "key"], ["-m", "jobs.key"], ["jobs/submit.py", "key"]], ids=" ".join)
def test_command_runs_as_subcommand_module_and_by_the_launcher(process: list[str]) -> None:
    done = script(*process, "--help")
    assert done.returncode == 0, done.stderr
    assert "fingerprint" in done.stdout


def test_run_can_be_submitted_as_a_script_of_its_own() -> None:
    done = script("jobs/run.py", "--env", "demo", "--set", "nothing.of=1")
    assert done.returncode == 10, done.stderr
    assert "nothing" in done.stderr


def script(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Python started with nothing on its path but what it takes from these arguments and this environment."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": ""},
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(("environment", "code"), [("production", 10), ("development", 17), ("demo", 17), ("test", 17)])
def test_tracebacks_are_refused_in_production(environment: str, code: int, tmp_path: Path) -> None:
    """Elsewhere the command goes on, to the key that is not there."""
    (tmp_path / "base.yaml").write_text("cdm_version: '5.4'\n")
    places = ", ".join(f"{name}: {tmp_path / name}" for name in ("landing", "restricted", "deidentified"))
    (tmp_path / "here.yaml").write_text(
        f"environment: {environment}\nstorage: {{{places}}}\nkey: {{kind: env, name: NHS_OMOP_NO_KEY}}\n"
    )
    arguments = ["key", "check", "--env", "here", "--conf-dir", str(tmp_path)]
    done = python(f"from jobs.cli import main; main({arguments})", NHS_OMOP_TRACEBACK="1")
    assert done.returncode == code, done.stderr
    assert ("NHS_OMOP_TRACEBACK" in done.stderr) is (environment == "production")


def test_names_of_commands_are_completed() -> None:
    assert completed("nhs-omop re", 1) == ["releases", "report"]


def test_options_of_commands_are_completed() -> None:
    assert completed("nhs-omop run --fu", 2) == ["--full"]
    assert completed("nhs-omop key check --js", 3) == ["--json"]


def test_completion_can_be_installed(tmp_path: Path) -> None:
    variables = {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = python("from jobs.cli import main; main(['--install-completion', 'bash'])", **variables)
    assert done.returncode == 0, done.stderr
    assert "_NHS_OMOP_COMPLETE" in next(tmp_path.rglob("nhs-omop.sh")).read_text(encoding="utf-8")


def test_success_returns(capsys: pytest.CaptureFixture[str]) -> None:
    """A wheel task of Databricks that raises SystemExit is shown as failed, whatever its code."""
    assert ended(None, capsys) == (None, "")
    cli.main(["--help"])
    cli.main(["--version"])


@pytest.mark.parametrize("runtime", ["", "18.0"], ids=["shell", "databricks"])
def test_failure_raises_its_exit_code_without_the_error(
    runtime: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", runtime)
    raised, shown = ended(ValueError("cannot cast 'Zoe Smith'"), capsys)
    assert isinstance(raised, SystemExit)
    assert raised.code == UNEXPECTED_EXIT_CODE
    assert raised.__context__ is None
    assert "Smith" not in shown + "".join(traceback.format_exception(raised))


def test_wrong_options_have_their_exit_code() -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["key", "check", "--nothing"])
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("key check --json --nothing", "No such option: --nothing; see nhs-omop key check --help"),
        ("key check --nothing --json", "No such option: --nothing; see nhs-omop key check --help"),
        ("run --date x --json", "Invalid value for '--date'"),
        ("publsh --json", "No such command 'publsh'"),
        ("--json", "No such option: --json"),
        ("vocab --json", "No such option: --json"),
        ("query --json", "Missing argument 'SQL'; see nhs-omop query --help"),
        ("report --run a --release b --json", "Invalid value: give --run or --release, not both"),
    ],
)
def test_a_wrong_command_line_is_a_json_line_for_machines(
    arguments: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments.split())
    out, err = capsys.readouterr()
    (line,) = map(json.loads, err.splitlines())
    assert (caught.value.code, out, line["level"], line["error"], line["exit_code"]) == (2, "", "error", "UsageError", 2)
    assert line["page"] == "docs/exit-codes.md#usageerror"
    assert line["message"].startswith(said)


def test_a_value_that_looks_like_the_option_does_not_ask_for_json_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["query", "--nothing", "--", "--json"])
    assert caught.value.code == 2
    assert not capsys.readouterr().err.startswith("{")


def test_version_is_shown() -> None:
    assert nhs_omop("--version").stdout.strip() == f"nhs-omop {__version__}"


def test_unknown_command_is_refused() -> None:
    done = nhs_omop("publsh")
    assert done.returncode == 2
    assert "No such command" in done.stderr


def test_known_error_is_a_message_its_page_and_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = exit_code_of(OptOutStaleError("the list is 22 days old"), capsys)
    assert (code, shown) == (15, "the list is 22 days old\nsee docs/exit-codes.md#optoutstaleerror\n")


@pytest.mark.parametrize(
    "arguments", [["status"], ["run"], ["key", "check"], ["query", "SELECT 1"], ["vocab", "load"]], ids=" ".join
)
def test_no_environment_is_guessed(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("base", "here", "there"):
        (tmp_path / f"{name}.yaml").write_text("{}")
    monkeypatch.delenv("NHS_OMOP_ENV")
    with pytest.raises(SystemExit) as caught:
        cli.main([*arguments, "--conf-dir", str(tmp_path)])
    assert caught.value.code == 10
    assert capsys.readouterr().err == (
        "no environment is named: give --env NAME, or for all commands: export NHS_OMOP_ENV=NAME; "
        f"environments in {tmp_path}: here, there\nsee docs/exit-codes.md#configerror\n"
    )


def test_the_variable_names_the_environment_and_the_option_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "base.yaml").write_text("{}")
    for option, missing in (([], "one.yaml"), (["--env", "two"], "two.yaml")):
        monkeypatch.setenv("NHS_OMOP_ENV", "one")
        with pytest.raises(SystemExit):
            cli.main(["status", "--conf-dir", str(tmp_path), *option])
        assert f"{tmp_path / missing}: No such file" in capsys.readouterr().err


def test_unexpected_error_shows_its_place_and_never_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    code, shown = exit_code_of(ValueError("cannot cast 'Zoe Smith'"), capsys)
    assert code == UNEXPECTED_EXIT_CODE
    assert "ValueError" in shown
    assert "test_command_line.py" in shown
    assert "Smith" not in shown


@pytest.mark.parametrize(
    ("message", "kinds"),
    [
        ("Object Store error: Object at location /lake/a.parquet not found", "Object Store error; Object at location"),
        (
            "resources exhausted: failed for 'Zoe Smith' (no space left on device)",
            "Resources exhausted; No space left on device",
        ),
        ("cast error: 'Zoe Smith'", ""),
    ],
)
def test_of_the_message_of_an_engine_its_own_words_are_shown(
    message: str, kinds: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, shown = exit_code_of(RuntimeError(message), capsys)
    but_for = f", but for: {kinds}" if kinds else ""
    assert shown.startswith("a disk is full; free space") == ("space" in kinds)
    assert f"unexpected RuntimeError: its message may hold values of rows and is left out{but_for}\n" in shown
    assert "Smith" not in shown
    assert "lake" not in shown


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PermissionError(13, "Permission denied", "/data/landing/x.csv"),
            "PermissionError: Permission denied: /data/landing/x.csv",
        ),
        (OSError(28, "No space left on device"), "OSError: No space left on device"),
        (FileExistsError(17, "File exists", "/a", None, "/b"), "FileExistsError: File exists: /a: /b"),
        (OSError("Zoe Smith"), "OSError: its message may hold values"),
    ],
)
def test_an_error_of_the_system_shows_its_words_and_the_path(
    error: OSError, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, shown = exit_code_of(error, capsys)
    assert code == UNEXPECTED_EXIT_CODE
    assert f"unexpected {words}" in shown
    assert shown.startswith("a disk is full; free space") == (error.errno == 28)
    assert "Smith" not in shown


TELLS = """
import logging, sys
from jobs.command import new_app, start
from jobs.output import show_table
app = new_app()

@app.command()
def command():
    for place in range(3_000):
        logging.getLogger("jobs.run").info("a message that is longer than nothing")
        show_table("table", [{"row": place}]) if place < 50 else None
    with open(sys.argv[1], "w") as file:
        file.write("came to its end")

start(app, [])
"""


@pytest.mark.parametrize("streams", ["2> /dev/full", "2>&1 | head -1", "| head -1", ">&-", "2>&-", ">&- 2>&-"])
def test_a_reader_that_leaves_stops_no_command(streams: str, tmp_path: Path) -> None:
    script, ended = tmp_path / "tells.py", tmp_path / "ended"
    script.write_text(TELLS, encoding="utf-8")
    line = f"set -o pipefail; {sys.executable} {script} {ended} {streams}"
    variables = {**os.environ, "PYTHONPATH": str(PROJECT)}
    done = subprocess.run(["bash", "-c", line], cwd=PROJECT, capture_output=True, timeout=60, check=False, env=variables)
    assert (done.returncode, ended.read_text(encoding="utf-8")) == (0, "came to its end"), done.stderr


@pytest.mark.parametrize(
    ("arguments", "code"), [("--help", 0), ("run --help", 0), ("--version", 0), ("run --nope", 2)], ids=str
)
def test_nobody_has_to_read_help_to_its_end(arguments: str, code: int) -> None:
    line = f"set -o pipefail; {sys.executable} -m jobs.cli {arguments} | true"  # which ends before a command has begun
    done = subprocess.run(["bash", "-c", line], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Error" in done.stderr) == (code, code != 0), done.stderr


@pytest.mark.parametrize("arguments", [("--out", "{}/file"), ("--out", "/proc/x")])
def test_a_folder_that_cannot_be_written_is_no_unexpected_error(arguments: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = nhs_omop("generate", *(text.format(tmp_path) for text in arguments))
    assert done.returncode == 22, done.stderr
    assert ": cannot be written: " in done.stderr


_OF_SOMEBODY = ["asked by 999 000 0018", "lives at PR1 2AB", "rang from 07700 900123", "x.y@example.org", "QQ123456C"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["deliveries", "--source", "nope"], 10, "--source: there is no nope; sources: acute, "),
        (["quarantine", "--source", "nope"], 10, "--source: there is no nope; sources: acute, "),
        (
            ["quarantine", "--reason", "nope"],
            10,
            "--reason: there is no nope; reasons begin with identity_conflict, malformed, ",
        ),
        (["quarantine", "--reason", "missin:nhs_number"], 10, "--reason: there is no missin:nhs_number; reasons begin with "),
        (["deliveries", "--mappings-dir", "/nope"], 10, "mappings_dir: Value error, there is no folder /nope that can be read"),
        (["check", "{}/gp/A/../../gp/A/20260105"], 12, "gp/A/20260105 is set aside, 1 fault"),
        (["generate", "--out", "{}/g", "--people", "5"], 2, "equal to 20"),
        (["rollback", "--reason", ""], 22, "a rollback needs a reason: --reason TEXT"),
        (["rollback", "--lift", "--reason", " "], 22, "the end of a rollback needs a reason: --reason TEXT"),
        (["releases", "hold", "r", "--owner", "o", "--reason", "\t"], 22, "a hold needs a reason: --reason TEXT"),
        (["releases", "hold", "r", "--owner", " ", "--reason", "r"], 22, "a hold needs an owner: --owner TEXT"),
        (["releases", "hold", "r", "--lift", "--owner", "o", "--reason", ""], 22, "the end of a hold needs a reason: --reason"),
        (["rollback", "--reason", " -12. "], 22, "--reason has no letter: say it in words"),
        (["releases", "hold", "r", "--owner", "12", "--reason", "r"], 22, "--owner has no letter: say it in words"),
        *[
            ([*words, option, text], 22, f"{option} holds an NHS or National Insurance number, a postcode,")
            for text in _OF_SOMEBODY
            for *words, option in (
                ("rollback", "--reason"),
                ("rollback", "--lift", "--reason"),
                ("releases", "hold", "r", "--reason", "r", "--owner"),
                ("releases", "hold", "r", "--owner", "o", "--lift", "--reason"),
                ("releases", "expire", "r", "--reason"),
            )
        ],
        (["releases", "expire", "r", "--reason", " "], 22, "the removal of releases needs a reason: --reason TEXT"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_what_there_is_not_is_refused_by_its_name(
    arguments: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gp/A/20260105").mkdir(parents=True)
    with pytest.raises(SystemExit) as caught:
        options = [] if arguments[0] == "generate" else ["--set", "engine.shared_network=a process of a test"]
        cli.main([*(text.format(tmp_path) for text in arguments), *options])
    shown = capsys.readouterr().err
    assert caught.value.code == code, shown
    assert said.format(tmp_path) in shown
    assert "expected <source>/<provider>" not in shown
    assert [text for text in _OF_SOMEBODY if text in shown] == []


def test_reasons_with_dates_releases_and_tickets_are_taken() -> None:
    for text in ("a wrong map", "study 12, 22 March 2026", "release 20260105-68620e79", "CHG0071234567", "team B2, ward 7"):
        assert command.said(f" {text} ", "a hold needs a reason", "--reason") == text


@pytest.mark.parametrize("made", [False, True], ids=["no folder", "folders as init makes them"])
@pytest.mark.parametrize(
    "command",
    [["quarantine"], ["vocab", "unmapped"], ["vocab", "diff", "loaded", "loaded"], ["gate"], ["report"]],
    ids=" ".join,
)
def test_before_the_first_run_that_is_what_a_command_says(
    command: list[str], made: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No matter of rights, and no table that is missing."""
    places = [f"--set=storage.{name}={tmp_path / name}" for name in ("landing", "restricted", "deidentified")]
    for name in ("landing", "restricted", "deidentified") if made else ():
        (tmp_path / name).mkdir(mode=0o700)
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, "--env", "test", *places, "--set", "engine.shared_network=a process of a test"])
    said = capsys.readouterr().err
    assert (caught.value.code, "there is no run" in said, "yet: nhs-omop run makes one" in said) == (22, True, True), said


@pytest.mark.parametrize("options", [[], ["--conf-dir", "conf"]])
def test_a_working_folder_that_is_gone_is_no_unexpected_error(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SystemExit) as caught:
        cli.main(["plan", "--env", "demo", *options])
    shown = capsys.readouterr().err
    assert (caught.value.code, "the folder that the command was started in is gone" in shown) == (10, True), shown


def test_interrupt_has_the_customary_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code_of(KeyboardInterrupt(), capsys)[0] == 130


def test_new_key_then_check(tmp_path: Path) -> None:
    made = nhs_omop("key", "new", "--out", str(tmp_path / "k"), "--json")
    checked = nhs_omop("key", "check", "--set", f"key={{kind: file, path: {tmp_path / 'k'}}}", "--json")
    assert json.loads(made.stderr)["fingerprint"] == json.loads(checked.stdout)["fingerprint"]
    assert (tmp_path / "k").read_text().strip() not in made.stderr + made.stdout


def test_missing_key_has_its_exit_code(tmp_path: Path) -> None:
    done = nhs_omop("key", "check", "--set", f"key={{kind: file, path: {tmp_path / 'none'}}}")
    assert done.returncode == 17
    assert "nhs-omop key new" in done.stderr


def test_mappings_are_copied_once(tmp_path: Path) -> None:
    own = tmp_path / "mappings"
    assert nhs_omop("copy-mappings", str(own)).returncode == 0
    packaged = {path.relative_to(PROJECT / "mappings") for path in (PROJECT / "mappings").rglob("*.*")}
    assert {path.relative_to(own) for path in own.rglob("*.*")} == packaged
    (own / "gp" / "contract.yaml").write_text("changed")
    again = nhs_omop("copy-mappings", str(own))
    assert (again.returncode, (own / "gp" / "contract.yaml").read_text()) == (10, "changed")


def test_a_command_that_dies_of_a_fault_writes_no_core_file() -> None:
    """The key and rows of people would be in it."""
    code = """
import resource
from jobs.command import new_app, start
limit = lambda: resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (limit()[1], limit()[1]))
app = new_app()
app.command()(lambda: print(*limit()))
print(*limit())
start(app, [])
"""
    before, within = (line.split() for line in python(code).stdout.splitlines())
    assert within == ["0", before[1]]
