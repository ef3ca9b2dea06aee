"""Messages between relays and edges: their subjects, and their JSON. `spec/edges.md` specifies both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar

import msgspec

from flowcraft.core.chain import Link
from flowcraft.core.parts import Part
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.records import Batch, Kind, Record, TableRows, Unreadable
from flowcraft.xids import Xids

VERSION = 1
PART_BYTES = 512 * 1024
"""The most bytes of one part, without its head."""
LIVE_BYTES = 4 * 1024 * 1024
"""A longer batch is not published: edges ask for it, and receive it as fast as they can take it."""
PAYLOAD_BYTES = 1024 * 1024
"""What a NATS server must accept in one message: its default."""
ANY_BEAT = "flowcraft.*.*.beat"
"""The beats of every database."""
T = TypeVar("T")


class MessageInvalid(ValueError):
    """A message that is not as specified, or of another version."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """The subjects of one database: its system identifier and its oid."""

    system: int
    database: int

    @classmethod
    def of(cls, lineage: Lineage) -> Subjects:
        return cls(lineage.system, lineage.database)

    @classmethod
    def parse(cls, subject: str) -> Subjects:
        """Read the database from a subject, or from `<system>.<database>`.

        Raises:
            MessageInvalid: the text has no database.
        """
        parts = subject.split(".")
        numbers = parts[1:3] if len(parts) == 4 else parts
        if len(numbers) != 2 or not all(n.isascii() and n.isdigit() and len(n) <= 20 for n in numbers):
            raise MessageInvalid(f"{subject[:64]!r} names no database")
        return cls(int(numbers[0]), int(numbers[1]))

    def __str__(self) -> str:
        return f"{self.system}.{self.database}"

    @property
    def live(self) -> str:
        """Batches, from relays to edges."""
        return f"flowcraft.{self}.live"

    @property
    def beat(self) -> str:
        """Beats, from relays to edges and other relays."""
        return f"flowcraft.{self}.beat"

    @property
    def ask(self) -> str:
        """Questions, from edges to relays."""
        return f"flowcraft.{self}.ask"

    @property
    def wake(self) -> str:
        """Nonces, from edges to relays."""
        return f"flowcraft.{self}.wake"

    @property
    def ephemeral(self) -> str:
        """Events outside the log, from relays to edges."""
        return f"flowcraft.{self}.ephemeral"


class CursorMember(msgspec.Struct, frozen=True):
    """A cursor in full: its text for clients lacks some marks, and is cut beside many transactions."""

    system: int
    database: int
    timeline: int
    generation: int
    xmax: int
    running: str = ""
    marks: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, cursor: Cursor) -> CursorMember:
        lineage, snapshot = cursor.lineage, cursor.snapshot
        return cls(
            *(lineage.system, lineage.database, lineage.timeline, lineage.generation),
            snapshot.xmax,
            str(snapshot.running),
            tuple(sorted(cursor.marks)),
        )

    @property
    def cursor(self) -> Cursor:
        lineage = Lineage(self.system, self.timeline, self.generation, self.database)
        return Cursor(lineage, Snapshot(self.xmax, Xids.parse(self.running)), frozenset(self.marks))


class _Record(msgspec.Struct, frozen=True, array_like=True):
    xid: int
    id: int
    channel: str
    payload: str
    kind: Kind = Kind.EVENT
    trace: str | None = None


class _Unreadable(msgspec.Struct, frozen=True, array_like=True):
    xid: int
    id: int
    channel: str
    reason: str


class BatchMember(msgspec.Struct, frozen=True, omit_defaults=True):
    """A batch; `seen` is its snapshot, as `xmax` and the ranges that run."""

    cursor: CursorMember
    seen: tuple[int, str]
    at: datetime
    oldest: datetime | None = None
    records: tuple[_Record, ...] = ()
    unreadable: tuple[_Unreadable, ...] = ()
    marks: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, batch: Batch) -> BatchMember:
        return cls(
            CursorMember.of(batch.cursor),
            (batch.snapshot.xmax, str(batch.snapshot.running)),
            batch.at,
            batch.oldest,
            tuple([_Record(r.xid, r.id, r.channel, r.payload, r.kind, r.trace) for r in batch.records]),
            tuple([_Unreadable(u.xid, u.id, u.channel, u.reason) for u in batch.unreadable]),
            tuple(batch.marks.items()),
        )

    @property
    def batch(self) -> Batch:
        return Batch(
            tuple([Record(r.xid, r.id, r.channel, r.payload, r.trace, r.kind) for r in self.records]),
            self.cursor.cursor,
            Snapshot(self.seen[0], Xids.parse(self.seen[1])),
            self.at,
            self.oldest,
            tuple([Unreadable(u.xid, u.id, u.channel, u.reason) for u in self.unreadable]),
            dict(self.marks),
        )


class _Head(msgspec.Struct, frozen=True, omit_defaults=True):
    v: int
    relay: str
    message: int
    part: int
    last: bool
    sequence: int = 0


class _Link(msgspec.Struct, frozen=True):
    after: CursorMember
    batch: BatchMember


class Beat(msgspec.Struct, frozen=True, kw_only=True):
    """A relay's sign of life, with the position of its last read."""

    v: int = VERSION
    relay: str
    after: CursorMember
    batch: BatchMember
    echo: tuple[tuple[str, int], ...] = ()
    """The newest nonce of each edge that had arrived before that read began."""
    leaving: bool = False
    """Whether this relay stops now."""

    @classmethod
    def of(cls, relay: str, link: Link, echo: Sequence[tuple[str, int]], *, leaving: bool = False) -> Beat:
        after, batch = CursorMember.of(link.after), BatchMember.of(link.batch)
        return cls(relay=relay, after=after, batch=batch, echo=tuple(echo), leaving=leaving)

    @property
    def link(self) -> Link:
        return Link(self.after.cursor, self.batch.batch)


class Wake(msgspec.Struct, frozen=True, kw_only=True):
    """An edge's nonce. Its echo in a beat proves that the beat is not an old one."""

    v: int = VERSION
    edge: str
    nonce: int


class EphemeralMessage(msgspec.Struct, frozen=True, kw_only=True):
    """An event outside the log. `number` is that of the database, by which two relays double none; or 0."""

    v: int = VERSION
    relay: str
    number: int
    channel: str
    payload: str


LogAsk: TypeAlias = Literal["position", "tail", "replay", "rewound", "rows", "broadcast", "revoke"]
PresenceAsk: TypeAlias = Literal["presence_beat", "presence_attend", "presence_forget"]


class Ask(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An edge's question; the members that it needs."""

    v: int = VERSION
    ask: LogAsk | PresenceAsk
    lineage: tuple[int, int] | None = None
    """Timeline and generation of the newest lineage seen: a relay of an older one does not answer."""
    after: CursorMember | None = None
    channels: tuple[str, ...] = ()
    events: int | None = None
    bytes: int | None = None
    payload: str = ""
    node: str = ""
    changes: tuple[tuple[str, str, str | None], ...] = ()
    """Members of a node: each its channel, its key, and its JSON or null once it has left."""
    whole: bool = False
    beats: dict[str, int] = {}

    @property
    def cursor(self) -> Cursor:
        if self.after is None:
            raise MessageInvalid(f"{self.ask} without a cursor")
        return self.after.cursor


class RowsMember(msgspec.Struct, frozen=True):
    """The rows of a channel, and the cursor of their snapshot."""

    cursor: CursorMember
    rows: tuple[str, ...]
    skipped: int

    @classmethod
    def of(cls, found: TableRows) -> RowsMember:
        return cls(CursorMember.of(found.cursor), tuple(found.rows), found.skipped)

    @property
    def table_rows(self) -> TableRows:
        return TableRows(self.cursor.cursor, self.rows, self.skipped)


class AskError(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a question has no answer: the code of an error, its text, and what else it has."""

    code: str
    text: str = ""
    floor: int | None = None
    lost: tuple[tuple[int, int], ...] = ()
    limit: str = ""
    value: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A relay's answer: the member that the question asks for, or an error, or neither for what is done."""

    v: int = VERSION
    relay: str
    lineage: tuple[int, int]
    batch: BatchMember | None = None
    rows: RowsMember | None = None
    beats: dict[str, int] | None = None
    names: tuple[str, ...] | None = None
    done: bool | None = None
    error: AskError | None = None


def encode(message: msgspec.Struct) -> bytes:
    """Return the JSON of a message."""
    return _encode(message)


def encode_link(link: Link) -> bytes:
    """Return the JSON of a link; `cut` cuts it into parts."""
    return _encode(_Link(CursorMember.of(link.after), BatchMember.of(link.batch)))


def decode_link(content: bytes) -> Link:
    """Return the link of a whole message.

    Raises:
        MessageInvalid: it is none.
    """
    found = _decoded(_decode_link, content)
    return Link(found.after.cursor, found.batch.batch)


def decode(content: bytes, kind: type[T]) -> T:
    """Return a message of a kind.

    Raises:
        MessageInvalid: it is not of this kind, or of another version.
    """
    message: Any = _decoded(_decoders[kind].decode, content)
    if message.v != VERSION:
        raise MessageInvalid(f"version {message.v}, expected {VERSION}")
    found: T = message
    return found


def cut(content: bytes, relay: str, message: int, *, stored: int | None = None) -> Iterator[bytes]:
    """Yield the parts of a message, each with its head; `stored` is the last number in the stream before."""
    last = max(0, len(content) - 1) // PART_BYTES
    for part in range(last + 1):
        sequence = 0 if stored is None else stored + part + 1
        head = _encode(_Head(VERSION, relay, message, part, part == last, sequence))
        yield b"%b\n%b" % (head, content[part * PART_BYTES : (part + 1) * PART_BYTES])


def decode_part(data: bytes) -> Part:
    """Return the part that a message of NATS has.

    Raises:
        MessageInvalid: it has none, or one of another version.
    """
    head, newline, content = data.partition(b"\n")
    found = _decoded(_decode_head, head)
    if not newline or found.v != VERSION:
        raise MessageInvalid(f"version {found.v}, expected {VERSION}")
    return Part(found.relay, found.message, found.part, found.last, content, found.sequence)


_encode = msgspec.json.Encoder().encode
_decode_link = msgspec.json.Decoder(_Link).decode
_decode_head = msgspec.json.Decoder(_Head).decode
_decoders: dict[type, msgspec.json.Decoder[Any]] = {
    kind: msgspec.json.Decoder(kind) for kind in (Beat, Wake, EphemeralMessage, Ask, Answer)
}


def _decoded(decode_as: Callable[[bytes], T], content: bytes) -> T:
    try:
        return decode_as(content)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MessageInvalid(str(error)) from None
