"""Channels: named, typed streams of events, declared once."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload
from uuid import UUID

import msgspec
from typing_extensions import TypeForm

from flowcraft.declarations import (
    Declaration,
    Notify,
    Rows,
    Source,
    Table,
    check_conflation,
    check_rows,
    check_sources,
    members_of,
)
from flowcraft.declared_channels import (
    Channel,
    ChannelFamily,
    PresenceChannel,
    PresenceFamily,
    RowsChannel,
    RowsFamily,
)
from flowcraft.errors import ChannelNameInvalid, ChannelUnknown, DeclarationError
from flowcraft.events import JsonSchema, Payload
from flowcraft.events.schemas import shape
from flowcraft.names import is_name, parameter_of, rows_parameter_of

E = TypeVar("E")  # invariant on purpose: a covariant channel would accept any event in broadcast()
P = TypeVar("P", UUID, int, str)
M = TypeVar("M")


class Channels:
    """The channels of one application. A wrong declaration raises at import."""

    def __init__(self) -> None:
        self._declarations: dict[str, Declaration] = {}

    @overload
    def declare(
        self,
        name: str,
        payload: TypeForm[E],
        *,
        source: Source | Sequence[Source] = (),
        params: None = None,
        durable: bool = True,
        conflate: bool | str = False,
        presence: None = None,
    ) -> Channel[E]: ...

    @overload
    def declare(
        self,
        name: str,
        payload: TypeForm[E],
        *,
        source: Source | Sequence[Source] = (),
        params: Mapping[str, type[P]],
        durable: bool = True,
        conflate: bool | str = False,
        presence: None = None,
    ) -> ChannelFamily[P, E]: ...

    @overload
    def declare(
        self,
        name: str,
        payload: TypeForm[E],
        *,
        source: Source | Sequence[Source] = (),
        params: None = None,
        durable: bool = True,
        conflate: bool | str = False,
        presence: type[M],
    ) -> PresenceChannel[E, M]: ...

    @overload
    def declare(
        self,
        name: str,
        payload: TypeForm[E],
        *,
        source: Source | Sequence[Source] = (),
        params: Mapping[str, type[P]],
        durable: bool = True,
        conflate: bool | str = False,
        presence: type[M],
    ) -> PresenceFamily[P, E, M]: ...

    def declare(
        self,
        name: str,
        payload: TypeForm[E],
        *,
        source: Source | Sequence[Source] = (),
        params: Mapping[str, type[P]] | None = None,
        durable: bool = True,
        conflate: bool | str = False,
        presence: type[Any] | None = None,
    ) -> Channel[E] | ChannelFamily[P, E]:
        """Declare a channel, or with `params` a family of channels.

        `durable=False` makes the channel ephemeral: its events skip the log and reach the clients that are
        connected, **at most once**.

        With `conflate=True` each event supersedes the earlier ones on its channel, and with
        `conflate="run_id"` the earlier ones with the same value in that field: a client that cannot keep up
        then receives only the latest. A client that keeps up receives every event.

        `presence` is the type of the members: who is on the channel now, by the field `id`. Register who a
        viewer is with `@channel.present`. They are the rows of a channel of their own, `runs_members.42` for
        `runs.42`, with the guard of this one.

        Raises:
            DeclarationError: the name breaks the convention, the payload is not an event, or a source,
                `conflate` or `presence` does not fit.
        """
        parameter = parameter_of(name, params or {})
        sources = (source,) if isinstance(source, Table | Notify) else tuple(source)
        declaration = Declaration(name, Payload(payload), parameter, sources, durable, conflate)
        if presence is None:
            self._add(declaration)
            return Channel(name, declaration) if parameter is None else ChannelFamily(declaration)
        self._add(declaration, members_of(declaration, presence))
        if parameter is None:
            return PresenceChannel[E, Any](name, declaration)
        return PresenceFamily[P, E, Any](declaration)

    @overload
    def rows(
        self,
        name: str,
        row: type[E],
        *,
        table: str,
        key: str | Sequence[str],
        params: None = None,
        where: str | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> RowsChannel[E]: ...

    @overload
    def rows(
        self,
        name: str,
        row: type[E],
        *,
        table: str,
        key: str | Sequence[str],
        params: Mapping[str, type[P]],
        where: str | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> RowsFamily[P, E]: ...

    def rows(
        self,
        name: str,
        row: type[E],
        *,
        table: str,
        key: str | Sequence[str],
        params: Mapping[str, type[P]] | None = None,
        where: str | None = None,
        columns: Mapping[str, str] | None = None,
    ) -> RowsChannel[E] | RowsFamily[P, E]:
        """Declare a channel with the rows of a table, or with `params` a family of them.

        A client that subscribes receives the rows, and then every change of them: at each commit point it
        has exactly what a `select` of these columns returns `where` the condition is true and the parameter
        has the channel's value.

        `row` is an event type; its fields take the columns of the same name, or those named in `columns`.
        `key` is the field, or the fields, by which a row is known: a primary key of the table or a unique
        index. `where` is a condition over the table's columns in SQL, such as `not archived`, made of
        immutable functions. The name is `<entity>_rows`, or `<entity>_rows.{param}`.

        Raises:
            DeclarationError: the name breaks the convention, `row` is not an event, or `key`, `columns` or
                the parameter name no field of it.
        """
        parameter = rows_parameter_of(name, params or {})
        source = Rows(table, key=(key,) if isinstance(key, str) else key, where=where, columns=columns)
        declaration = Declaration(name, Payload(row), parameter, (source,), durable=True)
        check_rows(declaration, source)
        self._add(declaration)
        return RowsChannel(name, declaration) if parameter is None else RowsFamily(declaration)

    def _add(self, declaration: Declaration, *others: Declaration) -> None:
        for one in (declaration, *others):
            if one.prefix in self._declarations:
                other = self._declarations[one.prefix].name
                raise DeclarationError(
                    f"{one.name!r} overlaps with {other!r}; there is one channel or family per prefix"
                )
        check_sources(declaration)
        check_conflation(declaration)
        for one in (declaration, *others):
            self._declarations[one.prefix] = one

    def __iter__(self) -> Iterator[Declaration]:
        return iter(self._declarations.values())

    def __len__(self) -> int:
        return len(self._declarations)

    def resolve(self, name: str) -> tuple[Declaration, UUID | int | str | None]:
        """Find the declaration of a channel's full name, and the value of its parameter.

        Raises:
            ChannelNameInvalid: the name is outside the grammar.
            ChannelUnknown: no declared channel has this name.
        """
        declaration = self._declarations.get(name)
        if declaration is not None and declaration.parameter is None:
            return declaration, None  # most names that are declared as they are; they follow the grammar
        if not is_name(name):
            raise ChannelNameInvalid(name)
        prefix, dot, text = name.partition(".")
        declaration = self._declarations.get(prefix)
        if declaration is None or (declaration.parameter is None) == bool(dot):
            raise ChannelUnknown(name, self._suggest(prefix, text))
        if declaration.parameter is None:
            return declaration, None
        try:
            value = declaration.parameter.parse(text)
        except ValueError:
            raise ChannelUnknown(name) from None
        if str(value) != text:
            raise ChannelUnknown(name, f"{prefix}.{value}")
        return declaration, value

    def schema(self) -> JsonSchema:
        """Return the JSON Schema of every channel, by declared name."""
        return {declaration.name: declaration.payload.schema() for declaration in self}

    def schema_hash(self) -> str:
        """Return 16 hex digits that change when a name, a type or the durability of a channel does."""
        described = [
            (
                *(d.name, d.parameter and d.parameter.type.__name__, d.durable, shape(d.payload.schema())),
                *(d.row_key or ()),
            )
            for d in sorted(self, key=lambda d: d.name)
        ]
        return hashlib.sha256(msgspec.json.encode(described, order="deterministic")).hexdigest()[:16]

    def _suggest(self, prefix: str, text: str) -> str | None:
        # 0.7: names that share only the ending `_update` must not count as similar
        close = difflib.get_close_matches(prefix, self._declarations, n=1, cutoff=0.7)
        if not close:
            return None
        parameter = self._declarations[close[0]].parameter
        return close[0] if parameter is None else f"{close[0]}.{text or '{' + parameter.name + '}'}"
