"""Session: the server's side of the protocol for one connection, from its first frame to its last.

    opening --auth ok--> open --auth--> deciding --> open        every state --drain/violation--> closed
       |                  |--guarded subscribe--> deciding
       '--deadline--> closed

While a decision is pending (a token is checked, guards are called) later messages wait unparsed, so that an
`unsubscribe` never overtakes its `subscribe`. Before a required token every message but `auth` waits. Both
are bounded, see `waiting.py`. The session decides what this client may do; the hub decides what it receives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from flowcraft.channels import Channels
from flowcraft.core import frames
from flowcraft.core.client_frames import (
    Absent,
    Auth,
    ClientFrame,
    Settle,
    Subscribe,
    Unsubscribe,
    decode_client_frame,
    encode_subscribe,
    error_of,
)
from flowcraft.core.rates import FEWEST_NAMES, ClientRates, names_per_message
from flowcraft.core.refusals import Refusals
from flowcraft.core.session_effects import (
    Authenticate,
    AuthenticateRequest,
    Authorize,
    AwaitSettle,
    Close,
    Effect,
    EndSubscription,
    GuardQuestion,
    Hold,
    Join,
    Leave,
    Release,
    Send,
)
from flowcraft.core.session_requests import PendingRequest, beginning, is_concerned, judge, question_of
from flowcraft.core.waiting import (
    BEFORE_TOKEN,
    TOKEN_MESSAGE_BYTES,
    WaitingMessages,
    during_decision,
)
from flowcraft.core.withdrawals import Withdrawal
from flowcraft.cursors import Cursor
from flowcraft.errors import (
    BadRequest,
    LimitExceeded,
    RealtimeError,
    TokenExpired,
    TokenInvalid,
    TokenNotUsableYet,
)
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer


class Session:
    """The server's side of the protocol for one connection: it returns effects, and takes their results."""

    def __init__(self, channels: Channels, settings: Settings, *, token_required: bool) -> None:
        self._channels = channels
        self._settings = settings
        self._token_required = token_required
        self._viewer: Viewer | None = None
        self._subscribed: dict[str, None] = {}
        self._present: dict[str, None] = {}
        """Those of the subscribed channels on which the viewer is present."""
        self._suspended: dict[str, None] = {}
        """Subscriptions whose guard must be asked again before anything is sent."""
        self._held_since: Cursor | None = None
        """The hub's position when it began to hold back what it would send."""
        self._is_stale = False
        """Whether the guards that are asked now may have answered before a withdrawal."""
        self._waiting: WaitingMessages | None = None
        """Made for the first message that waits; most clients have none."""
        self._rates = ClientRates(settings)
        self._now = 0.0
        self._deciding = False
        self._pending: PendingRequest | None = None
        self._closed = False

    @property
    def viewer(self) -> Viewer | None:
        """The viewer that a token has proven; None before."""
        return self._viewer

    @property
    def message_bytes(self) -> int:
        """The longest message that the client may send now."""
        limit = self._settings.message_bytes
        return min(limit, TOKEN_MESSAGE_BYTES) if self._is_before_token else limit

    @property
    def waiting_bytes(self) -> int:
        """Bytes of messages that wait for a token or a decision."""
        return 0 if self._waiting is None else self._waiting.size

    def open(
        self,
        cursor: Cursor,
        schema: str,
        channels: Sequence[str] = (),
        since: str | None = None,
        *,
        by_request: bool = False,
    ) -> list[Effect]:
        """Send `hello`; `channels` and `since` are of the URL.

        `by_request`: whether the request proves a viewer is asked first.
        """
        heartbeat = self._settings.heartbeat_seconds
        effects: list[Effect] = [
            Send(frames.hello(schema=schema, heartbeat_seconds=heartbeat, cursor=cursor))
        ]
        if by_request:
            self._deciding = True
            effects.append(AuthenticateRequest())
        if channels:
            request = Subscribe(tuple(dict.fromkeys(channels)), since)
            waits = self._deciding or (self._token_required and self._viewer is None)
            effects += self._keep(encode_subscribe(request)) if waits else self._subscribe(request)
        return effects

    def received(self, message: str | bytes, now: float = 0.0) -> list[Effect]:
        """Process one message of the client, or keep it until a token or a decision arrives.

        `now` is monotonic, in seconds. A client that sends more than its rates allow is closed.
        """
        if self._closed:
            return []
        self._now = now
        excess = self._rates.excess_of_bytes(len(message), now)
        if excess is not None:
            return self._close(4429, excess)
        if not self._deciding and not self._is_before_token:
            return self._process(message)
        encoded = message.encode() if isinstance(message, str) else message
        return self._before_token(encoded) if self._is_before_token else self._keep(encoded)

    def authenticated(self, viewer: Viewer, expires_in: int | None = None) -> list[Effect]:
        """Go on: the token is valid, for so many seconds.

        A further token of the same viewer has the guards of all subscriptions asked again, and as whom the
        viewer is present: a name may have changed.
        """
        if self._closed:
            return []
        if self._viewer is not None and viewer.subject != self._viewer.subject:
            return self._close(4401, "the token is of another viewer; reconnect")
        self._viewer = viewer
        self._deciding = False
        answer = Send(frames.authenticated(expires_in))
        joins = [Join(tuple(self._present))] if self._present else []
        return [answer, *joins, *self._ask_again(viewer, tuple(self._subscribed)), *self._continue()]

    def unproven(self) -> list[Effect]:
        """Go on: the request proves no viewer. What has arrived waits for a token, if one is required."""
        if self._closed:
            return []
        self._deciding = False
        if not self.lacks_token:
            return self._continue()
        arrived = () if self._waiting is None else self._waiting.take_all()
        effects: list[Effect] = []
        for message in arrived:
            if not self._closed:
                effects += self._before_token(message) if self._is_before_token else self._keep(message)
        return effects

    def rejected(self, error: TokenInvalid) -> list[Effect]:
        """Close: the token is invalid or expired, or cannot be checked yet."""
        if self._closed:
            return []
        code, reason = _REJECTIONS.get(type(error), _INVALID)
        return self._close(code, reason, frames.error(error))

    def authorized(self, allowed: frozenset[str]) -> list[Effect]:
        """Subscribe to the channels that the guards allow, and refuse the others or end them."""
        if self._closed:
            return []
        assert self._pending is not None
        pending = self._pending
        self._deciding, self._pending = False, None
        if self._is_stale and self._viewer is not None:
            return self._ask(self._viewer, pending.request, pending.names, pending.questions)
        guarded = {question.name for question in pending.questions}
        refused = [name for name in pending.names if name in guarded and name not in allowed]
        refusals = Refusals(None if pending.request is None else pending.request.ref)
        for name in refused:
            refusals.forbid(name)
        if pending.request is None:
            ended = self._end_subscriptions(refused)
            for name in guarded:
                self._suspended.pop(name, None)
            return [*ended, *_send(refusals), *self._continue()]
        allowed_names = tuple(name for name in pending.names if name not in refused)
        return [*_send(refusals), *self._begin(pending.request, allowed_names), *self._continue()]

    def withdraw(self, withdrawal: Withdrawal, cursor: Cursor) -> list[Effect]:
        """End subscriptions, or hold back all events after the cursor until their guards have answered.

        All: a client that is sent the position of another channel's event would resume from there. A guard
        that is being asked may have answered before the withdrawal: it is asked again.
        """
        viewer = self._viewer
        if self._closed or viewer is None or withdrawal.viewer not in {None, viewer.subject}:
            return []
        if self._pending is not None:
            asked = [question.name for question in self._pending.questions]
            self._is_stale |= any(is_concerned(name, withdrawal, self._channels) for name in asked)
        names = [name for name in self._subscribed if is_concerned(name, withdrawal, self._channels)]
        if not withdrawal.ask:
            refusals = Refusals(None)
            for name in names:
                refusals.forbid(name)
            return [*self._end_subscriptions(names), *_send(refusals)]
        guarded = [name for name in names if question_of(name, self._channels).declaration.guard is not None]
        self._suspended.update(dict.fromkeys(guarded))
        effects: list[Effect] = []
        if guarded and self._held_since is None:
            self._held_since = cursor
            effects.append(Hold())
        return [*effects, *([] if self._deciding else self._ask_suspended())]

    def rows_failed(self, channel: str, error: RealtimeError, ref: int | None) -> list[Effect]:
        """End a subscription whose rows cannot be sent."""
        if self._closed:
            return []
        return [*self._end_subscriptions((channel,)), Send(frames.error(error, channel=channel, ref=ref))]

    def ask_again(self) -> list[Effect]:
        """Ask the guards of all subscriptions again, unless a decision is pending, which asks them too."""
        if self._closed or self._deciding or self._viewer is None:
            return []
        return self._ask_again(self._viewer, tuple(self._subscribed))

    def auth_deadline(self) -> list[Effect]:
        """Close: no token has arrived in time. First answer malformed messages, which may explain why."""
        if self._closed or not self.lacks_token:
            return []
        errors = [error for message in self._waiting or () if (error := error_of(message)) is not None]
        return [*map(Send, map(frames.error, errors)), *self._close(4501, "no token in time")]

    def expired(self) -> list[Effect]:
        """Close: the viewer's token has expired."""
        return [] if self._closed else self._close(4401, "token expired")

    def drain(self, reconnect_after_ms: int) -> list[Effect]:
        """Close with `bye`: the client reconnects after so many milliseconds."""
        if self._closed:
            return []
        return self._close(1012, "restart", frames.bye(reconnect_after_ms))

    def ended(self) -> None:
        """End: the connection is gone, and its messages are dropped."""
        self._end()

    @property
    def lacks_token(self) -> bool:
        """Whether no token was accepted, where one is required."""
        return self._token_required and self._viewer is None

    @property
    def _is_before_token(self) -> bool:
        """Whether no token has arrived, where one is required."""
        return self.lacks_token and not self._deciding

    def _before_token(self, message: bytes) -> list[Effect]:
        if len(message) > self.message_bytes:
            return self._close(1009, f"message too big: at most {self.message_bytes} bytes before a token")
        try:
            frame = decode_client_frame(message)
        except BadRequest:
            frame = None  # answered after a token: a client without one gets no answers
        return self._handle(frame) if isinstance(frame, Auth) else self._keep(message)

    def _keep(self, message: bytes) -> list[Effect]:
        """Have a message wait for a token or a decision."""
        if self._waiting is None:
            self._waiting = WaitingMessages()
        bounds = BEFORE_TOKEN if self._is_before_token else during_decision(self._settings)
        if self._waiting.put(message, bounds):
            return []
        return self._close(4429, f"{bounds} may wait {bounds.reason}")

    def _continue(self) -> list[Effect]:
        effects: list[Effect] = [] if self._deciding else self._ask_suspended() or self._release()
        waiting = self._waiting
        while waiting and not self._deciding and not self._closed:
            effects += self._process(waiting.take())
        return effects

    def _process(self, message: str | bytes) -> list[Effect]:
        frame: ClientFrame | BadRequest
        try:
            frame = decode_client_frame(message)
        except BadRequest as error:
            frame = error
        excess = self._rates.excess_of_messages(self._now, is_auth=isinstance(frame, Auth))
        if excess is not None:
            return self._close(4429, excess)
        return [Send(frames.error(frame))] if isinstance(frame, BadRequest) else self._handle(frame)

    def _handle(self, frame: ClientFrame) -> list[Effect]:
        match frame:
            case Auth(token):
                self._deciding = True
                return [Authenticate(token)]
            case Subscribe():
                return self._subscribe(frame)
            case Unsubscribe(channels):
                if len(channels) > names_per_message(self._settings):
                    return [Send(frames.error(self._too_many_names()))]
                return self._end_subscriptions(channels)
            case Absent(channels):
                return self._leave(channels)
            case Settle(xid):
                return [AwaitSettle(xid)]
        assert_never(frame)

    def _subscribe(self, request: Subscribe) -> list[Effect]:
        count = len(request.channels)
        if count > FEWEST_NAMES and count > names_per_message(self._settings):
            return [Send(frames.error(self._too_many_names(), ref=request.ref))]
        excess = self._rates.excess_of_joins(count, self._now)
        if excess is not None:
            return self._close(4429, excess)
        viewer = self._viewer
        judged = judge(request, self._channels, self._settings, viewer, self._subscribed)
        if judged.questions and viewer is not None:
            after = self._ask(viewer, request, judged.names, judged.questions)
        else:
            after = self._begin(request, judged.names)
        return [*map(Send, judged.refusals), *after] if judged.refusals else after

    def _ask_again(self, viewer: Viewer, names: tuple[str, ...]) -> list[Effect]:
        questions = [question_of(name, self._channels) for name in names]
        guarded = tuple(q for q in questions if q.declaration.guard is not None)
        return self._ask(viewer, None, tuple(q.name for q in guarded), guarded) if guarded else []

    def _ask(
        self,
        viewer: Viewer,
        request: Subscribe | None,
        names: tuple[str, ...],
        questions: tuple[GuardQuestion, ...],
    ) -> list[Effect]:
        self._deciding = True
        self._is_stale = False
        self._pending = PendingRequest(request, names, questions)
        return [Authorize(viewer, questions)]

    def _too_many_names(self) -> LimitExceeded:
        return LimitExceeded(f"at most {names_per_message(self._settings)} names in one request")

    def _end_subscriptions(self, channels: Sequence[str]) -> list[Effect]:
        for name in channels:
            self._subscribed.pop(name, None)
            self._suspended.pop(name, None)
        left = self._leave(channels)
        return [EndSubscription(tuple(channels)), *left] if channels else []

    def _leave(self, channels: Sequence[str]) -> list[Effect]:
        left = tuple(dict.fromkeys([name for name in channels if name in self._present]))
        for name in left:
            del self._present[name]
        return [Leave(left)] if left else []

    def _ask_suspended(self) -> list[Effect]:
        viewer = self._viewer
        return [] if viewer is None else self._ask_again(viewer, tuple(self._suspended))

    def _release(self) -> list[Effect]:
        """Have what was held back sent: every guard that had to be asked again has answered."""
        since, self._held_since = self._held_since, None
        return [] if since is None else [Release(since)]

    def _begin(self, request: Subscribe, names: tuple[str, ...]) -> list[Effect]:
        if not names:
            return []
        self._subscribed.update(dict.fromkeys(names))
        begun = beginning(request, names)
        if not request.present:
            return [begun]
        self._present.update(dict.fromkeys(names))
        return [begun, Join(names)]

    def _close(self, code: int, reason: str, *last: bytes) -> list[Effect]:
        self._end()
        return [Close(code, reason, last)]

    def _end(self) -> None:
        self._closed = True
        self._pending = self._waiting = None


_INVALID = 4500, "invalid token: secret, issuer, audience or clock differ, or none is wanted"
_REJECTIONS: dict[type[TokenInvalid], tuple[int, str]] = {
    TokenExpired: (4401, "token expired"),
    TokenNotUsableYet: (4401, "the token cannot be checked yet; try again"),
}


def _send(refusals: Refusals) -> list[Effect]:
    return [*map(Send, refusals.frames())]
