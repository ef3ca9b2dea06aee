"""Channels: names, families, sources, guards; every wrong declaration fails with its sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowcraft.channels import Channels
from flowcraft.declarations import Notify, Table
from flowcraft.errors import ChannelNameInvalid, ChannelUnknown, DeclarationError
from flowcraft.events import Event
from flowcraft.names import Parameter
from flowcraft.viewers import Viewer

RUN = UUID("0198a7c2-91e4-7bd1-8d55-2a8f6f0b3c11")


class RunUpdate(Event):
    run_id: UUID
    status: Literal["queued", "running"] = "queued"


class StepCompleted(Event):
    step: int


@dataclass
class Untagged:
    run_id: UUID


def declare(name: str, payload: Any = RunUpdate, **options: Any) -> Channels:
    channels = Channels()
    channels.declare(name, payload, **options)
    return channels


def sentence(text: str) -> str:
    return f"^{re.escape(text)}$"


# Names


@pytest.mark.parametrize(
    "name", ["run_update", "system", "dashboard", "r_update", "run_2_update", "a" * 41 + "_update"]
)
def test_a_channel_is_called_after_what_changes(name: str) -> None:
    channels = Channels()
    channel = channels.declare(name, RunUpdate)
    assert (channel.name, repr(channel)) == (name, f"Channel({name!r})")
    assert channels.resolve(name) == (channel.declaration, None)
    assert (channel.declaration.prefix, len(channels), list(channels)) == (name, 1, [channel.declaration])


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("", None),
        ("run", "run_update"),
        ("runs", "runs_update"),
        ("_update", None),
        ("update", None),
        ("Run_update", "run_update"),
        ("RunUpdated", "run_update"),
        ("run-update", "run_update"),
        ("run.changed", "run_update"),
        ("run_update ", "run_update"),
        ("run_update\n", "run_update"),
        ("1_update", None),
        ("röhre_update", None),
        ("run_updates", "run_update"),
        ("system.1", None),
        ("runs.all", None),
        ("runs.{run_id}.steps", None),
        ("runs.{run_id", None),
        ("runs.{Id}", None),
        ("Runs.{id}", None),
        (".{id}", None),
        ("a" * 42 + "_update", None),
    ],
)
def test_any_other_name_breaks_the_convention_and_a_near_miss_has_a_hint(
    name: str, meant: str | None
) -> None:
    hint = f"; did you mean {meant!r}, with source=Notify({name!r}) to listen to a NOTIFY of that name?"
    with pytest.raises(
        DeclarationError,
        match=sentence(
            f"{name!r} breaks the naming convention: '<entity>_update' (changes of all entities of a kind), "
            "'<entity>.{id}' with params (one entity), 'system' or 'dashboard'; "
            f"lower case, at most 48 characters{hint if meant else ''}"
        ),
    ):
        declare(name)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("run_update", "run_update"),
        ("runs.{run_id}", "runs.{other}"),
        ("system", "system.{id}"),
        ("run_update.{id}", "run_update"),
    ],
)
def test_there_is_one_channel_or_family_per_prefix(first: str, second: str) -> None:
    def options(name: str) -> dict[str, Any]:
        return {"params": {re.findall(r"\{(\w+)\}", name)[0]: int}} if "{" in name else {}

    channels = declare(first, **options(first))
    with pytest.raises(
        DeclarationError,
        match=sentence(f"{second!r} overlaps with {first!r}; there is one channel or family per prefix"),
    ):
        channels.declare(second, RunUpdate, **options(second))
    assert len(channels) == 1


def test_a_refused_declaration_leaves_nothing_behind() -> None:
    channels = Channels()
    with pytest.raises(DeclarationError):
        channels.declare("run_update", RunUpdate, source=Notify("runs"))
    assert list(channels) == []
    channels.declare("run_update", RunUpdate)


def test_a_payload_that_is_no_event_is_refused() -> None:
    with pytest.raises(
        DeclarationError, match=r"int cannot be a channel's payload; use a subclass of flowcraft\.Event"
    ):
        declare("run_update", int)


# Families


@pytest.mark.parametrize(
    ("name", "params", "text"),
    [
        ("runs.{run_id}", None, "'runs.{run_id}' needs params={'run_id': UUID} (or int, or str), got []"),
        (
            "runs.{run_id}",
            {"id": int},
            "'runs.{run_id}' needs params={'run_id': UUID} (or int, or str), got ['id']",
        ),
        (
            "runs.{run_id}",
            {"run_id": int, "id": int},
            "'runs.{run_id}' needs params={'run_id': UUID} (or int, or str), got ['id', 'run_id']",
        ),
        (
            "runs.{run_id}",
            {"run_id": float},
            "'runs.{run_id}': the type of run_id is UUID, int or str, not <class 'float'>",
        ),
        ("run_update", {"run_id": UUID}, "'run_update' has no part for run_id; write '<entity>.{run_id}'"),
    ],
)
def test_the_parameter_of_a_family_is_declared_with_its_type(name: str, params: Any, text: str) -> None:
    with pytest.raises(DeclarationError, match=sentence(text)):
        declare(name, params=params)


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        (UUID, RUN, f"runs.{RUN}"),
        (int, 42, "runs.42"),
        (int, -1, "runs.-1"),
        (int, 2**63 - 1, "runs.9223372036854775807"),
        (str, "abc-123_X", "runs.abc-123_X"),
        (str, "x" * 64, "runs." + "x" * 64),
    ],
)
def test_a_family_has_a_channel_for_each_entity(kind: Any, value: Any, name: str) -> None:
    channels = Channels()
    family = channels.declare("runs.{run_id}", RunUpdate, params={"run_id": kind})
    channel = family(value)
    assert (channel.name, channel.declaration) == (name, family.declaration)
    assert channels.resolve(name) == (family.declaration, value)
    assert (repr(family), family.declaration.prefix) == ("ChannelFamily('runs.{run_id}')", "runs")


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        (UUID, str(RUN), f"runs.{{run_id}} takes UUID, got str {str(RUN)!r}"),
        (int, "42", "runs.{run_id} takes int, got str '42'"),
        (int, True, "runs.{run_id} takes int, got bool True"),
        (str, 42, "runs.{run_id} takes str, got int 42"),
        (str, None, "runs.{run_id} takes str, got NoneType None"),
    ],
)
def test_a_family_takes_values_of_its_type_only(kind: Any, value: Any, text: str) -> None:
    family = Channels().declare("runs.{run_id}", RunUpdate, params={"run_id": kind})
    with pytest.raises(TypeError, match=sentence(text)):
        family(value)


@pytest.mark.parametrize(
    ("kind", "value"), [(str, ""), (str, "a.b"), (str, "a b"), (str, "x" * 65), (int, 10**19)]
)
def test_a_value_that_cannot_stand_in_a_name_is_refused(kind: Any, value: Any) -> None:
    family = Channels().declare("runs.{run_id}", RunUpdate, params={"run_id": kind})
    with pytest.raises(ChannelNameInvalid, match="is not of the form <entity>_update, <entity>"):
        family(value)


@given(
    value=st.one_of(
        st.integers(-(10**19) + 1, 10**19 - 1),
        st.uuids(),
        st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    )
)
def test_a_name_and_the_value_in_it_are_one_to_one(value: UUID | int | str) -> None:
    channels = Channels()
    kind: Any = type(value)
    family = channels.declare("runs.{run_id}", RunUpdate, params={"run_id": kind})
    assert channels.resolve(family(value).name) == (family.declaration, value)


@given(st.text(alphabet="0123456789abcdefABCDEF-{}", max_size=40))
def test_no_two_spellings_name_the_same_entity(text: str) -> None:
    for kind in (UUID, int):
        parameter = Parameter("run_id", kind)
        assert not parameter.reads(text) or str(parameter.parse(text)) == text


# Finding a declaration


@pytest.fixture
def declared() -> Channels:
    channels = Channels()
    channels.declare("run_update", RunUpdate)
    channels.declare("runs.{run_id}", RunUpdate | StepCompleted, params={"run_id": UUID})
    channels.declare("jobs.{job_id}", StepCompleted, params={"job_id": int})
    return channels


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("run_updat", "run_update"),
        ("run_update.7", "run_update"),
        ("runz.7", "runs.7"),
        ("runs", "runs.{run_id}"),
        (f"runs.{str(RUN).upper()}", f"runs.{RUN}"),
        (f"runs.{RUN.hex}", f"runs.{RUN}"),
        ("jobs.-0", "jobs.0"),
        ("runs.7", None),
        ("jobs.07", None),
        ("jobs.x", None),
        ("jobs." + "9" * 20, None),
        ("weather_update", None),
    ],
)
def test_an_unknown_channel_is_told_with_the_nearest_one(
    declared: Channels, name: str, suggestion: str | None
) -> None:
    with pytest.raises(ChannelUnknown) as raised:
        declared.resolve(name)
    hint = f"did you mean {suggestion!r}?" if suggestion else "see `flowcraft channel list`"
    assert str(raised.value) == f"channel {name!r} is not declared; {hint}"
    assert (raised.value.suggestion, raised.value.code) == (suggestion, "forbidden")


@pytest.mark.parametrize(
    "name", ["", "runs.", ".7", "Runs.7", "runs.a.b", "runs.ä", "runs. 7", "x" * 49, "runs.\n"]
)
def test_a_name_outside_the_grammar_is_not_looked_up(declared: Channels, name: str) -> None:
    with pytest.raises(ChannelNameInvalid) as raised:
        declared.resolve(name)
    assert raised.value.code == "bad_channel"


# Sources


def test_sources_may_be_one_or_several() -> None:
    (one,) = declare("run_update", source=Table("runs", run_id="id"))
    (two,) = declare("run_update", source=[Table("runs"), Table("old_runs")])
    (none,) = declare("run_update")
    assert one.sources == (Table("runs", columns={"run_id": "id"}),)
    assert two.sources == (Table("runs"), Table("old_runs"))
    assert none.sources == ()


def test_a_table_fires_on_insert_and_update_unless_told_otherwise() -> None:
    assert Table("runs").on == ("insert", "update")
    assert Table("runs", on=["delete"]).on == ("delete",)


@pytest.mark.parametrize("on", [(), "insert", ["truncate"], ("insert", "upsert")])
def test_a_table_fires_on_changes_of_rows_only(on: Any) -> None:
    text = f'Table(\'runs\', on={on!r}): on takes any of "insert", "update", "delete"'
    with pytest.raises(DeclarationError, match=sentence(text)):
        Table("runs", on=on)


@pytest.mark.parametrize("name", ["", "x" * 64, "ä" * 32])
def test_a_notification_has_a_name_that_postgresql_takes(name: str) -> None:
    text = f"Notify({name!r}): PostgreSQL's channel names have 1 to 63 bytes"
    with pytest.raises(DeclarationError, match=sentence(text)):
        Notify(name)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"source": Table("runs"), "durable": False},
            "run_update: Table('runs') writes to the log; remove durable=False",
        ),
        (
            {"source": Notify("runs")},
            (
                "run_update: Notify('runs') delivers at most once; declare the channel with durable=False, "
                "or use Table(...) to keep its events"
            ),
        ),
        (
            {"source": Table("runs", event=StepCompleted)},
            "run_update: Table('runs') needs event=, one of RunUpdate",
        ),
        (
            {"source": [Table("a"), Table("runs", id="id")]},
            "run_update: Table('runs'): RunUpdate has no field 'id'; it has run_id, status",
        ),
        (
            {"source": Table("runs", columns={"type": "kind"})},
            "run_update: Table('runs'): RunUpdate has no field 'type'; it has run_id, status",
        ),
        (
            {"payload": RunUpdate | StepCompleted, "source": Table("runs")},
            "run_update: Table('runs') needs event=, one of RunUpdate, StepCompleted",
        ),
        (
            {"name": "runs.{run}", "params": {"run": UUID}, "source": Table("runs")},
            "runs.{run}: Table('runs'): RunUpdate needs a field 'run', which names the channel",
        ),
        (
            {
                "name": "runs.{run_id}",
                "payload": RunUpdate | StepCompleted,
                "params": {"run_id": UUID},
                "source": Notify("runs"),
                "durable": False,
            },
            "runs.{run_id}: Notify('runs'): StepCompleted needs a field 'run_id', which names the channel",
        ),
    ],
)
def test_a_source_that_cannot_feed_the_channel_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(DeclarationError, match=sentence(text)):
        declare(options.pop("name", "run_update"), **options)


def test_a_source_of_a_union_says_what_a_row_becomes() -> None:
    source = Table("runs", event=RunUpdate, run_id="id")
    (declaration,) = declare(
        "runs.{run_id}", RunUpdate | StepCompleted, params={"run_id": UUID}, source=[source]
    )
    assert declaration.sources == (source,)


# Conflation


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {"conflate": "stauts"},
            "run_update: conflate='stauts': RunUpdate has no such field; it has run_id, status",
        ),
        (
            {"payload": RunUpdate | StepCompleted, "conflate": "status"},
            "run_update: conflate='status': StepCompleted has no such field; it has step",
        ),
        (
            {"conflate": True, "durable": False},
            "run_update: conflate=True is for channels in the log; remove it, or durable=False",
        ),
    ],
)
def test_a_conflation_that_cannot_work_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(DeclarationError, match=sentence(text)):
        declare("run_update", **options)


@pytest.mark.parametrize("conflate", [True, "run_id", "status"])
def test_how_a_channel_is_conflated_is_not_its_clients_business(conflate: bool | str) -> None:
    (declaration,) = conflated = declare("run_update", conflate=conflate)
    assert declaration.conflate == conflate
    assert conflated.schema_hash() == declare("run_update").schema_hash()


# Guards


def allow(viewer: Viewer) -> bool:
    return True


def test_a_guard_is_the_function_it_was() -> None:
    channels = Channels()
    channel = channels.declare("run_update", RunUpdate)
    assert channel.guard(allow) is allow
    assert channel.declaration.guard is allow

    family = channels.declare("runs.{run_id}", RunUpdate, params={"run_id": UUID})

    @family.guard
    async def may_watch(viewer: Viewer, run_id: UUID, extra: int = 0) -> bool:
        return True

    assert family.declaration.guard is may_watch
    assert family(RUN).declaration.guard is may_watch


def test_a_channel_has_one_guard() -> None:
    channel = Channels().declare("run_update", RunUpdate)
    channel.guard(allow)
    with pytest.raises(
        DeclarationError, match=sentence("run_update has a guard already; combine the two in one function")
    ):
        channel.guard(allow)


def test_one_channel_of_a_family_has_no_guard_of_its_own() -> None:
    family = Channels().declare("runs.{run_id}", RunUpdate, params={"run_id": int})
    with pytest.raises(
        DeclarationError,
        match=sentence("runs.7 is one channel of a family; guard runs.{run_id} as a whole"),
    ):
        family(7).guard(allow)
    assert family.declaration.guard is None


def test_a_guard_that_cannot_be_called_is_refused_before_it_says_no_to_everybody() -> None:
    channels = Channels()
    wrong: Any = lambda: True  # noqa: E731
    with pytest.raises(
        DeclarationError,
        match=sentence("the guard of run_update is called as guard(viewer): too many positional arguments"),
    ):
        channels.declare("run_update", RunUpdate).guard(wrong)
    wrong = allow
    with pytest.raises(
        DeclarationError,
        match=sentence(
            "the guard of runs.{run_id} is called as guard(viewer, run_id): too many positional arguments"
        ),
    ):
        channels.declare("runs.{run_id}", RunUpdate, params={"run_id": int}).guard(wrong)


# What is told about all of them


def test_the_schema_is_told_by_declared_name(declared: Channels) -> None:
    assert list(declared.schema()) == ["run_update", "runs.{run_id}", "jobs.{job_id}"]
    assert declared.schema()["jobs.{job_id}"]["$ref"] == "#/$defs/StepCompleted"


def test_the_hash_does_not_depend_on_the_order_of_declaration() -> None:
    def hash_of(*names: str, **options: Any) -> str:
        channels = Channels()
        for name in names:
            channels.declare(name, RunUpdate, **options)
        return channels.schema_hash()

    assert re.fullmatch(r"[0-9a-f]{16}", hash_of())
    assert hash_of("a_update", "b_update") == hash_of("b_update", "a_update")
    families = [hash_of("a.{id}", params={"id": kind}) for kind in (UUID, int, str)]
    assert (
        len(
            {
                hash_of(),
                hash_of("a_update"),
                hash_of("b_update"),
                hash_of("a.{x}", params={"x": int}),
                *families,
            }
        )
        == 7
    )
