"""`flowcraft channel show`: show one channel, with an example for each language."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from flowcraft.channels import Channels
from flowcraft.codegen.typescript_text import camel_case
from flowcraft.codegen.typescript_types import declare_type, type_name
from flowcraft.declarations import Declaration, Notify, Rows, Table
from flowcraft.entrypoints.commands.exit_status import USAGE, example, exit_on_error, fail
from flowcraft.entrypoints.commands.target import channels_of, split_target
from flowcraft.errors import ChannelNameInvalid, ChannelUnknown
from flowcraft.scaffolding.edits import ScaffoldingRefused
from flowcraft.scaffolding.naming import names_of
from flowcraft.scaffolding.samples import sample


@click.command(
    "show",
    epilog=example(
        "flowcraft channel show run_update", "flowcraft channel show app.realtime:channels run_update"
    ),
)
@click.argument(
    "words",
    metavar="[MODULE:ATTRIBUTE] NAME",
    help="The declared name, such as runs.{run_id}, or a full name, such as runs.42; before it the channels, "
    "as in `flowcraft channel list`.",
    nargs=-1,
    required=True,
)
def command(words: tuple[str, ...]) -> None:
    """Show a channel: its payload, delivery, guard, sources and TypeScript, with examples."""
    target, others = split_target(words)
    if len(others) != 1:
        fail("name one channel: flowcraft channel show NAME", USAGE)
    (name,) = others
    with exit_on_error():
        declaration = _declaration(channels_of(target), name)
        for line in _lines(declaration):
            click.echo(line)


def _declaration(channels: Channels, name: str) -> Declaration:
    for declaration in channels:
        if name in (declaration.name, declaration.prefix):
            return declaration
    try:
        return channels.resolve(name)[0]
    except ChannelNameInvalid:
        raise ChannelUnknown(name) from None


def _lines(declaration: Declaration) -> Iterator[str]:
    parameter = declaration.parameter
    yield f"{declaration.name}: {declaration.payload}"
    if parameter is not None:
        yield f"  one channel for each {parameter.name}, a {parameter.type.__name__}"
    yield f"  delivery  {_delivery(declaration)}"
    yield f"  guard     {_guard(declaration)}"
    for table in declaration.depends_on:
        columns = ", ".join(f"{field} in {column}" for field, column in table.columns.items())
        yield f"            asked again when a row of {table.name} changes: {columns}"
    for source in declaration.sources:
        yield f"  source    {_source(source, declaration)}"
    if declaration.members_of is not None:
        yield f"  source    who is present on {declaration.members_of.name}"
    elif not declaration.sources:
        yield "  source    a service: realtime.broadcast(…)"
    if declaration.members is not None:
        yield f"  presence  the members are on {declaration.members.name}, shown as {_present(declaration)}"
    for member in declaration.payload.members:
        yield ""
        yield f"{member.__name__}, JSON fields:"
        for field in declaration.payload.fields(member):
            default = "  (has a default)" if field.has_default else ""
            yield f"  {field.name}: {_annotation(field.annotation)}{default}"
    yield "\nTypeScript:"
    for key, schema in declaration.payload.schema()["$defs"].items():
        yield _indented(declare_type(type_name(key), schema))
    yield _indented(_subscription(declaration))
    yield from _examples(declaration)


def _delivery(declaration: Declaration) -> str:
    if declaration.durable:
        return "exactly once and in order, as long as the client's cursor is inside the log"
    return "at most once: events skip the log and reach the clients connected at the moment"


def _guard(declaration: Declaration) -> str:
    guard = declaration.guard
    if guard is None:
        return "none: open to all"
    return f"{guard.__module__}.{getattr(guard, '__name__', type(guard).__name__)}"


def _present(declaration: Declaration) -> str:
    present = declaration.present
    return (
        "nothing yet" if present is None else f"{present.__module__}.{getattr(present, '__name__', present)}"
    )


def _source(source: Table | Notify, declaration: Declaration) -> str:
    if isinstance(source, Rows):
        where = f" where {source.where}" if source.where else ""
        return f"the rows of {source.name}{where}, known by {', '.join(source.key)}"
    if isinstance(source, Notify):
        return f"an existing NOTIFY on {source.name}"
    event = (source.event or declaration.payload.members[0]).__name__
    renamed = "".join(f", {field} from {column}" for field, column in source.columns.items())
    return f"rows of {source.name} ({'/'.join(source.on)}) become {event}{renamed}"


def _annotation(annotation: object) -> str:
    plain = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    return plain.replace("typing.", "").replace("datetime.datetime", "datetime").replace("uuid.UUID", "UUID")


def _subscription(declaration: Declaration) -> str:
    shown = declaration.members_of or declaration
    name = json.dumps(shown.name)
    if shown.parameter is not None:
        name = f"channel.{camel_case(shown.prefix)}({camel_case(shown.parameter.name)})"
    if declaration.members_of is not None:
        return f"const {{ members, count, fresh }} = usePresence({name});"
    if declaration.rows is not None:
        return f"const {{ rows, fresh }} = useRows({name});"
    return f"useEffect(() => subscribe({name}, (event) => …), [subscribe]);"


def _examples(declaration: Declaration) -> Iterator[str]:
    tables = [source for source in declaration.sources if isinstance(source, Table)]
    member = declaration.payload.members[0]
    tag = declaration.payload.tags.get(member)
    fields = [f for f in declaration.payload.fields(member) if tag is None or f.name != tag.field]
    try:
        samples = [sample(field.name, field.annotation) for field in fields]
    except ScaffoldingRefused:
        return
    yield "\nSQL:"
    for source in tables:
        column = source.columns.get(fields[0].name, fields[0].name)
        yield f"  update {source.name} set {column} = {column};"  # noqa: S608  # an example to read
    if declaration.row_key is not None:
        return  # nothing is broadcast on it
    full, argument = declaration.prefix, ""
    if declaration.parameter is not None:
        value = next((s for s in samples if s.name == declaration.parameter.name), None)
        full, argument = f"{full}.{value.json if value else '…'}", f"({value.expression if value else '…'})"
    payload = json.dumps({**({tag.field: tag.value} if tag else {}), **{s.name: s.json for s in samples}})
    quoted = payload.replace("'", "''")
    yield f"  select flowcraft.broadcast('{full}', '{quoted}');"
    yield "\nPython:"
    written = ", ".join(f"{s.name}={s.expression}" for s in samples)
    channel = f"{names_of(declaration.name).variable}{argument}"
    yield f"  await realtime.broadcast({channel}, {member.__name__}({written}))"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.splitlines())
