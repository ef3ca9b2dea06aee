"""Which channel is subscribed to is read, whatever the style; one run reads all of these."""

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

DECLARED = {
    "in an effect": "useEffect(() => subscribe('system', f), [subscribe]);",
    "turned off": "useChannel(id ? 'system' : null, f);",
    "no subscription": "const feed = makeFeed(shared); feed.name(); shared.connection.subscribe(f);",
    "a namesake": "const own = { subscribe: (g: string) => g }; useEffect(() => own.subscribe('sistem'));",
}
MISSPELT = {
    "in an effect": "useEffect(() => subscribe('sistem', f), []);",
    "cast": "useEffect(() => subscribe(('sistem' as const), f), []);",
    "after a condition": "useChannel(id && 'sistem', f);",
    "in one branch": "useChannel(id ? 'system' : 'sistem', f);",
    "of the socket": "const ws = useWebSocket(); useEffect(() => ws.subscribe('sistem', f), []);",
    "renamed": "const { subscribe: follow } = useWebSocket(); useEffect(() => follow('sistem', f), []);",
    "of a namespace": "const c = rt.useClient(); useEffect(() => c.subscribe('sistem', f), []);",
    "of a shared client": "useEffect(() => shared.subscribe('sistem', f), []);",
    "of a parameter": "const go = (c: Client) => c.subscribe('sistem', f);",
    "of a part of a parameter": "const go = ({ client: c }: { client: Client }) => c.subscribe('sistem', f);",
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
    for number, body in enumerate(DECLARED.values()):
        (hooks / f"declared{number}.ts").write_text(IMPORTS + HOOK.format(body=WS + body))
    for number, body in enumerate(MISSPELT.values()):
        (hooks / f"misspelt{number}.ts").write_text(IMPORTS + HOOK.format(body=WS + body))
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


@pytest.mark.parametrize("number", range(len(DECLARED)), ids=list(DECLARED))
def test_a_declared_channel_is_left_alone(found: dict[str, list[str]], number: int) -> None:
    assert found[f"declared{number}"] == []


@pytest.mark.parametrize("number", range(len(MISSPELT)), ids=list(MISSPELT))
def test_a_channel_that_is_not_declared_is_found_once(found: dict[str, list[str]], number: int) -> None:
    assert found[f"misspelt{number}"] == ["FC020"]
