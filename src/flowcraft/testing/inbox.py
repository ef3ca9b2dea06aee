"""The inbox: the client's end of one connection in memory; collects events and replies."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import msgspec

from flowcraft.adapters.asgi import json_sequence, split_sequence
from flowcraft.core.bundles import Framing
from flowcraft.records import Ephemeral, Kind, Record


class Frame(msgspec.Struct):
    """The fields used here of any server frame; see `spec/protocol.md`."""

    channel: str | None = None
    payload: msgspec.Raw = msgspec.Raw()
    gone: msgspec.Raw = msgspec.Raw()
    skipped: msgspec.Raw = msgspec.Raw()
    count: int | None = None
    id: int | None = None
    n: int = 0
    rows: str | int | None = None
    key: list[str] = []
    items: list[msgspec.Raw] = []
    cursor: str | None = None
    subscribed: list[str] | None = None
    reset: list[str] | None = None
    reason: str = ""
    settled: str | None = None
    error: dict[str, object] | None = None


_decode = msgspec.json.Decoder(Frame).decode
ReceivedEvent = Record | Ephemeral


@dataclass(slots=True, eq=False)
class Inbox:
    """Implements `carrier_ports.Connection`. Events count once their group's closing frame arrives."""

    received: list[ReceivedEvent] = field(default_factory=list[ReceivedEvent])
    settled: set[int] = field(default_factory=set[int])
    answer: str | None = None
    """The reply to the subscription: `subscribed`, a code such as `forbidden`, or a reset's reason."""
    cursor: str | None = None
    """The client's cursor: all events of its subscriptions up to here have been received."""
    closed: tuple[int, str] | None = None
    framing: Framing = json_sequence
    address: str = "the test"
    is_direct: bool = True
    waiting_bytes: int = 0
    _group: list[Record] = field(default_factory=list[Record])
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def news(self) -> None:
        """Wait for the next frame.

        Raises:
            ConnectionResetError: the server has closed the connection.
        """
        if self.closed is not None:
            code, reason = self.closed
            raise ConnectionResetError(f"the server closed the connection ({code}, {reason})")
        self._news.clear()
        await self._news.wait()

    def try_send(self, data: bytes) -> int:
        for message in split_sequence(data):
            self.take(_decode(message))
        self._news.set()
        return 0

    def ping(self) -> None:
        """Ignore the ping: an inbox never times out."""

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        self.try_send(rest)
        self.closed = (code, reason)
        self._news.set()

    def take(self, frame: Frame) -> None:
        """Process one frame."""
        if frame.channel is not None:
            self._receive(frame.channel, *_content(frame), frame.id)
        elif frame.settled is not None:
            self.settled.add(int(frame.settled))
        elif frame.error is not None:
            self.answer = self.answer or str(frame.error["code"])
        elif frame.reset is not None:
            self.answer = frame.reason
        elif frame.cursor is not None:
            assert frame.n == len(self._group), "the server miscounted a group; please report this"
            self.received += self._group
            self._group.clear()
            self.cursor = frame.cursor
            if frame.subscribed is not None:
                self.answer = "subscribed"

    def _receive(self, channel: str, kind: Kind, payload: str, number: int | None) -> None:
        if number is None:
            self.received.append(Ephemeral(channel, payload))
        else:  # frames do not carry the transaction
            self._group.append(Record(0, number, channel, payload, kind=kind))


def _content(frame: Frame) -> tuple[Kind, str]:
    """Return the kind of an event frame, and its content as the log has it."""
    if frame.count is not None:
        return Kind.COUNT, msgspec.json.encode({"count": frame.count}).decode()
    contents = {Kind.EVENT: frame.payload, Kind.GONE: frame.gone, Kind.SKIPPED: frame.skipped}
    return next((kind, bytes(raw).decode()) for kind, raw in contents.items() if bytes(raw))
