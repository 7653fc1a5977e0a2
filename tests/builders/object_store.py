"""An object store of the tests: moto's server, which speaks S3 over HTTP on this machine."""

import json
import os
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import boto3
from moto.server import ThreadedMotoServer
from upath import UPath

from pipelines.storage.files import path_of

ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "AKIAOFATEST000000000",
    "AWS_SECRET_ACCESS_KEY": "sEcr3t-of-a-test-that-is-in-no-message",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
}
"""Variables of an account as the platform gives them, and no other way to find one."""


@dataclass(frozen=True)
class ObjectStore:
    """A running server, which the variables of this process name."""

    endpoint: str

    def bucket(self, name: str) -> UPath:
        """A new and empty bucket."""
        made = self.place(name)
        made.fs.mkdir(name)
        return made

    def place(self, key: str) -> UPath:
        """A place of the store, whether anything is there or not."""
        place = path_of(f"s3://{key}")
        assert not isinstance(place, Path)
        return place

    def copy(self, folder: Path, target: UPath) -> None:
        """Put every file of a folder below a place of the store, as somebody else does: no client of ours knows of it."""
        client = boto3.client("s3", endpoint_url=self.endpoint)
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            bucket, _, key = f"{target.path}/{file.relative_to(folder).as_posix()}".partition("/")
            client.put_object(Bucket=bucket, Key=key, Body=file.read_bytes())

    def keys(self, place: UPath) -> list[str]:
        """What is below a place, by its name there."""
        return sorted(key.removeprefix(f"{place.path}/") for key in place.fs.find(place.path, refresh=True))

    @contextmanager
    def account_that_may(self, *actions: str) -> Iterator[None]:
        """Within the block the process has an account with the rights of some actions only, and the server asks for rights."""
        identities = boto3.client("iam", endpoint_url=self.endpoint)
        name = f"who-may-{'-'.join(actions)}".replace(":", "-") or "nobody"
        identities.create_user(UserName=name)
        key = identities.create_access_key(UserName=name)["AccessKey"]
        if actions:
            allowed = {"Effect": "Allow", "Action": list(actions), "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
            identities.put_user_policy(UserName=name, PolicyName="of-the-test", PolicyDocument=policy)
        self._ask_for_rights_after("0")
        try:
            with variables({"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}):
                yield
        finally:
            self._ask_for_rights_after("inf")

    def _ask_for_rights_after(self, requests: str) -> None:
        plain = {"Content-Type": "text/plain"}
        asked = urllib.request.Request(f"{self.endpoint}/moto-api/reset-auth", requests.encode(), plain, method="POST")
        with urllib.request.urlopen(asked):
            pass


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A server without a bucket, which is found by the variables of the process within the block."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    try:
        with variables({**ACCOUNT, "AWS_ENDPOINT_URL": endpoint}):
            yield ObjectStore(endpoint)
    finally:
        server.stop()


@contextmanager
def variables(changed: Mapping[str, str | None]) -> Iterator[None]:
    """Other variables of this process within the block; clients that were made by the former ones are forgotten."""
    before = {name: os.environ.get(name) for name in changed}
    try:
        _set(changed)
        yield
    finally:
        _set(before)


def _set(values: Mapping[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    client = path_of("s3://any")
    assert not isinstance(client, Path)
    type(client.fs).clear_instance_cache()
