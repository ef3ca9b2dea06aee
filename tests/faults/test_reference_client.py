"""The follower: it replays the golden conversations, and rejects a server that miscounts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from faults.histories import Began, Ended, History, Mark, Received, WasReset, tag_of
from faults.reference_client import FrameRejected, ReferenceClient
from flowcraft.cursors import Cursor

VECTORS = sorted((Path(__file__).parents[2] / "spec" / "vectors").glob("*.json"))
CONVERSATIONS = [json.loads(path.read_text()) for path in VECTORS]
OTHERS = ("rows-", "oldest", "presence")
START = Cursor.parse("1/1.0/700:")
HELLO = {"hello": {"protocol": 1, "schema": "0", "heartbeat": 25, "cursor": "1/1.0/700:"}}


class Client:
    """A follower in step with a script; its handlers are histories, whose rows are whole payloads."""

    def __init__(self) -> None:
        self.follower = ReferenceClient("probe", lambda payload: (json.dumps(json.loads(payload)), 1))
        self.histories: dict[str, History] = {}
        self.sent: list[object] = []
        self.tickets: dict[str, int] = {}

    def on_app(self, call: dict[str, str]) -> None:
        if "subscribe" in call:
            since = Cursor.parse(call["since"]) if "since" in call else None
            self.histories[call["as"]] = self.follower.subscribe(call["subscribe"], since)
        elif "unsubscribe" in call:
            request = self.follower.unsubscribe(self.histories[call["unsubscribe"]].channel, 0.0)
            self.sent += [request] if request else []
        else:
            self.tickets[call["settle"]] = self.follower.settle(int(call["settle"]))
        self.send()

    def on_server(self, frames: list[object]) -> None:
        for frame in frames:
            self.follower.received(json.dumps(frame).encode(), 0.0)
            self.send()

    def on_server_text(self, frames: list[str]) -> None:
        for frame in frames:
            self.follower.received(frame.encode(), 0.0)
            self.send()

    def on_client(self, frame: dict[str, object]) -> None:
        assert self.sent.pop(0) == frame

    def on_connect(self, how: dict[str, str]) -> None:
        if "token" in how:  # it is the probe that sends it, as soon as the connection is open
            self.sent.append({"auth": how["token"]})

    def on_disconnect(self, _: bool) -> None:
        self.follower.lost()

    def on_closed(self, _: int) -> None:
        self.follower.lost()

    def on_handlers(self, expected: dict[str, list[Any]]) -> None:
        for name, received in expected.items():
            # Rows that are gone and skipped events are counted, and are nothing that the harness judges.
            assert self.take(name) == [one for one in received if set(one) not in ({"gone"}, {"skipped"})]

    def on_settled(self, xid: str) -> None:
        assert self.follower.is_settled(self.tickets.pop(xid))

    def take(self, name: str) -> list[Any]:
        """What was received since the last look."""
        marks, self.histories[name].marks = self.histories[name].marks, []
        heard = [m for m in marks if isinstance(m, Received | WasReset)]
        return [{"reset": m.reason} if isinstance(m, WasReset) else json.loads(str(m.row)) for m in heard]

    def send(self) -> None:
        self.sent += self.follower.requests()


@pytest.mark.parametrize(
    "conversation",
    # The reference client asks for no rows, is present nowhere, and knows only cursors.
    [c for c in CONVERSATIONS if "plain" not in c and not c["name"].startswith(OTHERS)],
    ids=lambda c: str(c["name"]),
)
def test_a_golden_conversation(conversation: dict[str, Any]) -> None:
    client = Client()
    for step in conversation["steps"]:
        ((kind, value),) = step.items()
        handler = getattr(client, f"on_{kind}", None)
        if handler is not None:  # the other steps are the server's
            handler(value)
    assert client.sent == []
    assert {name: client.take(name) for name in client.histories} == {name: [] for name in client.histories}


def follower(*frames: object) -> ReferenceClient:
    made = ReferenceClient("probe", tag_of)
    made.subscribe("run_update", START)
    for frame in (HELLO, *frames):
        told(made, frame)
    return made


def told(client: ReferenceClient, frame: object, at: float = 0.0) -> None:
    client.received(json.dumps(frame).encode(), at)
    list(client.requests())


def event(n: int) -> dict[str, object]:
    return {"channel": "run_update", "payload": {"row": 1, "version": n}, "id": n}


SUBSCRIBED = {"subscribed": ["run_update"], "cursor": "1/1.0/700:", "n": 0, "ref": 1}


@pytest.mark.parametrize(
    "frame",
    [
        {"cursor": "1/1.0/702:", "n": 2},
        {"cursor": "1/1.0/702:", "n": 1, "sent": 2},
        {"subscribed": ["run_update"], "cursor": "1/1.0/702:", "n": 0, "ref": 1},
        {"reset": ["run_update"], "reason": "expired", "cursor": "1/1.0/702:"},
        {"cursor": 7, "n": 1},
        {"channel": "run_update", "id": 2},
        ["an", "array"],
    ],
)
def test_a_server_that_miscounts_or_stammers_is_rejected_and_asked_again(frame: object) -> None:
    client = follower(SUBSCRIBED, event(1))
    with pytest.raises(FrameRejected):
        told(client, frame)
    client.lost()
    told(client, HELLO)
    client.lost()
    client.received(json.dumps(HELLO).encode(), 0.0)
    assert [request["since"] for request in client.requests()] == ["1/1.0/700:"]


def test_the_total_counts_the_events_of_the_connection() -> None:
    client = follower(SUBSCRIBED, event(1), {"cursor": "1/1.0/702:", "n": 1, "sent": 1}, event(2))
    told(client, {"cursor": "1/1.0/703:", "n": 1, "sent": 2})
    client.lost()
    told(client, HELLO)
    told(client, {"cursor": "1/1.0/703:", "n": 0, "sent": 0})


def test_a_frame_of_a_later_version_is_ignored_and_one_before_hello_is_not() -> None:
    told(follower(SUBSCRIBED), {"later": 1, "cursor": "?"})
    with pytest.raises(FrameRejected, match="before hello"):
        told(ReferenceClient("probe", tag_of), {"cursor": "1/1.0/702:", "n": 0})


def test_a_history_tells_the_whole_story() -> None:
    client = ReferenceClient("ada", tag_of)
    history = client.subscribe("run_update", None)
    told(client, HELLO)
    told(client, SUBSCRIBED)
    told(client, event(1), 1.0)
    assert history.marks == [Began(START)]
    told(client, {"cursor": "1/1.0/701:", "n": 1}, 2.0)
    told(client, {"channel": "run_update", "payload": {"row": 1, "version": 2}}, 3.0)
    told(client, {"reset": ["run_update"], "reason": "rewound", "cursor": "1/1.1/650:"}, 4.0)
    assert client.unsubscribe("run_update", 5.0) == {"unsubscribe": ["run_update"]}
    told(client, event(3), 6.0)
    told(client, {"cursor": "1/1.0/702:", "n": 1}, 6.0)
    rewound = Cursor.parse("1/1.1/650:")
    heard = [Received(1, 1, 2.0), Received(1, 2, 3.0)]
    marks: list[Mark] = [Began(START), *heard, WasReset("rewound"), Began(rewound), Ended(5.0, rewound)]
    assert history == History("ada", "run_update", marks)


def test_a_refused_channel_is_answered_and_ended() -> None:
    client = follower({"error": {"code": "forbidden", "message": "no", "channel": "run_update", "ref": 1}})
    assert client.live
    assert client.errors == {"forbidden": 1}


def test_a_handler_may_end_the_history_it_is_called_for() -> None:
    def end(channel: str, payload: str, now: float) -> None:
        client.unsubscribe(channel, now)

    client = ReferenceClient("ada", tag_of, end)
    histories = [client.subscribe("run_update", START) for _ in range(2)]
    for frame in (HELLO, SUBSCRIBED, event(1), event(2), {"cursor": "1/1.0/702:", "n": 2}):
        told(client, frame)
    ended = Ended(0.0, START)
    assert [h.marks for h in histories] == [[Began(START), Received(1, 1, 0.0), ended], [Began(START), ended]]


def change(version: int) -> dict[str, object]:
    return {"channel": "runs.7", "payload": {"row": 1, "version": version}, "id": version}


def live_follower() -> tuple[ReferenceClient, History]:
    follower = ReferenceClient("probe", tag_of)
    history = follower.subscribe("runs.7", START)
    say(follower, HELLO)
    (request,) = follower.requests()
    say(follower, {"subscribed": ["runs.7"], "cursor": "1/1.0/700:", "n": 0, "ref": request["ref"]})
    return follower, history


def say(follower: ReferenceClient, *frames: Mapping[str, object]) -> None:
    for frame in frames:
        follower.received(json.dumps(frame).encode(), 0.0)


def test_a_group_that_ends_where_the_last_one_did_is_not_heard_again() -> None:
    follower, history = live_follower()
    group = [change(1), {"cursor": "1/1.0/702:", "n": 1}]
    say(follower, *group)
    with pytest.raises(FrameRejected):
        say(follower, *group)
    assert history.marks == [Began(START), Received(1, 1, 0.0)]


def test_a_group_that_was_lost_before_another_one_is_told_as_a_gap() -> None:
    follower, history = live_follower()
    say(follower, change(2), {"cursor": "1/1.0/703:", "n": 1})
    with pytest.raises(FrameRejected):
        say(follower, {"cursor": "1/1.0/703:", "n": 0, "sent": 2})
    after = Cursor.parse("1/1.0/703:")
    assert history.marks == [Began(START), Received(1, 2, 0.0), WasReset("lost"), Began(after)]


def test_a_group_that_was_lost_with_nothing_after_it_is_asked_for_again() -> None:
    follower, history = live_follower()
    with pytest.raises(FrameRejected):
        say(follower, {"cursor": "1/1.0/703:", "n": 0, "sent": 1})
    assert history.marks == [Began(START)]


def test_an_open_group_is_forgotten_with_its_connection() -> None:
    client = follower(SUBSCRIBED, event(1))
    client.lost()
    told(client, HELLO)
    told(client, {"subscribed": ["run_update"], "cursor": "1/1.0/700:", "n": 0, "ref": 2})


def test_who_waits_for_a_replay_stands_where_it_stood_whatever_others_hear() -> None:
    client = follower(SUBSCRIBED)
    waiting = client.subscribe("run_update", Cursor.parse("1/1.0/600:"))
    assert [request["since"] for request in client.requests()] == ["1/1.0/600:"]
    for frame in (event(1), {"cursor": "1/1.0/701:", "n": 1}):
        told(client, frame)
    assert not client.live
    told(client, {"reset": ["run_update"], "reason": "rewound", "cursor": "1/1.1/650:"})
    client.lost()
    client.received(json.dumps(HELLO).encode(), 0.0)
    assert [request["since"] for request in client.requests()] == ["1/1.1/650:", "1/1.0/600:"]
    assert waiting.marks == [Began(Cursor.parse("1/1.0/600:"))]


def test_a_transaction_is_asked_for_once_all_that_is_followed_was_answered() -> None:
    client = follower()
    first = client.settle(755)
    assert list(client.requests()) == []
    client.received(json.dumps(SUBSCRIBED).encode(), 0.0)
    assert list(client.requests()) == [{"settle": "755"}]
    client.subscribe("run_update", Cursor.parse("1/1.0/600:"))
    list(client.requests())
    second = client.settle(755)
    told(client, {"settled": "755", "cursor": "1/1.0/756:"})
    assert (client.is_settled(first), client.is_settled(second)) == (True, False)


def test_many_transactions_are_asked_for_some_at_a_time() -> None:
    client = follower(SUBSCRIBED)
    for xid in range(40):
        client.settle(xid)
    assert [request["settle"] for request in client.requests()] == [str(xid) for xid in range(32)]
    client.received(b'{"settled":"3","cursor":"1/1.0/756:"}', 0.0)
    assert list(client.requests()) == [{"settle": "32"}]


def test_an_event_before_hello_is_malformed() -> None:
    with pytest.raises(FrameRejected, match="before hello"):
        told(ReferenceClient("probe", tag_of), event(1))
