"""Event streams of rows: where their clients may resume, and the rows that they need again after a reset."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from flowcraft.core.client_frames import Subscribe, encode_subscribe
from flowcraft.errors import RowsUnreadable

_SUBSCRIBED, _RESET, _ERROR = b'{"subscribed"', b'{"reset"', b'{"error"'
_END = b"\n\n"


class _Failure(msgspec.Struct):
    code: str
    channel: str | None = None
    channels: tuple[str, ...] = ()


class _Answer(msgspec.Struct):
    subscribed: tuple[str, ...] = ()
    reset: tuple[str, ...] = ()
    error: _Failure | None = None


_answer = msgspec.json.Decoder(_Answer).decode


class RowsStream:
    """The events of a stream whose URL names channels of rows, on their way to the client.

    While one of these channels is without its rows no event has an `id`: a client that resumed from there
    would count as one that has them. After a reset the stream asks for the rows by itself, because a browser
    cannot. Rows that cannot be read now end the stream, and the browser comes back.
    """

    def __init__(
        self, channels: Iterable[str], ask: Callable[[str], object], end: Callable[[], object]
    ) -> None:
        """`ask` sends a message of the client, and `end` closes the stream; neither is called at once."""
        self._channels = frozenset(channels)
        self._without = set(self._channels)
        self._ask = ask
        self._end = end

    def passed(self, events: bytes) -> bytes:
        """Return whole events as they are sent."""
        if not self._without and _RESET not in events and _ERROR not in events:
            return events
        return b"".join([self._event(event) + _END for event in events.split(_END) if event])

    def _event(self, event: bytes) -> bytes:
        data = event.partition(b"\n")[2] if event.startswith(b"id: ") else event
        message = data.removeprefix(b"data: ")
        if message.startswith((_SUBSCRIBED, _RESET, _ERROR)):
            self._see(_answer(message))
        return data if self._without else event

    def _see(self, answer: _Answer) -> None:
        self._without.difference_update(answer.subscribed)
        if answer.error is not None:
            failed = self._channels.intersection((answer.error.channel, *answer.error.channels))
            self._without.update(failed)
            if failed and answer.error.code == RowsUnreadable.code:
                self._end()
        again = tuple([name for name in answer.reset if name in self._channels])
        if again:
            self._without.update(again)
            self._ask(encode_subscribe(Subscribe(again, rows=True)).decode())
