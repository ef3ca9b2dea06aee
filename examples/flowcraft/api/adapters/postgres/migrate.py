"""Migrations of the product's own tables: each file once, in order."""

from __future__ import annotations

from pathlib import Path

import asyncpg

_MIGRATIONS = Path(__file__).parents[2] / "migrations"


async def migrate(dsn: str) -> list[str]:
    """Apply what is missing, all or nothing; return the names of the files applied."""
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock(hashtext('flowcraft.example.migrate'))")
            await connection.execute("create table if not exists migrations (name text primary key)")
            applied = {row["name"] for row in await connection.fetch("select name from migrations")}
            missing = [path for path in sorted(_MIGRATIONS.glob("*.sql")) if path.name not in applied]
            for path in missing:
                await connection.execute(path.read_text(encoding="utf-8"))
                await connection.execute("insert into migrations values ($1)", path.name)
            return [path.name for path in missing]
    finally:
        await connection.close()
