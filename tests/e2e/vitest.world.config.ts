/** Other browsers: `make test-world`. */
import { defineConfig } from "vitest/config";
import config from "./vitest.config.js";

export default defineConfig({ test: { ...config.test, include: ["*.world.ts"] } });
