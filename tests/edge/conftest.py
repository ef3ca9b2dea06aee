"""A nats-server for the tests of edges."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.edges import with_stream
from tests.support.nats import JETSTREAM, NatsServer, nats_server


@pytest.fixture(scope="session")
def shared_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server with JetStream for the tests that leave it alone."""
    with nats_server(tmp_path_factory.mktemp("nats"), JETSTREAM) as server:
        yield server


@pytest.fixture
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server of the test's own, to be killed."""
    with nats_server(tmp_path_factory.mktemp("nats"), JETSTREAM) as server:
        yield server


@pytest.fixture(params=["core", "JetStream"])
def through(shared_nats: NatsServer, request: pytest.FixtureRequest) -> str:
    """An address of the shared server, without and with a stream."""
    return shared_nats.url if request.param == "core" else with_stream(shared_nats.url)
