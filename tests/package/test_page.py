"""The npm tarball, installed in an empty project without its sources: imported, type-checked, rendered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.package.serving import installed_server, started
from tests.support.artefacts import ROOT, Installation, WebProject, run
from tests.support.postgres import connected

TSC = ROOT / "node_modules/.bin/tsc"
IMPORTED = """
const told = {};
for (const entry of process.argv.slice(1)) told[entry] = Object.keys(await import(entry));
console.log(JSON.stringify(told));
"""
REQUIRED = """
const required = {};
for (const entry of process.argv.slice(1))
  required[entry] = [Object.keys(require(entry)), require.resolve(entry)];
console.log(JSON.stringify(required));
"""
COLLECTIONS = "@flowcraft/realtime/tanstack-db"
"""Needs a library that has modules alone, and types that a strict program does not take as they are."""
TYPED = """
import { createClient } from "@flowcraft/realtime";
import { useChannelState, useWebSocket } from "@flowcraft/realtime/react";

declare module "@flowcraft/realtime" {
  interface Register { channels: { count_update: { readonly n: number } } }
}

export const client = createClient({ url: "ws://localhost/realtime" });
client.subscribe("count_update", (event) => event.n.toFixed());
// @ts-expect-error -- a channel that is not declared
client.subscribe("count_updates", () => undefined);

export function useCount(): number {
  const { subscribe } = useWebSocket();
  subscribe("count_update", (event) => event.n);
  const load = () => Promise.resolve({ data: 0, cursor: "" as never });
  return useChannelState("count_update", { load, reduce: (sum: number, event) => sum + event.n }).data ?? 0;
}
"""
COLLECTED = """
import { createClient } from "@flowcraft/realtime";
import { rowsCollection } from "@flowcraft/realtime/tanstack-db";
import { createCollection } from "@tanstack/db";

export const rows = createCollection(rowsCollection(createClient(), "count_rows"));
export const one: Record<string, unknown> | undefined = rows.get(1);
"""
RENDERED = """
import { Window } from "happy-dom";
const window = new Window();
Object.assign(globalThis, { window, document: window.document });
globalThis.navigator ??= window.navigator;

const { createElement, useEffect, useState } = await import("react");
const { createRoot } = await import("react-dom/client");
const { createClient } = await import("@flowcraft/realtime");
const { RealtimeProvider, useConnection, useWebSocket } = await import("@flowcraft/realtime/react");
const { WebSocket } = await import("ws");

function Count() {
  const { subscribe } = useWebSocket();
  const { fresh } = useConnection();
  const [n, setN] = useState(0);
  useEffect(() => subscribe("count_update", (event) => setN(event.n)), [subscribe]);
  useEffect(() => console.log(fresh ? "fresh" : "not fresh", n), [fresh, n]);
  return createElement("p", null, n);
}

const client = createClient({ url: process.argv[2], WebSocket });
createRoot(document.body).render(createElement(RealtimeProvider, { client }, createElement(Count)));
process.stdin.on("end", () => { client.close(); process.exit(); }).resume();
"""


@pytest.fixture(autouse=True)
def without_sources(page: WebProject) -> None:
    shutil.rmtree(page.client / "src", ignore_errors=True)


def test_every_entry_can_be_imported_by_node(page: WebProject) -> None:
    command = ["node", "--input-type=module", "--eval", IMPORTED, *page.entries()]
    told = json.loads(run(command, cwd=page.folder).stdout)
    assert {"@flowcraft/realtime", "@flowcraft/realtime/react"} <= set(told)
    assert all(told.values()), "an entry exports something"
    assert not page.client.is_symlink(), "it is the tarball, not the workspace"


@pytest.mark.parametrize("option", ["--no-experimental-require-module", "--experimental-require-module"])
def test_every_entry_can_be_required(page: WebProject, option: str) -> None:
    """Jest has its own `require`, which takes no modules; Node's takes them from 20.19 on."""
    takes_modules = option == "--experimental-require-module"
    entries = [entry for entry in page.entries() if takes_modules or entry != COLLECTIONS]
    command = ["node", option, "--no-warnings", "--eval", REQUIRED, *entries]
    required = json.loads(run(command, cwd=page.folder).stdout)
    assert set(required) == set(entries)
    assert all(names for names, _ in required.values()), "an entry exports something"
    of_modules = [file for _, file in required.values() if "/cjs/" not in file]
    assert bool(of_modules) == takes_modules


@pytest.mark.parametrize("file", ["dist/react.js", "dist/cjs/react.js"])
def test_the_hooks_are_for_the_browser_where_components_run_on_a_server(page: WebProject, file: str) -> None:
    assert '"use client";' in (page.client / file).read_text("utf-8").splitlines()[:2]


@pytest.mark.parametrize(
    ("module", "resolution", "suffix"),
    [("ESNext", "bundler", "ts"), ("NodeNext", "nodenext", "ts"), ("Node16", "node16", "cts")],
)
def test_every_entry_has_types_that_a_strict_program_takes(
    page: WebProject, module: str, resolution: str, suffix: str
) -> None:
    folder = page.folder / resolution
    folder.mkdir()
    entries = [entry for entry in page.entries() if entry != COLLECTIONS]
    imports = "".join(f'export * as e{n} from "{name}";\n' for n, name in enumerate(entries))
    (folder / f"entries.{suffix}").write_text(imports)
    (folder / f"typed.{suffix}").write_text(TYPED)
    options = {
        "module": module,
        "moduleResolution": resolution,
        "target": "ES2022",
        "lib": ["ES2022", "DOM", "DOM.Iterable"],
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "noEmit": True,
        "types": [],
    }
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    assert run([TSC, "-p", folder], cwd=page.folder).stdout == ""


def test_collections_have_types_where_those_of_libraries_are_not_checked(page: WebProject) -> None:
    folder = page.folder / "collections"
    folder.mkdir()
    (folder / "entries.ts").write_text(COLLECTED)
    options = {
        "module": "ESNext",
        "moduleResolution": "bundler",
        "target": "ES2022",
        "lib": ["ES2022", "DOM", "DOM.Iterable"],
        "strict": True,
        "skipLibCheck": True,
        "noEmit": True,
        "types": [],
    }
    (folder / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    assert run([TSC, "-p", folder], cwd=page.folder).stdout == ""


async def test_a_component_shows_what_was_committed_with_both_artefacts(
    installation: Installation, page: WebProject, tmp_path: Path
) -> None:
    (page.folder / "rendered.mjs").write_text(RENDERED)
    async with (
        installed_server(installation, tmp_path) as (dsn, address),
        connected(dsn) as connection,
        started(page.folder, "node", "rendered.mjs", address) as (component, first),
    ):
        assert component.stdout is not None
        assert first == "not fresh 0"
        assert (await component.stdout.readline()).decode() == "fresh 0\n"
        await connection.execute(
            """select flowcraft.broadcast('count_update', '{"type": "Counted", "n": 7}')"""
        )
        assert (await component.stdout.readline()).decode() == "fresh 7\n"
        assert component.stdin is not None
        component.stdin.close()
        assert await component.wait() == 0
