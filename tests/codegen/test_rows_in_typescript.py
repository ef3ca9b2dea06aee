"""Channels of rows in the generated TypeScript."""

from __future__ import annotations

from flowcraft.channels import Channels
from flowcraft.codegen.typescript import generate_typescript
from flowcraft.events import Event


class Task(Event):
    id: int
    team_id: int


def declared(key: str | tuple[str, ...] = "id") -> Channels:
    channels = Channels()
    channels.rows("task_rows.{team_id}", Task, table="tasks", key=key, params={"team_id": int})
    channels.rows("all_rows", Task, table="tasks", key=("team_id", "id"))
    return channels


def test_the_type_of_a_channel_of_rows_has_the_row_and_its_key() -> None:
    text = generate_typescript(declared())
    assert 'import "@flowcraft/realtime";\nimport type { Rows } from "@flowcraft/realtime";\n' in text
    assert '[taskRows: `task_rows.${number | bigint}`]: Rows<Task, "id">;' in text
    assert 'all_rows: Rows<Task, "team_id" | "id">;' in text
    assert "taskRows: (teamId: number | bigint) => `task_rows.${teamId}` as const" in text


def test_channels_without_rows_import_no_type() -> None:
    channels = Channels()
    channels.declare("task_update", Task)
    assert "Rows" not in generate_typescript(channels)


def test_another_key_is_another_schema() -> None:
    assert declared().schema_hash() != declared(("team_id", "id")).schema_hash()
