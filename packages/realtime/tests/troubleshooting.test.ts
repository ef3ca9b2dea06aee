/** The guide has a row for each error that a page can see: compared with the code, the schema and the table of close codes. */
import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const read = (path: string) => readFileSync(new URL(path, import.meta.url), "utf8");
const guide = read("../../../docs/guides/troubleshooting.md");
const part = (title: string, next: string) => guide.slice(guide.indexOf(`## ${title}`), guide.indexOf(`## ${next}`));
const table = part("Errors in the page", "Connections that close and come back");
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

/** The server's sources, and what closes a connection there: `close(4409, "no pong")`, `TokenExpired: (4401, "token expired")`. */
const server = new URL("../../../src/flowcraft/", import.meta.url);
const python = ["core/", "runtime/", "adapters/"].flatMap((folder) =>
  readdirSync(new URL(folder, server))
    .filter((name) => name.endsWith(".py"))
    .map((name) => read(new URL(folder + name, server).pathname)),
);
const closings = [...python.join("\n").matchAll(/(?:[Cc]lose|ProtocolError|: )\(([14]\d{3}), (?:f?"([^"]*)")?/g)].map(([, number = "", reason = ""]) => ({ number, reason }));
const passing = [...part("Connections that close", "Server status").matchAll(/^\| ([\d, ]+) \|(.*?)\|(.+?)\|(.+?)\|$/gm)].map(
  ([, codes = "", reasons = "", ...help]) => ({ codes: codes.split(", "), reasons: reasons.trim() ? reasons.trim().split(", ") : [], help }),
);

test("each code that closes a connection, on either side, has a row", () => {
  const protocol = [...(read("../../../spec/protocol.md").split("## Closing")[1]?.split("## ")[0] ?? "").matchAll(/^\| ([\d, ]+) \|/gm)].flatMap(([, codes = ""]) => codes.split(", "));
  const ours = [...code.matchAll(/(?:(?:NORMAL|LOST|BAD_FRAME|TOO_\w+) = |closed\()(\d+)/g)].map(([, number = ""]) => number);
  expect([protocol.length > 10, closings.length > 20, ours.length > 4]).toEqual([true, true, true]);
  const known = new Set([...protocol, ...ours, ...closings.map(({ number }) => number)]);
  const listed = new Set([...passing.flatMap(({ codes }) => codes), ...rows.flatMap(({ text }) => /\((\d{4})\)/.exec(text)?.[1] ?? [])]);
  expect([...known].filter((number) => !listed.has(number))).toEqual([]);
  expect(passing.filter(({ help }) => help.some((text) => text.trim() === ""))).toEqual([]);
});

test("each reason with which the server closes a connection is in the row of its code", () => {
  const textsOf = (number: string) => [
    ...passing.flatMap(({ codes, reasons }) => (codes.includes(number) ? reasons : [])),
    ...rows.flatMap(({ text }) => (text.includes(`(${number})`) ? text.replace(/^.*?\): /, "").split(/; /) : [])),
  ];
  const isListed = (number: string, reason: string) => textsOf(number).some((text) => text.split("…").every((piece) => reason.replace(/\{.*?\}/g, "…").includes(piece.trim())));
  const missing = closings.filter(({ number, reason }) => reason !== "" && !["1002", "1003", "1007"].includes(number) && !isListed(number, reason));
  expect(missing).toEqual([]);
});

test("each status with which the server refuses a request is explained", () => {
  const statuses = [...python.join("\n").matchAll(/Refused\(\s*(\d{3})/g)].map(([, status = ""]) => status);
  const codes = read("../../../docs/reference/codes.md").split("## HTTP status codes")[1] ?? "";
  const listed = [...codes.matchAll(/^\| ([\d, ]+) \|/gm)].flatMap(([, all = ""]) => all.split(", "));
  expect(new Set(statuses).size).toBeGreaterThan(8);
  expect(statuses.filter((status) => !listed.includes(status))).toEqual([]);
});
