"""TypeScript templates: the hook of a feature, and its test."""

from __future__ import annotations

import json

from flowcraft.scaffolding.naming import pascal_case
from flowcraft.scaffolding.python_templates import channel_of_sample
from flowcraft.scaffolding.request import ChannelRequest, Preview, Project
from flowcraft.scaffolding.template_files import template

_WIDTH = 80


def hook(request: ChannelRequest, project: Project, stem: str) -> str:
    """Return the hook that subscribes to the channel."""
    names, argument = request.names, _argument(request)
    with_parameter = names.parameter is not None
    builder = f"channel.{names.builder}" + (f"({argument})" if with_parameter else "")
    if names.are_rows:
        return template(
            "channel/rows_hook.ts",
            types=_types_module(project),
            channel=names.channel,
            hook=hook_name(stem),
            parameter=f"{argument}: {_argument_type(request)}" if with_parameter else "",
            builder=builder,
        )
    of_table = request.table is not None
    parameters = [
        *([f"{argument}: {_argument_type(request)}"] if with_parameter else []),
        f"onEvent: (event: {request.event}) => void",
        *([f"onGone: (key: Partial<{request.event}>) => void = ignore"] if of_table else []),
    ]
    return template(
        "channel/table_hook.ts" if of_table else "channel/hook.ts",
        event=request.event,
        types=_types_import(request.event, _types_module(project)),
        channel=names.channel,
        signature=_signature(hook_name(stem), parameters),
        call=_subscribing(builder, with_gone=of_table),
        dependencies=", ".join(["subscribe", *([argument] if with_parameter else []), "onEvent"]),
    )


def hook_test(request: ChannelRequest, project: Project, preview: Preview, stem: str) -> str:
    """Return the test of the hook."""
    value = next((s.json for s in preview.samples if s.name == request.names.parameter), None)
    members = {**preview.tag, **{s.name: s.json for s in preview.samples}}
    return template(
        "channel/rows_hook_test.tsx" if request.names.are_rows else "channel/hook_test.tsx",
        event=request.event,
        dom=project.dom,
        types=_types_module(project),
        hook=hook_name(stem),
        stem=stem,
        payload="".join(f"  {_key(k)}: {json.dumps(v, ensure_ascii=False)},\n" for k, v in members.items()),
        channel=json.dumps(channel_of_sample(request, preview)),
        argument=""
        if not request.names.parameter
        else json.dumps(value)
        if request.names.are_rows
        else f"{json.dumps(value)}, ",
        **({"key": json.dumps(list(_key_of(request)))} if request.names.are_rows else {}),
    )


def _types_import(event: str, module: str) -> str:
    line = f'import {{ channel, type {event} }} from "{module}";'
    if len(line) <= _WIDTH:
        return line
    return f'import {{\n  channel,\n  type {event},\n}} from "{module}";'


def _signature(name: str, parameters: list[str]) -> str:
    """Return the head of a function, in lines as Prettier breaks them."""
    line = f"export function {name}({', '.join(parameters)}): void {{"
    if len(line) <= _WIDTH:
        return line
    inner = "".join(f"  {parameter},\n" for parameter in parameters)
    return f"export function {name}(\n{inner}): void {{"


def _subscribing(builder: str, *, with_gone: bool) -> str:
    """Return the call of `subscribe` in an effect, in lines as Prettier breaks them."""
    arguments = [builder, "(event) => onEvent(event)", *(["{ onGone }"] if with_gone else [])]
    before = "    const unsubscribe = "
    line = f"subscribe({', '.join(arguments)})"
    if len(f"{before}{line};") <= _WIDTH:
        return line
    opened, rest = ("{", "onGone,\n    })") if with_gone else ("(event) =>", "onEvent(event),\n    )")
    hugged = f"subscribe({', '.join([*arguments[:-1], opened])}"
    if len(f"{before}{hugged}") <= _WIDTH:
        return f"{hugged}\n      {rest}"
    inner = "".join(f"      {argument},\n" for argument in arguments)
    return f"subscribe(\n{inner}    )"


def hook_name(stem: str) -> str:
    """`use-flows` becomes `useFlows`."""
    name = pascal_case(stem)
    return name[0].lower() + name[1:]


def _argument(request: ChannelRequest) -> str:
    name = pascal_case(request.names.parameter or "")
    return name[:1].lower() + name[1:]


def _argument_type(request: ChannelRequest) -> str:
    return "number" if request.parameter_type == "int" else "string"


def _key_of(request: ChannelRequest) -> tuple[str, ...]:
    assert request.table is not None
    return request.table.key


def _types_module(project: Project) -> str:
    assert project.types is not None
    name = project.types.name.removesuffix(".ts")
    return f"@/{name}" if project.alias else f"../../../{name}"


def _key(name: str) -> str:
    return name if name.isidentifier() else json.dumps(name)
