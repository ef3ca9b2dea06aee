"""Declarations: what one channel is declared to be, and what of it cannot be."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args
from uuid import UUID

from flowcraft.errors import DeclarationError
from flowcraft.events import Payload
from flowcraft.names import Parameter, is_name
from flowcraft.viewers import Viewer

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
Present: TypeAlias = Callable[[Viewer], object]
"""Returns, perhaps later, the member as whom a viewer is shown; None: unseen."""
MEMBER_KEY = "id"
"""The field by which a member is known."""
_MEMBERS = "_members"


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
    members: Declaration | None = None
    """The channels with the members of this one, if it is declared with presence."""
    members_of: Declaration | None = None
    """The channel whose members this one has."""
    present: Present | None = None
    """Decides as whom a viewer is shown among the members."""

    @property
    def prefix(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def rows(self) -> Rows | None:
        """The rows that the channel has, if it is a channel of rows."""
        return next((source for source in self.sources if isinstance(source, Rows)), None)

    @property
    def row_key(self) -> tuple[str, ...] | None:
        """The fields by which a row is known, if it is a channel of rows or of members."""
        if self.members_of is not None:
            return (MEMBER_KEY,)
        return None if self.rows is None else self.rows.key


def members_of(declaration: Declaration, person: object) -> Declaration:
    """Return the declaration of the channel with the members of another one; each refers to the other.

    Raises:
        DeclarationError: the name is too long, or the type cannot be that of a member.
    """
    payload = Payload(person)
    where = f"{declaration.name}: presence={payload}"
    prefix = f"{declaration.prefix}{_MEMBERS}"
    if not is_name(prefix):
        raise DeclarationError(
            f"{where}: {prefix}, the channel of its members, is longer than 48 characters; shorten "
            f"{declaration.prefix}"
        )
    if len(payload.members) != 1:
        raise DeclarationError(f"{where}: members are of one type, not of a union")
    types: list[object] = [str, int, UUID]
    if not any(f.name == MEMBER_KEY and f.annotation in types for f in payload.fields(payload.members[0])):
        raise DeclarationError(
            f"{where} needs a field {MEMBER_KEY!r} of type str, int or UUID: by it a member is known, and "
            "two pages of one person are one member"
        )
    name = prefix + declaration.name[len(declaration.prefix) :]
    declaration.members = Declaration(
        name, payload, declaration.parameter, (), durable=True, members_of=declaration
    )
    return declaration.members


def set_present(declaration: Declaration, present: Present) -> None:
    if declaration.members is None:
        raise DeclarationError(f"{declaration.name} has no presence; declare it with presence=Person")
    if declaration.present is not None:
        raise DeclarationError(f"{declaration.name} has a function for its presence already")
    try:
        inspect.signature(present).bind("viewer")
    except TypeError as error:
        raise DeclarationError(
            f"the presence of {declaration.name} is decided by a function of the viewer alone: {error}"
        ) from None
    declaration.present = present


def check_dependency(declaration: Declaration, table: object) -> None:
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


def set_guard(declaration: Declaration, check: Guard) -> None:
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
    if declaration.members is not None:
        declaration.members.guard = check


def check_sources(declaration: Declaration) -> None:
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


def check_rows(declaration: Declaration, source: Rows) -> None:
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


def check_conflation(declaration: Declaration) -> None:
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
