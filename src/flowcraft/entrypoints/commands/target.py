"""Targets: find an application's channels by MODULE:ATTRIBUTE."""

from __future__ import annotations

import importlib
import sys
import traceback
from operator import attrgetter
from pathlib import Path
from types import ModuleType

import click

from flowcraft.channels import Channels
from flowcraft.entrypoints.commands.exit_status import USAGE, fail
from flowcraft.entrypoints.plain_http import Address
from flowcraft.entrypoints.realtime import Realtime

target_argument = click.argument(
    "target",
    metavar="MODULE:ATTRIBUTE",
    help="A Channels or Realtime object in a module that can be imported from the current folder.",
)
dsn_option = click.option(
    "--dsn",
    metavar="DSN",
    help="The database. Default: that of the Realtime object, then FLOWCRAFT_DSN, then DATABASE_URL.",
)


def channels_of(target: str) -> Channels:
    """Return the channels that a target names, or end the command."""
    found = _load(target)
    return found if isinstance(found, Channels) else found.channels


def realtime_of(target: str, dsn: str | None = None) -> Realtime:
    """Return the Realtime object that a target names, or a new one for its channels."""
    found = _load(target)
    if isinstance(found, Channels) or dsn is not None:
        return Realtime(found if isinstance(found, Channels) else found.channels, dsn=dsn)
    return found


def check_websocket(option: str, url: str) -> None:
    """End the command if an option's value is not the address of a WebSocket."""
    try:
        Address.parse(url)
    except (ValueError, UnicodeError):
        fail(f"{option}: {url!r} is not of the form ws://127.0.0.1:8400/realtime", USAGE)


def _load(target: str) -> Channels | Realtime:
    name, colon, attribute = target.partition(":")
    if not (name and colon and attribute) or "/" in name or name.endswith(".py"):
        fail(f"{target!r} is not of the form MODULE:ATTRIBUTE, such as {_well_formed(target)}", USAGE)
    module = _import(name)
    try:
        found: object = attrgetter(attribute)(module)
    except AttributeError:
        fail(f"{name} has no {attribute}; {_candidates(module)}", USAGE)
    if not isinstance(found, Channels | Realtime):
        fail(
            f"{target} is of type {type(found).__name__}, not Channels or Realtime; {_candidates(module)}",
            USAGE,
        )
    return found


def _import(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)  # a console script's first entry is its own folder instead
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            fail(
                f"module {error.name} is neither in {here} nor installed; run this where it can be imported",
                USAGE,
            )
        fail(_import_error(name, error))
    except Exception as error:  # noqa: BLE001  # whatever the application's module does
        fail(_import_error(name, error))


def _import_error(name: str, error: Exception) -> str:
    """Return the traceback of the application's own code, without our frames and the import system's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    while frames and frames[0].filename in (__file__, importlib.__file__):
        del frames[0]
    lines = [*traceback.format_list(frames), *traceback.format_exception_only(error)]
    return f"{name} cannot be imported; fix this first:\n{''.join(lines).rstrip()}"


def _candidates(module: ModuleType) -> str:
    names = [name for name, value in vars(module).items() if isinstance(value, Channels | Realtime)]
    if not names:
        return "the module has none; name the module that creates them"
    return f"the module has {' and '.join(f'{module.__name__}:{name}' for name in names)}"


def _well_formed(target: str) -> str:
    name, _, attribute = target.partition(":")
    module = name.removesuffix(".py").replace("/", ".").strip(".") or "app.realtime"
    return f"{module}:{attribute or 'channels'}"
