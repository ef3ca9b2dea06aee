import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import * as eslint from "../src/eslint.js";
import * as main from "../src/index.js";
import * as presence from "../src/presence.js";
import * as query from "../src/query.js";
import * as react from "../src/react.js";
import * as rows from "../src/rows.js";
import * as store from "../src/store.js";
import * as tanstackDb from "../src/tanstack-db.js";
import * as testing from "../src/testing.js";

test("the README names every export", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const names = [main, react, rows, presence, store, query, tanstackDb, testing, eslint].flatMap((entry) => Object.keys(entry));
  expect(names.filter((name) => !readme.includes(name))).toEqual([]);
});

test.each(["react", "rows", "presence"])("the hooks of %s are marked for the browser, so that components of a server may import their module", (name) => {
  expect(readFileSync(new URL(`../src/${name}.tsx`, import.meta.url), "utf8")).toMatch(/^"use client";\n/);
});

test("the main module does not load React", () => {
  expect(Object.keys(main).sort()).toEqual(["RealtimeError", "createClient"]);
});

test.each(["query", "store", "testing", "state", "collection", "members", "client"])("%s loads neither React nor TanStack Query", (name) => {
  const source = readFileSync(new URL(`../src/${name}.ts`, import.meta.url), "utf8");
  const imported = [...source.matchAll(/from "([^"]+)"/g)].map(([, from]) => from);
  expect(imported.filter((from) => !from?.startsWith("./"))).toEqual([]);
});
