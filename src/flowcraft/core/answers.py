"""Answers: what one session is sent, its replays and states in pages, as its client reads them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeAlias, assert_never

from flowcraft.core import bundles, frames
from flowcraft.core.bundles import Bundle, Encoder
from flowcraft.core.hub_effects import (
    Deliver,
    DeliverEphemeral,
    Outgoing,
    Reset,
    SessionId,
    Settled,
    Subscribed,
)
from flowcraft.core.states import State
from flowcraft.records import Record

PAGE_BYTES = 64 * 1024
"""About the size of one write to a slow client: a quarter of the kernel's send buffer."""
SMALL_STATE_BYTES = 4 * 1024
"""A state up to this size is copied into one write with what follows it; the bytes of others are shared."""
_FRAME_BYTES = 64
"""About the bytes of an event's frame without its payload."""


class Pages:
    """The events of one replay and the frame that closes it, encoded page by page as the client reads.

    Clients whose replays come from the same read share its records; each has only one page of its own in
    memory, however slowly it reads. On the wire the replay is one batch: pages are not visible there. Before
    the events stand the pages of a state, which all of its clients share.
    """

    def __init__(
        self, records: Sequence[Record], closing: bytes, size: int, state: State | None = None
    ) -> None:
        self._records = records
        self.state = state
        """The state with pages that have not been taken; None once all have."""
        self._next_of_state = 0
        self._closing = closing
        self.size = size
        """About how many bytes all pages have together."""
        self._next = 0
        self.is_sent = False
        """Whether the last page has been taken."""

    def take(self) -> Bundle:
        """Return the next page; the last one ends with the closing frame."""
        if self.state is not None:
            page = self.state.pages[self._next_of_state]
            self._next_of_state += 1
            if self._next_of_state == len(self.state.pages):
                self.state = None
            return page
        messages: list[bytes] = []
        size, first = 0, self._next
        while self._next < len(self._records) and size < PAGE_BYTES:
            messages.append(bundles.event(self._records[self._next]))
            size += len(messages[-1])
            self._next += 1
        if self._next == len(self._records):
            messages.append(self._closing)
            self.is_sent = True
        return Bundle(messages, self._next - first)


Part: TypeAlias = Bundle | Pages


def encode(effect: Outgoing, encoder: Encoder) -> tuple[Part, tuple[SessionId, ...]]:
    """Return the messages of an effect, in pages if it is a long replay, and their recipients."""
    counts = encoder.counts
    part: Part
    match effect:
        case Deliver():
            return encoder.batch(effect)
        case DeliverEphemeral(ephemeral, to):
            counts.ephemeral += len(to)
            part = Bundle([bundles.event(ephemeral)])
        case Subscribed(session, channels, records, cursor, ref, state):
            counts.replayed += len(records)
            counts.states += state is not None
            if records or state is not None:
                closing = frames.subscribed(channels, cursor, len(records), ref, state)
                part, to = _replay(records, closing, state, encoder), (session,)
            else:
                part, to = _no_replay(channels, str(cursor), ref), (session,)
        case Reset(session, channels, reason, cursor, ref):
            counts.resets[reason] += 1
            part, to = Bundle([frames.reset(channels, reason, cursor, ref)]), (session,)
        case Settled(session, xid, cursor):
            part, to = Bundle([frames.settled(xid, cursor)]), (session,)
        case _:
            assert_never(effect)
    counts.sent_bytes += part.size * len(to)
    return part, to


def _replay(records: tuple[Record, ...], closing: bytes, state: State | None, encoder: Encoder) -> Part:
    size = sum(len(record.payload) + _FRAME_BYTES for record in records)
    state_size = 0 if state is None else sum([page.size for page in state.pages])
    if size > PAGE_BYTES or state_size > SMALL_STATE_BYTES:
        return Pages(records, closing, size + state_size, state)
    messages = [] if state is None else [message for page in state.pages for message in page.messages]
    return Bundle([*messages, *map(encoder.event, records), closing], len(records))


@lru_cache(maxsize=64)  # pages of one application ask for the same channels, with the same ref
def _no_replay(channels: tuple[str, ...], cursor: str, ref: int | None) -> Bundle:
    return Bundle([frames.subscribed(channels, cursor, 0, ref)])
