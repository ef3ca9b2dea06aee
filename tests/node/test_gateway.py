"""A gateway and its node: heartbeats, guards, tokens that expire, and how much a client may wait for."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import msgspec
import pytest

from flowcraft.adapters.asgi import json_sequence, split_sequence
from flowcraft.adapters.memory import MemoryLog, MemoryWakeups
from flowcraft.channels import Channels
from flowcraft.core.bundles import Framing
from flowcraft.errors import ChannelUnknown
from flowcraft.events import Event
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer


class Ping(Event):
    """Something."""


class Numbered(Event):
    """Something with a number."""

    n: int


ENDINGS = (SystemExit(3), KeyboardInterrupt(), GeneratorExit(), BaseException("x"), asyncio.CancelledError())


class Client:
    """A connection that keeps what it was sent, and may keep its socket full."""

    address = "a test"
    is_direct = True

    def __init__(self) -> None:
        self.takes = True
        self.waiting_bytes = 0
        self.framing: Framing = json_sequence
        self.frames: list[dict[str, object]] = []
        self.closed: tuple[int, str] | None = None
        self.pings = 0
        self._changed = asyncio.Event()

    def try_send(self, data: bytes) -> int:
        self.frames += map(msgspec.json.decode, split_sequence(data))
        self._changed.set()
        self.waiting_bytes = 0 if self.takes else len(data)
        return self.waiting_bytes

    def ping(self) -> None:
        self.pings += 1
        self._changed.set()

    def close(self, code: int, reason: str, rest: bytes = b"") -> None:
        self.try_send(rest)
        self.closed = (code, reason)
        self._changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def with_member(self, member: str) -> list[object]:
        return [frame[member] for frame in self.frames if member in frame]


class TurnedClock(SystemClock):
    """A clock that can be turned forward."""

    turned = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.turned

    def wall(self) -> float:
        return super().wall() + self.turned


QUICK = Settings(drain_seconds=0.01)


class Tokens:
    """Knows its viewers by the number of seconds that their tokens live; a token may also live for ever."""

    required = True

    def __init__(self, clock: TurnedClock) -> None:
        self._clock = clock

    async def authenticate(self, token: str) -> Viewer:
        expires_at = None if token == "for ever" else self._clock.wall() + float(token)
        return Viewer("ada", expires_at=expires_at)


@asynccontextmanager
async def running(
    channels: Channels,
    settings: Settings = QUICK,
    clock: TurnedClock | None = None,
) -> AsyncIterator[tuple[Node, MemoryLog]]:
    """Run a node; with a clock of the test's own it requires tokens."""
    log = MemoryLog()
    node = Node(
        channels,
        log,
        MemoryWakeups(log),
        settings=settings,
        authorizer=None if clock is None else Tokens(clock),
        clock=clock or TurnedClock(),
    )
    node.start()
    await node.until_accepting()
    try:
        yield node, log
    finally:
        await node.stop()


def guarded(answer: Callable[[], object]) -> Channels:
    """Declare a channel whose guard answers so."""
    channels = Channels()
    channel = channels.declare("secret_update", Ping)

    @channel.guard
    def guard(viewer: Viewer) -> bool:
        return answer()  # type: ignore[return-value]  # what an application gets wrong

    return channels


PLAIN = Channels()
PLAIN.declare("ping_update", Ping)


async def test_a_node_whose_log_is_stale_pings_and_sends_no_heartbeat_until_it_reads_again() -> None:
    clock = TurnedClock()
    settings = Settings(drain_seconds=0.01, heartbeat_seconds=0.02)
    async with running(PLAIN, settings, clock) as (node, log):
        client = Client()
        node.connect(client)
        await client.until(lambda: client.with_member("n"))
        clock.turned = 60
        assert node.report().state == "stale"
        client.frames.clear()
        pings = client.pings
        await client.until(lambda: client.pings >= pings + 3)
        assert client.frames == []
        log.broadcast("ping_update", "1")
        await client.until(lambda: client.with_member("n"))
        assert client.with_member("n")[0] == 0


async def later(answer: object) -> object:
    await asyncio.sleep(0)
    return answer


def fails(error: BaseException) -> object:
    raise error


async def fails_later(error: BaseException) -> object:
    await asyncio.sleep(0)
    raise error


async def never() -> object:
    return await asyncio.get_running_loop().create_future()


async def ends_badly_when_cancelled() -> object:
    try:
        return await never()
    except asyncio.CancelledError:
        raise SystemExit from None


@pytest.mark.parametrize(
    ("answer", "opens"),
    [
        (lambda: True, True),
        (lambda: later(True), True),
        (lambda: False, False),
        (lambda: None, False),
        (lambda: {"id": 1}, False),
        (lambda: 1, False),
        (lambda: "ada", False),
        (lambda: later({"id": 1}), False),
        (lambda: later(None), False),
        (lambda: later(1), False),
        (lambda: later(later(True)), False),
        (lambda: fails(ChannelUnknown("secret_update")), False),
        (lambda: fails(KeyError("ada")), False),
        *[(partial(fails, error), False) for error in ENDINGS],
        *[(partial(fails_later, error), False) for error in ENDINGS],
        (never, False),
        (ends_badly_when_cancelled, False),
    ],
    ids=[
        *("True", "True, awaited", "False", "None", "a row", "a number", "a text", "a row, awaited"),
        *(
            "None, awaited",
            "a number, awaited",
            "a coroutine, awaited",
            "an error of ours",
            "any other error",
        ),
        *[repr(error) for error in ENDINGS],
        *[f"{error!r}, later" for error in ENDINGS],
        *("never", "SystemExit when cancelled"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine 'later' was never awaited")
async def test_only_a_guard_that_answers_true_opens_its_channel(
    answer: Callable[[], object], opens: bool
) -> None:
    settings = Settings(drain_seconds=0.01, guard_timeout_seconds=0.2)
    async with running(guarded(answer), settings, TurnedClock()) as (node, _):
        client = Client()
        gateway = node.connect(client)
        gateway.received('{"auth":"for ever"}')
        gateway.received('{"subscribe":["secret_update"],"ref":1}')
        await client.until(lambda: len(client.frames) == 3)
        if opens:
            assert client.with_member("subscribed") == [["secret_update"]]
        else:
            (error,) = client.with_member("error")
            assert isinstance(error, dict)
            assert (error["code"], error["channel"], error["ref"]) == ("forbidden", "secret_update", 1)
        assert node.report().subscriptions == int(opens)
        assert node.report().counts.refusals["guard"] == int(not opens)


async def test_a_few_guards_of_a_connection_are_asked_at_a_time_and_all_end_with_it() -> None:
    channels, asked, ended = Channels(), list[int](), list[int]()
    eighth, last = asyncio.Event(), asyncio.Event()
    secret = channels.declare("secrets.{n}", Numbered, params={"n": int})

    @secret.guard
    async def guard(viewer: Viewer, n: int) -> bool:
        asked.append(n)
        if len(asked) == 8:
            eighth.set()
        try:
            return bool(await never())
        finally:
            ended.append(n)
            if len(ended) == 8:
                last.set()

    async with running(channels, clock=TurnedClock()) as (node, _):
        client = Client()
        gateway = node.connect(client, [f"secrets.{n}" for n in range(128)])
        gateway.received('{"auth":"for ever"}')
        await asyncio.wait_for(eighth.wait(), 10)
        for _ in range(20):
            await asyncio.sleep(0)
        assert asked == list(range(8))
        gateway.closed()
        await asyncio.wait_for(last.wait(), 10)
        assert (asked, sorted(ended)) == (list(range(8)), list(range(8)))


async def test_a_guard_that_ignores_its_end_delays_no_answer_and_keeps_no_gateway() -> None:
    release = asyncio.Event()

    async def stubborn() -> object:
        while not release.is_set():
            with suppress(asyncio.CancelledError):
                await release.wait()
        return True

    settings = Settings(drain_seconds=0.01, guard_timeout_seconds=0.05)
    async with running(guarded(stubborn), settings, TurnedClock()) as (node, _):
        client = Client()
        gateway = node.connect(client, ["secret_update"])
        gateway.received('{"auth":"for ever"}')
        await client.until(lambda: client.with_member("error"))
        gone = weakref.ref(gateway)
        gateway.closed()
        del gateway
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()
        assert gone() is None
        release.set()


async def test_an_authorizer_that_raises_system_exit_ends_no_server() -> None:
    async with running(PLAIN, clock=TurnedClock()) as (node, _):
        node._context.authorizer.authenticate = partial(fails_later, SystemExit(3))  # type: ignore[union-attr, method-assign]
        client = Client()
        node.connect(client).received('{"auth":"x"}')
        await client.until(lambda: client.closed)
        assert client.closed == (1011, "authentication unavailable")


async def test_a_token_expires_by_the_clock_of_the_node() -> None:
    clock = TurnedClock()
    clock.turned = 1e9  # were another clock asked, it would be decades until then
    async with running(PLAIN, clock=clock) as (node, _):
        client, kept, old = Client(), Client(), Client()
        gateways = [node.connect(one, ["ping_update"]) for one in (client, kept, old)]
        for gateway, seconds in zip(gateways, ("0.05", "3600", "-1"), strict=True):
            gateway.received(f'{{"auth":"{seconds}"}}')
        await client.until(lambda: client.closed)
        await old.until(lambda: old.closed)
        assert client.closed == old.closed == (4401, "token expired")
        assert client.with_member("subscribed") == [["ping_update"]]
        assert (kept.closed, node.report().connections) == (None, 1)


@pytest.mark.parametrize("fresh", ["3600", "for ever"])
async def test_a_fresh_token_takes_the_place_of_the_one_that_would_expire(fresh: str) -> None:
    async with running(PLAIN, clock=TurnedClock()) as (node, _):
        client, other = Client(), Client()
        gateway, its_gateway = node.connect(client), node.connect(other)
        gateway.received('{"auth":"0.1"}')
        gateway.received(f'{{"auth":"{fresh}"}}')
        its_gateway.received('{"auth":"0.2"}')
        await other.until(lambda: other.closed)
        assert client.closed is None


@pytest.mark.parametrize("obeys", [True, False], ids=["cancelled", "answers in spite of its cancellation"])
async def test_a_token_that_expires_while_a_guard_is_asked_closes_and_subscribes_nothing(
    caplog: pytest.LogCaptureFixture, obeys: bool
) -> None:
    asked, cancelled = asyncio.Event(), asyncio.Event()
    answer = asyncio.get_running_loop().create_future()

    async def guard() -> object:
        asked.set()
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            cancelled.set()
            if obeys:
                raise
            return await answer

    async with running(guarded(guard), clock=TurnedClock()) as (node, log):
        client = Client()
        gateway = node.connect(client)
        gateway.received('{"auth":"0.05"}')
        gateway.received('{"subscribe":["secret_update"]}')
        await asked.wait()
        await client.until(lambda: client.closed)
        async with asyncio.timeout(10):
            await cancelled.wait()
        answer.set_result(True)
        for _ in range(3):
            await asyncio.sleep(0)
        log.broadcast("secret_update", "1")
        for _ in range(3):
            await asyncio.sleep(0)
        assert client.closed == (4401, "token expired")
        assert [sorted(frame) for frame in client.frames] == [["hello"], ["authenticated"]]
        assert (node.report().connections, node.report().subscriptions) == (0, 0)
        assert caplog.messages == []


async def test_an_authorizer_that_cannot_answer_closes_with_a_code_to_come_back_by(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running(PLAIN, clock=TurnedClock()) as (node, _):
        client = Client()
        node.connect(client).received('{"auth":"no number, so it raises"}')
        await client.until(lambda: client.closed)
        assert client.closed == (1011, "authentication unavailable")
        assert client.with_member("error") == []
        assert caplog.messages == [
            (
                "connection 1 from a test (no viewer): the authorizer failed; "
                "closed with 1011, the client resumes"
            ),
        ]
        raised = [record.exc_info and record.exc_info[0] for record in caplog.records]
        assert raised == [ValueError]


@pytest.mark.parametrize("doing", ["at rest", "while its token is being verified", "while bytes wait for it"])
async def test_a_connection_that_is_gone_is_kept_by_no_timer(doing: str) -> None:
    async with running(PLAIN, clock=TurnedClock()) as (node, _):
        client = Client()
        gateway = node.connect(client)
        gateway.received('{"auth":"3600"}')
        if doing != "while its token is being verified":
            await client.until(lambda: client.with_member("authenticated"))
            client.takes = doing == "at rest"
            gateway.received('{"subscribe":["ping_update"]}')
            await client.until(lambda: client.with_member("subscribed"))
        assert node.report().waiting_connections == (doing == "while bytes wait for it")
        gone = weakref.ref(gateway)
        gateway.closed()
        assert node.report().waiting_connections == 0
        del gateway
        for _ in range(5):
            await asyncio.sleep(0)
        gc.collect()
        assert gone() is None


async def test_each_connection_may_wait_for_its_own_number_of_transactions_and_for_others_afterwards() -> (
    None
):
    async with running(PLAIN, Settings(drain_seconds=0.01, settles_per_connection=2)) as (node, log):
        client, other = Client(), Client()
        gateway, its_gateway = node.connect(client), node.connect(other)
        for xid in (801, 900, 901):
            gateway.received(f'{{"settle":"{xid}"}}')
        assert [error_code(frame) for frame in client.frames[1:]] == ["limit_exceeded"]
        its_gateway.received('{"settle":"801"}')
        assert other.frames[1:] == []
        gateway.received('{"settle":"1"}')  # what is covered already takes no room
        assert client.with_member("settled") == ["1"]
        log.broadcast("ping_update", "1", xid=801)
        await client.until(lambda: "801" in client.with_member("settled"))
        gateway.received('{"settle":"901"}')
        assert len(client.with_member("error")) == 1
        gateway.received('{"settle":"902"}')
        assert len(client.with_member("error")) == 2


def error_code(frame: dict[str, object]) -> object:
    error = frame["error"]
    assert isinstance(error, dict)
    return error["code"]  # pyright: ignore[reportUnknownVariableType]


async def test_a_name_twice_in_one_request_is_one_subscription() -> None:
    async with running(PLAIN) as (node, log):
        client = Client()
        gateway = node.connect(client, ["ping_update", "ping_update"])
        gateway.received('{"subscribe":["ping_update","ping_update"],"ref":1}')
        assert client.with_member("subscribed") == [["ping_update"], ["ping_update"]]
        assert node.report().subscriptions == 1
        log.broadcast("ping_update", "1")
        await client.until(lambda: client.with_member("at"))
        assert client.with_member("channel") == ["ping_update"]
        gateway.received('{"unsubscribe":["ping_update","ping_update"]}')
        assert node.report().subscriptions == 0


async def test_clients_of_some_age_are_sent_to_reconnect_each_at_a_time_of_its_own() -> None:
    seconds = 0.05
    settings = Settings(drain_seconds=0.01, connection_age_seconds=seconds)

    async def age_of(client: Client) -> float:
        began = asyncio.get_running_loop().time()
        node.connect(client)
        await client.until(lambda: client.closed)
        return asyncio.get_running_loop().time() - began

    async with running(PLAIN, settings) as (node, _):
        clients = [Client() for _ in range(20)]
        ages = await asyncio.gather(*map(age_of, clients))
    assert {client.closed for client in clients} == {(1012, "restart")}
    assert all("bye" in client.frames[-1] for client in clients)
    assert min(ages) >= 0.8 * seconds
    assert len({round(age, 6) for age in ages}) > 1
