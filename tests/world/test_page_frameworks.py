"""Frameworks that bundle the npm package: Next's App Router, and Metro for React Native."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.artefacts import ROOT, run

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]
NEXT = ("next@16", "react@19", "react-dom@19", "typescript@5.9", "@types/react@19", "@types/node@20")
METRO = (
    "react-native@0.88",
    "@react-native/metro-config@0.88",
    "@react-native/babel-preset@0.88",
    "react@19",
)
LAYOUT = """
export default function Layout({ children }: { readonly children: React.ReactNode }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  );
}
"""
PAGE = """
import { createClient } from "@flowcraft/realtime";
import { RealtimeProvider } from "@flowcraft/realtime/react";
import { Live } from "./live";

// On the server: neither connects, and the second is a reference to a component of the browser.
export const dynamic = "force-static";
const onServer = createClient({ url: "wss://flowcraft.example/realtime" });

export default function Page() {
  return (
    <main>
      <Live />
      <i>{`${onServer.connection.get().status} ${typeof RealtimeProvider}`}</i>
    </main>
  );
}
"""
LIVE = """
"use client";
import { createClient } from "@flowcraft/realtime";
import { RealtimeProvider, useChannel, useConnection } from "@flowcraft/realtime/react";
import { useState } from "react";

const client = createClient({ url: "/realtime" });

function Runs() {
  const [count, setCount] = useState(0);
  useChannel("run_update", () => setCount((n) => n + 1));
  const { status } = useConnection();
  return <p>{`${count} runs, ${status}`}</p>;
}

export function Live() {
  return (
    <RealtimeProvider client={client}>
      <Runs />
    </RealtimeProvider>
  );
}
"""
NATIVE = """
import { createClient } from "@flowcraft/realtime";
import { RealtimeProvider, useChannel, useConnection } from "@flowcraft/realtime/react";
import { AppState } from "react-native";

const client = createClient({ url: "wss://flowcraft.example/realtime" });
AppState.addEventListener("change", () => client.wake());
export { RealtimeProvider, useChannel, useConnection };
"""
CONFIG = {
    "metro.config.js": 'module.exports = require("@react-native/metro-config").getDefaultConfig(__dirname);',
    "babel.config.js": 'module.exports = { presets: ["module:@react-native/babel-preset"] };',
}
BUNDLE = """
const Metro = require("metro");

const bundle = async () => {
  const config = await Metro.loadConfig({ cwd: __dirname });
  const what = { entry: "index.js", out: "bundle.js", platform: "ios", dev: false, minify: false };
  await Metro.runBuild(config, what);
};
bundle().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
"""


def project(folder: Path, packages: tuple[str, ...], files: dict[str, str]) -> None:
    """An empty project with the package as it is published, and packages of npm."""
    (folder / "package.json").write_text(json.dumps({"name": "page", "private": True}))
    run(["npm", "run", "--silent", "build", "-w", "packages/realtime"], cwd=ROOT)
    run(["npm", "pack", "--silent", "--pack-destination", folder], cwd=ROOT / "packages/realtime")
    (tarball,) = folder.glob("*.tgz")
    quiet = ("--no-audit", "--no-fund", "--silent", "--legacy-peer-deps")
    done = subprocess.run(
        ["npm", "install", *quiet, *packages, tarball],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"not run: npm installs no {packages[0]} here: {done.stderr[-300:]}")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text.lstrip())


@pytest.fixture(autouse=True)
def _node() -> None:
    assert shutil.which("npm"), "npm is needed"


def test_next_builds_and_renders_on_its_server(tmp_path: Path) -> None:
    files = {"app/layout.tsx": LAYOUT, "app/page.tsx": PAGE, "app/live.tsx": LIVE}
    project(tmp_path, NEXT, files)
    run(["npx", "next", "build"], cwd=tmp_path, NEXT_TELEMETRY_DISABLED="1")
    html = (tmp_path / ".next/server/app/index.html").read_text()
    assert "<p>0 runs, connecting</p>" in html
    assert "<i>connecting function</i>" in html


def test_metro_bundles_it_for_react_native(tmp_path: Path) -> None:
    project(tmp_path, METRO, CONFIG | {"index.js": NATIVE, "bundle.cjs": BUNDLE})
    run(["node", "bundle.cjs"], cwd=tmp_path)
    bundle = (tmp_path / "bundle.js").read_text()
    assert "no <RealtimeProvider> above this component" in bundle
    assert "sessionStorage" in bundle
