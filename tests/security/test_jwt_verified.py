"""Remembered tokens: a signature is checked once per token, and nothing else is left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import jwt
import pytest

from flowcraft.adapters import jwt_verified
from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.adapters.jwt_keys import VerificationKey, read_key
from flowcraft.errors import TokenExpired, TokenInvalid, TokenNotUsableYet
from tests.security.test_jwt import CLAIMS, NOW, SECRET, authorizer, signed, token

OTHER = "another secret of at least thirty-two bytes"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens whose signatures were checked."""
    found: list[str] = []
    real = jwt.decode

    def decode(text: str, *arguments: object, **options: object) -> object:
        found.append(text)
        return real(text, *arguments, **options)  # type: ignore[arg-type]  # as they came

    monkeypatch.setattr(jwt, "decode", decode)
    return found


class Keys:
    """A key source whose keys change."""

    def __init__(self, *secrets: str, kid: str = "one") -> None:
        self.replace(*secrets, kid=kid)

    def replace(self, *secrets: str, kid: str = "one") -> None:
        self.keys = [read_key(secret, ["HS256"], kid) for secret in secrets]

    def check(self, algorithms: Sequence[str]) -> None:
        pass

    async def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        if not self.keys:
            raise TokenNotUsableYet("there is no key now")
        return [key for key in self.keys if algorithm in key.algorithms and kid in (None, key.kid)]


async def test_a_signature_is_checked_once_per_token(decoded: list[str]) -> None:
    tried, text = authorizer(), token(role="admin")
    first, again = await tried.authenticate(text), await tried.authenticate(text)
    assert first == again
    assert again.claims == {"sub": "ada", "exp": NOW + 60, "role": "admin"}
    assert decoded == [text]


async def test_a_token_that_was_refused_is_checked_again(decoded: list[str]) -> None:
    tried, forged = authorizer(), token(OTHER)
    for _ in range(2):
        with pytest.raises(TokenInvalid):
            await tried.authenticate(forged)
    assert decoded == [forged, forged]


async def test_a_token_with_another_signature_is_another_token() -> None:
    tried, text = authorizer(), token()
    await tried.authenticate(text)
    head, claims, signature = text.split(".")
    forged = ".".join((head, claims, ("A" if signature[0] != "A" else "B") + signature[1:]))
    with pytest.raises(TokenInvalid):
        await tried.authenticate(forged)


async def test_times_are_checked_each_time() -> None:
    now = float(NOW)
    tried = JwtAuthorizer(SECRET, clock=lambda: now, leeway_seconds=0)
    text = token(nbf=NOW)
    await tried.authenticate(text)
    now = NOW - 1
    with pytest.raises(TokenNotUsableYet):
        await tried.authenticate(text)
    now = NOW + 60
    with pytest.raises(TokenExpired):
        await tried.authenticate(text)


async def test_a_token_of_a_key_that_is_withdrawn_is_refused() -> None:
    keys = Keys(SECRET)
    tried, text = authorizer(keys=keys), token(headers={"kid": "one"})
    await tried.authenticate(text)
    keys.replace(SECRET, kid="two")
    with pytest.raises(TokenInvalid):
        await tried.authenticate(text)
    keys.replace()
    with pytest.raises(TokenNotUsableYet):
        await tried.authenticate(text)


async def test_a_token_of_a_key_that_is_replaced_under_its_kid_is_refused() -> None:
    keys = Keys(SECRET)
    tried, text = authorizer(keys=keys), token(headers={"kid": "one"})
    await tried.authenticate(text)
    keys.replace(OTHER)
    with pytest.raises(TokenInvalid):
        await tried.authenticate(text)
    keys.replace(SECRET, OTHER)
    assert (await tried.authenticate(text)).subject == "ada"


async def test_a_viewer_does_not_see_what_was_changed_in_the_claims_of_another() -> None:
    tried, text = authorizer(), token(rooms=["a"])
    for _ in range(3):
        rooms = cast(list[str], (await tried.authenticate(text)).claims["rooms"])
        assert rooms == ["a"]
        rooms.append("b")


async def test_the_tokens_that_were_used_last_are_remembered(
    decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwt_verified, "_MOST_TOKENS", 2)
    tried = authorizer()
    one, two, three = (token(sub=name) for name in ("one", "two", "three"))
    for text in (one, two, one, three, one, two):
        await tried.authenticate(text)
    assert decoded == [one, two, three, two]


async def test_long_and_deeply_nested_claims_are_accepted_and_not_remembered(decoded: list[str]) -> None:
    tried = authorizer()
    deep = signed(CLAIMS[:-1] + ', "deep": ' + "[" * 900 + "]" * 900 + "}")
    for text in (token(long="x" * 3000), deep):
        decoded.clear()
        assert [(await tried.authenticate(text)).subject for _ in range(2)] == ["ada", "ada"]
        assert decoded == [text, text] or text is deep
