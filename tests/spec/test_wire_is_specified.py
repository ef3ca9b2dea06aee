"""What the Python code writes to the wire, or reads from it, is in `spec/`: derived from the code."""

from __future__ import annotations

import ast
import inspect
import json
import re
import typing
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import flowcraft
from flowcraft.core import bundles, client_frames, frames, refusals
from flowcraft.core.bundles import Bundle, Live
from flowcraft.core.client_frames import Subscribe
from flowcraft.core.states import State
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.errors import BadRequest, CursorUnusable, RealtimeError, RowsLimitExceeded
from flowcraft.records import Ephemeral, Kind, LoggedResetReason, Record

SPEC = Path(__file__).parents[2] / "spec"
PROSE = (SPEC / "protocol.md").read_text("utf-8")
DEFINITIONS: dict[str, Any] = json.loads((SPEC / "frames.schema.json").read_text("utf-8"))["$defs"]
SOURCES = Path(flowcraft.__file__).parent
HERE = Cursor(Lineage(1, 1, 0), Snapshot(755))
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WRITTEN: Mapping[str, list[bytes]] = {
    "event": [
        bundles.event(Record(7, 1, "runs.42", '{"a":1}')),
        bundles.event(Record(7, 2, "runs.42", '{"id":3}', kind=Kind.GONE)),
        bundles.event(
            Record(7, 3, "runs.42", '{"reason":"payload_invalid","path":"$.id"}', kind=Kind.SKIPPED)
        ),
        bundles.event(
            Record(7, 3, "task_rows.7", '{"reason":"too_large","key":{"id":3}}', kind=Kind.SKIPPED)
        ),
        bundles.event(Record(7, 4, "shops_members.42", '{"count":501}', kind=Kind.COUNT)),
        bundles.event(Ephemeral("typing_update", "{}")),
    ],
    "hello": [frames.hello(schema="0", heartbeat_seconds=25.0, cursor=HERE)],
    "commit_point": [
        bundles.commit_point(HERE, 2, NOON),
        *Bundle([bundles.commit_point(HERE, 0, NOON)], live=Live((), HERE, NOON)).counted(3).messages,
    ],
    "rows": [frames.rows("task_rows.7", ["id"], ['{"id":1}', '{"id":2}'])],
    "subscribed": [
        frames.subscribed(["run_update"], HERE, 3, 7),
        frames.subscribed(["task_rows.7"], HERE, 3, 7, State("task_rows.7", HERE, 2, 1, ())),
    ],
    "reset": [frames.reset(["run_update"], "expired", HERE, 7)],
    "settled": [frames.settled(757, HERE)],
    "authenticated": [frames.authenticated(280), frames.authenticated(None)],
    "error": [
        frames.error(BadRequest("no"), channel="x", ref=7),
        frames.error(BadRequest("no"), channels=("x", "y"), ref=7),
        frames.error(RowsLimitExceeded("task_rows.7", "rows_bytes", 10, ""), channel="task_rows.7", ref=7),
    ],
    "bye": [frames.bye(0)],
}
"""By the function that encodes them: frames with every member that it can give them."""
WRITTEN_FOR_CLIENTS: Mapping[str, list[bytes]] = {
    "encode_subscribe": [
        client_frames.encode_subscribe(Subscribe(("run_update",))),
        client_frames.encode_subscribe(Subscribe(("run_update", "runs.42"), str(HERE), 7)),
        client_frames.encode_subscribe(Subscribe(("task_rows.7",), str(HERE), 7, rows=True)),
        client_frames.encode_subscribe(Subscribe(("runs_members.7",), rows=True, present=True)),
    ],
}
"""Frames that the server writes in the place of a client: those of a request's URL."""
NEVER_SENT = {
    *("internal", "log_unavailable", "payload_invalid", "schema_not_owned", "schema_differs"),
    *("no_database", "bad_database_address", "database_unreadable", "not_on_postgres"),
    *("rows_unsupported", "presence_unsupported", "place_unknown", "scaffolding_refused"),
    *("log_address_invalid", "nats_missing", "relay_failed"),
}
"""Codes of errors that reach callers in Python, never a client; the imports decide which are known."""
FROM_RFC_6455 = {1000, 1002, 1003, 1005, 1007, 1009}
"""Close codes that mean here what RFC 6455 §7.4.1 says."""


def kinds(sender: str) -> set[str]:
    """Return the names of the frames that a side may send."""
    return {ref["$ref"].rpartition("/")[2] for ref in DEFINITIONS[sender]["oneOf"]}


def kind_of(frame: Any, sender: str) -> list[str]:
    """Return the definitions that a frame fits."""
    return [
        kind
        for kind in sorted(kinds(sender))
        if not list(
            jsonschema.Draft202012Validator(  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
                {"$ref": f"#/$defs/{kind}", "$defs": DEFINITIONS}
            ).iter_errors(frame)
        )
    ]


def members(kind: str) -> set[str]:
    return set(DEFINITIONS[kind]["properties"])


def conversations(sender: str) -> Iterator[Any]:
    """Yield every frame of that side in the conversations."""
    for path in sorted((SPEC / "vectors").glob("*.json")):
        for step in json.loads(path.read_text("utf-8"))["steps"]:
            yield from (
                step.get("server", [])
                if sender == "serverFrame"
                else [step[k] for k in step if k == "client"]
            )


def encoders() -> set[str]:
    """Return the functions of the core that make the bytes of a frame."""
    return {
        name
        for module in (bundles, frames, client_frames)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and typing.get_type_hints(function).get("return") is bytes
    }


def trees() -> Iterator[tuple[str, ast.AST]]:
    for path in sorted(SOURCES.rglob("*.py")):
        yield str(path.relative_to(SOURCES)), ast.parse(path.read_text("utf-8"))


def calls(tree: ast.AST, *names: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in names:
                yield node


def test_every_function_that_encodes_a_frame_is_tried_here() -> None:
    assert encoders() == set(WRITTEN) | set(WRITTEN_FOR_CLIENTS)


@pytest.mark.parametrize(
    ("sender", "message"),
    [
        (sender, message)
        for sender, written in (("serverFrame", WRITTEN), ("clientFrame", WRITTEN_FOR_CLIENTS))
        for messages in written.values()
        for message in messages
    ],
    ids=repr,
)
def test_what_is_encoded_is_exactly_one_frame_of_the_schema(sender: str, message: bytes) -> None:
    assert len(kind_of(json.loads(message), sender)) == 1


def test_every_frame_and_member_of_the_schema_is_encoded_by_the_core() -> None:
    written: dict[str, set[str]] = {}
    for message in (m for messages in WRITTEN.values() for m in messages):
        frame = json.loads(message)
        for kind in kind_of(frame, "serverFrame"):
            written.setdefault(kind, set()).update(frame)
    assert written == {kind: members(kind) for kind in kinds("serverFrame")}


def test_no_other_module_of_the_server_writes_frames_by_hand() -> None:
    """A text that begins with a member is JSON made by hand; `encoders` looks at the two places for it."""
    member = re.compile(r'\s*[{,]\s*"\w+"\s*:')
    by_hand = {
        path
        for path, tree in trees()
        if path.split("/")[0] in {"core", "runtime", "adapters"}
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str | bytes)
        and member.match(node.value if isinstance(node.value, str) else node.value.decode("latin-1"))
    }
    assert by_hand - {"core/bundles.py", "core/frames.py"} == set()


def test_what_the_core_decodes_is_what_the_schema_lets_a_client_send() -> None:
    decoded = {frame.__name__.lower() for frame in typing.get_args(client_frames.ClientFrame)}
    assert decoded == kinds("clientFrame")
    incoming: tuple[str, ...] = client_frames._Incoming.__struct_fields__  # pyright: ignore[reportPrivateUsage]
    assert set(incoming) == {member for kind in kinds("clientFrame") for member in members(kind)}


@pytest.mark.parametrize("sender", ["serverFrame", "clientFrame"])
def test_every_frame_is_in_a_conversation(sender: str) -> None:
    shown = {kind for frame in conversations(sender) for kind in kind_of(frame, sender)}
    assert shown == kinds(sender)


def test_every_member_of_a_frame_is_in_a_conversation() -> None:
    for sender in ("serverFrame", "clientFrame"):
        shown: dict[str, set[str]] = {}
        for frame in conversations(sender):
            for kind in kind_of(frame, sender):
                shown.setdefault(kind, set()).update(frame)
        assert shown == {kind: members(kind) for kind in kinds(sender)}


def all_below(kind: type[RealtimeError]) -> Iterator[type[RealtimeError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from all_below(child)


def test_error_codes_are_those_of_the_schema_and_of_the_prose() -> None:
    assert refusals.Forbidden in set(all_below(RealtimeError))
    codes = {
        kind.code
        for kind in all_below(RealtimeError)
        if kind.__module__.startswith("flowcraft.") and not issubclass(kind, CursorUnusable)
    }
    described = re.search(r"Codes: (.*?)\. `channel` and `ref`", PROSE, re.DOTALL)
    assert described is not None
    schema = set(DEFINITIONS["error"]["properties"]["error"]["properties"]["code"]["enum"])
    assert codes - NEVER_SENT == schema == set(re.findall(r"`(\w+)`", described[1]))


def test_reset_reasons_are_those_of_the_schema_and_of_the_prose() -> None:
    described = re.search(r"Reasons: (.*?)\. It closes", PROSE, re.DOTALL)
    assert described is not None
    reasons = {kind.reason for kind in CursorUnusable.__subclasses__()} | set(
        typing.get_args(LoggedResetReason)
    )
    schema = set(DEFINITIONS["reset"]["properties"]["reason"]["enum"])
    assert reasons == schema == set(re.findall(r"`(\w+)`", described[1]))


def close_codes() -> dict[int, set[str]]:
    """Return the codes with which the code closes connections, and where."""
    found: dict[int, set[str]] = {}
    for path, tree in trees():
        for call in calls(tree, "close", "_close", "Close", "ProtocolError"):
            for node in ast.walk(call.args[0]) if call.args else ():
                if isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value >= 1000:
                    found.setdefault(node.value, set()).add(path)
        for node in ast.walk(tree):  # (code, reason) pairs
            if isinstance(node, ast.Tuple) and len(node.elts) == 2:
                code, reason = (getattr(e, "value", None) for e in node.elts)
                if isinstance(code, int) and isinstance(reason, str) and 4000 <= code <= 4999:
                    found.setdefault(code, set()).add(path)
    return found


def test_close_codes_are_those_of_the_prose_or_of_the_rfc() -> None:
    table = PROSE.partition("## Closing")[2].partition("## ")[0]
    described = {
        int(code) for line in re.findall(r"^\| ([\d, ]+) \|", table, re.MULTILINE) for code in line.split(",")
    }
    used = close_codes()
    assert {4401, 4408, 4409, 4500, 4501, 1011, 1012, 1013} <= used.keys()
    assert {code: paths for code, paths in used.items() if code not in described | FROM_RFC_6455} == {}
