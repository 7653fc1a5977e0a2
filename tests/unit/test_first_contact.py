"""`init` writes an environment that `doctor` understands; every fault of it is a line with its next step."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import cli
from pipelines.governance.keys import new_key_file
from pipelines.settings import Environment, load_settings

CONF = ("base.yaml", "here.yaml", "quality/limits.yaml", "quality/waivers.yaml")

Command = Callable[..., tuple[int | str | None, str, str]]

needs_root = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can give files away")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command: its exit code, what it shows, and its messages."""
    monkeypatch.setenv("COLUMNS", "40")

    def run(*arguments: str) -> tuple[int | str | None, str, str]:
        code: int | str | None = 0
        try:
            cli.main(arguments)
        except SystemExit as end:
            code = end.code
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def states(shown: str) -> dict[str, str]:
    """The state of each line of a diagnosis."""
    rows = [[cell.strip() for cell in line.split("│")] for line in shown.splitlines() if line.startswith("│")]
    return {row[2]: row[1] for row in rows}


def test_init_writes_an_environment_that_can_be_loaded(tmp_path: Path, command: Command) -> None:
    code, shown, _ = command(
        "init", str(tmp_path / "sde"), "--env", "here", "--source", "gp", "--athena", "/srv/athena", "--copy-mappings"
    )
    home = tmp_path / "sde"
    assert code == 0
    assert sorted(str(path.relative_to(home / "conf")) for path in home.glob("conf/**/*.yaml")) == sorted(CONF)
    settings = load_settings("here", home / "conf")
    assert (settings.environment, settings.run.sources) == (Environment.PRODUCTION, ("gp",))
    assert settings.storage.restricted == home / "restricted"
    assert settings.key.model_dump() == {"kind": "file", "path": home / "restricted/here.key"}
    assert settings.vocabulary.athena_dir == Path("/srv/athena")
    assert settings.mappings_dir == home / "mappings"
    rights = {name: (home / name).stat().st_mode & 0o777 for name in ("landing", "restricted", "deidentified")}
    assert rights == {"landing": 0o700, "restricted": 0o700, "deidentified": 0o700}
    steps = [line.split("│")[3].strip() for line in shown.splitlines() if line.startswith("│")]
    assert steps == [
        f"export NHS_OMOP_CONF_DIR={home}/conf NHS_OMOP_ENV=here",
        f"nhs-omop key new --out {home}/restricted/here.key",
        "nhs-omop vocab load /srv/athena",
        f"{home}/landing/optouts/KIND/YYYYMMDD",
        f"nhs-omop check {home}/landing/SOURCE/PROVIDER/YYYYMMDD",
        "nhs-omop doctor",
        "nhs-omop run",
    ]


def test_init_writes_an_environment_whose_deliveries_are_in_a_store(tmp_path: Path, command: Command) -> None:
    code, _, said = command("init", str(tmp_path), "--env", "here", "--landing", "s3://sde/landing")
    assert code == 0, said
    assert str(load_settings("here", tmp_path / "conf").storage.landing) == "s3://sde/landing"
    code, _, said = command("init", str(tmp_path), "--env", "there", "--landing", "gs://sde/landing")
    assert (code, "begins with s3:// or abfss://" in said) == (10, True), said


def test_init_shows_paths_as_a_shell_takes_them(tmp_path: Path, command: Command) -> None:
    places = ("--landing", "/srv/new data", "--key-file", "/srv/the key", "--athena", "/srv/athena $1")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("jobs.init.make_folder", lambda *_: None)
        code, out, _ = command("init", str(tmp_path), "--env", "here", *places)
    assert code == 0
    for shown in (
        "--out '/srv/the key'",
        "load '/srv/athena $1'",
        "'/srv/new data/optouts/KIND",
        "check '/srv/new data/SOURCE",
    ):
        assert shown in out


def test_init_overwrites_nothing_and_adds_a_second_environment(tmp_path: Path, command: Command) -> None:
    assert command("init", str(tmp_path), "--env", "here")[0] == 0
    (tmp_path / "conf/base.yaml").write_text("cdm_version: '5.5'\n")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.yaml")}
    code, _, said = command("init", str(tmp_path), "--env", "here", "--kind", "test")
    assert (code, "is there already; nothing was written" in said) == (10, True)
    assert command("init", str(tmp_path), "--env", "there", "--kind", "test", "--key-variable", "THE_KEY")[0] == 0
    assert {path: path.read_bytes() for path in before} == before
    assert load_settings("there", tmp_path / "conf").key.model_dump() == {"kind": "env", "name": "THE_KEY"}
    assert load_settings("there", tmp_path / "conf").cdm_version == "5.5"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--env", "base"], 10, "--env: a name"),
        (["--env", "../here"], 10, "--env: a name"),
        (["--env", "here", "--source", "gpp"], 10, "did you mean gp?"),
        (["--env", "here", "--deidentified", "DIR/restricted/open"], 10, "inside each other"),
        ([], 2, "--env"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(
    options: list[str], code: int, said: str, tmp_path: Path, command: Command
) -> None:
    given = [option.replace("DIR", str(tmp_path / "sde")) for option in options]
    ended, _, messages = command("init", str(tmp_path / "sde"), *given)
    assert (ended, said in messages) == (code, True), messages
    assert not (tmp_path / "sde").exists()


def test_init_takes_no_restricted_root_that_others_can_read(tmp_path: Path, command: Command) -> None:
    (tmp_path / "restricted").mkdir()
    (tmp_path / "restricted").chmod(0o755)
    code, _, said = command("init", str(tmp_path), "--env", "here")
    assert (code, "other users have rights on it" in said) == (31, True)
    assert not (tmp_path / "conf").exists()


@pytest.mark.parametrize(
    ("damage", "what", "code", "said"),
    [
        ("none", "key", 17, "3 faults; the first: no pseudonymisation key"),
        ("key", "vocabulary", 18, "2 faults; the first: no vocabulary is loaded"),
        ("open root", "restricted", 31, "other users have rights on it"),
        pytest.param("given root", "restricted", 31, "belongs to another account", marks=needs_root),
        pytest.param("given key", "key", 17, "belongs to another account", marks=needs_root),
    ],
)
def test_doctor_names_each_fault_and_ends_as_a_run_would(
    damage: str, what: str, code: int, said: str, tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/London")
    assert command("init", str(tmp_path), "--env", "here")[0] == 0
    if damage == "key":
        new_key_file(tmp_path / "restricted/here.key")
    if damage == "given root":
        os.chown(tmp_path / "restricted", 65534, 65534)
    if damage == "given key":
        new_key_file(tmp_path / "restricted/here.key")
        os.chown(tmp_path / "restricted/here.key", 65534, 65534)
    if damage == "key":
        (tmp_path / "deidentified").chmod(0o757)
    if damage == "open root":
        (tmp_path / "restricted").chmod(0o750)
    ended, shown, messages = command("doctor", "--env", "here", "--conf-dir", str(tmp_path / "conf"))
    assert (ended, said in messages) == (code, True), messages
    found = states(shown)
    assert (found[what], found["settings"], found["mappings"], found["deliveries of gp"]) == ("fault", "ok", "ok", "warning")
    assert found["opt-out lists"] == "fault"
    assert (found["key"] == "ok") is (damage == "key")
    assert found["deidentified"] == ("warning" if damage == "key" else "ok")
    assert not any((tmp_path / "landing").iterdir())


def test_doctor_does_not_show_the_key(tmp_path: Path, command: Command) -> None:
    assert command("init", str(tmp_path), "--env", "here")[0] == 0
    key = new_key_file(tmp_path / "restricted/here.key")
    _, shown, messages = command("doctor", "--env", "here", "--conf-dir", str(tmp_path / "conf"), "--json")
    assert key.material.hex() not in shown + messages
    assert '"what": "key", "found": "file, fingerprint ' in shown
