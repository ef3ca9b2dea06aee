/** Run a benchmark written in TypeScript: `node benchmarks/run.mjs latency [rounds]`. */
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

const [, , name, ...rest] = process.argv;
process.argv.splice(2, process.argv.length, ...rest);
await runnerImport(fileURLToPath(new URL(`${name}.ts`, import.meta.url)));
