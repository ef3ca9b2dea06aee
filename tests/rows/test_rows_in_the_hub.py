"""The hub and subscriptions to rows: a page has the rows of the cursor, whatever happens between."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable

import pytest

from faults.rows_page import RowsPage
from flowcraft.adapters.memory import MemoryLog, MemoryTransaction
from flowcraft.core import answers
from flowcraft.core.answers import Pages
from flowcraft.core.bundles import Bundle, Encoder
from flowcraft.core.frames import rows
from flowcraft.core.hub import Hub
from flowcraft.core.hub_effects import Effect, ReadNow, ReadReplay, ReadState, Reset, Subscribed
from flowcraft.core.states import State, StateRequest
from flowcraft.cursors import Cursor
from flowcraft.errors import CursorUnusable
from flowcraft.records import Kind
from flowcraft.settings import Settings

CHANNELS = ("task_rows.7", "task_rows.8")
ME = 1


def table_at(log: MemoryLog, cursor: Cursor, channel: str) -> dict[tuple[int, ...], dict[str, object]]:
    """Return the rows of a channel at a cursor: every change up to there, in its order."""
    found: dict[tuple[int, ...], dict[str, object]] = {}
    known = [*log.visible_now(channel), *log.visible_now("task_rows.*")]
    for record in sorted(known, key=lambda record: record.id):
        if not cursor.covers(record.xid):
            continue
        row = json.loads(record.payload)
        if record.kind is Kind.RESET:
            found.clear()
        elif record.kind is Kind.EVENT:
            found[row["id"],] = row
        else:
            found.pop((row["id"],), None)
    return found


class World:
    """A log, a hub, and pages whose connections come and go; reads take their time."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.log = MemoryLog()
        self.hub = Hub(self.log.position_now(), Settings(recent_events=self.chance.choice([1, 5, 10_000])))
        self.pages = {number: RowsPage(*CHANNELS) for number in (1, 2)}
        self.connected: set[int] = set()
        self.running: dict[MemoryTransaction, set[int]] = {}
        self.requests: list[StateRequest] = []
        self.read: list[tuple[StateRequest, State]] = []
        self.replays: list[ReadReplay] = []
        self.number = 0

    def step(self) -> None:
        often = [self.commit, self.tail, self.take_snapshot, self.answer, self.replay]
        seldom = [self.begin, self.connect, self.disconnect, self.truncate]
        self.chance.choice([*often, *often, *seldom, *[self.write] * 3])()

    def begin(self) -> None:
        if len(self.running) < 3:
            self.running[self.log.begin()] = set()

    def write(self) -> None:
        if not self.running:
            return
        transaction = self.chance.choice(list(self.running))
        # A row is locked by the transaction that has changed it.
        locked = {key for other, keys in self.running.items() if other is not transaction for key in keys}
        free = [key for key in range(4) if key not in locked]
        if not free:
            return
        key = self.chance.choice(free)
        self.running[transaction].add(key)
        self.number += 1
        here, there = self.chance.sample(CHANNELS, 2)
        if self.chance.random() < 0.3:
            transaction.broadcast(here, json.dumps({"id": key}), Kind.GONE)
        else:
            transaction.broadcast(here, json.dumps({"id": key, "n": self.number}))
        transaction.broadcast(there, json.dumps({"id": key}), Kind.GONE)

    def commit(self) -> None:
        if self.running:
            transaction = self.chance.choice(list(self.running))
            del self.running[transaction]
            transaction.commit() if self.chance.random() < 0.8 else transaction.rollback()

    def truncate(self) -> None:
        if not self.running and self.chance.random() < 0.3:  # it waits for all that write
            self.log.broadcast("task_rows.*", '{"reason":"truncated"}', kind=Kind.RESET)

    def tail(self) -> None:
        self.perform(self.hub.broadcast(self.log.tail_now(self.hub.cursor)))

    def take_snapshot(self) -> None:
        if self.requests:
            request = self.requests.pop(self.chance.randrange(len(self.requests)))
            cursor = self.log.position_now().cursor
            found = table_at(self.log, cursor, request.channel)
            items = [json.dumps(row) for row in found.values()]
            page = Bundle([rows(request.channel, ["id"], items)])
            self.read.append((request, State(request.channel, cursor, len(items), 0, (page,))))

    def answer(self) -> None:
        if self.read:
            self.perform(
                self.hub.subscriptions.state_read(*self.read.pop(self.chance.randrange(len(self.read))))
            )

    def replay(self) -> None:
        if not self.replays:
            return
        effect = self.replays.pop(self.chance.randrange(len(self.replays)))
        try:
            batch = self.log.replay_now(effect.replay.since, effect.channels)
        except CursorUnusable as error:
            self.perform(self.hub.subscriptions.replay_failed(effect.replay, error.reason))
        else:
            self.perform(self.hub.subscriptions.replayed(effect.replay, batch))

    def connect(self) -> None:
        for number in self.pages.keys() - self.connected:
            self.connected.add(number)
            self.hub.subscriptions.connect(number)
            self.ask(number, self.pages[number].requests())

    def disconnect(self) -> None:
        if self.connected and self.chance.random() < 0.5:
            number = self.chance.choice(sorted(self.connected))
            self.connected.remove(number)
            self.hub.subscriptions.disconnect(number)
            self.pages[number].lost()

    def ask(self, number: int, requests: Iterable[dict[str, object]]) -> None:
        for request in requests:
            (channel,) = [str(name) for name in request["subscribe"]]  # type: ignore[attr-defined]
            since = Cursor.parse(str(request["since"])) if "since" in request else None
            ref = int(str(request["ref"]))
            self.perform(self.hub.subscriptions.subscribe(number, (channel,), since, ref, rows=True))

    def perform(self, effects: Iterable[Effect]) -> None:
        encoder = Encoder()
        for effect in effects:
            if isinstance(effect, ReadState):
                self.requests.append(effect.request)
            elif isinstance(effect, ReadReplay):
                self.replays.append(effect)
            elif not isinstance(effect, ReadNow):
                part, to = answers.encode(effect, encoder)
                assert not isinstance(part, Pages)
                for number in to:
                    self.deliver(number, part)

    def deliver(self, number: int, part: Bundle) -> None:
        page = self.pages[number]
        for message in part.messages:
            self.ask(number, page.received(message))
        for channel in page.live:
            cursor = Cursor.parse(str(page.cursors[channel]))
            assert page.rows[channel] == table_at(self.log, cursor, channel)

    def settle(self) -> None:
        """End every transaction and every read: then both pages are live, at the end of the log."""
        while self.running:
            self.commit()
        self.connect()
        for _ in range(50):
            self.tail()
            while self.requests or self.read or self.replays:
                self.take_snapshot()
                self.answer()
                self.replay()
        assert all(page.live == set(CHANNELS) for page in self.pages.values())
        self.perform(self.hub.heartbeat())


@pytest.mark.parametrize("seeds", [range(n, n + 100) for n in range(0, 500, 100)], ids=str)
def test_a_page_has_the_rows_of_its_cursor_after_every_group(seeds: range) -> None:
    states = 0
    for seed in seeds:
        world = World(seed)
        for _ in range(120):
            world.step()
        world.settle()
        states += sum(page.states for page in world.pages.values())
    assert states > 400  # the test would say nothing if there were none


def asked(effects: Iterable[Effect]) -> StateRequest:
    (effect,) = effects
    assert isinstance(effect, ReadState)
    return effect.request


def state(cursor: Cursor) -> State:
    return State(CHANNELS[0], cursor, 0, 0, (Bundle([b"{}"]),))


def live_hub() -> tuple[MemoryLog, Hub]:
    log = MemoryLog()
    hub = Hub(log.position_now())
    hub.subscriptions.connect(ME)
    return log, hub


def test_a_state_beyond_the_hub_waits_until_the_hub_has_read_that_far() -> None:
    log, hub = live_hub()
    request = asked(hub.subscriptions.subscribe(ME, CHANNELS[:1], rows=True, ref=3))
    log.broadcast(CHANNELS[0], '{"id":1}')
    read = state(log.position_now().cursor)
    assert hub.subscriptions.state_read(request, read) == [ReadNow()]
    assert hub.subscriptions.is_replaying(ME, CHANNELS[0])
    batch = log.tail_now(hub.cursor)
    assert hub.broadcast(batch) == [Subscribed(ME, CHANNELS[:1], (), batch.cursor, 3, read)]


def test_a_state_for_a_subscription_that_has_ended_is_dropped() -> None:
    log, hub = live_hub()
    request = asked(hub.subscriptions.subscribe(ME, CHANNELS[:1], rows=True))
    hub.subscriptions.unsubscribe(ME, CHANNELS[:1])
    assert hub.subscriptions.state_read(request, state(log.position_now().cursor)) == []
    other = asked(hub.subscriptions.subscribe(ME, CHANNELS[:1], rows=True))
    hub.subscriptions.disconnect(ME)
    assert hub.subscriptions.state_read(other, state(log.position_now().cursor)) == []
    assert not hub.subscriptions.state_failed(other)


def test_a_live_subscription_that_asks_again_counts_as_replaying_until_its_state_is_there() -> None:
    log, hub = live_hub()
    hub.subscriptions.state_read(
        asked(hub.subscriptions.subscribe(ME, CHANNELS[:1], rows=True)), state(log.position_now().cursor)
    )
    assert not hub.subscriptions.is_replaying(ME, CHANNELS[0])
    request = asked(hub.subscriptions.subscribe(ME, CHANNELS[:1], rows=True))
    assert hub.subscriptions.is_replaying(
        ME, CHANNELS[0]
    )  # so a withdrawal has the client reconnect, and ask the guard
    hub.subscriptions.state_read(request, state(log.position_now().cursor))
    assert not hub.subscriptions.is_replaying(ME, CHANNELS[0])


def test_a_restart_resets_what_is_live_and_reads_the_states_of_the_others_again() -> None:
    log, hub = live_hub()
    hub.subscriptions.state_read(
        asked(hub.subscriptions.subscribe(ME, CHANNELS[:1], rows=True)), state(log.position_now().cursor)
    )
    waiting = asked(hub.subscriptions.subscribe(ME, CHANNELS[1:], rows=True, ref=2))
    old = state(log.position_now().cursor)
    start = log.rewound_now(hub.cursor)
    assert hub.restart(start, "rewound") == [Reset(ME, CHANNELS[:1], "rewound", start.cursor, None)]
    (read,) = hub.subscriptions.state_read(waiting, old)
    assert isinstance(read, ReadReplay)  # of another history: the log refuses it
    again = asked(hub.subscriptions.replay_failed(read.replay, "rewound"))
    assert (again.channel, again.ref, again.attempts) == (CHANNELS[1], 2, 1)
