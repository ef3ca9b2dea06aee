"""Tokens: a login that publishes its keys, and signs tokens good and bad."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUDIENCE = "faults"


class Login:
    """Keys by `kid`, and the address at which the public ones are published, as `Jwks` fetches them."""

    def __init__(self) -> None:
        self.published: list[str] = []
        self.fetched = 0
        self.port = 0
        self._keys: dict[str, Ed25519PrivateKey] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, *kids: str) -> AsyncIterator[Login]:
        """Publish keys until the block ends."""
        login = cls()
        for kid in kids:
            login.rotate_in(kid)
        server = await asyncio.start_server(login._answer, "127.0.0.1", 0)
        login.port = server.sockets[0].getsockname()[1]
        try:
            yield login
        finally:
            server.close()

    @property
    def url(self) -> str:
        """Where the key set is."""
        return f"http://127.0.0.1:{self.port}/jwks.json"

    def rotate_in(self, kid: str) -> None:
        """Make a key, and publish it."""
        self._keys[kid] = Ed25519PrivateKey.generate()
        self.published.append(kid)

    def rotate_out(self, kid: str) -> None:
        """Publish a key no longer; it still signs, as a stolen one does."""
        self.published.remove(kid)

    def token(
        self, subject: str, *, kid: str, seconds: float = 300.0, claims: Mapping[str, object] | None = None
    ) -> str:
        """Return a token of a subject, for so many seconds."""
        now = time.time()
        content = {"sub": subject, "aud": AUDIENCE, "iat": now, "exp": now + seconds, **(claims or {})}
        return jwt.encode(content, self._keys[kid], algorithm="EdDSA", headers={"kid": kid})

    def forged(self, subject: str, *, kid: str) -> list[str]:
        """Return tokens that prove nothing."""
        now = int(time.time())
        content = {"sub": subject, "aud": AUDIENCE, "iat": now, "exp": now + 300}
        good, other = self.token(subject, kid=kid), Ed25519PrivateKey.generate()
        head, body, signature = good.split(".")
        public = self._keys[kid].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        # As an attacker signs by hand: the library refuses to sign with a public key as a secret.
        by_public_key = jwt.encode(content, base64.b64encode(public), algorithm="HS256", headers={"kid": kid})
        return [
            jwt.encode(content, "", algorithm="none", headers={"kid": kid}),
            jwt.encode(content, other, algorithm="EdDSA", headers={"kid": kid}),
            by_public_key,
            self.token(subject, kid=kid, claims={"aud": "another"}),
            self.token(subject, kid=kid, seconds=-3600),
            f"{head}.{_encoded({**content, 'sub': 'someone else'})}.{signature}",
            f"{head}.{body}.",
            f"{head}.{body}",
            good[:-8],
            "",
            "null",
        ]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.fetched += 1
        await reader.readuntil(b"\r\n\r\n")
        keys = [{**_jwk(self._keys[kid]), "kid": kid} for kid in self.published]
        content = json.dumps({"keys": keys}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + content)
        await writer.drain()
        writer.close()


def _jwk(key: Ed25519PrivateKey) -> dict[str, str]:
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": _base64(public)}


def _encoded(content: object) -> str:
    return _base64(json.dumps(content).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
