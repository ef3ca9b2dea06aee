"""JWT: authenticate a viewer by a signed token (RFC 7519)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from flowcraft.adapters.jwt_keys import (
    Algorithm,
    Key,
    KeySource,
    UnusableKey,
    VerificationKey,
    check_algorithms,
    check_fit,
    read_key,
)
from flowcraft.adapters.jwt_verified import Verified, VerifiedTokens
from flowcraft.errors import TokenExpired, TokenInvalid, TokenNotUsableYet
from flowcraft.viewers import Viewer

_LONGEST_TOKEN = 16 * 1024
_LONGEST_LEEWAY = 3600.0
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999: a later `exp` is a mistake, such as milliseconds."""


class JwtAuthorizer:
    """Accepts signed tokens with `sub` and `exp`.

    One key is a secret for HS256, or a public key in PEM: `JwtAuthorizer(pem, algorithm="RS256")`. Several
    keys, for their rotation: `keys={"2026-11": old, "2026-12": new}` by the `kid` of the token,
    `keys=[old, new]` if tokens have none, or `keys=Jwks("https://…")`. Only the algorithms that are named
    here are accepted, each only with keys of its type (RFC 8725 §3.1).

    `required=True` refuses connections without a token; otherwise they are anonymous, and every guarded
    channel is closed to them. `leeway_seconds` is how far the clocks of login and server may differ: a token
    is accepted so long before `nbf` and `iat`, and after `exp`. A connection ends at the `exp` of its token.

    Raises:
        ValueError: a key is no key, too short, or does not fit the algorithms; or another value cannot work.
    """

    def __init__(  # noqa: PLR0913  # each is a choice of the application's, by name
        self,
        key: Key | None = None,
        *,
        keys: Mapping[str, Key] | Sequence[Key] | KeySource | None = None,
        algorithm: Algorithm | None = None,
        algorithms: Sequence[Algorithm] | None = None,
        audience: str | Sequence[str] | None = None,
        issuer: str | None = None,
        required: bool = True,
        leeway_seconds: float = 30.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # Imported here: with cryptography, the import takes a third of a command's start time.
        import jwt

        if algorithm is not None and algorithms is not None:
            raise ValueError("pass algorithm=... or algorithms=..., not both")
        self._algorithms = check_algorithms((algorithm or "HS256",) if algorithms is None else algorithms)
        self._keys = _source(key, keys, self._algorithms)
        _check_names(audience, issuer)
        if not 0 <= leeway_seconds <= _LONGEST_LEEWAY:
            raise ValueError(f"leeway_seconds is 0 to {_LONGEST_LEEWAY:g}, got {leeway_seconds}")
        self._jwt = jwt
        self._audience = audience
        self._issuer = issuer
        self._leeway = leeway_seconds
        self._required = required
        self._clock = clock
        self._verified = VerifiedTokens()

    @property
    def required(self) -> bool:
        """Whether a connection without a token is refused altogether."""
        return self._required

    async def authenticate(self, token: str) -> Viewer:
        """Return the viewer that a token proves.

        Raises:
            TokenExpired: the token is past its `exp`.
            TokenNotUsableYet: the token is not valid yet, or its key is not known now.
            TokenInvalid: any other fault; the text does not reveal which, `reason` does.
        """
        if len(token) > _LONGEST_TOKEN:
            raise TokenInvalid(f"it is longer than {_LONGEST_TOKEN} bytes")
        known = self._verified.get(token)
        claims = await self._verify_first(token) if known is None else await self._verify_again(token, known)
        return Viewer(_subject(claims), claims, self._check_times(claims), self._leeway)

    def __repr__(self) -> str:
        return f"JwtAuthorizer(algorithms={self._algorithms!r}, required={self._required})"

    async def _verify_again(self, token: str, known: Verified) -> dict[str, Any]:
        """Return the claims of a token that was verified before, if the key that signed it is still used."""
        if known.is_by_one_of(await self._keys.find(known.kid, known.algorithm)):
            return known.claims()
        self._verified.forget(token)
        return await self._verify_first(token)

    async def _verify_first(self, token: str) -> dict[str, Any]:
        algorithm, kid = self._read_header(token)
        key, claims = self._verify(token, await self._keys.find(kid, algorithm), algorithm)
        self._verified.add(token, algorithm, kid, key, claims)
        return claims

    def _read_header(self, token: str) -> tuple[str, str | None]:
        """Return algorithm and kid of a token; they only choose among the keys and algorithms of ours."""
        try:
            header = self._jwt.get_unverified_header(token)
        except (self._jwt.PyJWTError, ValueError, RecursionError):
            raise TokenInvalid("it is malformed") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._algorithms:
            raise TokenInvalid(
                f"its algorithm is {str(algorithm)[:20]!r}, not {' or '.join(self._algorithms)}"
            )
        if kid is not None and not isinstance(kid, str):
            raise TokenInvalid("its kid is not a text")
        if "crit" in header or "b64" in header:
            raise TokenInvalid("it needs an extension that is not supported")
        return algorithm, kid

    def _verify(
        self, token: str, keys: Sequence[VerificationKey], algorithm: str
    ) -> tuple[VerificationKey, dict[str, Any]]:
        """Return the key that signed a token, and the claims."""
        reason = "no key fits its algorithm"
        for key in keys:
            if algorithm not in key.algorithms:
                continue
            try:
                claims = self._jwt.decode(
                    token,
                    key.material,
                    algorithms=[algorithm],
                    audience=self._audience,
                    issuer=self._issuer,
                    options={
                        "require": ["exp", "sub"],
                        "verify_aud": self._audience is not None,
                        "verify_exp": False,  # see `_check_times`
                        "verify_nbf": False,
                        "verify_iat": False,
                    },
                )
            except self._jwt.InvalidSignatureError:
                reason = "its signature is not of the key"
            except (self._jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as error:
                # Not the text of the error: it may have parts of the token.
                raise TokenInvalid(_REASONS.get(type(error).__name__, "it is malformed")) from None
            else:
                return key, claims
        raise TokenInvalid(reason)

    def _check_times(self, claims: Mapping[str, object]) -> float:
        """Check `exp`, `nbf` and `iat`, and return `exp`."""
        now = self._clock()
        expires_at = _time(claims, "exp")
        for name in ("nbf", "iat"):
            if name in claims and _time(claims, name) > now + self._leeway:
                raise TokenNotUsableYet(f"its {name} is in the future; do the clocks differ?")
        if expires_at <= now - self._leeway:
            raise TokenExpired(f"it expired {now - expires_at:.0f} s ago")
        return expires_at


_REASONS = {
    "InvalidAudienceError": "it is for another audience",
    "InvalidIssuerError": "it is of another issuer",
    "InvalidSubjectError": "its sub is not a text",
    "MissingRequiredClaimError": "it lacks one of exp, sub, aud, iss",
}


class _ConfiguredKeys:
    """The keys that an application passed."""

    def __init__(self, keys: Sequence[VerificationKey]) -> None:
        self._all = tuple(keys)

    def check(self, algorithms: Sequence[str]) -> None:
        check_fit(self._all, algorithms)

    async def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        fitting = [key for key in self._all if algorithm in key.algorithms]
        found = [key for key in fitting if kid is None or key.kid is None or key.kid == kid]
        if not found:  # another server may have been given the new key before this one
            raise TokenNotUsableYet(f"no key {(kid or '')[:64]!r} for {algorithm} is configured")
        return found


def _source(key: object, keys: object, algorithms: Sequence[str]) -> KeySource:
    if (key is None) == (keys is None):
        raise UnusableKey(
            "pass one key, or keys=...; the key is None: is the environment variable with it set?"
            if key is None
            else "pass one key or keys=..., not both"
        )
    source: KeySource
    if keys is None:
        source = _ConfiguredKeys([read_key(key, algorithms)])
    elif isinstance(keys, Mapping):
        named = cast("Mapping[object, object]", keys)
        source = _ConfiguredKeys([read_key(one, algorithms, _kid(kid)) for kid, one in named.items()])
    elif isinstance(keys, str | bytes):
        raise UnusableKey("keys=... takes several keys; pass one key as the first argument")
    elif isinstance(keys, Sequence):
        listed = cast("Sequence[object]", keys)
        source = _ConfiguredKeys([read_key(one, algorithms) for one in listed])
    elif hasattr(keys, "find") and hasattr(keys, "check"):
        source = cast(KeySource, keys)
    else:
        raise UnusableKey(
            f"keys is {type(keys).__name__}; expected keys by kid, a list of keys, or Jwks(...)"
        )
    source.check(algorithms)
    return source


def _kid(kid: object) -> str:
    if not isinstance(kid, str) or not kid:
        raise UnusableKey(f"keys are named by their kid, a text, not {kid!r}")
    return kid


def _check_names(audience: object, issuer: object) -> None:
    audiences = audience if isinstance(audience, list | tuple | set | frozenset) else [audience]  # pyright: ignore[reportUnknownVariableType]
    if not audiences or not all(one is None or (isinstance(one, str) and one) for one in audiences):  # pyright: ignore[reportUnknownVariableType]
        raise ValueError(f"audience={audience!r}: expected the claim `aud` as text, or several; None for any")
    if issuer is not None and not (isinstance(issuer, str) and issuer):
        raise ValueError(f"issuer={issuer!r}: expected the claim `iss` as text; None for any")


def _subject(claims: Mapping[str, object]) -> str:
    subject = claims["sub"]
    if not isinstance(subject, str) or not subject:
        raise TokenInvalid("its sub is not a text")
    return subject


def _time(claims: Mapping[str, object], name: str) -> float:
    """Return a time of a token in seconds since the epoch (RFC 7519 §2: it may have a fraction)."""
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenInvalid(f"its {name} is not a number of seconds")
    if not 0 <= value <= _LAST_SECOND:  # nor NaN; an int may be too large for a float
        raise TokenInvalid(f"its {name} is out of range")
    return float(value)
