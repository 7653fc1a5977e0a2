"""Spark Connect of a Spark that this process starts, for this process alone.

A classic session sends every call that builds a plan to the JVM, and the JVM analyses the plan anew after each; a session of
Connect sends the whole plan once. In a small run that is a quarter of the time.
"""

import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

from pyspark.errors import PySparkException

from pipelines.errors import EngineError

_PLUGINS = "spark.plugins"
_TOKEN = "SPARK_CONNECT_AUTHENTICATE_TOKEN"  # noqa: S105 - the name of a variable


@dataclass(frozen=True, repr=False)
class OwnServer:
    """The options by which a Spark serves Connect once it has started, and where it then does, to whoever has the token."""

    options: Mapping[str, str]
    address: str
    token: str

    @property
    def url(self) -> str:
        """Where to connect to, with the token."""
        return f"{self.address}/;token={self.token}"

    def require_closed(self) -> None:
        """Raise EngineError where the server serves somebody without the token: a JVM that others have started knows none."""
        from pyspark.sql.connect.client import SparkConnectClient

        stranger = SparkConnectClient(self.address)
        try:
            stranger.get_configs("spark.app.name")
        except PySparkException:
            return
        finally:
            stranger.close()
        raise EngineError(
            "this process has a JVM that something else has started and left, which would serve every user of this machine; "
            "use a process of its own"
        )


@contextmanager
def own_server(options: Mapping[str, str], *, idle_seconds: int, has_jvm: bool) -> Iterator[OwnServer]:
    """What makes a Spark with some options serve Connect on 127.0.0.1, to whoever has a token that only this process knows.

    Spark has to be started within the block. A JVM that is started there has the token from its environment, which no other
    account can read, because its options stand on a command line that all can. One that is there already (`has_jvm`) is given
    it as an option, which then stands nowhere. A session may do nothing for `idle_seconds` before it is forgotten.
    """
    port, token = _free_port(), _token()
    own = {
        _PLUGINS: ",".join(filter(None, (options.get(_PLUGINS), "org.apache.spark.sql.connect.SparkConnectPlugin"))),
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.port.maxRetries": "0",
        "spark.connect.session.manager.defaultSessionTimeout": f"{idle_seconds}s",
    }
    own |= {"spark.connect.authenticate.token": token} if has_jvm else {}
    before = os.environ.get(_TOKEN)
    os.environ[_TOKEN] = token
    try:
        yield OwnServer({**options, **own}, f"sc://localhost:{port}", token)
    finally:
        del os.environ[_TOKEN]
        if before is not None:
            os.environ[_TOKEN] = before


@cache
def _token() -> str:
    """The token of this process: its JVM keeps the environment that it was started with."""
    return secrets.token_urlsafe(32)


def _free_port() -> int:
    """A port that is free now. Where somebody takes it before Spark does, Spark does not start, and looks for no other."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
