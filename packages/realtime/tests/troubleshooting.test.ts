/** The guide has a row for each error that a page can see: compared with the code, the schema and the table of close codes. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");
const guide = read("../../../docs/guides/troubleshooting.md");
const table = guide.slice(guide.indexOf("## Errors in the page"), guide.indexOf("## Server status and logs"));
const rows = [...table.matchAll(/^\| (.+?) \| (.*?) \| (.+?) \| (.+?) \|$/gm)].map(([, code = "", text = "", ...help]) => ({ code, text, help }));
const sources = ["", "core/"].flatMap((folder) =>
  readdirSync(new URL(`../src/${folder}`, import.meta.url))
    .filter((name) => /\.tsx?$/.test(name) && name !== "eslint.ts")
    .map((name) => read(`../src/${folder}${name}`)),
);
const code = sources.join("\n");
/** A text of the guide, where … stands for a value. */
const fits = (text: string, message: string) =>
  text.split("; ").some((one) => one.split("…").every((part) => message.replace(/\$\{.*?\}/g, "…").includes(part.trim())));

test("each code that the client makes, or the server sends, has a row", () => {
  const made = [...code.matchAll(/new RealtimeError\(([^,]+),/g)].flatMap(([, first = ""]) => [...first.matchAll(/"(\w+)"/g)].map(([, name]) => name ?? ""));
  const lost = [...code.matchAll(/missed\([^)]*?, "(\w+)"\)/g)].map(([, name]) => name ?? "");
  const schema = JSON.parse(read("../../../spec/frames.schema.json")) as {
    $defs: { error: { properties: { error: { properties: { code: { enum: string[] } } } } }; reset: { properties: { reason: { enum: string[] } } } };
  };
  const { error, reset } = schema.$defs;
  const known = [...made, ...lost, ...error.properties.error.properties.code.enum, ...reset.properties.reason.enum];
  expect(made.length).toBeGreaterThan(6);
  expect(known.filter((name) => !rows.some(({ code }) => code.includes(`\`${name}\``)))).toEqual([]);
});

test("each text of an error that the client throws or reports has a row", () => {
  const thrown = [...code.matchAll(/new (?:Type|Range)?Error\((["`])(.+?)\1[,)]/g)].map(([, , text]) => text ?? "");
  const reported = [...code.matchAll(/new RealtimeError\(\s*"\w+",\s*(["`])(.+?)\1[,)]/g)].map(([, , text]) => text ?? "");
  expect([thrown.length > 5, reported.length > 2]).toEqual([true, true]);
  const texts = rows.map(({ text }) => text).filter((text) => text !== "");
  expect([...thrown, ...reported].filter((message) => !texts.some((text) => fits(text, message)))).toEqual([]);
});

test("each final code of the protocol has a row of its own, and each row a cause and a cure", () => {
  const closing = read("../../../spec/protocol.md").split("## Closing")[1] ?? "";
  const final = [...closing.matchAll(/^\| (\d+)(?:, \d+)? \|.*\| .*stop.* \|$/gm)].map(([, number]) => `(${number})`);
  expect(final).toContain("(4500)");
  expect(final.filter((number) => !rows.some(({ code, text }) => code === "`stopped`" && text.includes(number)))).toEqual([]);
  expect(rows.filter(({ help }) => help.some((text) => text.trim() === ""))).toEqual([]);
});
