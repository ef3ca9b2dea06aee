"""Edge stores: the rows and the members of an edge, which a relay reads and stores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from flowcraft.adapters.nats.edge import Edge
from flowcraft.adapters.nats.messages import Answer, Ask, AskError
from flowcraft.adapters.nats.questions import error_of
from flowcraft.core.attendance import Change
from flowcraft.errors import RowsLimitExceeded, RowsUnreadable
from flowcraft.records import Limit, TableRows


@final
class EdgeRows:
    """Implements `RowsReader`: a relay reads the rows."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def read(self, channel: str, limit: Limit) -> TableRows:
        ask = Ask(ask="rows", channels=(channel,), events=limit.events, bytes=limit.bytes)
        answer = await self._edge.ask(ask)
        if answer.error is not None:
            raise _rows_error(answer.error, channel)
        if answer.rows is None:
            raise RowsUnreadable(channel, "the relay's answer has no rows")
        return answer.rows.table_rows


@final
class EdgeMembers:
    """Implements `MemberStore`: a relay stores the members."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def beat(self, node: str) -> Mapping[str, int]:
        answer = await self._ask(Ask(ask="presence_beat", node=node))
        return answer.beats or {}

    async def attend(self, node: str, changes: Sequence[Change], *, whole: bool) -> bool:
        ask = Ask(ask="presence_attend", node=node, changes=tuple(changes), whole=whole)
        return bool((await self._ask(ask)).done)

    async def forget(self, beats: Mapping[str, int]) -> Sequence[str]:
        answer = await self._ask(Ask(ask="presence_forget", beats=dict(beats)))
        return answer.names or ()

    async def _ask(self, ask: Ask) -> Answer:
        answer = await self._edge.ask(ask)
        if answer.error is not None:
            raise error_of(answer.error, "", "members")
        return answer


def _rows_error(error: AskError, channel: str) -> Exception:
    if error.code == "limit_exceeded":
        if error.limit == "rows_bytes":
            return RowsLimitExceeded(channel, "rows_bytes", error.value, error.text)
        return RowsLimitExceeded(channel, "rows_per_channel", error.value, error.text)
    if error.code == "rows_unreadable":
        return RowsUnreadable(channel, error.text)
    return error_of(error, "", channel)
