"""FlowCraft Realtime: typed channels from PostgreSQL commits to React components."""

from importlib import import_module
from typing import TYPE_CHECKING

from flowcraft._version import __version__

if TYPE_CHECKING:
    from flowcraft.adapters.jwks import Jwks
    from flowcraft.adapters.jwt import JwtAuthorizer
    from flowcraft.adapters.memory import MemoryBackend
    from flowcraft.adapters.postgres.backend import PostgresBackend
    from flowcraft.adapters.postgres.schema import migrate
    from flowcraft.channels import Channels
    from flowcraft.cursors import Cursor
    from flowcraft.declarations import Notify, Table
    from flowcraft.declared_channels import (
        Channel,
        ChannelFamily,
        PresenceChannel,
        PresenceFamily,
        RowsChannel,
        RowsFamily,
    )
    from flowcraft.entrypoints.realtime import Realtime
    from flowcraft.errors import DeclarationError, PayloadInvalid, RealtimeError
    from flowcraft.events import Event, Int64
    from flowcraft.ports import Authorizer, Backend, RealtimeService, RequestAuthorizer
    from flowcraft.settings import Settings
    from flowcraft.viewers import Handshake, Viewer

__all__ = [
    "Authorizer",
    "Backend",
    "Channel",
    "ChannelFamily",
    "Channels",
    "Cursor",
    "DeclarationError",
    "Event",
    "Handshake",
    "Int64",
    "Jwks",
    "JwtAuthorizer",
    "MemoryBackend",
    "Notify",
    "PayloadInvalid",
    "PostgresBackend",
    "PresenceChannel",
    "PresenceFamily",
    "Realtime",
    "RealtimeError",
    "RealtimeService",
    "RequestAuthorizer",
    "RowsChannel",
    "RowsFamily",
    "Settings",
    "Table",
    "Viewer",
    "__version__",
    "migrate",
]

# Loaded when first asked for: pytest imports this package with its plugin, also where it is not used.
_HOMES = {
    "Authorizer": "ports",
    "Backend": "ports",
    "Channel": "declared_channels",
    "ChannelFamily": "declared_channels",
    "Channels": "channels",
    "Cursor": "cursors",
    "DeclarationError": "errors",
    "Event": "events",
    "Handshake": "viewers",
    "Int64": "events",
    "Jwks": "adapters.jwks",
    "JwtAuthorizer": "adapters.jwt",
    "MemoryBackend": "adapters.memory",
    "Notify": "declarations",
    "PayloadInvalid": "errors",
    "PostgresBackend": "adapters.postgres.backend",
    "PresenceChannel": "declared_channels",
    "PresenceFamily": "declared_channels",
    "Realtime": "entrypoints.realtime",
    "RealtimeError": "errors",
    "RealtimeService": "ports",
    "RequestAuthorizer": "ports",
    "RowsChannel": "declared_channels",
    "RowsFamily": "declared_channels",
    "Settings": "settings",
    "Table": "declarations",
    "Viewer": "viewers",
    "migrate": "adapters.postgres.schema",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(f"{__name__}.{home}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
