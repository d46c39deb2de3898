"""An envelope opens with its key, in its context and unchanged; otherwise not at all."""

import base64

import pytest

from registry.secrets.sealing import Keyring, KeyUnusable, SealBroken, key_id

OLD, NEW = b"o" * 32, b"n" * 32
HERE, ELSEWHERE = "workspace_secrets:1:KEY", "workspace_secrets:2:KEY"


@pytest.mark.parametrize("text", [OLD.hex(), base64.b64encode(OLD).decode(), f" {OLD.hex()} , {NEW.hex()}"])
def test_keys_come_as_hex_or_base64_and_the_first_seals(text: str) -> None:
    sealed = Keyring.parse(text).seal(b"value", context=HERE)
    assert sealed[1:9] == key_id(OLD)
    assert Keyring((NEW, OLD)).unseal(sealed, context=HERE) == b"value"


@pytest.mark.parametrize("text", ["", " , ", "short", "zz" * 32, OLD.hex()[:-2], OLD.hex() + ",nonsense"])
def test_an_unusable_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(KeyUnusable) as refused:
        Keyring.parse(text)
    assert "32 bytes" in str(refused.value) or "not set" in str(refused.value)
    assert not text.strip(" ,") or text not in str(refused.value)


def test_the_envelope_hides_the_value_and_never_repeats() -> None:
    keyring = Keyring((OLD,))
    first, second = (keyring.seal(b"canary", context=HERE) for _ in range(2))
    assert b"canary" not in first
    assert first != second


def test_it_does_not_open_with_another_context_or_key_or_changed() -> None:
    keyring = Keyring((OLD,))
    sealed = keyring.seal(b"value", context=HERE)
    with pytest.raises(SealBroken):
        keyring.unseal(sealed, context=ELSEWHERE)
    with pytest.raises(SealBroken):
        Keyring((NEW,)).unseal(sealed, context=HERE)
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            keyring.unseal(bytes(changed), context=HERE)
    for length in range(len(sealed)):
        with pytest.raises(SealBroken):
            keyring.unseal(sealed[:length], context=HERE)
