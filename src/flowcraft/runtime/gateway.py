"""Gateway: join one connection with its session and the hub."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

from flowcraft.core import session as sessions
from flowcraft.core.bundles import Bundle
from flowcraft.core.hub import SessionId
from flowcraft.core.session import GuardQuestion, Session
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.errors import RealtimeError, TokenInvalid
from flowcraft.ports import Authorizer, Connection
from flowcraft.runtime.isolation import is_stopping
from flowcraft.runtime.sender import Sender, SenderContext
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.viewers import Viewer

logger = logging.getLogger(__name__)


class HubPort(Protocol):
    """What a gateway asks of the hub of its node."""

    def subscribe(
        self, session: SessionId, channels: tuple[str, ...], since: Cursor | None, ref: int | None
    ) -> None: ...

    def reset_subscription(
        self, session: SessionId, channels: tuple[str, ...], reason: ResetReason, ref: int | None
    ) -> None: ...

    def unsubscribe(self, session: SessionId, channels: tuple[str, ...]) -> None: ...

    def settle(self, session: SessionId, xid: int) -> None: ...

    def disconnect(self, session: SessionId) -> None: ...


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """What all gateways of a node share."""

    hub: HubPort
    authorizer: Authorizer | None
    supervisor: Supervisor
    sending: SenderContext


class Gateway(Sender):
    """One connection. A carrier calls the methods of `GatewayPort`; the node drains it, and sends."""

    def __init__(
        self, number: SessionId, session: Session, connection: Connection, context: GatewayContext
    ) -> None:
        super().__init__(connection, context.sending)
        self.number = number
        self._session = session
        self._shared = context
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def open(self, cursor: Cursor, schema: str, channels: Sequence[str], since: str | None) -> None:
        """Send the greeting and take the subscriptions of the URL."""
        self._later("auth", self._context.settings.auth_timeout_seconds, self._auth_deadline)
        self._attempt(lambda: self._perform(self._session.open(cursor, schema, channels, since)))

    def received(self, message: str | bytes) -> None:
        """Take one message of the client."""
        self._attempt(lambda: self._perform(self._session.received(message)))

    def drain(self, reconnect_after_ms: int) -> None:
        """Send the client away, to reconnect after a while."""
        self._attempt(lambda: self._perform(self._session.drain(reconnect_after_ms)))

    def closed(self) -> None:
        """End: the connection is gone; idempotent."""
        if self._closed:
            return
        self._closed, self._outbox = True, None
        for timer in self._timers.values():
            timer.cancel()
        self._shared.hub.disconnect(self.number)

    def __str__(self) -> str:
        """Return what a log line calls this connection: its number, address and viewer."""
        viewer = self._session.viewer
        name = "no viewer" if viewer is None else f"viewer {viewer.subject!r}"
        return f"connection {self.number} from {self._connection.address or 'an unknown address'} ({name})"

    def _perform(self, effects: Sequence[sessions.Effect]) -> None:
        for effect in effects:
            if self._closed:
                return
            self._perform_one(effect)

    def _perform_one(self, effect: sessions.Effect) -> None:
        hub = self._shared.hub
        match effect:
            case sessions.Send(message):
                self._write(Bundle((message,)))
            case sessions.BeginSubscription(channels, since, ref):
                hub.subscribe(self.number, channels, since, ref)
            case sessions.ResetSubscription(channels, reason, ref):
                hub.reset_subscription(self.number, channels, reason, ref)
            case sessions.EndSubscription(channels):
                hub.unsubscribe(self.number, channels)
            case sessions.AwaitSettle(xid):
                hub.settle(self.number, xid)
            case sessions.Authenticate(token):
                self._decide(self._authenticate(token), "authenticate")
            case sessions.Authorize(viewer, questions):
                self._decide(self._authorize(viewer, questions), "authorize")
            case sessions.Close(code, reason, last):
                self._close(code, reason, *last)
            case _:
                assert_never(effect)

    def _decide(self, deciding: Coroutine[object, object, None], name: str) -> None:
        self._shared.supervisor.spawn(self._decided(deciding), name)

    async def _decided(self, deciding: Coroutine[object, object, None]) -> None:
        """Wait for a decision; without one the session would hold back all that its client sends."""
        try:
            await deciding
        except (Exception, asyncio.CancelledError) as error:
            if is_stopping():
                raise
            self.fail(error)

    async def _authenticate(self, token: str) -> None:
        authorizer = self._shared.authorizer
        try:
            if authorizer is None:
                raise TokenInvalid
            viewer = await authorizer.authenticate(token)
        except TokenInvalid as error:
            self._perform(self._session.rejected(error))
            return
        except (Exception, asyncio.CancelledError):  # the keys cannot be had: the client may come back
            if is_stopping():
                raise
            logger.exception("%s: the authorizer raised; closed with 1011", self)
            self._perform([sessions.Close(1011, "authentication unavailable")])
            return
        if "expiry" in self._timers:
            self._timers.pop("expiry").cancel()
        if viewer.expires_at is not None and not self._closed:
            self._later("expiry", viewer.expires_at - self._context.clock.wall(), self._expired)
        self._perform(self._session.authenticated(viewer))

    async def _authorize(self, viewer: Viewer, questions: tuple[GuardQuestion, ...]) -> None:
        allowed = frozenset([q.name for q in questions if await _is_allowed(viewer, q)])
        self._perform(self._session.authorized(allowed))

    def _auth_deadline(self) -> None:
        self._attempt(lambda: self._perform(self._session.auth_deadline()))

    def _expired(self) -> None:
        self._attempt(lambda: self._perform(self._session.expired()))

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        self._timers[name] = asyncio.get_running_loop().call_later(max(0.0, seconds), call)


async def _is_allowed(viewer: Viewer, question: GuardQuestion) -> bool:
    guard = question.declaration.guard
    assert guard is not None
    arguments = () if question.declaration.parameter is None else (question.value,)
    try:
        answer = guard(viewer, *arguments)
        # Only True opens: a guard that returns a row, or forgets to return, must not open the channel.
        return (await answer if inspect.isawaitable(answer) else answer) is True
    except RealtimeError:
        return False
    except (Exception, asyncio.CancelledError):
        if is_stopping():
            raise
        logger.exception("the guard of %s raised; the answer is no", question.declaration.name)
        return False
