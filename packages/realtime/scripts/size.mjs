// Measures what an application downloads, minified and gzipped, and fails above the limit.
import { gzipSync } from "node:zlib";
import { rolldown } from "rolldown";

const dist = new URL("../dist/", import.meta.url).pathname;
const CLIENT = `export { createClient } from "${dist}client.js";`;
const REACT = `export * from "${dist}react.js";`;

await measure("client", CLIENT, 3200);
await measure("client and hooks", CLIENT + REACT, 4 * 1024);

async function measure(name, entry, limit) {
  const virtual = { name: "entry", resolveId: (id) => (id === "entry" ? id : null), load: (id) => (id === "entry" ? entry : null) };
  const bundle = await rolldown({ input: "entry", plugins: [virtual], external: ["react", "react/jsx-runtime"] });
  const { output } = await bundle.generate({ minify: true });
  const size = gzipSync(output[0].code, { level: 9 }).length;
  console.log(`${name}: ${size} of ${limit} bytes`);
  if (size > limit) process.exitCode = 1;
}
