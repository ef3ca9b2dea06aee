"""Delivery: the hub's effects as the messages that leave, each record encoded once for all who get it."""

from __future__ import annotations

from typing import TypeAlias, assert_never

from flowcraft.core import frames
from flowcraft.core.counts import Counts
from flowcraft.core.frames import Bundle, Live
from flowcraft.core.hub import Deliver, DeliverEphemeral, Reset, SessionId, Settled, Subscribed
from flowcraft.core.pages import PAGE_BYTES, Pages, about
from flowcraft.records import Record

Outgoing: TypeAlias = Deliver | DeliverEphemeral | Subscribed | Reset | Settled


class Encoder:
    """Encodes the effects of one step of the hub; use a new one for the next."""

    def __init__(self, counts: Counts | None = None) -> None:
        self._encoded: dict[int, bytes] = {}
        self._counts = counts or Counts()

    def encode(self, effect: Outgoing) -> tuple[Bundle | Pages, tuple[SessionId, ...]]:
        """Return what leaves, in one write unless it is a long replay, and to whom."""
        part, to = self._encode(effect)
        self._counts.sent_bytes += part.size * len(to)
        return part, to

    def _encode(self, effect: Outgoing) -> tuple[Bundle | Pages, tuple[SessionId, ...]]:
        match effect:
            case Deliver(records, cursor, at, to):
                self._counts.live += len(records) * len(to)
                live = Live(records, cursor, at)
                return self._group(records, frames.commit_point(cursor, len(records), at), live), to
            case DeliverEphemeral(event, to):
                self._counts.ephemeral += len(to)
                return Bundle([frames.event(event)]), to
            case Subscribed(session, channels, records, cursor, ref):
                self._counts.replayed += len(records)
                closing = frames.subscribed(channels, cursor, len(records), ref)
                size = about(records)
                if size > PAGE_BYTES:
                    return Pages(records, closing, size), (session,)
                return self._group(records, closing), (session,)
            case Reset(session, channels, reason, cursor, ref):
                self._counts.resets[reason] += 1
                return Bundle([frames.reset(channels, reason, cursor, ref)]), (session,)
            case Settled(session, xid, cursor):
                return Bundle([frames.settled(xid, cursor)]), (session,)
        assert_never(effect)

    def _group(self, records: tuple[Record, ...], closing: bytes, live: Live | None = None) -> Bundle:
        return Bundle([*map(self._event, records), closing], len(records), live)

    def _event(self, record: Record) -> bytes:
        message = self._encoded.get(record.id)
        if message is None:
            message = self._encoded[record.id] = frames.event(record)
        return message
