// Measures what an application downloads, minified and gzipped, and fails above the limit.
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const dist = new URL("../dist/", import.meta.url).pathname;
const CLIENT = `export { createClient } from "${dist}client.js";`;
const REACT = `export * from "${dist}react.js";`;

// Of these, 0.9 KB are names, limits and transactions that have their own answers, 1.1 KB the end of a connection, the renewal of
// tokens, the time of each step, addresses outside of pages and the stream beside a slow WebSocket: they recover without the user.
// Of the rows and their hook, 0.13 KB keep the list of 10,000 rows sorted in 0.02 ms a change, where sorting it again takes 1.2.
// 0.1 KB is presence, which a request asks for and which ends before its channel does; of these 25 bytes are the count of a long list.
// 0.4 KB are rows: states in pages, whole or not at all, that are read again after a reset or an error.
// 0.1 KB finds a filter that passes the frames of the server alone, and the end of an attempt without a close.
// Of the fallback, 0.03 KB end a channel whose reply is held back until the resume of the others is answered.
await measure("client", CLIENT, 6195);
await measure("client and hooks", CLIENT + REACT, 7130);
await measure("rows and their hook, beside those", `export { useRows } from "${dist}rows.js";`, 1140, CLIENT + REACT);
await measure("presence and its hook, beside the client and hooks", `export { usePresence } from "${dist}presence.js";`, 1000, CLIENT + REACT);
await measure("fallback, where no WebSocket comes through", `export * from "${dist}fallback.js";`, 3030);
await measure("store", `export { channelStore, connectionStore } from "${dist}store.js";`, 880);
await measure("collections of TanStack DB", `export * from "${dist}tanstack-db.js";`, 900);
await measure("query", `export * from "${dist}query.js";`, 1450);

/** `beside`: what the page has already. */
async function measure(name, entry, limit, beside = "") {
  const size = (await sizeOf(beside + entry)) - (beside ? await sizeOf(beside) : 0);
  console.log(`${name}: ${size} of ${limit} bytes`);
  if (size > limit) process.exitCode = 1;
}

async function sizeOf(entry) {
  const virtual = { name: "entry", resolveId: (id) => (id === "entry" ? id : null), load: (id) => (id === "entry" ? entry : null) };
  const bundle = await rolldown({ input: "entry", plugins: [virtual], external: ["react", "react/jsx-runtime", "@tanstack/db"], onLog: () => undefined }); // "use client" is not kept, as intended
  const { output } = await bundle.generate({ minify: true });
  const chunks = new Map(output.map((chunk) => [chunk.fileName, chunk]));
  const needed = (chunk) => [chunk, ...chunk.imports.flatMap((name) => (chunks.has(name) ? needed(chunks.get(name)) : []))];
  // What is imported on demand is not counted; what it shares with the entry is, once.
  const code = [...new Set(needed(output[0]))].map((chunk) => chunk.code).join("");
  return gzipSync(code, { level: 9 }).length;
}
