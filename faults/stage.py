"""The stage: a database, servers, the ways to them, writers and probes, for one scenario."""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import asyncpg

from faults.histories import History, Received, Verdict, judge
from faults.postgres_proxy import WithoutNotifications
from faults.probe import Probe
from faults.programs import ServerProgram, free_port, until
from faults.proxy import FaultProxy
from faults.sizes import Size
from faults.task_writers import TASK_TABLES
from faults.writers import HOT_ROWS, Writers
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.cursors import Cursor
from flowcraft.records import Record

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    AnyConnection = asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]

TEMPLATE = "faults"
TABLES = f"""
create table items (id int primary key, version int not null, pad text not null default '');
insert into items select n, 0 from generate_series(1, {HOT_ROWS}) as n;
create table members (person text, team int, role text not null default 'in', primary key (person, team));
create table era (n int not null);
insert into era values (0);
"""
EVENTS = """
select xid::text::bigint as xid, id, channel, payload from flowcraft.event
where channel <> 'fill_update' and kind = 'e' order by id
"""
HOT_PROBES = 20
"""How many follow the hot rows, too."""
POSTGRES = {"log_lock_waits": "on", "track_functions": "all", "max_connections": "200"}


class Cluster:
    """One PostgreSQL server, and a database in it that the scenarios' own are copies of."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self.server = server
        self._databases = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls, settings: Mapping[str, str] | None = None, directory: Path | None = None
    ) -> AsyncIterator[Cluster]:
        """Start a server, with a log and tables in its template."""
        server = await asyncio.to_thread(
            EmbeddedPostgres.start, directory, settings={**POSTGRES, **(settings or {})}, port=0
        )
        try:
            cluster = cls(server)
            await cluster._prepare()
            yield cluster
        finally:
            await asyncio.to_thread(server.close)

    async def make(self) -> str:
        """Make a database for one scenario, and return its name."""
        self._databases += 1
        name = f"scenario_{self._databases}"
        await asyncio.to_thread(self.server.create_database, name, TEMPLATE)
        return name

    def log_lines(self) -> list[str]:
        """What the server has logged."""
        return (self.server.directory / "server.log").read_text("utf-8", "replace").splitlines()

    async def _prepare(self) -> None:
        from faults.app import channels

        dsn = await asyncio.to_thread(self.server.create_database, TEMPLATE)
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(TABLES)
            await connection.execute(TASK_TABLES)
            await migrate(connection, channels)
        finally:
            await connection.close()


class Stage:
    """What one scenario has: `web` is the way from clients to servers, `wire` from those to the database."""

    def __init__(self, size: Size, seed: int, cluster: Cluster) -> None:
        self.size = size
        self.seed = seed
        self.chance = random.Random(seed)
        self.cluster = cluster
        self.histories: list[History] = []
        self.probes: list[Probe] = []
        self.servers: list[ServerProgram] = []
        self.without_notifications = WithoutNotifications(active=False)
        self.web: FaultProxy
        self.wire: FaultProxy
        self.folder = Path()
        self._stack = AsyncExitStack()
        self._database = ""

    @classmethod
    @asynccontextmanager
    async def open(cls, size: Size, seed: int, cluster: Cluster) -> AsyncIterator[Stage]:
        """Make a database and the ways; servers, probes and writers are the scenario's to start."""
        stage = cls(size, seed, cluster)
        async with stage._stack:
            await stage._set()
            yield stage

    @asynccontextmanager
    async def alone(self, settings: Mapping[str, str], directory: Path | None = None) -> AsyncIterator[Stage]:
        """Open the like on a cluster of its own, whose server has these settings."""
        async with (
            Cluster.open(settings, directory) as cluster,
            Stage.open(self.size, self.seed, cluster) as own,
        ):
            yield own

    async def _set(self) -> None:
        self._database = await self.cluster.make()

        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-")))
        port = self.cluster.server.port
        assert port is not None
        self.wire = await self._stack.enter_async_context(
            FaultProxy.open(("127.0.0.1", port), transform_down=self.without_notifications)
        )
        self.web = await self._stack.enter_async_context(FaultProxy.open([]))
        self._stack.push_async_callback(self._end)

    async def _end(self) -> None:
        await asyncio.gather(*(probe.close() for probe in self.probes), return_exceptions=True)
        await asyncio.gather(*(server.kill() for server in self.servers))

    @property
    def dsn(self) -> str:
        """The database's address, straight."""
        return self.cluster.server.dsn_of(self._database)

    @property
    def wired_dsn(self) -> str:
        """The database's address by way of `wire`."""
        given = urlsplit(self.cluster.server.tcp_dsn or "")
        login = f"{given.username}:{quote(given.password or '')}"
        return f"postgresql://{login}@127.0.0.1:{self.wire.port}/{self._database}"

    async def serve(
        self,
        *,
        settings: Mapping[str, object] | None = None,
        damage: Mapping[str, object] | None = None,
        jwks: str | None = None,
        dsn: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ServerProgram:
        """Start a server behind `web`; with `jwks` it takes tokens by the keys that are published there."""
        number = len(self.servers)
        harness = {
            "settings": {"heartbeat_seconds": 1.0, "drain_seconds": 1.0, **(settings or {})},
            "damage": damage or {},
            **({"jwks": jwks} if jwks else {}),
        }
        server = ServerProgram(
            free_port(),
            dsn or self.wired_dsn,
            self.folder / f"server{number}.log",
            harness=harness,
            environment=environment,
        )
        self.servers.append(server)
        await server.start()
        self.web.upstreams = [*self.web.upstreams, ("127.0.0.1", server.port)]
        return server

    @property
    def address(self) -> str:
        """The WebSocket's address by way of `web`."""
        return f"ws://127.0.0.1:{self.web.port}/realtime"

    async def probe(
        self,
        name: str,
        channels: Sequence[str] = (),
        *,
        address: str | None = None,
        since: Cursor | None = None,
        token: str | None = None,
    ) -> Probe:
        """Start a probe that follows channels; what it receives is judged with the rest."""
        chance = random.Random(f"{self.seed} {name}")
        probe = Probe(address or self.address, name=name, random=chance, token=token)
        self.probes.append(probe)
        for channel in channels:
            self.histories.append(probe.subscribe(channel, since))
        await probe.start()
        return probe

    async def probe_all(self, count: int | None = None) -> list[Probe]:
        """Start subscribers, each on a lane and some on the hot rows, and wait until all are live."""
        lanes = self.size.lanes
        probes: list[Probe] = []
        for n in range(self.size.subscribers if count is None else count):
            hot = ["item_update"] if n < HOT_PROBES else []
            probes.append(await self.probe(f"probe {n}", [f"lanes.{n % lanes}", *hot]))
        await asyncio.gather(*(probe.until_live() for probe in probes))
        return probes

    def writers(self, *, rate: float | None = None, count: int = 8, first_version: int = 1) -> Writers:
        """Writers straight to the database."""
        return Writers(
            self.dsn,
            lanes=self.size.lanes,
            rate=rate or self.size.rate,
            count=count,
            seed=self.seed,
            first_version=first_version,
        )

    async def fill_the_log(self, full: Callable[[], bool]) -> None:
        """Write large events until `full` returns that it is enough."""
        end = time.monotonic() + 20
        while not full() and time.monotonic() < end:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                async with self.connection() as connection:
                    while not full():
                        await connection.execute(
                            "select flowcraft.broadcast('fill_update', (select json_agg(md5(random()::text)) "
                            "from generate_series(1, 4000)))"
                        )

    def last_words(self) -> str:
        """The ends of the servers' logs, for the report of a failure."""
        return "\n".join(s.log.read_text()[-1500:] for s in self.servers if s.log.exists())

    async def drain(self, seconds: float = 15.0) -> bool:
        """Wait until every probe has had all that was committed; whether they did in time."""
        xid = await self.commit_marker()
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(*(probe.settled(xid) for probe in self.probes))
        except TimeoutError:
            return False
        return True

    async def commit_marker(self) -> int:
        """Commit something after all else, and return its transaction."""
        async with self.connection() as connection:
            return int(await connection.fetchval("select pg_current_xact_id()::text"))

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """Lend a connection straight to the database."""
        connection = await asyncpg.connect(self.dsn, timeout=10)
        try:
            yield connection
        finally:
            await connection.close(timeout=5)

    async def oracle(self) -> list[Record]:
        """What the database holds in the end."""
        async with self.connection() as connection:
            rows = await connection.fetch(EVENTS)
        return [Record(row["xid"], row["id"], row["channel"], row["payload"]) for row in rows]

    async def verdict(self) -> Verdict:
        """Judge all that was received so far by what the database holds."""
        return judge(await self.oracle(), self.histories)

    def latencies(self, writers: Writers, after: float = 0.0, before: float = float("inf")) -> list[float]:
        """Seconds from the answer to a commit to each handler, for commits within a time; sorted."""
        return sorted(late for at, late in self._received(writers) if after <= at <= before)

    def usual_p99(self, writers: Writers, after: float, before: float) -> float:
        """The p99 of a usual second, the median of those of all seconds between two times.

        Now and then a busy machine stops everything for a moment, and that would be the p99 of all.
        """
        seconds: dict[int, list[float]] = {}
        for at, late in self._received(writers):
            if after <= at <= before:
                seconds.setdefault(int(at - after), []).append(late)
        return statistics.median(quantile(sorted(found), 0.99) for found in seconds.values())

    def _received(self, writers: Writers) -> Iterator[tuple[float, float]]:
        """When each event that was received had been committed, and how long after that it was received."""
        for history in self.histories:
            for mark in history.marks:
                if isinstance(mark, Received):
                    at = writers.committed.get((history.channel, str(mark.row), mark.version))
                    if at is not None:
                        yield at, max(0.0, mark.at - at)

    async def first_events(self, probes: Sequence[Probe], healed: float, seconds: float) -> list[float]:
        """Seconds from the healing to the first event of each probe; infinite for one without."""
        own = {p.name: [h for h in self.histories if h.subscriber == p.name] for p in probes}
        first: dict[str, float] = {}

        def all_received() -> bool:
            for name in own.keys() - first.keys():
                at = next((t for history in own[name] for t in _received_since(history, healed)), None)
                if at is not None:
                    first[name] = at - healed
            return len(first) == len(own)

        await until(all_received, seconds, every=0.02)
        return [first.get(p.name, float("inf")) for p in probes]

    async def cursor(self) -> Cursor:
        """The position of the database itself."""
        async with self.connection() as connection:
            return Cursor.parse(await connection.fetchval("select flowcraft.cursor()"))


def _received_since(history: History, moment: float) -> list[float]:
    found: list[float] = []
    for mark in reversed(history.marks):
        if isinstance(mark, Received):
            if mark.at < moment:
                break
            found.append(mark.at)
    return found[-1:]


def quantile(values: Sequence[float], share: float) -> float:
    """A quantile of sorted values; infinite of none."""
    return values[min(len(values) - 1, int(len(values) * share))] if values else float("inf")


async def every(seconds: float, action: Callable[[], object], total: float) -> int:
    """Do something again and again for a time; how often it was done."""
    done, end = 0, time.monotonic() + total
    while time.monotonic() < end:
        result = action()
        if asyncio.iscoroutine(result):
            await result
        done += 1
        await asyncio.sleep(min(seconds, max(0.0, end - time.monotonic())))
    return done
