"""Prometheus: a node's own counts in the text that Prometheus reads.

Nothing is counted for it: a collector reads what is there when it is asked. `METRICS` is all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from flowcraft.core.report import BOUNDS, Histogram, NodeReport, State
from flowcraft.core.wakeup import StateWord

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family
    from prometheus_client.registry import Collector

Value: TypeAlias = float | Histogram | Mapping[str, float]
"""Of one node: one number, a histogram, or a number for each value of the label."""
MISSING = "metrics need another package; install it: pip install 'flowcraft-realtime[metrics]'\n"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name without `flowcraft_` and without what Prometheus appends to it."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    meaning: str
    read: Callable[[NodeReport], Value]
    label: str = ""

    @property
    def suffix(self) -> str:
        """What Prometheus wants at the end of its name, if it is no histogram."""
        return "_total" if self.kind == "counter" else ""


METRICS = (
    Metric(
        "ready",
        "gauge",
        "1 when new connections are served from a log that is being read",
        lambda m: m.state == "live",
    ),
    Metric("state", "gauge", "1 for the state the process is in", lambda m: _one_of(State, m.state), "state"),
    Metric(
        "wakeup",
        "gauge",
        "1 for how it learns of commits; `polling` when no wakeups come and the log is polled",
        lambda m: _one_of(StateWord, m.wakeup) | {m.wakeup: 1.0},  # a backend may have a word of its own
        "state",
    ),
    Metric(
        "commit_to_socket_seconds",
        "histogram",
        "from the commit of an event to the write for the last of its live subscribers, at most",
        lambda m: m.counts.commit_delay,
    ),
    Metric(
        "relay_lag_seconds",
        "gauge",
        "since the log was last read: below a second when all is well",
        lambda m: m.relay_lag_seconds,
    ),
    Metric("relay_reads", "counter", "reads of the log that succeeded", lambda m: m.counts.reads),
    Metric("relay_events", "counter", "events that these reads brought", lambda m: m.counts.events),
    Metric("connections", "gauge", "clients that are connected", lambda m: m.connections),
    Metric(
        "message_connections",
        "gauge",
        "of these, written to by messages of an ASGI server: slower than to the socket",
        lambda m: m.message_connections,
    ),
    Metric("connections_opened", "counter", "clients that were taken", lambda m: m.counts.connections),
    Metric("refused", "counter", "clients that were refused with 503", lambda m: m.counts.refused),
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
        "events handed to connections, each as often as it has recipients: `live`, `replay` or `ephemeral`",
        lambda m: {"live": m.counts.live, "replay": m.counts.replayed, "ephemeral": m.counts.ephemeral},
        "how",
    ),
    Metric(
        "delivered_bytes",
        "counter",
        "bytes of these messages, before framing and compression; of a long replay, about",
        lambda m: m.counts.sent_bytes,
    ),
    Metric(
        "outbox_bytes", "gauge", "bytes that wait because clients do not take them", lambda m: m.outbox_bytes
    ),
    Metric("waiting_connections", "gauge", "clients for which bytes wait", lambda m: m.waiting_connections),
    Metric(
        "slow_closes",
        "counter",
        "clients closed (4408) because they did not take what they were sent",
        lambda m: m.counts.slow_closes,
    ),
    Metric(
        "dead_closes",
        "counter",
        "clients closed (4409) because they answered no ping",
        lambda m: m.counts.dead_closes,
    ),
    Metric("resumes", "counter", "subscriptions that named a cursor", lambda m: m.counts.resumes),
    Metric(
        "replays",
        "counter",
        "resumes that were answered with what was missed, from `memory` or from the `log`",
        lambda m: {"memory": m.counts.replays_from_memory, "log": m.counts.replays_from_log},
        "source",
    ),
    Metric(
        "replay_reads",
        "counter",
        "reads of the log for replays; a herd shares them",
        lambda m: m.counts.replay_reads,
    ),
    Metric(
        "resets",
        "counter",
        "clients told to load their state anew, by the reason they were given",
        lambda m: m.counts.resets,
        "reason",
    ),
    Metric(
        "failures",
        "counter",
        "items of shared work that failed while the others went on; `event`: of the log, and cannot be read",
        lambda m: m.counts.failures,
        "work",
    ),
    Metric(
        "loop_delay_seconds",
        "histogram",
        "how late the event loop comes to what is due, looked at once a second",
        lambda m: m.counts.loop_delay,
    ),
    Metric(
        "task_restarts",
        "counter",
        "failures of a task that must live, by its name",
        lambda m: {name: task.restarts for name, task in m.tasks.items()},
        "task",
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
    """Return what a registry of your own takes: `REGISTRY.register(collector(lambda: [node.report()]))`.

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
    """What one node has of a metric: what is appended to its name, labels, and value."""
    value = metric.read(node)
    if isinstance(value, Histogram):
        up_to = list(accumulate(value.buckets))
        for bound, count in zip([*map(str, BOUNDS), "+Inf"], up_to, strict=True):
            yield "_bucket", {"le": bound}, count
        yield "_sum", {}, value.seconds
        yield "_count", {}, up_to[-1]
    elif isinstance(value, Mapping):
        for name, number in value.items():
            yield metric.suffix, {metric.label: name}, number
    else:
        yield metric.suffix, {}, value


def _one_of(values: object, present: str) -> dict[str, float]:
    return {value: float(value == present) for value in get_args(values)}
