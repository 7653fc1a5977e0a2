"""One demo world for all end-to-end tests: built once on the embedded engine, read by all, changed by none."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.console import console
from tests.conftest import Engines
from tests.e2e.identifiers import delivered_identifiers
from tests.e2e.scanner import Needles
from tests.e2e.world import DemoWorld, build_world


@pytest.fixture(scope="session")
def world(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> DemoWorld:
    """Two nights of the demo, published. Tests that change something take a copy."""
    folder = tmp_path_factory.mktemp("world") / "demo"
    log = folder.parent / "run.log"
    with said_into(log):
        built = build_world(folder)
    log.replace(built.log)
    return built


@pytest.fixture(scope="session")
def needles(world: DemoWorld) -> Needles:
    """What may be nowhere but in landing and under the restricted root."""
    return delivered_identifiers(world)


@contextlib.contextmanager
def said_into(path: Path) -> Iterator[None]:
    """Write to a file what this process and its engine say: both streams, the descriptors below them and the log."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(path.open("w", encoding="utf-8", buffering=1))
        handler = logging.StreamHandler(file)
        former_level = logging.root.level
        logging.root.addHandler(handler)
        logging.root.setLevel(logging.DEBUG)
        stack.callback(logging.root.setLevel, former_level)
        stack.callback(logging.root.removeHandler, handler)
        stack.enter_context(contextlib.redirect_stdout(file))
        stack.enter_context(contextlib.redirect_stderr(file))
        stack.enter_context(_descriptors_into(file.fileno()))
        stack.callback(_give_console, console.err, console.out)
        _give_console(sys.stderr, sys.stdout)
        yield


def _give_console(err: object, out: object) -> None:
    console.err, console.out = err, out  # type: ignore[assignment]


@contextlib.contextmanager
def _descriptors_into(target: int) -> Iterator[None]:
    saved = {stream: os.dup(stream) for stream in (1, 2)}
    try:
        for stream in saved:
            os.dup2(target, stream)
        yield
    finally:
        for stream, former in saved.items():
            os.dup2(former, stream)
            os.close(former)
