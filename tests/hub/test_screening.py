"""Screening: events that do not fit their channel become skipped records, and no other record changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from pydantic import BaseModel, field_validator

from flowcraft.channels import Channels
from flowcraft.core.screening import Screening, Skip
from flowcraft.cursors import Cursor, Lineage, Snapshot
from flowcraft.events import Event
from flowcraft.records import Batch, Kind, Record, Unreadable
from flowcraft.runtime.skipped_records import SkippedRecords

HERE = Cursor(Lineage(1, 1, 0), Snapshot(755))
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Run(Event):
    id: int
    status: str = "queued"
    parent: int | None = None


class Step(Event):
    run_id: UUID
    at: datetime


class Model(BaseModel):
    id: int
    note: str = "none"

    @field_validator("id")
    @classmethod
    def not_thirteen(cls, value: int) -> int:
        if value == 13:
            raise RuntimeError("planted")
        return value


@dataclass
class Plain:
    id: int
    tags: list[str]


class Renamed(msgspec.Struct, rename="camel"):
    run_id: int


channels = Channels()
channels.declare("run_update", Run)
channels.declare("runs.{run_id}", Run | Step, params={"run_id": UUID})
channels.declare("tasks.{id}", Run, params={"id": int})
channels.declare("rooms.{name}", Run, params={"name": str})
channels.declare("model_update", Model)
channels.declare("plain_update", Plain)
channels.declare("renamed_update", Renamed)
ID = "6f2c8a52-6a0f-4f6e-9d2c-0a4b6f1d2e3f"
WHOLE = '{"type":"Run","id":1,"status":"x","parent":null}'


def screened(channel: str, payload: str, kind: Kind = Kind.EVENT) -> tuple[Record, list[Skip]]:
    record = Record(755, 1, channel, payload, kind=kind)
    batch, skips = Screening(channels).screen(Batch((record,), HERE, HERE.snapshot, NOON))
    (found,) = batch.records
    return found, skips


@pytest.mark.parametrize(
    ("channel", "payload"),
    [
        ("run_update", WHOLE),
        ("run_update", '{"type": "Run", "id": 1, "status": "x", "parent": 9007199254740992, "more": [1]}'),
        (f"runs.{ID}", WHOLE),
        (f"runs.{ID}", f'{{"type":"Step","run_id":"{ID}","at":"2026-11-22T12:00:00Z"}}'),
        ("tasks.-7", WHOLE),
        ("rooms.Hall-1", WHOLE),
        ("model_update", '{"id":1,"note":"x"}'),
        ("plain_update", '{"id":1,"tags":["a"]}'),
        ("renamed_update", '{"runId":1}'),
    ],
)
def test_an_event_that_fits_is_delivered_as_it_is_stored(channel: str, payload: str) -> None:
    assert screened(channel, payload) == (Record(755, 1, channel, payload), [])


@pytest.mark.parametrize(
    ("channel", "payload", "where"),
    [
        ("run_update", '{"id":"1"}', "$.id"),
        ("run_update", "{}", "id"),
        ("run_update", "[]", "object"),
        ("run_update", "null", "null"),
        ("run_update", '{"type":"Step","id":1}', "Step"),
        ("run_update", '{"id":9007199254740993,"status":"x","parent":null}', "$.id"),
        ("run_update", '{"id":1,"status":"x","parent":-9007199254740993}', "$.parent"),
        (f"runs.{ID}", '{"id":1,"status":"x","parent":null}', "type"),
        (f"runs.{ID}", f'{{"type":"Step","run_id":"{ID}","at":"infinity"}}', "$.at"),
        ("model_update", '{"id":"one"}', "$.id"),
        ("model_update", '{"id":13}', "RuntimeError"),
        ("plain_update", '{"id":1,"tags":null}', "$.tags"),
        ("plain_update", '{"id":NaN,"tags":[]}', "JSON"),
    ],
)
def test_an_event_that_does_not_fit_is_skipped_and_the_log_line_names_where(
    channel: str, payload: str, where: str
) -> None:
    found, (skip,) = screened(channel, payload)
    assert found == Record(755, 1, channel, '{"reason":"payload_invalid"}', kind=Kind.SKIPPED)
    assert (skip.record.id, skip.reason) == (1, "payload_invalid")
    assert skip.family == ("runs.{run_id}" if channel.startswith("runs.") else channel)
    assert where in skip.detail


@pytest.mark.parametrize(
    ("channel", "payload", "complete"),
    [
        ("run_update", '{"id": 1}', '{"type":"Run","id":1,"status":"queued","parent":null}'),
        ("run_update", '{"id":1,"status":"", "parent": 2}', '{"type":"Run","id":1,"status":"","parent":2}'),
        ("run_update", '{"id": 1, "parent": 2}', '"id":1,"status":"queued","parent":2}'),
        (f"runs.{ID}", '{"type":"Run","id":1}', '{"type":"Run","id":1,"status":"queued","parent":null}'),
        ("model_update", '{"id":1}', '{"id":1,"note":"none"}'),
    ],
)
def test_the_tag_and_fields_with_a_default_that_sql_left_out_are_written(
    channel: str, payload: str, complete: str
) -> None:
    found, skips = screened(channel, payload)
    assert (found.kind, skips) == (Kind.EVENT, [])
    assert found.payload.endswith(complete)


@pytest.mark.parametrize(
    "channel",
    [
        "runz_update",
        "run_update.7",
        "runs",
        f"runs.{ID.upper()}",
        "runs.7",
        "tasks.007",
        "tasks.x",
        "tasks.-0",
    ],
)
def test_a_channel_to_which_no_client_can_subscribe_is_counted_and_described(channel: str) -> None:
    found, skips = screened(channel, WHOLE)
    assert found == Record(755, 1, channel, WHOLE)
    assert skips == [Skip(found, "other", "undeclared", "")]
    assert channel[:64] in SkippedRecords(channels).suggestion(channel)


def test_other_kinds_are_left_as_they_are_and_skipped_records_are_counted() -> None:
    for kind in (Kind.GONE, Kind.RESET, Kind.WITHDRAWAL):
        record, skips = screened("run_update", '{"other":1}', kind)
        assert (record.payload, skips) == ('{"other":1}', [])
    record, (skip,) = screened("runs.*", '{"reason":"too_large","bytes":300000}', Kind.SKIPPED)
    assert (skip.family, skip.reason, skip.detail) == ("runs.{run_id}", "too_large", record.payload)


def test_an_unreadable_event_is_skipped_in_its_place_and_the_others_stay() -> None:
    records = tuple(Record(755, n, "run_update", WHOLE) for n in (1, 3))
    bad = Unreadable(755, 2, "run_update", "its payload is not JSON")
    batch, skips = Screening(channels).screen(Batch(records, HERE, HERE.snapshot, NOON, unreadable=(bad,)))
    assert batch.records == (records[0], bad.skipped(), records[1])
    assert skips == [Skip(bad.skipped(), "run_update", "unreadable", "its payload is not JSON")]
