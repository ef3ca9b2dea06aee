"""FlowCraft Realtime: typed channels from PostgreSQL commits to React components."""

from flowcraft._version import __version__
from flowcraft.adapters.jwt import JwtAuthorizer
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.channels import Channel, ChannelFamily, Channels, Notify, Table
from flowcraft.cursors import Cursor
from flowcraft.entrypoints.compose import Realtime
from flowcraft.errors import DeclarationError, PayloadInvalid, RealtimeError
from flowcraft.events import Event, Int64
from flowcraft.ports import Authorizer, RealtimeService
from flowcraft.settings import Settings
from flowcraft.viewers import Viewer

__all__ = [
    "Authorizer",
    "Channel",
    "ChannelFamily",
    "Channels",
    "Cursor",
    "DeclarationError",
    "Event",
    "Int64",
    "JwtAuthorizer",
    "Notify",
    "PayloadInvalid",
    "Realtime",
    "RealtimeError",
    "RealtimeService",
    "Settings",
    "Table",
    "Viewer",
    "__version__",
    "migrate",
]
