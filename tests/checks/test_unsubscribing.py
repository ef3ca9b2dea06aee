"""What becomes of `unsubscribe` is told apart, whatever the style; one run reads all of these."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from flowcraft import Channels, Event
from flowcraft.checking.facts import Facts
from flowcraft.checking.findings import findings
from flowcraft.checking.rules import WEB
from flowcraft.checking.typescript_sources import read_typescript
from tests.checks.project import ROOT

IMPORTS = """\
import * as React from "react";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useSyncExternalStore } from "react";
import type { Client } from "@flowcraft/realtime";
import { createClient } from "@flowcraft/realtime";
import { useChannel, useChannelState, useClient, useWebSocket } from "@flowcraft/realtime/react";
import * as rt from "@flowcraft/realtime/react";
import { client as shared, makeFeed } from "@/lib/shared";
"""
SHARED = """\
import { createClient, type Client } from "@flowcraft/realtime";
export const client = createClient();
export function makeFeed(client: Pick<Client, "subscribe">) {
  return { open: () => client.subscribe("system", () => undefined), name: () => "feed" };
}
"""
HOOK = "export function useIt(f: () => void, ids: string[], id: string | null) {{\n{body}\n}}\n"
WS = "const { subscribe } = useWebSocket();\n"

SOUND = {
    "returned": "useEffect(() => subscribe('system', f), [subscribe]);",
    "returned from a block": "useEffect(() => { return subscribe('system', f); }, [subscribe]);",
    "returned or nothing": "useEffect(() => (id ? subscribe('system', f) : undefined), [id]);",
    "returned after a guard": "useEffect(() => { if (!id) return; return subscribe('system', f); }, [id]);",
    "kept and returned": "useEffect(() => { const stop = subscribe('system', f); return stop; }, []);",
    "kept and called": "useEffect(() => { const stop = subscribe('system', f); return () => stop(); }, []);",
    "called among others": "useEffect(() => { const stop = subscribe('system', f);"
    " const gone = () => { f(); stop(); }; return gone; }, []);",
    "set later": "useEffect(() => { let stop: (() => void) | undefined;"
    " void later().then(() => { stop = subscribe('system', f); }); return () => stop?.(); }, []);",
    "several": "useEffect(() => { const stops = ids.map(() => subscribe('system', f));"
    " return () => stops.forEach((stop) => stop()); }, []);",
    "pushed": "useEffect(() => { const all: (() => void)[] = []; all.push(subscribe('system', f));"
    " return () => all.forEach((stop) => stop()); }, []);",
    "in a ref": "const ref = useRef<() => void>(); useEffect(() => { ref.current = subscribe('system', f);"
    " return () => ref.current?.(); }, []);",
    "an external store": "useSyncExternalStore((told) => subscribe('system', told), f);",
    "a function of the hook": "const go = useCallback(() => subscribe('system', f), [subscribe]);"
    " useEffect(() => go(), [go]);",
    "given to the effect": "const go = useCallback(() => subscribe('system', f), []); useEffect(go, [go]);",
    "by the name of React": "React.useEffect(() => subscribe('system', f), [subscribe]);",
    "of another file": "const feed = useMemo(() => makeFeed(shared), []);"
    " useEffect(() => feed.open(), [feed]);",
    "no subscription": "const feed = makeFeed(shared); feed.name(); shared.connection.subscribe(f);",
    "a namesake": "const store = { subscribe: (g: () => void) => g };"
    " useEffect(() => { store.subscribe(f); }, []);",
    "a handler that names no type": "useChannel('system', (event) => log(event, (window as any).x));",
    "turned off": "useChannel(id ? 'system' : null, f);",
}
FAULTY = {
    "dropped": ("FC030", "useEffect(() => { subscribe('system', f); }, []);"),
    "voided": ("FC030", "useEffect(() => void subscribe('system', f), []);"),
    "in a layout effect": ("FC030", "useLayoutEffect(() => { subscribe('system', f); }, []);"),
    "by the name of React": ("FC030", "React.useEffect(() => { subscribe('system', f); }, []);"),
    "for each": ("FC030", "useEffect(() => ids.forEach(() => subscribe('system', f)), []);"),
    "after a promise": (
        "FC030",
        "useEffect(() => { void later().then(() => subscribe('system', f)); }, []);",
    ),
    "of the socket": (
        "FC030",
        "const ws = useWebSocket(); useEffect(() => { ws.subscribe('system', f); }, []);",
    ),
    "renamed": (
        "FC030",
        "const { subscribe: follow } = useWebSocket(); useEffect(() => { follow('system', f); }, []);",
    ),
    "of a namespace": (
        "FC030",
        "const c = rt.useClient(); useEffect(() => { c.subscribe('system', f); }, []);",
    ),
    "of a shared client": ("FC030", "useEffect(() => { shared.subscribe('system', f); }, []);"),
    "of a function": (
        "FC030",
        "const go = useCallback(() => subscribe('system', f), []); useEffect(() => { go(); }, [go]);",
    ),
    "of another file's object": (
        "FC030",
        "const feed = useMemo(() => makeFeed(shared), []); useEffect(() => { feed.open(); }, [feed]);",
    ),
    "kept": ("FC031", "useEffect(() => { const stop = subscribe('system', f); return undefined; }, []);"),
    "called at once": ("FC031", "useEffect(() => { const stop = subscribe('system', f); stop(); }, []);"),
    "kept inside a promise": (
        "FC031",
        "useEffect(() => { void (async () => { const stop = subscribe('system', f); })(); }, []);",
    ),
    "async": ("FC032", "useEffect(async () => { return subscribe('system', f); }, []);"),
    "without a list": ("FC033", "useEffect(() => subscribe('system', f));"),
    "while rendering": ("FC034", "subscribe('system', f);"),
    "in a memo": ("FC034", "useMemo(() => subscribe('system', f), []);"),
    "in a callback": ("FC035", "const go = useCallback(() => { subscribe('system', f); }, []);"),
    "in a click": ("FC035", "return { onClick: () => { subscribe('system', f); } };"),
    "of a parameter": ("FC035", "const go = (c: Client) => { c.subscribe('system', f); };"),
    "of a part of a parameter": (
        "FC035",
        "const go = ({ client }: { client: Client }) => { client.subscribe('system', f); };",
    ),
    "a typed handler": ("FC015", "useChannel('system', (event: any) => console.log(event));"),
    "a cast": ("FC015", "useChannel('system', (event) => console.log((event as any).x));"),
    "a type argument": ("FC015", "useChannelState<'system', any>('system', { load: later, reduce: keep });"),
    "a reducer": ("FC015", "useChannelState('system', { load: later, reduce: (all, one: any) => all });"),
    "misspelt and cast": ("FC020", "useEffect(() => subscribe(('sistem' as const), f), []);"),
    "misspelt after a condition": ("FC020", "useChannel(id && 'sistem', f);"),
    "misspelt in one branch": ("FC020", "useChannel(id ? 'system' : 'sistem', f);"),
}


class Announcement(Event):
    text: str


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The checks that find something, by file."""
    folder = tmp_path_factory.mktemp("web")
    hooks = folder / "src/features/it/hooks"
    hooks.mkdir(parents=True)
    (folder / "node_modules").symlink_to(ROOT / "node_modules")
    (folder / "src/lib").mkdir()
    (folder / "src/lib/shared.ts").write_text(SHARED)
    for number, body in enumerate(SOUND.values()):
        (hooks / f"sound{number}.ts").write_text(IMPORTS + HOOK.format(body=WS + body))
    for number, (_, body) in enumerate(FAULTY.values()):
        (hooks / f"faulty{number}.ts").write_text(IMPORTS + HOOK.format(body=WS + body))
    channels = Channels()
    channels.declare("system", Announcement)
    web = read_typescript(folder)
    assert web.error is None
    rules = [rule for rule in WEB if rule.id not in ("FC012", "FC041")]
    by_file: dict[str, list[str]] = defaultdict(list)
    for one in findings(Facts("app:channels", channels, web=web), rules):
        assert one.place is not None
        by_file[Path(one.place.path).stem].append(one.rule.id)
    return by_file


@pytest.mark.parametrize("number", range(len(SOUND)), ids=list(SOUND))
def test_what_ends_its_subscription_is_left_alone(found: dict[str, list[str]], number: int) -> None:
    assert found[f"sound{number}"] == []


@pytest.mark.parametrize("number", range(len(FAULTY)), ids=list(FAULTY))
def test_what_leaks_or_hides_is_found_once(found: dict[str, list[str]], number: int) -> None:
    assert found[f"faulty{number}"] == [list(FAULTY.values())[number][0]]
