"""Walk: list the files that one message passes, from the trigger in PostgreSQL to the handler in React.

A row is committed in an embedded PostgreSQL and received by a WebSocket client of the dedicated server. A
profiler records which files of `src/flowcraft` run between the commit and the receipt; a file that does not
run for every one of several messages belongs to a timer, not to the walk. SQL and TypeScript are not
profiled here: their files are listed below, and a test of the client finds those of TypeScript.

    python scripts/walk.py            prints the walk, and fails if it exceeds the bounds
    python scripts/walk.py --write    writes it into CONTRIBUTING.md too
    python scripts/walk.py --check    fails as well if CONTRIBUTING.md has another walk
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import asyncpg
from websockets.asyncio.client import connect

from flowcraft import Channels, Event, Realtime, Table
from flowcraft.adapters.postgres.schema import migrate
from flowcraft.entrypoints.serve import Server
from flowcraft.testing.databases import database_server

if TYPE_CHECKING:
    from _typeshed import TraceFunction

GOAL_FILES, GOAL_LINES = 16, 2_500
MOST_FILES, MOST_LINES = 23, 3_975
"""What is true now, lines rounded up. A change that exceeds these raises them, with its reason.

A cursor proves its history, and a read goes in pages: `cursors.py`, `functions_live.sql`, `log.py`.
One reader is notified by the writers, and notifies the others: `first_reader.py`, `listener.py`.
Every event is compared with its declared type, once per read: `core/screening.py`.
A trigger reads the row as it is now, in a block that fails no write: `generate_body.sql`.
A busy channel does not displace the events of others from memory: `core/recent.py`.
The client's groups are apart from its connection, and its requests off the way: `core/groups.ts`.
"""
ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "flowcraft"
SQL = PACKAGE / "adapters" / "postgres" / "sql"
SQL_FUNCTIONS = ("wake", "reached", "changes")
"""The functions of PostgreSQL that the trigger and the read call."""
SQL_STATEMENTS = ("read.sql",)
"""The statement that reads the log."""
TRIGGER = SQL / "generate_body.sql"
"""What writes the trigger function. Its lines are those of the function that it writes, which runs."""
BROWSER = (
    "client.ts",
    "core/frames.ts",
    "core/groups.ts",
    "core/machine.ts",
    "react.tsx",
)
"""Client, decoder, groups, state machine and hook: `walk.test.tsx` finds no other file whose code runs."""
MESSAGES = 5
BEGIN, END = "<!-- walk: written by scripts/walk.py -->", "<!-- /walk -->"
PAGE = ROOT / "CONTRIBUTING.md"


class RunUpdate(Event):
    """A row changed."""

    run_id: int
    status: str


def sql_files() -> Iterator[Path]:
    """Yield the files of SQL that a message passes."""
    for name in SQL_STATEMENTS:
        yield SQL / name
    for function in SQL_FUNCTIONS:
        name = f" flowcraft.{function}("
        yield [path for path in migrated_files() if name in definitions(path)][-1]


def migrated_files() -> Iterator[Path]:
    """Yield the migrations and the files that each includes, oldest first: the last definition is valid."""
    for migration in sorted(SQL.glob("[0-9]*.sql")):
        for included in re.findall(r"^\\ir (\w+)\.sql$", migration.read_text(), re.MULTILINE):
            yield SQL / f"{included}.sql"
        yield migration


def definitions(path: Path) -> str:
    """Return the first lines of the functions that a file creates."""
    lines = path.read_text().splitlines()
    return "\n".join(
        line for line in lines if line.startswith(("create function", "create or replace function"))
    )


@contextmanager
def recorded(files: set[Path]) -> Iterator[None]:
    """Record the files of the package of which a line runs, in every thread.

    Lines, not calls: a coroutine that awaits the one that runs is called at every step, and runs nothing.
    """
    names: set[str] = set()

    def trace(frame: FrameType, event: str, argument: object) -> TraceFunction:  # noqa: ARG001
        if event == "line":
            names.add(frame.f_code.co_filename)
        return trace

    threading.settrace(trace)
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(None)
        threading.settrace(None)
    files |= {path for name in names if (path := Path(name)).is_relative_to(PACKAGE)}


@asynccontextmanager
async def served(dsn: str) -> AsyncIterator[str]:
    """Serve the table `runs` of a database; yield the WebSocket's address."""
    channels = Channels()
    channels.declare("run_update", RunUpdate, source=Table("runs", run_id="id"))
    connection = await asyncpg.connect(dsn)
    await connection.execute("create table runs (id integer primary key, status text not null)")
    await connection.execute("insert into runs values (1, 'queued')")
    await connection.close()
    await migrate(dsn, channels)
    async with Realtime(channels, dsn=dsn) as realtime:
        node = await realtime.start()
        await node.until_accepting()
        server = Server(node, "127.0.0.1", 0)
        await server.start()
        yield server.address
        await server.stop()


async def python_files(dsn: str) -> set[Path]:
    """Return the files of the package that run between the commit and the receipt of each message."""
    runs: list[set[Path]] = []
    async with served(dsn) as address, connect(f"{address}?channel=run_update") as client:
        while "subscribed" not in json.loads(await client.recv()):
            pass
        connection = await asyncpg.connect(dsn)
        statement = await connection.prepare("update runs set status = $1")
        for number in range(MESSAGES):
            with recorded(files := set[Path]()):
                await statement.fetch(f"status {number}")
                received = json.loads(await client.recv())
            assert received["payload"]["status"] == f"status {number}", received
            runs.append(files)
            while "n" not in json.loads(await client.recv()):  # the commit point
                pass
        await connection.close()
    return {path for path in runs[0] if all(path in files for files in runs)}


async def trigger_lines(dsn: str) -> int:
    """Return the lines of the one trigger function of the database."""
    connection = await asyncpg.connect(dsn)
    text: str = await connection.fetchval(
        "select pg_get_functiondef(oid) from pg_proc"
        " where prorettype = 'trigger'::regtype and pronamespace = 'flowcraft'::regnamespace"
    )
    await connection.close()
    return len(text.splitlines())


def walk() -> list[tuple[str, int]]:
    """Return the files that a message passes, each with its lines: SQL, Python and TypeScript."""
    with database_server() as server:
        dsn = server.create_database("walk")
        files = asyncio.run(python_files(dsn))
        trigger = asyncio.run(trigger_lines(dsn))
        server.drop_database("walk")
    browser = [ROOT / "packages/realtime/src" / name for name in BROWSER]
    paths = [*dict.fromkeys(sql_files()), *sorted(files), *browser]
    read = [(path, len(path.read_text().splitlines())) for path in paths]
    return [(str(path.relative_to(ROOT)), lines) for path, lines in [(TRIGGER, trigger), *read]]


def total(passed: list[tuple[str, int]]) -> str:
    """Return how many files and lines a walk has."""
    return f"{len(passed)} files and {sum(lines for _, lines in passed):,} lines"


def table(passed: list[tuple[str, int]]) -> str:
    """Return the walk as the block of CONTRIBUTING: without lines, which every change would change."""
    rows = "\n".join(f"- `{name}`" for name, _ in passed)
    bounds = f"{len(passed)} files and at most {MOST_LINES:,} lines"
    goal = f"the goal is {GOAL_FILES} files and {GOAL_LINES:,} lines"
    return f"{BEGIN}\n{rows}\n\nTogether {bounds}; {goal}.\n{END}"


def main(arguments: list[str]) -> int:
    passed = walk()
    block = table(passed)
    if "--check" not in arguments:
        print("\n".join(f"{lines:>6} {name}" for name, lines in passed), f"{total(passed)}", sep="\n")
    if len(passed) > MOST_FILES or sum(lines for _, lines in passed) > MOST_LINES:
        bounds = f"{MOST_FILES} files and {MOST_LINES:,} lines"
        print(f"a message passes {total(passed)}; expected at most {bounds}", file=sys.stderr)
        print("shorten the walk, or raise the bounds in scripts/walk.py with a reason", file=sys.stderr)
        return 1
    page = PAGE.read_text()
    begin, end = page.index(BEGIN), page.index(END) + len(END)
    if "--write" in arguments:
        PAGE.write_text(page[:begin] + block + page[end:])
    elif "--check" in arguments and page[begin:end] != block:
        print("CONTRIBUTING.md has another walk; run `python scripts/walk.py --write`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
