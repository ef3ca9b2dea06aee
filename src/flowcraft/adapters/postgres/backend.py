"""PostgresBackend: the log, its wakeups, its service and its upkeep on one PostgreSQL database."""

from __future__ import annotations

from typing import final

from flowcraft.adapters.opentelemetry import find_tracer
from flowcraft.adapters.postgres.address import find_dsn
from flowcraft.adapters.postgres.listener import PostgresListener
from flowcraft.adapters.postgres.log import PostgresLog
from flowcraft.adapters.postgres.members import PostgresMembers
from flowcraft.adapters.postgres.retention import PostgresRetention
from flowcraft.adapters.postgres.service import PostgresRealtimeService
from flowcraft.adapters.postgres.table_rows import PostgresRows
from flowcraft.ports import BackendContext, LogReader


@final
class PostgresBackend:
    """A `Backend` on a PostgreSQL database that `flowcraft migrate` has prepared: the default of `Realtime`.

    `dsn` defaults to FLOWCRAFT_DSN, then DATABASE_URL, then the default database of Django's settings, looked
    up when needed. The service opens a pool with the first broadcast. A node takes a pool for the log, a
    connection that listens, one for retention, and with presence one for the members.
    """

    def __init__(self, dsn: str | None = None) -> None:
        self._dsn = dsn
        self._service: PostgresRealtimeService | None = None
        self._reader: _Reader | None = None

    @property
    def dsn(self) -> str:
        """Where the database is.

        Raises:
            NoDatabase: no address was passed, and none is in the environment.
            DatabaseAddressInvalid: it is no address of a PostgreSQL.
        """
        return find_dsn(self._dsn)

    @property
    def service(self) -> PostgresRealtimeService:
        """Broadcasts into the log; it also takes part in transactions of synchronous connections."""
        if self._service is None:
            self._service = PostgresRealtimeService(lambda: self.dsn, find_tracer())
        return self._service

    def open(self, context: BackendContext) -> LogReader:
        """Return the log, a listener, the rows, and the tasks `listener` and `retention`.

        Raises:
            NoDatabase: no address was passed, and none is in the environment.
            DatabaseAddressInvalid: it is no address of a PostgreSQL.
        """
        self._reader = _Reader(self.dsn, context)
        return self._reader.parts

    async def until_listening(self) -> None:
        """Wait until the listener of an open backend is connected, and takes every ephemeral event."""
        assert self._reader is not None, "open the backend first"
        await self._reader.listener.until_connected()

    async def close(self) -> None:
        """Close every connection; it can be opened again, also in another event loop."""
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.close()
        service, self._service = self._service, None
        if service is not None:
            await service.close()


class _Reader:
    """The parts that one node reads with."""

    def __init__(self, dsn: str, context: BackendContext) -> None:
        settings = context.settings
        self.listener = PostgresListener(
            dsn, context.channels, context.deliver, safety_seconds=settings.safety_poll_seconds
        )
        self._log = PostgresLog(dsn, on_tail=self.listener.observe)
        self._retention = PostgresRetention(
            dsn, keep_seconds=settings.retention_seconds, ticked=lambda: context.recovered("retention")
        )
        self._rows = PostgresRows(dsn, context.channels)
        self._members = PostgresMembers(dsn, listed=settings.most_listed)
        upkeep = {"listener": self.listener.run, "retention": self._retention.run}
        self.parts = LogReader(self._log, self.listener, self._rows, self._members, upkeep)

    async def close(self) -> None:
        await self._retention.close()
        await self._rows.close()
        await self._members.close()
        await self._log.close()
