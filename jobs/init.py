"""Write a new environment: its settings and folders, and what to do next."""

import json
import logging
import re
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from jobs.command import JsonLines, new_app, place_of, start
from jobs.copy_mappings import copy_mappings
from jobs.output import show_table
from pipelines.engine_settings import EngineKind
from pipelines.errors import ConfigError
from pipelines.progress import Field
from pipelines.settings import PACKAGED_CONF_DIR, QUALITY, SOURCES, Environment, Settings, load_settings
from pipelines.storage.files import make_folder
from pipelines.storage.rights import make_private

log = logging.getLogger(__name__)

app = new_app()

NAME = r"[a-z][a-z0-9_-]*"

SETTINGS = """\
# All keys and their meaning: docs/configuration.md. What is not here is in base.yaml.
environment: {kind} # production refuses the demo key and the demo vocabulary
storage:
  landing: {landing} # deliveries and opt-out lists arrive here
  restricted: {restricted} # identifiable; for the account that runs the load, for nobody else
  deidentified: {deidentified} # silver, OMOP, releases; grant it to analysts by the rights of this folder
engine:
  kind: {engine}
key: {key} # or {{kind: env, name: VARIABLE}}, azure_key_vault, databricks_secret: docs/opt-outs-and-key.md
vocabulary:
  athena_dir: {athena} # the Athena download that vocab load reads; null for the demo vocabulary
run:
  sources: [{sources}] # those that deliver
"""

LIMITS = """\
# Your limits, after those of the package: docs/gates.md.
#
# limits:
#   - {check: quarantined_share, allowed: 0.02}
limits: []
"""

WAIVERS = """\
# Failures that somebody accepts for a while: docs/gates.md.
#
# waivers:
#   - {check: rows_lost on run.ambulance, reason: the ticket, owner: the role, until: 2026-12-31}
waivers: []
"""


@app.command()
def init(
    env: Annotated[str, typer.Option("--env", help="Name of the environment: the file conf/<env>.yaml is made.")],
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of conf and, unless given, of the data.")] = Path(),
    kind: Annotated[Environment, typer.Option(help="What kind of data it has.")] = Environment.PRODUCTION,
    landing: Annotated[
        str | None, typer.Option(help="Where deliveries arrive: a folder or a URI. DIR/landing unless given.")
    ] = None,
    restricted: Annotated[Path | None, typer.Option(help="Root of identifiable tables. DIR/restricted unless given.")] = None,
    deidentified: Annotated[Path | None, typer.Option(help="Root of the other tables. DIR/deidentified unless given.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="File of the key. <env>.key in that root unless given.")] = None,
    key_variable: Annotated[str | None, typer.Option(help="The environment variable of the key, in place of a file.")] = None,
    athena: Annotated[Path | None, typer.Option(help="Folder or zip of the Athena download.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="A source that delivers; may be repeated. Else all six.")] = None,
    engine: Annotated[EngineKind, typer.Option(help="The engine.")] = EngineKind.SAIL,
    own_mappings: Annotated[bool, typer.Option("--copy-mappings", help="Copy the mappings to DIR/mappings too.")] = False,
    json_lines: JsonLines = False,
) -> None:
    """Write a new environment: its settings with comments and its folders, the restricted one for you only.

    What is there is never overwritten; a base.yaml that is there is used. The next steps are shown in their order.
    """
    home = folder.absolute()
    places = {
        "landing": place_of(landing) if landing else home / "landing",
        "restricted": (restricted or home / "restricted").absolute(),
        "deidentified": (deidentified or home / "deidentified").absolute(),
    }
    key: dict[str, str] = {
        "kind": "file",
        "path": str(key_file.absolute() if key_file else places["restricted"] / f"{env}.key"),
    }
    if key_variable is not None:
        key = {"kind": "env", "name": key_variable}
    text = SETTINGS.format(
        kind=kind,
        **{name: json.dumps(str(place)) for name, place in places.items()},
        engine=engine,
        key=json.dumps(key),
        athena=json.dumps(str(athena.absolute())) if athena else "null",
        sources=", ".join(source or SOURCES),
    )
    mappings = home / "mappings"
    _refuse(env, home / "conf" / f"{env}.yaml", *([mappings] if own_mappings else []))
    settings = _checked(text, env, home / "conf")
    make_private(settings.storage.restricted)
    for place in (settings.storage.landing, settings.storage.deidentified):
        make_folder(place, 0o700)
    if own_mappings:
        copy_mappings(mappings)
        text += f"mappings_dir: {json.dumps(str(mappings))}\n"
    _write(home / "conf", env, text)
    log.info("wrote the environment", extra={"file": str(home / "conf" / f"{env}.yaml")})
    show_table("next steps", _next_steps(settings, env, home / "conf"))


def _refuse(env: str, *made: Path) -> None:
    if not re.fullmatch(NAME, env) or env == "base":
        raise ConfigError("--env: a name of small letters, digits, - and _, which is not base")
    there = [str(path) for path in made if path.exists()]
    if there:
        raise ConfigError(f"{', '.join(there)} is there already; nothing was written. Give another --env or DIR")


def _checked(text: str, env: str, conf: Path) -> Settings:
    """The settings that a text gives. Raises ConfigError with every fault, before anything is written."""
    with tempfile.TemporaryDirectory() as made:
        trial = Path(made)
        base = conf / "base.yaml"
        shutil.copy(base if base.exists() else PACKAGED_CONF_DIR / "base.yaml", trial / "base.yaml")
        (trial / f"{env}.yaml").write_text(text, encoding="utf-8")
        return load_settings(env, trial)


def _write(conf: Path, env: str, text: str) -> None:
    (conf / QUALITY).mkdir(parents=True, exist_ok=True)
    (conf / f"{env}.yaml").write_text(text, encoding="utf-8")
    packaged = (PACKAGED_CONF_DIR / "base.yaml").read_text(encoding="utf-8")
    files = {conf / "base.yaml": packaged, conf / QUALITY / "limits.yaml": LIMITS, conf / QUALITY / "waivers.yaml": WAIVERS}
    for path, content in files.items():
        if not path.exists():
            path.write_text(content, encoding="utf-8")


def _next_steps(settings: Settings, env: str, conf: Path) -> list[dict[str, Field]]:
    key, landing, athena = settings.key, settings.storage.landing, settings.vocabulary.athena_dir
    make_key = (
        f"nhs-omop key new --out {_quoted(key.path)}" if key.kind == "file" else f"set {key.name}" if key.kind == "env" else ""
    )
    commands = {
        "name the environment": f"export NHS_OMOP_CONF_DIR={_quoted(conf)} NHS_OMOP_ENV={env}",
        "make the key, and keep a sealed copy": make_key,
        "load the vocabulary (docs/vocabulary.md)": f"nhs-omop vocab load {_quoted(athena or 'DIR')}",
        "put the opt-out lists there (docs/opt-outs-and-key.md)": _quoted(f"{landing}/optouts/KIND/YYYYMMDD"),
        "put the first delivery there and try it": f"nhs-omop check {_quoted(f'{landing}/SOURCE/PROVIDER/YYYYMMDD')}",
        "see that everything is right": "nhs-omop doctor",
        "load": "nhs-omop run",
    }
    return [{"step": at, "what": what, "command": command} for at, (what, command) in enumerate(commands.items(), 1)]


def _quoted(place: object) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(place))


if __name__ == "__main__":
    start(app)
