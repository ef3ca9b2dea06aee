"""Log pages: read a large result piece by piece, each as large as its line to the database is quick."""

from __future__ import annotations

import time
from typing import Any

import asyncpg
from asyncpg.cursor import Cursor

PAGE_EVENTS = 1_000
PAGE_BYTES = 256 * 1024
"""A read with more is not sent whole, but in pages: a line of 60 KB/s carries one in time."""
_QUICK_SECONDS, _QUICK_PAGE_BYTES = 0.05, 1024 * 1024
"""After a page that came within this time, the next may have so many bytes."""
_FIRST_ROWS = 16
"""Of the first page: at 256 KiB an event 4 MiB. Later ones have more or fewer, by the size of the last."""


async def fetch_pages(cursor: Cursor[asyncpg.Record], timeout: float) -> list[tuple[Any, ...]]:
    """Return the rows that are left; the time limit is that of each page."""
    rows: list[tuple[Any, ...]] = []
    count, began = _FIRST_ROWS, time.monotonic()
    while page := await cursor.fetch(count, timeout=timeout):
        # Of tuples of texts and numbers the garbage collector lets go: a tenth of a long read.
        rows += map(tuple, page)
        now = time.monotonic()
        quick, began = now - began < _QUICK_SECONDS, now
        size = sum([len(row["payload"]) for row in page])
        most_bytes = _QUICK_PAGE_BYTES if quick else PAGE_BYTES
        count = 2 * count if 2 * size < most_bytes else max(1, count // 2) if size > most_bytes else count
    return rows
