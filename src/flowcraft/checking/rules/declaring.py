"""Rules of the service: channels are declared, and their events are broadcast."""

from __future__ import annotations

from collections.abc import Iterator

from flowcraft.checking.facts import Facts
from flowcraft.checking.findings import Fault
from flowcraft.declarations import Declaration, Notify, Table


def can_be_imported(facts: Facts) -> Iterator[Fault]:
    if facts.failure is not None:
        yield Fault(
            facts.failure.place,
            f"{facts.failure.text}; nothing else was checked: fix this, and check again",
        )


def can_be_parsed(facts: Facts) -> Iterator[Fault]:
    for problem in facts.python.broken:
        yield Fault(
            problem.place, f"this file is not valid Python: {problem.text}; its broadcasts cannot be checked"
        )


def names_a_channel(facts: Facts) -> Iterator[Fault]:
    for problem in facts.python.unknown:
        yield Fault(problem.place, f"{problem.text}; declare it, or correct the name")


def is_awaited(facts: Facts) -> Iterator[Fault]:
    for call in facts.python.broadcasts:
        if call.channel is not None and not call.awaited:
            yield Fault(
                call.place,
                f"this broadcast on {call.channel} is never awaited, so nothing is sent; write "
                "`await` before it",
            )


def carries_the_event(facts: Facts) -> Iterator[Fault]:
    payloads = {declaration.name: declaration.payload for declaration in facts.channels or ()}
    for call in facts.python.broadcasts:
        payload = payloads.get(call.channel or "")
        if payload is not None and call.event is not None and call.event not in payload.members:
            yield Fault(
                call.place,
                f"{call.channel} carries {payload}, not {call.event.__name__}; "
                "broadcast one of these, or add it to the channel's type",
            )


def is_produced(facts: Facts) -> Iterator[Fault]:
    if facts.python.broken:
        return  # a file that cannot be parsed may broadcast it
    broadcast = {call.channel for call in facts.python.broadcasts}
    unread = [call.place for call in facts.python.broadcasts if call.channel is None]
    doubt = f" ({unread[0].path}:{unread[0].line} may broadcast it: its channel is unknown)" if unread else ""
    for declaration in facts.channels or ():
        missing = _without_source(declaration)
        if declaration.name in broadcast or not missing:
            continue
        what = f"{' or '.join(missing)} on {declaration.name}" if declaration.sources else declaration.name
        yield Fault(
            facts.python.declared.get(declaration.name),
            f"{what} has no source and no broadcast{doubt}; declare it with source=Table(...), or call "
            "realtime.broadcast(...) in a service",
        )


def _without_source(declaration: Declaration) -> list[str]:
    """Return the events without a source. A `Notify` may carry any of them; members need none."""
    if declaration.members_of is not None or any(
        isinstance(source, Notify) for source in declaration.sources
    ):
        return []
    members = declaration.payload.members
    made = [source.event or members[0] for source in declaration.sources if isinstance(source, Table)]
    return [member.__name__ for member in members if member not in made]
