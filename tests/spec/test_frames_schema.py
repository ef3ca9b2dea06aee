"""spec/frames.schema.json is valid, and is what the conversations, the prose and the server say."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from flowcraft.core import bundles, frames
from flowcraft.core.client_frames import decode_client_frame
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import (
    BadRequest,
    ChannelNameInvalid,
    ChannelUnknown,
    CursorUnusable,
    LimitExceeded,
    RealtimeError,
    TokenInvalid,
)
from flowcraft.names import NAME_GRAMMAR
from flowcraft.records import Ephemeral, Kind, LoggedResetReason, Record

SPEC = Path(__file__).parents[2] / "spec"
SCHEMA: dict[str, Any] = json.loads((SPEC / "frames.schema.json").read_text())
HERE = Cursor(Lineage(1, 1, 0), Snapshot(755, frozenset({752})))
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def violations(frame: Any, kind: str) -> list[str]:
    schema = {"$ref": f"#/$defs/{kind}", "$defs": SCHEMA["$defs"]}
    validator = jsonschema.Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors(frame)]  # pyright: ignore[reportUnknownMemberType]


def conversations() -> Iterator[tuple[str, str, object]]:
    """Every frame of every conversation: where it stands, who sends it, and what it is."""
    for path in sorted((SPEC / "vectors").glob("*.json")):
        for number, step in enumerate(json.loads(path.read_text())["steps"]):
            for n, frame in enumerate(step.get("server", [])):
                yield f"{path.stem}:{number}:{n}", "serverFrame", frame
            if "client" in step:
                yield f"{path.stem}:{number}", "clientFrame", step["client"]


def prose() -> Iterator[tuple[str, object]]:
    """The frames that protocol.md shows."""
    sections = re.split(r"^## ", (SPEC / "protocol.md").read_text(), flags=re.MULTILINE)
    for section in sections:
        kind = {"From the server": "serverFrame", "From the client": "clientFrame"}.get(
            section.split("\n")[0]
        )
        for line in re.findall(r"^    (\{.*\})$", section, flags=re.MULTILINE) if kind else ():
            yield kind or "", json.loads(line.replace("{…}", "{}"))


CONVERSATIONS = list(conversations())


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize(
    ("sender", "frame"), [c[1:] for c in CONVERSATIONS], ids=[c[0] for c in CONVERSATIONS]
)
def test_a_frame_of_a_conversation_is_exactly_one_of_the_schemas(sender: str, frame: object) -> None:
    assert violations(frame, sender) == []


def test_the_conversations_are_found_and_show_most_frames() -> None:
    shown = {
        kind for kind in SCHEMA["$defs"] for _, _, frame in CONVERSATIONS if violations(frame, kind) == []
    }
    frames_of_both = {
        ref["$ref"].rpartition("/")[2]
        for kind in ("serverFrame", "clientFrame")
        for ref in SCHEMA["$defs"][kind]["oneOf"]
    }
    assert frames_of_both - shown <= {"auth", "bye"}


@pytest.mark.parametrize(("kind", "frame"), list(prose()))
def test_a_frame_in_the_prose_is_one_of_the_schemas(kind: str, frame: object) -> None:
    assert violations(frame, kind) == []


def test_the_prose_shows_every_frame() -> None:
    assert len(list(prose())) == 24  # an event with an id stands for the ephemeral one too


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (bundles.event(Record(7, 1, "runs.42", '{"a":1}')), "event"),
        (bundles.event(Ephemeral("typing_update", "{}")), "ephemeral"),
        (bundles.event(Record(7, 1, "runs.42", '{"payload":1}', kind=Kind.GONE)), "gone"),
        (bundles.event(Record(7, 1, "runs.42", '{"reason":"too_large"}', kind=Kind.SKIPPED)), "skipped"),
        (bundles.event(Record(7, 1, "runs.42", "nonsense", kind=Kind.SKIPPED)), "skipped"),
        (frames.hello(schema="0", heartbeat_seconds=25.0, cursor=HERE), "hello"),
        (frames.hello(schema="0", heartbeat_seconds=0.5, cursor=HERE), "hello"),
        (bundles.commit_point(HERE, 0, NOON), "commitPoint"),
        (frames.subscribed(["run_update"], HERE, 3, None), "subscribed"),
        (frames.subscribed(["run_update"], HERE, 3, 7), "subscribed"),
        (frames.reset(["run_update"], "expired", HERE, None), "reset"),
        (frames.settled(757, HERE), "settled"),
        (frames.authenticated(280), "authenticated"),
        (frames.authenticated(None), "authenticated"),
        (frames.error(BadRequest("no"), channels=("a", "b")), "error"),
        (frames.error(BadRequest("no")), "error"),
        (frames.error(ChannelNameInvalid("!"), channel="!", ref=1), "error"),
        (frames.error(ChannelUnknown("x_update")), "error"),
        (frames.error(LimitExceeded("no")), "error"),
        (frames.error(TokenInvalid()), "error"),
        (frames.bye(0), "bye"),
    ],
)
def test_what_the_server_writes_is_the_frame_it_means(message: bytes, kind: str) -> None:
    frame = json.loads(message)
    assert violations(frame, kind) == []
    assert violations(frame, "serverFrame") == []


def test_the_reasons_of_a_reset_are_the_codes_of_unusable_cursors_and_those_of_the_log() -> None:
    reasons = {kind.reason for kind in CursorUnusable.__subclasses__()} | set(get_args(LoggedResetReason))
    assert set(SCHEMA["$defs"]["reset"]["properties"]["reason"]["enum"]) == reasons


def test_the_codes_of_an_error_are_those_of_our_errors() -> None:
    def all_below(kind: type[RealtimeError]) -> Iterator[type[RealtimeError]]:
        for child in kind.__subclasses__():
            yield child
            yield from all_below(child)

    codes = {kind.code for kind in all_below(RealtimeError)}
    assert set(SCHEMA["$defs"]["error"]["properties"]["error"]["properties"]["code"]["enum"]) <= codes


def test_channel_names_have_one_grammar() -> None:
    assert SCHEMA["$defs"]["channelName"]["pattern"] == NAME_GRAMMAR


@pytest.mark.parametrize(
    "frame",
    [
        {},
        [],
        {"cursor": "1"},
        {"cursor": "", "n": 0, "at": "2026-11-22T20:13:00.000Z"},
        {"cursor": "1", "n": -1, "at": "2026-11-22T20:13:00.000Z"},
        {"cursor": "1", "n": 0, "at": "2026-11-22T20:13:00+01:00"},
        {"channel": "run_update", "payload": [], "id": 1},
        {"channel": "run_update", "payload": {}, "id": "1"},
        {"channel": "Runs.1", "payload": {}},
        {"channel": "run_update", "payload": {}, "more": 1},
        {"hello": {"protocol": 2, "schema": "0", "heartbeat": 25, "cursor": "1"}},
        {"subscribed": "run_update", "cursor": "1", "n": 0},
        {"subscribed": ["run_update"], "cursor": "1", "n": 0, "ref": None},
        {"reset": ["run_update"], "cursor": "1", "reason": "because"},
        {"settled": 757, "cursor": "1"},
        {"error": {"code": "internal", "message": "x"}},
        {"bye": {}},
        {"subscribe": ["run_update"], "unsubscribe": ["run_update"]},
        {"settle": "-1"},
        {"auth": None},
    ],
)
def test_a_wrong_frame_is_none_of_the_schemas(frame: object) -> None:
    jsonschema.Draft202012Validator(SCHEMA).check_schema(SCHEMA)
    assert violations(frame, "serverFrame")
    assert violations(frame, "clientFrame")


@pytest.mark.parametrize(
    ("sender", "frame"),
    [c[1:] for c in CONVERSATIONS if c[1] == "clientFrame"],
    ids=[c[0] for c in CONVERSATIONS if c[1] == "clientFrame"],
)
def test_the_server_reads_what_a_client_writes(sender: str, frame: object) -> None:
    decode_client_frame(json.dumps(frame))
