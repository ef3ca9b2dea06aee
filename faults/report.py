"""Report: the figures of a run as JSON, and the table of `docs/guarantees.md` that is made from them."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from faults.outcomes import Figure, Outcome
from faults.sizes import Size

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "guarantees.md"
RESULTS = ROOT / "docs" / "faults"
RULE = "|---|---|---|---|---|"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
WORDING = {
    "I1": (
        "every committed event reaches every subscriber that stays subscribed",
        "backends terminated each second, clients reset and silenced, server killed, every NOTIFY withheld",
    ),
    "I2": (
        "the handler sees each event once",
        "the same, many clients that reconnect at once, groups sent twice",
    ),
    "I3": (
        "changes of a row arrive in order; the last is its state",
        "8 writers on hot rows, holds, a transaction open for 5 s",
    ),
    "I4": (
        "no silent gap",
        "events and whole groups lost inside the server",
    ),
    "I5": (
        "nothing uncommitted is delivered",
        "rollbacks, savepoints, serialization failures, PostgreSQL killed under asynchronous commits",
    ),
    "I6": (
        "after `subscribed` everything arrives",
        "commits at the instant of the reply",
    ),
    "I7": (
        "state and stream are the database",
        "states loaded under 8 writers, server stopped and killed",
    ),
    "I8": (
        "every cursor is answered: resume, or `reset` with its reason",
        "cursors old, ahead, foreign, expired, garbled",
    ),
    "I9": (
        "recovery time",
        "restarts and kills of PostgreSQL and server, SIGSTOP, a partition of 10 s",
    ),
    "I10": (
        "a slow client harms no other client",
        "clients that stop reading or read 1 KB/s beside a channel of 10 MB/s",
    ),
    "I11": (
        "no leak",
        "connections that come and go",
    ),
    "I12": (
        "unsubscribed means silent",
        "subscribe and unsubscribe racing in the real client",
    ),
    "I13": (
        "rights that end stop the flow",
        "tokens of 2 s, rights withdrawn by table and by call, keys rotated, server clocks an hour off",
    ),
    "I14": (
        "no client receives what was not granted",
        "50 tenants, guessed and unknown names, forged tokens, cursors of others",
    ),
    "I15": (
        "payloads arrive unchanged",
        "0 B to 256 KiB, emoji, U+2028, 2^53 ± 1, deep values",
    ),
    "I16": (
        "the layer never hurts writers",
        "the reader frozen, a large backlog",
    ),
    "I17": (
        "rolling deploy",
        "two servers restarted in turn under load",
    ),
    "I18": (
        "storm",
        "many clients that connect at once and resume 100 events each",
    ),
    "I19": (
        "the wall clock is irrelevant",
        "server clocks a day ahead and an hour behind",
    ),
    "I20": (
        "malformed input harms no client",
        "random bytes, frames, messages and requests, slow senders, and connections by the hundred",
    ),
    "I21": (
        "dead peers are found, also when writes are blocked",
        "black holes each way, full buffers",
    ),
    "I22": (
        "fail-over",
        "the primary killed, an asynchronous and a synchronous standby promoted",
    ),
    "I23": (
        "disk full",
        "the file system of the database filled, then grown",
    ),
    "I24": (
        "latency without faults",
        "1,000 events/s to 100 subscribers",
    ),
    "I25": (
        "rows at every commit point are those of SQL at that cursor",
        "8 writers: moves, key changes, nested triggers, cascades, savepoints, TRUNCATE, DDL; servers killed",
    ),
    "I26": (
        "presence has no ghost and no flicker",
        "reloads, two tabs, a rolling deploy, a killed server, a database away (30 s; at CI size a fifth)",
    ),
    "I29": (
        "the promise through NATS: relays die",
        "the relay that publishes killed, again and again; every 7th batch lost",
    ),
    "I30": (
        "two relays that publish at once double nothing",
        "a relay frozen until another leads, then released",
    ),
    "I31": (
        "a lost broker costs time, and no event",
        "the broker killed, and frozen; with `--jetstream` its stream emptied, deleted and rolled back",
    ),
    "I32": (
        "lines to the broker may fail",
        "lost batches, resets, silence and 64 KB/s between edges and broker",
    ),
    "I33": (
        "a client moves between edges and nodes on the database",
        "a quarter of the clients cut off, again and again",
    ),
    "I34": (
        "a relay on a lost primary changes nothing",
        "a standby promoted while its primary, with relay and writers, goes on",
    ),
    "I35": (
        "a withdrawn right ends in commit order",
        "4 writers, rights withdrawn one after the other, guards in flight, backends terminated",
    ),
    "I36": (
        "an unreadable or oversized item stops no other",
        "10 MB in a transaction over a line of 1.5 MB/s, payloads that are no JSON, impossible cursors",
    ),
    "I37": (
        "nothing of ours fails a write of the application",
        "two-phase commit, settings of sessions, columns renamed and dropped, tables renamed and emptied",
    ),
}


def write_results(path: Path, size: Size, seed: int, outcomes: Sequence[Outcome], seconds: float) -> None:
    """Write what a run found."""
    results = {
        "size": size.name,
        "seed": seed,
        "seconds": round(seconds),
        "commit": _commit(),
        "machine": _machine(),
        "outcomes": [
            {
                "invariant": o.invariant,
                "passed": o.passed,
                "late": o.late,
                "skipped": o.skipped,
                "figures": dict(o.figures),
            }
            for o in outcomes
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


def table(results: Mapping[str, Any]) -> str:
    """One run as Markdown."""
    run = "size `{size}`, seed {seed}, {seconds} s, commit `{commit}`, {machine}".format_map(results)
    lines = [run[0].upper() + run[1:] + ".", "", "| # | what holds | under | result | figures |", RULE]
    for outcome in results["outcomes"]:
        what, under = WORDING[outcome["invariant"]]
        word = _word(outcome)
        figures = ", ".join(f"{name} {_short(value)}" for name, value in outcome["figures"].items())
        lines.append(f"| {outcome['invariant']} | {what} | {under} | {word} | {figures} |")
    return "\n".join(lines)


def _word(outcome: Mapping[str, Any]) -> str:
    if outcome["skipped"]:
        return "not run"
    if outcome["passed"]:
        return "held"
    return "**late**" if outcome["late"] else "**failed**"


def rendered(page: str) -> str:
    """The page with its tables made again from the results that are kept."""
    tables = [table(json.loads(path.read_text("utf-8"))) for path in sorted(RESULTS.glob("*.json"))]
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + "\n\n" + "\n\n".join(tables) + "\n\n" + END + tail


def main() -> int:
    """Make the table again, or with --check fail if it is not what the results are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit 1 if the page is out of date"
    )
    page = PAGE.read_text("utf-8")
    wanted = rendered(page)
    if not parser.parse_args().check:
        PAGE.write_text(wanted, "utf-8")
        return 0
    if page == wanted:
        return 0
    print(f"{PAGE.name} is out of date; run python -m faults.report", file=sys.stderr)
    return 1


def _machine() -> str:
    python = f"Python {platform.python_version()}"
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, {python}"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty"]
    outcome = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return outcome.stdout.strip() or "unknown"


def _short(value: Figure) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else value


if __name__ == "__main__":
    sys.exit(main())
