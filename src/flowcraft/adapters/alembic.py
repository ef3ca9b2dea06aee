"""Alembic: the log and the triggers of declared channels as operations, and `--autogenerate` for them.

In `env.py`: import this module, and pass the channels and `include_name` to `context.configure`.

    from flowcraft.adapters.alembic import include_name
    context.configure(..., flowcraft_channels=channels, include_name=include_name)

`flowcraft_prune=False` keeps triggers of sources that are no longer declared, `"all"` drops those of channels
that are not declared here, too, which may be another application's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal, Self, cast

from alembic.autogenerate import comparators, renderers
from alembic.operations import MigrateOperation, Operations, ops
from alembic.util import DispatchPriority
from sqlalchemy.exc import DBAPIError

from flowcraft.adapters.postgres import steps
from flowcraft.adapters.postgres.inspection import function_name
from flowcraft.adapters.postgres.schema import prefixes
from flowcraft.adapters.postgres.source_snapshots import frozen, thawed
from flowcraft.adapters.postgres.statements import refusal
from flowcraft.adapters.postgres.triggers import table_sources
from flowcraft.channels import Channels
from flowcraft.errors import LogUnavailable

if TYPE_CHECKING:
    from alembic.autogenerate.api import AutogenContext
    from sqlalchemy import Connection

_WIDTH = 90


def include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
    """Keep the schema `flowcraft` out of what autogenerate compares: its tables are not the application's.

    Pass it as `include_name=` to `context.configure`, or call it from your own.
    """
    schema = name if type_ == "schema" else parent_names.get("schema_name")
    return schema != "flowcraft"


@Operations.register_operation("flowcraft_log")
class LogOp(MigrateOperation):
    """Bring the log to a version; 0 drops the log with its events. A downgrade keeps the later version."""

    def __init__(self, version: int, present: int) -> None:
        self.version = version
        self.present = present

    @classmethod
    def flowcraft_log(cls, operations: Operations, version: int) -> None:
        """Execute the operation."""
        operations.invoke(cls(version, version))

    def reverse(self) -> LogOp:
        return LogOp(self.present, self.version)

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("flowcraft_log", self.present, self.version)


@Operations.register_operation("flowcraft_triggers")
class TriggersOp(MigrateOperation):
    """Create the triggers of a source. `present` is the SQL that recreates the existing ones."""

    def __init__(self, source: Mapping[str, object], present: str | None = None) -> None:
        self.source = source
        self.present = present

    @classmethod
    def flowcraft_triggers(cls, operations: Operations, **source: object) -> None:
        """Execute the operation.

        Raises:
            DeclarationError: the source does not fit its table.
            LogUnavailable: the database has no log.
        """
        operations.invoke(cls(source))

    def reverse(self) -> MigrateOperation:
        function = function_name(thawed(self.source))
        return DropTriggersOp(function, "") if self.present is None else RestoreOp(function, self.present)

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("flowcraft_triggers", self.source)


@Operations.register_operation("flowcraft_drop_triggers")
class DropTriggersOp(MigrateOperation):
    """Drop the triggers that call a function, and the function. `present` is the SQL that recreates them."""

    def __init__(self, function: str, present: str) -> None:
        self.function = function
        self.present = present

    @classmethod
    def flowcraft_drop_triggers(cls, operations: Operations, function: str) -> None:
        """Execute the operation."""
        operations.invoke(cls(function, ""))

    def reverse(self) -> RestoreOp:
        return RestoreOp(self.function, self.present)

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("flowcraft_drop_triggers", self.function)


@Operations.register_operation("flowcraft_restore_triggers")
class RestoreOp(MigrateOperation):
    """Restore triggers from their SQL: for a downgrade, where no declaration of that time is known."""

    def __init__(self, function: str, text: str) -> None:
        self.function = function
        self.text = text

    @classmethod
    def flowcraft_restore_triggers(cls, operations: Operations, function: str, text: str) -> None:
        """Execute the operation."""
        operations.invoke(cls(function, text))

    def reverse(self) -> DropTriggersOp:
        return DropTriggersOp(self.function, self.text)

    def to_diff_tuple(self) -> tuple[object, ...]:
        return ("flowcraft_restore_triggers", self.function)


@Operations.implementation_for(LogOp)
def _change_log(operations: Operations, op: LogOp) -> None:
    with _Executing(operations) as execute:
        if op.version == 0:
            steps.drop_log(execute)
        else:
            steps.upgrade_log(execute, op.version)


@Operations.implementation_for(TriggersOp)
def _create_triggers(operations: Operations, op: TriggersOp) -> None:
    source = thawed(op.source)
    with _Executing(operations) as execute:
        if not execute.only_writes and steps.log_version(execute) == 0:
            raise LogUnavailable(
                f"the triggers of {source.channel} need the schema flowcraft, which this database lacks; "
                f"put op.flowcraft_log({steps.LATEST}) before them"
            )
        steps.create_triggers(execute, source)


@Operations.implementation_for(DropTriggersOp)
def _drop_triggers(operations: Operations, op: DropTriggersOp) -> None:
    with _Executing(operations) as execute:
        steps.drop_triggers(execute, op.function)


@Operations.implementation_for(RestoreOp)
def _restore_triggers(operations: Operations, op: RestoreOp) -> None:
    with _Executing(operations) as execute:
        steps.restore_triggers(execute, op.function, op.text)


class _Executing:
    """Executes on the connection of a migration, or prints the SQL without a connection (`--sql`)."""

    def __init__(self, operations: Operations) -> None:
        self._impl = operations.get_context().impl
        self.only_writes = operations.get_context().as_sql

    def __enter__(self) -> Self:
        return self

    def __call__(self, statement: str) -> steps.Rows:
        if self.only_writes:
            self._impl.static_output(f"{statement};")
            return ()
        connection = self._impl.connection
        assert connection is not None
        return _rows(connection, statement)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DBAPIError):
            _refuse(error)


def _refuse(error: DBAPIError) -> None:
    """Raise the error of this package if one of our statements refused."""
    if refused := refusal(getattr(error.orig, "sqlstate", None), str(error.orig)):
        raise refused from None


def _rows(connection: Connection, statement: str) -> steps.Rows:
    # Without parameters a driver does not look for placeholders.
    result = connection.execution_options(no_parameters=True).exec_driver_sql(statement)
    return result.all() if result.returns_rows else ()


@comparators.dispatch_for("schema", priority=DispatchPriority.LAST)
def _compare(context: AutogenContext, upgrade: ops.UpgradeOps, _: object) -> None:
    """Append the missing operations to a revision, after its operations on tables."""
    channels: Channels | None = context.opts.get("flowcraft_channels")
    connection = context.connection
    if channels is None or connection is None:
        return
    touched = set(_tables(upgrade))
    try:
        with connection.begin_nested() as savepoint:
            upgrade.ops.extend(
                _missing(connection, channels, touched, prune=context.opts.get("flowcraft_prune", True))
            )
            savepoint.rollback()
    except DBAPIError as error:
        _refuse(error)
        raise


def _missing(
    connection: Connection, channels: Channels, touched: set[str], *, prune: bool | Literal["all"]
) -> Iterator[MigrateOperation]:
    def execute(statement: str) -> steps.Rows:
        return _rows(connection, statement)

    sources = table_sources(channels)
    version = steps.log_version(execute)
    if version < steps.LATEST and (sources or version):
        yield LogOp(steps.LATEST, version)
    which = "all" if prune == "all" else "unnamed" if prune else "none"
    for found in steps.differences(execute, sources, touched=touched, own=prefixes(channels), prune=which):
        if found.source is not None:
            yield TriggersOp(frozen(found.source), found.present)
        elif found.present is not None:
            yield DropTriggersOp(found.function, found.present)


def _tables(upgrade: ops.UpgradeOps) -> Iterator[str]:
    # A column that the same revision adds may change the generated triggers of its table.
    for op in upgrade.ops:
        if isinstance(op, ops.ModifyTableOps | ops.CreateTableOp):
            yield ".".join(f'"{part}"' for part in (op.schema, op.table_name) if part)


@renderers.dispatch_for(LogOp)
def _render_log(_: AutogenContext, op: LogOp) -> str:
    return f"op.flowcraft_log({op.version})"


@renderers.dispatch_for(TriggersOp)
def _render_triggers(_: AutogenContext, op: TriggersOp) -> str:
    lines = [f"    {name}={_literal(value)}," for name, value in op.source.items()]
    return "\n".join(["op.flowcraft_triggers(", *lines, ")"])


@renderers.dispatch_for(DropTriggersOp)
def _render_drop(_: AutogenContext, op: DropTriggersOp) -> str:
    return f"op.flowcraft_drop_triggers({op.function!r})"


@renderers.dispatch_for(RestoreOp)
def _render_restore(_: AutogenContext, op: RestoreOp) -> str:
    lines = [f"    {line!r}" for line in op.text.splitlines(keepends=True)]
    return "\n".join([f"op.flowcraft_restore_triggers({op.function!r}, (", *lines, "))"])


def _literal(value: object) -> str:
    text = repr(value)
    if len(text) <= _WIDTH or not isinstance(value, list):
        return text
    items = "".join(f"        {item!r},\n" for item in cast(list[object], value))
    return f"[\n{items}    ]"
