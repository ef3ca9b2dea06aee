"""The contract of logs: a log that breaks a promise fails the test of that promise."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
import pytest

from flowcraft.adapters.memory import (
    MemoryLog,
    MemoryTransaction,
)
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import CursorExpired, RealtimeError
from flowcraft.records import Batch, Kind, Limit, Record
from flowcraft.testing.contracts import (
    EventLogContract,
)

BROKEN = (AssertionError, TimeoutError, RealtimeError, RuntimeError, pytest.fail.Exception)


class DriftingCursor(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = super().tail_now(after, limit=limit)
        drifted = replace(batch.cursor.snapshot, xmax=batch.cursor.snapshot.xmax + 1)
        return replace(batch, cursor=replace(batch.cursor, snapshot=drifted))


class StandingCursor(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        return replace(super().tail_now(after, limit=limit), cursor=after)


class SplitTransactions(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = super().tail_now(after, limit=limit)
        return replace(batch, records=batch.records[:1])


class DirtyReads(MemoryLog):
    def begin(self, xid: int | None = None) -> MemoryTransaction:
        transaction = super().begin(xid)

        def broadcast_at_once(channel: str, payload: str, kind: Kind = Kind.EVENT) -> None:
            self.broadcast(channel, payload, kind=kind)

        transaction.broadcast = broadcast_at_once  # type: ignore[method-assign]
        return transaction


class FormattedPayloads(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = super().tail_now(after, limit=limit)
        return replace(
            batch,
            records=tuple(
                msgspec.structs.replace(r, payload=json.dumps(json.loads(r.payload))) for r in batch.records
            ),
        )


class CursorOfOneChannel(MemoryLog):
    def replay_now(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        batch = super().replay_now(after, channels, limit=limit)
        newest = max((record.xid for record in batch.records), default=None)
        return replace(batch, cursor=after.advance(batch.snapshot, newest))


class Unlimited(MemoryLog):
    def replay_now(
        self,
        after: Cursor,
        channels: Sequence[str],
        *,
        limit: Limit | None = None,  # ignored on purpose
    ) -> Batch:
        return super().replay_now(after, channels)


class CountedCharacters(MemoryLog):
    def replay_now(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        batch = super().replay_now(after, channels)
        size = sum(len(record.payload) for record in batch.records)
        if limit is not None and (len(batch.records) > limit.events or size > (limit.bytes or size)):
            raise CursorExpired(str(after))
        return batch


class TailOfAnySize(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        return super().tail_now(after, limit=limit and Limit(limit.events))


class UnclampedPosition(MemoryLog):
    def position_now(self) -> Batch:
        batch = super().position_now()
        return replace(batch, cursor=replace(batch.cursor, snapshot=batch.snapshot))


class NoZone(MemoryLog):
    def __init__(self) -> None:
        super().__init__(clock=lambda: datetime(2026, 1, 1))  # noqa: DTZ001  # that is the bug


class SilentGap(MemoryLog):
    def trim(self, *, before: int) -> None:
        floor = self._floor
        super().trim(before=before)
        self._floor = floor


class FloorAboveTheLog(MemoryLog):
    def trim(self, *, before: int) -> None:
        super().trim(before=before)
        self._floor = before


class AnyHistory(MemoryLog):
    def _check(self, after: Cursor) -> None:
        super()._check(replace(after, lineage=self.lineage))


class GenerationForEachFinder(MemoryLog):
    def rewound_now(self, last: Cursor) -> Batch:
        return super().rewound_now(replace(last, lineage=self.lineage))


class GenerationBroughtBack(MemoryLog):
    def rewound_now(self, last: Cursor) -> Batch:
        self.lineage = Lineage(self.lineage.system, self.lineage.timeline, last.lineage.generation + 1)
        return self.position_now()


class LateCommitsSkipped(MemoryLog):
    """Its cursor is a number."""

    def snapshot(self) -> Snapshot:
        return Snapshot(super().snapshot().xmax)


class OrderedByTransaction(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = super().tail_now(after, limit=limit)
        return replace(batch, records=tuple(sorted(batch.records, key=lambda r: (r.xid, r.id))))


class SnapshotOfTheCursor(MemoryLog):
    def tail_now(self, after: Cursor, *, limit: Limit | None = None) -> Batch:
        batch = super().tail_now(after, limit=limit)
        return replace(batch, snapshot=batch.cursor.snapshot)


class TrimmedPastARunningOne(MemoryLog):
    def trim(self, *, before: int) -> None:
        kept: list[Record] = [record for record in self._records if record.xid >= before]
        self._records[:] = kept
        self._floor = before


LOGS: dict[str, type[MemoryLog]] = {
    "test_nothing_follows_the_position_of_an_idle_log": DriftingCursor,
    "test_a_committed_transaction_is_read_once_whole_and_in_order": SplitTransactions,
    "test_what_is_not_committed_is_not_read": DirtyReads,
    "test_a_payload_is_returned_as_it_was_stored": FormattedPayloads,
    "test_a_replay_of_some_channels_ends_at_the_cursor_of_a_tail": CursorOfOneChannel,
    "test_more_than_the_limit_is_too_much_to_replay": Unlimited,
    "test_more_than_the_limit_of_bytes_is_too_much_to_replay": CountedCharacters,
    "test_a_tail_is_bounded_by_bytes_too": TailOfAnySize,
    "test_a_cursor_claims_no_transaction_beyond_the_newest_event": UnclampedPosition,
    "test_the_time_of_a_read_names_its_zone": NoZone,
    "test_a_cursor_before_what_was_trimmed_has_expired": SilentGap,
    "test_the_last_cursor_survives_when_everything_is_trimmed": FloorAboveTheLog,
    "test_a_cursor_of_another_history_is_refused_with_its_reason": AnyHistory,
    "test_a_new_generation_begins_once_for_all_who_find_the_log_rewound": GenerationForEachFinder,
    "test_a_late_finder_does_not_bring_a_generation_back": GenerationBroughtBack,
    "test_a_transaction_that_commits_late_is_read_then": LateCommitsSkipped,
    "test_a_transaction_that_commits_late_is_replayed_then": LateCommitsSkipped,
    "test_a_position_taken_while_a_transaction_runs_does_not_cover_it": LateCommitsSkipped,
    "test_what_became_visible_together_is_ordered_by_id": OrderedByTransaction,
    "test_a_cursor_survives_the_way_to_a_client_and_back": LateCommitsSkipped,
    "test_a_batch_names_the_transactions_that_have_ended": SnapshotOfTheCursor,
    "test_trimming_spares_what_came_after_a_transaction_that_runs": TrimmedPastARunningOne,
    "test_three_readers_read_everything_once_whenever_they_read": StandingCursor,
}


@pytest.mark.parametrize("promise", LOGS)
async def test_a_broken_log_fails_the_promise_that_it_breaks(promise: str) -> None:
    arguments = {"seed": 1} if "three_readers" in promise else {}
    with pytest.raises(BROKEN):
        await getattr(EventLogContract(), promise)(log=LOGS[promise](), **arguments)


def test_every_promise_has_a_log_that_breaks_it() -> None:
    assert {name for name in dir(EventLogContract) if name.startswith("test_")} == set(LOGS)
