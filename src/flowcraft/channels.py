"""Channels: named, typed streams of events, declared once."""

from __future__ import annotations

import difflib
import hashlib
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar, get_args, overload
from uuid import UUID

import msgspec
from typing_extensions import TypeForm

from flowcraft.errors import ChannelNameInvalid, ChannelUnknown, DeclarationError
from flowcraft.events import JsonSchema, Payload
from flowcraft.events.schemas import shape
from flowcraft.names import Parameter, is_name, parameter_of, rows_parameter_of
from flowcraft.viewers import Viewer

E = TypeVar("E")  # invariant on purpose: a covariant channel would accept any event in broadcast()
P = TypeVar("P", UUID, int, str)
_Answer = TypeVar("_Answer", bound=bool | Awaitable[bool])
PERSON = "person"
"""The field of `depends_on` whose column has the subject of the viewer."""
Operation: TypeAlias = Literal["insert", "update", "delete"]


@dataclass(frozen=True, slots=True)
class Table:
    """Source: rows of a table. A generated trigger writes the event in the transaction that changes the row.

    Fields of the event take the column of the same name, or the one named here: `Table("runs", run_id="id")`.
    If the channel carries a union, `event` is the member that a row becomes. A field with the name of an
    argument of this class goes into `columns`. For a delete, the columns are those of the deleted row.

    In `guard(depends_on=...)` the fields are `person` and the channel's parameter: see `Channel.guard`.
    """

    name: str
    event: type | None
    on: tuple[Operation, ...]
    columns: Mapping[str, str]

    def __init__(
        self,
        name: str,
        /,
        *,
        event: type | None = None,
        on: Sequence[Operation] = ("insert", "update"),
        columns: Mapping[str, str] | None = None,
        **fields: str,
    ) -> None:
        if not on or not set(on) <= set(get_args(Operation)):
            raise DeclarationError(
                f'Table({name!r}, on={on!r}): on takes any of "insert", "update", "delete"'
            )
        for attribute, value in (("name", name), ("event", event), ("on", tuple(on))):
            object.__setattr__(self, attribute, value)
        object.__setattr__(self, "columns", {**(columns or {}), **fields})


@dataclass(frozen=True, slots=True)
class Notify:
    """Source: an existing `pg_notify(name, json)` that other code sends.

    Delivered **at most once**: PostgreSQL keeps no NOTIFY for a listener that is not connected, so
    events have no replay and no id. For a family of channels, the JSON must hold the parameter.
    """

    name: str

    def __post_init__(self) -> None:
        if not self.name or len(self.name.encode()) > 63:
            raise DeclarationError(f"Notify({self.name!r}): PostgreSQL's channel names have 1 to 63 bytes")


@dataclass(frozen=True, slots=True, init=False)
class Rows(Table):
    """The rows of a table that a channel of rows has: those for which `where` is true; see `Channels.rows`.

    `key` has the fields by which a row is known. `where` is a condition over the columns, in SQL.
    """

    key: tuple[str, ...]
    where: str | None

    def __init__(
        self, name: str, /, *, key: Sequence[str], where: str | None, columns: Mapping[str, str] | None
    ) -> None:
        Table.__init__(self, name, columns=columns)
        object.__setattr__(self, "key", tuple(key))
        object.__setattr__(self, "where", where)


Source: TypeAlias = Table | Notify
Guard: TypeAlias = Callable[..., bool | Awaitable[bool]]


@dataclass(slots=True, eq=False)
class Declaration:
    """The declaration of one channel or family of channels."""

    name: str
    payload: Payload
    parameter: Parameter | None
    sources: tuple[Source, ...]
    durable: bool
    conflate: bool | str = False
    guard: Guard | None = field(default=None)
    depends_on: tuple[Table, ...] = ()
    """The tables that the guard reads: a change of a row has it asked again."""

    @property
    def prefix(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def rows(self) -> Rows | None:
        """The rows that the channel has, if it is a channel of rows."""
        return next((source for source in self.sources if isinstance(source, Rows)), None)


class _One(Generic[E]):
    """One channel by its full name."""

    __slots__ = ("declaration", "name")

    def __init__(self, name: str, declaration: Declaration) -> None:
        self.name = name
        self.declaration = declaration

    @overload
    def guard(self, check: Callable[[Viewer], _Answer], /) -> Callable[[Viewer], _Answer]: ...

    @overload
    def guard(
        self, /, *, depends_on: Table | Sequence[Table]
    ) -> Callable[[Callable[[Viewer], _Answer]], Callable[[Viewer], _Answer]]: ...

    def guard(
        self,
        check: Callable[[Viewer], _Answer] | None = None,
        /,
        *,
        depends_on: Table | Sequence[Table] = (),
    ) -> Callable[..., Any]:
        """Register the guard: called with the viewer, it returns whether this viewer may subscribe.

        A client without a viewer is refused without a call; an exception in the guard refuses too.

        `depends_on` names tables that the guard reads, as `Table("staff", columns={"person": "login"})`.
        An insert, update or delete of a row, or a TRUNCATE, has the guard asked again for that person, the
        `Viewer.subject`: no event that commits with the change or later is delivered until it has allowed
        again. Without `person` it is asked for every viewer. `on` without "insert" leaves inserts out.

        Raises:
            DeclarationError: the channel has a guard already, or is one channel of a family; or a table of
                `depends_on` has other columns.
        """
        if self.declaration.parameter is not None:
            raise DeclarationError(
                f"{self.name} is one channel of a family; guard {self.declaration.name} as a whole"
            )
        return _guard(self.declaration, check, depends_on)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class Channel(_One[E]):
    """One channel by its full name: `run_update`, or `runs.42` of a family."""

    __slots__ = ()


class RowsChannel(_One[E]):
    """One channel of rows by its full name: `user_rows`, or `task_rows.7` of a family.

    It is no `Channel`: its rows are those of the table, so nothing is broadcast on it.
    """

    __slots__ = ()


class _Family(Generic[P]):
    """The channels of one kind of entity."""

    __slots__ = ("declaration",)

    def __init__(self, declaration: Declaration) -> None:
        self.declaration = declaration

    def _name(self, value: P) -> str:
        parameter = self.declaration.parameter
        assert parameter is not None
        if not isinstance(value, parameter.type) or isinstance(value, bool):
            expected = parameter.type.__name__
            raise TypeError(f"{self.declaration.name} takes {expected}, got {type(value).__name__} {value!r}")
        name = f"{self.declaration.prefix}.{value}"
        if not is_name(name) or not parameter.reads(str(value)):
            raise ChannelNameInvalid(name)
        return name

    @overload
    def guard(self, check: Callable[[Viewer, P], _Answer], /) -> Callable[[Viewer, P], _Answer]: ...

    @overload
    def guard(
        self, /, *, depends_on: Table | Sequence[Table]
    ) -> Callable[[Callable[[Viewer, P], _Answer]], Callable[[Viewer, P], _Answer]]: ...

    def guard(
        self,
        check: Callable[[Viewer, P], _Answer] | None = None,
        /,
        *,
        depends_on: Table | Sequence[Table] = (),
    ) -> Callable[..., Any]:
        """Register the guard: called with viewer and parameter, it returns whether the viewer may subscribe.

        A client without a viewer is refused without a call; an exception in the guard refuses too.

        `depends_on` names tables that the guard reads, as
        `Table("members", columns={"person": "person", "team_id": "team"})`. An insert, update or delete of a
        row, or a TRUNCATE, has the guard asked again for that person, the `Viewer.subject`, and that channel:
        no event that commits with the change or later is delivered until it has allowed again. Without
        `person` it is asked for every viewer, without the parameter for every channel of the family. `on`
        without "insert" leaves inserts out.

        Raises:
            DeclarationError: the family has a guard already, or a table of `depends_on` has other columns.
        """
        return _guard(self.declaration, check, depends_on)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.declaration.name!r})"


class ChannelFamily(_Family[P], Generic[P, E]):
    """The channels of one kind of entity, one for each id: `run(run_id)` is the channel `runs.<run_id>`."""

    __slots__ = ()

    def __call__(self, value: P) -> Channel[E]:
        """Return the channel of one entity.

        Raises:
            TypeError: the value is not of the declared type.
            ChannelNameInvalid: its text cannot stand in a channel's name.
        """
        return Channel(self._name(value), self.declaration)


class RowsFamily(_Family[P], Generic[P, E]):
    """The channels with the rows of each entity: `task_rows(7)` is the channel `task_rows.7`."""

    __slots__ = ()

    def __call__(self, value: P) -> RowsChannel[E]:
        """Return the channel of one entity.

        Raises:
            TypeError: the value is not of the declared type.
            ChannelNameInvalid: its text cannot stand in a channel's name.
        """
        return RowsChannel(self._name(value), self.declaration)


_Check = TypeVar("_Check", bound=Callable[..., bool | Awaitable[bool]])


def _guard(
    declaration: Declaration, check: _Check | None, depends_on: Table | Sequence[Table]
) -> _Check | Callable[[_Check], _Check]:
    tables = (depends_on,) if isinstance(depends_on, Table) else tuple(depends_on)
    for table in tables:
        _check_dependency(declaration, table)

    def register(check: _Check) -> _Check:
        _set_guard(declaration, check)
        declaration.depends_on = tables
        return check

    return register if check is None else register(check)


def _check_dependency(declaration: Declaration, table: object) -> None:
    parameter = None if declaration.parameter is None else declaration.parameter.name
    where = f"the guard of {declaration.name}: depends_on"
    if not isinstance(table, Table):
        raise DeclarationError(f"{where} takes Table(...), got {type(table).__name__}")
    where = f"{where}=Table({table.name!r})"
    if table.event is not None:
        raise DeclarationError(f"{where} makes no events; remove event=")
    if parameter == PERSON:
        raise DeclarationError(
            f"{where}: {PERSON!r} is the column of the viewer, and the parameter of the family has this name "
            "too; rename the parameter"
        )
    takes = [PERSON] if parameter is None else [PERSON, parameter]
    example = ", ".join(f'"{name}": "<column>"' for name in takes)
    for name in table.columns:
        if name not in takes:
            raise DeclarationError(f"{where} has the unknown field {name!r}; write columns={{{example}}}")
    if not table.columns:
        raise DeclarationError(
            f"{where} does not name the columns of the viewer and the channel; write columns={{{example}}}, "
            "or leave one out where a row concerns every viewer or every channel"
        )


def _set_guard(declaration: Declaration, check: Guard) -> None:
    if declaration.guard is not None:
        raise DeclarationError(f"{declaration.name} has a guard already; combine the two in one function")
    expected = ["viewer"] if declaration.parameter is None else ["viewer", declaration.parameter.name]
    try:
        # A guard that cannot be called would refuse every client, with no reason visible to the developer.
        inspect.signature(check).bind(*expected)
    except TypeError as error:
        raise DeclarationError(
            f"the guard of {declaration.name} is called as guard({', '.join(expected)}): {error}"
        ) from None
    declaration.guard = check


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
    ) -> ChannelFamily[P, E]: ...

    def declare(
        self,
        name: str,
        payload: TypeForm[E],
        *,
        source: Source | Sequence[Source] = (),
        params: Mapping[str, type[P]] | None = None,
        durable: bool = True,
        conflate: bool | str = False,
    ) -> Channel[E] | ChannelFamily[P, E]:
        """Declare a channel, or with `params` a family of channels.

        `durable=False` makes the channel ephemeral: its events skip the log and reach the clients that are
        connected, **at most once**.

        With `conflate=True` each event supersedes the earlier ones on its channel, and with
        `conflate="run_id"` the earlier ones with the same value in that field: a client that cannot keep up
        then receives only the latest. A client that keeps up receives every event.

        Raises:
            DeclarationError: the name breaks the convention, the payload is not an event, or a source or
                `conflate` does not fit.
        """
        parameter = parameter_of(name, params or {})
        sources = (source,) if isinstance(source, Table | Notify) else tuple(source)
        declaration = Declaration(name, Payload(payload), parameter, sources, durable, conflate)
        self._add(declaration)
        return Channel(name, declaration) if parameter is None else ChannelFamily(declaration)

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
        _check_rows(declaration, source)
        self._add(declaration)
        return RowsChannel(name, declaration) if parameter is None else RowsFamily(declaration)

    def _add(self, declaration: Declaration) -> None:
        prefix = declaration.prefix
        if prefix in self._declarations:
            other = self._declarations[prefix].name
            raise DeclarationError(
                f"{declaration.name!r} overlaps with {other!r}; there is one channel or family per prefix"
            )
        _check_sources(declaration)
        _check_conflation(declaration)
        self._declarations[prefix] = declaration

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
                *(() if d.rows is None else d.rows.key),
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


def _check_sources(declaration: Declaration) -> None:
    for source in declaration.sources:
        if isinstance(source, Table):
            _check_table(declaration, source)
        else:
            _check_notify(declaration, source)


def _check_table(declaration: Declaration, source: Table) -> None:
    where = f"{declaration.name}: Table({source.name!r})"
    if not declaration.durable:
        raise DeclarationError(f"{where} writes to the log; remove durable=False")
    members = declaration.payload.members
    event = source.event or members[0]
    if event not in members or (source.event is None and len(members) > 1):
        names = ", ".join(member.__name__ for member in members)
        raise DeclarationError(f"{where} needs event=, one of {names}")
    fields = [field.name for field in declaration.payload.fields(event)]
    for name in source.columns:
        if name not in fields:
            raise DeclarationError(
                f"{where}: {event.__name__} has no field {name!r}; it has {', '.join(fields)}"
            )
    _check_parameter(declaration, event, where)


def _check_rows(declaration: Declaration, source: Rows) -> None:
    where = f"{declaration.name}: rows of {source.name!r}"
    if len(declaration.payload.members) != 1:
        raise DeclarationError(f"{where} are of one type, not of {declaration.payload}")
    fields = [field.name for field in declaration.payload.fields(declaration.payload.members[0])]
    if not source.key or len(set(source.key)) != len(source.key):
        raise DeclarationError(f"{where} need key=, the field or the fields by which a row is known")
    for name in source.key:
        if name not in fields:
            raise DeclarationError(
                f"{where}: key={name!r} is no field of {declaration.payload}; it has {', '.join(fields)}"
            )
    if source.where is not None and not source.where.strip():
        raise DeclarationError(f"{where}: where= is empty; leave it out, or write a condition in SQL")


def _check_notify(declaration: Declaration, source: Notify) -> None:
    where = f"{declaration.name}: Notify({source.name!r})"
    if declaration.durable:
        raise DeclarationError(
            f"{where} delivers at most once; declare the channel with durable=False, or use Table(...) "
            "to keep its events"
        )
    for member in declaration.payload.members:
        _check_parameter(declaration, member, where)


def _check_conflation(declaration: Declaration) -> None:
    where = f"{declaration.name}: conflate={declaration.conflate!r}"
    if declaration.conflate is False:
        return
    if not declaration.durable:
        raise DeclarationError(f"{where} is for channels in the log; remove it, or durable=False")
    for member in declaration.payload.members:
        fields = [field.name for field in declaration.payload.fields(member)]
        if declaration.conflate is not True and declaration.conflate not in fields:
            raise DeclarationError(
                f"{where}: {member.__name__} has no such field; it has {', '.join(fields)}"
            )


def _check_parameter(declaration: Declaration, event: type, where: str) -> None:
    parameter = declaration.parameter
    if parameter is None:
        return
    if parameter.name not in [field.name for field in declaration.payload.fields(event)]:
        raise DeclarationError(
            f"{where}: {event.__name__} needs a field {parameter.name!r}, which names the channel"
        )
