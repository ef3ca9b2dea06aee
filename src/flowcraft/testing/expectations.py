"""Expectations: match the event that a test waits for, and explain a failure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from flowcraft.declarations import Declaration
from flowcraft.records import Record

_SHOWN = 10
_WIDTH = 160


class EventMissing(AssertionError):
    """The expected event did not arrive; the text lists the events that did, and the next step."""


class RowsMissing(AssertionError):
    """The rows of a channel are not as expected; the text lists both, and the next step."""


class EventUnexpected(AssertionError):
    """An event arrived where a test expected none."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """The conditions on an event: a type, values of fields, a predicate; each may be absent."""

    kind: type | None
    where: Callable[[object], bool] | None
    fields: Mapping[str, object]

    @classmethod
    def of(
        cls, declaration: Declaration, first: object, where: object, fields: Mapping[str, object]
    ) -> Expectation:
        """Parse the arguments of `expect`.

        Raises:
            TypeError: the channel does not carry this event type, or no event with such a field.
        """
        kind = first if isinstance(first, type) else None
        check = where if kind is not None else first
        members = declaration.payload.members
        if kind is not None and kind not in members:
            raise TypeError(f"{declaration.name} carries {declaration.payload}, never {kind.__name__}")
        known = {name for member in ([kind] if kind else members) for name in _attributes(member)}
        for name in fields:
            if name not in known:
                there_are = ", ".join(sorted(known))
                raise TypeError(
                    f"no event of {declaration.name} has a field {name!r}; the fields are {there_are}"
                )
        return cls(kind, cast("Callable[[object], bool] | None", check), fields)

    def fits(self, event: object) -> bool:
        """Return whether an event meets the conditions; a row that is gone or a skipped event does not."""
        if isinstance(event, Gone | Skipped):
            return False
        if self.kind is not None and not isinstance(event, self.kind):
            return False
        if any(getattr(event, name, _NOTHING) != value for name, value in self.fields.items()):
            return False
        return self.where is None or self.where(event)

    def __str__(self) -> str:
        parts = [self.kind.__name__] if self.kind else []
        parts += [f"{name}={value!r}" for name, value in self.fields.items()]
        parts += [_name_of(self.where)] if self.where else []
        return f" that fits {', '.join(parts)}" if parts else ""


@dataclass(frozen=True, slots=True)
class Gone:
    """A row that left the channel, by the fields of its key."""

    key: Mapping[str, object]

    def __str__(self) -> str:
        return f"gone: {', '.join(f'{name}={value!r}' for name, value in self.key.items())}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """An event that could not be delivered."""

    reason: str

    def __str__(self) -> str:
        return f"skipped: {self.reason}"


@dataclass(frozen=True, slots=True)
class GoneExpectation:
    """The fields of the key of a row that is expected to leave; each may be absent."""

    key: Mapping[str, object]

    def fits(self, event: object) -> bool:
        """Return whether this is a row that left, with these values in its key."""
        return isinstance(event, Gone) and all(
            event.key.get(name, _NOTHING) == value for name, value in self.key.items()
        )

    def __str__(self) -> str:
        key = (
            f" with {', '.join(f'{name}={value!r}' for name, value in self.key.items())}" if self.key else ""
        )
        return f" of a row that is gone{key}"


_NOTHING = object()


@dataclass(frozen=True, slots=True)
class FailureContext:
    """The facts for the error about an event that did not arrive."""

    channel: str
    durable: bool
    received: Sequence[object]
    passed_before: bool
    """Whether a matching event was read before this call."""
    elsewhere: Sequence[Record]
    """The records committed on other channels meanwhile."""
    unfinished: int
    """The number of transactions that have begun and not ended, if known."""
    source: str
    """The question about the events' source, as the next step."""


def missing(expectation: Expectation | GoneExpectation, after: str, context: FailureContext) -> EventMissing:
    """Return the error for an event that did not arrive."""
    lines = [f"no event on {context.channel}{expectation}, {after}"]
    if context.received:
        lines += [f"received on {context.channel} since the subscription:", *_list(context.received)]
    if context.elsewhere:
        others = [f"{record.channel}: {record.payload}" for record in context.elsewhere]
        lines += ["committed meanwhile on other channels:", *_list(others)]
    return EventMissing("\n".join([*lines, f"next: {_advice(context)}"]))


def rows_missing(
    channel: str, expected: Sequence[object] | object, rows: Sequence[object], seconds: float
) -> RowsMissing:
    """Return the error for rows that are not as expected."""
    after = f"within {seconds:g} s" if seconds else "with everything committed by now"
    lines = [f"{channel} does not have the expected rows, {after}"]
    if isinstance(expected, Sequence):
        wanted = cast("Sequence[object]", expected)
        lines += ["missing:", *_list([row for row in wanted if row not in rows])]
        lines += ["not expected:", *_list([row for row in rows if row not in wanted])]
    else:
        lines += ["its rows:", *_list(rows)]
    return RowsMissing(
        "\n".join([*lines, "next: check that the code under test commits, and `where` and the parameter"])
    )


def count_missing(channel: str, expected: int, count: int, seconds: float) -> RowsMissing:
    """Return the error for a channel that has another number of rows."""
    return RowsMissing(
        f"{channel} has {count} rows and not {expected}, within {seconds:g} s\n"
        "next: check that the code under test commits, and who is shown"
    )


def unexpected(expectation: Expectation, channel: str, events: Sequence[object]) -> EventUnexpected:
    """Return the error for events that arrived."""
    count = "an event" if len(events) == 1 else f"{len(events)} events"
    lines = [f"{count} on {channel}{expectation}, where none was expected:", *_list(events)]
    lines.append("next: expect() them first if they belong here; expect_nothing() checks unread events")
    return EventUnexpected("\n".join(lines))


def _advice(context: FailureContext) -> str:
    if context.passed_before:
        return "a matching event was read before; expect() only reads forward: expect events in their order"
    if context.received:
        return "compare the expected event with the received ones"
    if context.elsewhere:
        return f"check that the code broadcasts on {context.channel}, and not on one of those channels"
    if context.unfinished:
        return f"commit; {context.unfinished} transaction(s) have begun and not ended"
    if not context.durable:
        return "an ephemeral event reaches only present subscribers: subscribe before the broadcast"
    return f"nothing was committed on any channel; {context.source}"


def _list(events: Sequence[object]) -> list[str]:
    shown = [f"    {event}" for event in events[-_SHOWN:]]
    hidden = len(events) - len(shown)
    return [
        *([f"    … and {hidden} before"] if hidden else []),
        *(line if len(line) <= _WIDTH else f"{line[:_WIDTH]}…" for line in shown),
    ]


def _attributes(member: type) -> set[str]:
    return {name for ancestor in member.__mro__ for name in inspect.get_annotations(ancestor)}


def _name_of(where: Callable[[object], bool]) -> str:
    name = getattr(where, "__name__", "")
    return "the given condition" if name in {"", "<lambda>"} else name
