"""A session: who may follow what, in which order, and how a conversation ends."""

from __future__ import annotations

import json

import msgspec
import pytest

from flowcraft.channels import Channels
from flowcraft.core import frames
from flowcraft.core.session import Session
from flowcraft.core.session_effects import (
    Authenticate,
    Authorize,
    AwaitSettle,
    BeginSubscription,
    Close,
    Effect,
    EndSubscription,
    GuardQuestion,
    ResetSubscription,
    Send,
)
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import LimitExceeded, TokenExpired, TokenInvalid, TokenNotUsableYet
from flowcraft.events import Event
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

ADA = Viewer("ada")
HERE = Cursor(Lineage(1, 1, 0), Snapshot(700))
SETTINGS = Settings()
ACCEPTED = Send(frames.authenticated(None))


class Changed(Event):
    """Something changed."""


channels = Channels()
channels.declare("run_update", Changed)
channels.declare("runs.{run_id}", Changed, params={"run_id": int})
secret = channels.declare("secrets.{secret_id}", Changed, params={"secret_id": int})


@secret.guard
def may_watch(viewer: Viewer, secret_id: int) -> bool:
    return viewer.subject == "ada" and secret_id == 1


def session(*, token_required: bool = False, settings: Settings = SETTINGS) -> Session:
    return Session(channels, settings, token_required=token_required)


def tell(session: Session, **frame: object) -> list[Effect]:
    return session.received(json.dumps(frame))


def errors(effects: list[Effect]) -> list[tuple[str, str | None]]:
    """Return code and channel of each error frame."""
    found = [msgspec.json.decode(e.message)["error"] for e in effects if isinstance(e, Send)]
    return [(error["code"], error.get("channel")) for error in found]


def question(name: str) -> GuardQuestion:
    return GuardQuestion(name, *channels.resolve(name))


def test_a_client_is_greeted_and_follows_the_channels_of_its_url() -> None:
    hello, follow = session().open(HERE, "abc", ["run_update", "run_update"])
    assert isinstance(hello, Send)
    assert msgspec.json.decode(hello.message) == {
        "hello": {"protocol": 1, "schema": "abc", "heartbeat": 25, "cursor": "1/1.0/700:"}
    }
    assert follow == BeginSubscription(("run_update",), None, None)


def test_a_subscription_follows_from_its_cursor() -> None:
    assert tell(session(), subscribe=["runs.42"], since="1/1.0/690:688", ref=3) == [
        BeginSubscription(("runs.42",), Cursor(Lineage(1, 1, 0), Snapshot(690, frozenset({688}))), 3)
    ]


@pytest.mark.parametrize(
    "cursor", ["", "700", "1/1.0/x:", "1/1.0/" + "9" * 21 + ":", "1/1.0/7:" + "1," * 40_000]
)
def test_a_cursor_that_is_none_of_ours_is_answered_with_malformed(cursor: str) -> None:
    assert tell(session(), subscribe=["run_update"], since=cursor) == [
        ResetSubscription(("run_update",), "malformed", None)
    ]


def test_unsubscribe_and_settle_pass_through() -> None:
    assert tell(session(), unsubscribe=["runs.42"]) == [EndSubscription(("runs.42",))]
    assert tell(session(), settle="757") == [AwaitSettle(757)]


@pytest.mark.parametrize("name", ["runz.1", "runs.x", "run_update.1", "runs", "secrets.1"])
def test_unknown_and_forbidden_channels_are_refused_alike(name: str) -> None:
    effects = tell(session(), subscribe=[name], ref=1)
    assert errors(effects) == [("forbidden", name)]
    (refusal,) = effects
    assert isinstance(refusal, Send)
    assert msgspec.json.decode(refusal.message)["error"]["message"] == (
        f"channel '{name}' is not declared, or you may not subscribe to it"
    )


def test_in_development_a_misspelt_channel_is_told_its_neighbour() -> None:
    (refusal,) = tell(session(settings=Settings(development=True)), subscribe=["runz.1"])
    assert isinstance(refusal, Send)
    assert b"did you mean 'runs.1'?" in refusal.message


def test_a_refused_channel_leaves_the_others_of_its_request_alone() -> None:
    effects = tell(session(), subscribe=["nope", "run_update", "Bad Name"], ref=4)
    assert errors(effects) == [("forbidden", "nope"), ("bad_channel", "Bad Name")]
    assert effects[-1] == BeginSubscription(("run_update",), None, 4)


def test_a_guarded_channel_asks_its_guard_and_follows_what_is_allowed() -> None:
    ada = session()
    assert tell(ada, auth="t") == [Authenticate("t")]
    assert ada.authenticated(ADA, 280) == [Send(frames.authenticated(280))]
    assert tell(ada, subscribe=["secrets.1", "run_update", "secrets.2"], ref=2) == [
        Authorize(ADA, (question("secrets.1"), question("secrets.2")))
    ]
    effects = ada.authorized(frozenset({"secrets.1"}))
    assert errors(effects) == [("forbidden", "secrets.2")]
    assert effects[-1] == BeginSubscription(("secrets.1", "run_update"), None, 2)


def test_frames_wait_in_line_while_a_decision_is_pending() -> None:
    ada = session()
    tell(ada, auth="t")
    assert tell(ada, subscribe=["secrets.1"]) == []
    assert tell(ada, unsubscribe=["secrets.1"]) == []
    assert ada.authenticated(ADA) == [ACCEPTED, Authorize(ADA, (question("secrets.1"),))]
    assert ada.authorized(frozenset({"secrets.1"})) == [
        BeginSubscription(("secrets.1",), None, None),
        EndSubscription(("secrets.1",)),
    ]


def test_where_a_token_is_required_nothing_is_served_before_it() -> None:
    nobody = session(token_required=True)
    assert len(nobody.open(HERE, "abc", ["run_update"])) == 1
    assert tell(nobody, subscribe=["runs.1"]) == []
    assert tell(nobody, auth="t") == [Authenticate("t")]
    assert nobody.authenticated(ADA) == [
        ACCEPTED,
        BeginSubscription(("run_update",), None, None),
        BeginSubscription(("runs.1",), None, None),
    ]


def test_without_a_required_token_in_time_the_connection_is_closed() -> None:
    assert session(token_required=True).auth_deadline() == [Close(4501, "no token in time")]
    assert session().auth_deadline() == []


@pytest.mark.parametrize(
    ("error", "close"),
    [
        (TokenExpired("exp is in the past"), (4401, "token expired")),
        (TokenNotUsableYet("unknown key"), (4401, "the token cannot be checked yet; try again")),
        (
            TokenInvalid(),
            (4500, "invalid token: secret, issuer, audience or clock differ, or none is wanted"),
        ),
    ],
)
def test_a_bad_token_is_answered_the_same_whatever_is_wrong_and_closes(
    error: TokenInvalid, close: tuple[int, str]
) -> None:
    nobody = session()
    tell(nobody, auth="t")
    refusal = frames.error(TokenInvalid())
    assert msgspec.json.decode(refusal) == {
        "error": {"code": "invalid_token", "message": "the token is not valid"}
    }
    assert nobody.rejected(error) == [Close(*close, (refusal,))]


def test_a_connection_follows_a_bounded_number_of_channels() -> None:
    greedy = session(settings=Settings(channels_per_connection=2))
    tell(greedy, subscribe=["runs.1", "runs.2"])
    assert errors(tell(greedy, subscribe=["runs.3"])) == [("limit_exceeded", "runs.3")]
    assert tell(greedy, subscribe=["runs.2"]) == [BeginSubscription(("runs.2",), None, None)]
    tell(greedy, unsubscribe=["runs.1"])
    assert tell(greedy, subscribe=["runs.3"]) == [BeginSubscription(("runs.3",), None, None)]


def test_one_request_too_many_names_is_served_as_far_as_there_is_room() -> None:
    greedy = session(settings=Settings(channels_per_connection=3))
    tell(greedy, subscribe=["runs.1"])
    effects = tell(greedy, subscribe=["runs.2", "runs.1", "runs.3", "runs.4", "runs.5"], ref=7)
    error = LimitExceeded("at most 3 channels per connection; unsubscribe some first")
    assert effects == [
        Send(frames.error(error, channels=("runs.4", "runs.5"), ref=7)),
        BeginSubscription(("runs.2", "runs.1", "runs.3"), None, 7),
    ]


def test_an_undeclared_name_is_refused_in_full_however_long_it_is() -> None:
    name = f"{'n' * 48}.{'i' * 64}"
    assert errors(tell(session(), subscribe=[name])) == [("forbidden", name)]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "Expected `object`"),
        ("{}", "exactly one of"),
        ('{"auth":"t","settle":"1"}', "exactly one of"),
        ('{"subscribe":"run_update"}', "$.subscribe"),
        ('{"subscribe":[1]}', "$.subscribe[0]"),
        ('{"settle":757}', "$.settle"),
        ('{"settle":"7e3"}', '"settle"'),
        ('{"publish":"x"}', "publish"),
        ('{"subscribe":["run_update"],"ref":"7"}', "$.ref"),
    ],
)
def test_a_bad_frame_is_answered_with_what_is_wrong_and_keeps_the_connection(message: str, told: str) -> None:
    client = session()
    (answer,) = client.received(message)
    assert isinstance(answer, Send)
    error = msgspec.json.decode(answer.message)["error"]
    assert error["code"] == "bad_request"
    assert told in error["message"]
    assert tell(client, settle="1") == [AwaitSettle(1)]


def test_a_drained_session_says_when_to_come_back_and_listens_no_more() -> None:
    client = session()
    assert client.drain(3200) == [Close(1012, "restart", (b'{"bye":{"reconnect_after_ms":3200}}',))]
    assert tell(client, settle="1") == []
    assert client.expired() == []


def test_a_further_token_asks_the_guards_of_all_subscriptions_again_and_ends_what_is_lost() -> None:
    ada = session()
    tell(ada, auth="t")
    ada.authenticated(ADA)
    tell(ada, subscribe=["secrets.1", "run_update", "secrets.2"], ref=2)
    ada.authorized(frozenset({"secrets.1", "secrets.2"}))
    assert tell(ada, auth="newer") == [Authenticate("newer")]
    renewed = Viewer("ada", {"team": "blue"})
    assert ada.authenticated(renewed, 280) == [
        Send(frames.authenticated(280)),
        Authorize(renewed, (question("secrets.1"), question("secrets.2"))),
    ]
    assert tell(ada, settle="1") == [], "messages wait for the guards"
    ended, refusal, settled = ada.authorized(frozenset({"secrets.1"}))
    assert ended == EndSubscription(("secrets.2",))
    assert errors([refusal]) == [("forbidden", "secrets.2")]
    assert settled == AwaitSettle(1)
    assert tell(ada, auth="third") == [Authenticate("third")]
    assert ada.authenticated(ADA) == [ACCEPTED, Authorize(ADA, (question("secrets.1"),))]


def test_a_token_of_another_viewer_closes_the_connection() -> None:
    ada = session()
    tell(ada, auth="t")
    ada.authenticated(ADA)
    tell(ada, auth="stolen")
    assert ada.authenticated(Viewer("bob")) == [Close(4401, "the token is of another viewer; reconnect")]
    assert tell(ada, settle="1") == []


@pytest.mark.parametrize("count", [2, 200])
def test_the_refused_names_of_a_request_are_in_one_frame_for_each_code(count: int) -> None:
    unknown, invalid = [f"runz.{n}" for n in range(count)], [f"Bad {n}" for n in range(count)]
    refusals = tell(
        session(), subscribe=[name for pair in zip(unknown, invalid, strict=True) for name in pair][:256]
    )
    names = [msgspec.json.decode(e.message)["error"]["channels"] for e in refusals if isinstance(e, Send)]
    assert names == [unknown[:128], invalid[:128]]


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe"])
def test_a_request_with_thousands_of_names_has_one_short_answer(kind: str) -> None:
    effects = tell(session(), **{kind: [f"a{n}" for n in range(8000)]}, ref=3)
    assert errors(effects) == [("limit_exceeded", None)]
    assert sum(len(e.message) for e in effects if isinstance(e, Send)) < 200


def test_the_channel_limit_is_checked_before_guards_are_asked() -> None:
    ada = session(settings=Settings(channels_per_connection=1))
    tell(ada, auth="t")
    ada.authenticated(ADA)
    refusal, question = tell(ada, subscribe=["secrets.1", "secrets.2", "secrets.3"])
    assert isinstance(refusal, Send)
    assert msgspec.json.decode(refusal.message)["error"]["channels"] == ["secrets.2", "secrets.3"]
    assert isinstance(question, Authorize)
    assert [asked.name for asked in question.questions] == ["secrets.1"]


@pytest.mark.parametrize(
    ("message", "passing"),
    [
        ('{"settle":"1"}', 256),
        ("", 256),
        ("{}", 256),
        ('{"unsubscribe":["runs.1"]}', 256),
        ('{"subscribe":["runs.1","runs.2"]}', 128),
        ('{"subscribe":["no.1","no.2","no.3","no.4"]}', 64),
        ('{"settle":"1"}' + " " * 60_000, 69),
        ('{"auth":"t"}', 16),
    ],
)
def test_a_client_that_floods_is_closed_and_one_that_waits_is_not(message: str, passing: int) -> None:
    def accepted(seconds_between: float, count: int) -> int:
        client = session(settings=Settings(messages_per_second=50))
        for n in range(count):
            effects = client.received(message, n * seconds_between)
            if isinstance(effects[-1], Close):
                assert effects[-1].code == 4429
                return n
            if isinstance(effects[-1], Authenticate):
                client.authenticated(ADA)
        return count

    assert accepted(0.0, 300) == passing
    assert accepted(1.0, 300) == 300
