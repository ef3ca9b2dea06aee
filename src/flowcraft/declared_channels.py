"""Declared channels: what a declaration returns, to broadcast on, to guard, and to name one of a family."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar, overload
from uuid import UUID

from flowcraft.declarations import Declaration, Table, check_dependency, set_guard, set_present
from flowcraft.errors import ChannelNameInvalid, DeclarationError
from flowcraft.names import is_name
from flowcraft.viewers import Viewer

E = TypeVar("E")  # invariant on purpose: a covariant channel would accept any event in broadcast()
P = TypeVar("P", UUID, int, str)
M = TypeVar("M")
_Answer = TypeVar("_Answer", bound=bool | Awaitable[bool])


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


class _WithMembers(Generic[M]):
    """What channels and families with presence have in common."""

    __slots__ = ()

    declaration: Declaration

    @overload
    def present(self, who: Callable[[Viewer], M | None], /) -> Callable[[Viewer], M | None]: ...

    @overload
    def present(
        self, who: Callable[[Viewer], Awaitable[M | None]], /
    ) -> Callable[[Viewer], Awaitable[M | None]]: ...

    def present(self, who: Callable[[Viewer], Any], /) -> Callable[[Viewer], Any]:
        """Register who decides about presence: called with a viewer, it returns the member; None: unseen.

        It is called each time that a page of the viewer joins, after the guard has allowed it. A connection
        without a viewer is not shown. If it raises, returns something else or takes longer than
        `guard_timeout_seconds`, the viewer is not shown, which is counted and logged; the page works all the
        same. A member has at most 4 KiB of JSON.

        Raises:
            DeclarationError: the channel has such a function already, or it takes other arguments.
        """
        set_present(self.declaration, who)
        return who


class PresenceChannel(Channel[E], _WithMembers[M], Generic[E, M]):
    """One channel that shows who is present on it."""

    __slots__ = ()

    @property
    def members(self) -> RowsChannel[M]:
        """The channel with its members, as rows."""
        of = self.declaration
        assert of.members is not None
        return RowsChannel(of.members.prefix + self.name[len(of.prefix) :], of.members)


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


class PresenceFamily(ChannelFamily[P, E], _WithMembers[M], Generic[P, E, M]):
    """The channels of one kind of entity, each of which shows who is present on it."""

    __slots__ = ()

    def __call__(self, value: P) -> PresenceChannel[E, M]:
        """Return the channel of one entity.

        Raises:
            TypeError: the value is not of the declared type.
            ChannelNameInvalid: its text cannot stand in a channel's name.
        """
        return PresenceChannel(self._name(value), self.declaration)


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
        check_dependency(declaration, table)

    def register(check: _Check) -> _Check:
        set_guard(declaration, check)
        declaration.depends_on = tables
        return check

    return register if check is None else register(check)
