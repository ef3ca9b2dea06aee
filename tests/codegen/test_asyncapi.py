"""The AsyncAPI document: valid, whole, and true of what is sent."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, cast
from uuid import UUID

import jsonschema
import pydantic
import pytest
from click.testing import CliRunner

from examples.flowcraft.api.core.domain.channels import channels as example_channels
from flowcraft import Channels, DeclarationError, Event, Viewer
from flowcraft.codegen.asyncapi import Address, generate_asyncapi
from flowcraft.entrypoints.cli import app
from tests.codegen.typescript_sample import EVENTS, RUN, RunUpdate, Typing, channels

SAMPLE = "tests.codegen.typescript_sample:channels"
HERE = Path(__file__).parent
SPEC = HERE.parents[1] / "spec"
OFFICIAL: dict[str, Any] = json.loads(gzip.decompress((HERE / "asyncapi/3.0.0.json.gz").read_bytes()))


def generated(declared: Channels = channels, **options: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(generate_asyncapi(declared, **options))
    return document


def violations(value: object, schema: object, components: object = None) -> list[str]:
    whole = {"allOf": [schema], "components": components} if components else schema
    found = jsonschema.Draft7Validator(whole).iter_errors(value)  # type: ignore[arg-type]  # pyright: ignore[reportUnknownMemberType, reportArgumentType, reportUnknownVariableType]
    return [f"{error.json_path}: {error.message}" for error in found]


def fitting(document: dict[str, Any], channel: str, frame: object) -> list[str]:
    """The messages of a channel that a frame is one of."""
    messages = document["channels"][channel]["messages"]
    parts = document["components"]
    return [name for name, message in messages.items() if not violations(frame, message["payload"], parts)]


class Mail(pydantic.BaseModel):
    kind: Literal["mail"]


class Call(pydantic.BaseModel):
    kind: Literal["call"]


class Reached(pydantic.BaseModel):
    by: Annotated[Mail | Call, pydantic.Field(discriminator="kind")]


def discriminated() -> Channels:
    made = Channels()
    made.declare("reached_update", Reached)
    return made


def guarded() -> Channels:
    made = Channels()
    made.declare("run_update", RunUpdate)

    @made.declare("typing_update", Typing, durable=False).guard
    def may_watch(viewer: Viewer) -> bool:  # pyright: ignore[reportUnusedFunction]
        return viewer.subject == "ada"

    return made


@pytest.mark.parametrize(
    "document",
    [
        generated(),
        generated(Channels()),
        generated(guarded()),
        generated(discriminated()),
        generated(example_channels, address=Address.parse("ws://[::1]:8400/live"), wants_token=True),
    ],
    ids=["sample", "empty", "guarded", "discriminated", "example"],
)
def test_the_document_is_valid_by_the_official_schema_and_its_references_lead_somewhere(
    document: dict[str, Any],
) -> None:
    assert violations(document, OFFICIAL) == []
    for reference in references(document):
        found: Any = document
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in cast(dict[str, object], value).items():
            yield from [inner] if key == "$ref" and isinstance(inner, str) else references(inner)
    elif isinstance(value, list):
        for inner in cast(list[object], value):
            yield from references(inner)


@pytest.mark.parametrize(("name", "event"), EVENTS, ids=[name for name, _ in EVENTS])
def test_a_frame_that_is_sent_is_exactly_one_message_of_its_channel(name: str, event: object) -> None:
    declaration, _ = channels.resolve(name)
    payload = json.loads(declaration.payload.encode(event))
    frame = {"channel": name, "payload": payload, **({"id": 1} if declaration.durable else {})}
    document = generated()
    channel = name.partition(".")[0]
    assert fitting(document, channel, frame) == [type(event).__name__]
    others = set(document["channels"]) - {channel}
    assert not [other for other in others if fitting(document, other, frame)]
    assert fitting(document, channel, {**frame, "payload": {}}) == []


@pytest.mark.parametrize(
    ("channel", "frame"),
    [
        ("run_update", {"channel": "run_update", "payload": {"run_id": str(RUN), "status": "done"}, "id": 1}),
        ("runs", {"channel": "runs.7", "payload": {"type": "RunUpdate", "run_id": str(RUN)}, "id": 1}),
        ("typing_update", {"channel": "typing_update", "payload": {"user": "ada"}, "id": 1}),
    ],
)
def test_a_frame_that_is_never_sent_is_no_message(channel: str, frame: object) -> None:
    assert fitting(generated(), channel, frame) == []


def test_tuples_keep_their_length_in_the_older_words() -> None:
    document = generated()
    pair = document["components"]["schemas"]["Everything"]["properties"]["pair"]
    assert violations([1, "a"], pair) == []
    assert len(violations([1, "a", 2], pair)) > 0
    assert len(violations(["a", 1], pair)) > 0


def test_every_control_frame_of_the_conversations_is_one_message_of_the_socket() -> None:
    document = generated()
    for path in sorted((SPEC / "vectors").glob("*.json")):
        for step in json.loads(path.read_text())["steps"]:
            said = [frame for frame in step.get("server", []) if "channel" not in frame]
            for frame in [*said, *([step["client"]] if "client" in step else [])]:
                assert len(fitting(document, "web-socket", frame)) == 1, (path.name, frame)


def test_a_request_names_its_answers_and_what_pairs_them() -> None:
    document = generated()
    subscribe = document["operations"]["subscribe"]
    answers = [reference["$ref"].rpartition("/")[2] for reference in subscribe["reply"]["messages"]]
    assert (subscribe["action"], answers) == ("receive", ["subscribed", "reset", "error"])
    messages = document["channels"]["web-socket"]["messages"]
    pairs = {name: messages[name]["correlationId"]["location"] for name in ["subscribe", *answers]}
    assert set(pairs.values()) == {"$message.payload#/ref", "$message.payload#/error/ref"}


def test_addresses_parameters_and_promises_are_those_of_the_declaration() -> None:
    told = generated()["channels"]
    assert (told["runs"]["address"], list(told["runs"]["parameters"])) == ("runs.{run_id}", ["run_id"])
    assert (told["run_update"]["x-delivery"], told["typing_update"]["x-delivery"]) == (
        "exactly-once",
        "at-most-once",
    )
    conflated = Channels()
    conflated.declare("run_update", RunUpdate, conflate="run_id")
    channel = generated(conflated)["channels"]["run_update"]
    assert channel["x-conflate"] == "run_id"
    assert channel["description"].endswith(
        "A client that cannot keep up receives only the latest event for each `run_id`."
    )


def test_a_token_is_wanted_where_a_guard_is_or_by_the_server_for_all() -> None:
    assert "securitySchemes" not in generated()["components"]
    told = generated(guarded())
    assert {name for name, operation in told["operations"].items() if "security" in operation} == {
        "send_typing_update"
    }
    address = Address.parse("wss://app.example/realtime")
    for wants_token in (True, False):
        server = generated(address=address, wants_token=wants_token)["servers"]["realtime"]
        assert ("security" in server) is wants_token


def test_the_version_changes_with_the_channels_and_the_text_with_nothing_else() -> None:
    assert generated()["info"]["version"] == channels.schema_hash()
    assert generate_asyncapi(channels) == generate_asyncapi(channels)


def test_two_types_of_one_name_are_refused() -> None:
    made = Channels()
    made.declare("run_update", RunUpdate)

    def declare_another() -> None:
        class RunUpdate(Event):
            run_id: UUID

        made.declare("job_update", RunUpdate)

    declare_another()
    with pytest.raises(DeclarationError, match=r"called RunUpdate.*both are in one AsyncAPI document"):
        generate_asyncapi(made)


@pytest.mark.parametrize(
    "url", ["https://x/realtime", "wss:///realtime", "wss://me:secret@x/", "x", "ws://x?a=b"]
)
def test_what_is_not_the_address_of_a_websocket_is_refused(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"not of the form wss://HOST/realtime|remove the user name and password"
    ):
        Address.parse(url)


def test_the_package_has_the_frames_of_the_specification() -> None:
    packed = HERE.parents[1] / "src/flowcraft/codegen/frames.schema.json"
    assert packed.read_text() == (SPEC / "frames.schema.json").read_text(), (
        "copy spec/frames.schema.json there"
    )


# The command


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str) -> tuple[int, str, str]:
        done = CliRunner().invoke(app, ["codegen", "asyncapi", SAMPLE, *arguments], prog_name="flowcraft")
        return done.exit_code, done.stdout, done.stderr

    return invoke


def test_the_command_writes_the_document_and_checks_that_it_is_up_to_date(
    run: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    assert run() == (0, generate_asyncapi(channels), "")
    options = ("--title", "My runs", "--server", "wss://app.example/live", "--out", "a.json")
    assert run(*options) == (0, "a.json written\n", "")
    told = json.loads((tmp_path / "a.json").read_text())
    assert told["info"]["title"] == "My runs"
    assert told["channels"]["web-socket"]["address"] == "/live"
    assert run(*options, "--check") == (0, "", "")
    status, difference, error = run("--out", "a.json", "--check")
    assert (status, difference.startswith("--- a.json")) == (1, True)
    assert error.endswith(f"run `flowcraft codegen asyncapi {SAMPLE} --out a.json`\n")
    again = (
        f"flowcraft codegen asyncapi {SAMPLE} --title 'My runs' --server wss://app.example/live --out b.json"
    )
    assert run(*options[:-1], "b.json", "--check") == (
        1,
        "",
        f"error: b.json does not exist; run `{again}`\n",
    )


def test_a_server_that_is_none_is_not_understood(run: Callable[..., tuple[int, str, str]]) -> None:
    text = "error: --server: 'app.example' is not of the form wss://HOST/realtime\n"
    assert run("--server", "app.example") == (2, "", text)
