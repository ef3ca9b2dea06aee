"""A probe: a complete client in Python, light enough for thousands, that records the calls of a handler."""

from __future__ import annotations

import asyncio
import contextlib
import random as chance
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from faults.histories import History, Tag, tag_of
from faults.reference_client import ClientRequest, FrameRejected, OnEvent, ReferenceClient
from faults.wire import LOST_WITHOUT_CLOSE, Wire
from flowcraft.cursors import Cursor

_FIRST_RETRY_SECONDS, _RETRY_GROWTH, _LONGEST_RETRY_SECONDS = 0.25, 1.3, 3.0
_CONNECT_SECONDS = 10.0
_SILENCE_HEARTBEATS = 2.5
_NORMAL, _BAD_FRAME, _FIRST_FINAL = 1000, 4002, 4500


class ProbeStopped(Exception):
    """The probe will not connect again: the server closed with a final code, or the test closed the probe."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"{name} has stopped ({code})")
        self.code = code


class Probe:
    """Subscribes to channels and resumes across reconnects; one task, from `start` to `close`.

    With `answers_pings=False` the probe reads but answers no pings, like a half-dead peer.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "probe",
        token: str | None = None,
        random: chance.Random | None = None,
        on_event: OnEvent | None = None,
        tag: Callable[[str], Tag] = tag_of,
        answers_pings: bool = True,
    ) -> None:
        self.name = name
        self.connects = 0
        """The number of connections on which `hello` arrived."""
        self.opened_at: list[float] = []
        """The monotonic time of each `hello`."""
        self.closes: Counter[int] = Counter()
        """Ended connections by close code; 1006 without a close frame."""
        self.failures = 0
        """Attempts to connect that no server accepted."""
        self.refusals: Counter[int] = Counter()
        """Attempts to connect that were answered with an HTTP status."""
        self.mismatches = 0
        """Frames that were malformed or had a wrong count."""
        self.frames = 0
        """Messages received."""
        self._url = url
        self._token = token
        self._random = random or chance.Random()  # jitter, not a secret
        self._answers_pings = answers_pings
        self._client = ReferenceClient(name, tag, on_event)
        self._wire: Wire | None = None
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._reading = True
        self._received_at = 0.0
        self._broken: Exception | None = None
        self._watching: asyncio.TimerHandle | None = None

    @property
    def resets(self) -> Counter[str]:
        """Resets from the server, by reason."""
        return self._client.resets

    @property
    def errors(self) -> Counter[str]:
        """Requests that the server refused, by code."""
        return self._client.errors

    @property
    def is_open(self) -> bool:
        """Whether `hello` has arrived on the current connection."""
        return self._client.open

    def subscribe(self, channel: str, since: Cursor | None = None) -> History:
        """Subscribe, and return the history that will be recorded; also possible before `start`."""
        history = self._client.subscribe(channel, since)
        self._soon()
        return history

    def unsubscribe(self, channel: str) -> None:
        """End the histories of a channel; events that still arrive are dropped."""
        request = self._client.unsubscribe(channel, time.monotonic())
        if request is not None:
            self._send(request)

    async def start(self) -> None:
        """Begin to connect."""
        assert self._task is None, "a probe is started once"
        self._task = asyncio.create_task(self._run(), name=self.name)
        self._task.add_done_callback(lambda _: self._news.set())

    async def close(self) -> None:
        """Close the connection, if there is one, and never connect again."""
        task = self._task
        if task is None:
            return
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ProbeStopped):
            await task

    async def until_open(self) -> None:
        """Wait for the server's hello.

        Raises:
            ProbeStopped: the probe will not connect again.
        """
        await self._until(lambda: self._client.open)

    async def until_live(self) -> None:
        """Wait until all subscriptions are answered on the current connection.

        Raises:
            ProbeStopped: the probe will not connect again.
        """
        await self._until(lambda: self._client.live)

    async def until_attempted(self, count: int) -> None:
        """Wait until this many attempts and connections have ended since the start.

        Raises:
            ProbeStopped: the probe will not connect again.
        """
        await self._until(lambda: self.failures + self.closes.total() >= count)

    async def settled(self, xid: int) -> None:
        """Wait until all events of a transaction have been received, across connections.

        Raises:
            ProbeStopped: the probe will not connect again.
        """
        ticket = self._client.settle(xid)
        self._soon()
        await self._until(lambda: self._client.is_settled(ticket))

    def stop_reading(self) -> None:
        """Stop reading, including pings, until `resume_reading`."""
        self._reading = False
        if self._wire is not None:
            self._wire.stop_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._reading = True
        self._received_at = time.monotonic()
        if self._wire is not None:
            self._wire.resume_reading()

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            if self._task is not None and self._task.done():
                if not self._task.cancelled():
                    self._task.result()
                raise ProbeStopped(self.name, _NORMAL)
            self._news.clear()
            await self._news.wait()

    async def _run(self) -> None:
        attempts = 0
        while True:
            code, proven, wait = await self._connection()
            self._news.set()
            if self._broken is not None:
                raise self._broken
            if code >= _FIRST_FINAL:
                raise ProbeStopped(self.name, code)
            attempts = 0 if proven else attempts
            grown = _FIRST_RETRY_SECONDS * _RETRY_GROWTH ** min(attempts, 20)
            jitter = min(_LONGEST_RETRY_SECONDS, grown)
            attempts += 1
            await asyncio.sleep(wait + self._random.uniform(0, jitter))

    async def _connection(self) -> tuple[int, bool, float]:
        """Run one connection; return its close code, whether it closed a group, and the delay from `bye`."""
        # `hello` may arrive before `connect` returns: the requests that follow need the wire.
        wire = self._wire = Wire(self._url, self._greet, self._received, answers_pings=self._answers_pings)
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await wire.connect()
        except OSError:  # and TimeoutError, which is one
            self._wire = None
            self.failures += 1
            return LOST_WITHOUT_CLOSE, False, 0.0
        self._received_at = time.monotonic()
        self._watch()
        try:
            code = await asyncio.shield(wire.lost)
        finally:
            proven, wait = self._client.proven, self._client.reconnect_after_seconds
            await self._close_wire(wire)
        self.closes[code] += 1
        if wire.refused is not None:
            self.refusals[wire.refused] += 1
        return code, proven, wait

    async def _close_wire(self, wire: Wire) -> None:
        if self._watching is not None:
            self._watching.cancel()
        wire.drop(_NORMAL)
        await wire.lost
        self._wire = None
        self._client.lost()

    def _greet(self) -> None:
        if self._token is not None:
            self._send({"auth": self._token})

    def _received(self, message: bytes) -> None:
        self.frames += 1
        self._received_at = now = time.monotonic()
        was_open = self._client.open
        try:
            self._client.received(message, now)
        except FrameRejected:
            self.mismatches += 1
            self._drop(_BAD_FRAME)
        except Exception as error:  # noqa: BLE001  # an error of the test's own callback ends the task, which raises it
            self._broken = error
            self._drop(_NORMAL)
        else:
            if self._client.open and not was_open:
                self._opened(now)
            if self._client.changed:
                self._go_on()

    def _opened(self, now: float) -> None:
        self.connects += 1
        self.opened_at.append(now)
        self._watch()
        if not self._reading and self._wire is not None:
            self._wire.stop_reading()

    def _soon(self) -> None:
        """Send requests in the loop's next iteration: subscriptions made together share a request."""
        if self._wire is not None:
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._client.changed = False
        for request in self._client.requests():
            self._send(request)
        self._news.set()

    def _send(self, request: ClientRequest) -> None:
        if self._wire is not None:
            self._wire.send(msgspec.json.encode(request))

    def _drop(self, code: int) -> None:
        if self._wire is not None:
            self._wire.drop(code)

    def _watch(self) -> None:
        """Drop a connection that has been silent for too long, unless this probe has stopped reading."""
        if self._watching is not None:
            self._watching.cancel()
        heartbeat = self._client.heartbeat_seconds
        limit = _CONNECT_SECONDS if heartbeat is None else _SILENCE_HEARTBEATS * heartbeat
        now = time.monotonic()
        wait = self._received_at + limit - now if self._reading else limit
        if wait > 0:
            self._watching = asyncio.get_running_loop().call_later(wait, self._watch)
        else:
            self._drop(LOST_WITHOUT_CLOSE)
