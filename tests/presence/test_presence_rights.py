"""Presence and rights: who may no longer be on a channel is not among its members either."""

from __future__ import annotations

import pytest

from flowcraft.channels import Channels
from flowcraft.core import session_effects as sessions
from flowcraft.core.session import Session
from flowcraft.core.withdrawals import Withdrawal
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.events import Event
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

pytestmark = pytest.mark.pure
HERE = Cursor(Lineage(1, 1, 0), Snapshot(700))


class Step(Event):
    pass


class Person(Event):
    id: str


def opened(*, guarded: bool = True) -> Session:
    """Return the session of Ada, who is present on the runs 7 and 8."""
    channels = Channels()
    run = channels.declare("runs.{run_id}", Step, params={"run_id": int}, presence=Person)
    run.present(lambda viewer: Person(id=viewer.subject))
    if guarded:
        run.guard(lambda viewer, run_id: True)
    session = Session(channels, Settings(), token_required=False)
    session.open(HERE, "0")
    session.received('{"auth":"a"}')
    session.authenticated(Viewer("ada"))
    effects = session.received('{"subscribe":["runs_members.7","runs_members.8"],"rows":true,"present":true}')
    if guarded:
        (asked,) = effects
        assert isinstance(asked, sessions.Authorize)
        effects = session.authorized(frozenset({"runs_members.7", "runs_members.8"}))
    assert effects[-1] == sessions.Join(("runs_members.7", "runs_members.8"))
    return session


@pytest.mark.parametrize(
    ("channel", "left"),
    [
        ("runs.7", ("runs_members.7",)),
        ("runs_members.7", ("runs_members.7",)),
        ("runs.*", ("runs_members.7", "runs_members.8")),
        (None, ("runs_members.7", "runs_members.8")),
        ("runs.9", ()),
        ("run.*", ()),
    ],
)
@pytest.mark.parametrize("viewer", ["ada", None])
def test_a_right_that_is_revoked_ends_presence(
    channel: str | None, left: tuple[str, ...], viewer: str | None
) -> None:
    effects = opened().withdraw(Withdrawal(viewer, channel, ask=False), HERE)
    assert [effect for effect in effects if not isinstance(effect, sessions.Send)] == (
        [sessions.EndSubscription(left), sessions.Leave(left)] if left else []
    )


def test_a_guard_that_is_asked_again_and_refuses_ends_presence() -> None:
    session = opened()
    hold, asked = session.withdraw(Withdrawal("ada", "runs.7", ask=True), HERE)
    assert isinstance(hold, sessions.Hold)
    assert isinstance(asked, sessions.Authorize)
    assert [question.name for question in asked.questions] == ["runs_members.7"]
    assert sessions.Leave(("runs_members.7",)) in session.authorized(frozenset())


def test_who_is_absent_and_who_unsubscribes_leaves_once() -> None:
    session = opened(guarded=False)
    absent = '{"absent":["runs_members.7","runs_members.7","runs_members.9"]}'
    assert session.received(absent) == [sessions.Leave(("runs_members.7",))]
    assert session.received(absent) == []
    ended = ("runs_members.7", "runs_members.8")
    assert session.received('{"unsubscribe":["runs_members.7","runs_members.8"]}') == [
        sessions.EndSubscription(ended),
        sessions.Leave(("runs_members.8",)),
    ]


def test_presence_is_asked_of_channels_of_members_alone() -> None:
    session = opened(guarded=False)
    (answer,) = session.received('{"subscribe":["runs.7","runs.8"],"present":true,"ref":1}')
    assert isinstance(answer, sessions.Send)
    assert b'"code":"bad_request"' in answer.message
    assert b"these channels have no members" in answer.message


@pytest.mark.parametrize(
    "frame",
    [
        '{"absent":"runs_members.7"}',
        '{"absent":[7]}',
        '{"absent":["runs_members.7"],"unsubscribe":["runs_members.7"]}',
        '{"subscribe":["runs_members.7"],"present":1}',
        '{"present":["runs_members.7"]}',
    ],
)
def test_a_malformed_frame_is_answered_and_changes_nothing(frame: str) -> None:
    (answer,) = opened(guarded=False).received(frame)
    assert isinstance(answer, sessions.Send)
    assert b'"code":"bad_request"' in answer.message
