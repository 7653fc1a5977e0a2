"""How the engine is configured. Reading this needs no engine, so commands that use none start quickly."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipelines.contracts.free_text import FreeText
from pipelines.contracts.locations import Location
from pipelines.secrets import SecretReference

CORES = os.cpu_count() or 1

STATEMENTS_AT_ONCE = max(2, min(4, CORES))
"""How many tables are made at the same time: most are small, and an engine spends more time planning them than computing."""


LEAST_OF_A_REASON = 10
"""Characters of the reason why other users may reach the engine: it has to say more than yes."""


class EngineKind(StrEnum):
    """Which engine runs the transforms."""

    SAIL = "sail"
    SPARK = "spark"
    REMOTE = "remote"


def _long_enough(reason: str) -> str:
    if len(reason) < LEAST_OF_A_REASON:
        raise ValueError(f"expected a reason of at least {LEAST_OF_A_REASON} characters")
    return reason


class EngineSettings(BaseModel):
    """How to run the engine.

    `memory_gib` bounds the memory pool of `sail` and the heap of a local Spark. `parallelism` is how many cores
    one statement uses; 0 means all of the machine.
    `scratch_dir` takes what does not fit in memory (identifiable rows too); without it a private temporary
    folder is made and removed. `master` null leaves master and packages to spark-submit or the platform. `jars_dir` keeps
    what Spark downloads once. `shared_network` is the reason why `sail` may run where other users of the machine reach its
    port; unless there is one it runs in a network of its own, and production refuses to run it without. `url` refers to the
    Spark Connect URL of `remote`, which may hold a token.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    kind: EngineKind = EngineKind.SAIL
    memory_gib: float = Field(default=4.0, ge=0.5, le=100_000)
    parallelism: int = Field(default=0, ge=0, le=10_000)
    prefer_hash_join: bool = True
    scratch_dir: Location | None = None
    master: str | None = "local[*]"
    jars_dir: Location = Path(".jars")
    spark_options: dict[str, str] = Field(default_factory=dict)
    shared_network: Annotated[FreeText, AfterValidator(_long_enough)] | None = None
    url: SecretReference | None = None

    @property
    def is_here(self) -> bool:
        """Whether all that runs statements is this machine, which then opens whatever this process can."""
        return self.kind is EngineKind.SAIL or (self.kind is EngineKind.SPARK and (self.master or "").startswith("local"))
