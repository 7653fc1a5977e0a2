"""Spark Connect of a Spark that this process has started, for this process alone.

A classic session sends every call that builds a plan to the JVM, and the JVM analyses the plan anew after each; a session of
Connect sends the whole plan once. In a small run that is a quarter of the time.
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pyspark.sql import SparkSession

_IDLE = "24h"
"""How long a session may do nothing before the server forgets it: reading deliveries asks nothing of Spark."""


@contextmanager
def connect_server(session: SparkSession) -> Iterator[str]:
    """Serve Spark Connect on a free port of this machine until the block ends; gives the URL, with a token only known here.

    The server is started in the JVM of `session` and not as a plug-in of Spark: what a plug-in is told stands on a command line
    that every user of the machine can read.
    """
    token = secrets.token_urlsafe(32)
    python: Any = session.sparkContext
    context, jvm = python._jsc.sc(), python._jvm
    settings = {"grpc.binding.address": "127.0.0.1", "grpc.binding.port": "0", "authenticate.token": token}
    settings |= {"session.manager.defaultSessionTimeout": _IDLE}
    for name, value in settings.items():
        context.conf().set(f"spark.connect.{name}", value)
    service = _only_one(jvm.org.apache.spark.sql.connect.service, "SparkConnectService")
    service.start(context)
    try:
        yield f"sc://localhost:{service.localPort()}/;token={token}"
    finally:
        nothing = jvm.scala.Option.empty()
        service.stop(nothing, nothing)


def _only_one(package: Any, name: str) -> Any:
    """The object of Scala with a name."""
    return getattr(getattr(package, f"{name}$"), "MODULE$")
