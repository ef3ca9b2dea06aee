import { defineConfig } from "vitest/config";

export default defineConfig({
  test: { name: "realtime", environment: "happy-dom" },
});
