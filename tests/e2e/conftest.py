"""One demo lakehouse for all end-to-end tests: built once on the embedded engine; tests read it but do not change it."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.logs import logging_to_stderr
from tests.conftest import Engines
from tests.e2e.identifiers import delivered_identifiers
from tests.e2e.scanner import Needles
from tests.e2e.world import DemoWorld, build_world


@pytest.fixture(scope="session")
def world(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> DemoWorld:
    """Two nights of the demo, published. Tests that change something work on a copy."""
    folder = tmp_path_factory.mktemp("world") / "demo"
    log = folder.parent / "run.log"
    with said_into(log):
        built = build_world(folder)
    log.replace(built.log)
    return built


@pytest.fixture(scope="session")
def needles(world: DemoWorld) -> Needles:
    """Values that may be in landing and under the restricted root only."""
    return delivered_identifiers(world)


@contextlib.contextmanager
def said_into(path: Path) -> Iterator[None]:
    """Record the output of this process and its engine in a file: both streams, their file descriptors and the log."""
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
        stack.enter_context(logging_to_stderr())
        yield


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
