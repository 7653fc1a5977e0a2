"""No other user of the machine reaches the embedded engine of a command, its folders or its environment."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.builders.landing import deliver
from tests.conftest import PROJECT
from tests.unit.test_deliveries import GP

NOBODY = 65534

HOLD = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has it ignored
from jobs.command import enclose, new_app, settings_of, start
from pathlib import Path
from typing import Annotated
import typer

app = new_app()

@app.command()
def hold(overrides: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    settings = settings_of("test", Path("conf"), overrides)
    enclose(settings)
    from pipelines.engine import open_session
    with open_session(settings.engine) as session:
        assert session.range(3).count() == 3
        listening = [line.split()[1] for line in open("/proc/thread-self/net/tcp") if line.split()[3] == "0A"]
        print("ports", *[int(place.partition(":")[2], 16) for place in listening], flush=True)
        sys.stdin.readline()

start(app, sys.argv[1:])
"""


@contextmanager
def command(*overrides: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A command that holds a session of the embedded engine until it is given a line."""
    arguments = [sys.executable, "-c", HOLD, *overrides]
    with subprocess.Popen(
        arguments,
        cwd=PROJECT,
        env={**os.environ, **variables},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def ports_of(started: subprocess.Popen[str]) -> list[int]:
    assert started.stdout is not None
    words = started.stdout.readline().split()
    assert words[:1] == ["ports"], started.communicate("\n")[1]
    return [int(word) for word in words[1:]]


def connects(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


def as_nobody(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments, user=NOBODY, group=NOBODY, extra_groups=[], cwd="/", capture_output=True, text=True, check=False
    )


can_unshare = shutil.which("unshare") is not None and subprocess.run(["unshare", "-rn", "true"], check=False).returncode == 0
needs_namespaces = pytest.mark.skipif(not can_unshare and not os.environ.get("CI"), reason="no namespaces on this system")
needs_root = pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can become another user")


@needs_namespaces
def test_nobody_else_sees_the_port(tmp_path: Path) -> None:
    with command() as started:
        (port,) = ports_of(started)
        assert not connects(port)
        out, err = started.communicate("\n", timeout=60)
        assert (started.returncode, out, err) == (0, "", "")


@needs_namespaces
@pytest.mark.parametrize("name", ["check", "plan"])
def test_a_command_that_opens_the_engine_moves_into_a_network_of_its_own(tmp_path: Path, name: str) -> None:
    """Seen from outside while it runs. Where the network is shared on purpose, it stays in ours."""
    folder = deliver(tmp_path / "landing", GP, "P81001", "20260105", {"patient": [{"patient_guid": "A"}]})
    arguments = [sys.executable, "-m", "jobs.cli", name, *([str(folder)] if name == "check" else []), "--env", "demo"]
    for place in ("landing", "restricted", "deidentified"):
        arguments += ["--set", f"storage.{place}={tmp_path / place}"]
    ours, quiet = Path("/proc/thread-self/ns/net").readlink(), subprocess.DEVNULL
    for more, moved in (([], True), (["--set", "engine.shared_network=only for this test"], False)):
        networks = set()
        with subprocess.Popen([*arguments, *more], cwd=PROJECT, stdout=quiet, stderr=quiet) as started:
            while started.poll() is None:
                with suppress(OSError):
                    networks.add(Path(f"/proc/{started.pid}/ns/net").readlink())
                time.sleep(0.005)
        assert bool(networks - {ours}) is moved


@needs_namespaces
@needs_root
def test_another_user_reaches_neither_port_nor_environment() -> None:
    """The same is seen to be reached where the network is shared on purpose."""
    for override, reached in (("engine.shared_network=only for this test", True), ("engine.memory_gib=0.5", False)):
        with command(override, NHS_OMOP_CANARY="canary-1234") as started:
            port = next(port for port in ports_of(started) if reached is connects(port))
            tried = as_nobody("bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port} && echo reached")
            assert (tried.stdout == "reached\n") is reached
            assert "canary-1234" in Path(f"/proc/{started.pid}/environ").read_text()
            for what in ("environ", "mem", "maps", "auxv", "syscall", "stack"):
                seen = as_nobody("cat", f"/proc/{started.pid}/{what}")
                assert (seen.returncode, seen.stdout) == (1, "")
            for what in ("fd", "map_files", "cwd/", "root/"):
                seen = as_nobody("ls", f"/proc/{started.pid}/{what}")
                assert (seen.returncode != 0, seen.stdout) == (True, "")
            shown = as_nobody("cat", f"/proc/{started.pid}/cmdline").stdout  # everybody may read this one
            assert shown != ""
            assert "canary" not in shown
            entered = as_nobody("nsenter", "-t", str(started.pid), "-n", "true")
            assert entered.returncode != 0


@needs_namespaces
@pytest.mark.parametrize("signal", ["SIGTERM", "SIGHUP"])
def test_signals_end_it_as_before(signal: str) -> None:
    with command() as enclosed, command("engine.shared_network=only for this test") as shared:
        ends = []
        for started in (enclosed, shared):
            ports_of(started)
            subprocess.run(["kill", f"-{signal}", str(started.pid)], check=True)
            ends.append(started.wait(20))
        assert ends[0] == ends[1] != 0


ORDINARY = """
import ctypes, encodings.idna, os, socket
from pathlib import Path
from pipelines.own_network import take_own_network

os.setgroups([])
os.setresgid({0}, {0}, {0})
os.setresuid({0}, {0}, {0})
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as a process that was started by this account
take_own_network()
assert (os.getuid(), os.getgid()) == ({0}, {0})
assert [line.split(":")[0].strip() for line in Path("/proc/net/dev").read_text().splitlines()[2:]] == ["lo"]
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    print("connected")
"""


@needs_namespaces
@needs_root
def test_an_ordinary_account_gets_one_too_and_stays_who_it_is() -> None:
    process = [sys.executable, "-c", ORDINARY.format(NOBODY)]
    done = subprocess.run(process, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "connected\n"), done.stderr


VAULT = 'key={kind: azure_key_vault, vault_url: "https://x", name: k}'
"""A key that is read over the network, which the command would cut itself off from."""

STORE = "storage.landing=s3://bucket/landing"
"""Deliveries that are read over the network."""


@pytest.mark.parametrize(
    ("overrides", "code", "said"),
    [
        (["environment=production", VAULT], 23, "engine.shared_network: the reason"),
        (["environment=development", VAULT], 0, "can reach it while this command runs"),
        (["environment=production", VAULT, "engine.shared_network=no other logins"], 0, ""),
        (["environment=production", STORE], 23, "deliveries are read from an object store"),
        (["environment=development", STORE], 0, "can reach it while this command runs"),
        (["environment=production", STORE, "engine.shared_network=no other logins"], 0, ""),
        (["environment=production", "engine.shared_network=no"], 10, "engine.shared_network"),
    ],
)
def test_production_is_refused_where_there_is_none_unless_with_a_reason(overrides: list[str], code: int, said: str) -> None:
    with command(*overrides) as started:
        _, err = started.communicate("\n", timeout=60)
        assert (started.returncode, said in err) == (code, True), err
        assert bool(err) is bool(said)


def test_a_command_that_is_called_as_a_function_leaves_its_caller_where_it_is() -> None:
    code = """
from pathlib import Path
from jobs.command import enclose, settings_of
before = Path("/proc/thread-self/ns/net").readlink()
enclose(settings_of("test", Path("conf"), []))
assert Path("/proc/thread-self/ns/net").readlink() == before
"""
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True)
