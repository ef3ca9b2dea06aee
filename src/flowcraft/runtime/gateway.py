"""Gateway: join one connection with its session and the hub."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar, assert_never

from flowcraft.carrier_ports import Connection, Entrance
from flowcraft.core import frames
from flowcraft.core import session_effects as sessions
from flowcraft.core.counts import is_notable
from flowcraft.core.hub_effects import SessionId
from flowcraft.core.session import Session
from flowcraft.core.session_effects import GuardQuestion
from flowcraft.core.withdrawals import Withdrawal
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.errors import RealtimeError, TokenInvalid
from flowcraft.ports import Authorizer, RequestAuthorizer
from flowcraft.runtime.decisions import Decision, Guards, authenticate, authenticate_request
from flowcraft.runtime.sender import Sender, SenderContext
from flowcraft.runtime.supervisor import Supervisor
from flowcraft.runtime.tally import Present
from flowcraft.settings import NEVER_SECONDS
from flowcraft.viewers import Viewer

logger = logging.getLogger(__name__)

A = TypeVar("A")
ASKED_ONCE_MORE_SECONDS = 10.0
"""After a withdrawal, guards are asked once more after this time."""
_LOGGED = 5
"""The most refused channels in one line of the log."""


class HubPort(Protocol):
    """The hub of a node, for its gateways."""

    def subscribe(
        self,
        session: SessionId,
        channels: tuple[str, ...],
        since: Cursor | None,
        ref: int | None,
        *,
        rows: bool,
        oldest: bool,
    ) -> None: ...

    def reset_subscription(
        self, session: SessionId, channels: tuple[str, ...], reason: ResetReason, ref: int | None
    ) -> None: ...

    def unsubscribe(self, session: SessionId, channels: tuple[str, ...]) -> None: ...

    def settle(self, session: SessionId, xid: int) -> None: ...

    def disconnect(self, session: SessionId) -> None: ...

    def hold(self, session: SessionId) -> bool: ...

    def release(self, session: SessionId, since: Cursor) -> bool: ...

    def is_replaying(self, session: SessionId, channel: str) -> bool: ...


class PresencePort(Protocol):
    """The presence of a node, for its gateways. It learns of the end of a connection from the hub."""

    def join(self, session: SessionId, viewer: Viewer | None, names: Sequence[str]) -> None: ...

    def leave(self, session: SessionId, names: Sequence[str]) -> None: ...


@dataclass(frozen=True, slots=True)
class GatewayContext:
    """The parts that all gateways of a node share."""

    hub: HubPort
    presence: PresencePort
    authorizer: Authorizer | None
    asks_requests: bool
    """Whether the authorizer may know a viewer by the request. To ask its class takes 20 microseconds."""
    guards: Guards
    viewers: Present[Gateway]
    supervisor: Supervisor
    sending: SenderContext


class Gateway(Sender):
    """One connection with its session. Carriers call the methods of `GatewayPort`, the node the others."""

    def __init__(
        self,
        number: SessionId,
        session: Session,
        connection: Connection,
        context: GatewayContext,
        limited_as: str,
    ) -> None:
        Sender.__init__(self, connection, context.sending)
        self.number = number
        self.limited_as = limited_as
        """The address as which it is counted."""
        self._counted_viewer: str | None = None
        self._session = session
        self._shared = context
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._decision: Decision[Any] | None = None
        self._entrance: Entrance | None = None
        """The request, until it is neither refused nor undecided."""

    @property
    def message_bytes(self) -> int:
        """The longest message that the client may send now."""
        return self._session.message_bytes

    def open(
        self,
        cursor: Cursor,
        schema: str,
        channels: Sequence[str],
        since: str | None,
        entrance: Entrance | None = None,
    ) -> None:
        """Send `hello`, and subscribe to the channels of the URL once it is known who the viewer is."""
        self._entrance = entrance
        asks = entrance is not None and self._shared.asks_requests
        if not asks and self._session.lacks_token:
            self._await_token()
        try:  # not `_attempt`: a handshake, and a message, would make a function for it
            self._perform(self._session.open(cursor, schema, channels, since, by_request=asks))
            if not asks:
                self._enter()
        except Exception as error:  # noqa: BLE001  # reported there
            self.fail(error)
        age = self._context.settings.connection_age_seconds
        if age < NEVER_SECONDS and not self._closed:
            # Those that a deploy moved at the same moment do not come back at the same moment.
            self._later("age", age * random.uniform(0.8, 1.2), partial(self.drain, 0))  # noqa: S311

    def received(self, message: str | bytes) -> None:
        """Process one message of the client."""
        try:
            self._perform(self._session.received(message, self._context.clock.monotonic()))
        except Exception as error:  # noqa: BLE001  # reported there
            self.fail(error)

    def withdraw(self, withdrawal: Withdrawal, cursor: Cursor) -> None:
        """End subscriptions, or have their guards asked again; `cursor` is the hub's position."""
        self._attempt(lambda: self._withdraw(withdrawal, cursor))

    def rows_failed(self, channel: str, error: RealtimeError, ref: int | None) -> None:
        """End a subscription whose rows cannot be sent."""
        self._attempt(lambda: self._perform(self._session.rows_failed(channel, error, ref)))

    def drain(self, reconnect_after_ms: int) -> None:
        """Close with `bye`: the client reconnects after so many milliseconds."""
        self._attempt(lambda: self._perform(self._session.drain(reconnect_after_ms)))

    def closed(self) -> None:
        """End: release everything of the connection, which is gone; idempotent."""
        if self._closed:
            return
        self._closed, self._outbox, self._entrance = True, None, None
        self._context.sweep.remove(self)
        self._session.ended()
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        if self._decision is not None:
            self._decision.drop()
            self._decision = None
        if self._counted_viewer is not None:
            self._shared.viewers.leave(self._counted_viewer, self)
            self._counted_viewer = None
        self._shared.hub.disconnect(self.number)

    def __str__(self) -> str:
        """Return the number, address and viewer of the connection, for log lines."""
        viewer = self._session.viewer
        name = "no viewer" if viewer is None else f"viewer {viewer.subject!r}"
        return f"{self._origin} ({name})"

    @property
    def _origin(self) -> str:
        address = None
        with suppress(Exception):  # also a connection whose every call fails has a name in the log
            address = self._connection.address
        return f"connection {self.number} from {address or 'an unknown address'}"

    def _perform(self, effects: Sequence[sessions.Effect]) -> None:
        for effect in effects:
            if self._closed:
                return
            self._perform_one(effect)

    def _perform_one(self, effect: sessions.Effect) -> None:
        # The first two without the members in their patterns: nearly all effects are of these.
        match effect:
            case sessions.Send():
                self._write(frames.alone(effect.message))
            case sessions.BeginSubscription():
                self._shared.hub.subscribe(
                    self.number,
                    effect.channels,
                    effect.since,
                    effect.ref,
                    rows=effect.rows,
                    oldest=effect.oldest,
                )
            case sessions.Authenticate(token):
                self._ask(
                    "authenticate",
                    partial(authenticate, self._shared.authorizer, token),
                    self._token_answered,
                )
            case sessions.AuthenticateRequest():
                self._ask_request()
            case sessions.Authorize(viewer, questions):
                self._ask(
                    "authorize",
                    partial(self._shared.guards.ask, viewer, questions),
                    partial(self._authorized, questions),
                )
            case sessions.Close(code, reason, last):
                self._close(code, reason, *last)
            case sessions.Join(channels):
                self._shared.presence.join(self.number, self._session.viewer, channels)
            case sessions.Leave(channels):
                self._shared.presence.leave(self.number, channels)
            case _:
                self._perform_at_hub(effect)

    def _perform_at_hub(self, effect: sessions.HubEffect) -> None:
        hub = self._shared.hub
        match effect:
            case sessions.ResetSubscription(channels, reason, ref):
                hub.reset_subscription(self.number, channels, reason, ref)
            case sessions.EndSubscription(channels):
                hub.unsubscribe(self.number, channels)
            case sessions.Hold():
                # A replay cannot be held back: the client reconnects, and its guards are asked.
                if not hub.hold(self.number):
                    self._perform(self._session.drain(0))
            case sessions.Release(since):
                if not hub.release(self.number, since):
                    self._perform(self._session.drain(0))
            case sessions.AwaitSettle(xid):
                hub.settle(self.number, xid)
            case _:
                assert_never(effect)

    def _ask(self, name: str, ask: Callable[[], Awaitable[A]], answered: Callable[[A], None]) -> None:
        """Start a decision; a session has at most one at a time."""
        self._decision = Decision(self._shared.supervisor, name, ask, answered, self._undecided)

    def _ask_request(self) -> None:
        authorizer, entrance = self._shared.authorizer, self._entrance
        assert entrance is not None
        assert isinstance(authorizer, RequestAuthorizer)
        self._later("request", self._context.settings.auth_timeout_seconds, self._request_deadline)
        ask = partial(authenticate_request, authorizer, entrance.handshake)
        self._ask("authenticate request", ask, self._request_answered)

    def _request_answered(self, answer: Viewer | BaseException | None) -> None:
        self._timers.pop("request").cancel()
        if answer is None:
            self._decision = None
            self._await_token()
            self._perform(self._session.unproven())
        else:
            self._authenticated(answer)
        self._enter()

    def _request_deadline(self) -> None:
        if self._decision is not None:
            self._decision.drop()
        seconds = self._context.settings.auth_timeout_seconds
        error = TimeoutError(f"authenticate_request did not answer within {seconds:g} s")
        self._attempt(lambda: self._authenticated(error))

    def _await_token(self) -> None:
        self._later("auth", self._context.settings.auth_timeout_seconds, self._auth_deadline)

    def _token_answered(self, answer: Viewer | BaseException) -> None:
        self._authenticated(answer)
        self._enter(is_token_checked=True)

    def _enter(self, *, is_token_checked: bool = False) -> None:
        """Have the carrier answer the request, unless its token is being checked; close if it is missing."""
        entrance = self._entrance
        if entrance is None or self._closed or (entrance.credential == "header" and not is_token_checked):
            return
        if entrance.credential == "absent" and self._session.lacks_token:
            self._token_refused("the request has none")
            self._perform([sessions.Close(4501, "a token is required")])
            return
        self._entrance = None
        entrance.decided()

    def _undecided(self, error: BaseException) -> None:
        # Without a decision the session would keep its client's messages for ever.
        self._decision = None
        self.fail(error)

    def _authenticated(self, answer: Viewer | BaseException) -> None:
        self._decision = None
        match answer:
            case Viewer():
                self._accept(answer)
            case TokenInvalid():
                self._token_refused(answer.reason)
                self._perform(self._session.rejected(answer))
            case _:  # keys that cannot be fetched, for example: the client may try again
                logger.error(
                    "%s: the authorizer failed; closed with 1011, the client resumes", self, exc_info=answer
                )
                self._perform([sessions.Close(1011, "authentication unavailable")])

    def _token_refused(self, reason: str) -> None:
        refusals = self._context.counts.refusals
        refusals["token"] += 1
        count = refusals["token"]
        level = logging.WARNING if is_notable(count) else logging.INFO
        logger.log(level, "%s: token refused (%d since the start): %s", self, count, reason)

    def _withdraw(self, withdrawal: Withdrawal, cursor: Cursor) -> None:
        effects = self._session.withdraw(withdrawal, cursor)
        ends = [effect for effect in effects if isinstance(effect, sessions.EndSubscription)]
        ended = [name for end in ends for name in end.channels]
        if any(self._shared.hub.is_replaying(self.number, name) for name in ended):
            # The client waits for the answer to a request: it reconnects and asks again.
            self._perform(self._session.drain(0))
            return
        self._perform(effects)
        if withdrawal.ask and effects and not self._closed:
            # A guard may have read a replica that did not have the change yet.
            self._later("again", ASKED_ONCE_MORE_SECONDS, self._ask_again)

    def _ask_again(self) -> None:
        self._attempt(lambda: self._perform(self._session.ask_again()))

    def _accept(self, viewer: Viewer) -> None:
        """Pass a viewer to the session, and close the connection when its token ends."""
        if self._counted_viewer is None:
            if not self._shared.viewers.enter(viewer.subject, self):
                limit = self._shared.viewers.limit
                logger.info("%s: viewer %r has %d connections; closed", self, viewer.subject, limit)
                self._perform([sessions.Close(4504, f"at most {limit} connections of one viewer")])
                return
            self._counted_viewer = viewer.subject
        wall, longest = self._context.clock.wall(), self._context.settings.token_lifetime_seconds
        rest = None if viewer.expires_at is None else viewer.expires_at - wall
        # A token accepted after its end, because clocks differ, has the leeway left; others end in time.
        end = longest if rest is None else rest if rest > 0 else rest + viewer.leeway_seconds
        self._later("expiry", min(longest, end), self._expired)
        # Rounded down, but not to 0: the client renews at a part of this time.
        expires_in = None if rest is None else max(1, int(min(rest, longest)))
        self._perform(self._session.authenticated(viewer, expires_in))

    def _authorized(self, questions: tuple[GuardQuestion, ...], allowed: frozenset[str]) -> None:
        self._decision = None
        refused = [question.name for question in questions if question.name not in allowed]
        if refused:
            self._context.counts.refusals["guard"] += len(refused)
            names = ", ".join(refused[:_LOGGED])
            # Without the viewer: at this level, every reload of a page may write such a line.
            logger.info("%s: guards refused %d channels: %s", self._origin, len(refused), names)
        self._perform(self._session.authorized(allowed))

    def _auth_deadline(self) -> None:
        if not self._closed and self._session.lacks_token:
            self._token_refused("none has come in time")
        self._attempt(lambda: self._perform(self._session.auth_deadline()))

    def _expired(self) -> None:
        self._attempt(lambda: self._perform(self._session.expired()))

    def _later(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        if name in self._timers:
            self._timers[name].cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(max(0.0, seconds), call)
