"""Events: what may be one, how it becomes JSON, and what is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID, uuid4

import jsonschema
import msgspec
import pydantic
import pydantic.dataclasses
import pytest
from typing_extensions import TypeAliasType

from flowcraft.errors import DeclarationError, PayloadInvalid
from flowcraft.events import MAX_PAYLOAD_BYTES, Event, EventField, Int64, Payload, Tag
from tests.codegen.typescript_sample import EVENTS, channels

T = TypeVar("T")
RUN = UUID(int=7)


class RunUpdate(Event):
    status: Literal["queued", "running"] = "queued"
    run_id: UUID


class StepCompleted(Event, rename="camel"):
    step_name: str
    took_ms: int | None = None


class Renamed(Event, tag="run.renamed"):
    name: str


class Pair(Event, Generic[T]):
    left: T


class IntPair(Pair[int]):
    right: int


class Moved(pydantic.BaseModel):
    kind: Literal["moved"] = "moved"
    to_street: str = pydantic.Field(alias="toStreet", min_length=2)
    since: datetime = datetime(2026, 1, 1, tzinfo=UTC)


class Left(pydantic.BaseModel):
    kind: Literal["left"] = "left"
    times: int = 1


@dataclass
class Typed:
    user: str
    kind: Literal["typed"] = "typed"


@pydantic.dataclasses.dataclass
class Checked:
    count: Annotated[int, pydantic.Field(ge=0)]


Change = TypeAliasType("Change", RunUpdate | Renamed)


# What an event is


def test_an_event_is_frozen_and_keyword_only_without_saying_so() -> None:
    event = RunUpdate(run_id=RUN)
    assert event == RunUpdate(status="queued", run_id=RUN)
    with pytest.raises(AttributeError, match="immutable"):
        event.status = "running"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError, match="positional"):
        RunUpdate(RUN)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]


def test_a_required_field_may_follow_one_with_a_default_in_a_subclass_too() -> None:
    class Retried(RunUpdate):
        attempt: int

    assert Payload(Retried).encode(Retried(run_id=RUN, attempt=2)) == (
        f'{{"type":"Retried","status":"queued","run_id":"{RUN}","attempt":2}}'
    )


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (RunUpdate(run_id=RUN), f'{{"type":"RunUpdate","status":"queued","run_id":"{RUN}"}}'),
        (StepCompleted(step_name="é"), '{"type":"StepCompleted","stepName":"é","tookMs":null}'),
        (Renamed(name=""), '{"type":"run.renamed","name":""}'),
        (IntPair(left=1, right=2), '{"type":"IntPair","left":1,"right":2}'),
        (Moved(toStreet="Elm"), '{"kind":"moved","toStreet":"Elm","since":"2026-01-01T00:00:00Z"}'),
        (Typed("ada"), '{"user":"ada","kind":"typed"}'),
        (Checked(3), '{"count":3}'),
    ],
)
def test_an_event_of_any_kind_becomes_json_with_all_its_fields(event: object, expected: str) -> None:
    assert Payload(type(event)).encode(event) == expected


@pytest.mark.parametrize(
    "declared",
    [
        int,
        str,
        dict,
        list[int],
        None,
        object,
        Event,
        Literal["a"],
        RunUpdate | None,
        Pair[int],
        "RunUpdate",
        RUN,
    ],
)
def test_what_is_no_event_is_refused_with_what_to_use_instead(declared: object) -> None:
    with pytest.raises(
        DeclarationError,
        match=r"cannot be a channel's payload; use a subclass of flowcraft.Event, a Pydantic model, a",
    ):
        Payload(declared)


class Row(msgspec.Struct, array_like=True):
    a: int


class Numbers(pydantic.RootModel[list[int]]):
    pass


@pytest.mark.parametrize("declared", [Row, Numbers])
def test_json_that_is_no_object_is_no_event(declared: type) -> None:
    with pytest.raises(DeclarationError, match="cannot be an event: its JSON is not an object with fields"):
        Payload(declared)


class Odd:
    pass


@pytest.mark.parametrize("annotation", [Odd, complex, "NotDefinedAnywhere", int | dict[str, int] | list[Odd]])
def test_a_field_that_json_cannot_carry_is_refused(annotation: Any) -> None:
    with pytest.raises(DeclarationError, match=r"^X cannot be an event: "):
        Payload(msgspec.defstruct("X", [("field", annotation)]))


def test_a_pydantic_field_that_is_written_under_a_name_it_is_not_read_by_is_refused() -> None:
    class Written(pydantic.BaseModel):
        run_id: int = pydantic.Field(serialization_alias="runId")

    with pytest.raises(
        DeclarationError,
        match="field 'run_id' is serialized as 'runId' but not validated under that name; use alias='runId'",
    ):
        Payload(Written)


def test_pydantic_aliases_may_be_choices_or_the_name_itself() -> None:
    class Chosen(pydantic.BaseModel):
        a: int = pydantic.Field(validation_alias=pydantic.AliasChoices("x", "y"), serialization_alias="y")

    class ByName(pydantic.BaseModel, populate_by_name=True):
        b: int = pydantic.Field(validation_alias="x")

    assert Payload(Chosen).encode(Chosen.model_validate({"x": 1})) == '{"y":1}'
    assert Payload(ByName).encode(ByName(b=1)) == '{"b":1}'


# Unions


def test_members_of_a_union_are_told_apart_by_their_tags() -> None:
    payload = Payload(RunUpdate | StepCompleted | Renamed)
    assert payload.members == (RunUpdate, StepCompleted, Renamed)
    assert payload.tags == {
        RunUpdate: Tag("type", "RunUpdate"),
        StepCompleted: Tag("type", "StepCompleted"),
        Renamed: Tag("type", "run.renamed"),
    }
    assert payload.encode(Renamed(name="b")) == '{"type":"run.renamed","name":"b"}'


def test_models_dataclasses_and_structs_can_share_a_channel() -> None:
    class Struct(msgspec.Struct, tag="struct", tag_field="kind"):
        pass

    payload = Payload(Moved | Typed | Struct)
    assert [tag.value for tag in payload.tags.values()] == ["moved", "typed", "struct"]
    assert payload.check('{"kind":"typed","user":"x"}') == '{"user":"x","kind":"typed"}'


def test_a_union_may_have_a_name_or_an_annotation() -> None:
    assert Payload(Change).members == (RunUpdate, Renamed)
    assert Payload(Annotated[RunUpdate | Renamed, "a remark"]).members == (RunUpdate, Renamed)
    assert Payload(Change | RunUpdate).members == (RunUpdate, Renamed)


class SameTag(Event, tag="RunUpdate"):
    pass


class Untagged(Event, tag=False):
    pass


class NumberTag(msgspec.Struct, tag=1, tag_field="type"):
    pass


@pytest.mark.parametrize(
    "declared",
    [RunUpdate | SameTag, RunUpdate | Untagged, RunUpdate | Moved, Checked | Typed, RunUpdate | NumberTag],
)
def test_a_union_whose_members_nothing_distinguishes_is_refused(declared: object) -> None:
    with pytest.raises(
        DeclarationError, match=r"no field distinguishes the members of \w+ \| \w+; derive them from"
    ):
        Payload(declared)


# What is sent


def test_an_event_of_another_type_is_a_programmers_mistake() -> None:
    class Sub(RunUpdate):
        pass

    payload = Payload(RunUpdate | Renamed)
    for wrong in (StepCompleted(step_name=""), Sub(run_id=RUN), {"type": "RunUpdate"}, None):
        expected = f"expected an event of type RunUpdate | Renamed, got {type(wrong).__name__}"
        with pytest.raises(TypeError, match=re.escape(expected)):
            payload.encode(wrong)


class Values(Event):
    small: Annotated[int, msgspec.Meta(le=10)] = 0
    number: float = 0.0
    anything: object = None
    big: Int64 = "0"
    texts: dict[str, list[int]] = msgspec.field(default_factory=dict[str, list[int]])


def values(**fields: Any) -> Values:
    return Values(**fields)


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (values(small="1"), "Expected `int`, got `str` - at `$.small`"),
        (values(small=11), "Expected `int` <= 10 - at `$.small`"),
        (values(number=float("nan")), "Expected `float`, got `null` - at `$.number`"),
        (values(number=float("inf")), "Expected `float`, got `null` - at `$.number`"),
        (values(big=5), "Expected `str`, got `int` - at `$.big`"),
        (values(big="5.0"), r"Expected `str` matching regex '^-?\\d{1,19}$' - at `$.big`"),
        (values(anything=object()), "Encoding objects of type object is unsupported"),
        (values(anything="\ud800"), "'utf-8' codec can't encode character"),
        (Moved.model_construct(to_street="a"), "String should have at least 2 characters - at `$.toStreet`"),
        (Typed(3), "Expected `str`, got `int` - at `$.user`"),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ],
)
def test_a_value_that_does_not_fit_its_field_is_refused_by_name(event: object, reason: str) -> None:
    with pytest.raises(PayloadInvalid) as raised:
        Payload(type(event)).encode(event)
    assert str(raised.value).startswith(f"{type(event).__name__} does not fit its type: {reason}")
    assert (raised.value.event_type, raised.value.code) == (type(event).__name__, "payload_invalid")


def test_a_pydantic_value_of_another_type_is_refused_and_not_repeated() -> None:
    event = Moved.model_construct(to_street="Elm", since="yesterday, a secret")
    with pytest.raises(PayloadInvalid, match="Moved does not fit its type") as raised:
        Payload(Moved).encode(event)
    assert "secret" not in str(raised.value)


def test_what_pydantic_would_read_leniently_is_not_written() -> None:
    with pytest.raises(PayloadInvalid, match="Left does not fit its type"):
        Payload(Left).encode(Left.model_construct(times="5"))


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(PayloadInvalid, match="recursion"):
        Payload(Values).encode(values(anything=loop))


@pytest.mark.parametrize("number", [2**53, -(2**53), 9_007_199_254_740_991])
def test_an_integer_up_to_2_to_the_53_is_exact_in_javascript(number: int) -> None:
    assert f'"anything":{number}' in Payload(Values).encode(values(anything=number))


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (values(anything=2**53 + 1), "$.anything"),
        (values(anything=-(2**53) - 1), "$.anything"),
        (values(anything=2**70), "$.anything"),
        (values(texts={"a": [1, 2**53 + 1]}), "$.texts.a[1]"),
    ],
)
def test_a_larger_integer_is_refused_with_its_place_and_the_remedy(event: Values, path: str) -> None:
    with pytest.raises(
        PayloadInvalid, match=r"is beyond 2\^53; declare the field as flowcraft.Int64 - at"
    ) as raised:
        Payload(Values).encode(event)
    assert str(raised.value).endswith(f"`{path}`")


def test_digits_in_a_text_and_large_floats_are_no_integers() -> None:
    event = values(big="-9223372036854775808", anything=["12345678901234567890", 1e300, 0.12345678901234567])
    assert '"-9223372036854775808"' in Payload(Values).encode(event)


def test_an_event_is_as_long_as_the_limit_and_no_longer() -> None:
    payload = Payload(Renamed)
    room = MAX_PAYLOAD_BYTES - len(payload.encode(Renamed(name="")))
    assert len(payload.encode(Renamed(name="x" * room))) == MAX_PAYLOAD_BYTES
    with pytest.raises(PayloadInvalid, match="262145 bytes of JSON; an event has at most 262144"):
        payload.encode(Renamed(name="x" * (room + 1)))
    with pytest.raises(PayloadInvalid, match="bytes of JSON"):
        payload.encode(Renamed(name="é" * room))


# What others send


@pytest.mark.parametrize(
    ("declared", "text", "expected"),
    [
        (RunUpdate, f'{{"run_id":"{RUN}"}}', f'{{"type":"RunUpdate","status":"queued","run_id":"{RUN}"}}'),
        (
            RunUpdate | Renamed,
            '{"name":"a","type":"run.renamed","more":1}',
            '{"type":"run.renamed","name":"a"}',
        ),
        (Moved, '{"toStreet": "Elm"}', '{"kind":"moved","toStreet":"Elm","since":"2026-01-01T00:00:00Z"}'),
    ],
)
def test_json_from_elsewhere_is_completed(declared: object, text: str, expected: str) -> None:
    assert Payload(declared).check(text) == expected


@pytest.mark.parametrize(
    ("declared", "text", "reason"),
    [
        (RunUpdate, "{}", "Object missing required field `run_id`"),
        (RunUpdate, "{", "RunUpdate does not fit its type: Input data was truncated"),
        (RunUpdate, "[]", "Expected `object`, got `array`"),
        (RunUpdate, '{"type":"Other"}', "Invalid value 'Other' - at `$.type`"),
        (RunUpdate | Renamed, "{}", '`type` is not one of "RunUpdate", "run.renamed"'),
        (RunUpdate | Renamed, "[]", '`type` is not one of "RunUpdate", "run.renamed"'),
        (Moved, "{}", "Field required - at `$.toStreet`"),
        (Values, '{"anything":9007199254740993}', "is beyond 2^53"),
        (Values, '{"anything":' + "[" * 100_000 + "]" * 100_000 + "}", "recursion"),
    ],
)
def test_json_from_elsewhere_that_does_not_fit_is_refused(declared: object, text: str, reason: str) -> None:
    with pytest.raises(PayloadInvalid, match=re.escape(reason)):
        Payload(declared).check(text)


# What is told about a payload


def test_fields_have_json_names_and_their_own_annotations() -> None:
    assert Payload(StepCompleted).fields(StepCompleted) == (
        EventField("stepName", str, has_default=False),
        EventField("tookMs", int | None, has_default=True, default="null"),
    )
    assert Payload(Values).fields(Values)[3] == EventField("big", Int64, has_default=True, default='"0"')
    assert [(f.name, f.has_default) for f in Payload(Moved).fields(Moved)] == [
        ("kind", True),
        ("toStreet", False),
        ("since", True),
    ]


@dataclass
class Plain:
    required: int
    constant: tuple[int, str] = (1, "a")
    empty: list[int] = field(default_factory=list[int])
    fresh: UUID = field(default_factory=uuid4)


class Struct(msgspec.Struct):
    required: int
    constant: tuple[int, str] = (1, "a")
    empty: list[int] = []
    fresh: UUID = msgspec.field(default_factory=uuid4)


class Model(pydantic.BaseModel):
    required: int
    constant: tuple[int, str] = (1, "a")
    empty: list[int] = []
    fresh: UUID = pydantic.Field(default_factory=uuid4)


@pytest.mark.parametrize("kind", [Plain, Struct, Model])
def test_a_default_that_is_the_same_every_time_is_known_as_json(kind: type) -> None:
    assert [(f.name, f.has_default, f.default) for f in Payload(kind).fields(kind)] == [
        ("required", False, None),
        ("constant", True, '[1,"a"]'),
        ("empty", True, "[]"),
        ("fresh", True, None),
    ]


def test_a_field_that_may_be_absent_has_no_default() -> None:
    class Sparse(msgspec.Struct):
        x: int | msgspec.UnsetType = msgspec.UNSET

    assert Payload(Sparse).fields(Sparse)[0].default is None


def test_a_field_that_pydantic_does_not_write_is_none() -> None:
    class Secretive(pydantic.BaseModel):
        shown: int
        hidden: int = pydantic.Field(default=0, exclude=True)

    payload = Payload(Secretive)
    assert [field.name for field in payload.fields(Secretive)] == ["shown"]
    assert payload.schema()["$defs"]["Secretive"]["required"] == ["shown"]


@pytest.mark.parametrize(("name", "event"), EVENTS)
def test_what_is_written_fits_the_schema_exactly(name: str, event: object) -> None:
    payload = channels.resolve(name)[0].payload
    schema = payload.schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    written: dict[str, object] = msgspec.json.decode(payload.encode(event))
    jsonschema.validate(written, schema)
    definition = schema["$defs"][type(event).__name__]
    required = set(definition["required"])
    for member in written:
        fewer = {key: value for key, value in written.items() if key != member}
        if member in required:
            with pytest.raises(jsonschema.ValidationError):
                jsonschema.validate(fewer, schema)


@pytest.mark.parametrize("event", [Moved(toStreet="Elm"), Left(), Typed("ada"), RunUpdate(run_id=RUN)])
def test_a_field_with_a_default_is_written_and_therefore_required(event: object) -> None:
    payload = Payload(type(event))
    definition = payload.schema()["$defs"][type(event).__name__]
    assert list(msgspec.json.decode(payload.encode(event))) == definition["required"]


def test_constraints_are_in_the_schema() -> None:
    class Limits(msgspec.Struct):
        a: Annotated[int, msgspec.Meta(gt=0, lt=9, multiple_of=2)]
        b: Annotated[float, msgspec.Meta(ge=0.5)]
        c: Annotated[str, msgspec.Meta(min_length=1, max_length=3, pattern="^a")]
        d: Annotated[list[Decimal], msgspec.Meta(min_length=1)]
        e: Annotated[dict[str, int], msgspec.Meta(max_length=2)]

    assert Payload(Limits).schema()["$defs"]["Limits"]["properties"] == {
        "a": {"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 9, "multipleOf": 2},
        "b": {"type": "number", "minimum": 0.5},
        "c": {"type": "string", "minLength": 1, "maxLength": 3, "pattern": "^a"},
        "d": {"type": "array", "items": {"type": "string", "format": "decimal"}, "minItems": 1},
        "e": {"type": "object", "additionalProperties": {"type": "integer"}, "maxProperties": 2},
    }


def test_the_schema_of_a_recursive_model_refers_to_itself() -> None:
    assert channels.resolve("customers.1")[0].payload.schema()["$defs"]["CustomerMoved"]["properties"][
        "history"
    ] == {
        "default": [],
        "items": {"$ref": "#/$defs/CustomerMoved"},
        "title": "History",
        "type": "array",
    }
