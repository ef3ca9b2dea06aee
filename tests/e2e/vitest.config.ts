import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    root: fileURLToPath(new URL(".", import.meta.url)),
    include: ["*.test.ts"],
    exclude: ["returning.test.ts"], // playwright-core turns off the memory of Chromium that it is about
    fileParallelism: false,
    execArgv: ["--experimental-websocket"], // Node has it without a flag from version 22 on
    testTimeout: 60_000,
    hookTimeout: 60_000,
    expect: { poll: { timeout: 20_000 } }, // a second is too little beside other work
  },
});
