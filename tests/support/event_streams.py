"""A client of event streams: the events of one response, as a browser reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.support.carriers import Stage


class Stream:
    """The events of one response, as a browser reads them."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.last_id: str | None = None
        self.retry: int | None = None
        self.name = "message"
        self._lines = response.aiter_lines()

    async def next(self) -> dict[str, Any]:
        """The next event's data; `last_id`, `retry` and `name` are then what it said, or left."""
        self.name = "message"
        async for line in self._lines:
            field, _, value = line.partition(": ")
            match field:
                case "id":
                    self.last_id = value
                case "retry":
                    self.retry = int(value)
                case "event":
                    self.name = value
                case "data":
                    data: dict[str, Any] = json.loads(value)
                    assert await anext(self._lines) == ""
                    return data
                case _:
                    assert line == ""
        raise EOFError

    async def until(self, member: str) -> dict[str, Any]:
        """The next event that has a member."""
        while member not in (event := await self.next()):
            pass
        return event


@asynccontextmanager
async def listening(
    stage: Stage, query: str = "?channel=ping_update", *, body: str | None = None, **headers: str
) -> AsyncIterator[Stream]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with (
        httpx.AsyncClient(timeout=20) as client,
        client.stream(
            "GET" if body is None else "POST",
            stage.http(f"/realtime/events{query}"),
            headers=named,
            content=body,
        ) as response,
    ):
        yield Stream(response)
