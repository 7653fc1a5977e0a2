import base64
import codecs
import hashlib
import hmac
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.errors import ConfigError, KeyChangedError, KeyMissingError
from pipelines.governance.keys import (
    KEY_BYTES,
    Key,
    check_fingerprint,
    derive,
    fingerprint,
    hmac_pads,
    new_key_file,
    resolve_key,
)
from pipelines.secrets import AzureKeyVaultSecret, DatabricksSecret, EnvironmentSecret, FileSecret
from pipelines.synthetic.demo_key import DEMO_KEY, demo_key_file
from tests.conftest import PROJECT

MATERIAL = bytes(range(100, 132))
PASS_PHRASES = {
    "a pass phrase": b"correct horse battery staple, and more words!",
    "with a mark of UTF-8": codecs.BOM_UTF8 + b"correct horse battery staple, and more words!",
    "in UTF-16": "correct horse battery".encode("utf-16"),
    "in UTF-16, the other order of bytes": codecs.BOM_UTF16_BE + "correct horse battery".encode("utf-16-be"),
    "in UTF-16 without a mark": "correct horse battery".encode("utf-16-le"),
    "in UTF-32": "correct horse battery".encode("utf-32"),
    "in UTF-32 without a mark": "correct horse battery".encode("utf-32-be"),
    "not ASCII, in UTF-8": "Zürich correct horse battery staple".encode(),
    "not ASCII, in UTF-16": "Zürich correct horse battery staple".encode("utf-16"),
    "not ASCII, in a code page": "Zürich correct horse battery staple".encode("cp1252"),
    "words that happen to be as long as base64": b"Correct horse battery staple once and then again now",
    "words in one": b"correcthorsebatterystaplecorrecthorsebattery",
}
REFERENCE = EnvironmentSecret(kind="env", name="NHS_OMOP_TEST_KEY")


def file_of(path: Path, content: bytes) -> FileSecret:
    path.write_bytes(content)
    path.chmod(0o600)
    return FileSecret(kind="file", path=path)


@pytest.mark.parametrize(
    "content",
    [
        MATERIAL.hex().encode(),
        MATERIAL.hex().upper().encode() + b"\n",
        base64.b64encode(MATERIAL),
        base64.urlsafe_b64encode(MATERIAL) + b"\r\n",
        codecs.BOM_UTF8 + MATERIAL.hex().encode() + b"\r\n",
        codecs.BOM_UTF8 + base64.b64encode(MATERIAL),
        MATERIAL.hex().encode("utf-16"),
        codecs.BOM_UTF16_BE + f"{MATERIAL.hex()}\r\n".encode("utf-16-be"),
        base64.b64encode(MATERIAL).decode().encode("utf-16"),
        MATERIAL.hex(" ", 4).encode(),
    ],
    ids=[
        "hexadecimal",
        "upper case with a line end",
        "base64",
        "url-safe base64",
        "hexadecimal with a mark of UTF-8",
        "base64 with a mark of UTF-8",
        "hexadecimal in UTF-16",
        "hexadecimal in UTF-16, the other order of bytes",
        "base64 in UTF-16",
        "hexadecimal in groups",
    ],
)
def test_key_is_read_from_text(content: bytes, tmp_path: Path) -> None:
    assert resolve_key(file_of(tmp_path / "k", content), production=True) == Key(MATERIAL)


def test_key_is_read_from_base64_in_lines(tmp_path: Path) -> None:
    material = MATERIAL * 3
    assert resolve_key(file_of(tmp_path / "k", base64.encodebytes(material)), production=True) == Key(material)


def test_key_is_read_from_a_binary_file_as_it_is(tmp_path: Path) -> None:
    material = MATERIAL + b"\xff\n"
    assert resolve_key(file_of(tmp_path / "k", material), production=True) == Key(material)


def test_key_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NHS_OMOP_TEST_KEY", MATERIAL.hex())
    assert resolve_key(REFERENCE, production=True).material == MATERIAL


@pytest.mark.parametrize("how", ["inherited", "set by the process"])
def test_key_leaves_the_environment(how: str) -> None:
    """The process, its children and /proc show it no more; what is beside it stays."""
    code = f"""
import os, subprocess
from pathlib import Path
from pipelines.governance.keys import resolve_key
from pipelines.secrets import EnvironmentSecret
key = {MATERIAL.hex()!r}
if {how == "inherited"}:
    assert key in Path("/proc/self/environ").read_text()
else:
    os.environ["NHS_OMOP_TEST_KEY"] = key
assert resolve_key(EnvironmentSecret(kind="env", name="NHS_OMOP_TEST_KEY"), production=True).material.hex() == key
assert "NHS_OMOP_TEST_KEY" not in os.environ
assert key not in subprocess.run(["env"], capture_output=True, text=True, check=True).stdout
seen = Path("/proc/self/environ").read_text()
assert key not in seen and "BEFORE=1" in seen and "LATER=2" in seen
"""
    inherited = {"NHS_OMOP_TEST_KEY": MATERIAL.hex()} if how == "inherited" else {}
    variables = {"PATH": os.environ["PATH"], "BEFORE": "1", **inherited, "LATER": "2"}
    done = subprocess.run([sys.executable, "-c", code], env=variables, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_missing_variable_says_how_to_make_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NHS_OMOP_TEST_KEY", raising=False)
    with pytest.raises(KeyMissingError, match="nhs-omop key new"):
        resolve_key(REFERENCE, production=False)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "too short"),
        (MATERIAL[:31].hex().encode(), "too short"),
        (b"00" * 32, "not random"),
        *((phrase, "neither hexadecimal") for phrase in PASS_PHRASES.values()),
    ],
    ids=["empty", "31 bytes", "one byte repeated", *PASS_PHRASES],
)
def test_unusable_key_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(KeyMissingError, match=reason):
        resolve_key(file_of(tmp_path / "k", content), production=False)


def test_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    reference = file_of(tmp_path / "k", MATERIAL.hex().encode())
    reference.path.chmod(0o640)
    with pytest.raises(KeyMissingError, match="chmod 600"):
        resolve_key(reference, production=False)


@pytest.mark.skipif(os.geteuid() != 0 and not os.environ.get("CI"), reason="only root can give files away")
def test_file_of_another_account_is_refused_to_root_too(tmp_path: Path) -> None:
    reference = file_of(tmp_path / "k", MATERIAL.hex().encode())
    os.chown(reference.path, 65534, 65534)
    with pytest.raises(KeyMissingError, match="belongs to another account, which can read and change it"):
        resolve_key(reference, production=False)


def test_a_pass_phrase_in_an_environment_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environb, b"NHS_OMOP_TEST_KEY", PASS_PHRASES["not ASCII, in a code page"])
    with pytest.raises(KeyMissingError, match="neither hexadecimal"):
        resolve_key(REFERENCE, production=False)


@pytest.mark.parametrize(
    "content",
    [
        DEMO_KEY.material.hex().encode(),
        codecs.BOM_UTF8 + DEMO_KEY.material.hex().encode(),
        f"{DEMO_KEY.material.hex()}\r\n".encode("utf-16"),
        base64.b64encode(DEMO_KEY.material),
        DEMO_KEY.material,
        DEMO_KEY.material + b"\n",
        DEMO_KEY.material + b"\r\n",
    ],
    ids=["hexadecimal", "mark of UTF-8", "UTF-16", "base64", "binary", "binary and line end", "binary and line end of Windows"],
)
def test_demo_key_is_refused_in_production_however_it_is_written(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(KeyMissingError, match="demo key"):
        resolve_key(file_of(tmp_path / "k", content), production=True)


def test_demo_key_is_for_the_demo(tmp_path: Path) -> None:
    demo_key_file(tmp_path / "demo.key")
    assert resolve_key(FileSecret(kind="file", path=tmp_path / "demo.key"), production=False) == DEMO_KEY


def test_random_bytes_are_no_pass_phrase(tmp_path: Path) -> None:
    for number in range(2000):
        material = hashlib.sha256(f"{number}".encode()).digest()
        assert resolve_key(file_of(tmp_path / "k", material), production=True) == Key(material)
        assert resolve_key(file_of(tmp_path / "k", base64.b64encode(material)), production=True) == Key(material)


def test_demo_key_file_leaves_a_key_that_is_there(tmp_path: Path) -> None:
    key = new_key_file(tmp_path / "demo.key")
    demo_key_file(tmp_path / "demo.key")
    assert resolve_key(FileSecret(kind="file", path=tmp_path / "demo.key"), production=False) == key


def test_new_key_is_random_private_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "k"
    key = new_key_file(path)
    assert len(key.material) == KEY_BYTES
    assert path.stat().st_mode & 0o777 == 0o600
    assert key != new_key_file(tmp_path / "other")
    with pytest.raises(ConfigError, match="not overwritten"):
        new_key_file(path)
    assert path.read_text() == key.material.hex() + "\n"


def test_key_hides_its_bytes() -> None:
    key = Key(MATERIAL)
    shown = f"{key!r} {key} {[key]}"
    assert shown == "Key(hidden) Key(hidden) [Key(hidden)]"
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(TypeError):
        hash(key)


def test_errors_hide_the_bytes(tmp_path: Path) -> None:
    content = b"NotAKey-" * 3
    with pytest.raises(KeyMissingError) as caught:
        resolve_key(file_of(tmp_path / "k", content), production=False)
    assert b"NotAKey".decode() not in str(caught.value)


def test_fingerprint_knows_the_key_again() -> None:
    stored = check_fingerprint(None, Key(MATERIAL))
    assert stored == hmac.new(MATERIAL, b"nhs-omop key check value", hashlib.sha256).hexdigest()
    assert check_fingerprint(stored, Key(MATERIAL)) == stored


def test_another_key_is_refused() -> None:
    with pytest.raises(KeyChangedError, match="Put the former key back"):
        check_fingerprint(fingerprint(Key(MATERIAL)), DEMO_KEY)


def hkdf_sha256(material: bytes, salt: bytes, info: bytes) -> bytes:
    """The first 32 bytes of HKDF, written out as in RFC 5869."""
    extracted = hmac.new(salt, material, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def test_written_out_hkdf_gives_the_first_vector_of_the_rfc() -> None:
    derived = hkdf_sha256(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)))
    assert derived.hex() == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"


@pytest.mark.parametrize("purpose", ["row", "person", ""])
def test_derivation_is_hkdf_sha256(purpose: str) -> None:
    expected = hkdf_sha256(MATERIAL, b"nhs-omop key derivation v1", purpose.encode())
    assert derive(Key(MATERIAL), purpose).material == expected


@pytest.mark.parametrize(
    ("purpose", "expected"),
    [
        ("row", "078c5f24024a6e84cfd5dbcf415203aafb11ecd4115f41e9699a045ce5acdaed"),
        ("person", "e02836026ca4c0ad09c972ac65912d0e3337a3ad4791cb8f6b7762374242208e"),
    ],
)
def test_derived_keys_are_those_of_earlier_releases(purpose: str, expected: str) -> None:
    assert derive(Key(MATERIAL), purpose).material.hex() == expected


def test_derived_keys_differ_by_purpose() -> None:
    assert derive(Key(MATERIAL), "person") != derive(Key(MATERIAL), "row")


@pytest.mark.parametrize("length", [32, 64, 65, 200])
def test_pads_make_hmac_sha256(length: int) -> None:
    material = bytes(byte % 251 for byte in range(length))
    inner, outer = hmac_pads(Key(material))
    message = "Zoë 999".encode()
    digest = hashlib.sha256(outer + hashlib.sha256(inner + message).digest()).hexdigest()
    assert digest == hmac.new(material, message, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("reference", "extra"),
    [
        (AzureKeyVaultSecret(kind="azure_key_vault", vault_url="https://vault.example", name="k"), "azure"),
        (DatabricksSecret(kind="databricks_secret", scope="s", name="k"), "databricks"),
    ],
)
def test_missing_client_names_the_extra(
    reference: AzureKeyVaultSecret | DatabricksSecret, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("azure.identity", "databricks.sdk"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(KeyMissingError, match=rf"nhs-omop\[{extra}\]"):
        resolve_key(reference, production=True)


def test_databricks_secret_is_read_by_scope_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Secrets:
        def get(self, scope: str, name: str) -> str:
            return {("sde", "key"): MATERIAL.hex()}[scope, name]

    class Client:
        dbutils = type("Utilities", (), {"secrets": Secrets()})

    monkeypatch.setitem(sys.modules, "databricks.sdk", type("sdk", (), {"WorkspaceClient": Client}))
    reference = DatabricksSecret(kind="databricks_secret", scope="sde", name="key")
    assert resolve_key(reference, production=True).material == MATERIAL
    with pytest.raises(KeyMissingError, match="sde/other"):
        resolve_key(DatabricksSecret(kind="databricks_secret", scope="sde", name="other"), production=True)
