"""Session: the server's side of the protocol for one connection, from its first frame to its last.

    opening --auth ok--> open --auth--> deciding --> open        every state --drain/violation--> closed
       |                  |--guarded subscribe--> deciding
       '--deadline--> closed

While a decision is pending (a token is checked, a guard is asked) later messages wait unparsed, so that an
`unsubscribe` never overtakes its `subscribe`. Before a required token everything but `auth` waits. Both are
bounded, see `waiting.py`. The session decides what this client may do; the hub
decides what it receives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias, assert_never
from uuid import UUID

from flowcraft.channels import Channels, Declaration
from flowcraft.core import frames
from flowcraft.core.frames import Auth, ClientFrame, Settle, Subscribe, Unsubscribe
from flowcraft.core.waiting import (
    BEFORE_TOKEN,
    DURING_DECISION,
    TOKEN_MESSAGE_BYTES,
    Bounds,
    WaitingMessages,
)
from flowcraft.cursors import Cursor, ResetReason
from flowcraft.errors import (
    BadRequest,
    ChannelNameInvalid,
    ChannelUnknown,
    CursorMalformed,
    LimitExceeded,
    RealtimeError,
    TokenExpired,
    TokenInvalid,
)
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer


class Forbidden(RealtimeError):
    """Unknown and not allowed alike: a client learns nothing about channels it may not see."""

    code = "forbidden"

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(f"channel {name!r} is not declared, or you may not watch it{hint}")


@dataclass(frozen=True, slots=True)
class Send:
    """Send one control frame."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Check a token; come back with `authenticated` or `rejected`."""

    token: str


@dataclass(frozen=True, slots=True)
class GuardQuestion:
    """One guarded channel, and the value of its parameter."""

    name: str
    declaration: Declaration
    value: UUID | int | str | None


@dataclass(frozen=True, slots=True)
class Authorize:
    """Ask the guards; come back with `authorized`."""

    viewer: Viewer
    questions: tuple[GuardQuestion, ...]


@dataclass(frozen=True, slots=True)
class BeginSubscription:
    """Subscribe at the hub."""

    channels: tuple[str, ...]
    since: Cursor | None
    ref: int | None


@dataclass(frozen=True, slots=True)
class ResetSubscription:
    """Subscribe at the hub from its position, with a reset: the client's cursor cannot be used."""

    channels: tuple[str, ...]
    reason: ResetReason
    ref: int | None


@dataclass(frozen=True, slots=True)
class EndSubscription:
    """Unsubscribe at the hub."""

    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AwaitSettle:
    """Ask the hub about a transaction."""

    xid: int


@dataclass(frozen=True, slots=True)
class Close:
    """End the connection, after the last frames."""

    code: int
    reason: str
    last: tuple[bytes, ...] = ()


Effect: TypeAlias = (
    Send
    | Authenticate
    | Authorize
    | BeginSubscription
    | ResetSubscription
    | EndSubscription
    | AwaitSettle
    | Close
)


@dataclass(frozen=True, slots=True)
class _Pending:
    """A subscription that waits for its guards."""

    request: Subscribe
    names: tuple[str, ...]
    guarded: frozenset[str]


class Session:
    """The server's side of the protocol for one connection. Pure: effects out, decisions back in."""

    def __init__(self, channels: Channels, settings: Settings, *, token_required: bool) -> None:
        self._channels = channels
        self._settings = settings
        self._token_required = token_required
        self._viewer: Viewer | None = None
        self._followed: dict[str, None] = {}
        self._waiting = WaitingMessages()
        self._deciding = False
        self._pending: _Pending | None = None
        self._closed = False

    @property
    def viewer(self) -> Viewer | None:
        """Who this is, once a token has proven it."""
        return self._viewer

    @property
    def message_bytes(self) -> int:
        """The longest message that the client may send now."""
        limit = self._settings.message_bytes
        return min(limit, TOKEN_MESSAGE_BYTES) if self._is_before_token else limit

    @property
    def waiting_bytes(self) -> int:
        """Bytes of messages that wait for a token or a decision."""
        return self._waiting.size

    def open(
        self, cursor: Cursor, schema: str, channels: Sequence[str] = (), since: str | None = None
    ) -> list[Effect]:
        """Greet the client; `channels` are those named in the URL."""
        heartbeat = self._settings.heartbeat_seconds
        greeting = Send(frames.hello(schema=schema, heartbeat_seconds=heartbeat, cursor=cursor))
        if not channels:
            return [greeting]
        request = Subscribe(tuple(dict.fromkeys(channels)), since)
        if self._is_before_token:
            return [greeting, *self._wait(frames.encode_subscribe(request), BEFORE_TOKEN)]
        return [greeting, *self._handle(request)]

    def received(self, message: str | bytes) -> list[Effect]:
        """Take one message of the client: act on it now, or keep it until a token or a decision is there."""
        if self._closed:
            return []
        if not self._deciding and not self._is_before_token:
            return self._act(message)
        encoded = message.encode() if isinstance(message, str) else message
        return self._before_token(encoded) if self._is_before_token else self._wait(encoded, self._behind)

    def authenticated(self, viewer: Viewer) -> list[Effect]:
        """The token was good."""
        if self._closed:
            return []
        self._viewer = viewer
        self._deciding = False
        return self._continue()

    def rejected(self, error: TokenInvalid) -> list[Effect]:
        """The token was not good."""
        if self._closed:
            return []
        code, reason = (4401, "token expired") if isinstance(error, TokenExpired) else (4500, "invalid token")
        return self._close(code, reason, frames.error(error))

    def authorized(self, allowed: frozenset[str]) -> list[Effect]:
        """The guards have answered: these names may be followed."""
        if self._closed:
            return []
        assert self._pending is not None
        pending = self._pending
        self._deciding, self._pending = False, None
        refused = [name for name in pending.names if name in pending.guarded and name not in allowed]
        followed = tuple(name for name in pending.names if name not in refused)
        return [
            *(self._forbid(name, pending.request.ref) for name in refused),
            *self._follow(pending.request, followed),
            *self._continue(),
        ]

    def auth_deadline(self) -> list[Effect]:
        """The time for the first token is over. Waiting messages whose turn never came may explain why."""
        if self._closed or not self._lacks_token:
            return []
        answers = [answer for message in self._waiting for answer in _malformed(message)]
        return [*answers, *self._close(4501, "no token in time")]

    def expired(self) -> list[Effect]:
        """The viewer's token has run out."""
        return [] if self._closed else self._close(4401, "token expired")

    def drain(self, reconnect_after_ms: int) -> list[Effect]:
        """Send the client away, to come back later."""
        if self._closed:
            return []
        return self._close(1012, "restart", frames.bye(reconnect_after_ms))

    def ended(self) -> None:
        """The connection is gone: keep nothing of what the client sent."""
        self._end()

    @property
    def _lacks_token(self) -> bool:
        """Whether no token was accepted, where one is required."""
        return self._token_required and self._viewer is None

    @property
    def _is_before_token(self) -> bool:
        """Whether not even a token to check has come."""
        return self._lacks_token and not self._deciding

    @property
    def _behind(self) -> Bounds:
        """What may wait during a decision: any one message that may come at all, and usually much more."""
        return replace(DURING_DECISION, bytes=max(DURING_DECISION.bytes, self._settings.message_bytes))

    def _before_token(self, message: bytes) -> list[Effect]:
        if len(message) > self.message_bytes:
            return self._close(1009, f"at most {self.message_bytes} bytes a message before a token")
        try:
            frame = frames.decode_client_frame(message)
        except BadRequest:
            frame = None  # it is answered in its turn: a stranger costs no answers
        return self._handle(frame) if isinstance(frame, Auth) else self._wait(message, BEFORE_TOKEN)

    def _wait(self, message: bytes, bounds: Bounds) -> list[Effect]:
        if self._waiting.put(message, bounds):
            return []
        what_for = "before a token; send auth first" if self._is_before_token else "for a token or a guard"
        return self._close(4429, f"{bounds} may wait {what_for}")

    def _continue(self) -> list[Effect]:
        effects: list[Effect] = []
        while self._waiting and not self._deciding and not self._closed:
            effects += self._act(self._waiting.take())
        return effects

    def _act(self, message: str | bytes) -> list[Effect]:
        try:
            return self._handle(frames.decode_client_frame(message))
        except BadRequest as error:
            return [Send(frames.error(error))]

    def _handle(self, frame: ClientFrame) -> list[Effect]:
        match frame:
            case Auth(token):
                self._deciding = True
                return [Authenticate(token)]
            case Subscribe():
                return self._subscribe(frame)
            case Unsubscribe(channels):
                for name in channels:
                    self._followed.pop(name, None)
                return [EndSubscription(channels)]
            case Settle(xid):
                return [AwaitSettle(xid)]
        assert_never(frame)

    def _subscribe(self, request: Subscribe) -> list[Effect]:
        refusals: list[Effect] = []
        names: list[str] = []
        questions: list[GuardQuestion] = []
        for name in request.channels:
            try:
                declaration, value = self._channels.resolve(name)
            except (ChannelUnknown, ChannelNameInvalid) as error:
                refusals.append(self._refuse(name[:64], error, request.ref))
                continue
            if declaration.guard is not None and self._viewer is None:
                # A guard needs a viewer to decide about: without one the answer is no.
                refusals.append(self._forbid(name, request.ref))
                continue
            names.append(name)
            if declaration.guard is not None:
                questions.append(GuardQuestion(name, declaration, value))
        if not questions or self._viewer is None:
            return [*refusals, *self._follow(request, tuple(names))]
        self._deciding = True
        self._pending = _Pending(request, tuple(names), frozenset(q.name for q in questions))
        return [*refusals, Authorize(self._viewer, tuple(questions))]

    def _refuse(self, name: str, error: ChannelUnknown | ChannelNameInvalid, ref: int | None) -> Effect:
        if isinstance(error, ChannelNameInvalid):
            return Send(frames.error(error, channel=name, ref=ref))
        hinted = self._settings.development and error.suggestion is not None
        return self._forbid(name, ref, f"; did you mean {error.suggestion!r}?" if hinted else "")

    def _forbid(self, name: str, ref: int | None, hint: str = "") -> Effect:
        return Send(frames.error(Forbidden(name, hint), channel=name, ref=ref))

    def _follow(self, request: Subscribe, names: tuple[str, ...]) -> list[Effect]:
        if not names:
            return []
        limit = self._settings.channels_per_connection
        if len(self._followed.keys() | set(names)) > limit:
            excess = LimitExceeded(f"at most {limit} channels per connection; unsubscribe some first")
            return [Send(frames.error(excess, channel=name, ref=request.ref)) for name in names]
        self._followed.update(dict.fromkeys(names))
        if request.since is None:
            return [BeginSubscription(names, None, request.ref)]
        try:
            return [BeginSubscription(names, Cursor.parse(request.since), request.ref)]
        except CursorMalformed:
            return [ResetSubscription(names, "malformed", request.ref)]

    def _close(self, code: int, reason: str, *last: bytes) -> list[Effect]:
        self._end()
        return [Close(code, reason, last)]

    def _end(self) -> None:
        self._closed = True
        self._pending = None
        self._waiting.clear()


def _malformed(message: bytes) -> list[Effect]:
    """Answer a message if it is none of the protocol."""
    try:
        frames.decode_client_frame(message)
    except BadRequest as error:
        return [Send(frames.error(error))]
    return []
