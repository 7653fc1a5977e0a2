"""A PostgreSQL server of the tests, in a folder of its own, reached by a socket only."""

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

PROGRAMS = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), *map(Path, os.get_exec_path()))
"""Where Debian has the programs of the server, then where commands are."""

OWNER = "postgres"
"""The user that runs the server where the tests run as root, as which no server starts."""


@dataclass(frozen=True)
class Server:
    """A running server: its socket folder, and the superuser."""

    socket: Path
    user: str

    def url(self, database: str = "postgres", user: str | None = None) -> str:
        """How to reach a database as a user, the superuser unless another is named."""
        return f"postgresql://{user or self.user}@/{database}?host={self.socket}"

    @contextmanager
    def database(self, name: str, encoding: str = "UTF8") -> Iterator[str]:
        """The URL of an empty database, which is there within the block."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0".encode())
            yield self.url(name)
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def server_programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; None where no server is installed."""
    return next((folder for folder in PROGRAMS if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


@contextmanager
def postgresql_server(folder: Path) -> Iterator[Server]:
    """A server that runs within the block. Skips the test where none is installed; with CI set it fails instead."""
    programs = server_programs()
    if programs is None:
        if os.environ.get("CI"):
            pytest.fail("no PostgreSQL server is installed, so nothing was published to PostgreSQL")
        pytest.skip("needs a PostgreSQL server")
    as_root = os.geteuid() == 0
    user = OWNER if as_root else getpass.getuser()
    before = ["runuser", "-u", OWNER, "--"] if as_root else []
    folder.mkdir(parents=True)
    if as_root:
        shutil.chown(folder, OWNER)
    data = folder / "data"
    options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off -c full_page_writes=off"
    control = [*before, str(programs / "pg_ctl"), "-D", str(data), "-w", "-s"]
    made = [
        *before,
        str(programs / "initdb"),
        "-D",
        str(data),
        "-U",
        user,
        "-E",
        "UTF8",
        "--locale=C",
        "-A",
        "trust",
        "--no-sync",
    ]
    subprocess.run(made, check=True, capture_output=True, cwd=folder)
    subprocess.run([*control, "-o", options, "-l", str(folder / "log"), "start"], check=True, cwd=folder)
    try:
        yield Server(folder, user)
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, cwd=folder)
