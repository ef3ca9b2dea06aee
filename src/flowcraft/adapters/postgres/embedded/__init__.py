"""A PostgreSQL server for demos and tests, which this process finds, starts and ends."""

from flowcraft.adapters.postgres.embedded.binaries import (
    Binaries,
    BinariesNotFound,
    all_binaries,
    find_binaries,
)
from flowcraft.adapters.postgres.embedded.data_directory import DataDirectoryInUse, ServerFailed
from flowcraft.adapters.postgres.embedded.server import EmbeddedPostgres
from flowcraft.adapters.postgres.embedded.simple_query import QueryFailed

__all__ = [
    "Binaries",
    "BinariesNotFound",
    "DataDirectoryInUse",
    "EmbeddedPostgres",
    "QueryFailed",
    "ServerFailed",
    "all_binaries",
    "find_binaries",
]
