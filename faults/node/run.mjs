/** Run the host, which is TypeScript: `node --experimental-websocket faults/node/run.mjs`. */
import { fileURLToPath } from "node:url";
import { runnerImport } from "vite";

await runnerImport(fileURLToPath(new URL("host.ts", import.meta.url)));
