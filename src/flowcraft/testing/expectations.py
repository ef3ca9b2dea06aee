"""Expectations: which event a test waits for, and what it is told when that does not come."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from flowcraft.channels import Declaration
from flowcraft.records import Record

_SHOWN = 10
_WIDTH = 160


class EventMissing(AssertionError):
    """The event that a test expected did not come; the text says what came instead, and what to look at."""


class EventUnexpected(AssertionError):
    """An event came where a test expected none."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an event must be: of a type, with some values, liked by a function; as far as these are given."""

    kind: type | None
    where: Callable[[object], bool] | None
    fields: Mapping[str, object]

    @classmethod
    def of(
        cls, declaration: Declaration, first: object, where: object, fields: Mapping[str, object]
    ) -> Expectation:
        """Read the arguments of `expect`.

        Raises:
            TypeError: the channel carries no such event, or none with such a field.
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
                raise TypeError(f"no event of {declaration.name} has a field {name!r}; there are {there_are}")
        return cls(kind, cast("Callable[[object], bool] | None", check), fields)

    def fits(self, event: object) -> bool:
        """Tell whether this is it."""
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


_NOTHING = object()


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known when an event did not come."""

    channel: str
    durable: bool
    heard: Sequence[object]
    fitted_before: bool
    """One that fits was there, before the place up to which the test has read."""
    elsewhere: Sequence[Record]
    """What was committed on other channels meanwhile."""
    unfinished: int
    """Transactions that have begun and not ended, where that is known."""
    source: str
    """Where events would come from."""


def missing(expectation: Expectation, after: str, seen: Circumstances) -> EventMissing:
    """Tell that an event did not come."""
    lines = [f"no event on {seen.channel}{expectation}, {after}"]
    if seen.heard:
        lines += [f"heard on {seen.channel} since the subscription:", *_list(seen.heard)]
    if seen.elsewhere:
        others = [f"{record.channel}: {record.payload}" for record in seen.elsewhere]
        lines += ["committed meanwhile on other channels:", *_list(others)]
    return EventMissing("\n".join([*lines, f"next: {_advice(seen)}"]))


def unexpected(expectation: Expectation, channel: str, events: Sequence[object]) -> EventUnexpected:
    """Tell that events came."""
    count = "an event" if len(events) == 1 else f"{len(events)} events"
    lines = [f"{count} on {channel}{expectation}, where none was expected:", *_list(events)]
    lines.append("next: expect() them first if they belong here; expect_nothing() looks at what was not read")
    return EventUnexpected("\n".join(lines))


def _advice(seen: Circumstances) -> str:
    if seen.fitted_before:
        return "one that fits was passed before; expect() reads on, never back: expect events in their order"
    if seen.heard:
        return "compare what was expected with what was heard"
    if seen.elsewhere:
        return f"is it broadcast on {seen.channel}, and not on one of those channels?"
    if seen.unfinished:
        return f"commit; {seen.unfinished} transaction(s) have begun and not ended"
    if not seen.durable:
        return "an ephemeral event reaches only who is subscribed already: subscribe before it is stated"
    return f"nothing was committed on any channel; {seen.source}"


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
