"""Frames: what leaves is JSON of the protocol, framed once for everybody."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from flowcraft.adapters.sockets import text_frames
from flowcraft.core import answers, bundles, frames
from flowcraft.core.bundles import Bundle, Encoder
from flowcraft.core.hub_effects import Deliver, Subscribed
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.records import Ephemeral, Record


def test_a_payload_is_spliced_in_as_it_was_stored() -> None:
    stored = '{"n": 1.50, "text": "\\u2028 é"}'
    assert bundles.event(Record(700, 17, "runs.7", stored)) == (
        b'{"channel":"runs.7","payload":' + stored.encode() + b',"id":17}'
    )


def test_an_ephemeral_event_has_no_id() -> None:
    assert bundles.event(Ephemeral("runs.7", "1")) == b'{"channel":"runs.7","payload":1}'


def test_a_channel_that_the_database_made_up_cannot_break_the_json() -> None:
    assert json.loads(bundles.event(Record(1, 1, 'a","id":9,"x":"', "{}")))["id"] == 1


@given(st.lists(st.text(max_size=200), max_size=5))
def test_a_bundle_is_what_a_websocket_client_reads(texts: list[str]) -> None:
    client = ClientProtocol(parse_uri("ws://here/"), state=OPEN)
    client.receive_data(Bundle([text.encode() for text in texts]).framed[text_frames])
    received = [event for event in client.events_received() if isinstance(event, Frame)]
    assert [frame.opcode for frame in received] == [Opcode.TEXT] * len(texts)
    assert [bytes(frame.data).decode() for frame in received] == texts


@pytest.mark.parametrize("length", [0, 125, 126, 65535, 65536, 200_000])
def test_frames_of_every_length_class_are_read_back(length: int) -> None:
    client = ClientProtocol(parse_uri("ws://here/"), state=OPEN, max_size=None)
    client.receive_data(Bundle([b"x" * length]).framed[text_frames])
    (frame,) = client.events_received()
    assert isinstance(frame, Frame)
    assert len(frame.data) == length


def test_a_heartbeat_tells_each_connection_what_it_was_sent_and_a_group_is_shared() -> None:
    here, noon = Cursor(Lineage(1, 1, 0), Snapshot(755, frozenset())), datetime(2026, 11, 22, 12, tzinfo=UTC)
    encoder, record = Encoder(), Record(750, 17, "runs.7", "{}")
    heartbeat, _ = answers.encode(Deliver((), here, noon, (1,)), encoder)
    assert isinstance(heartbeat, Bundle)
    point = {"cursor": "1/1.0/755:", "n": 0, "at": "2026-11-22T12:00:00.000Z"}
    assert [json.loads(m) for m in heartbeat.counted(7).messages] == [{**point, "sent": 7}]
    group, _ = answers.encode(Deliver((record,), here, noon, (1,)), encoder)
    replay, _ = answers.encode(Subscribed(1, ("runs.7",), (record,), here, None), encoder)
    assert isinstance(group, Bundle)
    assert isinstance(replay, Bundle)
    assert (group.counted(7), replay.counted(7)) == (group, replay)
    assert (group.events, replay.events, heartbeat.events) == (1, 1, 0)


@pytest.mark.parametrize(("seconds", "written"), [(25, b"25"), (25.0, b"25"), (0.5, b"0.5")])
def test_a_heartbeat_is_written_as_short_as_it_can_be(seconds: float, written: bytes) -> None:
    cursor = Cursor(Lineage(1, 1, 0), Snapshot(700))
    hello = frames.hello(schema="0", heartbeat_seconds=seconds, cursor=cursor)
    assert b'"heartbeat":' + written + b"," in hello
