"""Rules of subscriptions: subscribed channels are declared, and declared channels are subscribed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from flowcraft.channels import Channels
from flowcraft.checking.facts import ChannelRead, Facts, SubscribeCall
from flowcraft.checking.findings import Fault
from flowcraft.codegen.typescript_text import camel_case
from flowcraft.declarations import Declaration, Table
from flowcraft.errors import ChannelNameInvalid, ChannelUnknown

_SOMETHING = "${…}"
_WITH_HANDLER = ("subscribe", "useChannel")
_OF_MEMBERS = ("usePresence", "presenceStore")


def is_declared(facts: Facts) -> Iterator[Fault]:
    for read in _reads(facts):
        sentence = _undeclared(read, facts.channels or Channels()) if read.parts else None
        if sentence is not None:
            yield Fault(read.place, sentence)


def builder_exists(facts: Facts) -> Iterator[Fault]:
    known = {camel_case(declaration.prefix): declaration for declaration in facts.channels or ()}
    for used in facts.web.builders if facts.web else ():
        if used.name not in known:
            yield Fault(
                used.place, f"channel.{used.name} is not declared{_meant(used.name, known, 'channel.')}"
            )


def is_subscribed(facts: Facts) -> Iterator[Fault]:
    if facts.web is None or facts.web.error is not None or any(file.broken for file in facts.web.files):
        return
    unread = [read.place for read in _reads(facts) if read.parts[:1] == (None,)]
    doubt = f" ({unread[0].path}:{unread[0].line} may: its channel is unknown)" if unread else ""
    subscribed = {
        prefix for call in facts.web.subscriptions for prefix in _prefixes(call, facts.channels or ())
    }
    for declaration in facts.channels or ():
        if declaration.prefix not in subscribed:
            if declaration.members_of is not None:
                yield _unshown(declaration.members_of, facts, doubt)
                continue
            yield Fault(
                facts.python.declared.get(declaration.name),
                f"no code in {facts.web.folder} subscribes to {declaration.name}{doubt}; subscribe in a hook "
                f"such as features/{_feature(declaration)}/hooks/use-{_feature(declaration)}.ts, or remove "
                "the channel",
            )


def _unshown(declaration: Declaration, facts: Facts, doubt: str) -> Fault:
    call = f"channel.{camel_case(declaration.prefix)}" + ("" if declaration.parameter is None else "(…)")
    return Fault(
        facts.python.declared.get(declaration.name),
        f"no page shows who is present on {declaration.name}{doubt}; call usePresence({call}), or remove "
        "presence=",
    )


def removes_what_is_gone(facts: Facts) -> Iterator[Fault]:
    for call in facts.web.subscriptions if facts.web else ():
        if call.how not in _WITH_HANDLER or call.on_gone is not False:
            continue
        prefixes = _prefixes(call, facts.channels or ())
        for declaration in facts.channels or ():
            if declaration.prefix in prefixes and _is_list(declaration):
                yield Fault(
                    call.place,
                    f"rows of {declaration.name} that are deleted, or are on another channel now, stay on "
                    f"the page: the handler receives none of them; add {{ onGone }} to {call.how}(…), use "
                    "useChannelState, or declare an event with on=['delete']",
                )


def _is_list(declaration: Declaration) -> bool:
    """Return whether rows leave a channel on which others stay: that of more than one row of a table."""
    tables = [source for source in declaration.sources if isinstance(source, Table)]
    if any("delete" in one.on for one in tables):
        return False
    parameter = declaration.parameter.name if declaration.parameter else None
    return any("update" in one.on and parameter not in _names_of_key(one) for one in tables)


def _names_of_key(table: Table) -> tuple[str, ...]:
    name = table.name.rpartition(".")[2].strip('"').lower()
    return "id", f"{name}_id", f"{name.removesuffix('s')}_id"


def _reads(facts: Facts) -> Iterator[ChannelRead]:
    for subscription in facts.web.subscriptions if facts.web else ():
        yield from subscription.channels


def _prefixes(call: SubscribeCall, channels: Iterable[Declaration]) -> set[str | None]:
    """Return the prefixes of the channels that a call subscribes to."""
    found = {_prefix(read, channels) for read in call.channels}
    if call.how not in _OF_MEMBERS:
        return found
    return {d.members.prefix for d in channels if d.prefix in found and d.members is not None}


def _prefix(read: ChannelRead, channels: Iterable[Declaration]) -> str | None:
    if read.builder is not None:
        return next((d.prefix for d in channels if camel_case(d.prefix) == read.builder), None)
    return None if not read.parts or read.parts[0] is None else read.parts[0].partition(".")[0]


def _undeclared(read: ChannelRead, channels: Channels) -> str | None:
    """Return the fault of a name, or None if it is declared or its beginning is unknown."""
    shown = "".join(_SOMETHING if part is None else part for part in read.parts)
    if None not in read.parts:
        return _unresolved(shown, channels)
    prefix, dot, _ = (read.parts[0] or "").partition(".")
    if not dot:
        return None
    declaration = next((one for one in channels if one.prefix == prefix), None)
    if declaration is None:
        names = {one.prefix: one for one in channels if one.parameter is not None}
        return f"channel `{shown}` is not declared{_meant(prefix, names)}"
    if declaration.parameter is None:
        return f"channel `{shown}` is not declared: {declaration.name} is one channel and takes no value"
    return None


def _unresolved(name: str, channels: Channels) -> str | None:
    try:
        channels.resolve(name)
    except ChannelNameInvalid as error:
        return str(error)
    except ChannelUnknown as error:
        own = next((one for one in channels if one.prefix == name.partition(".")[0]), None)
        if own is None or error.suggestion:
            return str(error)
        if own.parameter is None:
            return f"channel {name!r} is not declared: {own.name} is one channel and takes no value"
        kind, builder = own.parameter.type.__name__, camel_case(own.prefix)
        return f"channel {name!r} is not declared: {own.name} takes a {kind}, as in channel.{builder}(…)"
    return None


def _meant(name: str, known: Iterable[str], before: str = "") -> str:
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return f"; did you mean {before}{close[0]}?"
    return f"; declared: {', '.join(before + one for one in names)}" if names else "; no channel is declared"


def _feature(declaration: Declaration) -> str:
    return declaration.prefix.removesuffix("_update").replace("_", "-")
