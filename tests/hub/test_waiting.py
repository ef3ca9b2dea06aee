"""What waits of one client: how much before a token and during a decision, and what becomes of it."""

from __future__ import annotations

import json

import msgspec
import pytest

from flowcraft.channels import Channels
from flowcraft.core import frames
from flowcraft.core.session import Session
from flowcraft.core.session_effects import Authenticate, AwaitSettle, BeginSubscription, Close, Effect, Send
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import TokenInvalid
from flowcraft.events import Event
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

ADA = Viewer("ada")
HERE = Cursor(Lineage(1, 1, 0), Snapshot(700))
KIB = 1024
NO_TOKEN_YET = Close(4429, "at most 16 messages and 4096 bytes may wait before a token; send auth first")
UNDECIDED = Close(4429, "at most 256 messages and 262144 bytes may wait during a token check or guard")


class Changed(Event):
    """Something changed."""


channels = Channels()
channels.declare("run_update", Changed)
secret = channels.declare("secrets.{secret_id}", Changed, params={"secret_id": int})


@secret.guard
def may_watch(viewer: Viewer, secret_id: int) -> bool:
    return viewer.subject == "ada" and secret_id == 1


def stranger(message_bytes: int = 64 * KIB) -> Session:
    """A session that needs a token and has none."""
    return Session(channels, Settings(message_bytes=message_bytes), token_required=True)


def undecided(how: str) -> Session:
    """A session that waits for a decision."""
    session = Session(channels, Settings(), token_required=how == "required token")
    assert session.received('{"auth":"t"}') == [Authenticate("t")]
    if how == "guard":
        assert session.authenticated(ADA) == [Send(frames.authenticated(None))]
        assert len(session.received('{"subscribe":["secrets.1"]}')) == 1
    return session


def sized(size: int, **frame: object) -> str:
    """A message of so many bytes, white space included."""
    text = json.dumps(frame)
    return text + " " * (size - len(text))


def settle(size: int = 15) -> str:
    return sized(size, settle="1")


def fed(session: Session, *messages: str | bytes) -> list[Effect]:
    return [effect for message in messages for effect in session.received(message)]


def error(effect: Effect) -> tuple[str, str]:
    assert isinstance(effect, Send)
    frame = msgspec.json.decode(effect.message)["error"]
    return frame["code"], frame["message"]


@pytest.mark.parametrize(
    ("messages", "effects", "waiting"),
    [
        ([settle()] * 16, [], 16 * 15),
        ([settle()] * 17, [NO_TOKEN_YET], 0),
        ([settle(4 * KIB)], [], 4 * KIB),
        ([settle(4 * KIB + 1)], [NO_TOKEN_YET], 0),
        ([settle(4 * KIB - 15), settle(15)], [], 4 * KIB),
        ([settle(4 * KIB - 15), settle(16)], [NO_TOKEN_YET], 0),
        ([settle(256)] * 16, [], 4 * KIB),
        (["not JSON"] * 16, [], 16 * 8),
        (["not JSON"] * 17, [NO_TOKEN_YET], 0),
        (["\N{GRINNING FACE}" * KIB], [], 4 * KIB),
        (["\N{GRINNING FACE}" * KIB + "!"], [NO_TOKEN_YET], 0),
        ([b"\xff" * 4 * KIB], [], 4 * KIB),
        ([settle(16 * KIB)], [NO_TOKEN_YET], 0),
        ([settle(16 * KIB + 1)], [Close(1009, "message too big: at most 16384 bytes before a token")], 0),
        ([settle(4 * KIB + 1), settle()], [NO_TOKEN_YET], 0),
    ],
)
def test_before_a_token_sixteen_messages_and_four_kib_wait_and_one_more_closes(
    messages: list[str | bytes], effects: list[Effect], waiting: int
) -> None:
    session = stranger()
    assert fed(session, *messages) == effects
    assert session.waiting_bytes == waiting
    assert fed(session, '{"auth":"t"}') == ([] if effects else [Authenticate("t")])


@pytest.mark.parametrize(("channels_bytes", "effects"), [(4 * KIB, []), (4 * KIB + 1, [NO_TOKEN_YET])])
def test_the_channels_of_the_url_count_among_what_waits(channels_bytes: int, effects: list[Effect]) -> None:
    session = stranger()
    name = "x" * (channels_bytes - len('{"subscribe":[""]}'))
    hello, *rest = session.open(HERE, "abc", [name])
    assert isinstance(hello, Send)
    assert rest == effects
    assert session.waiting_bytes == (0 if effects else channels_bytes)


@pytest.mark.parametrize(
    ("size", "effects"),
    [
        (16 * KIB, [Authenticate("t")]),
        (16 * KIB + 1, [Close(1009, "message too big: at most 16384 bytes before a token")]),
    ],
)
def test_a_token_is_taken_in_a_message_of_sixteen_kib_and_not_of_more(
    size: int, effects: list[Effect]
) -> None:
    session = stranger()
    assert fed(session, settle(4 * KIB), sized(size, auth="t")) == effects


@pytest.mark.parametrize("how", ["required token", "token", "guard"])
@pytest.mark.parametrize(
    ("messages", "closes", "waiting"),
    [
        ([settle()] * 256, False, 256 * 15),
        ([settle()] * 257, True, 0),
        ([settle(64 * KIB)] * 4, False, 256 * KIB),
        ([settle(64 * KIB)] * 4 + ["x"], True, 0),
        ([settle(64 * KIB)] * 3 + [settle(64 * KIB + 1)], True, 0),
        (["not JSON"] * 256, False, 256 * 8),
        ([sized(64 * KIB, auth="t")] * 5, True, 0),
    ],
)
def test_during_a_decision_256_messages_and_256_kib_wait_and_one_more_closes(
    how: str, messages: list[str], closes: bool, waiting: int
) -> None:
    session = undecided(how)
    assert fed(session, *messages) == ([UNDECIDED] if closes else [])
    assert session.waiting_bytes == waiting


def test_any_one_message_that_may_come_may_wait_for_a_decision() -> None:
    session = stranger(message_bytes=1024 * KIB)
    assert fed(session, '{"auth":"t"}', settle(1024 * KIB)) == [Authenticate("t")]
    assert session.waiting_bytes == 1024 * KIB


@pytest.mark.parametrize(
    ("state", "longest"),
    [("before a token", 16 * KIB), ("checked", 64 * KIB), ("accepted", 64 * KIB), ("not required", 64 * KIB)],
)
def test_longer_messages_may_come_once_a_token_has(state: str, longest: int) -> None:
    session = stranger()
    if state == "not required":
        session = Session(channels, Settings(), token_required=False)
    elif state != "before a token":
        fed(session, '{"auth":"t"}')
    if state == "accepted":
        session.authenticated(ADA)
    assert session.message_bytes == longest


def test_a_setting_for_shorter_messages_holds_before_a_token_too() -> None:
    assert stranger(message_bytes=1000).message_bytes == 1000


def test_where_no_token_is_required_nothing_waits_before_one() -> None:
    session = Session(channels, Settings(), token_required=False)
    assert fed(session, *[settle(64 * KIB)] * 16) == [AwaitSettle(1)] * 16
    assert session.waiting_bytes == 0


def test_what_waits_is_kept_as_it_came_and_acted_on_in_order() -> None:
    session = stranger()
    session.open(HERE, "abc", ["run_update"], "1/1.0/690:688")
    assert fed(session, "nonsense", settle(), '{"auth":"t"}', '{"subscribe":["run_update"],"ref":7}') == [
        Authenticate("t")
    ]
    accepted, follow, answer, *rest = session.authenticated(ADA)
    assert accepted == Send(frames.authenticated(None))
    assert follow == BeginSubscription(
        ("run_update",), Cursor(Lineage(1, 1, 0), Snapshot(690, frozenset({688}))), None
    )
    assert error(answer) == ("bad_request", "not JSON; a frame is one JSON object")
    assert rest == [AwaitSettle(1), BeginSubscription(("run_update",), None, 7)]
    assert session.waiting_bytes == 0


def test_a_malformed_message_whose_turn_never_came_is_answered_before_the_close() -> None:
    session = stranger()
    fed(session, '{"auth":7}', settle(), "nonsense")
    first, second, close = session.auth_deadline()
    assert error(first) == (
        "bad_request",
        "not a frame of the protocol: Expected `str`, got `int` - at `$.auth`",
    )
    assert error(second) == ("bad_request", "not JSON; a frame is one JSON object")
    assert close == Close(4501, "no token in time")


@pytest.mark.parametrize("end", ["ended", "deadline", "rejected", "drained", "expired"])
def test_a_session_that_is_over_keeps_nothing_and_takes_no_decision(end: str) -> None:
    session = undecided("required token")
    fed(session, settle(4 * KIB))
    match end:
        case "ended":
            session.ended()
        case "deadline":
            session.auth_deadline()
        case "rejected":
            session.rejected(TokenInvalid())
        case "drained":
            session.drain(1)
        case _:
            session.expired()
    assert session.waiting_bytes == 0
    assert session.authenticated(ADA) == []
    assert session.rejected(TokenInvalid()) == []
    assert fed(session, settle()) == []
    assert session.viewer is None


def test_guards_that_answer_a_session_that_is_over_subscribe_to_nothing() -> None:
    session = undecided("guard")
    session.ended()
    assert session.authorized(frozenset({"secrets.1"})) == []
