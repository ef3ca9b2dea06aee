"""The golden conversations of spec/vectors, replayed by the Python core and the log in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from flowcraft.adapters.memory import MemoryLog, MemoryTransaction
from flowcraft.channels import Channels
from flowcraft.core import answers, frames
from flowcraft.core import session_effects as sessions
from flowcraft.core.bundles import Bundle, Encoder
from flowcraft.core.hub import Hub
from flowcraft.core.hub_effects import Effect, ReadNow, ReadReplay, ReadState
from flowcraft.core.session import Session
from flowcraft.core.states import State, StateRequest
from flowcraft.errors import (
    CursorExpired,
    CursorUnusable,
    RealtimeError,
    RowsLimitExceeded,
    RowsUnreadable,
    TokenInvalid,
)
from flowcraft.events import Event
from flowcraft.records import Ephemeral, Kind
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

VECTORS = sorted((Path(__file__).parents[2] / "spec" / "vectors").glob("*.json"))
SESSION = 1


class Anything(Event):
    """The conversations are about the protocol; what they carry does not matter."""


class Task(Event):
    """A row."""

    id: int
    team: str


def declared() -> Channels:
    channels = Channels()
    channels.declare("run_update", Anything)
    channels.declare("runs.{run_id}", Anything, params={"run_id": str})
    channels.declare("system", Anything)
    channels.declare("dashboard", Anything)
    channels.rows("task_rows.{team}", Task, table="tasks", key="id", params={"team": str})
    shop = channels.declare("shops.{shop_id}", Anything, params={"shop_id": str}, presence=Person)
    shop.present(lambda viewer: Person(id=1, name=viewer.subject))
    return channels


class Person(Event):
    """A member."""

    id: int
    name: str


class Server:
    """One session on one hub on one log, all in step with the script."""

    def __init__(self, settings: Settings) -> None:
        self.log = MemoryLog()
        self.hub = Hub(self.log.position_now(), settings)
        self.running: dict[int, MemoryTransaction] = {}
        self.session: Session | None = None
        self.sent: list[str] = []
        self.events = 0
        self.closed: int | None = None
        self.tables: dict[str, Any] = {}
        self.present: dict[str, None] = {}
        self.requests: dict[str, StateRequest] = {}
        self.read_states: dict[str, State | RealtimeError] = {}

    def step(self, kind: str, value: Any) -> None:
        handler: Callable[[Any], None] | None = getattr(self, f"on_{kind}", None)
        if handler is not None:  # the other steps are the client's
            handler(value)

    def on_connect(self, how: dict[str, Any]) -> None:
        self.session = Session(declared(), Settings(), token_required="token" in how)
        self.hub.subscriptions.connect(SESSION)
        self.events = 0
        self.converse(self.session.open(self.hub.cursor, "0", how.get("channels", [])))

    def on_disconnect(self, _: bool) -> None:
        self.hub.subscriptions.disconnect(SESSION)
        self.present.clear()
        self.session = None

    def on_client(self, frame: object) -> None:
        self.on_client_text(json.dumps(frame))

    def on_client_text(self, message: str) -> None:
        assert self.session is not None
        self.converse(self.session.received(message))

    def on_drain(self, reconnect_after_ms: int) -> None:
        assert self.session is not None
        self.converse(self.session.drain(reconnect_after_ms))

    def on_closed(self, code: int) -> None:
        assert self.closed == code
        self.hub.subscriptions.disconnect(SESSION)
        self.session = self.closed = None

    def on_begin(self, transaction: dict[str, Any]) -> None:
        xid = transaction["xid"]
        self.running[xid] = self.log.begin(xid)
        for channel, payload, *kind in transaction.get("events", []):
            self.running[xid].broadcast(channel, json.dumps(payload), Kind[(*kind, "event")[0].upper()])
        for channel, payload in transaction.get("text", []):
            self.running[xid].broadcast(channel, payload)

    def on_commit(self, transaction: dict[str, Any]) -> None:
        if transaction["xid"] not in self.running:
            self.on_begin(transaction)
        self.running.pop(transaction["xid"]).commit()
        if transaction.get("visible", True):  # to the relay; otherwise it has not read yet
            self.read()

    def on_rollback(self, transaction: dict[str, Any]) -> None:
        self.running.pop(transaction["xid"]).rollback()
        self.read()

    def on_trim(self, _: bool) -> None:
        self.log.trim(before=self.log.snapshot().xmax)

    def on_ephemeral(self, event: list[Any]) -> None:
        self.fan_out(self.hub.broadcast_ephemeral(Ephemeral(event[0], json.dumps(event[1]))))

    def on_heartbeat(self, _: bool) -> None:
        self.fan_out(self.hub.heartbeat())

    def on_table(self, rows: dict[str, Any]) -> None:
        self.tables.update(rows)

    def on_read(self, channel: str) -> None:
        content: Any = self.tables[channel]
        cursor = self.log.position_now().cursor
        if "error" in content:
            self.read_states[channel] = (
                RowsUnreadable(channel)
                if content["error"] == "rows_unreadable"
                else RowsLimitExceeded(channel, content["limit"], 10_000, "")
            )
            return
        if "count" in content:
            page = Bundle([frames.rows(channel, ["id"], [])])
            self.read_states[channel] = State(channel, cursor, 0, content["count"], (page,))
            return
        items = [json.dumps(item) for item in content if item is not None]
        page = Bundle([frames.rows(channel, ["id"], items)])
        self.read_states[channel] = State(channel, cursor, len(items), len(content) - len(items), (page,))

    def on_state(self, channel: str) -> None:
        if channel not in self.read_states:
            self.on_read(channel)
        request, state = self.requests.pop(channel), self.read_states.pop(channel)
        if isinstance(state, State):
            self.fan_out(self.hub.subscriptions.state_read(request, state))
        elif self.hub.subscriptions.state_failed(request):
            assert self.session is not None
            self.converse(self.session.rows_failed(channel, state, request.ref))

    def on_hold(self, _: bool) -> None:
        self.held_since = self.hub.cursor
        assert self.hub.subscriptions.hold(SESSION)

    def on_release(self, _: bool) -> None:
        effects = self.hub.subscriptions.release(SESSION, self.held_since)
        assert effects is not None
        self.fan_out(effects)

    def on_present(self, expected: list[str]) -> None:
        assert list(self.present) == expected

    def on_server(self, expected: list[object]) -> None:
        sent, self.sent = self.sent, []
        assert list(map(json.loads, sent)) == expected

    def on_server_text(self, expected: list[str]) -> None:
        sent, self.sent = self.sent, []
        assert sent == expected

    def read(self) -> None:
        self.fan_out(self.hub.broadcast(self.log.tail_now(self.hub.cursor)))

    def converse(self, effects: Iterable[sessions.Effect]) -> None:
        for effect in effects:
            match effect:
                case sessions.Send(message):
                    self.sent.append(message.decode())
                case sessions.BeginSubscription(channels, since, ref, rows, oldest):
                    begun = self.hub.subscriptions.subscribe(
                        SESSION, channels, since, ref, rows=rows, oldest=oldest
                    )
                    self.fan_out(begun)
                case sessions.ResetSubscription(channels, reason, ref):
                    self.fan_out(self.hub.subscriptions.reset(SESSION, channels, reason, ref))
                case sessions.EndSubscription(channels):
                    self.hub.subscriptions.unsubscribe(SESSION, channels)
                case sessions.AwaitSettle(xid):
                    self.fan_out(self.hub.subscriptions.settle(SESSION, xid))
                case sessions.Authenticate(token):
                    assert self.session is not None
                    good = token != "wrong"
                    self.converse(
                        self.session.authenticated(Viewer(token))
                        if good
                        else self.session.rejected(TokenInvalid())
                    )
                case sessions.Close(code, _, last):
                    self.sent += map(bytes.decode, last)
                    self.closed = code
                case _:
                    self.move(effect)

    def move(self, effect: sessions.Effect) -> None:
        match effect:
            case sessions.Join(channels):
                self.present.update(dict.fromkeys(channels))
            case sessions.Leave(channels):
                for name in channels:
                    del self.present[name]
            case _:
                raise AssertionError(f"no conversation needs {effect}")

    def fan_out(self, effects: Iterable[Effect]) -> None:
        encoder = Encoder()
        for effect in effects:
            if isinstance(effect, ReadReplay):
                self.replay(effect)
            elif isinstance(effect, ReadState):
                self.requests[effect.request.channel] = effect.request
            elif isinstance(effect, ReadNow):
                self.read()
            else:
                bundle, to = answers.encode(effect, encoder)
                assert isinstance(bundle, Bundle)
                assert to == (SESSION,)
                self.sent += map(bytes.decode, bundle.counted(self.events).messages)
                self.events += bundle.events

    def replay(self, request: ReadReplay) -> None:
        try:
            batch = self.log.replay_now(request.replay.since, request.channels)
        except CursorUnusable as error:
            if isinstance(error, CursorExpired) and error.floor and request.replay.is_from_oldest:
                request.replay.begin_at(error.floor)
                return self.replay(request)
            self.fan_out(self.hub.subscriptions.replay_failed(request.replay, error.reason))
        else:
            self.fan_out(self.hub.subscriptions.replayed(request.replay, batch))


def test_there_are_conversations() -> None:
    assert len(VECTORS) >= 12


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
@pytest.mark.parametrize("remembers", [True, False], ids=["from memory", "from the log"])
def test_the_core_answers_as_in_the_conversation(path: Path, remembers: bool) -> None:
    if remembers and path.stem in {"reset-expired", "rows-resume-expired"}:
        return  # what is remembered has not expired
    if not remembers and path.stem == "held-back":
        return  # what is not remembered is not held back: the server closes, and the client resumes
    server = Server(Settings() if remembers else Settings(recent_bytes=1))
    for step in json.loads(path.read_text())["steps"]:
        ((kind, value),) = step.items()
        server.step(kind, value)
    assert server.sent == [], "the script ends before the server does"
