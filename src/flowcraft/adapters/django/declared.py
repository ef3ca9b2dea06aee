"""Declared: the sources that a project declares, and those that its migrations create."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.utils.module_loading import import_string

from flowcraft.adapters.django.migrations import RealtimeLog, RealtimeTriggers
from flowcraft.adapters.postgres import steps
from flowcraft.adapters.postgres.inspection import function_name
from flowcraft.adapters.postgres.source_snapshots import frozen, thawed
from flowcraft.adapters.postgres.triggers import TableSource, table_sources
from flowcraft.channels import Channels

_SETTING = "FLOWCRAFT_CHANNELS"


@dataclass(frozen=True, slots=True)
class Migrated:
    """What the migrations create: a version of the log, and sources by their trigger function."""

    version: int
    sources: dict[str, TableSource]


def declared_sources() -> list[TableSource]:
    """Return the table sources of the channels that the settings name.

    Raises:
        ImproperlyConfigured: the settings name no Channels object.
    """
    path: object = getattr(settings, _SETTING, None)
    if not isinstance(path, str):
        raise ImproperlyConfigured(
            f'set {_SETTING} = "shop.realtime.channels" in the settings: the path of a Channels object'
        )
    try:
        found: object = import_string(path)
    except ImportError as error:
        raise ImproperlyConfigured(f"{_SETTING} = {path!r} cannot be imported: {error}") from error
    channels = getattr(found, "channels", found)
    if not isinstance(channels, Channels):
        raise ImproperlyConfigured(f"{_SETTING} = {path!r} is of type {type(found).__name__}, not Channels")
    return table_sources(channels)


def migrated(loader: MigrationLoader) -> Migrated:
    """Return what the migrations on disk create when all are applied."""
    version, sources = 0, dict[str, TableSource]()
    for operation in _operations(loader):
        if isinstance(operation, RealtimeLog):
            version = max(version, operation.version)
        elif isinstance(operation, RealtimeTriggers):
            if operation.source is None:
                sources.pop(operation.function, None)
            else:
                sources[operation.function] = thawed(operation.source)
    return Migrated(version, sources)


def missing(loader: MigrationLoader, *, again: bool = False, log: bool = False) -> list[Operation]:
    """Return the operations that the migrations on disk lack.

    With `again`, the triggers that they have too; with `log`, the log also where no channel has a table.
    """
    have, wanted = migrated(loader), {function_name(source): source for source in declared_sources()}
    operations: list[Operation] = []
    if have.version < steps.LATEST and (wanted or have.version or log):
        operations.append(RealtimeLog(steps.LATEST, previous=have.version))
    gone = [function for function in have.sources if function not in wanted]
    operations += [
        RealtimeTriggers(source=None, previous=frozen(have.sources[function])) for function in gone
    ]
    for function, source in wanted.items():
        before = have.sources.get(function)
        if again or before != source:
            operations.append(
                RealtimeTriggers(source=frozen(source), previous=None if before is None else frozen(before))
            )
    return operations


def _operations(loader: MigrationLoader) -> Iterator[Operation]:
    seen = set[tuple[str, str]]()
    for leaf in loader.graph.leaf_nodes():
        for key in loader.graph.forwards_plan(leaf):
            if key not in seen:
                seen.add(key)
                yield from loader.graph.nodes[key].operations
