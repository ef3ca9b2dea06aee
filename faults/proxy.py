"""A fault proxy: a way to a server on which a test delays, throttles, withholds or resets what passes."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Self, TypeAlias

from faults.links import Direction, Link, Transform

Address: TypeAlias = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""
_CONNECT_SECONDS = 5.0


class FaultProxy:
    """A way to a server; open it with `FaultProxy.open`. Without faults set, it passes everything at once."""

    def __init__(
        self,
        upstreams: Sequence[Address],
        transform_down: Callable[[], Transform] | None,
        chance: random.Random,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.upstreams: list[Address] = list(upstreams)
        """A new connection takes the next one in turn that accepts; assign to it at any time."""
        self.latency_seconds = 0.0
        """One way, in both directions, for what comes from now on."""
        self.total_accepted = 0
        self.accepted_at: list[float] = []
        """When each connection was accepted, monotonic."""
        self.transform_down = transform_down
        self._bytes_per_second: float | None = None
        self._withheld: set[Direction] = set()
        self._refusing = False
        self._chance = chance
        self._turn = 0
        self._links: dict[Link, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        upstream: Address | Sequence[Address],
        *,
        port: int = 0,
        transform_down: Callable[[], Transform] | None = None,
        chance: random.Random | None = None,
    ) -> AsyncIterator[Self]:
        """Listen on 127.0.0.1 until the block ends; then every connection is reset.

        `transform_down` makes, for each connection, what its bytes to the client pass through. `chance`
        chooses whom `reset(count)` hits.

        Raises:
            OSError: the port is taken.
        """
        proxy = cls(_addresses(upstream), transform_down, chance or random.Random())  # no secret
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Link(proxy).client, proxy.host, port, backlog=4096)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            await proxy._close()

    @property
    def bytes_per_second(self) -> float | None:
        """How much each connection gets on its way down; everything with `None`."""
        return self._bytes_per_second

    @bytes_per_second.setter
    def bytes_per_second(self, rate: float | None) -> None:
        self._bytes_per_second = rate
        self.flush()

    @property
    def links(self) -> list[Link]:
        """The connections there are now, oldest first."""
        return list(self._links)

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._links)

    def black_hole(self, *directions: Direction) -> None:
        """Let nothing pass any more, in both directions if none is named; new connections fare the same.

        As with lost packets neither side notices: connections stay open, and what is sent waits until `heal`.
        """
        self._withheld.update(directions or ("up", "down"))

    def refuse(self, refusing: bool = True) -> None:
        """Reset every new connection at once."""
        self._refusing = refusing

    def heal(self) -> None:
        """End all faults, of single links too; what was withheld flows on."""
        self._withheld.clear()
        self._bytes_per_second = None
        self.latency_seconds = 0.0
        self._refusing = False
        for link in self.links:
            link.heal()

    def reset(self, count: int | None = None) -> int:
        """Reset all connections, or so many chosen by chance, on both sides; return how many it hit."""
        links = self.links
        hit = links if count is None else self._chance.sample(links, min(count, len(links)))
        for link in hit:
            link.reset()
        return len(hit)

    def withholds(self, direction: Direction) -> bool:
        """Whether nothing passes in this direction."""
        return direction in self._withheld

    def flush(self) -> None:
        """Look again at everything that waits."""
        for link in self.links:
            link.flush()

    def accept(self, link: Link) -> bool:
        """A client has come; return whether it may stay."""
        if self._refusing:
            return False
        self._links[link] = None
        self.total_accepted += 1
        self.accepted_at.append(time.monotonic())
        self._empty.clear()
        return True

    def forget(self, link: Link) -> None:
        """Both sides of a link are gone."""
        self._links.pop(link, None)
        if not self._links:
            self._empty.set()

    def connect(self, link: Link) -> None:
        """Find a server for a link."""
        task = asyncio.create_task(self._connect(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, link: Link) -> None:
        self._turn += 1
        first = (self._turn - 1) % max(1, len(self.upstreams))
        for address in self.upstreams[first:] + self.upstreams[:first]:
            # Do not cancel it when the client goes: uvloop then forgets a connection that was just made.
            with contextlib.suppress(OSError):  # and TimeoutError, which is one
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await _connect(link, address)
                return
            if link.abandoned:
                return
        link.reset()

    async def _close(self) -> None:
        self.refuse()
        self.reset()
        await asyncio.gather(*self._tasks)
        if self._links:
            await self._empty.wait()


async def _connect(link: Link, address: Address) -> None:
    loop = asyncio.get_running_loop()
    if isinstance(address, str):
        await loop.create_unix_connection(lambda: link.server, address)
    else:
        await loop.create_connection(lambda: link.server, *address)


def _addresses(upstream: Address | Sequence[Address]) -> Sequence[Address]:
    if isinstance(upstream, str):
        return [upstream]
    match upstream:
        case (str(host), int(port)):
            return [(host, port)]
        case _:
            return upstream
