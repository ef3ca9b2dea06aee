"""Rules of coverage: every change of a source's rows becomes an event that a client can receive."""

from __future__ import annotations

from collections.abc import Iterator

from flowcraft.checking.facts import Facts
from flowcraft.checking.findings import Fault
from flowcraft.checking.rules.installing import fields, lost, migrate_with, place_of, plain, sources
from flowcraft.declarations import Notify

_NAMES = "'^[A-Za-z0-9_-]{1,64}$'"


def partitions_have_triggers(facts: Facts) -> Iterator[Fault]:
    for found in sources(facts):
        if found.uncovered:
            yield Fault(
                place_of(facts, found),
                f"{found.source.channel}: {', '.join(found.uncovered)}, a part of {plain(found)}, has no "
                f"triggers: if it is written to directly, {lost(found)}; run {migrate_with(facts)} after "
                "each new one",
            )


def is_no_part_of_another(facts: Facts) -> Iterator[Fault]:
    for found in sources(facts):
        if found.parent is not None:
            yield Fault(
                place_of(facts, found),
                f"{found.source.channel}: {plain(found)} is a part of {found.parent}: if it is written to "
                f"through {found.parent}, {lost(found)}; name {found.parent} in Table(...)",
            )


def rows_have_a_key(facts: Facts) -> Iterator[Fault]:
    for found in sources(facts):
        # Rows without a key are refused by `migrate`.
        keyless = found.without_key is not None and not found.source.is_of_guard
        if keyless and "update" in found.source.on:
            yield Fault(
                place_of(facts, found),
                f"{found.source.channel}: {found.without_key}, so no page receives that a row was deleted or "
                "has another channel now, and of a row that a trigger changes again the last event may be an "
                "earlier state; add a primary key, or the right to read, and migrate",
            )


def rows_have_an_index(facts: Facts) -> Iterator[Fault]:
    for found in sources(facts):
        if found.without_index is not None:
            yield Fault(
                place_of(facts, found),
                f"{found.source.channel}: no index of {plain(found)} begins with {found.without_index}: the "
                "whole table is read for the rows of one channel; create one on "
                f"{plain(found)} ({found.without_index})",
            )


def values_are_names(facts: Facts) -> Iterator[Fault]:
    for found, field, column in fields(facts):
        is_name = field.name == found.source.parameter and found.source.parameter_type == "str"
        if column is not None and is_name and column.category == "S" and not column.checked:
            yield Fault(
                place_of(facts, found),
                f"{found.source.channel}: nothing limits {plain(found)}.{column.name} to what can stand in a "
                "channel's name, and the event of a row with another value is skipped; add "
                f"`check ({column.name} ~ {_NAMES})`, or make the channel of an id",
            )


def values_are_listed(facts: Facts) -> Iterator[Fault]:
    for found, field, column in fields(facts):
        if column is None or field.one_of is None:
            continue
        where = f"{found.source.channel}: {plain(found)}.{column.name}"
        event = f"{found.source.event}.{field.name}"
        unlisted = [label for label in column.labels if label not in field.one_of]
        if unlisted:
            yield Fault(
                place_of(facts, found),
                f"{where} may be {', '.join(unlisted)}, which {event} does not list, and the event of such a "
                "row is skipped; add it to the field's type",
            )
        elif not column.labels and not column.checked and column.category in "SE":
            listed = ", ".join(f"'{one}'" for one in field.one_of)
            yield Fault(
                place_of(facts, found),
                f"{where} may be any text, and the event of a row with one that {event} does not list is "
                f"skipped; add `check ({column.name} in ({listed}))`",
            )


def no_other_role_listens(facts: Facts) -> Iterator[Fault]:
    """PostgreSQL has no rights for NOTIFY, and events that are not in the log travel in it."""
    listeners = facts.database.listeners if facts.database else ()
    for declaration in facts.channels or () if listeners else ():
        notifies = any(isinstance(source, Notify) for source in declaration.sources)
        if declaration.guard is not None and (not declaration.durable or notifies):
            roles = ", ".join(listeners[:5]) + (", …" if len(listeners) > 5 else "")
            yield Fault(
                facts.python.declared.get(declaration.name),
                f"{declaration.name} has a guard, but its events travel in NOTIFY, and every role that may "
                f"connect can LISTEN to them: {roles}; remove durable=False, or run `revoke connect on "
                "database … from public` and grant it to the roles that may read them",
            )
