"""The hub and subscriptions to rows: when a state leaves, and what takes its place."""

from __future__ import annotations

from flowcraft.core.frames import Bundle
from flowcraft.core.hub import Effect, Hub, ReadNow, ReadReplay, ReadState, Reset, Subscribed
from flowcraft.core.states import State, StateRequest
from flowcraft.cursors import Cursor, Snapshot
from flowcraft.records import Batch, Kind, Record
from flowcraft.settings import Settings
from tests.hub.test_hub import START, batch, record

CHANNEL = "task_rows.7"
ME = 1


def hub(settings: Settings | None = None) -> Hub:
    made = Hub(START, settings)
    made.connect(ME)
    return made


def asked(effects: list[Effect]) -> StateRequest:
    (effect,) = effects
    assert isinstance(effect, ReadState)
    return effect.request


def state(cursor: Cursor) -> State:
    return State(CHANNEL, cursor, 1, 0, (Bundle([b"{}"]),))
