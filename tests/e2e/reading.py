"""A reader who asks the current release for its rows again and again, while runs go on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from time import sleep

from pipelines.release.published import cdm_of, chosen_release, pinned_tables, release_folder
from pipelines.release.reading import open_release, run_query
from pipelines.settings import Settings

ASKED = ("cdm_source", "person", "observability", "observation_period", "measurement", "concept")
"""Tables that one reader reads one after the other; most of them differ from night to night."""

Answer = Mapping[str, tuple[object, ...]]
"""Of each table the number of rows and a digest of their content."""


def read(settings: Settings, release_id: str | None = None, pause: float = 0.0) -> tuple[str, Answer]:
    """The id of a release, the current one unless another is named, and what it holds, with a pause before each table."""
    release = chosen_release(settings, release_id)
    answers: dict[str, tuple[object, ...]] = {}
    with open_release(pinned_tables(settings, release), cdm_of(release)) as connection:
        for table in ASKED:
            sleep(pause)
            sql = f"SELECT count(*), bit_xor(hash(r)) FROM {table} AS r"
            answers[table] = next(run_query(connection, sql)[1])
    return release.release_id, answers


@dataclass
class Reader:
    """What a reader was answered, and what went wrong."""

    answers: list[tuple[str, Answer]] = field(default_factory=list)
    errors: list[Exception] = field(default_factory=list)


@contextmanager
def reading(settings: Settings) -> Iterator[Reader]:
    """Read the current release all the time within the block, from the first release on."""
    reader, ended = Reader(), Event()

    def ask() -> None:
        while not ended.is_set():
            try:
                if release_folder(settings).current() is not None:
                    reader.answers.append(read(settings, pause=0.05))
            except Exception as error:  # of a thread it would be lost
                reader.errors.append(error)
            sleep(0.5)  # so that the runs have most of the machine

    thread = Thread(target=ask)
    thread.start()
    try:
        yield reader
    finally:
        ended.set()
        thread.join()
