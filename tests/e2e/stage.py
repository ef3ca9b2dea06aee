"""The stage of the browser tests: a database that outlives the servers, until standard input ends.

It prints its DSN as one line of JSON. With `--empty` the database is left as it is.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import asyncpg

from flowcraft.adapters.postgres.embedded import EmbeddedPostgres
from flowcraft.adapters.postgres.schema import migrate

TABLES = """
create table items (id int primary key, version int not null);
create table audits (id int generated always as identity primary key, item_id int not null);
insert into items select n, 0 from generate_series(1, 8) as n;
"""


async def prepare(dsn: str) -> None:
    """Make the tables, then the log and the triggers."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(TABLES)
    finally:
        await connection.close()
    os.environ["DATABASE_URL"] = dsn
    from tests.e2e.app import channels  # it wants the variable

    await migrate(dsn, channels)


def main() -> None:
    """Set the stage."""
    with EmbeddedPostgres.start() as server:
        if "--empty" not in sys.argv:
            asyncio.run(prepare(server.dsn))
        print(json.dumps({"dsn": server.dsn}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
