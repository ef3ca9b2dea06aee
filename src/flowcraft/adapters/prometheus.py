"""Prometheus: a node's report in the text format that Prometheus scrapes.

The collector reads the node's existing counts when it is scraped and keeps none of its own. `METRICS` is the
complete list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from flowcraft.core.delays import BOUNDS, Histogram
from flowcraft.core.report import EdgeReport, NodeReport, State
from flowcraft.core.wakeup import StateWord

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family
    from prometheus_client.registry import Collector

Value: TypeAlias = float | Histogram | Mapping[str, float] | Mapping[str, Mapping[str, float]]
"""A metric of one node: a number, a histogram, or a number for each value of the label, or of two labels."""
MISSING = "metrics need the package prometheus-client; run pip install 'flowcraft-realtime[metrics]'\n"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name without the prefix `flowcraft_` and without the suffix that Prometheus appends."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    read: Callable[[NodeReport], Value]
    label: str = ""
    """The name of the label, or of two, with a space."""

    @property
    def suffix(self) -> str:
        """The suffix of the sample's name; a histogram has its own suffixes."""
        return "_total" if self.kind == "counter" else ""


METRICS = (
    Metric(
        "ready",
        "gauge",
        "1 while new connections are accepted and the log is being read",
        lambda m: m.state == "live",
    ),
    Metric(
        "state", "gauge", "1 for the current state of the process", lambda m: _one_of(State, m.state), "state"
    ),
    Metric(
        "wakeup",
        "gauge",
        "1 for the current wakeup state; `polling` means that no wakeups arrive and the log is polled",
        lambda m: _one_of(StateWord, m.wakeup) | {m.wakeup: 1.0},  # a backend may have a word of its own
        "state",
    ),
    Metric(
        "commit_to_socket_seconds",
        "histogram",
        "upper bound of the time from an event's commit to the write for its last live subscriber",
        lambda m: m.counts.commit_delay,
    ),
    Metric(
        "relay_lag_seconds",
        "gauge",
        "time since the log was last read: below a second on a healthy server",
        lambda m: m.relay_lag_seconds,
    ),
    Metric("relay_reads", "counter", "successful reads of the log", lambda m: m.counts.reads),
    Metric("relay_events", "counter", "events returned by these reads", lambda m: m.counts.events),
    Metric("connections", "gauge", "connected clients", lambda m: m.connections),
    Metric(
        "message_connections",
        "gauge",
        "of these, written to by messages of an ASGI server: slower than to the socket",
        lambda m: m.message_connections,
    ),
    Metric("connections_opened", "counter", "connections accepted", lambda m: m.counts.connections),
    Metric("refused", "counter", "connections refused with 503", lambda m: m.counts.refused),
    Metric(
        "subscribers",
        "gauge",
        "live subscriptions, by the declared name of the channel: `runs.{run_id}` for all runs together",
        lambda m: m.subscribers,
        "channel",
    ),
    Metric(
        "delivered_events",
        "counter",
        "events handed to connections, counted once per recipient: `live`, `replay` or `ephemeral`",
        lambda m: {"live": m.counts.live, "replay": m.counts.replayed, "ephemeral": m.counts.ephemeral},
        "how",
    ),
    Metric(
        "delivered_bytes",
        "counter",
        "bytes of these messages, before framing and compression; approximate for long replays",
        lambda m: m.counts.sent_bytes,
    ),
    Metric(
        "outbox_bytes", "gauge", "bytes in outboxes because clients read too slowly", lambda m: m.outbox_bytes
    ),
    Metric(
        "waiting_connections", "gauge", "clients with bytes in their outbox", lambda m: m.waiting_connections
    ),
    Metric(
        "slow_closes",
        "counter",
        "clients closed (4408) because they read too slowly",
        lambda m: m.counts.slow_closes,
    ),
    Metric(
        "dead_closes",
        "counter",
        "clients closed (4409) because they did not answer pings",
        lambda m: m.counts.dead_closes,
    ),
    Metric("resumes", "counter", "subscriptions with a cursor", lambda m: m.counts.resumes),
    Metric(
        "replays",
        "counter",
        "resumes answered with a replay, from `memory` or from the `log`",
        lambda m: {"memory": m.counts.replays_from_memory, "log": m.counts.replays_from_log},
        "source",
    ),
    Metric(
        "replay_reads",
        "counter",
        "reads of the log for replays; clients that reconnect together share them",
        lambda m: m.counts.replay_reads,
    ),
    Metric(
        "states",
        "counter",
        "subscriptions answered with the rows of their channel",
        lambda m: m.counts.states,
    ),
    Metric(
        "state_reads",
        "counter",
        "reads of the rows of a channel; clients that ask together share them",
        lambda m: m.counts.state_reads,
    ),
    Metric("members", "gauge", "members who are present through this process", lambda m: m.members),
    Metric(
        "member_writes",
        "counter",
        "members written because they came, changed or left",
        lambda m: m.counts.member_writes,
    ),
    Metric(
        "resets",
        "counter",
        "subscriptions reset, after which a client reloads its state, by reason",
        lambda m: m.counts.resets,
        "reason",
    ),
    Metric(
        "skipped",
        "counter",
        "events of the log that cannot be delivered, by the declared name of the channel and by reason",
        lambda m: m.counts.skipped,
        "channel reason",
    ),
    Metric(
        "refusals",
        "counter",
        "clients and subscriptions refused: by their `token`, their `origin` or a `guard`",
        lambda m: m.counts.refusals,
        "by",
    ),
    Metric(
        "failures",
        "counter",
        "items of shared work that failed without stopping the others; `event`: a record that cannot be read",
        lambda m: m.counts.failures,
        "work",
    ),
    Metric(
        "loop_delay_seconds",
        "histogram",
        "delay of the event loop, sampled once a second",
        lambda m: m.counts.loop_delay,
    ),
    Metric(
        "task_restarts",
        "counter",
        "failures of a supervised task, each followed by a restart, by task name",
        lambda m: {name: task.restarts for name, task in m.tasks.items()},
        "task",
    ),
    Metric(
        "edge_fresh",
        "gauge",
        "1 while a relay has proven within 2.5 s that it reads the log; no other server has it",
        lambda m: _of_edge(m, lambda edge: edge.fresh),
    ),
    Metric(
        "edge_proof_seconds",
        "gauge",
        "time since the moment of which that was proven last: below a second on a healthy edge",
        lambda m: _of_edge(m, lambda edge: edge.proof_seconds),
    ),
    Metric(
        "edge_behind_seconds",
        "gauge",
        "time since the edge had every event that it knows of: it grows while some are missing",
        lambda m: _of_edge(m, lambda edge: edge.behind_seconds),
    ),
    Metric(
        "edge_gaps",
        "counter",
        "gaps that the edge asked a relay for: messages were lost",
        lambda m: _of_edge(m, lambda edge: edge.gaps),
    ),
    Metric(
        "edge_bridged",
        "counter",
        "gaps and cuts for which a stream had what was missing, so that no relay was asked",
        lambda m: _of_edge(m, lambda edge: edge.bridged),
    ),
    Metric(
        "edge_asks",
        "counter",
        "positions and ends of the log that the edge asked a relay for: at its start, for gaps, to settle",
        lambda m: _of_edge(m, lambda edge: edge.asked),
    ),
    Metric(
        "edge_rejected",
        "counter",
        "messages that were not as specified, and ignored",
        lambda m: _of_edge(m, lambda edge: edge.rejected),
    ),
)


def exposition(nodes: Sequence[NodeReport], *, by_process: bool = False) -> str:
    """Return the metrics of nodes; by process, each has the label `pid`.

    Raises:
        ImportError: prometheus-client is not installed.
    """
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    registry.register(collector(lambda: nodes, by_process=by_process))
    return generate_latest(registry).decode()


def collector(measure: Callable[[], Sequence[NodeReport]], *, by_process: bool = False) -> Collector:
    """Return a collector for your own registry: `REGISTRY.register(collector(lambda: [node.report()]))`.

    Raises:
        ImportError: prometheus-client is not installed.
    """
    from prometheus_client.core import Metric as Family
    from prometheus_client.registry import Collector

    class NodeCollector(Collector):
        def collect(self) -> Iterator[Family]:
            nodes = measure()
            for metric in METRICS:
                family = Family(f"flowcraft_{metric.name}", metric.meaning, metric.kind)
                for node in nodes:
                    process = {"pid": str(node.pid)} if by_process else {}
                    for suffix, labels, value in _samples(metric, node):
                        family.add_sample(family.name + suffix, {**labels, **process}, value)
                yield family

    return NodeCollector()


def _samples(metric: Metric, node: NodeReport) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield one node's samples of a metric: suffix of the name, labels, value."""
    value = metric.read(node)
    if isinstance(value, Histogram):
        up_to = list(accumulate(value.buckets))
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], up_to, strict=True):
            yield "_bucket", {"le": bound}, count
        yield "_sum", {}, value.seconds
        yield "_count", {}, up_to[-1]
    elif isinstance(value, Mapping):
        for name, number in value.items():
            if isinstance(number, Mapping):
                outer, inner = metric.label.split()
                for other, times in number.items():
                    yield metric.suffix, {outer: name, inner: other}, times
            else:
                yield metric.suffix, {metric.label: name}, number
    else:
        yield metric.suffix, {}, value


def _of_edge(node: NodeReport, read: Callable[[EdgeReport], float]) -> Value:
    """Return a number of an edge; no sample for a node that reads the database."""
    return {} if node.edge is None else read(node.edge)


def _one_of(values: object, present: str) -> dict[str, float]:
    return {value: float(value == present) for value in get_args(values)}
