"""`manage.py makerealtimemigrations`: write the migration for the log and the declared triggers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.writer import MigrationWriter

from flowcraft.adapters.django.declared import missing
from flowcraft.adapters.django.migrations import RealtimeTriggers

_EXAMPLE = """examples:
  manage.py makerealtimemigrations                 write the migration into the app that has the tables
  manage.py makerealtimemigrations shop            write the migration into the app `shop`
  manage.py makerealtimemigrations --check         in CI: exit with status 1 if a migration is missing
"""


class Command(BaseCommand):
    """Like `makemigrations`, for the triggers of the channels in FLOWCRAFT_CHANNELS."""

    help = "Write the migration that creates the log and the triggers of the declared channels."
    requires_system_checks = []  # noqa: RUF012  # the checks ask to run this command

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:  # noqa: ANN401
        return super().create_parser(
            prog_name,
            subcommand,
            epilog=_EXAMPLE,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **kwargs,
        )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "app",
            nargs="?",
            help="The label of the app that gets the migration. Default: the one that has the tables, or the "
            "project's only app.",
        )
        parser.add_argument(
            "--check",
            action="store_true",
            help="Write nothing; exit with status 1 if a migration is missing.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Print the file without writing it.")
        parser.add_argument(
            "--again",
            action="store_true",
            help="Recreate all triggers, after the columns of a table have changed.",
        )

    def handle(self, *_: Any, **options: Any) -> None:  # noqa: ANN401
        loader = MigrationLoader(None, ignore_no_migrations=True)
        operations = missing(loader, again=bool(options["again"]), log=not options["check"])
        for operation in operations:
            self.stdout.write(f"  - {operation.describe()}")
        if not operations:
            self.stdout.write("no changes: the migrations create what is declared")
        elif options["check"]:
            sys.exit(1)
        else:
            app = str(options["app"] or "") or _app_for(operations)
            self._write(loader, app, operations, dry=bool(options["dry_run"]))

    def _write(self, loader: MigrationLoader, app: str, operations: list[Operation], *, dry: bool) -> None:
        if app not in {config.label for config in apps.get_app_configs()}:
            known = ", ".join(_own_apps() or [config.label for config in apps.get_app_configs()])
            raise CommandError(f"name the app that gets the migration, one of {known}")
        writer = MigrationWriter(_migration(loader, app, operations))
        if dry:
            self.stdout.write(writer.as_string())
            return
        Path(writer.path).parent.mkdir(exist_ok=True)
        Path(writer.path).write_text(writer.as_string(), encoding="utf-8")
        self.stdout.write(f"wrote {writer.path}; next: manage.py migrate")


def _app_for(operations: list[Operation]) -> str:
    """Return the only app whose tables the triggers are on, or the project's only app; empty if unclear."""
    owners = {label for operation in operations for label in _owners(operation)}
    found = sorted(owners) or _own_apps()
    return found[0] if len(found) == 1 else ""


def _own_apps() -> list[str]:
    """Return the labels of the project's own apps, whose code is not installed."""
    return [
        config.label
        for config in apps.get_app_configs()
        if "site-packages" not in Path(config.path).parts and not config.name.startswith("flowcraft.")
    ]


def _migration(loader: MigrationLoader, app: str, operations: list[Operation]) -> Migration:
    own = loader.graph.leaf_nodes(app)
    owners = {label for operation in operations for label in _owners(operation)} - {app}
    number = max((MigrationAutodetector.parse_number(name) or 0 for _, name in own), default=0) + 1
    others = [leaf for label in sorted(owners) for leaf in loader.graph.leaf_nodes(label)]
    members = {"operations": operations, "dependencies": own + others, "initial": not own or None}
    made: type[Migration] = type("Migration", (Migration,), members)
    return made(f"{number:04}_realtime", app)


def _owners(operation: Operation) -> list[str]:
    """Return the apps whose models have the table of the triggers: their migrations come first."""
    if not isinstance(operation, RealtimeTriggers) or operation.source is None:
        return []
    table = operation.source["table"]
    return [model._meta.app_label for model in apps.get_models() if model._meta.db_table == table]  # noqa: SLF001
