"""AsyncAPI: the channels, their messages and the wire as an AsyncAPI 3.0 document.

The document describes the server, which sends events and receives requests. The address of a channel is its
name on the wire; all channels share the WebSocket, which is a channel of the document too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Self, TypeAlias, cast
from urllib.parse import urlsplit

from flowcraft.channels import Channels
from flowcraft.codegen.definitions import joined_definitions
from flowcraft.codegen.draft7 import as_draft7
from flowcraft.declarations import Declaration
from flowcraft.events import JsonSchema
from flowcraft.names import Parameter

VERSION = "3.0.0"
TITLE = "Realtime channels"
SOCKET = "web-socket"
"""The channel of all frames except events; no declared channel can have a dash in its name."""

Object: TypeAlias = dict[str, Any]

_ABOUT = """\
Typed events over one WebSocket. A message is one JSON object in one text frame. A client subscribes to \
channels with `subscribe`, and each event names its channel. The events of a transaction arrive \
together, before the `cursor` that closes them: a client stores that cursor, and resumes after it. Without a \
WebSocket, `/events` below its address streams the same frames as Server-Sent Events."""
_PROOF = """\
A JSON Web Token: over a WebSocket in the first message, as `auth`; for Server-Sent Events in the header \
`Authorization`; never in the URL."""
_DELIVERY = {
    True: "Exactly once and in order, as long as the client's cursor is inside the log.",
    False: "At most once: an event that a client misses is not sent again.",
}
_PARAMETERS = {
    "UUID": ("A UUID in lower case.", "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "int": ("An integer in decimal.", "-?(0|[1-9][0-9]{0,18})"),
    "str": ("1 to 64 letters, digits, dashes and underscores.", "[A-Za-z0-9_-]{1,64}"),
}
_EVENTS = frozenset({"event", "ephemeral"})
_REPLIES: Mapping[str, tuple[str, ...]] = {
    "auth": ("authenticated", "error"),
    "subscribe": ("subscribed", "reset", "error"),
    "settle": ("settled", "error"),
}
_TOKEN: Object = {"$ref": "#/components/securitySchemes/token"}


@dataclass(frozen=True, slots=True)
class Address:
    """The address of the WebSocket."""

    protocol: str
    host: str
    path: str = "/realtime"

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parse `wss://app.example.com/realtime`.

        Raises:
            ValueError: the URL is not the address of a WebSocket.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{url!r} is not of the form wss://HOST/realtime")
        if "@" in parts.netloc:
            raise ValueError("the document is public; remove the user name and password from the URL")
        return cls(parts.scheme, parts.netloc, parts.path or "/realtime")


def generate_asyncapi(
    channels: Channels, *, title: str = TITLE, address: Address | None = None, wants_token: bool = False
) -> str:
    """Return the AsyncAPI document of these channels, as JSON. The same channels give the same text.

    The document's version is the schema hash in the server's `hello`, so it changes when the channels do.
    With `wants_token` every client needs a token; otherwise only guarded channels do.

    Raises:
        DeclarationError: two different types have one name.
    """
    declarations = tuple(channels)
    guarded = wants_token or any(declaration.guard for declaration in declarations)
    document = {
        "asyncapi": VERSION,
        "info": {"title": title, "version": channels.schema_hash(), "description": _ABOUT},
        **({"servers": {"realtime": _server(address, wants_token)}} if address else {}),
        "defaultContentType": "application/json",
        "channels": {SOCKET: _socket(address), **{d.prefix: _channel(d) for d in declarations}},
        "operations": {**dict(_requests()), **{f"send_{d.prefix}": _sending(d) for d in declarations}},
        "components": {
            "schemas": {**_types(declarations), **_frame_parts()},
            **({"securitySchemes": {"token": _token()}} if guarded else {}),
        },
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _server(address: Address, wants_token: bool) -> Object:
    where = {"host": address.host, "protocol": address.protocol}
    return {**where, "security": [_TOKEN]} if wants_token else dict(where)


def _token() -> Object:
    return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": _PROOF}


# The declared channels


def _channel(declaration: Declaration) -> Object:
    schema = declaration.payload.schema()
    references = cast(list[JsonSchema], schema.get("anyOf", [{"$ref": schema.get("$ref")}]))
    members = zip(declaration.payload.members, references, strict=True)
    return {
        "address": declaration.name,
        "description": " ".join(_promises(declaration)),
        **({"parameters": _parameters(declaration.parameter)} if declaration.parameter else {}),
        "messages": {_safe(m.__name__): _event(declaration, m, reference) for m, reference in members},
        "x-delivery": "exactly-once" if declaration.durable else "at-most-once",
        **({"x-conflate": declaration.conflate} if declaration.conflate else {}),
    }


def _promises(declaration: Declaration) -> Iterator[str]:
    yield _DELIVERY[declaration.durable]
    if declaration.conflate:
        key = "" if declaration.conflate is True else f" for each `{declaration.conflate}`"
        yield f"A client that cannot keep up receives only the latest event{key}."


def _parameters(parameter: Parameter) -> Object:
    return {parameter.name: {"description": _PARAMETERS[parameter.type.__name__][0]}}


def _event(declaration: Declaration, member: type, reference: JsonSchema) -> Object:
    """Return the event's frame: the general frame of events, with this channel and this payload."""
    frame = as_draft7(_frames()["event" if declaration.durable else "ephemeral"], _part)
    frame["properties"] |= {"channel": _names(declaration), "payload": as_draft7(reference, _type)}
    definition = declaration.payload.schema()["$defs"][reference["$ref"].rpartition("/")[2]]
    summary = str(definition.get("description", "")).strip().partition("\n")[0]
    return {"name": member.__name__, **({"summary": summary} if summary else {}), "payload": frame}


def _names(declaration: Declaration) -> Object:
    if declaration.parameter is None:
        return {"const": declaration.name}
    pattern = _PARAMETERS[declaration.parameter.type.__name__][1]
    return {"type": "string", "pattern": rf"^{declaration.prefix}\.{pattern}$"}


def _sending(declaration: Declaration) -> Object:
    names = [_safe(member.__name__) for member in declaration.payload.members]
    return {
        **_operation("send", declaration.prefix, names),
        **({"security": [_TOKEN]} if declaration.guard else {}),
    }


def _types(declarations: Iterable[Declaration]) -> Object:
    found = joined_definitions(declarations, _safe, "AsyncAPI document")
    return {name: as_draft7(schema, _type) for name, schema in found.items()}


# The WebSocket that all channels share


def _socket(address: Address | None) -> Object:
    frames = [*_sent(), *_received()]
    return {
        "address": address.path if address else "/realtime",
        "description": "The connection of a client: its requests, and the server's frames other than events.",
        "messages": {name: _control(name) for name in frames},
        "bindings": {"ws": {"method": "GET", "query": _query(), "bindingVersion": "0.1.0"}},
    }


def _query() -> Object:
    names = {
        "type": "array",
        "items": {"type": "string"},
        "description": "Subscribe to these channels when the connection opens.",
    }
    since = {"type": "string", "description": "The cursor after which the subscriptions begin."}
    return {"type": "object", "properties": {"channel": names, "since": since}}


def _control(name: str) -> Object:
    schema = dict(_frames()[name])
    summary = schema.pop("description")
    return {"name": name, "summary": summary, **_pairing(name, schema), "payload": as_draft7(schema, _part)}


def _pairing(name: str, schema: JsonSchema) -> Object:
    """Return the correlation of a request with its reply: by the number in `ref`."""
    outer: Object = schema["properties"]
    inner: Object = outer[name].get("properties", {}) if name in outer else {}
    if "ref" not in {**outer, **inner}:
        return {}
    return {"correlationId": {"location": f"$message.payload#/{'ref' if 'ref' in outer else f'{name}/ref'}"}}


def _requests() -> Iterator[tuple[str, Object]]:
    yield "send_frames", _operation("send", SOCKET, _sent())
    for name in _received():
        replies = _REPLIES.get(name, ())
        reply = {key: value for key, value in _operation("", SOCKET, replies).items() if key != "action"}
        yield name, {**_operation("receive", SOCKET, [name]), **({"reply": reply} if replies else {})}


def _operation(action: str, channel: str, messages: Iterable[str]) -> Object:
    place = f"#/channels/{channel}"
    references = [{"$ref": f"{place}/messages/{name}"} for name in messages]
    return {"action": action, "channel": {"$ref": place}, "messages": references}


def _sent() -> list[str]:
    """Return the frames of the server other than events."""
    return [name for name in _kinds("serverFrame") if name not in _EVENTS]


def _received() -> list[str]:
    """Return the frames of a client."""
    return _kinds("clientFrame")


def _kinds(side: str) -> list[str]:
    return [reference["$ref"].rpartition("/")[2] for reference in _frames()[side]["oneOf"]]


def _frame_parts() -> Object:
    """Return the parts that frames share, such as a cursor or a channel's name."""
    frames = {"serverFrame", "clientFrame", *_kinds("serverFrame"), *_kinds("clientFrame")}
    parts = ((name, schema) for name, schema in _frames().items() if name not in frames)
    return {f"wire.{name}": as_draft7(schema, _part) for name, schema in parts}


@cache
def _frames() -> Mapping[str, JsonSchema]:
    """Return the frames of the protocol, by name."""
    text = (files("flowcraft.codegen") / "frames.schema.json").read_text("utf-8")
    return cast(Mapping[str, JsonSchema], json.loads(text)["$defs"])


# Names


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)


def _type(name: str) -> str:
    return f"#/components/schemas/{_safe(name)}"


def _part(name: str) -> str:
    return f"#/components/schemas/wire.{name}"
