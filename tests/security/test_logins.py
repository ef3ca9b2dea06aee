"""The recipes of the guide to logins: FastAPI's OAuth2 JWT, and the key sets of identity providers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import ModuleType
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from flowcraft import Jwks
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.errors import TokenInvalid
from flowcraft.ports import Authorizer
from tests.security.test_jwks import Login, login
from tests.support.carriers import uvicorn_with
from tests.support.page_examples import example

PAGE = "guides/logins.md"
KEY, OTHER, ENCRYPTION = (rsa.generate_private_key(65537, 2048) for _ in range(3))
TENANT, APPLICATION = "72f988bf-86f1-41af-91ab-2d7cd011db47", "6731de76-14a6-49ae-97bc-6eba6914391e"


# FastAPI


async def test_the_token_of_fastapis_login_opens_the_own_channels(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "a secret key of at least 32 bytes, made by the test")
    monkeypatch.setenv("DATABASE_URL", database)
    monkeypatch.delenv("FLOWCRAFT_DSN", raising=False)
    recipe = example(PAGE, "oauth2.py")
    await migrate(database, recipe.channels)
    async with uvicorn_with(recipe.app) as (_, port):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            person = {"username": "ada", "password": "lovelace"}
            token = (await http.post("/login/access-token", json=person)).json()["access_token"]
            assert "iat" not in jwt.decode(token, options={"verify_signature": False})
            assert (await http.get("/me", headers={"Authorization": f"Bearer {token}"})).json() == "ada"
        address = f"ws://127.0.0.1:{port}/realtime"
        async with connect(address) as client:
            await client.send(json.dumps({"auth": token}))
            await client.send(json.dumps({"subscribe": ["inboxes.ada"], "ref": 1}))
            await client.send(json.dumps({"subscribe": ["inboxes.ben"], "ref": 2}))
            answers: dict[int, str] = {}
            while len(answers) < 2:
                frame = json.loads(await client.recv())
                if "subscribed" in frame:
                    answers[frame["ref"]] = "subscribed"
                elif "error" in frame:
                    answers[frame["error"]["ref"]] = frame["error"]["code"]
            assert answers == {1: "subscribed", 2: "forbidden"}
            await recipe.realtime.broadcast(recipe.inbox("ada"), recipe.Message(text="hello"))
            while "payload" not in (frame := json.loads(await client.recv())):
                pass
            assert frame["payload"] == {"type": "Message", "text": "hello"}
        async with connect(address) as client:
            forged = jwt.encode({"sub": "ada", "exp": 2**31}, "x" * 32, algorithm="HS256")
            await client.send(json.dumps({"auth": forged}))
            with suppress(ConnectionClosed):
                while True:
                    await client.recv()
        assert client.close_code == 4500
    await recipe.realtime.stop()


# Identity providers


def key_set(provider: str) -> list[dict[str, object]]:
    """Return the keys as the provider publishes them."""

    def public(key: Any, kid: str) -> dict[str, object]:
        found: dict[str, object] = json.loads(RSAAlgorithm.to_jwk(key.public_key()))
        return {name: found[name] for name in ("kty", "n", "e")} | {"kid": kid}

    ours = public(KEY, "ours")
    certificate = {"x5c": ["MIIC…"], "x5t": "ours"}
    match provider:
        case "auth0":
            following = {**public(OTHER, "next"), "use": "sig"}
            return [{**ours, "use": "sig", "alg": "RS256", **certificate}, following]
        case "entra":  # without `alg`
            issuer = "https://login.microsoftonline.com/{tenantid}/v2.0"
            return [{**ours, "use": "sig", **certificate, "issuer": issuer, "cloud_instance_name": "x"}]
        case "keycloak":
            encrypts = {**public(ENCRYPTION, "enc"), "use": "enc", "alg": "RSA-OAEP", **certificate}
            return [encrypts, {**ours, "use": "sig", "alg": "RS256", **certificate, "x5t#S256": "x"}]
        case _:
            return [{**key, "use": "sig", "alg": "RS256"} for key in (ours, public(OTHER, "next"))]


def claims(**of_the_provider: object) -> dict[str, object]:
    now = int(time.time())
    return {"sub": "ada", "iat": now, "exp": now + 7200, **of_the_provider}


ENTRA = claims(
    iss=f"https://login.microsoftonline.com/{TENANT}/v2.0", aud=APPLICATION, ver="2.0", tid=TENANT,
    oid="00000000-0000-0000-66f3-3332eca7ea81", nbf=int(time.time()), azp=APPLICATION, scp="access_as_user",
)  # fmt: skip
COGNITO = claims(
    iss="https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_pool", client_id="4a5b", token_use="access",
    username="ada", origin_jti="x", auth_time=int(time.time()), **{"cognito:groups": ["staff"]},
)  # fmt: skip
AUTH0 = claims(
    iss="https://shop.eu.auth0.com/", aud=["https://api.shop.example", "https://shop.eu.auth0.com/userinfo"],
    sub="auth0|5f7c8ec7c33c6c004bbafe82", azp="x", scope="openid profile", gty="password",
)  # fmt: skip
OKTA = claims(
    iss="https://dev-1.okta.com/oauth2/default", aud="api://default", sub="ada@shop.example", ver=1,
    cid="0oa", uid="00u", scp=["openid"],
)  # fmt: skip
GOOGLE = claims(
    iss="https://accounts.google.com", aud="1.apps.googleusercontent.com", azp="1.apps.googleusercontent.com",
    sub="110169484474386276334", email="ada@shop.example", email_verified=True,
)  # fmt: skip
KEYCLOAK = claims(
    iss="https://id.shop.example/realms/shop", aud=["realtime", "account"], typ="Bearer", azp="web", sid="x",
    realm_access={"roles": ["user"]}, sub="f:1:ada",
)  # fmt: skip
Make = Callable[[ModuleType], Authorizer]
PROVIDERS: Mapping[str, tuple[Make, str, dict[str, object]]] = {
    "auth0": (
        lambda page: page.auth0("shop.eu.auth0.com", "https://api.shop.example"),
        "https://shop.eu.auth0.com/.well-known/jwks.json", AUTH0,
    ),
    "okta": (
        lambda page: page.okta("dev-1.okta.com"), "https://dev-1.okta.com/oauth2/default/v1/keys", OKTA,
    ),
    "google": (
        lambda page: page.google("1.apps.googleusercontent.com"),
        "https://www.googleapis.com/oauth2/v3/certs", GOOGLE,
    ),
    "keycloak": (
        lambda page: page.keycloak("id.shop.example", "shop", "realtime"),
        "https://id.shop.example/realms/shop/protocol/openid-connect/certs", KEYCLOAK,
    ),
    "entra": (
        lambda page: page.Entra(TENANT, APPLICATION),
        f"https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys", ENTRA,
    ),
    "cognito": (
        lambda page: page.Cognito("eu-west-1", "eu-west-1_pool", "4a5b"),
        "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_pool/.well-known/jwks.json", COGNITO,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def served() -> Iterator[Login]:
    with login() as running:
        yield running


def signed(found: Mapping[str, object], key: Any = KEY, kid: str = "ours", **header: str) -> str:
    return jwt.encode(dict(found), key, algorithm="RS256", headers={"kid": kid, **header})


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_the_tokens_of_a_provider_are_accepted_and_no_others(provider: str, served: Login) -> None:
    make, address, good = PROVIDERS[provider]
    page = example(PAGE, "providers.py")
    fetched: list[str] = []

    def at_the_test(url: str) -> Jwks:
        fetched.append(url)
        return Jwks(served.url, retry_seconds=0.01)

    vars(page)["Jwks"] = at_the_test
    served.keys = key_set(provider)
    authorizer = make(page)
    assert fetched == [address]
    viewer = await authorizer.authenticate(signed(good, typ="at+jwt" if provider == "okta" else "JWT"))
    assert viewer.subject == good["oid" if provider == "entra" else "sub"]
    assert viewer.expires_at == good["exp"]
    for name, bad in {
        "another issuer": signed({**good, "iss": "https://evil.example/"}),
        "another audience": signed({**good, "aud": "another", "client_id": "another"}),
        "another key": signed(good, OTHER),
        "the encryption key": signed(good, ENCRYPTION, "enc"),
        "expired": signed({**good, "exp": 1_700_000_000}),
        "a secret": jwt.encode(good, "x" * 32, algorithm="HS256", headers={"kid": "ours"}),
        "an ID token": signed({**good, "token_use": "id", "aud": "4a5b" if provider == "cognito" else "web"}),
    }.items():
        try:
            accepted = await authorizer.authenticate(bad)
        except TokenInvalid:
            continue
        pytest.fail(f"{name} was accepted: {accepted}")
