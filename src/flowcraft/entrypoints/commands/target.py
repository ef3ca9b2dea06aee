"""Targets: find an application's channels: named as MODULE:ATTRIBUTE, remembered, or found in its code."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Literal, TypeAlias

import click

from flowcraft.adapters.postgres.address import DSN_VARIABLES, NoDatabase, find_dsn
from flowcraft.channels import Channels
from flowcraft.entrypoints.commands.exit_status import USAGE, exit_on_error, fail
from flowcraft.entrypoints.commands.importing import import_module, read_env_file
from flowcraft.entrypoints.plain_http import WebSocketAddress
from flowcraft.entrypoints.realtime import Realtime

Kind: TypeAlias = Literal["Channels", "Realtime"]

target_argument = click.argument(
    "target",
    metavar="[MODULE:ATTRIBUTE]",
    help="A Channels or Realtime object. Default: that of [tool.flowcraft] in pyproject.toml, then the only "
    "one in the code below the current folder.",
    required=False,
)
dsn_option = click.option(
    "--dsn",
    metavar="DSN",
    help="The database. Default: that of the Realtime object, then FLOWCRAFT_DSN, then DATABASE_URL, also "
    "from a .env file, then the default one of Django's settings.",
)


@dataclass(frozen=True, slots=True)
class AppTarget:
    """A Channels or Realtime object: its name, and the folder that its module is imported from."""

    name: str
    root: Path

    @property
    def module(self) -> str:
        """The name of its module."""
        return self.name.partition(":")[0]


def find_target(target: str | None, *, kind: Kind = "Channels") -> AppTarget:
    """Return the object that a target names, or the project's; or end the command.

    `kind` is what the command needs: a Realtime object has settings and an authorizer, which a command that
    serves must not do without.
    """
    here = Path.cwd()
    if target is not None:
        return AppTarget(target, _root_of(target, here))
    from flowcraft.entrypoints.commands.locating import located

    with exit_on_error():
        found = [AppTarget(one.name, one.root) for one in located(here, kind)]
    if not found:
        what = "`realtime = Realtime(…)`" if kind == "Realtime" else "`channels = Channels()`"
        fail(f"no {what} found below {here}; name it, such as app.realtime:{kind.lower()}", USAGE)
    if len(found) > 1:
        fail(f"found several objects; name one: {' | '.join(one.name for one in found)}", USAGE)
    return found[0]


def split_target(words: Iterable[str]) -> tuple[str | None, tuple[str, ...]]:
    """Return the target that begins some words, if one does, and the other words: no channel has a colon."""
    first, *others = [*words] or [""]
    is_target = ":" in first and first[:1] not in ("{", '"', "[")
    return (first, tuple(others)) if is_target else (None, tuple(words))


def channels_of(target: str | AppTarget | None) -> Channels:
    """Return the channels that a target names, or end the command."""
    found = _load(target if isinstance(target, AppTarget) else find_target(target))
    return found if isinstance(found, Channels) else found.channels


def realtime_of(
    target: str | AppTarget | None, dsn: str | None = None, *, kind: Kind = "Channels"
) -> Realtime:
    """Return the Realtime object that a target names, or a new one for its channels."""
    target = target if isinstance(target, AppTarget) else find_target(target, kind=kind)
    read_env_file(Path.cwd(), DSN_VARIABLES, target.root)
    found = _load(target)
    if dsn is not None:
        return Realtime(found if isinstance(found, Channels) else found.channels, dsn=dsn)
    return _serving(found) if isinstance(found, Channels) else found


def _serving(channels: Channels) -> Realtime:
    """Return the object that serves some channels, where only its code has an address; or a new one."""
    try:
        find_dsn(None)
    except NoDatabase:
        pass
    else:
        return Realtime(channels)
    loaded = [value for module in list(sys.modules.values()) for value in list(vars(module).values())]
    found = {id(one): one for one in loaded if isinstance(one, Realtime) and one.channels is channels}
    return next(iter(found.values())) if len(found) == 1 else Realtime(channels)


def realtime_here(target: str | None) -> Realtime | None:
    """Return the project's Realtime object for a command that also works without; None if it is not clear."""
    if target is not None:
        return realtime_of(target)
    from flowcraft.entrypoints.commands.locating import located

    here = Path.cwd()
    try:
        found = located(here, "Channels")
        read_env_file(here, DSN_VARIABLES, found[0].root if len(found) == 1 else None)
        return _as_realtime(_loaded(AppTarget(found[0].name, found[0].root))) if len(found) == 1 else None
    except Exception as error:  # noqa: BLE001  # whatever the application's module does
        click.echo(
            f"note: the channels of this project are not used: {type(error).__name__}: {error}", err=True
        )
        return None


def address_of(dsn: str | None, realtime: Realtime | None) -> str:
    """Return the address of the database: named, of the Realtime object, or of the environment.

    Raises:
        NoDatabase: none of them has one.
        DatabaseAddressInvalid: it is not one of PostgreSQL.
    """
    if dsn is not None or realtime is None:
        read_env_file(Path.cwd(), DSN_VARIABLES)
        return find_dsn(dsn)
    return realtime.dsn


def websocket_url(option: str, url: str) -> str:
    """Return the address of a WebSocket for that of a server: `http://localhost:8000` has it at /realtime.

    Ends the command if it is none.
    """
    scheme, separator, rest = url.partition("://")
    ours = {"http": "ws", "https": "wss"}.get(scheme, scheme)
    whole = f"{ours}{separator}{rest}"
    if ours in ("ws", "wss") and rest and "/" not in rest and "?" not in rest:
        whole = f"{whole}/realtime"
    try:
        WebSocketAddress.parse(whole)
    except (ValueError, UnicodeError):
        fail(f"{option}: {url!r} is not of the form ws://127.0.0.1:8400/realtime", USAGE)
    return whole


def _as_realtime(found: Channels | Realtime) -> Realtime:
    return Realtime(found) if isinstance(found, Channels) else found


def _root_of(target: str, here: Path) -> Path:
    """Return the folder that a named module is imported from: the current one, or one below that has it."""
    module = target.partition(":")[0]
    first = module.split(".")[0]
    if not first or (here / first).exists() or (here / f"{first}.py").exists() or find_spec(first):
        return here
    from flowcraft.entrypoints.commands.locating import root_of

    with exit_on_error():
        return root_of(module, here) or here


def _load(target: AppTarget) -> Channels | Realtime:
    name, colon, attribute = target.name.partition(":")
    if not (name and colon and attribute) or "/" in name or name.endswith(".py"):
        fail(
            f"{target.name!r} is not of the form MODULE:ATTRIBUTE, such as {_well_formed(target.name)}", USAGE
        )
    module = _import(name, target.root)
    try:
        return _attribute(module, attribute)
    except (AttributeError, TypeError) as error:
        fail(f"{error}; {_candidates(module)}", USAGE)


def _loaded(target: AppTarget) -> Channels | Realtime:
    """Return an object, or raise what its module raises."""
    return _attribute(import_module(target.module, target.root), target.name.partition(":")[2])


def _attribute(module: ModuleType, attribute: str) -> Channels | Realtime:
    try:
        found: object = attrgetter(attribute)(module)
    except AttributeError:
        raise AttributeError(f"{module.__name__} has no {attribute}") from None
    if not isinstance(found, Channels | Realtime):
        kind = type(found).__name__
        raise TypeError(f"{module.__name__}:{attribute} is of type {kind}, not Channels or Realtime")
    return found


def _import(name: str, root: Path) -> ModuleType:
    try:
        return import_module(name, root)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            fail(
                f"module {error.name} is neither in {root} nor installed; run this where it can be imported",
                USAGE,
            )
        fail(_import_error(name, error))
    except Exception as error:  # noqa: BLE001  # whatever the application's module does
        fail(_import_error(name, error))


_OURS = (__file__, importlib.__file__, import_module.__code__.co_filename)


def _import_error(name: str, error: Exception) -> str:
    """Return the traceback of the application's own code, without our frames and the import system's."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    while frames and frames[0].filename in _OURS:
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
