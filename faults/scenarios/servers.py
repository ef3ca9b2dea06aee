"""Servers: crashes with asynchronous commits, fail-over to a standby, a full disk (I5, I22, I23)."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from faults.histories import History, WasReset
from faults.outcomes import Outcome, judged, scenario
from faults.probe import Probe
from faults.programs import until
from faults.proxy import FaultProxy
from faults.stage import POSTGRES, Cluster, Stage
from faults.standby import copy_with_owners
from faults.writers import Writers
from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
from flowcraft.records import Record

FAILOVER_SECONDS = 5.0
CRASHES = 3
DISK_MEGABYTES = 96


@scenario("I5")
async def the_database_is_killed_without_flushing(stage: Stage) -> list[Outcome]:
    """Writers that do not wait for the disk, and PostgreSQL killed under them."""
    async with stage.alone({"wal_writer_delay": "10s", "synchronous_commit": "off"}) as own:
        await own.serve()
        await own.probe_all()
        writers = own.writers()
        postgres = own.cluster.server
        async with writers.writing(synchronous_commit="off"):
            for _ in range(CRASHES):
                await asyncio.sleep(own.size.fault_seconds / CRASHES)
                await asyncio.to_thread(postgres.kill)
                await asyncio.to_thread(postgres.restart)
            await asyncio.sleep(1)
        drained = await own.drain()
        verdict = await own.verdict()
    return [
        judged(
            "I5",
            {
                "drained": drained,
                "nothing uncommitted": verdict.phantoms == 0,
                "nothing lost": verdict.lost == 0,
                "nothing taken back": verdict.resets == 0,
                "commits failed": len(writers.errors) > 0,
            },
            {
                "phantoms": verdict.phantoms,
                "crashes": CRASHES,
                "deliveries": verdict.deliveries,
                "lost": verdict.lost,
            },
        )
    ]


@scenario("I22")
async def a_standby_takes_over(stage: Stage) -> list[Outcome]:
    """The primary dies and its standby is promoted: once it had everything, once the last second is lost."""
    return [await _fail_over(stage, "async"), await _fail_over(stage, "sync")]


async def _fail_over(stage: Stage, kind: Literal["async", "sync"]) -> Outcome:
    settings = {"max_wal_senders": "4", "wal_keep_size": "64MB"}
    async with stage.alone(settings) as own, standby_of(own.cluster) as (standby, replication):
        primary = own.cluster.server
        if kind == "sync":
            primary.execute("alter system set synchronous_standby_names = '*'")
            primary.execute("select pg_reload_conf()")
        await own.serve()
        probes = await own.probe_all(own.size.lanes)
        writers = own.writers()
        async with writers.writing():
            await asyncio.sleep(1)
            if kind == "async":
                replication.black_hole("up", "down")
                await asyncio.sleep(1)
        drained = await own.drain()
        before = await own.verdict()
        await asyncio.to_thread(primary.kill)
        began = time.monotonic()
        await _promote(own, standby)
        resets = await asyncio.gather(*(was_reset(probe) for probe in probes))
        took = time.monotonic() - began
        gone = set(writers.committed) - set(map(_tag, await own.oracle()))
        own.histories = [since_the_reset(history) for history in own.histories]
        async with own.writers(first_version=1_000_000).writing():
            await asyncio.sleep(1)
        drained = await own.drain() and drained
        after = await own.verdict()
    return judged(
        "I22",
        {
            f"{kind}: drained": drained,
            f"{kind}: clean until then": before.ok,
            f"{kind}: every client was reset": all(resets),
            f"{kind}: clean since": after.ok and after.deliveries > 0,
            "sync: no commit is gone" if kind == "sync" else "async: commits are gone": (kind == "async")
            == bool(gone),
        },
        {
            f"{kind}_rewound": sum(resets),
            f"{kind}_s": took,
            f"{kind}_commits_gone": len(gone),
            "silent": len(resets) - sum(resets),
        },
        times={f"{kind}: within {FAILOVER_SECONDS:g} s": took <= FAILOVER_SECONDS},
    )


async def _promote(stage: Stage, standby: EmbeddedPostgres) -> None:
    await asyncio.to_thread(standby.execute, "select pg_promote()")
    stage.cluster.server = standby
    assert standby.port is not None
    stage.wire.upstreams = [("127.0.0.1", standby.port)]
    stage.wire.reset()


async def was_reset(probe: Probe) -> bool:
    """Whether a client was reset in time."""
    return await until(lambda: probe.resets["rewound"] > 0, 2 * FAILOVER_SECONDS)


def _tag(record: Record) -> tuple[str, str, int]:
    payload = json.loads(record.payload)
    return record.channel, str(payload["row"]), payload["version"]


def since_the_reset(history: History) -> History:
    """What was received before belongs to a history that the survivor does not have."""
    last = max(n for n, mark in enumerate(history.marks) if isinstance(mark, WasReset))
    del history.marks[: last + 1]
    return history


@asynccontextmanager
async def standby_of(cluster: Cluster) -> AsyncIterator[tuple[EmbeddedPostgres, FaultProxy]]:
    """Lend a streaming standby of a cluster's server, and the way its replication takes."""
    primary = cluster.server
    assert primary.port is not None
    with tempfile.TemporaryDirectory(prefix="faults-", dir=primary.directory.parent) as folder:
        copy = Path(folder) / "standby"
        await asyncio.to_thread(_copy, primary, copy)
        async with FaultProxy.open(("127.0.0.1", primary.port)) as replication:
            given = urlsplit(primary.tcp_dsn or "")
            source = f"host=127.0.0.1 port={replication.port} user={given.username} password={given.password}"
            settings = {**POSTGRES, "primary_conninfo": source}
            standby = await asyncio.to_thread(EmbeddedPostgres.start, copy, settings=settings, port=0)
            try:
                await asyncio.to_thread(_await_replication, primary)
                yield standby, replication
            finally:
                await asyncio.to_thread(standby.close)


def _copy(primary: EmbeddedPostgres, copy: Path) -> None:
    copy.parent.chmod(0o711)  # the server may run as another user
    primary.stop()
    copy_with_owners(primary.directory, copy)
    primary.restart()


def _await_replication(primary: EmbeddedPostgres) -> None:
    end = time.monotonic() + 10
    while not primary.execute("select 1 from pg_stat_replication"):
        assert time.monotonic() < end, "the standby does not come"
        time.sleep(0.02)


@scenario("I23")
async def the_disk_is_full(stage: Stage) -> list[Outcome]:
    """The file system of the database fills up under the writers, and grows again."""
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        place = Path(folder)
        if not _mount(place, DISK_MEGABYTES):
            return [
                Outcome("I23", False, {}, ("needs the right to mount a tmpfs: run as root",), skipped=True)
            ]
        try:
            return [await _fill(stage, place)]
        finally:
            _run("umount", "--lazy", place)


async def _fill(stage: Stage, place: Path) -> Outcome:
    async with stage.alone({"max_wal_size": "32MB"}, place / "data") as own:
        await own.serve()
        probes = await own.probe_all(own.size.lanes)
        writers = own.writers()
        async with writers.writing():
            await asyncio.sleep(1)
            ballast = await asyncio.to_thread(_fill_up, place)
            await own.fill_the_log(lambda: _refused(writers) > 0)
            await asyncio.sleep(1)
            await asyncio.to_thread(_grow, place, ballast)
            healed = time.monotonic()
            if own.cluster.server.pid is None:
                await asyncio.to_thread(own.cluster.server.restart)
            first = await own.first_events(probes, healed, 10)
        drained = await own.drain(30)
        verdict = await own.verdict()
        tracebacks = own.servers[0].log.read_text().count("Traceback")
    refused = _refused(writers)
    return judged(
        "I23",
        {
            "drained": drained,
            "clean": verdict.ok,
            "no reset": verdict.resets == 0,
            "the disk was full": refused > 0,
            "no traceback": tracebacks == 0,
        },
        {
            "refused": refused,
            "lost": verdict.lost,
            "doubled": verdict.doubled,
            "events": verdict.events,
            "recovered_s": max(first),
        },
    )


def _refused(writers: Writers) -> int:
    return sum("No space left" in error for error in writers.errors)


def _grow(place: Path, ballast: Path) -> None:
    assert _run("mount", "-o", f"remount,size={8 * DISK_MEGABYTES}m", place)
    ballast.unlink()


def _mount(place: Path, megabytes: int) -> bool:
    mounted = os.geteuid() == 0 and _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", place)
    if mounted:
        place.chmod(0o711)  # the server may run as another user
    return mounted


def _run(*command: str | Path) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _fill_up(place: Path) -> Path:
    """Write until nothing more fits."""
    ballast = place / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(65_536)):
            pass
    return ballast
