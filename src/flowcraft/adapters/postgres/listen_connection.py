"""ListenConnection: one dedicated connection, and the statements of the wakeup machine."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, final

from flowcraft.adapters.postgres.connections import APPLICATION_NAME, connect, is_pooled
from flowcraft.adapters.postgres.ephemeral import EphemeralKey
from flowcraft.adapters.postgres.pool import unavailable
from flowcraft.adapters.postgres.statements import statement
from flowcraft.errors import LogUnavailable

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import AnyConnection, Plain

WAKEUP_TOPIC = "flowcraft_wakeup"
"""On which writers notify the first reader."""
READERS_TOPIC = "flowcraft_readers"
"""On which readers notify each other."""
ANSWER_SECONDS = 2.0
"""Its statements take microseconds; without an answer in this time the connection counts as lost."""
COUNT_SECONDS = 1.0
"""How often the readers are counted; until then a new one polls at its own pace."""
JOINS, JOIN_SECONDS = 20, 0.01
"""How often, and how fast, the readers lock is tried: a writer has it for microseconds."""
ROUND_TRIPS = 8
"""Statements of which the fastest counts as the round trip: on a busy machine some take longer."""


@final
class ListenConnection:
    """A connection that listens. Once a statement on it fails or is cancelled it is closed, with its locks.

    `on_wakeup` is called for every wakeup that another session sent, with whether that is a writer,
    `on_notification` with the topic and payload of any other notification.
    """

    def __init__(
        self,
        dsn: str,
        connection: Plain,
        on_wakeup: Callable[[bool], None],
        on_notification: Callable[[str, str], None],
    ) -> None:
        self._dsn = dsn
        self._pooled = False
        self.lost = asyncio.Event()
        self._connection = connection
        self._on_wakeup = on_wakeup
        self._on_notification = on_notification
        self._turn = asyncio.Lock()
        self._probes: dict[str, asyncio.Event] = {}
        self._counted_at = float("-inf")
        self._readers = 0
        self._round_trips: deque[float] = deque(maxlen=ROUND_TRIPS)
        connection.add_termination_listener(lambda _: self.lost.set())

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        dsn: str,
        topics: Sequence[str],
        on_wakeup: Callable[[bool], None],
        on_notification: Callable[[str, str], None],
    ) -> AsyncIterator[ListenConnection]:
        """Connect to a primary and listen.

        Raises:
            LogUnavailable: there is none, or it refuses the connection.
        """
        with unavailable():
            connection = await connect(dsn, f"{APPLICATION_NAME} listener")
        listening = cls(dsn, connection, on_wakeup, on_notification)
        try:
            await listening._listen(topics)
            yield listening
        finally:
            connection.terminate()

    @property
    def round_trip(self) -> float:
        """The shortest of the last round trips, in seconds."""
        return min(self._round_trips, default=0.0)

    async def proves_notifications(self, within: float) -> bool:
        """Notify this session; return whether that arrives. Over a pooler in transaction mode it does not."""
        token = secrets.token_hex(8)  # 64 random bits: no other session guesses it
        arrived = self._probes[token] = asyncio.Event()
        try:
            await self._notify_myself(token)
            async with asyncio.timeout(within):
                await arrived.wait()
        except TimeoutError:
            return False
        finally:
            del self._probes[token]
        return True

    async def join(self) -> bool:
        """Take the readers lock, by which writers find that there are readers; return whether it was free."""
        for _ in range(JOINS):
            if await self._ask("join"):
                return True
            await asyncio.sleep(JOIN_SECONDS)
        return False

    async def may_check(self) -> bool | None:
        """Return whether this role may read the key of ephemeral events; None where there is none."""
        answer = await self._ask("may_check")
        return None if answer is None else bool(answer)

    async def ephemeral_key(self) -> tuple[EphemeralKey, int] | None:
        """Return the key of ephemeral events, and the newest number; None if the log has lost it."""
        async with self._statement_turn():
            row = await self._connection.fetchrow(statement("ephemeral_key"))
        if row is None or row["inner_key"] is None:
            return None
        return EphemeralKey(row["inner_key"], row["outer_key"]), row["newest"]

    async def writers_notify(self) -> bool:
        """Return whether every writer may notify: not where a transaction can be prepared."""
        return bool(await self._ask("writers_notify"))

    async def try_lock(self) -> bool:
        return bool(await self._ask("try_lock"))

    async def unlock(self) -> None:
        await self._ask("unlock")

    async def try_first(self) -> bool:
        return bool(await self._ask("try_first"))

    async def leave_first(self) -> None:
        await self._ask("leave_first")

    async def listen_to_writers(self, *, begins: bool) -> None:
        """Begin or cease to listen to the writers."""
        async with self._statement_turn():
            if begins:
                await self._connection.add_listener(WAKEUP_TOPIC, self._receive)
            else:
                await self._connection.remove_listener(WAKEUP_TOPIC, self._receive)

    async def draw_mark(self) -> int:
        return int(str(await self._ask("draw_mark")))

    async def count_readers(self) -> int:
        """Return how many readers there are, this one too."""
        return int(str(await self._ask("readers")))

    async def notify_others(self, now: float) -> None:
        """Notify the other readers; whether there are any is looked up once per second."""
        if now - self._counted_at >= COUNT_SECONDS:
            self._counted_at = now
            self._readers = await self.count_readers()
        if self._readers > 1:
            await self._ask("notify", "")

    async def _notify_myself(self, token: str) -> None:
        if not self._pooled:
            await self._ask("notify", token)
            return
        # Not over this connection: in one transaction it would arrive even where a session lasts no longer.
        with unavailable():
            other = await connect(self._dsn)
            try:
                await other.fetchval(statement("notify"), token, timeout=ANSWER_SECONDS)
            finally:
                other.terminate()

    async def _listen(self, topics: Sequence[str]) -> None:
        if await self._ask("is_standby"):
            raise LogUnavailable("this server is a standby; the log is read on the primary")
        async with self._statement_turn():
            self._pooled = await is_pooled(self._connection)
            for topic in (WAKEUP_TOPIC, READERS_TOPIC, *topics):
                await self._connection.add_listener(topic, self._receive)

    async def _ask(self, name: str, *arguments: object) -> object:
        async with self._statement_turn():
            began = time.monotonic()
            answer: object = await self._connection.fetchval(statement(name), *arguments)
            # Statements are not prepared here: each takes two round trips.
            self._round_trips.append((time.monotonic() - began) / 2)
            return answer

    @asynccontextmanager
    async def _statement_turn(self) -> AsyncIterator[None]:
        async with self._turn:
            try:
                with unavailable():
                    async with asyncio.timeout(ANSWER_SECONDS):
                        yield
            except BaseException:
                # Whether this session holds the leader lock is unknown now; once it has ended, it does not.
                self._connection.terminate()
                self.lost.set()
                raise

    def _receive(self, connection: AnyConnection, sender: int, topic: str, payload: object) -> None:
        text = str(payload)
        if topic not in (WAKEUP_TOPIC, READERS_TOPIC):
            self._on_notification(topic, text)
        elif text:
            if text in self._probes:
                self._probes[text].set()
        elif sender != connection.get_server_pid():
            self._on_wakeup(topic == WAKEUP_TOPIC)
