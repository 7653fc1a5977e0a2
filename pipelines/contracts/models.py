"""The base of every pydantic model that is read from a file or from configuration."""

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """Immutable; refuses unknown keys; keeps input values out of error messages, because they may identify someone."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
