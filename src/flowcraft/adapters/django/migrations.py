"""Operations for Django's migrations: the log, and the triggers of declared channels.

`manage.py makerealtimemigrations` writes them. Each operation holds the declaration of its time and the one
before, so that a migration always does the same, in both directions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from django.db import DatabaseError, router
from django.db.migrations.operations.base import Operation

from flowcraft.adapters.postgres import steps
from flowcraft.adapters.postgres.inspection import function_name
from flowcraft.adapters.postgres.source_snapshots import thawed
from flowcraft.adapters.postgres.statements import refusal

if TYPE_CHECKING:
    from django.db.backends.base.schema import BaseDatabaseSchemaEditor
    from django.db.migrations.state import ProjectState


class _RealtimeOperation(Operation):
    """An operation on the schema `flowcraft`, and on no model. On other databases it does nothing."""

    reduces_to_sql = True
    reversible = True

    def state_forwards(self, app_label: str, state: ProjectState) -> None:
        """No model changes."""

    def database_forwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,  # noqa: ARG002
        to_state: ProjectState,  # noqa: ARG002
    ) -> None:
        if self._is_for(app_label, schema_editor):
            with refusals():
                self.change(_executing(schema_editor), forwards=True)

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,  # noqa: ARG002
        to_state: ProjectState,  # noqa: ARG002
    ) -> None:
        if self._is_for(app_label, schema_editor):
            with refusals():
                self.change(_executing(schema_editor), forwards=False)

    def change(self, execute: steps.Execute, *, forwards: bool) -> None:
        """Apply the operation, or reverse it."""
        raise NotImplementedError

    def _is_for(self, app_label: str, schema_editor: BaseDatabaseSchemaEditor) -> bool:
        connection = schema_editor.connection
        return connection.vendor == "postgresql" and router.allow_migrate(connection.alias, app_label)


class RealtimeLog(_RealtimeOperation):
    """Bring the log to a version. Reversing the first such operation drops the log with all its events."""

    def __init__(self, version: int, *, previous: int = 0) -> None:
        self.version = version
        self.previous = previous

    def change(self, execute: steps.Execute, *, forwards: bool) -> None:
        """Apply the operation, or reverse it: the first one drops the log, a later one changes nothing."""
        if forwards:
            steps.upgrade_log(execute, self.version)
        elif self.previous == 0:
            steps.drop_log(execute)

    def describe(self) -> str:
        return f"Bring the log of FlowCraft Realtime to version {self.version}"

    @property
    def migration_name_fragment(self) -> str:
        return "realtime_log"


class RealtimeTriggers(_RealtimeOperation):
    """Create the triggers of one source of a channel, or drop them.

    `source` is None if it is no longer declared, `previous` if it was not declared before.
    """

    serialization_expand_args = ["source", "previous"]  # noqa: RUF012  # as Django has it

    def __init__(
        self, *, source: Mapping[str, object] | None, previous: Mapping[str, object] | None = None
    ) -> None:
        self.source = source
        self.previous = previous

    @property
    def function(self) -> str:
        """The name of the trigger function."""
        values = self.previous if self.source is None else self.source
        assert values is not None, "a source, a previous one, or both"
        return function_name(thawed(values))

    def change(self, execute: steps.Execute, *, forwards: bool) -> None:
        """Apply the operation, or reverse it.

        Raises:
            DeclarationError: the source does not fit its table.
            SchemaNotOwned: another role has something in the schema flowcraft.
            SchemaDiffers: another version of this library migrated the database.
        """
        source = self.source if forwards else self.previous
        if source is None:
            steps.drop_triggers(execute, self.function)
            return
        steps.create_triggers(execute, thawed(source))

    def describe(self) -> str:
        values = self.previous if self.source is None else self.source
        assert values is not None
        does = "Drop" if self.source is None else "Create"
        return f"{does} the triggers of channel {values['channel']} on {values['table']}"

    @property
    def migration_name_fragment(self) -> str:
        return "realtime_triggers"


@contextmanager
def refusals() -> Iterator[None]:
    """Name what our SQL refuses as the rest of this package does."""
    try:
        yield
    except DatabaseError as error:
        if refused := refusal(getattr(error.__cause__, "sqlstate", None), str(error)):
            raise refused from None
        raise


def _executing(schema_editor: BaseDatabaseSchemaEditor) -> steps.Execute:
    def execute(statement: str) -> steps.Rows:
        schema_editor.execute(statement, params=None)
        return ()

    return execute
