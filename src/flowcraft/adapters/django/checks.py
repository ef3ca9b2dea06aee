"""Checks: report with `manage.py check` what migrations or a database lack for the declared channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Warning  # noqa: A004  # Django's
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader

from flowcraft.adapters.django.declared import declared_sources, migrated, missing
from flowcraft.adapters.django.migrations import refusals
from flowcraft.adapters.postgres import steps
from flowcraft.adapters.postgres.triggers import TableSource
from flowcraft.errors import SchemaNotOwned


def check_migrations(app_configs: object = None, **_: Any) -> Sequence[CheckMessage]:  # noqa: ANN401, ARG001
    """Check that the migrations create what is declared; reads the migrations, and no database."""
    try:
        lacking = missing(MigrationLoader(None, ignore_no_migrations=True))
    except ImproperlyConfigured as error:
        return [Error(str(error), id="flowcraft.E001")]
    hint = "Run `manage.py makerealtimemigrations <app>`."
    return [
        Warning(
            f"no migration has this operation yet: {operation.describe()}", hint=hint, id="flowcraft.W001"
        )
        for operation in lacking
    ]


def check_database(
    app_configs: object = None,  # noqa: ARG001  # Django passes it
    databases: Sequence[str] | None = None,
    **_: Any,  # noqa: ANN401
) -> Sequence[CheckMessage]:
    """Check that a database has the triggers of the migrations, once all migrations are applied."""
    return [message for alias in databases or () for message in _behind(connections[alias])]


def _behind(connection: BaseDatabaseWrapper) -> Sequence[CheckMessage]:
    if connection.vendor != "postgresql":
        return []
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return []  # Django reports unapplied migrations itself
    made = migrated(executor.loader)
    if not made.sources:
        return []
    declared_sources()
    try:
        found = _differences(connection, list(made.sources.values()))
    except SchemaNotOwned as error:
        return [Error(f"database {connection.alias!r}: {error}", id="flowcraft.E002")]
    return [_message(one, connection.alias) for one in found if one.source is not None]


def _differences(
    connection: BaseDatabaseWrapper, sources: Sequence[TableSource]
) -> Sequence[steps.Difference]:
    with refusals(), transaction.atomic(using=connection.alias), connection.cursor() as cursor:

        def execute(statement: str) -> steps.Rows:
            cursor.execute(statement)
            return [] if cursor.description is None else cursor.fetchall()

        found = steps.differences(execute, sources)
        transaction.set_rollback(True, using=connection.alias)
    return found


def _message(found: steps.Difference, alias: str) -> CheckMessage:
    assert found.source is not None
    how = "differ from the declaration" if found.present else "are missing"
    return Warning(
        f"database {alias!r}: the triggers of channel {found.source.channel} on {found.source.table} {how}, "
        "although every migration is applied",
        hint="If columns have changed: `manage.py makerealtimemigrations <app> --again`, then `migrate`.",
        id="flowcraft.W002",
    )
