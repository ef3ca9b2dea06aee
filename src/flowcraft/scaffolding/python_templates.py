"""Python templates: the event, its declaration, the service, the test."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from typing import cast

from flowcraft.adapters.postgres.steps import LATEST
from flowcraft.scaffolding.naming import snake_case
from flowcraft.scaffolding.request import ChannelRequest, Preview, Project
from flowcraft.scaffolding.template_files import template

_WIDTH = 88


def event_class(request: ChannelRequest) -> str:
    """Return the class of the event."""
    fields = "\n".join(f"    {field.name}: {field.annotation}" for field in request.fields)
    return f'class {request.event}(Event):\n    """{_event_docstring(request)}"""\n\n{fields}\n'


def declaration(request: ChannelRequest, channels_object: str) -> str:
    """Return the statement that declares the channel."""
    names = request.names
    arguments = [_quoted(names.channel), request.event]
    if request.table is not None and request.table.key:
        return called(f"{names.variable} = {channels_object}.rows", [*arguments, *_rows(request)])
    if names.parameter is not None:
        arguments.append(f"params={{{_quoted(names.parameter)}: {request.parameter_type}}}")
    if request.table is not None:
        arguments.append(f"source={_table(request)}")
    return called(f"{names.variable} = {channels_object}.declare", arguments)


def service_method(request: ChannelRequest, channels_name: str, attribute: str) -> str:
    """Return the method that broadcasts."""
    channel = f"{channels_name}.{request.names.variable}"
    if request.names.parameter is not None:
        channel += f"(event.{request.names.parameter})"
    return (
        f"    async def {method_name(request)}"
        f"(self, event: {request.event}, *, via: object | None = None) -> None:\n"
        f'        """Broadcast on `{request.names.channel}`; with `via`, in that transaction."""\n'
        f"        await self.{attribute}.broadcast({channel}, event, via=via)\n"
    )


def method_name(request: ChannelRequest) -> str:
    """Return the name of the method that broadcasts: `broadcast_alert_raised`."""
    return f"broadcast_{snake_case(request.event)}"


def service_module(request: ChannelRequest, imports: str, method: str) -> str:
    """Return a module with the service."""
    return template(
        "channel/service.py",
        service=str(request.service),
        channel=request.names.channel,
        imports=imports,
        method=method.rstrip(),
    )


def table_test(request: ChannelRequest, project: Project, preview: Preview) -> str:
    """Return the test of pattern A: a row becomes the event."""
    assert request.table is not None
    imports = [
        *_common_imports(request, project, preview),
        ("flowcraft.adapters.postgres.embedded", "EmbeddedPostgres"),
        ("flowcraft.testing.rows", "records_of_row"),
    ]
    extra, tables = _tables_of_the_test(project, preview)
    return template(
        "channel/table_test.py",
        table=request.table.table,
        table_word=_word(request.table.table),
        table_quoted=_quoted(request.table.table),
        imports=import_block(imports, ["asyncio", "msgspec", *extra]),
        tables=tables,
        row=_assigned("ROW", preview.row),
        channels=project.channels_object,
        **_words_of_a_test(request, preview),
    )


def service_test(
    request: ChannelRequest, project: Project, preview: Preview, module: str, others: list[tuple[str, bool]]
) -> str:
    """Return the test of pattern B: the service broadcasts the event."""
    assert request.service is not None
    imports = [
        *_common_imports(request, project, preview, channels=False),
        (module, request.service),
        ("flowcraft.adapters.memory", "MemoryLog"),
        ("flowcraft.adapters.memory", "MemoryRealtimeService"),
        *([("unittest.mock", "Mock")] if any(not realtime for _, realtime in others) else []),
    ]
    return template(
        "channel/service_test.py",
        service=request.service,
        service_word=snake_case(request.service),
        imports=import_block(imports, ["asyncio", "msgspec"]),
        arguments=", ".join(f"{name}={'realtime' if realtime else 'Mock()'}" for name, realtime in others),
        method=method_name(request),
        **_words_of_a_test(request, preview),
    )


def alembic_revision(request: ChannelRequest, revision: str, down: str | None, preview: Preview) -> str:
    """Return an Alembic revision that creates the log and the triggers."""
    assert request.table is not None
    assert preview.trigger is not None
    return template(
        "channel/revision.py",
        channel=request.names.channel,
        table=request.table.table,
        event=request.event,
        revision=revision,
        down=down or "",
        down_quoted=_quoted(down) if down else "None",
        version=str(LATEST),
        source="\n".join(_argument(name, value) for name, value in preview.source.items()),
        function=_function_of(preview.trigger),
    )


def _argument(name: str, value: object) -> str:
    text = f"        {name}={value!r},"
    if len(text) <= _WIDTH or not isinstance(value, list):
        return text
    items = "".join(f"            {item!r},\n" for item in cast(list[object], value))
    return f"        {name}=[\n{items}        ],"


def import_block(wanted: Iterable[tuple[str, str]], plain: Iterable[str] = ()) -> str:
    """Return sorted import statements by section; `plain` are the modules of `import` statements."""
    names: dict[str, set[str]] = {}
    for module, name in wanted:
        names.setdefault(module, set()).add(name)
    sections: tuple[list[str], list[str], list[str]] = (["from __future__ import annotations"], [], [])
    for module in sorted(set(plain)):
        sections[1 if module in sys.stdlib_module_names else 2].append(f"import {module}")
    for module in sorted(names):
        top = module.partition(".")[0]
        ordered = sorted(names[module], key=lambda n: (0 if n.isupper() else 1 if n[0].isupper() else 2, n))
        line = f"from {module} import {', '.join(ordered)}"
        sections[1 if top in sys.stdlib_module_names else 2].append(line)
    return "\n\n".join("\n".join(section) for section in sections if section)


def called(function: str, arguments: list[str]) -> str:
    """Return a call on one line if it fits, otherwise with one argument per line."""
    line = f"{function}({', '.join(arguments)})"
    if len(line) <= _WIDTH:
        return line
    inner = ",\n    ".join(arguments)
    return f"{function}(\n    {inner}\n)"


def _common_imports(
    request: ChannelRequest, project: Project, preview: Preview, *, channels: bool = True
) -> list[tuple[str, str]]:
    return [
        *([(project.module(project.channels), project.channels_object)] if channels else []),
        (project.module(project.events), request.event),
        *(item for sample in preview.samples for item in sample.imports),
    ]


def _words_of_a_test(request: ChannelRequest, preview: Preview) -> dict[str, str]:
    return {
        "channel": request.names.channel,
        "channel_word": _word(request.names.channel),
        "event": request.event,
        "constant": called(f"EVENT = {request.event}", [f"{s.name}={s.expression}" for s in preview.samples]),
        "sample_channel": _quoted(channel_of_sample(request, preview)),
    }


def channel_of_sample(request: ChannelRequest, preview: Preview) -> str:
    """Return the full name of the channel on which the sample is broadcast."""
    names = request.names
    if names.parameter is None:
        return names.channel
    value = next(sample.json for sample in preview.samples if sample.name == names.parameter)
    return f"{names.channel.partition('.')[0]}.{value}"


def _tables_of_the_test(project: Project, preview: Preview) -> tuple[list[str], str]:
    """Return the test's tables: the SQL migrations, or with Alembic a table like the real one."""
    if project.alembic is None and project.migrations is not None:
        where = os.path.relpath(project.migrations, project.tests).replace(os.sep, "/")
        return ["pathlib"], f"TABLES = pathlib.Path(__file__).parent / {_quoted(where)}\n"
    return [], f'TABLES = """\n{preview.table_like}"""\n'


def _table(request: ChannelRequest) -> str:
    assert request.table is not None
    source = request.table
    plain = {k: v for k, v in source.columns.items() if k not in ("name", "event", "on", "columns")}
    rest = {k: v for k, v in source.columns.items() if k not in plain}
    arguments = [_quoted(source.table)]
    if source.on != ("insert", "update"):
        arguments.append(f"on=[{', '.join(map(_quoted, source.on))}]")
    if rest:
        arguments.append(f"columns={{{', '.join(f'{_quoted(k)}: {_quoted(v)}' for k, v in rest.items())}}}")
    arguments += [f"{field}={_quoted(column)}" for field, column in plain.items()]
    return f"Table({', '.join(arguments)})"


def _rows(request: ChannelRequest) -> list[str]:
    """Return the arguments of `channels.rows` after the name and the event."""
    assert request.table is not None
    source, names = request.table, request.names
    key = ", ".join(map(_quoted, source.key))
    arguments = [f"table={_quoted(source.table)}", f"key={key if len(source.key) == 1 else f'({key})'}"]
    if names.parameter is not None:
        arguments.append(f"params={{{_quoted(names.parameter)}: {request.parameter_type}}}")
    if source.columns:
        columns = ", ".join(
            f"{_quoted(field)}: {_quoted(column)}" for field, column in source.columns.items()
        )
        arguments.append(f"columns={{{columns}}}")
    return arguments


def _event_docstring(request: ChannelRequest) -> str:
    if request.table is None:
        return f"Broadcast by {request.service} on `{request.names.channel}`."
    return f"A row of `{request.table.table}` as it is now."


def _assigned(name: str, value: Mapping[str, object]) -> str:
    items = ", ".join(f"{_quoted(key)}: {python_literal(inner)}" for key, inner in value.items())
    line = f"{name} = {{{items}}}"
    if len(line) <= _WIDTH:
        return line
    body = "".join(f"    {_quoted(key)}: {python_literal(inner)},\n" for key, inner in value.items())
    return f"{name} = {{\n{body}}}"


def python_literal(value: object) -> str:
    """Return a JSON value as a Python literal."""
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return json.dumps(value)
    return repr(value)


def _quoted(text: str | None) -> str:
    return json.dumps(text, ensure_ascii=False)


def _word(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name.lower()).strip("_")


def _function_of(statements: str) -> str:
    return statements.partition("create or replace function ")[2].partition("(")[0]
