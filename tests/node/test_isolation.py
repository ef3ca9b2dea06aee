"""Isolation: whatever fails once, all who wait are answered, nothing is missed silently, and it goes on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, NoReturn

import pytest

from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.core import answers, bundles, frames
from flowcraft.core.bundles import Encoder
from flowcraft.core.conflation import Conflation
from flowcraft.core.hub import Hub
from flowcraft.core.replay import Replay
from flowcraft.core.subscriptions import Subscriptions
from flowcraft.cursors import Cursor, Snapshot
from flowcraft.records import Batch, Ephemeral, Limit, Record
from flowcraft.runtime.delivery import Telemetry
from flowcraft.runtime.gateway import Gateway
from flowcraft.runtime.outbox_sweep import OutboxSweep
from flowcraft.settings import Settings
from tests.support.planting import (
    ANSWER_SECONDS,
    START,
    Client,
    Plant,
    Stage,
    Tracer,
    all_goes_on,
    staged,
    stand,
)

# The log's port

LOG_ERRORS = [ValueError("planted"), asyncio.CancelledError()]


@pytest.fixture(autouse=True)
def _log_lines_are_written(caplog: pytest.LogCaptureFixture) -> None:
    """Format every log line: what it names may be what fails."""
    caplog.set_level("INFO", "flowcraft")


@pytest.mark.parametrize("error", LOG_ERRORS, ids=repr)
async def test_a_position_that_fails_is_asked_for_again(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    async with staged() as stage:
        Plant(monkeypatch, error).into(stage.log, "position_now")
        await stand(stage)
        await all_goes_on(stage)


@pytest.mark.parametrize("error", LOG_ERRORS, ids=repr)
async def test_a_read_of_the_tail_that_fails_is_done_again(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    async with staged() as stage:
        await stand(stage)
        plant = Plant(monkeypatch, error)
        plant.into(stage.log, "tail_now")
        async with asyncio.timeout(ANSWER_SECONDS):
            await plant.happened.wait()
        await all_goes_on(stage)
        assert not stage.live.was_reset()


async def test_a_read_of_the_tail_that_always_fails_is_given_up_with_a_reset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with staged() as stage:
        await stand(stage)
        poisoned = stage.log.position_now().cursor
        read = stage.log.tail_now

        def fail_there(after: Cursor, **named: Any) -> Batch:
            if after == poisoned:
                raise ValueError("planted")
            return read(after, **named)

        monkeypatch.setattr(stage.log, "tail_now", fail_there)
        stage.broadcast()
        reset = await stage.live.until(lambda frame: "reset" in frame)
        assert reset is not None
        assert (reset["reset"], reset["reason"]) == (["ping_update"], "unreadable")
        await all_goes_on(stage)
        assert stage.node.report().counts.failures["relay"] == 1


async def test_a_log_from_which_nothing_can_be_read_is_no_reason_for_one_reset_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with staged() as stage:
        await stand(stage)

        def fail(after: Cursor, **named: Any) -> NoReturn:
            raise ValueError("planted")

        monkeypatch.setattr(stage.log, "tail_now", fail)
        async with asyncio.timeout(ANSWER_SECONDS):
            # the relay's backoff is the clock here
            while stage.node.report().tasks["relay"].restarts < 8:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        report = stage.node.report()
        assert (report.ready, report.errors["relay"]) == (False, "ValueError: planted")
        assert sum("reset" in frame for frame in stage.live.frames) == 1


@pytest.mark.parametrize("error", LOG_ERRORS, ids=repr)
async def test_a_new_generation_that_cannot_be_begun_is_begun_again(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    async with staged() as stage:
        await stand(stage)
        stage.log.broadcast("ping_update", '{"n":0}', xid=800)
        await stage.live.until(lambda frame: frame.get("payload", {}).get("n") == 0)
        plant = Plant(monkeypatch, error)
        plant.into(stage.log, "rewound_now")
        stage.log.rewind(before=720)
        reset = await stage.live.until(lambda frame: "reset" in frame)
        assert reset is not None
        assert reset["reason"] == "rewound"
        number = stage.broadcast()
        assert await stage.live.until(lambda frame: frame.get("payload", {}).get("n") == number)


class Grudge(MemoryLog):
    """A log that fails for some cursors, as PostgreSQL did for one beyond 2^63."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def fails_for(self, after: Cursor) -> bool:
        return after.snapshot.xmax == 701

    async def replay(self, after: Cursor, channels: Sequence[str], *, limit: Limit | None = None) -> Batch:
        if self.fails_for(after):
            raise self.error
        return await super().replay(after, channels, limit=limit)


@pytest.mark.parametrize("error", LOG_ERRORS, ids=repr)
async def test_a_replay_that_fails_is_answered_and_those_that_wait_for_others_are_served(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async with staged(Settings(recent_bytes=1), Grudge(error)) as stage:
        await stand(stage)
        stage.broadcast()
        stage.broadcast()
        await stage.live.until(lambda frame: frame.get("payload", {}).get("n") == 3)
        others = [Client() for _ in range(5)]
        stage.node.connect(stage.victim, ["ping_update"], since="1/1.0/701:")
        for other in others:
            stage.node.connect(other, ["ping_update"], since="1/1.0/702:")
        answer = await stage.victim.until(lambda frame: "reset" in frame)
        assert answer is not None
        assert (answer["reset"], answer["reason"]) == (["ping_update"], "unreadable")
        for other in others:
            assert await other.until(lambda frame: "subscribed" in frame)
            assert other.numbers() == [3]
        await all_goes_on(stage)
        assert stage.victim.numbers() == [4], "it is live from its reset on"
        assert stage.node.report().counts.failures["replay"] == 1
        assert "the replay of ping_update for connection 2 from a test (no viewer) failed" in caplog.text


# The hub, what is made of its effects, and what looks on

PARTS: list[tuple[object, str]] = [
    (Hub, "broadcast"),
    (Hub, "_deliveries"),
    (Subscriptions, "replayed"),
    (Subscriptions, "subscribe"),
    (Subscriptions, "_go_live"),
    (Hub, "heartbeat"),
    (Subscriptions, "disconnect"),
    (Replay, "merge"),
    (Replay, "can_end_at"),
    (Encoder, "batch"),
    (answers, "encode"),
    (bundles, "event"),
    (frames, "subscribed"),
    (bundles, "commit_point"),
    (Telemetry, "reading"),
    (Telemetry, "read"),
    (Telemetry, "written"),
    (OutboxSweep, "_sweep"),
    (Gateway, "write"),
    (Gateway, "ping"),
    (MemoryWakeups, "wait"),
    (MemoryWakeups, "hurry"),
]


@pytest.mark.parametrize(("owner", "name"), PARTS, ids=lambda part: getattr(part, "__name__", part))
async def test_a_part_that_fails_once_is_survived(
    monkeypatch: pytest.MonkeyPatch, owner: object, name: str
) -> None:
    async with staged() as stage:
        await stand(stage)
        plant = Plant(monkeypatch, ValueError("planted"))
        plant.into(owner, name)
        gateway = stage.node.connect(stage.victim, ["ping_update"], since=START)
        gateway.received('{"settle":"9999"}')
        stage.broadcast()
        answered = await stage.victim.until(lambda frame: "subscribed" in frame or "reset" in frame)
        assert answered is not None or stage.victim.closed == (1011, "the connection failed")
        gateway.closed()
        async with asyncio.timeout(ANSWER_SECONDS):
            await plant.happened.wait()
        if stage.live.closed is not None:  # it was hit itself: told so, and it comes back from where it was
            assert stage.live.closed == (1011, "the connection failed")
            stage.live = Client()
            stage.node.connect(stage.live, ["ping_update"], since=START)
        await all_goes_on(stage)


@pytest.mark.parametrize(
    ("owner", "name"), [(Hub, "restart"), (Subscriptions, "replay_failed"), (Subscriptions, "reset")]
)
async def test_a_reset_that_fails_closes_who_should_have_had_it(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    async with staged() as stage:
        await stand(stage)
        plant = Plant(monkeypatch, ValueError("planted"))
        plant.into(owner, name)
        stage.node.connect(stage.victim, ["ping_update"], since="7/1.0/700:")
        if name == "restart":
            Plant(monkeypatch, ValueError("planted")).into(Hub, "broadcast")
        answered = await stage.victim.until(lambda frame: "reset" in frame)
        assert answered is not None or stage.victim.closed == (1011, "the connection failed")
        async with asyncio.timeout(ANSWER_SECONDS):
            await plant.happened.wait()
        stage.live = Client()
        stage.node.connect(stage.live, ["ping_update"], since=START)
        await all_goes_on(stage)


async def test_a_record_that_cannot_be_encoded_is_a_reset_for_those_who_should_have_had_it() -> None:
    async with staged() as stage:
        await stand(stage)
        other = Client()
        stage.node.connect(other, ["latest_update"])
        stage.log.broadcast("latest_update", '"\ud800"')
        reset = await other.until(lambda frame: "reset" in frame)
        assert reset is not None
        assert (reset["reset"], reset["reason"]) == (["latest_update"], "unreadable")
        await all_goes_on(stage)
        assert not stage.live.was_reset()


async def test_an_ephemeral_event_that_fails_is_lost_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged() as stage:
        await stand(stage)
        stage.node.connect(stage.victim, ["note_update"])
        Plant(monkeypatch, ValueError("planted")).into(bundles, "event")
        for n in (1, 2):
            stage.node.broadcast_ephemeral(Ephemeral("note_update", f'{{"n":{n}}}'))
        await stage.victim.until(lambda frame: "payload" in frame)
        assert [f["payload"]["n"] for f in stage.victim.frames if "payload" in f] == [2]
        await all_goes_on(stage)


async def test_a_tracer_that_fails_is_counted_and_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with staged() as stage:
        await stand(stage)
        plant = Plant(monkeypatch, ValueError("planted"))
        plant.into(Tracer, "delivered")
        read = stage.log.tail_now

        def traced(after: Cursor, **named: Any) -> Batch:
            batch = read(after, **named)
            records = tuple(Record(r.xid, r.id, r.channel, r.payload, "00-trace") for r in batch.records)
            return Batch(records, batch.cursor, batch.snapshot, batch.at)

        monkeypatch.setattr(stage.log, "tail_now", traced)
        stage.broadcast()
        async with asyncio.timeout(ANSWER_SECONDS):
            await plant.happened.wait()
        await all_goes_on(stage)
        assert stage.node.report().counts.failures["telemetry"] == 1


# Connections, and who decides about them


@pytest.mark.parametrize("congested", [False, True], ids=["taking", "congested"])
@pytest.mark.parametrize("member", ["try_send", "ping", "close", "framing", "address", "waiting_bytes"])
async def test_a_connection_whose_every_call_fails_is_the_only_one_that_is_lost(
    member: str, congested: bool
) -> None:
    breaks = member != "address"  # without one a connection is not accepted in the first place

    class Broken(Client):
        def __getattribute__(self, name: str) -> Any:
            if name == member and breaks:
                raise OSError("planted")
            return super().__getattribute__(name)

    quick = Settings(recent_bytes=1, safety_poll_seconds=0.1, heartbeat_seconds=0.05, outbox_seconds=0.1)
    async with staged(quick) as stage:
        await stand(stage)
        broken = Broken()
        broken.congested = congested  # then the sweep of the outboxes ends it
        stage.node.connect(broken, ["ping_update", "latest_update"])
        breaks = True
        assert stage.node.report().ready
        stage.broadcast("latest_update")
        stage.broadcast()
        await stage.live.until(lambda frame: frame.get("payload", {}).get("n") == 3)
        stage.live.frames.clear()
        stage.written = 3
        number = stage.broadcast()
        assert await stage.live.until(lambda frame: frame.get("payload", {}).get("n") == number)
        assert stage.live.closed is None
        if congested or member in {"try_send", "ping", "framing"}:
            await until_alone(stage)
        assert stage.node.report().ready


async def until_alone(stage: Stage) -> None:
    """Wait until the live client is the only one; the heartbeats that it receives are the clock."""
    async with asyncio.timeout(ANSWER_SECONDS):
        while stage.node.report().connections > 1:
            stage.live.frames.clear()
            await stage.live.until(lambda frame: "sent" in frame)
    assert stage.live.closed is None


@pytest.mark.parametrize("member", ["try_send", "close", "address"])
async def test_a_client_that_does_not_answer_is_gone_although_its_connection_fails(member: str) -> None:
    class Broken(Client):
        is_broken = False

        def __getattribute__(self, name: str) -> Any:
            if name == member and self.is_broken:
                raise OSError("planted")
            return super().__getattribute__(name)

    async with staged() as stage:
        await stand(stage)
        broken = Broken()
        gateway = stage.node.connect(broken, ["latest_update"])
        broken.is_broken = True
        gateway.unresponsive()
        await until_alone(stage)
        await all_goes_on(stage)


@pytest.mark.parametrize("token", ["broken", "cancelled", "odd"])
async def test_a_token_that_cannot_be_judged_closes_its_connection(token: str) -> None:
    async with staged() as stage:
        await stand(stage)
        gateway = stage.node.connect(stage.victim)
        gateway.received(f'{{"auth":"{token}"}}')
        gateway.received('{"subscribe":["ping_update"]}')
        await stage.victim.until(lambda frame: "subscribed" in frame)
        assert stage.victim.closed is not None
        assert stage.victim.closed[0] == 1011
        await all_goes_on(stage)


@pytest.mark.parametrize("user", ["broken", "cancelled"])
async def test_a_guard_that_cannot_answer_says_no(user: str) -> None:
    async with staged() as stage:
        await stand(stage)
        gateway = stage.node.connect(stage.victim)
        gateway.received('{"auth":"ada"}')
        gateway.received(f'{{"subscribe":["private.{user}","private.ada"]}}')
        answer = await stage.victim.until(lambda frame: "subscribed" in frame)
        assert answer is not None
        assert answer["subscribed"] == ["private.ada"]
        refused = [f["error"]["channel"] for f in stage.victim.frames if "error" in f]
        assert refused == [f"private.{user}"]
        await all_goes_on(stage)


async def test_a_conflation_key_that_fails_closes_only_who_is_merged_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with staged() as stage:
        await stand(stage)
        stage.victim.congested = True
        stage.node.connect(stage.victim, ["latest_update"])

        def fail(*_: object) -> NoReturn:
            raise ValueError("planted")

        monkeypatch.setattr(Conflation, "key", fail)
        stage.broadcast("latest_update")
        await stage.victim.until(lambda _: False)
        assert stage.victim.closed == (1011, "the connection failed")
        stage.live.frames.clear()
        number = stage.broadcast()
        assert await stage.live.until(lambda frame: frame.get("payload", {}).get("n") == number)


async def test_a_failure_that_goes_on_does_not_fill_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    async with staged() as stage:
        await stand(stage)
        Plant(monkeypatch, ValueError("planted"), times=100).into(Telemetry, "read")
        while stage.written < 150 and stage.node.report().counts.failures["telemetry"] < 100:
            number = stage.broadcast()
            await stage.live.until(lambda frame, n=number: frame.get("payload", {}).get("n") == n)  # type: ignore[misc]
        assert caplog.text.count("Traceback") == 7
        await all_goes_on(stage)


async def test_a_cursor_that_has_seen_a_running_transaction_does_not_keep_the_relay_busy() -> None:
    """Anyone can write such a cursor; it is answered once that transaction has ended."""
    async with staged(Settings(recent_bytes=1, safety_poll_seconds=0.1)) as stage:
        await stand(stage)
        running = stage.log.begin()
        stage.broadcast()
        await stage.live.until(lambda frame: frame.get("payload", {}).get("n") == 2)
        xmax = stage.log.snapshot().xmax
        stage.node.connect(
            stage.victim, ["ping_update"], since=str(Cursor(stage.log.lineage, Snapshot(xmax)))
        )
        before = stage.node.report().counts.reads
        await asyncio.sleep(0.5)  # not for anything: to count what is done meanwhile
        assert stage.node.report().counts.reads - before < 20
        running.commit()
        assert await stage.victim.until(lambda frame: "subscribed" in frame)
        await all_goes_on(stage)
