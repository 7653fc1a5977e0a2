"""Make a pseudonymisation key, or show the fingerprint of the configured one."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from jobs.command import DEFAULT_CONF_DIR, ConfDir, Env, JsonLines, Overrides, new_app, settings_of, start
from jobs.output import show_table
from pipelines.governance.keys import fingerprint, new_key_file, resolve_key
from pipelines.settings import Environment

log = logging.getLogger(__name__)

app = new_app(__doc__)

DEFAULT_KEY_FILE = Path("pseudonymisation.key")


@app.command()
def new(
    out: Annotated[
        Path, typer.Option("--out", help="The file to write; one that is there is never overwritten.")
    ] = DEFAULT_KEY_FILE,
    json_lines: JsonLines = False,
) -> None:
    """Write a new random key to a file that only you can read."""
    key = new_key_file(out)
    log.info(
        "wrote a new key; keep it in a key vault and keep a sealed copy",
        extra={"file": str(out), "fingerprint": fingerprint(key)},
    )


@app.command()
def check(
    env: Env = None, conf_dir: ConfDir = DEFAULT_CONF_DIR, overrides: Overrides = None, json_lines: JsonLines = False
) -> None:
    """Resolve the configured key and show its fingerprint."""
    settings = settings_of(env, conf_dir, overrides)
    key = resolve_key(settings.key, production=settings.environment is Environment.PRODUCTION)
    show_table("key", [{"reference": settings.key.kind, "fingerprint": fingerprint(key)}])


if __name__ == "__main__":
    start(app)
