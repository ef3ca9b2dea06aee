"""Tokens: which a JwtAuthorizer accepts, how it refuses the others, and which keys it is built with."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import urlsafe_b64encode
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.errors import TokenExpired, TokenInvalid, TokenNotUsableYet

SECRET = "a secret of at least thirty-two bytes"
NOW = 1_800_000_000
CLAIMS = json.dumps({"sub": "ada", "exp": NOW + 60})
RSA = rsa.generate_private_key(65537, 2048)
SHORT_RSA = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
EC384 = ec.generate_private_key(ec.SECP384R1())
ED = ed25519.Ed25519PrivateKey.generate()
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def pem(key: Private) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def private_pem(key: Private) -> str:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def token(
    key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: object
) -> str:
    whole = {"sub": "ada", "exp": NOW + 60} | claims
    known = {name: value for name, value in whole.items() if value is not ...}
    return jwt.encode(known, key, algorithm=algorithm, headers=headers)


def part(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims: str, key: str = SECRET, **header: object) -> str:
    """A token of any text and any header, which PyJWT would not encode."""
    head = json.dumps({"alg": "HS256", "typ": "JWT"} | header).encode()
    whole = f"{part(head)}.{part(claims.encode())}"
    return f"{whole}.{part(hmac.new(key.encode(), whole.encode(), hashlib.sha256).digest())}"


def authorizer(*key: Any, **options: Any) -> JwtAuthorizer:
    return JwtAuthorizer(*(key or (() if "keys" in options else (SECRET,))), clock=lambda: NOW, **options)


async def outcome(tried: JwtAuthorizer, text: str) -> str:
    try:
        viewer = await tried.authenticate(text)
    except TokenInvalid as error:
        refused = error
    else:
        return viewer.subject
    assert str(refused) == "the token is not valid"
    assert not text or text not in refused.reason
    return type(refused).__name__


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, "ada"),
        ({"exp": NOW + 60.5}, "ada"),
        ({"exp": NOW - 29}, "ada"),
        ({"exp": NOW - 30}, "TokenExpired"),
        ({"exp": 0}, "TokenExpired"),
        ({"exp": -1}, "TokenInvalid"),
        ({"exp": -(10**30)}, "TokenInvalid"),
        ({"exp": str(NOW + 60)}, "TokenInvalid"),
        ({"exp": NOW * 1000 + 60_000}, "TokenInvalid"),
        ({"exp": 10**400}, "TokenInvalid"),
        ({"exp": 1e308}, "TokenInvalid"),
        ({"exp": True}, "TokenInvalid"),
        ({"exp": None}, "TokenInvalid"),
        ({"exp": [NOW + 60]}, "TokenInvalid"),
        ({"exp": {}}, "TokenInvalid"),
        ({"exp": ...}, "TokenInvalid"),
        ({"iat": NOW}, "ada"),
        ({"iat": NOW + 30}, "ada"),
        ({"iat": NOW + 31}, "TokenNotUsableYet"),
        ({"iat": "now"}, "TokenInvalid"),
        ({"iat": None}, "TokenInvalid"),
        ({"nbf": NOW - 1}, "ada"),
        ({"nbf": NOW + 31}, "TokenNotUsableYet"),
        ({"nbf": str(NOW)}, "TokenInvalid"),
        ({"sub": ...}, "TokenInvalid"),
        ({"sub": 7}, "TokenInvalid"),
        ({"sub": ""}, "TokenInvalid"),
        ({"sub": None}, "TokenInvalid"),
        ({"aud": "elsewhere"}, "ada"),
    ],
)
async def test_claims_decide_what_becomes_of_a_token(claims: dict[str, Any], expected: str) -> None:
    assert await outcome(authorizer(), token(**claims)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "..", "...", "a.b.c", "a" * 20_000, "\N{GRINNING FACE}", "\x00.\x00.\x00"),
        signed("null"),
        signed("[]"),
        signed('"ada"'),
        signed("{" * 5000),
        signed("{" * 5000 + "}" * 5000),
        signed('{"sub":"ada","exp":NaN}'),
        signed('{"sub":"ada","exp":Infinity}'),
        signed('{"sub":"ada","exp":1e400}'),
        signed("\xff"),
        urlsafe_b64encode(b"[" * 9000).decode() + ".e30.x",
        token(key="another secret of thirty-two bytes!!"),
        signed(CLAIMS, crit=["b64"], b64=False),
        signed(CLAIMS, crit=["exp"]),
        signed(CLAIMS, kid=7),
        signed(CLAIMS, kid=["x"]),
        signed(CLAIMS, alg=None),
        signed(CLAIMS, alg=["HS256"]),
        signed(CLAIMS, alg="none"),
        signed(CLAIMS, alg="hs256"),
        token(key="", algorithm="none"),
        token(key=RSA, algorithm="RS256"),
        token(key=SECRET * 2, algorithm="HS512"),
    ],
)
async def test_a_malformed_or_foreign_token_is_invalid(text: str) -> None:
    assert await outcome(authorizer(), text) == "TokenInvalid"


@pytest.mark.parametrize(
    ("options", "claims", "expected"),
    [
        ({"audience": "app"}, {"aud": "app"}, "ada"),
        ({"audience": ["app", "web"]}, {"aud": ["x", "web"]}, "ada"),
        ({"audience": "app"}, {"aud": "other"}, "TokenInvalid"),
        ({"audience": "app"}, {}, "TokenInvalid"),
        ({"audience": "app"}, {"aud": 7}, "TokenInvalid"),
        ({"issuer": "login"}, {"iss": "login"}, "ada"),
        ({"issuer": "login"}, {"iss": "log"}, "TokenInvalid"),
        ({"issuer": "login"}, {}, "TokenInvalid"),
        ({"leeway_seconds": 0}, {"exp": NOW}, "TokenExpired"),
        ({"leeway_seconds": 0}, {"iat": NOW + 1}, "TokenNotUsableYet"),
    ],
)
async def test_audience_issuer_and_leeway_are_those_configured(
    options: dict[str, Any], claims: dict[str, Any], expected: str
) -> None:
    assert await outcome(authorizer(**options), token(**claims)) == expected


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        *[(RSA, name) for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")],
        (EC, "ES256"),
        (EC384, "ES384"),
        (ED, "EdDSA"),
    ],
)
async def test_each_public_key_algorithm_verifies_and_takes_no_other_key(key: Any, algorithm: Any) -> None:
    tried = authorizer(pem(key), algorithm=algorithm)
    assert await outcome(tried, token(key, algorithm)) == "ada"
    other = {"R": rsa.generate_private_key(65537, 2048), "E": ec.generate_private_key(ec.SECP256R1())}
    stranger = (
        ed25519.Ed25519PrivateKey.generate()
        if algorithm == "EdDSA"
        else ec.generate_private_key(key.curve)
        if algorithm.startswith("ES")
        else other["R"]
    )
    assert await outcome(tried, token(stranger, algorithm)) == "TokenInvalid"
    assert await outcome(tried, token(SECRET)) == "TokenInvalid"


async def test_a_public_key_is_no_secret_for_a_token_signed_with_it() -> None:
    tried = authorizer(pem(RSA), algorithm="RS256")
    assert await outcome(tried, signed(CLAIMS, pem(RSA))) == "TokenInvalid"
    assert await outcome(tried, signed(CLAIMS, pem(RSA), alg="RS256")) == "TokenInvalid"


async def test_keys_rotate_by_kid_and_an_unknown_one_passes_by_itself() -> None:
    new = "the new secret of thirty-two bytes!!"
    tried = authorizer(keys={"old": SECRET, "new": new})
    assert await outcome(tried, token(headers={"kid": "old"})) == "ada"
    assert await outcome(tried, token(new, headers={"kid": "new"})) == "ada"
    assert await outcome(tried, token(new)) == "ada", "a token without a kid may be of any key"
    assert await outcome(tried, token(new, headers={"kid": "old"})) == "TokenInvalid"
    assert await outcome(tried, token(headers={"kid": "next"})) == "TokenNotUsableYet"


async def test_keys_of_several_types_each_verify_their_own_algorithm() -> None:
    tried = authorizer(keys=[pem(RSA), pem(EC), pem(ED)], algorithms=("RS256", "ES256", "EdDSA"))
    for key, algorithm in ((RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")):
        assert await outcome(tried, token(key, algorithm, headers={"kid": "any"})) == "ada"
    assert await outcome(tried, token(RSA, "RS512")) == "TokenInvalid"


WRONG: dict[str, tuple[tuple[Any, ...], dict[str, Any], str]] = {
    "no key": ((), {}, "environment variable"),
    "none": ((None,), {}, "environment variable"),
    "a number": ((7,), {}, "expected text or bytes"),
    "empty": (("",), {}, "empty"),
    "white space": ((" \n",), {}, "empty"),
    "short": (("secret",), {}, "6 bytes; HS256 needs at least 32"),
    "short for its hash": ((SECRET,), {"algorithm": "HS512"}, "HS512 needs at least 64"),
    "PEM for a secret": ((pem(RSA),), {}, "takes a shared secret"),
    "a JWK for a secret": (('{"kty":"RSA","n":"0123456789012345678901"}',), {}, "another format"),
    "an ssh key for a secret": (("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7",), {}, "another format"),
    "a secret for RS256": ((SECRET,), {"algorithm": "RS256"}, "needs a public key"),
    "a private key": ((private_pem(RSA),), {"algorithm": "RS256"}, "private key"),
    "a short RSA key": ((pem(SHORT_RSA),), {"algorithm": "RS256"}, "1024 bits"),
    "an EC key for RS256": ((pem(EC),), {"algorithm": "RS256"}, "secp256r1"),
    "an RSA key for ES256": ((pem(RSA),), {"algorithm": "ES256"}, "an RSA key"),
    "another curve": ((pem(EC384),), {"algorithm": "ES256"}, "secp384r1"),
    "cut off": ((pem(RSA)[:100],), {"algorithm": "RS256"}, "no public key"),
    "escaped line breaks": ((pem(RSA).replace("\n", r"\n"),), {"algorithm": "RS256"}, "line breaks"),
    "a certificate": (("-----BEGIN CERTIFICATE-----\nx",), {"algorithm": "RS256"}, "openssl x509"),
    "no algorithm": ((SECRET,), {"algorithms": []}, "expected names"),
    "alg none": ((SECRET,), {"algorithm": "none"}, "not supported"),
    "unknown algorithm": ((SECRET,), {"algorithms": ("HS256", "HS1")}, "not supported"),
    "algorithm without a key": ((pem(RSA),), {"algorithms": ("RS256", "ES256")}, "no key fits ES256"),
    "two ways of naming algorithms": (
        (SECRET,),
        {"algorithm": "HS256", "algorithms": ("HS256",)},
        "not both",
    ),
    "key and keys": ((SECRET,), {"keys": [SECRET]}, "not both"),
    "no keys": ((), {"keys": []}, "no key fits HS256"),
    "one text as keys": ((), {"keys": SECRET}, "first argument"),
    "an object as keys": ((), {"keys": object()}, "expected keys by kid"),
    "a kid that is no text": ((), {"keys": {7: SECRET}}, "named by their kid"),
    "a short one among keys": ((), {"keys": {"a": SECRET, "b": "x"}}, "'b' has 1 bytes"),
    "negative leeway": ((SECRET,), {"leeway_seconds": -1}, "leeway_seconds"),
    "endless leeway": ((SECRET,), {"leeway_seconds": float("inf")}, "leeway_seconds"),
    "no number as leeway": ((SECRET,), {"leeway_seconds": float("nan")}, "leeway_seconds"),
    "empty audience": ((SECRET,), {"audience": ""}, "audience"),
    "no audiences": ((SECRET,), {"audience": []}, "audience"),
    "audience that is no text": ((SECRET,), {"audience": 7}, "audience"),
    "empty issuer": ((SECRET,), {"issuer": ""}, "issuer"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_can_never_work_is_refused_at_construction_and_the_error_names_the_way(name: str) -> None:
    args, options, named = WRONG[name]
    with pytest.raises(ValueError, match=r".") as refused:
        JwtAuthorizer(*args, **options)
    assert named in str(refused.value)
    assert SECRET not in str(refused.value)


async def test_expiry_is_the_tokens_and_leeway_is_for_clocks_that_differ() -> None:
    viewer = await authorizer().authenticate(token(role="admin"))
    assert (viewer.expires_at, viewer.leeway_seconds, viewer.claims["role"]) == (NOW + 60, 30.0, "admin")


def test_errors_are_of_three_kinds() -> None:
    assert issubclass(TokenExpired, TokenInvalid)
    assert issubclass(TokenNotUsableYet, TokenInvalid)
