"""The log in memory: the same guarantees as the log in PostgreSQL, for tests and experiments."""

from __future__ import annotations

import asyncio
import contextlib
import json
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from operator import attrgetter
from typing import TypeVar

from flowcraft.adapters.memory_members import MemoryAttendance, MemoryMembers
from flowcraft.channels import Channels
from flowcraft.core.wakeup import StateWord
from flowcraft.core.withdrawals import RESERVED, Withdrawal, encode_withdrawal
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.declared_channels import Channel
from flowcraft.errors import CursorExpired, CursorOfOtherDatabase, CursorRewound, RowsLimitExceeded
from flowcraft.ports import BackendContext, LogReader
from flowcraft.records import Batch, Ephemeral, Kind, Limit, Record, TableRows

E = TypeVar("E")
_xid = attrgetter("xid")


def _fixed_time() -> datetime:
    return datetime(2026, 11, 22, 20, 13, tzinfo=UTC)


def _lose(ephemeral: Ephemeral) -> None:
    """Drop an event outside the log: no node is open."""


class MemoryLog:
    """Transactions, their events and their snapshots as in PostgreSQL, within one event loop.

    The clock stands still unless `clock` is given. `capacity` is the number of events that the log keeps; the
    oldest transactions are removed whole, and cursors before them expire.
    """

    def __init__(
        self,
        *,
        capacity: int | None = None,
        lineage: Lineage = Lineage(1, 1, 0),  # noqa: B008  # a frozen value
        start: int = 700,
        clock: Callable[[], datetime] = _fixed_time,
    ) -> None:
        self.lineage = lineage
        self.capacity = capacity
        self._clock = clock
        self._records: list[Record] = []  # by xid
        self._running: dict[int, MemoryTransaction] = {}
        self._completed = start - 1
        self._floor = start
        self._ids = count(1)
        self._wakes: list[Callable[[], None]] = []
        self.attendance = MemoryAttendance()
        """The members of channels, for `MemoryMembers`."""

    def begin(self, xid: int | None = None) -> MemoryTransaction:
        """Start a transaction. Its `xid` may be chosen, above those of all finished ones."""
        if xid is None:
            xid = max(self._completed, *self._running) + 1 if self._running else self._completed + 1
        if xid <= self._completed or xid in self._running:
            raise ValueError(f"transaction {xid} has been used; the next free one is above {self._completed}")
        self._running[xid] = MemoryTransaction(xid, self._ids.__next__, self._finish)
        return self._running[xid]

    def broadcast(
        self, channel: str, payload: str, *, xid: int | None = None, kind: Kind = Kind.EVENT
    ) -> int:
        """Commit one record, an event by default, in its own transaction; return the transaction's id."""
        transaction = self.begin(xid)
        transaction.broadcast(channel, payload, kind)
        transaction.commit()
        return transaction.xid

    @property
    def running(self) -> int:
        """The number of transactions that have begun and not ended."""
        return len(self._running)

    def snapshot(self) -> Snapshot:
        """Return what is visible now; as in PostgreSQL, `xmax` is one above the newest *finished* one."""
        xmax = self._completed + 1
        return Snapshot(xmax, frozenset(xid for xid in self._running if xid < xmax))

    def position_now(self) -> Batch:
        """Return the current position, as `position` does."""
        newest = self._records[-1].xid + 1 if self._records else 0
        now = self.snapshot()
        return Batch((), Cursor(self.lineage, now.clamp(max(newest, self._floor))), now, self._clock())

    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        """Return what became visible after a cursor, as `tail` does."""
        batch = self._difference(after)
        if limit is not None and _is_more(batch.records, limit):
            raise CursorExpired(str(after))
        return batch

    def replay_now(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        """Return what became visible on some channels after a cursor, as `replay` does."""
        batch = self._difference(after)
        wanted = tuple(record for record in batch.records if record.channel in channels)
        if limit is not None and _is_more(wanted, limit):
            raise CursorExpired(str(after))
        return replace(batch, records=wanted)

    def visible_now(self, channel: str) -> list[Record]:
        """Return all records of a channel that are visible now, in their order."""
        now = self.snapshot()
        found = [r for r in self._records if r.channel == channel and now.covers(r.xid)]
        return sorted(found, key=attrgetter("id"))

    def rewound_now(self, last: Cursor) -> Batch:
        """Begin a new generation, as `rewound` does; only once for all readers that found the same one."""
        mine, found = self.lineage, last.lineage
        if mine.timeline == found.timeline and mine.generation <= found.generation:
            self.lineage = replace(mine, generation=found.generation + 1)
        return self.position_now()

    async def position(self) -> Batch:
        return self.position_now()

    async def tail(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        return self.tail_now(after, limit=limit)

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        return self.replay_now(after, channels, limit=limit)

    async def rewound(self, last: Cursor) -> Batch:
        return self.rewound_now(last)

    def trim(self, *, before: int) -> None:
        """Remove the events of transactions below `before`, up to the oldest running transaction."""
        keep = bisect_left(self._records, min([before, *self._running]), key=_xid)
        if keep:
            self._floor = self._records[keep - 1].xid + 1
            del self._records[:keep]

    def rewind(self, *, before: int) -> None:
        """Simulate a crash that loses every commit from transaction `before` on; ids are issued again."""
        self._running.clear()
        del self._records[bisect_left(self._records, before, key=_xid) :]
        self._completed = before - 1
        self._floor = min(self._floor, before)
        self._ids = count(max((record.id for record in self._records), default=0) + 1)

    def on_change(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` after each transaction that ends; return a function that stops the calls."""
        self._wakes.append(wake)
        return lambda: self._wakes.remove(wake)

    def _check(self, after: Cursor) -> None:
        if after.lineage.system != self.lineage.system:
            raise CursorOfOtherDatabase(str(after))
        if after.lineage != self.lineage or after.snapshot.xmax > self._completed + 1:
            raise CursorRewound(str(after))
        if after.snapshot.xmin < self._floor:
            raise CursorExpired(str(after), self._floor)

    def _difference(self, after: Cursor) -> Batch:
        self._check(after)
        seen, now = after.snapshot, self.snapshot()
        newer = bisect_left(self._records, seen.xmax, key=_xid)
        visible = [r for r in self._records[:newer] if r.xid in seen.xip] + self._records[newer:]
        newest = max(map(_xid, visible), default=None)
        records = tuple(sorted(visible, key=attrgetter("id")))
        return Batch(records, after.advance(now, newest), now, self._clock())

    def _finish(self, transaction: MemoryTransaction, records: Sequence[Record]) -> None:
        if self._running.pop(transaction.xid, None) is not transaction:
            raise RuntimeError(f"transaction {transaction.xid} has ended already")
        self._completed = max(self._completed, transaction.xid)
        for record in records:
            insort(self._records, record, key=_xid)
        while self.capacity is not None and len(self._records) > self.capacity:
            oldest = self._records[0].xid
            self.trim(before=oldest + 1)
            if self._records and self._records[0].xid == oldest:
                break  # a running transaction keeps it
        for wake in self._wakes:
            wake()


class MemoryTransaction:
    """A running transaction of the log in memory. Its events get their ids when they are broadcast."""

    def __init__(
        self,
        xid: int,
        next_id: Callable[[], int],
        finish: Callable[[MemoryTransaction, Sequence[Record]], None],
    ) -> None:
        self.xid = xid
        self._next_id = next_id
        self._finish = finish
        self._records: list[Record] = []
        self._afterwards: list[Callable[[], None]] = []
        self._ended = False

    def broadcast(self, channel: str, payload: str, kind: Kind = Kind.EVENT) -> None:
        """Write a record. One of another kind than an event may be on `<prefix>.*`, as in PostgreSQL."""
        self._require_running()
        self._records.append(Record(self.xid, self._next_id(), channel, payload, kind=kind))

    def on_commit(self, action: Callable[[], None]) -> None:
        """Call `action` once this transaction has committed."""
        self._require_running()
        self._afterwards.append(action)

    def commit(self) -> None:
        self._finish(self, self._records)
        self._ended = True
        for action in self._afterwards:
            action()

    def rollback(self) -> None:
        self._finish(self, ())
        self._ended = True

    def _require_running(self) -> None:
        if self._ended:
            raise RuntimeError(f"transaction {self.xid} has ended already; begin another")


class MemoryWakeups:
    """Wakeups of one reader of a log in memory."""

    def __init__(self, log: MemoryLog, *, safety_seconds: float = 1.0) -> None:
        self._safety_seconds = safety_seconds
        self._woken = asyncio.Event()
        self.close = log.on_change(self._woken.set)
        """Stop the wakeups."""

    async def wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            # Not wait_for: before Python 3.12 it swallows a cancellation that comes with the wakeup.
            async with asyncio.timeout(self._safety_seconds):
                await self._woken.wait()
        self._woken.clear()

    @property
    def trouble(self) -> None:
        """None: these wakeups never fail."""

    @property
    def state(self) -> StateWord:
        return "idle"

    def hurry(self) -> None:
        self._woken.set()


class MemoryRealtimeService:
    """Broadcasts into a log in memory; `via` takes a `MemoryTransaction` of that log."""

    def __init__(self, log: MemoryLog, deliver: Callable[[Ephemeral], None] = _lose) -> None:
        self.deliver = deliver
        """Called with each event of a channel outside the log."""
        self._log = log

    async def broadcast(self, channel: Channel[E], event: E, *, via: object | None = None) -> None:
        payload = channel.declaration.payload.encode(event)
        if via is not None and not isinstance(via, MemoryTransaction):
            raise TypeError(f"via takes a MemoryTransaction here, got {type(via).__name__}")
        transaction = via or self._log.begin()
        if channel.declaration.durable:
            transaction.broadcast(channel.name, payload)
        else:
            transaction.on_commit(lambda: self.deliver(Ephemeral(channel.name, payload)))
        if via is None:
            transaction.commit()

    async def revoke(self, withdrawal: Withdrawal, *, via: object | None = None) -> None:
        if via is not None and not isinstance(via, MemoryTransaction):
            raise TypeError(f"via takes a MemoryTransaction here, got {type(via).__name__}")
        transaction = via or self._log.begin()
        transaction.broadcast(RESERVED, encode_withdrawal(withdrawal), Kind.WITHDRAWAL)
        if via is None:
            transaction.commit()


class MemoryRows:
    """The rows of channels in memory, where there are no tables: those in the log that are not gone.

    It needs a log from which nothing was removed.
    """

    def __init__(self, log: MemoryLog, channels: Channels) -> None:
        self._log = log
        self._channels = channels

    async def read(self, channel: str, limit: Limit) -> TableRows:
        declaration, _ = self._channels.resolve(channel)
        now = self._log.position_now()
        if declaration.members_of is None:
            found, counted = self._of_log(channel, declaration.row_key or ()), 0
        else:
            found, counted = self._log.attendance.shown(channel)
        if len(found) > limit.events:
            raise RowsLimitExceeded(channel, "rows_per_channel", limit.events, "")
        if limit.bytes is not None and sum([len(row.encode()) for row in found]) > limit.bytes:
            raise RowsLimitExceeded(channel, "rows_bytes", limit.bytes, "")
        return TableRows(now.cursor, found, counted)

    def _of_log(self, channel: str, names: Sequence[str]) -> Sequence[str]:
        rows: dict[tuple[str, ...], str] = {}
        for record in self._log.visible_now(channel):
            row: dict[str, object] = json.loads(record.payload)
            if record.kind in {Kind.EVENT, Kind.GONE}:
                key = tuple([json.dumps(row[name]) for name in names])
                rows.pop(key, None)
                if record.kind is Kind.EVENT:
                    rows[key] = record.payload
        return tuple(rows.values())


class MemoryBackend:
    """A `Backend` in this process's memory, for tests and experiments. Its log ends with the process.

    Several backends on one `log` stand for several processes; an event outside the log stays in one of them.
    """

    def __init__(self, log: MemoryLog | None = None) -> None:
        self.log = log or MemoryLog()
        self.service = MemoryRealtimeService(self.log)
        self._wakeups: MemoryWakeups | None = None

    def open(self, context: BackendContext) -> LogReader:
        self.service.deliver = context.deliver
        self._wakeups = MemoryWakeups(self.log, safety_seconds=context.settings.safety_poll_seconds)
        rows, members = (
            MemoryRows(self.log, context.channels),
            MemoryMembers(self.log, listed=context.settings.most_listed),
        )
        return LogReader(self.log, self._wakeups, rows, members)

    async def close(self) -> None:
        self.service.deliver = _lose
        wakeups, self._wakeups = self._wakeups, None
        if wakeups is not None:
            wakeups.close()


def _is_more(records: Sequence[Record], limit: Limit) -> bool:
    if len(records) > limit.events:
        return True
    return (
        limit.bytes is not None
        and sum(len(r.payload.encode("utf-8", "surrogatepass")) for r in records) > limit.bytes
    )
