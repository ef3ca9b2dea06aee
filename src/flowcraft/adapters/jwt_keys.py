"""JWT keys: the algorithms, and keys that each fit exactly the algorithms of their type (RFC 7518 §3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

Algorithm: TypeAlias = Literal[
    "HS256",
    "HS384",
    "HS512",
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
]
ALGORITHMS: tuple[str, ...] = get_args(Algorithm)
_SHORTEST_SECRETS = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Bytes: a secret is at least as long as the hash (RFC 7518 §3.2)."""
_SHORTEST_RSA_BITS = 2048
_CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})


class UnusableKey(ValueError):
    """A key cannot verify tokens; the text names the reason, and what to pass."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """A key, and the algorithms that it may verify: never the token's choice (RFC 8725 §3.1)."""

    material: Any
    """A secret as bytes, or a public key of `cryptography`."""
    algorithms: frozenset[str]
    kid: str | None = None

    def __repr__(self) -> str:
        return f"VerificationKey(kid={self.kid!r}, algorithms={sorted(self.algorithms)})"


class KeySource(Protocol):
    """Finds the keys for a token; `JwtAuthorizer` takes one, such as `Jwks`."""

    async def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys that may have signed a token with this `kid`; none if there is no such key.

        Raises:
            TokenNotUsableYet: the keys cannot be fetched now, or the key may be one that is published later.
        """
        ...

    def check(self, algorithms: Sequence[str]) -> None:
        """Check that the keys fit the algorithms.

        Raises:
            UnusableKey: they do not.
        """
        ...


Key: TypeAlias = str | bytes
"""A secret (HS256, HS384, HS512), or a public key in PEM."""


def check_algorithms(names: object) -> tuple[str, ...]:
    """Return the algorithms as a tuple.

    Raises:
        ValueError: there is none, or one is unknown.
    """
    if isinstance(names, str):
        names = (names,)
    if not isinstance(names, Sequence) or not names:
        raise ValueError(f"algorithms={names!r}: expected names, such as ('RS256', 'ES256')")
    for name in names:  # pyright: ignore[reportUnknownVariableType]
        if name not in ALGORITHMS:
            raise ValueError(f"algorithm {name!r} is not supported; expected one of {', '.join(ALGORITHMS)}")
    return tuple(map(str, names))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def read_key(key: object, algorithms: Sequence[str], kid: str | None = None) -> VerificationKey:
    """Return a key that an application configured.

    Raises:
        UnusableKey: it is no key, is too short, is private, or fits none of the algorithms.
    """
    name = "the key" if kid is None else f"the key {kid!r}"
    if not isinstance(key, str | bytes):
        hint = "; is the environment variable with it set?" if key is None else ""
        raise UnusableKey(f"{name} is {type(key).__name__}, expected text or bytes{hint}")
    text = key.encode() if isinstance(key, str) else key
    if not text.strip():
        raise UnusableKey(f"{name} is empty; is the environment variable with it set?")
    if _is_pem(text):
        return _public_key(name, text, algorithms, kid)
    secret_algorithms = [one for one in algorithms if one in _SHORTEST_SECRETS]
    if not secret_algorithms:
        raise UnusableKey(
            f"{name} is not in PEM; {algorithms[0]} needs a public key, "
            "which begins with -----BEGIN PUBLIC KEY-----"
        )
    if text.lstrip().startswith((b"{", b"ssh-", b"ecdsa-sha2-")):
        raise UnusableKey(f"{name} is a public key in another format; convert it to PEM")
    return _secret(name, text, secret_algorithms, kid)


def check_fit(keys: Sequence[VerificationKey], algorithms: Sequence[str]) -> None:
    """Check that each algorithm has a key.

    Raises:
        UnusableKey: one has none: no token with it could ever be accepted.
    """
    for algorithm in algorithms:
        if not any(algorithm in key.algorithms for key in keys):
            raise UnusableKey(f"no key fits {algorithm}; remove the algorithm, or add its key")


def public_key(
    key: PublicKeyTypes, algorithms: Sequence[str], kid: str | None, name: str = "the key"
) -> VerificationKey:
    """Return a public key, with those of the algorithms that belong to its type.

    Raises:
        UnusableKey: it is too short, or fits none of the algorithms.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

    match key:
        case rsa.RSAPublicKey():
            if key.key_size < _SHORTEST_RSA_BITS:
                raise UnusableKey(
                    f"{name} is an RSA key of {key.key_size} bits; at least {_SHORTEST_RSA_BITS} are needed"
                )
            kind, fitting = "an RSA key", _RSA
        case ec.EllipticCurvePublicKey():
            kind, fitting = f"a key on {key.curve.name}", frozenset({_CURVES.get(key.curve.name, "")})
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            kind, fitting = "an Edwards key", frozenset({"EdDSA"})
        case _:
            kind, fitting = f"{type(key).__name__}", frozenset[str]()
    allowed = fitting & set(algorithms)
    if not allowed:
        raise UnusableKey(f"{name} is {kind}, which does not fit {', '.join(algorithms)}")
    return VerificationKey(key, allowed, kid)


def jwk_key(jwk: Mapping[str, object], algorithms: Sequence[str]) -> VerificationKey:
    """Return a key of a published key set (RFC 7517).

    Raises:
        UnusableKey: it is malformed, not for signatures, or not for one of the algorithms.
    """
    import jwt.algorithms as known
    from jwt import InvalidKeyError

    kid, kind, named = jwk.get("kid"), jwk.get("kty"), jwk.get("alg")
    readers: dict[object, Any] = {
        "RSA": known.RSAAlgorithm.from_jwk,
        "EC": known.ECAlgorithm.from_jwk,
        "OKP": known.OKPAlgorithm.from_jwk,
    }
    if jwk.get("use", "sig") != "sig":
        raise UnusableKey("it is not for signatures")
    if kind not in readers:
        raise UnusableKey(f"its type {str(kind)[:20]!r} is not one of RSA, EC, OKP")
    if "d" in jwk:
        raise UnusableKey("it is a private key; the key set must have public keys only")
    try:
        key = readers[kind](dict(jwk))
    except (InvalidKeyError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UnusableKey(f"it is malformed: {type(error).__name__}") from None
    allowed = [named] if named is not None else list(algorithms)
    return public_key(
        key, [a for a in algorithms if a in allowed] or ["its alg"], kid if isinstance(kid, str) else None
    )


def _is_pem(text: bytes) -> bool:
    return b"-----BEGIN " in text


def _secret(name: str, text: bytes, algorithms: Sequence[str], kid: str | None) -> VerificationKey:
    fitting = frozenset(one for one in algorithms if len(text) >= _SHORTEST_SECRETS[one])
    missing = [one for one in algorithms if one not in fitting]
    if missing:
        raise UnusableKey(
            f"{'the secret' if kid is None else name} has {len(text)} bytes; {missing[0]} needs at least "
            f"{_SHORTEST_SECRETS[missing[0]]}, for example from `openssl rand -base64 48`"
        )
    return VerificationKey(text, fitting, kid)


def _public_key(name: str, text: bytes, algorithms: Sequence[str], kid: str | None) -> VerificationKey:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if not set(algorithms) - set(_SHORTEST_SECRETS):
        raise UnusableKey(
            f"{name} is in PEM, and {algorithms[0]} takes a shared secret; for a public key pass "
            "algorithms=('RS256',), ('ES256',) or ('EdDSA',)"
        )
    if b"PRIVATE KEY-----" in text:
        raise UnusableKey(
            f"{name} is a private key; the server needs only the public one: "
            "`openssl pkey -in private.pem -pubout`"
        )
    if b"BEGIN CERTIFICATE-----" in text:
        raise UnusableKey(
            f"{name} is a certificate; pass its public key: `openssl x509 -in cert.pem -pubkey -noout`"
        )
    if rb"\n" in text:
        raise UnusableKey(rf"{name} has the characters \n in place of line breaks; replace them")
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        raise UnusableKey(f"{name} begins like PEM, but is no public key; is it complete?") from None
    return public_key(key, algorithms, kid, name)
