"""A fault proxy: a TCP proxy on which a test delays, throttles, withholds or resets connections."""

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
    """A proxy in front of servers; open it with `FaultProxy.open`. Without faults, it delays nothing."""

    def __init__(
        self,
        upstreams: Sequence[Address],
        transform_down: Callable[[], Transform] | None,
        chance: random.Random,
    ) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.upstreams: list[Address] = list(upstreams)
        """A new connection goes to the next one in turn that accepts; may be assigned at any time."""
        self.latency_seconds = 0.0
        """The one-way latency in both directions, for bytes from now on."""
        self.total_accepted = 0
        self.accepted_at: list[float] = []
        """The monotonic time at which each connection was accepted."""
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

        `transform_down` returns, for each connection, the filter of its bytes to the client. `chance` chooses
        the connections that `reset(count)` resets.

        Raises:
            OSError: the port is in use.
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
        """The rate of each connection down to the client; None is unlimited."""
        return self._bytes_per_second

    @bytes_per_second.setter
    def bytes_per_second(self, rate: float | None) -> None:
        self._bytes_per_second = rate
        self.flush()

    @property
    def links(self) -> list[Link]:
        """The current connections, oldest first."""
        return list(self._links)

    @property
    def connections(self) -> int:
        """The number of current connections."""
        return len(self._links)

    def black_hole(self, *directions: Direction) -> None:
        """Withhold everything, in both directions if none is named, on new connections too.

        As with lost packets, neither side is notified: connections stay open, and bytes wait until `heal`.
        """
        self._withheld.update(directions or ("up", "down"))

    def refuse(self, refusing: bool = True) -> None:
        """Reset each new connection immediately."""
        self._refusing = refusing

    def heal(self) -> None:
        """End all faults, including those of single links; withheld bytes flow on."""
        self._withheld.clear()
        self._bytes_per_second = None
        self.latency_seconds = 0.0
        self._refusing = False
        for link in self.links:
            link.heal()

    def reset(self, count: int | None = None) -> int:
        """Reset all connections, or a random choice of `count`, on both sides; return how many were reset."""
        links = self.links
        hit = links if count is None else self._chance.sample(links, min(count, len(links)))
        for link in hit:
            link.reset()
        return len(hit)

    def withholds(self, direction: Direction) -> bool:
        """Return whether this direction withholds everything."""
        return direction in self._withheld

    def flush(self) -> None:
        """Pass on what may pass now, on all links."""
        for link in self.links:
            link.flush()

    def accept(self, link: Link) -> bool:
        """Accept a client's connection; return whether it may stay."""
        if self._refusing:
            return False
        self._links[link] = None
        self.total_accepted += 1
        self.accepted_at.append(time.monotonic())
        self._empty.clear()
        return True

    def forget(self, link: Link) -> None:
        """Remove a link whose connections have both ended."""
        self._links.pop(link, None)
        if not self._links:
            self._empty.set()

    def connect(self, link: Link) -> None:
        """Connect a link to a server."""
        task = asyncio.create_task(self._connect(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, link: Link) -> None:
        self._turn += 1
        first = (self._turn - 1) % max(1, len(self.upstreams))
        for address in self.upstreams[first:] + self.upstreams[:first]:
            # Not cancelled when the client disconnects: uvloop would leak a connection that was just made.
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
