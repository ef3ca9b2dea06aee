"""A probe: the protocol's client in Python, which writes down what its handlers are told.

It is made for tests: small, independent of the server's code, and light enough to run by the thousand.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from flowcraft.cursors import Cursor
from flowcraft.testing.histories import Began, Ended, Heard, History, WasReset

CONNECT_SECONDS = 2.0
FIRST_RETRY_SECONDS = 0.25
LONGEST_RETRY_SECONDS = 5.0
SILENT_HEARTBEATS = 2.5
BAD_FRAME = 4002
FIRST_FINAL = 4500

Frames = dict[str, Any]


class Stopped(Exception):
    """The server closed with a final code: the probe does not come back."""

    def __init__(self, code: int) -> None:
        super().__init__(f"closed with {code}, which is final")
        self.code = code


@dataclass(slots=True, eq=False)
class _Following:
    """One subscription: where it stands, and the answer it waits for."""

    history: History
    at: Cursor | None
    ref: int = 0
    live: bool = False


class Probe:
    """One client. It reconnects and resumes until it is closed; `follow` gives the history that it writes.

    A channel is followed once at a time. `on_event` is called with channel, payload and monotonic time.
    """

    def __init__(
        self,
        url: str,
        *,
        name: str = "probe",
        token: str | None = None,
        chance: random.Random | None = None,
        answers_pings: bool = True,
        on_event: Callable[[str, object, float], None] | None = None,
    ) -> None:
        self.name = name
        self.connects = 0
        self.mismatches = 0
        self.repeats = 0
        self.closes: Counter[int] = Counter()
        self.resets: Counter[str] = Counter()
        self.opened_at: list[float] = []
        self.errors: list[str] = []
        self.answers_pings = answers_pings
        self._url = url
        parts = urlsplit(url)
        assert parts.hostname is not None, f"{url} names no host"
        self._address = parts.hostname, parts.port or 80
        self._token = token
        self._chance = chance or random.Random()  # noqa: S311  # jitter, not a secret
        self._on_event = on_event
        self._followings: dict[str, _Following] = {}
        self._settling: dict[int, asyncio.Future[None]] = {}
        self._changed = asyncio.Event()
        self._socket: _Socket | None = None
        self._conversation: _Conversation | None = None
        self._task: asyncio.Task[None] | None = None
        self._stopped: Stopped | None = None
        self._ref = 0
        self._hint = 0.0

    def follow(self, channel: str, since: Cursor | None = None) -> History:
        """Subscribe, from the server's position or after a cursor."""
        history = History(self.name, channel, [Began(since)] if since else [])
        self._followings[channel] = _Following(history, since)
        if self._conversation is not None:
            self._conversation.ask()
        return history

    def unfollow(self, channel: str) -> None:
        """Unsubscribe; what still arrives is dropped."""
        following = self._followings.pop(channel)
        following.history.marks.append(Ended(time.monotonic()))
        if self._conversation is not None:
            self._conversation.say({"unsubscribe": [channel]})

    async def start(self) -> None:
        """Begin to connect."""
        self._task = asyncio.create_task(self._run(), name=self.name)

    async def close(self) -> None:
        """Leave for good."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until_open(self) -> None:
        """Wait until the server has greeted.

        Raises:
            Stopped: it has sent us away for good.
        """
        await self._until(lambda: self._conversation is not None)

    async def until_live(self) -> None:
        """Wait until all that is followed has been answered.

        Raises:
            Stopped: the server has sent us away for good.
        """
        await self._until(lambda: self._conversation is not None and self._all_live())

    async def settled(self, xid: int) -> None:
        """Wait until all that was committed up to a transaction has been delivered.

        Raises:
            Stopped: the server has sent us away for good.
        """
        if self._stopped is not None:
            raise self._stopped
        future = self._settling.setdefault(xid, asyncio.get_running_loop().create_future())
        if self._conversation is not None:
            self._conversation.settle()
        await asyncio.shield(future)

    def stop_reading(self) -> None:
        """Take nothing more from the socket, as a client that hangs."""
        if self._socket is not None:
            self._socket.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on; what was sent meanwhile is read now."""
        if self._socket is not None and not self._socket.transport.is_closing():
            self._socket.transport.resume_reading()

    def _all_live(self) -> bool:
        return all(following.live for following in self._followings.values())

    async def _until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            if self._stopped is not None:
                raise self._stopped
            self._changed.clear()
            await self._changed.wait()

    async def _run(self) -> None:
        failures = 0
        try:
            while self._stopped is None:
                opened = await self._serve()
                failures = 0 if opened else failures + 1
                longest = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2**failures)
                hint, self._hint = self._hint, 0.0
                await asyncio.sleep(hint or self._chance.uniform(0, longest))
        finally:
            for future in self._settling.values():
                future.cancel()

    async def _serve(self) -> bool:
        """One connection from its handshake to its end; whether the server greeted."""
        loop = asyncio.get_running_loop()
        host, port = self._address
        socket = _Socket(self, self._url)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await loop.create_connection(lambda: socket, host, port)
                await socket.greeted.wait()
        except (OSError, TimeoutError):
            socket.abort()
            return False
        self._socket = socket
        try:
            await socket.closed.wait()
        finally:
            self._leave(socket)
        return socket.has_greeted

    def _leave(self, socket: _Socket) -> None:
        self._socket = self._conversation = None
        for following in self._followings.values():
            following.live, following.ref = False, 0
        socket.abort()
        self.closes[socket.code] += 1
        if socket.code >= FIRST_FINAL:
            self._stopped = Stopped(socket.code)
            for future in self._settling.values():
                future.set_exception(self._stopped)
            self._settling.clear()
        self._changed.set()

    # what the conversation tells

    def greeted(self, conversation: _Conversation) -> None:
        self.connects += 1
        self.opened_at.append(time.monotonic())
        self._conversation = conversation
        if self._token is not None:
            conversation.say({"auth": self._token})
        conversation.ask()
        conversation.settle()
        self._changed.set()

    @property
    def followings(self) -> dict[str, _Following]:
        return self._followings

    @property
    def settling(self) -> dict[int, asyncio.Future[None]]:
        return self._settling

    def next_ref(self) -> int:
        self._ref += 1
        return self._ref

    def apply(self, channel: str, payload: Any) -> None:  # noqa: ANN401  # as it was parsed
        now = time.monotonic()
        following = self._followings.get(channel)
        if following is not None:
            following.history.marks.append(Heard(payload["row"], payload["version"], now))
        if self._on_event is not None:
            self._on_event(channel, payload, now)

    def changed(self) -> None:
        self._changed.set()

    def hint(self, seconds: float) -> None:
        self._hint = seconds


class _Conversation:
    """What is said on one connection."""

    def __init__(self, probe: Probe, socket: _Socket) -> None:
        self._probe = probe
        self._socket = socket
        self._group: list[Frames] = []
        self._counted = 0
        self._position: str | None = None
        self._unsure = False  # cursors have moved on since a heartbeat last confirmed the count
        self.heartbeat = 25.0

    def say(self, frame: Frames) -> None:
        self._socket.send(json.dumps(frame))

    def ask(self) -> None:
        """Send a request for each position that is held by those not asked for yet."""
        by_cursor: dict[str | None, list[_Following]] = {}
        for following in self._probe.followings.values():
            if not following.ref:
                by_cursor.setdefault(str(following.at) if following.at else None, []).append(following)
        for since, followings in by_cursor.items():
            ref = self._probe.next_ref()
            for following in followings:
                following.ref = ref
            frame: Frames = {"subscribe": [f.history.channel for f in followings], "ref": ref}
            self.say({**frame, "since": since} if since else frame)

    def settle(self) -> None:
        for xid in self._probe.settling:
            self.say({"settle": str(xid)})

    def received(self, text: str) -> None:
        """Take one frame.

        Raises:
            ValueError: it is malformed, or events are missing.
        """
        frame: Frames = json.loads(text)
        if "channel" in frame:
            self._event(frame)
        elif "hello" in frame:
            self.heartbeat = frame["hello"]["heartbeat"]
            self._probe.greeted(self)
        elif "subscribed" in frame:
            self._subscribed(frame)
        elif "reset" in frame:
            self._reset(frame)
        elif "settled" in frame:
            future = self._probe.settling.pop(int(frame["settled"]), None)
            if future is not None and not future.done():
                future.set_result(None)
        elif "cursor" in frame:
            self._commit_point(frame)
        elif "bye" in frame:
            self._probe.hint(frame["bye"]["reconnect_after_ms"] / 1000)
        elif "error" in frame:
            self._probe.errors.append(f"{frame['error']['code']}: {frame['error']['message']}")

    def _event(self, frame: Frames) -> None:
        if "id" in frame:
            self._counted += 1
            self._group.append(frame)
        else:
            self._probe.apply(frame["channel"], frame["payload"])

    def admit_loss(self) -> None:
        """Tell of a gap: what is missing may lie before what was applied since, and would come too late."""
        if self._unsure:
            for following in self._probe.followings.values():
                if following.live and following.at is not None:
                    following.history.marks += [WasReset("lost"), Began(following.at)]
                    self._probe.resets["lost"] += 1

    def _close_group(self, frame: Frames) -> list[Frames]:
        group, self._group = self._group, []
        if len(group) != frame.get("n", 0):
            raise ValueError(f"{len(group)} events where {frame.get('n', 0)} were sent")
        sent = frame.get("sent")
        if sent is not None and sent != self._counted:
            raise ValueError(f"{self._counted} events on a connection that was sent {sent}")
        return group

    def _commit_point(self, frame: Frames) -> None:
        group = self._close_group(frame)
        if group and frame["cursor"] == self._position:
            raise ValueError("a group that ends where the last one did")
        self._position = frame["cursor"]
        self._unsure = "sent" not in frame
        cursor = Cursor.parse(frame["cursor"])
        for event in group:
            following = self._probe.followings.get(event["channel"])
            if following is not None and following.live:
                self._probe.apply(event["channel"], event["payload"])
        for following in self._probe.followings.values():
            if following.live:
                following.at = cursor

    def _subscribed(self, frame: Frames) -> None:
        group = self._close_group(frame)
        cursor = Cursor.parse(frame["cursor"])
        mine = {
            f.history.channel: f
            for f in self._probe.followings.values()
            if f.ref == frame.get("ref") and not f.live
        }
        for following in mine.values():
            if following.at is None:
                following.history.marks.append(Began(cursor))
        for event in group:
            if event["channel"] in mine:
                self._probe.apply(event["channel"], event["payload"])
        self._live(mine, cursor)

    def _reset(self, frame: Frames) -> None:
        self._close_group(frame)
        cursor = Cursor.parse(frame["cursor"])
        ref = frame.get("ref")
        mine = {
            f.history.channel: f
            for f in self._probe.followings.values()
            if f.history.channel in frame["reset"] and (f.ref == ref if ref else f.live)
        }
        self._probe.resets[frame["reason"]] += bool(mine)
        for following in mine.values():
            following.history.marks += [WasReset(frame["reason"]), Began(cursor)]
        self._live(mine, cursor)

    def _live(self, followings: dict[str, _Following], cursor: Cursor) -> None:
        for following in followings.values():
            following.at, following.live = cursor, True
        self._probe.changed()


class _Socket(asyncio.Protocol):
    """The WebSocket, by the Sans-I/O implementation of `websockets`."""

    transport: asyncio.Transport

    def __init__(self, probe: Probe, url: str) -> None:
        self.greeted = asyncio.Event()
        self.closed = asyncio.Event()
        self.code = 1006
        self.has_greeted = False
        self._probe = probe
        self._protocol = ClientProtocol(parse_uri(url), max_size=None)
        self._conversation = _Conversation(probe, self)
        self._parts: list[bytes] = []
        self._silence: asyncio.TimerHandle | None = None
        self._heard = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self._protocol.send_request(self._protocol.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        self._heard = time.monotonic()
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event)
        if self._protocol.handshake_exc is not None:
            self._end()
        if self._probe.answers_pings:
            self._flush()
        else:
            self._protocol.data_to_send()

    def eof_received(self) -> None:
        self._protocol.receive_eof()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's
        self._end()

    def send(self, text: str) -> None:
        if self._protocol.state is OPEN and not self.closed.is_set():
            self._protocol.send_text(text.encode())
            self._flush()

    def abort(self) -> None:
        if hasattr(self, "transport"):
            self.transport.abort()
        self._end()

    def _take(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.code = self._protocol.close_rcvd.code if self._protocol.close_rcvd else 1005
            self._end()
        elif frame.opcode in (Opcode.TEXT, Opcode.CONT) and not self.closed.is_set():
            self._parts.append(bytes(frame.data))
            if frame.fin:
                text, self._parts = b"".join(self._parts).decode(), []
                self._receive(text)

    def _receive(self, text: str) -> None:
        try:
            self._conversation.received(text)
        except (ValueError, KeyError, TypeError):
            self._probe.mismatches += 1
            self._conversation.admit_loss()
            self.code = BAD_FRAME
            self._protocol.send_close(BAD_FRAME)
            self._flush()
            self._end()
            return
        if not self.has_greeted:
            self.has_greeted = True
            self.greeted.set()
            self._watch()

    def _watch(self) -> None:
        """Leave a connection on which nothing is heard."""
        allowed = SILENT_HEARTBEATS * self._conversation.heartbeat
        silent = time.monotonic() - self._heard
        if silent >= allowed:
            self._end()
        else:
            self._silence = asyncio.get_running_loop().call_later(allowed - silent, self._watch)

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.transport.write(data)
            else:
                with contextlib.suppress(OSError, RuntimeError):
                    self.transport.write_eof()

    def _end(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self.greeted.set()
        self.closed.set()
