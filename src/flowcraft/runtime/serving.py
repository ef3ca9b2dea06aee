"""Serving: compose a node and a backend, for applications and for their tests."""

from __future__ import annotations

from flowcraft.channels import Channels
from flowcraft.errors import DeclarationError, PresenceUnsupported, RowsUnsupported
from flowcraft.ports import Authorizer, Backend, BackendContext, Clock, Tracer
from flowcraft.records import Ephemeral
from flowcraft.runtime.clock import SystemClock
from flowcraft.runtime.node import Node
from flowcraft.runtime.relay import ScreenedLog
from flowcraft.settings import Settings


class Serving:
    """One node on a backend. Make one for each start; the owner of the backend closes it."""

    def __init__(
        self,
        channels: Channels,
        backend: Backend,
        *,
        settings: Settings,
        authorizer: Authorizer | None = None,
        clock: Clock | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        """Open the backend; nothing runs yet.

        Raises:
            RealtimeError: the backend can never be read as it is configured, or has no rows or no members
                and a channel with them is declared.
            DeclarationError: a channel has presence and no function that decides who is shown.
        """
        self._reader = backend.open(BackendContext(channels, settings, self._deliver, self._note_recovery))
        without = [declaration.name for declaration in channels if declaration.rows is not None]
        if without and self._reader.rows is None:
            raise RowsUnsupported(type(backend).__name__, without[0])
        self._check_presence(channels, type(backend).__name__)
        log = ScreenedLog(self._reader.log, channels)
        self.node = Node(
            channels,
            log,
            self._reader.wakeups,
            rows=self._reader.rows,
            is_fresh=self._reader.is_fresh,
            edge=self._reader.edge,
            members=self._reader.members,
            settings=settings,
            authorizer=authorizer,
            clock=clock or SystemClock(),
            tracer=tracer,
        )
        log.skipped.counts = self.node.counts

    def _check_presence(self, channels: Channels, backend: str) -> None:
        for declaration in channels:
            if declaration.members is None:
                continue
            if self._reader.members is None or self._reader.rows is None:
                raise PresenceUnsupported(backend, declaration.name)
            if declaration.present is None:
                raise DeclarationError(
                    f"{declaration.name} has presence, and nothing decides who is shown; register a "
                    "function of the viewer with .present"
                )

    def start(self) -> None:
        """Start reading the log, and keep the backend's tasks running."""
        self.node.start()
        for name, run in self._reader.upkeep.items():
            self.node.supervisor.keep(name, run)

    async def stop(self) -> None:
        """Stop the node and the backend's tasks; connections should have been drained before."""
        await self.node.stop()

    def _deliver(self, event: Ephemeral) -> None:
        self.node.broadcast_ephemeral(event)

    def _note_recovery(self, task: str) -> None:
        self.node.supervisor.recovered(task)
