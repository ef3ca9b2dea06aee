"""Channels with everything that the TypeScript generator must get right, and an event of each kind."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypedDict, TypeVar
from uuid import UUID

import msgspec
import pydantic

from flowcraft.channels import Channels
from flowcraft.declarations import Notify, Table
from flowcraft.events import Event, Int64

T = TypeVar("T")
RUN = UUID("0198a7c2-91e4-7bd1-8d55-2a8f6f0b3c11")
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Status(enum.Enum):
    """Where a run stands.

    Ends as `succeeded` or `failed`. */ alert("not code") /*
    """

    QUEUED = "queued"
    RUNNING = "running"


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(NamedTuple):
    x: float
    y: float = 0.0


class Range(msgspec.Struct, array_like=True):
    start: int
    stop: int = 10


class Step(msgspec.Struct):
    """One step; steps nest."""

    name: str
    steps: list[Step] = []


class Succeeded(msgspec.Struct, tag="succeeded", tag_field="kind"):
    took: timedelta


class Failed(msgspec.Struct, tag="failed", tag_field="kind"):
    error: str | None = None


class Page(msgspec.Struct, Generic[T]):
    items: list[T]


class Sparse(msgspec.Struct, omit_defaults=True):
    always: int
    sometimes: str = "default"


class Labels(TypedDict):
    color: str
    note: NotRequired[str]


@dataclass
class Cost:
    amount: Decimal
    parts: list[Decimal] = field(default_factory=list[Decimal])


class RunUpdate(Event):
    """A run changed."""

    run_id: UUID
    status: Literal["queued", "running"] = "queued"


class StepCompleted(Event, rename="camel"):
    step_id: Int64
    finished_at: datetime
    retry: bool = False


class Everything(Event):
    status: Status
    priority: Priority
    outcome: Succeeded | Failed
    last: Succeeded | Failed | None
    step: Step
    point: Point
    range_: Range = msgspec.field(name="range")
    page: Page[int]
    sparse: Sparse
    labels: Labels
    cost: Cost
    pair: tuple[int, str]
    many: tuple[int | None, ...]
    none_at_all: tuple[()]
    names: set[str]
    counts: Mapping[str, int]
    by_id: dict[UUID, list[Step]]
    day: date
    at: time
    digest: bytes
    times: list[datetime]
    anything: Any
    whatever: object
    nothing: None
    mixed: Literal["a", 1] | None
    number: Annotated[int, msgspec.Meta(ge=0, description="How many.\nNever negative.")]
    quoted: int = msgspec.field(name="content-type")
    absent: int | msgspec.UnsetType = msgspec.UNSET
    defaulted: dict[str, float] = msgspec.field(default_factory=dict[str, float])


class Address(pydantic.BaseModel):
    street: str
    zip_code: str = pydantic.Field(default="", alias="zipCode", description="Five digits.")


class CustomerMoved(pydantic.BaseModel):
    """A customer has another address."""

    type: Literal["customer_moved"] = "customer_moved"
    to: Address
    history: list[CustomerMoved] = []
    old: str | None = pydantic.Field(default=None, deprecated=True)


class CustomerLeft(pydantic.BaseModel, extra="allow"):
    type: Literal["customer_left"] = "customer_left"
    status: Literal["gone", "back"] | int
    grade: tuple[int, Decimal] = (1, Decimal(0))


@dataclass
class Typing:
    """Somebody types."""

    user: str


channels = Channels()
channels.declare("run_update", RunUpdate, source=Table("runs", run_id="id"))
channels.declare("runs.{run_id}", RunUpdate | StepCompleted, params={"run_id": UUID})
channels.declare("jobs.{class}", Everything, params={"class": int})
channels.declare("customers.{customer_id}", CustomerMoved | CustomerLeft, params={"customer_id": str})
channels.declare("typing_update", Typing, durable=False)
channels.declare("system", Failed, source=Notify("failures"), durable=False)

EVENTS: list[tuple[str, object]] = [
    ("run_update", RunUpdate(run_id=RUN)),
    (f"runs.{RUN}", RunUpdate(run_id=RUN, status="running")),
    (f"runs.{RUN}", StepCompleted(step_id="9223372036854775807", finished_at=NOON)),
    (
        "jobs.7",
        Everything(
            status=Status.RUNNING,
            priority=Priority.HIGH,
            outcome=Failed(),
            last=None,
            step=Step("a", [Step("b")]),
            point=Point(1.5),
            range_=Range(1),
            page=Page([1]),
            sparse=Sparse(1),
            labels={"color": "red"},
            cost=Cost(Decimal("1.50"), [Decimal(1)]),
            pair=(1, "é"),
            many=(1, None),
            none_at_all=(),
            names={"a"},
            counts={"a": 1},
            by_id={RUN: [Step("c")]},
            day=NOON.date(),
            at=NOON.time(),
            digest=b"\x00\xff",
            times=[NOON],
            anything={"a": [1, None]},
            whatever="x",
            nothing=None,
            mixed=None,
            number=3,
            quoted=4,
        ),
    ),
    ("customers.7", CustomerMoved(to=Address(street="a", zipCode="1"), history=[])),
    ("customers.7", CustomerLeft(status=3)),
    ("typing_update", Typing("ada")),
    ("system", Failed("disk full")),
]
