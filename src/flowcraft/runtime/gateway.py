"""The gateway: carries one connection between its socket, its session and the hub."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

from flowcraft.core import session as sessions
from flowcraft.core.backlog import Backlog
from flowcraft.core.conflation import Conflation
from flowcraft.core.frames import Bundle
from flowcraft.core.hub import SessionId
from flowcraft.core.pages import Pages
from flowcraft.core.session import Question, Session
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.errors import RealtimeError, TokenInvalid
from flowcraft.ports import Authorizer, Clock, Connection
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

logger = logging.getLogger("flowcraft")


class Exchange(Protocol):
    """What a gateway needs of the node it belongs to."""

    def follow(
        self, gateway: SessionId, channels: tuple[str, ...], since: Cursor | None, ref: int | None
    ) -> None: ...

    def follow_fresh(
        self, gateway: SessionId, channels: tuple[str, ...], reason: ResetReason, ref: int | None
    ) -> None: ...

    def unfollow(self, gateway: SessionId, channels: tuple[str, ...]) -> None: ...

    def settle(self, gateway: SessionId, xid: int) -> None: ...

    def leave(self, gateway: SessionId) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all gateways of a node share."""

    exchange: Exchange
    authorizer: Authorizer | None
    settings: Settings
    supervisor: Supervisor
    clock: Clock
    conflation: Conflation | None
    """None if no channel is conflated: then nobody's groups are merged."""


class Gateway:
    """One connection. Carriers call `received` and `closed`; the node calls `write`."""

    def __init__(
        self,
        number: SessionId,
        session: Session,
        connection: Connection,
        surroundings: Surroundings,
    ) -> None:
        self.number = number
        self._session = session
        self._connection = connection
        self._exchange = surroundings.exchange
        self._authorizer = surroundings.authorizer
        self._settings = surroundings.settings
        self._supervisor = surroundings.supervisor
        self._clock = surroundings.clock
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._sent = 0
        self._conflation = surroundings.conflation
        self._backlog: Backlog | None = None
        self._closed = False

    @property
    def held_bytes(self) -> int:
        """Bytes that wait here, before the connection."""
        return 0 if self._backlog is None else self._backlog.size

    def open(self, cursor: Cursor, schema: str, channels: Sequence[str], since: str | None) -> None:
        """Greet the client and take the subscriptions of its URL."""
        self._later("auth", self._settings.auth_timeout_seconds, self._auth_deadline)
        self._perform(self._session.open(cursor, schema, channels, since))

    def received(self, message: str | bytes) -> None:
        """Take one message of the client."""
        self._perform(self._session.received(message))

    def write(self, part: Bundle | Pages) -> None:
        """Send messages. A connection that fails is closed, and keeps nothing from the others."""
        self._attempt(lambda: self._write(part))

    def write_shared(self, bundle: Bundle) -> None:
        """Send what others get too, as `write` does: the path of every recipient of every event."""
        if self._backlog is None and self._conflation is None:
            try:
                self._connection.write(bundle)
            except Exception as error:  # noqa: BLE001  # reported there
                self._fail(error)
            self._sent += bundle.events
        else:
            self.write(bundle)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self._attempt(self._connection.ping)

    def drain(self, reconnect_after_ms: int) -> None:
        """Send the client away for a while."""
        self._attempt(lambda: self._perform(self._session.drain(reconnect_after_ms)))

    def drained(self) -> None:
        """The connection can be written to again."""
        self._attempt(self._release)

    def closed(self) -> None:
        """The connection is gone; idempotent."""
        if self._closed:
            return
        self._closed, self._backlog = True, None
        for timer in self._timers.values():
            timer.cancel()
        self._exchange.leave(self.number)

    def _attempt(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001  # reported there
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        logger.error("a connection failed; closed with 1011, its client will resume", exc_info=error)
        try:
            self._connection.close(1011, "the connection failed")
        except Exception:
            logger.exception("a connection that failed cannot be closed either")
        finally:
            self.closed()

    def _write(self, part: Bundle | Pages) -> None:
        if self._backlog is not None or self._merges() or isinstance(part, Pages):
            self._hold(part)
        else:
            self._send(part.counted(self._sent))

    def _merges(self) -> bool:
        return self._conflation is not None and self._connection.congested

    def _send(self, bundle: Bundle) -> None:
        self._connection.write(bundle)
        self._sent += bundle.events

    def _hold(self, part: Bundle | Pages) -> None:
        backlog = self._backlog = self._backlog or Backlog(self._conflation)
        if self._waiting_bytes() + backlog.size <= self._settings.queue_bytes:
            backlog.add(part)
            self._release()
        elif backlog.has_replay:
            backlog.cut()
        else:
            self._backlog = None
            self._connection.close_slow()

    def _waiting_bytes(self) -> int:
        """Bytes that count as waiting before what is held here.

        One batch may be larger than all the room there is. Where channels are conflated that is no reason to
        close: what follows on it takes little.
        """
        waiting = self._connection.waiting_bytes
        return waiting if self._conflation is None else min(waiting, self._settings.queue_bytes // 2)

    def _release(self) -> None:
        """Send what waits for as long as the connection takes it."""
        backlog = self._backlog
        while backlog is not None and backlog and not self._connection.congested:
            self._send(backlog.release(self._sent))
        if backlog is not None and not backlog:
            self._backlog = None
            if backlog.is_cut:
                self._connection.close_slow()

    def _send_rest(self) -> None:
        """Before a close, send what waits; a replay is told again to whoever resumes."""
        backlog, self._backlog = self._backlog, None
        if backlog is not None and not backlog.has_replay:
            self._send(backlog.release(self._sent))

    def _perform(self, effects: Sequence[sessions.Effect]) -> None:
        for effect in effects:
            if self._closed:
                return
            self._perform_one(effect)

    def _perform_one(self, effect: sessions.Effect) -> None:
        match effect:
            case sessions.Send(message, urgent):
                bundle = Bundle((message,))
                self._send(bundle) if urgent else self._write(bundle)
            case sessions.Follow(channels, since, ref):
                self._exchange.follow(self.number, channels, since, ref)
            case sessions.FollowFresh(channels, reason, ref):
                self._exchange.follow_fresh(self.number, channels, reason, ref)
            case sessions.Unfollow(channels):
                self._exchange.unfollow(self.number, channels)
            case sessions.AwaitSettled(xid):
                self._exchange.settle(self.number, xid)
            case sessions.Authenticate(token):
                self._supervisor.spawn(self._authenticate(token), "authenticate")
            case sessions.Authorize(viewer, questions):
                self._supervisor.spawn(self._authorize(viewer, questions), "authorize")
            case sessions.Close(code, reason):
                self._send_rest()
                self._connection.close(code, reason)
                self.closed()
            case _:
                assert_never(effect)

    async def _authenticate(self, token: str) -> None:
        try:
            if self._authorizer is None:
                raise TokenInvalid
            viewer = await self._authorizer.authenticate(token)
        except TokenInvalid as error:
            self._perform(self._session.rejected(error))
            return
        except Exception:  # the keys cannot be had: not the client's fault, it may come back
            logger.exception("the authorizer raised; the connection is closed")
            self._perform([sessions.Close(1011, "authentication unavailable")])
            return
        if viewer.expires_at is not None:
            self._later("expiry", viewer.expires_at - self._clock.wall(), self._expired)
        self._perform(self._session.authenticated(viewer))

    async def _authorize(self, viewer: Viewer, questions: tuple[Question, ...]) -> None:
        allowed = frozenset([q.name for q in questions if await _is_allowed(viewer, q)])
        self._perform(self._session.authorized(allowed))

    def _auth_deadline(self) -> None:
        self._perform(self._session.auth_deadline())

    def _expired(self) -> None:
        self._perform(self._session.expired())

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(max(0.0, seconds), call)


async def _is_allowed(viewer: Viewer, question: Question) -> bool:
    guard = question.declaration.guard
    assert guard is not None
    arguments = () if question.declaration.parameter is None else (question.value,)
    try:
        answer = guard(viewer, *arguments)
        # Only True opens: a guard that returns a row, or forgets to return, must not let anybody in.
        return (await answer if inspect.isawaitable(answer) else answer) is True
    except RealtimeError:
        return False
    except Exception:
        logger.exception("the guard of %s raised; the answer is no", question.declaration.name)
        return False
