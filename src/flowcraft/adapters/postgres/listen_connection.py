"""The line: one dedicated connection, and what the doorbell does over it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, final

from flowcraft.adapters.postgres.connections import APPLICATION_NAME, connect, is_pooled, unavailable
from flowcraft.adapters.postgres.statements import statement
from flowcraft.errors import LogUnavailable

if TYPE_CHECKING:
    from flowcraft.adapters.postgres.connections import AnyConnection, Plain

WAKEUP_TOPIC = "flowcraft_wakeup"
ANSWER_SECONDS = 2.0
COUNT_SECONDS = 1.0


@final
class ListenConnection:
    """A connection that listens. Once anything on it fails or is cancelled it is dropped, with its locks.

    `rung` is called for every ring of somebody else, `announced` with the topic and payload of any other
    notification.
    """

    def __init__(
        self, dsn: str, connection: Plain, rung: Callable[[], None], announced: Callable[[str, str], None]
    ) -> None:
        self._dsn = dsn
        self._pooled = False
        self.lost = asyncio.Event()
        self._connection = connection
        self._rung = rung
        self._announced = announced
        self._turn = asyncio.Lock()
        self._probes: dict[str, asyncio.Event] = {}
        self._counted_at = float("-inf")
        self._readers = 0
        connection.add_termination_listener(lambda _: self.lost.set())

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        dsn: str,
        topics: Sequence[str],
        rung: Callable[[], None],
        announced: Callable[[str, str], None],
    ) -> AsyncIterator[ListenConnection]:
        """Connect to a primary and listen.

        Raises:
            LogUnavailable: there is none, or it does not let us.
        """
        with unavailable():
            connection = await connect(dsn, f"{APPLICATION_NAME} listener")
        line = cls(dsn, connection, rung, announced)
        try:
            await line._listen(topics)
            yield line
        finally:
            connection.terminate()

    async def proves_notifications(self, within: float) -> bool:
        """Ring ourselves and tell whether it came back; a pooler in transaction mode swallows it."""
        token = secrets.token_hex(8)
        came_back = self._probes[token] = asyncio.Event()
        try:
            await self._notify_myself(token)
            async with asyncio.timeout(within):
                await came_back.wait()
        except TimeoutError:
            return False
        finally:
            del self._probes[token]
        return True

    async def join(self) -> None:
        """Be counted among the readers."""
        await self._ask("join")

    async def try_lock(self) -> bool:
        return bool(await self._ask("try_lock"))

    async def unlock(self) -> None:
        await self._ask("unlock")

    async def draw_mark(self) -> int:
        return int(str(await self._ask("draw_mark")))

    async def notify_others(self, now: float) -> None:
        """Ring the other readers; whether there are any is looked up once per second."""
        if now - self._counted_at >= COUNT_SECONDS:
            self._counted_at = now
            self._readers = int(str(await self._ask("readers")))
        if self._readers > 1:
            await self._ask("notify", "")

    async def _notify_myself(self, token: str) -> None:
        if not self._pooled:
            await self._ask("notify", token)
            return
        # Not over this line: within one transaction it would come back even where a session lasts no longer.
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
            await self._connection.add_listener(WAKEUP_TOPIC, self._hear)
            for topic in topics:
                await self._connection.add_listener(topic, self._hear)

    async def _ask(self, name: str, *arguments: object) -> object:
        async with self._statement_turn():
            answer: object = await self._connection.fetchval(statement(name), *arguments)
            return answer

    @asynccontextmanager
    async def _statement_turn(self) -> AsyncIterator[None]:
        async with self._turn:
            try:
                with unavailable():
                    async with asyncio.timeout(ANSWER_SECONDS):
                        yield
            except BaseException:
                # Whether the lock is ours is unknown now; without the session it is not.
                self._connection.terminate()
                self.lost.set()
                raise

    def _hear(self, connection: AnyConnection, sender: int, topic: str, payload: object) -> None:
        text = str(payload)
        if topic != WAKEUP_TOPIC:
            self._announced(topic, text)
        elif text:
            if text in self._probes:
                self._probes[text].set()
        elif sender != connection.get_server_pid():
            self._rung()
