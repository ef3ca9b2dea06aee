import { compile } from "svelte/compiler";
import { defineConfig, type Plugin } from "vitest/config";
import { compileScript, parse } from "vue/compiler-sfc";

/** As much of the frameworks' own plugins as the examples in the documentation need. */
const components: Plugin = {
  name: "components",
  enforce: "pre",
  transform(source, id) {
    if (id.endsWith(".svelte")) return compile(source, { filename: id, generate: "client" }).js;
    if (!id.endsWith(".vue")) return undefined;
    const { descriptor } = parse(source, { filename: id });
    return compileScript(descriptor, { id, inlineTemplate: true }).content;
  },
};

export default defineConfig({
  plugins: [components],
  resolve: { conditions: ["browser"] }, // Svelte has another face for servers
  test: {
    name: "realtime",
    include: ["tests/**/*.test.{ts,tsx}"],
    testTimeout: 30_000,
    hookTimeout: 30_000,
    server: { deps: { inline: ["svelte"] } },
  },
});
