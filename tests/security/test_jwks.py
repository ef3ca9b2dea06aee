"""Key sets: fetched, kept, renewed and bounded, against a real HTTP server."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from flowcraft import Jwks
from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.errors import TokenInvalid

RSA_KEY = rsa.generate_private_key(65537, 2048)
NEW_RSA_KEY = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
ALGORITHMS: Any = ("RS256", "ES256", "EdDSA")


def jwk(key: Any, kid: str | None, **more: object) -> dict[str, object]:
    reader: Any = {"RSA": RSAAlgorithm, "Ell": ECAlgorithm, "_Ec": ECAlgorithm, "ECP": ECAlgorithm}.get(
        type(key).__name__.lstrip("_")[:3], OKPAlgorithm
    )
    named = {} if kid is None else {"kid": kid}
    public: dict[str, object] = json.loads(reader.to_jwk(key.public_key()))
    return public | named | more


def token(key: Any, algorithm: str, kid: str | None) -> str:
    claims = {"sub": "ada", "exp": int(time.time()) + 60}
    return jwt.encode(claims, key, algorithm=algorithm, headers={} if kid is None else {"kid": kid})


@dataclass
class Login:
    """A login whose key set a test changes."""

    url: str = ""
    keys: list[dict[str, object]] = field(default_factory=list[dict[str, object]])
    status: int = 200
    body: bytes | None = None
    requests: int = 0
    location: str | None = None
    drip: threading.Event | None = None
    hold: threading.Event | None = None
    asked: threading.Event = field(default_factory=threading.Event)


@contextmanager
def login() -> Iterator[Login]:
    served = Login()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests += 1
            served.asked.set()
            if served.hold is not None:
                served.hold.wait(10)
            self.send_response(served.status)
            if served.location is not None:
                self.send_header("Location", served.location)
            self.end_headers()
            body = json.dumps({"keys": served.keys}).encode() if served.body is None else served.body
            try:
                while served.drip is not None and not served.drip.wait(0.02):
                    self.wfile.write(b" ")
                self.wfile.write(body)
            except OSError:
                pass

        def log_request(self, code: object = "-", size: object = "-") -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    served.url = f"http://127.0.0.1:{server.server_port}/jwks.json"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        for waits in (served.drip, served.hold):
            if waits is not None:
                waits.set()
        server.shutdown()
        server.server_close()
        thread.join()


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def outcome(authorizer: JwtAuthorizer, text: str) -> str:
    try:
        return (await authorizer.authenticate(text)).subject
    except TokenInvalid as error:
        return f"{type(error).__name__}: {error.reason}"


def with_keys(served: Login, clock: Callable[[], float], **options: float) -> JwtAuthorizer:
    return JwtAuthorizer(keys=Jwks(served.url, clock=clock, **options), algorithms=ALGORITHMS)


async def test_keys_of_every_type_verify_and_are_fetched_once() -> None:
    with login() as served:
        served.keys = [jwk(RSA_KEY, "r"), jwk(EC_KEY, "e"), jwk(ED_KEY, "d")]
        authorizer = with_keys(served, Time())
        texts = [token(RSA_KEY, "RS256", "r"), token(EC_KEY, "ES256", "e"), token(ED_KEY, "EdDSA", "d")]
        assert await asyncio.gather(*(outcome(authorizer, text) for text in texts * 10)) == ["ada"] * 30
        assert served.requests == 1


async def test_a_rotated_key_is_found_and_the_old_one_lives_until_the_set_drops_it() -> None:
    clock = Time()
    with login() as served:
        served.keys = [jwk(RSA_KEY, "old")]
        authorizer = with_keys(served, clock)
        old, new = token(RSA_KEY, "RS256", "old"), token(NEW_RSA_KEY, "RS256", "new")
        assert await outcome(authorizer, old) == "ada"
        served.keys = [jwk(RSA_KEY, "old"), jwk(NEW_RSA_KEY, "new")]
        assert (await outcome(authorizer, new)).startswith("TokenNotUsableYet: key 'new'"), "fetched just now"
        clock.now = 10
        assert [await outcome(authorizer, text) for text in (new, old)] == ["ada", "ada"]
        served.keys = [jwk(NEW_RSA_KEY, "new")]
        clock.now = 609
        assert await outcome(authorizer, old) == "ada"
        clock.now = 610
        assert (await outcome(authorizer, old)).startswith("TokenNotUsableYet: key 'old'")
        assert await outcome(authorizer, new) == "ada"
        assert served.requests == 3


async def test_unknown_kids_fetch_at_most_every_ten_seconds() -> None:
    clock = Time()
    with login() as served:
        served.keys = [jwk(RSA_KEY, "r")]
        authorizer = with_keys(served, clock)
        for second in range(30):
            clock.now = second
            texts = [token(RSA_KEY, "RS256", f"unknown {n}") for n in range(3)]
            outcomes = await asyncio.gather(*(outcome(authorizer, text) for text in texts))
            assert all(one.startswith("TokenNotUsableYet") for one in outcomes)
        assert served.requests == 3


@pytest.mark.parametrize(
    "breaks",
    [
        {"status": 500},
        {"status": 404},
        {"status": 302, "location": "http://127.0.0.1:1/elsewhere"},
        {"body": b"<html>"},
        {"body": b"\xff\xfe"},
        {"body": b"[]"},
        {"body": b'{"keys":{}}'},
        {"body": b'{"keys":[]}'},
        {"body": b'{"keys":[7]}'},
        {"body": b'{"keys":[{"kty":"RSA","kid":"r","n":"!","e":"AQAB"}]}'},
        {"body": b'{"keys":[{"kty":"oct","kid":"r","k":"c2VjcmV0"}]}'},
        {"body": b" " * 300_000},
        {"body": json.dumps({"keys": [{"kty": "x"}] * 101}).encode()},
        {"keys": [jwk(RSA_KEY, "r", use="enc")]},
        {"keys": [jwk(RSA_KEY, "r", alg="RS512")]},
        {"keys": [jwk(RSA_KEY, "r", d="private")]},
        {"keys": [jwk(rsa.generate_private_key(65537, 1024), "r")]},
    ],
    # Each worker makes its own keys, and a test has one name in all of them.
    ids=[
        "server-error",
        "not-found",
        "redirect",
        "html",
        "not-utf-8",
        "a-list",
        "keys-an-object",
        "no-keys",
        "key-a-number",
        "no-number-in-key",
        "secret-key",
        "too-long",
        "too-many-keys",
        "for-encryption",
        "other-algorithm",
        "private-key",
        "short-key",
    ],
)
async def test_a_set_that_cannot_be_used_passes_by_itself_and_known_keys_stay(
    breaks: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    clock = Time()
    with login() as served:
        good = [jwk(RSA_KEY, "r")]
        served.keys = good
        for name, value in breaks.items():
            setattr(served, name, value)
        authorizer = with_keys(served, clock)
        text = token(RSA_KEY, "RS256", "r")
        assert (await outcome(authorizer, text)).startswith(
            "TokenNotUsableYet: the key set cannot be fetched"
        )
        assert len(caplog.messages) == 1
        served.status, served.body, served.keys, served.location = 200, None, good, None
        clock.now = 10
        assert await outcome(authorizer, text) == "ada"
        for name, value in breaks.items():
            setattr(served, name, value)
        clock.now = 700
        assert await outcome(authorizer, text) == "ada"


@pytest.mark.parametrize("how", ["refused", "silent", "drips"])
async def test_a_login_that_does_not_answer_stops_nobody(how: str) -> None:
    with login() as served:
        served.hold = threading.Event() if how == "silent" else None
        served.drip = threading.Event() if how == "drips" else None
        url = "http://127.0.0.1:1/jwks.json" if how == "refused" else served.url
        authorizer = JwtAuthorizer(keys=Jwks(url, timeout_seconds=0.2), algorithms=("RS256",))
        began = time.monotonic()
        found = await asyncio.gather(*(outcome(authorizer, token(RSA_KEY, "RS256", "r")) for _ in range(5)))
        assert {one.split(":")[0] for one in found} == {"TokenNotUsableYet"}
        assert time.monotonic() - began < 5


async def test_a_client_that_leaves_does_not_end_the_fetch_of_others() -> None:
    with login() as served:
        served.keys = [jwk(RSA_KEY, "r")]
        served.hold = threading.Event()
        authorizer = with_keys(served, Time())
        text = token(RSA_KEY, "RS256", "r")
        leaves, stays = (asyncio.ensure_future(outcome(authorizer, text)) for _ in range(2))
        await asyncio.to_thread(served.asked.wait, 10)
        leaves.cancel()
        served.hold.set()
        assert await stays == "ada"
        assert served.requests == 1


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://login.example.com/jwks.json", "use https"),
        ("file:///etc/passwd", "no URL"),
        ("ftp://login.example.com/jwks.json", "use https"),
        ("https://", "no URL"),
        ("https://[", "no URL"),
        ("", "no URL"),
        ("login.example.com/jwks.json", "no URL"),
        ("https://user:pass@login.example.com/", "no user"),
        (None, "environment variable"),
    ],
)
def test_a_url_that_can_never_work_is_refused_at_construction(url: Any, named: str) -> None:
    with pytest.raises((ValueError, TypeError), match=named):
        Jwks(url)


@pytest.mark.parametrize("name", ["keep_seconds", "retry_seconds", "timeout_seconds"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_an_interval_that_can_never_work_is_refused(name: str, value: float) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=name):
        Jwks("https://login.example.com/jwks.json", **options)


def test_a_key_set_takes_no_algorithm_of_secrets() -> None:
    with pytest.raises(ValueError, match="shared secret"):
        JwtAuthorizer(keys=Jwks("https://login.example.com/jwks.json"))
