"""What all commands share: their common options, and how an error becomes a message and an exit code."""

import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, NoReturn, TextIO

import typer
from typer.core import TyperGroup

from jobs.logs import json_lines, logging_to_stderr, use_json_lines
from pipelines.contracts.free_text import fault_of, in_one_line
from pipelines.contracts.source import sources_in
from pipelines.engine_settings import EngineKind
from pipelines.errors import (
    EXIT_CODES_PAGE,
    USER_ERRORS,
    ConfigError,
    EngineError,
    OmopPipelineError,
    ReleaseError,
    exit_code_of,
    is_out_of_space,
    page_of,
    shown_message,
)
from pipelines.own_network import take_own_network
from pipelines.secrets import AzureKeyVaultSecret, DatabricksSecret
from pipelines.settings import PACKAGED_CONF_DIR, SOURCES, Environment, Settings, environments, load_settings
from pipelines.storage.files import AnyPath, in_store, is_inside, path_of, why
from pipelines.storage.rights import require_readable

log = logging.getLogger(__name__)

TRACEBACK_VARIABLE = "NHS_OMOP_TRACEBACK"
ENV_VARIABLE = "NHS_OMOP_ENV"

_is_process: ContextVar[bool] = ContextVar("is_process", default=False)
"""Whether the process is that of a command, and not of something that calls commands as functions."""


def _use_json(value: bool) -> bool:
    if value:
        use_json_lines()
    return value


Env = Annotated[
    str | None,
    typer.Option("--env", envvar=ENV_VARIABLE, help="Environment: <env>.yaml of the conf folder; must be given."),
]
ConfDir = Annotated[Path, typer.Option("--conf-dir", envvar="NHS_OMOP_CONF_DIR", help="Folder of base.yaml and <env>.yaml.")]
MappingsDir = Annotated[
    Path | None, typer.Option("--mappings-dir", help="Folder of contracts and mappings, in place of the packaged ones.")
]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Change one setting; may be repeated.")
]
JsonLines = Annotated[
    bool, typer.Option("--json", callback=_use_json, is_eager=True, help="Write messages and results as JSON lines.")
]

DEFAULT_CONF_DIR = PACKAGED_CONF_DIR


_WORKING_FOLDER_GONE = "the folder that the command was started in is gone, and a place is relative to it; change to another"


def settings_of(
    env: str | None,
    conf_dir: Path,
    overrides: list[str] | None,
    mappings_dir: Path | None = None,
    *,
    reads_restricted: bool = False,
) -> Settings:
    """The settings that the common options ask for.

    Raises ConfigError with every fault at once, and where no environment is named: a guess could be another lakehouse than the
    one that is meant.

    In production, where an unexpected error may hold values of real rows, NHS_OMOP_TRACEBACK is refused. With
    `reads_restricted` RightsError is raised where this account may not read the restricted root.
    """
    if not env:
        raise ConfigError(
            f"no environment is named: give --env NAME, or for all commands: export {ENV_VARIABLE}=NAME; "
            + environments(conf_dir)
        )
    changes = list(overrides or ())
    if mappings_dir is not None:
        changes.append(f"mappings_dir={mappings_dir}")
    try:
        settings = load_settings(env, conf_dir, changes)
    except FileNotFoundError as error:
        raise ConfigError(_WORKING_FOLDER_GONE) from error
    if settings.environment is Environment.PRODUCTION and os.environ.get(TRACEBACK_VARIABLE):
        raise ConfigError(f"{TRACEBACK_VARIABLE} shows values of rows and is refused in production; unset it")
    if reads_restricted:
        require_readable(settings.storage.restricted)
    return settings


def require_source(settings: Settings, source: str | None) -> None:
    """Raises ConfigError for a source that there is not: a list without any row would say that it has none."""
    there = sorted({*SOURCES, *sources_in(settings.mappings_dir)})
    if source is not None and source not in there:
        raise ConfigError(f"--source: there is no {source}; sources: {', '.join(there)}")


def said(text: str, what: str, option: str, error: type[OmopPipelineError] = ReleaseError) -> str:
    """What somebody gives as a reason or an owner, in one line; it is kept, and shown to whoever asks.

    Raises `error` for a text without a letter, and for a text that identifies a person, which is not repeated.
    """
    if not text.strip():
        raise error(f"{what}: {option} TEXT")
    fault = fault_of(text)
    if fault:
        raise error(f"{option} {fault}")
    return in_one_line(text)


def place_of(text: str) -> AnyPath:
    """The path or the place in an object store that a user names. Raises ConfigError where there can be none."""
    try:
        return path_of(text)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    except FileNotFoundError as error:
        raise ConfigError(_WORKING_FOLDER_GONE) from error


_MAKE_IT = "make it, with rights for those who are to read what is in it"


@contextmanager
def writing(place: AnyPath) -> Iterator[None]:
    """Raises ReleaseError where what the block writes to a place cannot be written, unless a disk is full."""
    try:
        yield
    except OSError as error:
        if is_out_of_space(error):
            raise
        if isinstance(error, FileNotFoundError) and isinstance(place, Path):
            missing = place if place.parent.is_dir() else place.parent
            raise ReleaseError(f"{place}: cannot be written: there is no folder {missing}; {_MAKE_IT}") from error
        raise ReleaseError(f"{place}: cannot be written: {why(error)}") from error


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Ctrl-C, SIGTERM and SIGHUP end the block with what it cleans up; the exit code is that which shells give them.

    A signal that is ignored (`nohup`) stays so, and outside the main thread, which Python gives its signals, nothing changes.
    """
    came: list[int] = []

    def end(number: int, _: FrameType | None) -> NoReturn:
        came.append(number)
        raise SystemExit(_OF_SIGNALS + number)

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: found for number in _ENDING if (found := signal.getsignal(number)) is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, end)
    try:
        yield
    except Exception as error:
        if not came:
            raise
        raise SystemExit(_OF_SIGNALS + came[0]) from error  # what was under way says in its own way that it was interrupted
    finally:
        for number, found in before.items():
            signal.signal(number, found)


_ENDING, _OF_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP), 128


def refuse_inside_roots(settings: Settings, place: AnyPath, option: str) -> None:
    """Raises ConfigError for a place below a root: what lies there is of deliveries or of the lakehouse."""
    storage = settings.storage
    for name, root in (
        ("landing", storage.landing),
        ("restricted", storage.restricted),
        ("deidentified", storage.deidentified),
    ):
        if is_inside(place, root):
            raise ConfigError(f"{option}: {place} is inside storage.{name}; nothing was written. Choose another place")


def enclose(settings: Settings, *read: AnyPath) -> None:
    """Give the process of a command a network of its own, so that no other user of the machine reaches the embedded engine.

    To be called by every command that opens the engine, before it imports what starts threads. A command that is called as a
    function leaves its caller where it is. `read` is what it reads beside the landing folder: in a network of its own no object
    store can be reached. Raises EngineError in production where the process has to stay where it is.
    """
    engine = settings.engine
    if not _is_process.get() or engine.kind is not EngineKind.SAIL or engine.shared_network:
        return
    try:
        if isinstance(settings.key, AzureKeyVaultSecret | DatabricksSecret):
            raise OSError("the key is read over the network; give it in a file or an environment variable")
        if any(map(in_store, (settings.storage.landing, *read))):
            raise OSError("deliveries are read from an object store")
        take_own_network()
    except OSError as error:
        reason = f"the embedded engine cannot have a network of its own: {error.strerror or error}"
        if settings.environment is Environment.PRODUCTION:
            raise EngineError(
                f"{reason}. Other users of this machine could read what it reads. Set engine.kind: spark, or, where nobody "
                "else has a login or a container, engine.shared_network: the reason"
            ) from error
        log.warning(f"{reason}; other users of this machine can reach it while this command runs")


def new_app(help_text: str | None = None, *, cls: type[TyperGroup] | None = None, completion: bool = False) -> typer.Typer:
    """A command, or with `help_text` a group of commands, that leaves errors to `start`."""
    return typer.Typer(
        cls=cls,
        help=help_text,
        no_args_is_help=help_text is not None,
        add_completion=completion,
        pretty_exceptions_enable=False,
    )


def start(app: typer.Typer, arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Run a command, with the arguments of the process unless others are given, and return if it succeeded.

    A failure raises SystemExit with the exit code of its cause. The error itself is not attached to it: a platform that
    shows the error of a task would else show its message too.
    """
    token = _is_process.set(True)
    _keep_memory_off_disk()
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()
    try:
        with logging_to_stderr():
            code = _exit_code(app, arguments, program)
    finally:
        _is_process.reset(token)
    if code:
        sys.exit(code)


def _keep_memory_off_disk() -> None:
    """Have the system write no core file if the process dies of a fault: the key and rows of people would be in it."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, most))


def _nowhere() -> TextIO:
    """What is written to in place of a stream that the shell has closed (`>&-`)."""
    return Path(os.devnull).open("w", encoding="utf-8")


def _exit_code(app: typer.Typer, arguments: Sequence[str] | None, program: str | None) -> int | str | None:
    """Run a command and report its error, as far as it may be shown; the exit code.

    With NHS_OMOP_TRACEBACK set, an error that users cannot meet is raised as it is: for developers, on generated extracts.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if "--json" in given[: given.index("--") if "--" in given else None]:
        use_json_lines()  # before a wrong command line can end the reading of its options
    try:
        code: int | None = typer.main.get_command(app)(args=given, prog_name=program, standalone_mode=not json_lines())
    except SystemExit as end:  # typer ends every command like this that writes for people, a successful one too
        return 0 if _help_was_cut_short(end, given) else end.code
    except _UsageError as error:  # only of a command that writes JSON lines: to people typer shows it
        return _wrong_command_line(error)
    except Exception as error:
        if os.environ.get(TRACEBACK_VARIABLE) and not isinstance(error, USER_ERRORS):
            raise
        code = exit_code_of(error)
        log.error(shown_message(error), extra={"error": type(error).__name__, "exit_code": code, "page": page_of(error)})
        return code
    return code


_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""What typer raises for every wrong command line; only older versions of it have a public name for that."""


def _wrong_command_line(error: Any) -> int:
    """Report a wrong command line to machines; its exit code."""
    hint = f"; see {error.ctx.command_path} --help" if error.ctx else ""
    facts = {"error": "UsageError", "exit_code": error.exit_code, "page": f"{EXIT_CODES_PAGE}#usageerror"}
    log.error(f"{error.format_message().rstrip('.')}{hint}", extra=facts)
    return int(error.exit_code)


def _help_was_cut_short(end: SystemExit, arguments: Sequence[str]) -> bool:
    """Whether whoever reads the help has seen enough (`--help | head`), where typer ends the process with 1."""
    return "--help" in arguments and isinstance(end.__context__, BrokenPipeError)
