"""Sealing: AES-256-GCM in an envelope that contains the id of its key. No models, no settings.

Envelope: version (1 byte) | key id (8) | nonce (12) | ciphertext and tag.
"""

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

VERSION = b"\x01"
KEY_ID_BYTES = 8
NONCE_BYTES = 12
KEY_BYTES = 32


class KeyUnusable(ValueError):
    """The configured encryption key is missing or malformed. Never carries the key itself."""


class SealBroken(ValueError):
    """The envelope cannot be opened: unknown key, another row's envelope, or changed bytes."""


@dataclass(frozen=True)
class Keyring:
    """The first key seals, each of them opens."""

    keys: tuple[bytes, ...]

    @classmethod
    def parse(cls, text: str) -> "Keyring":
        """Comma-separated keys, each 32 bytes as base64 or hex. Raises KeyUnusable."""
        keys = tuple(_key(part.strip()) for part in text.split(",") if part.strip())
        if not keys:
            raise KeyUnusable("SECRETS_ENCRYPTION_KEY is not set: secrets cannot be stored or read")
        return cls(keys)

    def seal(self, plaintext: bytes, *, context: str) -> bytes:
        """The envelope of a value. `context` (table, workspace, key name) is authenticated: it opens for no other."""
        key = self.keys[0]
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + key_id(key) + nonce + AESGCM(key).encrypt(nonce, plaintext, context.encode())

    def unseal(self, envelope: bytes, *, context: str) -> bytes:
        """The value in the envelope. Raises SealBroken."""
        head = len(VERSION) + KEY_ID_BYTES
        wanted, nonce = envelope[len(VERSION) : head], envelope[head : head + NONCE_BYTES]
        key = next((key for key in self.keys if key_id(key) == wanted), None)
        if envelope[: len(VERSION)] != VERSION or len(nonce) != NONCE_BYTES or key is None:
            raise SealBroken("sealed with an unknown key or format")
        try:
            return AESGCM(key).decrypt(nonce, envelope[head + NONCE_BYTES :], context.encode())
        except InvalidTag:
            raise SealBroken("the sealed value was changed, or belongs to another row") from None


def key_id(key: bytes) -> bytes:
    """Identifies a key without revealing it."""
    return hashlib.sha256(b"molecule key id" + key).digest()[:KEY_ID_BYTES]


def _key(text: str) -> bytes:
    for decode in (bytes.fromhex, lambda value: base64.b64decode(value, validate=True)):
        try:
            key = decode(text)
        except (ValueError, binascii.Error):
            continue
        if len(key) == KEY_BYTES:
            return key
    raise KeyUnusable("SECRETS_ENCRYPTION_KEY must be 32 bytes as base64 or hex; make one with: openssl rand -hex 32")
