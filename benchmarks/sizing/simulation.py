"""Simulation: queues of edges, a reconnect storm and a rollout, event by event, beside the model."""

from __future__ import annotations

import random
from dataclasses import dataclass

from benchmarks.sizing.model import HEARTBEAT_SECONDS, Costs, Load, mean_delay, moves, size

BATCHES = 40_000
"""Of one simulated edge."""
RETRY_SECONDS = 0.25
"""Clients come back within this time after they lost a connection, each after a time of its own."""
TOLERANCES = {"delay in an edge": 0.1, "reconnect storm": 0.25, "moves in a rollout": 0.05}
"""By how much the simulation may differ from the model, as a part of what the model says."""
BUSY = (0.3, 0.6, 0.8)


@dataclass(frozen=True, slots=True)
class Check:
    """One figure of the model beside that of the simulation."""

    what: str
    where: str
    modelled: float
    simulated: float
    slowest: float
    """The 99th percentile, or the last one."""

    @property
    def deviation(self) -> float:
        """By which part of the model's figure the simulation differs."""
        return abs(self.simulated / self.modelled - 1)

    @property
    def holds(self) -> bool:
        """Whether it is within the stated tolerance."""
        return self.deviation <= TOLERANCES[self.what]


def checks(costs: Costs, loads: list[Load], seed: int = 1) -> list[Check]:
    """Return every check, of each load that edges can take at all."""
    chance = random.Random(seed)
    found: list[Check] = []
    for load in loads:
        edges = size(load, costs).edges
        if edges == float("inf"):
            continue
        where = f"{load.connections:,} clients, {load.events:,.0f} events/s"
        delays = delays_in_an_edge(load, costs, edges, chance)
        mean = sum(delays) / len(delays)
        slowest = sorted(delays)[int(0.99 * len(delays))]
        found.append(Check("delay in an edge", where, mean_delay(load, costs, edges), mean, slowest))
        found.append(storm(load, costs, int(edges), chance, where))
    for pods in (3, 8, 50):
        times = [moves_of_a_client(pods, chance) for _ in range(20_000)]
        mean = sum(times) / len(times)
        found.append(Check("moves in a rollout", f"{pods} pods, one by one", moves(pods), mean, max(times)))
    return found


def delays_in_an_edge(load: Load, costs: Costs, edges: float, chance: random.Random) -> list[float]:
    """Return how long each batch was in one edge: batches come at random, and are served in turn."""
    events = load.events / load.batches
    writes = (load.writes - load.connections / HEARTBEAT_SECONDS) / load.batches / edges
    now = free = 0.0
    delays: list[float] = []
    for _ in range(BATCHES):
        now += chance.expovariate(load.batches)
        service = costs.edge_batch + poisson(events, chance) * costs.edge_event
        service += poisson(writes, chance) * costs.message
        free = max(now, free) + service
        delays.append(free - now)
    return delays


def storm(load: Load, costs: Costs, edges: int, chance: random.Random, where: str) -> Check:
    """Have the clients of one edge connect to the others, which serve their batches meanwhile."""
    lost = load.connections // edges
    arrivals: list[list[float]] = [[] for _ in range(edges - 1)]
    for _ in range(lost):
        arrivals[chance.randrange(edges - 1)].append(chance.uniform(0, RETRY_SECONDS))
    ends = [_last_handshake(sorted(times), load, costs, chance) for times in arrivals]
    mean = sum(ends) / len(ends)
    modelled = max(RETRY_SECONDS, size(load, costs).storm_seconds)
    return Check("reconnect storm", where, modelled, mean, max(ends))


def _last_handshake(arrivals: list[float], load: Load, costs: Costs, chance: random.Random) -> float:
    """Return when an edge has served its new clients: batches and handshakes take turns at one core."""
    batch = size(load, costs).edge_busy / load.batches
    free, next_batch, waiting = 0.0, chance.expovariate(load.batches), 0
    while waiting < len(arrivals):
        if next_batch <= max(free, arrivals[waiting]):
            free = max(free, next_batch) + batch
            next_batch += chance.expovariate(load.batches)
        else:
            free = max(free, arrivals[waiting]) + costs.handshake
            waiting += 1
    return free


def moves_of_a_client(pods: int, chance: random.Random) -> int:
    """Return how often a client moves while old pods are replaced one by one, one more at a time."""
    old = list(range(pods))
    running = list(range(pods))
    at, moved = chance.choice(running), 0
    chance.shuffle(old)
    for number, pod in enumerate(old):
        running.append(pods + number)
        running.remove(pod)
        if at == pod:
            at, moved = chance.choice(running), moved + 1
    return moved


def poisson(mean: float, chance: random.Random) -> float:
    """Return a number of a Poisson distribution; beyond 50 by the normal one, which is as good."""
    if mean > 50:
        return max(0.0, chance.gauss(mean, mean**0.5))
    count, time = 0, chance.expovariate(1.0)
    while time < mean:
        count += 1
        time += chance.expovariate(1.0)
    return float(count)
