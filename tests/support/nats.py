"""A real nats-server for tests; where there is none they are skipped, and say so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from faults import broker
from faults.broker import JETSTREAM, NatsServer

__all__ = ["JETSTREAM", "NatsServer", "nats_cluster", "nats_server"]


@contextmanager
def nats_server(folder: Path, config: str = "") -> Iterator[NatsServer]:
    """A server that runs until the block ends, on a port that the kernel chose."""
    if broker.find_binary() is None:
        pytest.skip(broker.WITHOUT)
    with broker.nats_server(folder, config) as server:
        yield server


@contextmanager
def nats_cluster(folder: Path) -> Iterator[list[NatsServer]]:
    """Three servers that are one cluster."""
    if broker.find_binary() is None:
        pytest.skip(broker.WITHOUT)
    with broker.nats_cluster(folder) as members:
        yield members
