"""The pseudonymisation key: where it comes from, how it is recognised, and what is derived from it.

The key makes every pseudonym and id. It is never generated silently, printed, logged, pickled or stored; what is stored is
a fingerprint, so that a run with another key stops before it mints a second population.
"""

import base64
import codecs
import hashlib
import hmac
import os
import secrets
import string
from collections import Counter
from pathlib import Path
from typing import NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipelines.errors import ConfigError, KeyChangedError, KeyMissingError
from pipelines.secrets import SecretReference

KEY_BYTES = 32
"""The least length of a key, and the length of a new one."""

_LEAST_DISTINCT_BYTES = 12
_LEAST_OF_A_LINE = 32
"""Characters of a line of base64 that is not the last: programs break it at 64 or 76. Words of a pass phrase are shorter."""

_MOST_PRINTABLE, _MOST_OF_ONE_BYTE = 7 / 8, 1 / 4
"""Shares that no 32 random bytes come to (once in 100 million): text in an old code page has more, or in UTF-16 and UTF-32."""

_BLOCK_BYTES = 64
_FINGERPRINT_MESSAGE = b"nhs-omop key check value"
_SALT = b"nhs-omop key derivation v1"
_PUBLISHED_FINGERPRINTS = frozenset({"ee469eb13ce4a5428e8f38122139c8fee7a1954fe6fbd3d594ccd77eba1f501e"})
"""Of keys that are in source code, for generated extracts only. Everybody knows them, so production refuses them."""

_HOW_TO_MAKE_ONE = "make one with: nhs-omop key new --out FILE"


class Key:
    """Key material that does not show itself in a repr, a log or a pickle."""

    __slots__ = ("_material",)

    def __init__(self, material: bytes) -> None:
        """Take the material; raises KeyMissingError where it is too short or has no randomness to speak of."""
        if len(material) < KEY_BYTES:
            raise KeyMissingError(f"the key is too short: {KEY_BYTES} random bytes are needed; {_HOW_TO_MAKE_ONE}")
        if len(set(material)) < _LEAST_DISTINCT_BYTES:
            raise KeyMissingError(f"the key is not random: it repeats a few bytes; {_HOW_TO_MAKE_ONE}")
        self._material = bytes(material)

    @property
    def material(self) -> bytes:
        """The bytes themselves, for the HMAC only."""
        return self._material

    def __repr__(self) -> str:
        return "Key(hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and hmac.compare_digest(self._material, other._material)

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


def resolve_key(reference: SecretReference, *, production: bool, in_use: str | None = None) -> Key:
    """The key that a reference points to, as hexadecimal, base64 or binary; read once: the environment is cleared.

    `in_use` is the mark of the key that tables or releases were made with, where there are any: no new one will do.
    Raises KeyMissingError where there is none, it is too short or not random, or it is a published key in production.
    """
    try:
        content = reference.resolve()
        reference.clear()
    except ConfigError as error:
        put_back = f"What is here was made with the key of fingerprint {in_use}: put that one back, another is refused"
        step = put_back if in_use else f"To begin, {_HOW_TO_MAKE_ONE}"
        raise KeyMissingError(f"no pseudonymisation key: {error}. {step}") from error
    key = Key(_decoded(content))
    if production and not _PUBLISHED_FINGERPRINTS.isdisjoint({fingerprint(key), _fingerprint(key.material.rstrip(b"\r\n"))}):
        raise KeyMissingError(f"the demo key is public and refused in production; {_HOW_TO_MAKE_ONE}")
    return key


def _decoded(content: bytes) -> bytes:
    """Key bytes from hexadecimal or base64 text, or the content itself where it is no text.

    Text of another kind would be a pass phrase, which is far easier to guess than random bytes, and is refused.
    """
    text = _text(content)
    if text is None:
        material = content if _looks_random(content) else None
    else:
        material = _material_of(text.split())
    if material is None:
        raise KeyMissingError(f"the key is neither hexadecimal, base64 nor random bytes; {_HOW_TO_MAKE_ONE}")
    return material


def _material_of(lines: list[str]) -> bytes | None:
    """The bytes that lines of hexadecimal or base64 stand for; None for other text."""
    joined = "".join(lines)
    if len(joined) % 2 == 0 and set(joined) <= set(string.hexdigits):
        return bytes.fromhex(joined)
    are_words = any(len(line) < _LEAST_OF_A_LINE for line in lines[:-1]) or joined in (joined.lower(), joined.upper())
    try:
        return None if are_words else base64.b64decode(joined.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        return None


def _text(content: bytes) -> str | None:
    """The text of a file, without the mark of its encoding that programs of Windows begin it with; None where it is none."""
    of_windows = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if of_windows else "utf-8-sig")
    except UnicodeDecodeError:
        return None


def _looks_random(content: bytes) -> bool:
    counts = Counter(content)
    printable = sum(counts[ord(character)] for character in string.printable)
    return printable <= _MOST_PRINTABLE * len(content) and max(counts.values()) <= _MOST_OF_ONE_BYTE * len(content)


def new_key_file(path: Path, key: Key | None = None) -> Key:
    """Write a new random key (or the given one) as hexadecimal to a file only its owner can read; return the key.

    Raises ConfigError where the file is there already or cannot be written.
    """
    made = key or Key(secrets.token_bytes(KEY_BYTES))
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise ConfigError(f"{path} is there already and is not overwritten: losing a key loses every link it made") from error
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(made.material.hex() + "\n")
    return made


def fingerprint(key: Key) -> str:
    """What may be stored of a key to know it again: an HMAC of a fixed message, in hexadecimal."""
    return _fingerprint(key.material)


def _fingerprint(material: bytes) -> str:
    return hmac.new(material, _FINGERPRINT_MESSAGE, hashlib.sha256).hexdigest()


def check_fingerprint(stored: str | None, key: Key) -> str:
    """The fingerprint of the key, which must be the stored one where there is one.

    Raises KeyChangedError: with another key every person would become a stranger to the releases already made.
    """
    current = fingerprint(key)
    if stored is not None and not hmac.compare_digest(stored, current):
        raise KeyChangedError(
            "the pseudonymisation key is not the one that made the tables here. Put the former key back, or, to rotate keys on "
            "purpose, start with empty storage roots: every id changes"
        )
    return current


def derive(key: Key, purpose: str) -> Key:
    """A key for a single purpose (HKDF-SHA256 of RFC 5869), so that pseudonyms of two purposes cannot be compared."""
    return Key(HKDF(SHA256(), KEY_BYTES, _SALT, purpose.encode()).derive(key.material))


def hmac_pads(key: Key) -> tuple[bytes, bytes]:
    """The inner and outer pad of HMAC-SHA256, for engines that have SHA-256 but no HMAC.

    HMAC(m) = sha256(outer || sha256(inner || m)). The pads are key material: give them to the engine as the data of a
    table, never as literals, which appear in plans and logs.
    """
    material = key.material
    block = (hashlib.sha256(material).digest() if len(material) > _BLOCK_BYTES else material).ljust(_BLOCK_BYTES, b"\0")
    return bytes(byte ^ 0x36 for byte in block), bytes(byte ^ 0x5C for byte in block)
