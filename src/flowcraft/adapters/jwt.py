"""JWT: authenticate a viewer by a signed token (RFC 7519)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from flowcraft.errors import TokenExpired, TokenInvalid
from flowcraft.viewers import Viewer

Algorithm = Literal["HS256", "RS256"]
_SHORTEST_SECRET = 32
_LONGEST_TOKEN = 16 * 1024


class JwtAuthorizer:
    """Accepts tokens with `sub`, `iat` and `exp`, signed with one key and one algorithm.

    `required=True` refuses connections without a token; otherwise they are anonymous, and every
    guarded channel is closed to them. The algorithm is never taken from the token (RFC 8725 §3.1).

    Raises:
        ValueError: the secret has fewer than 32 bytes, which makes it guessable.
    """

    def __init__(
        self,
        key: str,
        *,
        algorithm: Algorithm = "HS256",
        audience: str | Sequence[str] | None = None,
        issuer: str | None = None,
        required: bool = True,
        leeway_seconds: float = 0.0,
    ) -> None:
        # Imported here: with cryptography, the import takes a third of a command's start time.
        import jwt

        if algorithm == "HS256" and len(key.encode()) < _SHORTEST_SECRET:
            raise ValueError(
                f"the secret has {len(key.encode())} bytes; HS256 needs at least {_SHORTEST_SECRET}, "
                "for example from `openssl rand -base64 32`"
            )
        self._jwt = jwt
        self._key = key
        self._algorithm = algorithm
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway_seconds
        self._required = required

    @property
    def required(self) -> bool:
        """Whether a connection without a token is refused altogether."""
        return self._required

    async def authenticate(self, token: str) -> Viewer:
        """Return the viewer that a token proves.

        Raises:
            TokenExpired: the token is past its `exp`.
            TokenInvalid: any other fault; the text does not reveal which.
        """
        if len(token) > _LONGEST_TOKEN:
            raise TokenInvalid
        try:
            claims: dict[str, object] = self._jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iat", "sub"], "verify_aud": self._audience is not None},
            )
        except self._jwt.ExpiredSignatureError:
            raise TokenExpired from None
        except self._jwt.PyJWTError:
            raise TokenInvalid from None
        expires_at = claims["exp"]
        assert isinstance(expires_at, int | float)
        return Viewer(str(claims["sub"]), claims, float(expires_at) + self._leeway)

    def __repr__(self) -> str:
        return f"JwtAuthorizer(algorithm={self._algorithm!r}, required={self._required})"
