"""Another revision of this project beside this one, and commands run in either as processes that are measured."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from pipelines.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[2]

_KIB_PER_GIB = 2**20 * (1024 if sys.platform == "darwin" else 1)


@dataclass(frozen=True)
class Usage:
    """What a process took: seconds from start to end, and the most memory that it held."""

    seconds: float
    peak_gib: float


@dataclass(frozen=True)
class Checkout:
    """A folder with a revision of this project, and the interpreter that runs it."""

    folder: Path
    python: Path

    def run(self, arguments: Sequence[str], log: Path) -> Usage:
        """Run the interpreter with some arguments in the folder, with all output added to a log.

        Raises ConfigError that names the log if the process fails.
        """
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            begun = perf_counter()
            process = subprocess.Popen(
                [str(self.python), *arguments], cwd=self.folder, env=environment, stdout=output, stderr=subprocess.STDOUT
            )
            _, status, used = os.wait4(process.pid, 0)
            seconds = perf_counter() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise ConfigError(f"a command failed in {self.folder} with exit code {process.returncode}; its output: {log}")
        return Usage(seconds, used.ru_maxrss / _KIB_PER_GIB)


def this_checkout() -> Checkout:
    """The checkout that this module is in, with the interpreter that runs it."""
    return Checkout(PROJECT, Path(sys.executable))


def checkout_in(folder: Path) -> Checkout:
    """The checkout in a folder, with the interpreter of its own environment or, without one, that of this process.

    Raises ConfigError where there is no checkout of this project.
    """
    if not (folder / "jobs" / "cli.py").is_file():
        raise ConfigError(f"{folder}: no checkout of this project")
    own = folder.resolve() / ".venv" / "bin" / "python"
    return Checkout(folder.resolve(), own if own.exists() else Path(sys.executable))


@contextmanager
def checkout_of(revision: str) -> Iterator[Checkout]:
    """A temporary git worktree of a revision, run with the interpreter of this process and removed at the end.

    Raises ConfigError if git does not know the revision.
    """
    with tempfile.TemporaryDirectory(prefix="nhs-omop-revision-") as parent:
        folder = Path(parent) / "checkout"
        try:
            _git("worktree", "add", "--quiet", "--detach", str(folder), revision)
        except (subprocess.CalledProcessError, FileNotFoundError) as error:
            raise ConfigError(f"{revision}: git cannot check it out from {PROJECT}") from error
        try:
            yield Checkout(folder, Path(sys.executable))
        finally:
            _git("worktree", "remove", "--force", str(folder))


def link_extracts(source: Path, target: Path) -> None:
    """Give a folder the extracts of another, as hard links, with the truth about them and the key of the demo."""
    for path in sorted(path for name in ("landing", "truth") for path in (source / name).rglob("*") if path.is_file()):
        _link(path, target / path.relative_to(source))
    key = source / "restricted" / "demo.key"
    if key.exists():
        _link(key, target / "restricted" / "demo.key")


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    os.link(source, target)


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-C", str(PROJECT), *arguments], check=True, capture_output=True)  # noqa: S607
