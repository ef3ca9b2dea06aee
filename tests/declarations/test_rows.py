"""Declarations of rows: what is refused at import, and what their channels are."""

from __future__ import annotations

from typing import Any

import pytest

from flowcraft.channels import Channels
from flowcraft.declared_channels import Channel, RowsChannel
from flowcraft.errors import DeclarationError
from flowcraft.events import Event


class Task(Event):
    id: int
    team_id: int


class Note(Event):
    id: int


def test_a_channel_of_rows_is_no_channel_to_broadcast_on() -> None:
    channels = Channels()
    family = channels.rows("task_rows.{team_id}", Task, table="tasks", key="id", params={"team_id": int})
    one = family(7)
    assert (one.name, repr(one)) == ("task_rows.7", "RowsChannel('task_rows.7')")
    assert isinstance(one, RowsChannel)
    assert not isinstance(one, Channel)
    declaration, value = channels.resolve("task_rows.7")
    assert (value, declaration.rows and declaration.rows.key) == (7, ("id",))


@pytest.mark.parametrize(
    ("name", "row", "arguments", "message"),
    [
        ("tasks", Task, {}, "'<entity>_rows'"),
        ("task_update", Task, {}, "'<entity>_rows'"),
        ("tasks.{team_id}", Task, {"params": {"team_id": int}}, "'<entity>_rows'"),
        ("task_rows", Task, {"params": {"team_id": int}}, "has no part for team_id"),
        ("task_rows.{team}", Task, {"params": {"team": int}}, "needs a field 'team'"),
        ("task_rows.{team_id}", Task, {"params": {"team_id": float}}, "UUID, int or str"),
        ("task_rows", Task, {"key": "nr"}, "key='nr' is no field of Task; it has id, team_id"),
        ("task_rows", Task, {"key": ()}, "need key="),
        ("task_rows", Task, {"key": ("id", "id")}, "need key="),
        ("task_rows", Task | Note, {}, "of one type, not of Task | Note"),
        ("task_rows", Task, {"where": " "}, "where= is empty"),
        ("task_rows", Task, {"columns": {"nr": "id"}}, "has no field 'nr'"),
    ],
)
def test_what_can_never_work_is_refused(name: str, row: Any, arguments: dict[str, Any], message: str) -> None:
    channels = Channels()
    declare: Any = channels.rows
    with pytest.raises(DeclarationError, match=message.replace("(", r"\(")):
        declare(name, row, **{"table": "tasks", "key": "id", **arguments})
    assert len(channels) == 0


def test_rows_and_another_channel_of_one_prefix_overlap() -> None:
    channels = Channels()
    channels.rows("task_rows", Task, table="tasks", key="id")
    with pytest.raises(DeclarationError, match="overlaps"):
        channels.rows("task_rows.{team_id}", Task, table="tasks", key="id", params={"team_id": int})
