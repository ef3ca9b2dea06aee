"""Tables: the costs, what loads need and how the model was checked, for `docs/guides/scaling.md`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.sizing.model import Costs, Load, size
from benchmarks.sizing.simulation import TOLERANCES

MEANINGS = {
    "message": "a message to one client, with the write to its socket",
    "handshake": "a client that connects and subscribes",
    "connection_bytes": "the memory of a connected client in the process",
    "edge_event": "an event in an edge, whether it has recipients there or not",
    "edge_batch": "a batch in an edge, beside its events",
    "relay_event": "an event in the relay: read and encoded",
    "relay_batch": "a batch in the relay, beside its events",
    "broker_byte": "a byte that NATS sends to an edge",
    "postgres_commit": "a commit in PostgreSQL, beside its events",
    "postgres_event": "an event in PostgreSQL",
    "postgres_read": "a read of the log in PostgreSQL, by each node that follows it",
}

THROUGH = {"direct": "the database", "NATS": "NATS"}
_NEEDS = (
    "| clients | events/s | recipients of an event | edges (processes) | core of an edge, of which for the "
    "events of all | core of the relay | NATS, Gbit/s (servers) | PostgreSQL, cores (without relays) | "
    "memory of clients, GB | an edge dies: clients back after | breaks first |"
)
_CHECKS = "| what | where | model | simulation | slowest | may differ by |"


def tables(result: dict[str, Any], recorded: dict[str, dict[str, Any]]) -> list[str]:
    """Return the parts of the page; `recorded` are the results of other benchmarks by name."""
    costs = Costs(**result["costs"])
    return [
        f"Commit `{result['commit']}`, {result['machine']}. **Measured** in one run, as processor time:",
        _table("| measured | cost |", [(what, _cost(name, costs)) for name, what in MEANINGS.items()]),
        "The model beside whole systems that were **measured**:",
        _table("| measured | model | measurement |", _whole(costs, recorded)),
        "**Calculated** from these costs, and checked by the simulation; not tried:",
        _table(_NEEDS, [_need(row, costs) for row in result["rows"]]),
        "**Simulated**, event by event, with the same costs:",
        _table(_CHECKS, map(_checked, result["checks"])),
    ]


def _table(head: str, rows: Iterable[tuple[str, ...]]) -> str:
    line = "|".join(["---"] * (head.count("|") - 1))
    return "\n".join([head, f"|{line}|", *[f"| {' | '.join(row)} |" for row in rows]])


def _cost(name: str, costs: Costs) -> str:
    value: float = getattr(costs, name)
    if name.endswith("_bytes"):
        return f"{value / 1000:.1f} kB"
    return f"{1e9 * value:.2f} ns" if value < 1e-7 else f"{1e6 * value:,.1f} µs"


def _whole(costs: Costs, recorded: dict[str, dict[str, Any]]) -> list[tuple[str, str, str]]:
    found: list[tuple[str, str, str]] = []
    if runs := recorded["fanout"].get("runs"):
        one = runs["1,000 clients, 1 at a time"]["FlowCraft"]
        measured = sorted(run["messages_per_s"] for run in one.values())[len(one) // 2]
        found.append(
            ("messages/s of one core, 1,000 clients", f"{1 / costs.message:,.0f}", f"{measured:,.0f}")
        )
    if storm := recorded["storm"].get("medians"):
        (seconds,) = storm.values()
        modelled = 10_000 * (costs.handshake + 10 * costs.message)
        found.append(
            ("10,000 clients connect again, each with 10 events", f"{modelled:.1f} s", f"{seconds:.1f} s")
        )
    for row in recorded["edges"].get("rows", ()):
        through = THROUGH.get(row["through"])
        if row["nodes"] in (1, 8) and through is not None:
            readers, rate = row["nodes"] if row["through"] == "direct" else 1, recorded["edges"]["rate"]
            spent = rate * (costs.postgres_commit + costs.postgres_event + readers * costs.postgres_read)
            nodes = "1 node" if row["nodes"] == 1 else f"{row['nodes']} nodes"
            what = f"processor of PostgreSQL, {rate:g} commits/s, {nodes} through {through}"
            found.append((what, f"{1000 * spent:.0f} ms/s", f"{row['postgres_ms_per_s']:.0f} ms/s"))
    return found


def _need(row: dict[str, Any], costs: Costs) -> tuple[str, ...]:
    need = size(Load(row["connections"], row["events"], row["recipients"]), costs)
    storm = "< 1 s" if need.storm_seconds < 1 else f"{need.storm_seconds:.1f} s"
    times = 1 / need.limits[need.first]
    times_text = f"{times:,.0f}" if times >= 10 else f"{times:.1f}"
    return (
        f"{row['connections']:,}",
        f"{row['events']:,.0f}",
        f"{row['recipients']:,.0f}",
        f"{need.edges:,.0f}",
        f"{need.edge_busy:.0%}, {need.foreign_busy:.0%}",
        f"{need.relay_busy:.0%}",
        f"{need.gbit:.2g} ({need.brokers:.0f})",
        f"{need.postgres_cores:.2g} ({need.postgres_cores_without:.2g})",
        f"{need.memory_gb:.2g}",
        storm,
        f"{need.first}, at {times_text} times this load",
    )


def _checked(check: dict[str, Any]) -> tuple[str, ...]:
    is_time = check["what"] != "moves in a rollout"
    figures = [
        (f"{1000 * value:.1f} ms" if value < 1 else f"{value:.2f} s") if is_time else f"{value:.2f}"
        for value in (check["modelled"], check["simulated"], check["slowest"])
    ]
    return (check["what"], check["where"], *figures, f"{TOLERANCES[check['what']]:.0%}")
