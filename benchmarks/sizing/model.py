"""Model: from what single things cost to the processes and cores that a load needs. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil, inf

USED = 0.6
"""The part of a core, or of a network, that is planned with; the rest is for reconnects and peaks."""
CONNECTIONS = 20_000
"""Clients of one process: `Settings.connections`."""
READS_PER_SECOND = 200.0
"""Batches that a relay publishes at most: a read, its encoding and sending take about 5 ms under load."""
HEARTBEAT_SECONDS = 25.0
SESSION_SECONDS = 3600.0
"""How long a client stays connected, on average."""
EVENTS_PER_COMMIT = 10.0
PAYLOAD_BYTES = 200.0
ENVELOPE_BYTES = 60.0
"""What an event has in a message of a relay beside its payload."""
GBIT_OF_BROKER = 10.0
"""The network of one server of NATS."""
CORES_OF_BROKER = 4
CORES_OF_POSTGRES = 32


@dataclass(frozen=True, slots=True)
class Costs:
    """What single things cost, in seconds of one core, and in bytes."""

    message: float
    """A message to one client: its part of the fan-out, and the write to its socket."""
    handshake: float
    """A client that connects and subscribes."""
    connection_bytes: float
    """A connected client, in the memory of the process."""
    edge_event: float
    """An event in an edge, without its recipients: decoding, the chain, the hub, the memory of events."""
    edge_batch: float
    """A batch in an edge, beside its events."""
    relay_event: float
    """An event in a relay: the read, the hub's checks and the encoding."""
    relay_batch: float
    """A batch in a relay, beside its events."""
    broker_byte: float
    """A byte that a server of NATS sends to an edge."""
    postgres_commit: float
    """A commit, in PostgreSQL, beside its events."""
    postgres_event: float
    """An event in a commit."""
    postgres_read: float
    """A read of the log that a node makes because of a commit."""


@dataclass(frozen=True, slots=True)
class Load:
    """Connected clients, committed events per second, and recipients of each event."""

    connections: int
    events: float
    recipients: float

    @property
    def batches(self) -> float:
        """Batches per second: commits that come while the log is read are read together."""
        return min(self.events / EVENTS_PER_COMMIT, READS_PER_SECOND)

    @property
    def writes(self) -> float:
        """Writes to sockets per second: events of one batch for one client are one, heartbeats are too."""
        of_events = min(self.events * self.recipients, self.connections * self.batches)
        return of_events + self.connections / HEARTBEAT_SECONDS

    @property
    def message_bytes(self) -> float:
        """What a relay publishes per second."""
        return self.events * (PAYLOAD_BYTES + ENVELOPE_BYTES)


@dataclass(frozen=True, slots=True)
class Size:
    """What a load needs; each `..._load` is the part of what may be used."""

    edges: float
    """Processes; infinite if one cannot even take all events."""
    edge_busy: float
    """The part of a core that an edge uses."""
    foreign_busy: float
    """The part of a core that an edge uses for the events, whoever receives them: each edge gets all."""
    memory_gb: float
    """Of the connections of all edges."""
    relay_busy: float
    """The part of a core that the relay which publishes uses."""
    brokers: float
    """Servers of NATS."""
    gbit: float
    """From NATS to all edges, per second."""
    postgres_cores: float
    postgres_cores_without: float
    """With as many nodes on the database, and no relay."""
    storm_seconds: float
    """Until the clients of one edge that died are connected again, if the others use what is left."""
    limits: dict[str, float]
    """By what can break, the load as a part of what is planned with; above 1 more is needed than there is."""

    @property
    def first(self) -> str:
        """What breaks first when the load grows."""
        return max(self.limits, key=lambda name: self.limits[name])


def size(load: Load, costs: Costs) -> Size:
    """Return what a load needs."""
    foreign = load.events * costs.edge_event + load.batches * costs.edge_batch
    own = load.writes * costs.message + load.connections / SESSION_SECONDS * costs.handshake
    by_core = own / (USED - foreign) if foreign < USED else inf
    edges = max(2.0, by_core, load.connections / CONNECTIONS)
    edges = edges if edges == inf else float(ceil(edges))
    relay = load.events * costs.relay_event + load.batches * costs.relay_batch
    sent = load.message_bytes * edges
    broker_cores, gbit = sent * costs.broker_byte, sent * 8 / 1e9
    brokers = max(1.0, broker_cores / (USED * CORES_OF_BROKER), gbit / (USED * GBIT_OF_BROKER))
    writing = load.events * (costs.postgres_commit / EVENTS_PER_COMMIT + costs.postgres_event)
    reading = load.batches * costs.postgres_read
    busy = foreign + own / edges
    spare = max(0.0, 1 - busy)
    back = load.connections / edges * costs.handshake / ((edges - 1) * spare) if spare else inf
    return Size(
        edges=edges,
        edge_busy=busy,
        foreign_busy=foreign,
        memory_gb=load.connections * costs.connection_bytes / 1e9,
        relay_busy=relay,
        brokers=brokers if brokers == inf else float(ceil(brokers)),
        gbit=gbit,
        postgres_cores=writing + reading,
        postgres_cores_without=writing + reading * edges,
        storm_seconds=back,
        limits={
            "an edge takes every event": foreign / USED,
            "the relay that publishes": relay / USED,
            "the network of one server of NATS": gbit / (USED * GBIT_OF_BROKER),
            "PostgreSQL": (writing + reading) / (USED * CORES_OF_POSTGRES),
        },
    )


def mean_delay(load: Load, costs: Costs, edges: float) -> float:
    """Return how long a batch is in an edge on average, until its last write: it waits, then it is served.

    Batches come at random, and one core serves them in turn (Pollaczek and Khinchine).
    """
    events = load.events / load.batches
    writes = (load.writes - load.connections / HEARTBEAT_SECONDS) / load.batches / edges
    service = costs.edge_batch + events * costs.edge_event + writes * costs.message
    # Their numbers vary as those of a Poisson process: the variance of each is its mean.
    variance = events * costs.edge_event**2 + writes * costs.message**2
    busy = load.batches * service
    if busy >= 1:
        return inf
    return service + load.batches * (service**2 + variance) / (2 * (1 - busy))


def moves(pods: int) -> float:
    """Return how often a client moves in a rollout that replaces pods one by one, one more at a time.

    Its pod is one of `old`, each of which is as likely the next; it lands on any of the others alike.
    """
    left = 0.0
    for old in range(1, pods + 1):
        # With probability 1/old its pod is next: it moves, and `old - 1` of the other `pods` are old.
        left = (1 + (old - 1) / pods * left) / old + (old - 1) / old * left
    return left


def as_json(costs: Costs) -> dict[str, float]:
    """Return the costs by name."""
    return {field.name: getattr(costs, field.name) for field in fields(costs)}
