import { fileURLToPath } from "node:url";
import tailwind from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig } from "vitest/config";

const service = process.env["FLOWCRAFT_SERVICE"] ?? "http://127.0.0.1:8000";

export default defineConfig({
  plugins: [react(), tailwind()],
  resolve: { alias: { "@": fileURLToPath(new URL("src", import.meta.url)) }, dedupe: ["react", "react-dom"] },
  server: { proxy: { "/api": service, "/realtime": { target: service, ws: true } } },
  build: { target: ["chrome111", "firefox128", "safari16.4"], chunkSizeWarningLimit: 700 },
  test: { name: "flowcraft-web", testTimeout: 30_000, hookTimeout: 30_000 },
});
