"""Delivery: the hub's effects as the messages that leave, each record encoded once for all who get it."""

from __future__ import annotations

from typing import TypeAlias, assert_never

from flowcraft.core import frames
from flowcraft.core.frames import Bundle, Live
from flowcraft.core.hub import Deliver, DeliverEphemeral, Reset, SessionId, Settled, Subscribed
from flowcraft.core.pages import Pages, is_long
from flowcraft.records import Record

Outgoing: TypeAlias = Deliver | DeliverEphemeral | Subscribed | Reset | Settled


class Encoder:
    """Encodes the effects of one step of the hub; use a new one for the next."""

    def __init__(self) -> None:
        self._encoded: dict[int, bytes] = {}

    def encode(self, effect: Outgoing) -> tuple[Bundle | Pages, tuple[SessionId, ...]]:
        """Return what leaves, in one write unless it is a long replay, and to whom."""
        match effect:
            case Deliver(records, cursor, at, to):
                live = Live(records, cursor, at)
                return self._group(records, frames.commit_point(cursor, len(records), at), live), to
            case DeliverEphemeral(event, to):
                return Bundle([frames.event(event)]), to
            case Subscribed(session, channels, records, cursor, ref):
                closing = frames.subscribed(channels, cursor, len(records), ref)
                if is_long(records):
                    return Pages(records, closing), (session,)
                return self._group(records, closing), (session,)
            case Reset(session, channels, reason, cursor, ref):
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
