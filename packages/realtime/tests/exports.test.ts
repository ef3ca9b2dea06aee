import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import * as main from "../src/index.js";
import * as react from "../src/react.js";

test("the README names every export", () => {
  const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
  const names = [...Object.keys(main), ...Object.keys(react)];
  expect(names.filter((name) => !readme.includes(name))).toEqual([]);
});

test("the main module does not load React", () => {
  expect(Object.keys(main).sort()).toEqual(["RealtimeError", "createClient"]);
});
