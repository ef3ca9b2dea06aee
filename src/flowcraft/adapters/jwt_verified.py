"""Verified tokens: remember which tokens a key has signed, so that a signature is checked once per token."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from flowcraft.adapters.jwt_keys import VerificationKey

_MOST_TOKENS = 16_384
"""Of all clients of one process, and some that have gone: they come back after a network failure."""
_LONGEST_CLAIMS = 2_048
"""Bytes; the claims of all remembered tokens have at most 32 MiB, and usually 5."""


class Verified(msgspec.Struct, frozen=True):
    """A token whose signature, audience and issuer were found right; its times are checked each time."""

    algorithm: str
    kid: str | None
    key: VerificationKey
    _claims: bytes

    def is_by_one_of(self, keys: Sequence[VerificationKey]) -> bool:
        """Return whether the key that signed it is in use still: the same object, not one of its name."""
        return any(key is self.key for key in keys)

    def claims(self) -> dict[str, Any]:
        """Return the claims, for one viewer: an application may change what it is given."""
        found: dict[str, Any] = json.loads(self._claims)
        return found


class VerifiedTokens:
    """The tokens that were verified last, by their SHA-256: a token itself is not kept in memory."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[bytes, Verified] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tokens)

    def get(self, token: str) -> Verified | None:
        """Return what is known of a token, every character of which counts."""
        digest = _digest(token)
        found = self._tokens.get(digest)
        if found is not None:
            self._tokens.move_to_end(digest)
        return found

    def add(self, token: str, algorithm: str, kid: str | None, key: VerificationKey, claims: object) -> None:
        """Remember a verified token in the place of the one that was used longest ago."""
        try:
            written = json.dumps(claims).encode()
        except RecursionError:  # nested as deeply as can just be read
            return
        if len(written) > _LONGEST_CLAIMS:
            return
        self._tokens[_digest(token)] = Verified(algorithm, kid, key, written)
        if len(self._tokens) > _MOST_TOKENS:
            self._tokens.popitem(last=False)

    def forget(self, token: str) -> None:
        """Forget a token that is not accepted any longer; idempotent."""
        self._tokens.pop(_digest(token), None)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
