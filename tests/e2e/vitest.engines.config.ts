/** The browser tests in Firefox or WebKit: `ENGINE=webkit npx vitest run --config tests/e2e/vitest.engines.config.ts`. */
import { existsSync } from "node:fs";
import { defineConfig } from "vitest/config";
import config from "./vitest.config.js";

/** Those with pages; the others are about Node, about pages of the site, or about the first steps of a project. */
const FILES = ["realtime", "fallback", "rows", "places", "origins", "todo", "orders", "example", "tokens", "limits", "returning"];

const FIREFOX = [process.env["FIREFOX"] ?? "/usr/bin/firefox-esr"];
const WEBKIT = ["/usr/bin/WebKitWebDriver", "/usr/bin/Xvfb"];
const isThere = (process.env["ENGINE"] === "webkit" ? WEBKIT : FIREFOX).every((file) => existsSync(file));
if (!isThere) console.log(`${process.env["ENGINE"]} is not installed: none of its tests runs`);

export default defineConfig({
  test: { ...config.test, include: isThere ? FILES.map((name) => `${name}.test.ts`) : [], exclude: [], passWithNoTests: !isThere, setupFiles: ["engines.setup.ts"], testTimeout: 120_000 },
});
