"""The sizing model: its arithmetic, what it says breaks first, and that a simulation finds the same."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest

from benchmarks.sizing import simulation
from benchmarks.sizing.model import Costs, Load, mean_delay, moves, size
from benchmarks.sizing.simulation import Check, checks

COSTS = Costs(
    message=10e-6,
    handshake=200e-6,
    connection_bytes=2_000,
    edge_event=2e-6,
    edge_batch=25e-6,
    relay_event=4e-6,
    relay_batch=10e-6,
    broker_byte=1e-9,
    postgres_commit=100e-6,
    postgres_event=20e-6,
    postgres_read=400e-6,
)
LOAD = Load(connections=100_000, events=1_000, recipients=100)


def test_what_a_load_needs_is_the_sum_of_its_parts() -> None:
    found = size(LOAD, COSTS)
    # 100 batches of 10 events; 100,000 messages and 4,000 heartbeats, 27.8 handshakes
    assert LOAD.batches == 100
    assert LOAD.writes == 104_000
    assert found.foreign_busy == pytest.approx(1_000 * 2e-6 + 100 * 25e-6)
    assert found.edges == 5  # 20,000 clients each; by their cores 2
    assert found.edge_busy == pytest.approx(0.0045 + (1.04 + 100_000 / 3600 * 200e-6) / 5)
    assert found.relay_busy == pytest.approx(1_000 * 4e-6 + 100 * 10e-6)
    assert found.gbit == pytest.approx(1_000 * 260 * 5 * 8 / 1e9)
    assert found.postgres_cores == pytest.approx(100 * 100e-6 + 1_000 * 20e-6 + 100 * 400e-6)
    assert found.postgres_cores_without == pytest.approx(0.03 + 5 * 0.04)
    assert found.memory_gb == pytest.approx(0.2)
    assert found.storm_seconds == pytest.approx(20_000 * 200e-6 / (4 * (1 - found.edge_busy)))


def test_cores_decide_where_clients_receive_much() -> None:
    busy = Load(100_000, 1_000, 2_000)
    assert busy.writes == 2_004_000
    assert size(busy, COSTS).edges == 34  # 20.04 cores of messages, 0.5955 of each core is left


def test_events_of_one_batch_for_one_client_are_one_write() -> None:
    assert Load(1_000, 10_000, 1_000).writes == 1_000 * 200 + 40


def test_more_edges_do_not_help_where_one_cannot_take_every_event() -> None:
    found = size(Load(1_000_000, 300_000, 1), COSTS)
    assert found.edges == inf
    assert found.first == "the network of one server of NATS"
    assert found.limits["an edge takes every event"] == pytest.approx((0.6 + 200 * 25e-6) / 0.6)


def test_what_breaks_first_is_what_costs_most() -> None:
    assert size(LOAD, replace(COSTS, relay_event=1e-4)).first == "the relay that publishes"
    assert size(LOAD, replace(COSTS, postgres_event=0.01)).first == "PostgreSQL"
    assert size(LOAD, replace(COSTS, edge_event=1e-4)).first == "an edge takes every event"


def test_a_client_moves_more_than_once_where_pods_are_replaced_one_by_one() -> None:
    assert [moves(1), moves(2)] == [1, 1.25]


def test_the_simulation_finds_what_the_model_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "BATCHES", 20_000)
    found = checks(COSTS, [LOAD, Load(1_000_000, 100_000, 10)])
    assert [check.what for check in found] == [
        *("delay in an edge", "reconnect storm") * 2,
        *("moves in a rollout",) * 3,
    ]
    assert [check for check in found if not check.holds] == []


def test_a_figure_that_is_wrong_does_not_hold() -> None:
    assert mean_delay(LOAD, COSTS, 5) > 0
    assert not Check("delay in an edge", "", 1.0, 1.11, 2.0).holds
    assert Check("delay in an edge", "", 1.0, 1.09, 2.0).holds
