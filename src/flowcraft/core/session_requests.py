"""Session requests: which names of one request a client may subscribe to, before any guard is asked."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from flowcraft.channels import Channels
from flowcraft.core.client_frames import OLDEST, Subscribe
from flowcraft.core.refusals import Refusals
from flowcraft.core.session_effects import BeginSubscription, GuardQuestion, ResetSubscription
from flowcraft.core.withdrawals import Withdrawal
from flowcraft.cursors import Cursor
from flowcraft.errors import ChannelNameInvalid, ChannelUnknown, CursorUnusable, LimitExceeded
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer


class PendingRequest(msgspec.Struct, frozen=True):
    """A subscription that waits for its guards; without a request, those whose guards are asked again."""

    request: Subscribe | None
    names: tuple[str, ...]
    questions: tuple[GuardQuestion, ...]


class JudgedRequest(msgspec.Struct):
    """The names of one request."""

    names: tuple[str, ...]
    """Those to subscribe to, if their guards allow it."""
    questions: tuple[GuardQuestion, ...]
    """For the guards of those that have one."""
    refusals: list[bytes]
    """The frames about the others."""


def judge(
    request: Subscribe,
    channels: Channels,
    settings: Settings,
    viewer: Viewer | None,
    subscribed: Collection[str],
) -> JudgedRequest:
    """Refuse unknown names, rows and members that there are not, and names after as many as have room."""
    refusals = Refusals(request.ref)
    names: list[str] = []
    questions: list[GuardQuestion] = []
    for name in request.channels:
        try:
            declaration, value = channels.resolve(name)
        except ChannelNameInvalid as error:
            refusals.invalid(name, error)
            continue
        except ChannelUnknown as error:
            hinted = settings.development and error.suggestion is not None
            refusals.forbid(name, f"; did you mean {error.suggestion!r}?" if hinted else "")
            continue
        is_guarded = declaration.guard is not None
        if is_guarded and viewer is None:
            refusals.forbid(name)  # a guard decides about a viewer: without one the channel is refused
        elif request.rows and declaration.row_key is None:
            refusals.has_no_rows(name)
        elif request.present and declaration.members_of is None:
            refusals.has_no_members(name)
        else:
            names.append(name)
            if is_guarded:
                questions.append(GuardQuestion(name, declaration, value))
    answers, limit = refusals.frames(), settings.channels_per_connection
    if len(subscribed) + len(names) > limit:
        excess = _without_room(names, subscribed, limit)
        if excess:
            full = LimitExceeded(f"at most {limit} channels per connection; unsubscribe some first")
            answers.append(refusals.limit(tuple(excess), full))
            names = [name for name in names if name not in excess]
            questions = [question for question in questions if question.name not in excess]
    return JudgedRequest(tuple(names), tuple(questions), answers)


def _without_room(names: list[str], subscribed: Collection[str], limit: int) -> dict[str, None]:
    """Return the names of a request, in their order, after as many as there is room for."""
    new = [name for name in names if name not in subscribed]
    return dict.fromkeys(new[max(0, limit - len(subscribed)) :])


def beginning(request: Subscribe, names: tuple[str, ...]) -> BeginSubscription | ResetSubscription:
    """Return how the hub begins a subscription: live, after a cursor, or with a reset if that is unusable."""
    since = request.since
    if since is None or (since == OLDEST and request.rows):
        return BeginSubscription(names, None, request.ref, request.rows)
    if since == OLDEST:
        return BeginSubscription(names, None, request.ref, oldest=True)
    try:
        return BeginSubscription(names, Cursor.parse(since), request.ref, request.rows)
    except CursorUnusable as error:
        if request.rows:
            return BeginSubscription(names, None, request.ref, rows=True)
        return ResetSubscription(names, error.reason, request.ref)


def question_of(name: str, channels: Channels) -> GuardQuestion:
    """Return the question for the guard of a channel, which may have none; it was subscribed to before."""
    return GuardQuestion(name, *channels.resolve(name))


def is_concerned(name: str, withdrawal: Withdrawal, channels: Channels) -> bool:
    """Return whether a withdrawal concerns a channel: that of its members goes with each channel."""
    if withdrawal.concerns(name):
        return True
    declaration = channels.resolve(name)[0]
    of = declaration.members_of
    return of is not None and withdrawal.concerns(of.prefix + name[len(declaration.prefix) :])
