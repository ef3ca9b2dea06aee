"""Templates of what is written in TypeScript: the hook of a feature, and its test."""

from __future__ import annotations

import json

from flowcraft.scaffolding.naming import pascal_case
from flowcraft.scaffolding.python_templates import channel_of_sample
from flowcraft.scaffolding.request import ChannelRequest, Preview, Project


def hook(request: ChannelRequest, project: Project, stem: str) -> str:
    """Return the hook that subscribes."""
    names, event = request.names, request.event
    argument = f"{_argument(request)}: {_argument_type(request)}, " if names.parameter else ""
    channel = (
        f"channel.{names.builder}({_argument(request)})" if names.parameter else f"channel.{names.builder}"
    )
    dependencies = ", ".join(["subscribe", *([_argument(request)] if names.parameter else []), "heard"])
    return (
        'import { useWebSocket } from "@flowcraft/realtime/react";\n'
        'import { useEffect } from "react";\n'
        f'import {{ channel, type {event} }} from "{_types_module(project)}";\n\n'
        f"/** Tells `heard` every {event} of `{names.channel}`, as long as the component is there.\n"
        " *  Give it the same function each time: useCallback. */\n"
        f"export function {hook_name(stem)}({argument}heard: (event: {event}) => void): void {{\n"
        "  const { subscribe } = useWebSocket();\n\n"
        "  useEffect(() => {\n"
        f"    const unsubscribe = subscribe({channel}, (event) => heard(event));\n"
        "    return unsubscribe;\n"
        f"  }}, [{dependencies}]);\n"
        "}\n"
    )


def hook_test(request: ChannelRequest, project: Project, preview: Preview, stem: str) -> str:
    """Return the test of the hook."""
    channel = channel_of_sample(request, preview)
    value = next((s.json for s in preview.samples if s.name == request.names.parameter), None)
    argument = f"{json.dumps(value)}, " if request.names.parameter else ""
    members = {**preview.tag, **{s.name: s.json for s in preview.samples}}
    payload = "".join(
        f"  {_key(name)}: {json.dumps(inner, ensure_ascii=False)},\n" for name, inner in members.items()
    )
    return _HOOK_TEST.format(
        event=request.event,
        dom=project.dom,
        types=_types_module(project),
        hook=hook_name(stem),
        stem=stem,
        payload=payload,
        channel=json.dumps(channel),
        argument=argument,
    )


def hook_name(stem: str) -> str:
    """`use-flows` becomes `useFlows`."""
    name = pascal_case(stem)
    return name[0].lower() + name[1:]


def _argument(request: ChannelRequest) -> str:
    name = pascal_case(request.names.parameter or "")
    return name[:1].lower() + name[1:]


def _argument_type(request: ChannelRequest) -> str:
    return "number" if request.parameter_type == "int" else "string"


def _types_module(project: Project) -> str:
    name = project.types.name.removesuffix(".ts")
    return f"@/{name}" if project.alias else f"../../../{name}"


def _key(name: str) -> str:
    return name if name.isidentifier() else json.dumps(name)


_HOOK_TEST = """\
// @vitest-environment {dom}
import {{ createClient, type WebSocketLike }} from "@flowcraft/realtime";
import {{ RealtimeProvider }} from "@flowcraft/realtime/react";
import {{ act, cleanup, renderHook, waitFor }} from "@testing-library/react";
import type {{ ReactNode }} from "react";
import {{ afterEach, expect, it }} from "vitest";
import type {{ {event} }} from "{types}";
import {{ {hook} }} from "./{stem}";

const payload: {event} = {{
{payload}}};

type ClientFrame = {{ subscribe?: string[]; unsubscribe?: string[]; ref?: number }};

/** The real client talks to this instead of a server. */
class Socket implements WebSocketLike {{
  static readonly sent: ClientFrame[] = [];
  static last: Socket | undefined;
  onopen: ((event: object) => void) | null = null;
  onmessage: ((event: {{ data: unknown }}) => void) | null = null;
  onclose: ((event: {{ code: number }}) => void) | null = null;
  onerror: ((event: object) => void) | null = null;

  constructor() {{
    Socket.last = this;
    queueMicrotask(() => {{
      this.onopen?.({{}});
      this.tell({{ hello: {{ protocol: 1, schema: "", heartbeat: 25, cursor: "at 1" }} }});
    }});
  }}

  send(data: string): void {{
    const frame = JSON.parse(data) as ClientFrame; // the client wrote it
    Socket.sent.push(frame);
    const {{ subscribe, ref }} = frame;
    if (subscribe) queueMicrotask(() => this.tell({{ subscribed: subscribe, cursor: "at 1", n: 0, ref }}));
  }}

  tell(frame: object): void {{
    this.onmessage?.({{ data: JSON.stringify(frame) }});
  }}

  close(): void {{
    this.onmessage = null;
  }}
}}

afterEach(cleanup);

it("hears what {hook} follows, and unsubscribes when the component goes", async () => {{
  const client = createClient({{ url: "ws://none/realtime", linger: 0, WebSocket: Socket }});
  const wrapper = ({{ children }}: {{ children: ReactNode }}) => (
    <RealtimeProvider client={{client}}>{{children}}</RealtimeProvider>
  );
  const heard: {event}[] = [];
  const hear = (event: {event}) => void heard.push(event);
  const {{ unmount }} = renderHook(() => {hook}({argument}hear), {{ wrapper }});
  await waitFor(() => expect(Socket.sent.flatMap((frame) => frame.subscribe ?? [])).toEqual([{channel}]));

  act(() => {{
    Socket.last?.tell({{ channel: {channel}, payload, id: 1 }});
    Socket.last?.tell({{ cursor: "at 2", n: 1, at: "2026-11-22T20:13:00Z" }});
  }});
  await waitFor(() => expect(heard).toEqual([payload]));

  unmount();
  await waitFor(() => expect(Socket.sent.flatMap((frame) => frame.unsubscribe ?? [])).toEqual([{channel}]));
  client.close();
}});
"""
