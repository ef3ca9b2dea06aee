"""Fleet: relays beside the database, a broker, and edges without a database, for one scenario."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from faults.broker import JETSTREAM, NatsServer, nats_server
from faults.nats_proxy import WithoutMessages
from faults.programs import ServerProgram, free_port
from faults.proxy import FaultProxy
from faults.stage import Stage

STREAM = "faults"
TAKEOVER_SECONDS = 2.5
"""After which a relay that stands by leads."""


class RelayProgram(ServerProgram):
    """`flowcraft relay`, and the port of its pages."""

    words = ("relay",)

    async def leads(self) -> bool:
        """Whether it publishes."""
        try:
            return bool((await self.health())["state"] == "leading")
        except OSError:
            return False


class Fleet:
    """The broker is reached by `way` from edges, and straight from relays."""

    def __init__(
        self,
        stage: Stage,
        broker: NatsServer,
        way: FaultProxy,
        lost: WithoutMessages,
        stack: AsyncExitStack,
    ) -> None:
        self.broker = broker
        self.way = way
        self.lost = lost
        """Batches that edges do not receive: none until `lost.every` is assigned."""
        self.relays: list[RelayProgram] = []
        self.edges: list[ServerProgram] = []
        self._stage = stage
        self._query = f"?stream={STREAM}&storage=file" if stage.size.jetstream else ""
        self._stack = stack

    @classmethod
    @asynccontextmanager
    async def open(cls, stage: Stage, *, relays: int = 2, edges: int = 2) -> AsyncIterator[Fleet]:
        """Start a broker, relays, and edges behind the stage's `web`.

        Raises:
            NoBroker: there is no nats-server.
        """
        async with AsyncExitStack() as stack:
            folder = stage.folder / "nats"
            folder.mkdir()
            broker = stack.enter_context(nats_server(folder, JETSTREAM))
            lost = WithoutMessages(".live")
            way = await stack.enter_async_context(
                FaultProxy.open(("127.0.0.1", broker.port), transform_down=lost)
            )
            fleet = cls(stage, broker, way, lost, stack)
            for _ in range(relays):
                await fleet.add_relay(stage.wired_dsn)
            for _ in range(edges):
                await fleet.add_edge()
            yield fleet

    async def add_relay(self, dsn: str) -> RelayProgram:
        """Start a relay on a database, and wait until it leads or stands by."""
        number = len(self.relays)
        relay = RelayProgram(
            free_port(),
            dsn,
            Path(self._stage.folder) / f"relay{number}.log",
            harness={"settings": {}, "damage": {}},
            environment={"FLOWCRAFT_LOG_URL": self.broker.url + self._query},
        )
        self.relays.append(relay)
        self._stack.push_async_callback(relay.kill)
        await relay.start()
        return relay

    async def add_edge(self) -> ServerProgram:
        """Start an edge, which has no address of a database."""
        url = f"nats://127.0.0.1:{self.way.port}{self._query}"
        edge = await self._stage.serve(environment={"FLOWCRAFT_LOG_URL": url, "DATABASE_URL": ""})
        self.edges.append(edge)
        return edge

    async def leader(self) -> RelayProgram:
        """Wait until just one relay leads, and return it."""
        async with asyncio.timeout(20):
            while True:
                leading = [relay for relay in self.relays if relay.runs and await relay.leads()]
                if len(leading) == 1:
                    return leading[0]
                await asyncio.sleep(0.05)
