"""JWKS: the keys of a login that publishes them at a URL (RFC 7517 §5)."""

from __future__ import annotations

import logging
import math
import threading
import time
from asyncio import shield, wrap_future
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from http.client import HTTPException
from urllib.parse import urlsplit
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

import msgspec

from flowcraft.adapters.jwt_keys import UnusableKey, VerificationKey, jwk_key
from flowcraft.errors import TokenNotUsableYet

logger = logging.getLogger(__name__)

_MOST_BYTES = 256 * 1024
_MOST_KEYS = 100
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class _KeySet(msgspec.Struct):
    keys: list[dict[str, object]]


class Jwks:
    """The key set at a URL, such as `https://login.example.com/.well-known/jwks.json`.

    The set is fetched when the first token arrives, again after `keep_seconds`, and at most every
    `retry_seconds` if a token names a key that the set does not have. While it cannot be fetched, the keys of
    the last time stay; a key that a newer set does not have any longer is dropped. The fetch runs in a thread
    of its own, within `timeout_seconds`.

    Raises:
        ValueError: the URL is not one of https, or an interval is not positive.
    """

    def __init__(
        self,
        url: str,
        *,
        keep_seconds: float = 600.0,
        retry_seconds: float = 10.0,
        timeout_seconds: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_url(url)
        for name, value in (
            ("keep_seconds", keep_seconds),
            ("retry_seconds", retry_seconds),
            ("timeout_seconds", timeout_seconds),
        ):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be positive, got {value}")
        self._url = url
        self._keep = keep_seconds
        self._retry = retry_seconds
        self._timeout = timeout_seconds
        self._clock = clock
        self._keys: tuple[VerificationKey, ...] = ()
        self._algorithms: tuple[str, ...] = ()
        self._fetched_at = self._tried_at = float("-inf")
        self._trouble: str | None = None
        self._fetching: Future[None] | None = None
        self._lock = threading.Lock()

    def check(self, algorithms: Sequence[str]) -> None:
        """Check that the algorithms are of public keys, and take only keys for them.

        Raises:
            UnusableKey: an algorithm needs a shared secret, which is in no key set.
        """
        for name in algorithms:
            if name.startswith("HS"):
                raise UnusableKey(f"{name} needs a shared secret, and a key set has public keys; remove it")
        self._algorithms = tuple(dict.fromkeys((*self._algorithms, *algorithms)))

    async def find(self, kid: str | None, algorithm: str) -> Sequence[VerificationKey]:
        """Return the keys for a token; fetch the set if it is old, or lacks the key.

        Raises:
            TokenNotUsableYet: the set cannot be fetched, or does not have the key now.
        """
        if self._clock() - self._fetched_at >= self._keep:
            await self._fetch()
        found = self._matching(kid, algorithm)
        if not found:
            await self._fetch()
            found = self._matching(kid, algorithm)
        if not found:
            raise TokenNotUsableYet(self._trouble or f"key {(kid or '')[:64]!r} is not in the key set")
        return found

    def __repr__(self) -> str:
        return f"Jwks({self._url!r})"

    def _matching(self, kid: str | None, algorithm: str) -> list[VerificationKey]:
        fitting = [key for key in self._keys if algorithm in key.algorithms]
        # A key without a kid may have signed any token, and a token without a kid may be of any key.
        return [key for key in fitting if kid is None or key.kid is None or key.kid == kid]

    async def _fetch(self) -> None:
        """Fetch the set unless that was tried a moment ago; wait for a fetch that runs already.

        The thread ends by itself: a client that disconnects must not end the fetch that others wait for.
        """
        with self._lock:
            if self._fetching is None or self._fetching.done():
                if self._clock() - self._tried_at < self._retry:
                    return
                self._tried_at = self._clock()
                self._fetching = Future()
                threading.Thread(
                    target=self._run, args=(self._fetching,), name="flowcraft jwks", daemon=True
                ).start()
            fetching = self._fetching
        await shield(wrap_future(fetching))

    def _run(self, done: Future[None]) -> None:
        try:
            self._keys = self._read_keys(self._download())
            self._fetched_at, self._trouble = self._clock(), None
        except (OSError, HTTPException, ValueError) as error:
            self._trouble = f"the key set cannot be fetched: {type(error).__name__}: {str(error)[:200]}"
            logger.warning("%s: %s; tokens of known keys are still accepted", self._url, self._trouble)
        finally:
            done.set_result(None)

    def _download(self) -> bytes:
        deadline = time.monotonic() + self._timeout
        request = Request(self._url, headers={"Accept": "application/json"})  # noqa: S310  # checked: https
        with _opener().open(request, timeout=self._timeout) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}, expected 200")
            content = bytearray()
            while chunk := response.read1(65_536):
                content += chunk
                if len(content) > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_BYTES} bytes")
                if time.monotonic() > deadline:  # the socket's limit is for each read
                    raise TimeoutError(f"not complete within {self._timeout:g} s")
        return bytes(content)

    def _read_keys(self, content: bytes) -> tuple[VerificationKey, ...]:
        published = msgspec.json.decode(content, type=_KeySet).keys
        if len(published) > _MOST_KEYS:
            raise ValueError(f"more than {_MOST_KEYS} keys")
        keys: list[VerificationKey] = []
        for jwk in published:
            try:
                keys.append(jwk_key(jwk, self._algorithms))
            except UnusableKey as error:
                logger.info("%s: key %.64r is not used: %s", self._url, jwk.get("kid"), error)
        if not keys:
            raise ValueError(f"it has no key for {', '.join(self._algorithms)}")
        return tuple(keys)


def _opener() -> OpenerDirector:
    """Return what fetches a URL, and follows no redirect: keys come from the configured URL only."""
    opener = OpenerDirector()
    for handler in (ProxyHandler(), HTTPHandler(), HTTPSHandler()):
        opener.add_handler(handler)
    return opener


def _check_url(url: object) -> None:
    if not isinstance(url, str):
        raise TypeError(f"the URL is {type(url).__name__}; is the environment variable with it set?")
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = parts = None
    if parts is None or not host:
        raise ValueError(f"{url!r} is no URL; expected https://login.example.com/.well-known/jwks.json")
    if parts.username is not None or parts.fragment:
        raise ValueError("the URL of a key set has no user and no fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in _LOOPBACK):
        raise ValueError(
            f"{url!r}: keys over {parts.scheme or 'nothing'} can be replaced on the way; use https"
        )
