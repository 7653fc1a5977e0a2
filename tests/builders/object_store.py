"""An object store of the tests: moto's server, which speaks S3 over HTTP on this machine."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import s3fs
from moto.server import ThreadedMotoServer
from upath import UPath

from pipelines.storage.files import path_of

SECRET = "sEcr3t-of-a-test-that-is-in-no-message"  # noqa: S105

ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "AKIAOFATEST000000000",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Variables of an account as the platform gives them."""


@dataclass(frozen=True)
class ObjectStore:
    """A running server and the variables by which its account finds it."""

    endpoint: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def bucket(self, name: str) -> UPath:
        """A new and empty bucket."""
        self._client().create_bucket(Bucket=name)
        made = path_of(f"s3://{name}")
        assert not isinstance(made, Path)
        return made

    def copy(self, folder: Path, target: UPath) -> None:
        """Put every file of a folder below a place of the store."""
        bucket, _, key = target.path.rstrip("/").partition("/")
        client = self._client()
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            client.upload_file(str(file), bucket, "/".join(filter(None, (key, file.relative_to(folder).as_posix()))))

    def keys(self, bucket: str) -> list[str]:
        """What is in a bucket."""
        listed = self._client().list_objects_v2(Bucket=bucket)
        return [found["Key"] for found in listed.get("Contents", ())]

    def _client(self):  # type: ignore[no-untyped-def]
        return boto3.client("s3", endpoint_url=self.endpoint)


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """A server with no bucket, which is found by the variables of the process within the block."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    variables = {**ACCOUNT, "AWS_ENDPOINT_URL": f"http://{host}:{port}"}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield ObjectStore(variables["AWS_ENDPOINT_URL"], variables)
    finally:
        s3fs.S3FileSystem.clear_instance_cache()
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        server.stop()
