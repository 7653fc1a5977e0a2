"""References to secrets. Configuration names where a secret is kept; the secret itself is read when it is needed.

The clients of Azure Key Vault and Databricks are optional extras and are imported only for a reference of their kind.
"""

import ctypes
import os
from importlib import import_module
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.contracts.locations import Location
from pipelines.errors import ConfigError


class _Reference(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    def clear(self) -> None:
        """Take the secret out of where the process itself keeps it. Only the environment keeps one."""


class EnvironmentSecret(_Reference):
    """A secret in an environment variable."""

    kind: Literal["env"]
    name: str

    def resolve(self) -> bytes:
        """The value of the variable. Raises ConfigError where it is not set or empty."""
        value = os.environ.get(self.name, "")
        if not value:
            raise ConfigError(f"environment variable {self.name} is not set; set it or change the reference")
        return os.fsencode(value)

    def clear(self) -> None:
        """Take the variable out of the environment, of later child processes and of what /proc shows of this process."""
        _overwrite(self.name)
        os.environ.pop(self.name, None)


def _overwrite(name: str) -> None:
    """Fill the value of a variable with zeros where it lies: /proc shows the block that the process was started with."""
    find = ctypes.CDLL(None).getenv
    find.argtypes, find.restype = [ctypes.c_char_p], ctypes.c_void_p
    place = find(name.encode())
    if place:
        ctypes.memset(place, 0, len(ctypes.string_at(place)))


class FileSecret(_Reference):
    """A secret in a file that belongs to the account and that only its owner can read."""

    kind: Literal["file"]
    path: Location

    def resolve(self) -> bytes:
        """The content of the file. Raises ConfigError where it cannot be read, is another account's or others may read it."""
        try:
            found = self.path.stat()
            content = self.path.read_bytes()
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ConfigError(f"secret file {self.path}: {reason}; create it or change the reference") from error
        if found.st_uid != os.geteuid():
            raise ConfigError(
                f"secret file {self.path} belongs to another account, which can read and change it; "
                f"run this command as that account, or as root: chown {os.geteuid()} {self.path}"
            )
        if found.st_mode & 0o077:
            raise ConfigError(f"secret file {self.path} can be read by other users; run: chmod 600 {self.path}")
        return content


class AzureKeyVaultSecret(_Reference):
    """A secret in an Azure Key Vault, read with the identity of the process."""

    kind: Literal["azure_key_vault"]
    vault_url: str
    name: str
    version: str | None = None

    def resolve(self) -> bytes:
        """The value of the secret. Raises ConfigError where the client is missing or the vault refuses."""
        try:
            credential = import_module("azure.identity").DefaultAzureCredential()
            client = import_module("azure.keyvault.secrets").SecretClient(vault_url=self.vault_url, credential=credential)
        except ImportError as error:
            raise ConfigError("Azure Key Vault needs its client: pip install 'nhs-omop[azure]'") from error
        try:
            value = client.get_secret(self.name, self.version).value
        except Exception as error:  # the client raises classes of three packages, all with the same meaning here
            raise ConfigError(f"key vault secret {self.name}: {type(error).__name__}; check its name and access") from error
        return str(value or "").encode()


class DatabricksSecret(_Reference):
    """A secret in a Databricks secret scope, read with the identity of the process."""

    kind: Literal["databricks_secret"]
    scope: str
    name: str

    def resolve(self) -> bytes:
        """The value of the secret. Raises ConfigError where the client is missing or the scope refuses."""
        try:
            client = import_module("databricks.sdk").WorkspaceClient()
        except ImportError as error:
            raise ConfigError("Databricks secrets need their client: pip install 'nhs-omop[databricks]'") from error
        try:
            value = client.dbutils.secrets.get(self.scope, self.name)
        except Exception as error:  # as above: one meaning, many classes
            where = f"{self.scope}/{self.name}"
            raise ConfigError(f"Databricks secret {where}: {type(error).__name__}; check its name and access") from error
        return str(value).encode()


SecretReference = Annotated[
    EnvironmentSecret | FileSecret | AzureKeyVaultSecret | DatabricksSecret,
    Field(discriminator="kind"),
]
