"""Which channel is subscribed to is read, whatever the style; one run reads all of these."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from flowcraft import Channels, Event, Table
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
import { useRows } from "@flowcraft/realtime/rows";
import { usePresence } from "@flowcraft/realtime/presence";
import { channelStore, presenceStore, rowsStore } from "@flowcraft/realtime/store";
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
    "rows": "useRows('system');",
    "a store of rows": "rowsStore(shared, 'system');",
    "presence": "usePresence('system');",
    "a store of presence": "presenceStore(shared, 'system');",
    "no subscription": "const feed = makeFeed(shared); feed.name(); shared.connection.subscribe(f);",
    "a namesake": "const own = { subscribe: (g: string) => g }; useEffect(() => own.subscribe('sistem'));",
}
MISSPELT = {
    "in an effect": "useEffect(() => subscribe('sistem', f), []);",
    "rows": "useRows('sistem');",
    "a store of rows": "rowsStore(shared, 'sistem');",
    "cast": "useEffect(() => subscribe(('sistem' as const), f), []);",
    "after a condition": "useChannel(id && 'sistem', f);",
    "in one branch": "useChannel(id ? 'system' : 'sistem', f);",
    "of the socket": "const ws = useWebSocket(); useEffect(() => ws.subscribe('sistem', f), []);",
    "renamed": "const { subscribe: follow } = useWebSocket(); useEffect(() => follow('sistem', f), []);",
    "of a namespace": "const c = rt.useClient(); useEffect(() => c.subscribe('sistem', f), []);",
    "of a shared client": "useEffect(() => shared.subscribe('sistem', f), []);",
    "of a parameter": "const go = (c: Client) => c.subscribe('sistem', f);",
    "of rows": "useRows('sistem');",
    "of presence": "usePresence('sistem');",
    "of a store of presence": "presenceStore(shared, 'sistem');",
    "of a store of rows": "rowsStore(shared, 'sistem');",
    "of a store": "channelStore(shared, 'sistem', { load: f, reduce: f });",
    "of a part of a parameter": "const go = ({ client: c }: { client: Client }) => c.subscribe('sistem', f);",
}


KEPT = {
    "no options": "useChannel('item_update', f);",
    "other options": "useEffect(() => subscribe('item_update', f, { onReset: f }), []);",
    "options elsewhere": "const options = { onReset: f }; useChannel('shops.7', f, options);",
    "of a shared client": "useEffect(() => shared.subscribe('item_update', f), []);",
}
REMOVED = {
    "named": "useChannel('item_update', f, { onGone: f });",
    "short": "const onGone = f; useChannel('item_update', f, { onGone });",
    "a method": "useChannel('shops.7', f, { onGone() {} });",
    "unknown options": "useChannel('item_update', f, make());",
    "options of others": "const made = make(); useChannel('item_update', f, { ...made });",
    "a state": "useChannelState('item_update', { load: f, reduce: f });",
    "rows": "useRows('item_update');",
    "one row": "useChannel('items.7', f);",
    "an event for deletes": "useChannel('gone_update', f);",
    "no source": "useChannel('system', f);",
}


class Announcement(Event):
    text: str


class Item(Event):
    item_id: int
    shop_id: int


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
    for kind, bodies in {"misspelt": MISSPELT, "kept": KEPT, "removed": REMOVED}.items():
        for number, body in enumerate(bodies.values()):
            (hooks / f"{kind}{number}.ts").write_text(IMPORTS + HOOK.format(body=WS + body))
    channels = Channels()
    channels.declare("system", Announcement)
    channels.declare("item_update", Item, source=Table("items"))
    channels.declare("gone_update", Item, source=Table("items", on=["update", "delete"]))
    channels.declare("items.{item_id}", Item, params={"item_id": int}, source=Table("items"))
    channels.declare("shops.{shop_id}", Item, params={"shop_id": int}, source=Table("items"))
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


@pytest.mark.parametrize("number", range(len(KEPT)), ids=list(KEPT))
def test_a_handler_that_keeps_rows_that_are_gone_is_found(found: dict[str, list[str]], number: int) -> None:
    assert found[f"kept{number}"] == ["FC023"]


@pytest.mark.parametrize("number", range(len(REMOVED)), ids=list(REMOVED))
def test_a_handler_that_removes_rows_or_has_one_is_left_alone(
    found: dict[str, list[str]], number: int
) -> None:
    assert found[f"removed{number}"] == []


class Person(Event):
    id: str


@pytest.mark.parametrize(
    ("code", "unshown"),
    [
        ("export const It = () => usePresence('lobby_update');", ["rooms.{room_id}"]),
        ("export const It = () => presenceStore(shared, `rooms.${7}`);", ["lobby_update"]),
        ("export const It = () => useRows('lobby_update_members');", ["rooms.{room_id}"]),
        ("export const It = () => useRows('system');", ["lobby_update", "rooms.{room_id}"]),
    ],
)
def test_presence_that_no_page_shows_is_found(tmp_path: Path, code: str, unshown: list[str]) -> None:
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    (tmp_path / "src/lib").mkdir(parents=True)
    (tmp_path / "src/lib/shared.ts").write_text(SHARED)
    (tmp_path / "src/it.ts").write_text(IMPORTS + code)
    channels = Channels()
    channels.declare("lobby_update", Announcement, presence=Person)
    channels.declare("rooms.{room_id}", Announcement, params={"room_id": int}, presence=Person)
    rules = [rule for rule in WEB if rule.id == "FC022"]
    found = findings(Facts("app:channels", channels, web=read_typescript(tmp_path)), rules)
    texts = [one.sentence for one in found if one.sentence.startswith("no page shows")]
    assert texts == [
        f"no page shows who is present on {name}; call usePresence(channel.{call}), or remove presence="
        for name, call in (("lobby_update", "lobbyUpdate"), ("rooms.{room_id}", "rooms(…)"))
        if name in unshown
    ]
